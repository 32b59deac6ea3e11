package openai

import (
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// Peek reads what routing needs of a Responses request, in one pass and without
// a copy of its texts.
func (Responses) Peek(body []byte) (wire.Head, error) {
	p := peek{s: scan.New(body), head: wire.Head{WantUsage: true}}
	return p.read(p.responsesField)
}

func (p *peek) responsesField(key []byte) {
	s, h := &p.s, &p.head
	switch string(key) {
	case "model":
		h.Model, _ = s.Text()
	case "profile":
		h.Profile, _ = s.Text()
	case "stream":
		h.Stream, _ = s.Bool()
	case "max_output_tokens":
		h.MaxTokens, _ = s.Int()
	case "prompt_cache_key":
		h.Session, _ = s.Text()
	case "reasoning":
		for key := range s.Fields() {
			if string(key) == "effort" {
				effort, ok := s.Text()
				h.Needs.Thinking = ok && effort != "none"
			}
		}
	case "text":
		for key := range s.Fields() {
			if string(key) != "format" {
				continue
			}
			for key := range s.Fields() {
				if string(key) == "type" {
					kind, _ := s.Text()
					h.Needs.JSONSchema = kind == "json_schema"
				}
			}
		}
	case "instructions":
		s.CountText(&p.est.Count)
	case "tools":
		p.tools(func() { p.responsesTool("") })
	case "tool_choice":
		p.choice()
	case "parallel_tool_calls":
		p.parallel()
	case "input":
		if s.CountText(&p.est.Count) {
			h.Turns++
			return
		}
		for range s.Items() {
			p.item()
		}
	}
}

// responsesTool reads a tool, or the tools of a namespace by their flat names.
func (p *peek) responsesTool(namespace string) {
	p.head.Needs.Tools = true
	var kind, name string
	var within scan.Scanner
	for key := range p.s.Fields() {
		switch string(key) {
		case "type":
			kind, _ = p.s.Text()
		case "name":
			from := p.s // counted and kept
			if text, ok := p.s.Text(); ok {
				name = text
				from.CountText(&p.est.Count)
			}
		case "description":
			p.s.CountText(&p.est.Count)
		case "parameters", "format":
			p.s.CountValue(&p.est.Count)
		case "tools":
			within = p.s
		}
	}
	switch {
	case kind == "namespace":
		if namespace == "" {
			behind := p.s
			p.s = within
			for range p.s.Items() {
				p.responsesTool(name)
			}
			p.s = behind
		}
	case kind == shellTool:
		p.head.Tools = append(p.head.Tools, shellTool)
	case name != "":
		p.head.Tools = append(p.head.Tools, flatName(namespace, name))
	}
}

// item reads one item of the conversation. Which fields count does not depend on
// its type: none has text that another type would not count.
func (p *peek) item() {
	for key := range p.s.Fields() {
		switch string(key) {
		case "role":
			if role, _ := p.s.Text(); role == "user" {
				p.head.Turns++
			}
		case "name", "arguments", "input":
			p.s.CountText(&p.est.Count)
		case "content", "summary", "output":
			p.itemContent()
		case "action":
			p.s.CountValue(&p.est.Count)
		}
	}
}

func (p *peek) itemContent() {
	if p.s.CountText(&p.est.Count) {
		return
	}
	for range p.s.Items() {
		for key := range p.s.Fields() {
			switch string(key) {
			case "text", "refusal":
				p.s.CountText(&p.est.Count)
			case "image_url":
				p.est.Images++
				p.head.Needs.Vision = true
			case "file_data", "file_url":
				p.est.Documents++
				p.head.Needs.Documents = true
			}
		}
	}
}
