package guard

import (
	"bytes"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// The hints of the action inject. They are fixed, so that a repeated request
// stays the same request.
const (
	loopHint = "[drey: the last tool calls repeat without progress. Do not call the same tool with the same arguments again; use the results that you have, try something else, or say what is in the way.]"
	capHint  = "[drey: this conversation has made more tool calls than its profile allows. Finish with what you know, or say what is left to do; call a tool only if you cannot do without.]"
)

// AddHint adds a hint at the end of the last user or tool message of a body, on
// its wire; not to the system text, which would void the prefix cache. The body
// is not changed: a new one is returned. ok is false, and the body comes back
// as it is, where no such message can take a text.
func AddHint(of drey.Wire, body []byte, hint string) (with []byte, ok bool) {
	at, ok := lastSaid(of, body)
	if !ok || hint == "" {
		return body, false
	}
	text := scan.AppendString(nil, hint)
	switch {
	case body[at.from] == '"':
		text = text[1 : len(text)-1]
		if at.to-at.from > 2 {
			text = append([]byte(`\n\n`), text...)
		}
	default:
		part := append([]byte(`{"type":"`), at.part...)
		text = append(append(append(part, `","text":`...), text...), '}')
		if !at.empty {
			text = append([]byte{','}, text...)
		}
	}
	with = make([]byte, 0, len(body)+len(text))
	with = append(append(with, body[:at.to-1]...), text...)
	return append(with, body[at.to-1:]...), true
}

// content is where a message says what it says: a string or a list of parts.
type content struct {
	from, to int
	empty    bool   // a list of nothing
	part     string // the type of a text part in the list
}

// lastSaid finds the content of the last message of a user or tool.
func lastSaid(of drey.Wire, body []byte) (content, bool) {
	s := scan.New(body)
	var last content
	messages := wire.ListOf(of)
	for key := range s.Fields() {
		if string(key) != messages {
			continue
		}
		last = content{}
		if of == drey.WireResponses && s.Kind() == scan.String {
			last.from, last.to = s.Span()
			continue
		}
		for range s.Items() {
			if c := said(&s, of); c.to > 0 {
				last = c
			}
		}
	}
	return last, s.End() == nil && last.to > 0
}

// said takes one message and returns its content if it is of a user or tool;
// zero otherwise.
func said(s *scan.Scanner, of drey.Wire) content {
	kind, role := "message", ""
	var said, output content
	for key := range s.Fields() {
		switch string(key) {
		case "type":
			if of == drey.WireResponses {
				kind = typeWord(s.Word())
			}
		case "role":
			role = string(s.Word())
		case "content":
			said = contentAt(s)
		case "output":
			output = contentAt(s)
		}
	}
	said.part, output.part = "text", "input_text"
	switch {
	case of == drey.WireResponses && (kind == "function_call_output" || kind == "custom_tool_call_output"):
		return output
	case kind != "message" || role != "user" && (of != drey.WireChat || role != "tool"):
		return content{}
	case of == drey.WireResponses:
		said.part = "input_text"
	}
	return said
}

// contentAt takes a value and returns where it is, if it is one that can take a
// text; zero otherwise.
func contentAt(s *scan.Scanner) (c content) {
	switch s.Kind() {
	case scan.String, scan.Array:
		from := s.Offset()
		raw := s.Raw()
		c = content{from: from, to: from + len(raw)}
		c.empty = len(bytes.Trim(raw, "[] \t\r\n")) == 0
	}
	return c
}
