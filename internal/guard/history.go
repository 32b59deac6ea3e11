package guard

import (
	"bytes"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// history is what a conversation says of its tool calls, in the body's memory.
type history struct {
	calls []call // all of them, in order
	turn  int    // how many of them came before the last user turn
}

// call is one tool call. Its parts are JSON as it stands in the body.
type call struct {
	name  []byte // unescaped
	space []byte // Responses: the name's namespace, unescaped; nil = none
	args  []byte // a JSON value; nil = none
	// quoted says that args is a JSON string and the arguments are its text,
	// as the OpenAI wires have it.
	quoted bool
}

// arguments takes the arguments of a call of an OpenAI wire.
func (c *call) arguments(s *scan.Scanner) {
	text := s.Kind() == scan.String
	c.args = s.Raw()
	c.quoted = text && c.args != nil // half a string is none
}

// shown is the call's tool as people are told it.
func (c *call) shown() string {
	name := string(c.name)
	if len(c.space) > 0 {
		name = string(c.space) + "__" + name
	}
	return clip(name, 64)
}

// read finds the calls of a request. A user turn is a user's message without a
// tool result: reminders that agents put beside results make none.
func read(of drey.Wire, body []byte) history {
	r := reader{s: scan.New(body)}
	messages, each := wire.ListOf(of), r.anthropic
	switch of {
	case drey.WireAnthropic:
	case drey.WireChat:
		each = r.chat
	case drey.WireResponses:
		each = r.item
	default:
		return r.history
	}
	for key := range r.s.Fields() {
		if string(key) != messages {
			continue
		}
		r.history = history{} // of two such fields the last one counts
		for range r.s.Items() {
			each()
		}
	}
	return r.history
}

type reader struct {
	s scan.Scanner
	history
}

func (r *reader) anthropic() {
	s := &r.s
	user, result := false, false
	for key := range s.Fields() {
		switch string(key) {
		case "role":
			user = string(s.Word()) == "user"
		case "content":
			for range s.Items() {
				var c call
				kind := ""
				for key := range s.Fields() {
					switch string(key) {
					case "type":
						kind = typeWord(s.Word())
					case "name":
						c.name = s.Word()
					case "input":
						c.args = s.Raw()
					}
				}
				switch kind {
				case "tool_use":
					r.calls = append(r.calls, c)
				case "tool_result":
					result = true
				}
			}
		}
	}
	if user && !result {
		r.turn = len(r.calls)
	}
}

func (r *reader) chat() {
	s := &r.s
	user := false
	for key := range s.Fields() {
		switch string(key) {
		case "role":
			user = string(s.Word()) == "user"
		case "tool_calls":
			for range s.Items() {
				for key := range s.Fields() {
					switch string(key) {
					case "function", "custom":
						r.function()
					}
				}
			}
		case "function_call":
			r.function()
		}
	}
	if user {
		r.turn = len(r.calls)
	}
}

// function takes a call as chat writes it; null is none.
func (r *reader) function() {
	if r.s.Kind() != scan.Object {
		return
	}
	var c call
	for key := range r.s.Fields() {
		switch string(key) {
		case "name":
			c.name = r.s.Word()
		case "arguments", "input":
			c.arguments(&r.s)
		}
	}
	r.calls = append(r.calls, c)
}

func (r *reader) item() {
	s := &r.s
	var c call
	kind, user := "message", false // a message may leave out its type
	for key := range s.Fields() {
		switch string(key) {
		case "type":
			kind = typeWord(s.Word())
		case "role":
			user = string(s.Word()) == "user"
		case "name":
			c.name = s.Word()
		case "namespace":
			c.space = s.Word()
		case "arguments", "input":
			c.arguments(s)
		}
	}
	switch kind {
	case "message":
		if user {
			r.turn = len(r.calls)
		}
	case "function_call", "custom_tool_call":
		r.calls = append(r.calls, c)
	}
}

// typeWord returns the types that matter as constants, so that a walk over a
// long conversation allocates nothing for them; "" for any other.
func typeWord(w []byte) string {
	switch string(w) {
	case "message":
		return "message"
	case "reasoning":
		return "reasoning"
	case "tool_use":
		return "tool_use"
	case "tool_result":
		return "tool_result"
	case "function_call":
		return "function_call"
	case "custom_tool_call":
		return "custom_tool_call"
	case "function_call_output":
		return "function_call_output"
	case "custom_tool_call_output":
		return "custom_tool_call_output"
	default:
		return ""
	}
}

// sameTool reports whether two calls name one tool.
func sameTool(a, b *call) bool {
	return bytes.Equal(a.name, b.name) && bytes.Equal(a.space, b.space)
}

// clip cuts a text to n characters, since a model may call a tool anything.
func clip(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i] + "…"
		}
		n--
	}
	return s
}
