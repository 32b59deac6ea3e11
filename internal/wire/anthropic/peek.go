package anthropic

import (
	"bytes"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// Peek reads what routing needs in one pass over the body.
func (Codec) Peek(body []byte) (wire.Head, error) {
	p := peeker{s: scan.New(body), head: wire.Head{WantUsage: true}}
	s, h := &p.s, &p.head
	if err := wire.IsObject(s); err != nil {
		return wire.Head{}, err
	}
	models := 0
	for key := range s.Fields() {
		switch string(key) {
		case "model":
			models++
			h.Model, _ = s.Text()
		case "profile":
			h.Profile, _ = s.Text()
		case "stream":
			h.Stream, _ = s.Bool()
		case "max_tokens":
			h.MaxTokens, _ = s.Int()
		case "system":
			p.content(nil)
		case "messages":
			p.messages()
		case "tools":
			p.tools()
		case "tool_choice":
			for key := range s.Fields() {
				switch string(key) {
				case "type":
					h.NoCalls = string(s.Word()) == "none"
				case "disable_parallel_tool_use":
					h.OneCall, _ = s.Bool()
				}
			}
		case "thinking":
			for key := range s.Fields() {
				if string(key) == "type" {
					t := s.Word()
					h.Needs.Thinking = string(t) == "enabled" || string(t) == "adaptive"
				}
			}
		case "output_config":
			for key := range s.Fields() {
				if string(key) == "format" {
					h.Needs.JSONSchema = h.Needs.JSONSchema || s.Kind() == scan.Object
				}
			}
		case "output_format":
			h.Needs.JSONSchema = h.Needs.JSONSchema || s.Kind() == scan.Object
		case "metadata":
			for key := range s.Fields() {
				if string(key) == "user_id" {
					h.Session = session(s.Word())
				}
			}
		case "thread":
			h.Thread = s.Kind() != scan.Null
		}
	}
	if err := s.End(); err != nil {
		return wire.Head{}, wire.BadJSON(err)
	}
	if models > 1 {
		return wire.Head{}, &wire.BodyError{Field: "model", Msg: "stands twice in the body; send it once"}
	}
	h.Needs.Vision = p.count.Images > 0
	h.Needs.Documents = p.count.Documents > 0
	h.Tokens = p.count.Tokens()
	return *h, nil
}

type peeker struct {
	s     scan.Scanner
	head  wire.Head
	count wire.Estimator
}

func (p *peeker) messages() {
	s := &p.s
	for range s.Items() {
		user, result := false, false
		for key := range s.Fields() {
			switch string(key) {
			case "role":
				role := s.Word()
				user = string(role) == "user"
				p.head.OddRoles = p.head.OddRoles || role != nil && !wire.Speaks(role)
			case "content":
				p.content(&result)
			}
		}
		if user && !result {
			p.head.Turns++
		}
	}
}

// content counts a string or a list of blocks; result, if not nil, is set when
// a tool result is among them. What a field is called tells what it is, so
// that a block's type may stand behind them.
func (p *peeker) content(result *bool) {
	s := &p.s
	if s.CountText(&p.count.Count) {
		return
	}
	for range s.Items() {
		for key := range s.Fields() {
			switch string(key) {
			case "type":
				switch string(s.Word()) {
				case "image":
					p.count.Images++
				case "document":
					p.count.Documents++
				case "tool_result":
					if result != nil {
						*result = true
					}
				}
			case "text", "thinking", "name":
				s.CountText(&p.count.Count)
			case "input":
				s.CountValue(&p.count.Count)
			case "content":
				p.content(nil)
			}
		}
	}
}

func (p *peeker) tools() {
	s := &p.s
	if s.Kind() != scan.Array {
		return
	}
	from := s.Offset()
	defer func() { p.head.Declared = s.Since(from) }()
	for range s.Items() {
		p.head.Needs.Tools = true
		for key := range s.Fields() {
			switch string(key) {
			case "name":
				if name, ok := s.Text(); ok {
					p.count.Add(name)
					p.head.Tools = append(p.head.Tools, name)
				}
			case "cache_control":
			default:
				p.count.ASCII += len(key) + 4 // quotes, colon, comma
				s.CountValue(&p.count.Count)
			}
		}
	}
}

// session finds the conversation's key in metadata.user_id: the session_id of a
// JSON object inside the string, or what follows _session_ in the older form
// user_…_account_…_session_…. Any other user_id names a person and not a
// conversation, and is left alone.
func session(userID []byte) string {
	if i := bytes.LastIndex(userID, []byte("_session_")); i >= 0 {
		return string(userID[i+len("_session_"):])
	}
	s := scan.New(userID)
	id := ""
	for key := range s.Fields() {
		if string(key) == "session_id" {
			id, _ = s.Text()
		}
	}
	if s.End() != nil {
		return ""
	}
	return id
}
