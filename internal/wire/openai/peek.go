package openai

import (
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// Peek reads what routing needs of a chat request, in one pass and without a
// copy of its texts.
func (Chat) Peek(body []byte) (wire.Head, error) {
	p := peek{s: scan.New(body)}
	return p.read(p.field)
}

type peek struct {
	s    scan.Scanner
	head wire.Head
	est  wire.Estimator
	led  bool // somebody has spoken after the instructions that lead
}

// read reads the whole body and hands its fields to field.
func (p *peek) read(field func(key []byte)) (wire.Head, error) {
	if k := p.s.Kind(); k != scan.Object {
		return wire.Head{}, &wire.BodyError{Msg: "the body is " + k.String() + "; send one JSON object"}
	}
	models := 0
	for key := range p.s.Fields() {
		if string(key) == "model" {
			models++
		}
		field(key)
	}
	if err := p.s.End(); err != nil {
		return wire.Head{}, wire.BadJSON(err)
	}
	if models > 1 {
		return wire.Head{}, &wire.BodyError{Field: "model", Msg: "named twice; name it once"}
	}
	p.head.Tokens = p.est.Tokens()
	return p.head, nil
}

func (p *peek) field(key []byte) {
	s, h := &p.s, &p.head
	switch string(key) {
	case "model":
		h.Model, _ = s.Text()
	case "profile":
		h.Profile, _ = s.Text()
	case "stream":
		h.Stream, _ = s.Bool()
	case "stream_options":
		for key := range s.Fields() {
			if string(key) == "include_usage" {
				h.WantUsage, _ = s.Bool()
			}
		}
	case "max_tokens", "max_completion_tokens":
		n, _ := s.Int()
		h.MaxTokens = max(h.MaxTokens, n)
	case "prompt_cache_key":
		h.Session, _ = s.Text()
	case "reasoning_effort":
		effort, ok := s.Text()
		h.Needs.Thinking = ok && effort != "none"
	case "response_format":
		for key := range s.Fields() {
			if string(key) == "type" {
				kind, _ := s.Text()
				h.Needs.JSONSchema = kind == "json_schema"
			}
		}
	case "tools":
		p.tools(p.tool)
	case "tool_choice":
		p.choice()
	case "parallel_tool_calls":
		p.parallel()
	case "n":
		h.Choices, _ = s.Int()
	case "messages":
		for range s.Items() {
			p.message()
		}
	}
}

// tools reads the list of tools, each by tool.
func (p *peek) tools(tool func()) {
	if p.s.Kind() != scan.Array {
		return
	}
	from := p.s.Offset()
	for range p.s.Items() {
		tool()
	}
	p.head.Declared = p.s.Since(from)
}

func (p *peek) choice() {
	if p.s.Kind() == scan.String {
		p.head.NoCalls = string(p.s.Word()) == "none"
	}
}

func (p *peek) parallel() {
	parallel, ok := p.s.Bool()
	p.head.OneCall = ok && !parallel
}

func (p *peek) tool() {
	p.head.Needs.Tools = true
	for key := range p.s.Fields() {
		switch string(key) {
		case "function", "custom":
		default:
			continue
		}
		for key := range p.s.Fields() {
			switch string(key) {
			case "name":
				from := p.s // counted and kept
				if name, ok := p.s.Text(); ok {
					p.head.Tools = append(p.head.Tools, name)
					from.CountText(&p.est.Count)
				}
			case "description":
				p.s.CountText(&p.est.Count)
			case "parameters", "format":
				p.s.CountValue(&p.est.Count)
			}
		}
	}
}

func (p *peek) message() {
	for key := range p.s.Fields() {
		switch string(key) {
		case "role":
			role := p.s.Word()
			if string(role) == "user" {
				p.head.Turns++
			}
			instructs := role != nil && !wire.Speaks(role)
			p.head.OddRoles = p.head.OddRoles || p.led && instructs
			p.led = p.led || !instructs
		case "content":
			if p.s.CountText(&p.est.Count) {
				continue
			}
			for range p.s.Items() {
				p.part()
			}
		case "reasoning_content", "reasoning", "refusal":
			p.s.CountText(&p.est.Count)
		case "tool_calls":
			for range p.s.Items() {
				for key := range p.s.Fields() {
					switch string(key) {
					case "function", "custom":
						p.call()
					}
				}
			}
		}
	}
}

// part reads one part of a message. Its kind is told by which field it has, so
// the order of the fields does not matter.
func (p *peek) part() {
	for key := range p.s.Fields() {
		switch string(key) {
		case "text":
			p.s.CountText(&p.est.Count)
		case "image_url":
			p.est.Images++
			p.head.Needs.Vision = true
		case "file":
			p.est.Documents++
			p.head.Needs.Documents = true
		}
	}
}

func (p *peek) call() {
	for key := range p.s.Fields() {
		switch string(key) {
		case "name", "arguments", "input":
			p.s.CountText(&p.est.Count)
		}
	}
}
