package openai

import (
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// chunk is what one frame of a stream says of its first choice.
type chunk struct {
	id, model string
	created   int64
	choices   int

	text, reasoning, refusal string
	calls                    []fragment
	ended                    bool
	stop                     wire.Stop
	odd                      string
	usage                    *wire.Usage
	err                      *wire.AnswerError
}

// fragment is a piece of a tool call.
type fragment struct {
	index    int
	indexed  bool
	id, name string
	args     string
	custom   bool // args are the text of a custom tool and no JSON
}

func (c *chunk) read(s *scan.Scanner, event string) {
	for key := range s.Fields() {
		switch string(key) {
		case "id":
			c.id, _ = s.Text()
		case "model":
			c.model, _ = s.Text()
		case "created":
			n, _ := s.Int()
			c.created = int64(n)
		case "usage":
			if u, ok := readUsage(s); ok {
				c.usage = &u
			}
		case "error":
			if err := reported(s); err != nil {
				c.err = err
			}
		case "message":
			if event == "error" {
				msg, _ := s.Text()
				c.err = &wire.AnswerError{Kind: wire.Reported, Msg: msg}
			}
		case "choices":
			for range s.Items() {
				c.choices++
				c.choice(s)
			}
		}
	}
}

// choice reads a choice, if it is the first one.
func (c *chunk) choice(s *scan.Scanner) {
	index, _ := peekField(*s, "index")
	if index > 0 {
		return
	}
	for key := range s.Fields() {
		switch string(key) {
		case "finish_reason":
			if reason := unquoted(s); len(reason) > 0 {
				c.ended, c.stop, c.odd = true, stopOf(reason), oddReason(reason)
			}
		case "delta", "message":
			c.delta(s)
		}
	}
}

// peekField reads a whole number of the object that s, a copy, stands before.
func peekField(s scan.Scanner, name string) (n int, ok bool) {
	for key := range s.Fields() {
		if string(key) == name {
			n, ok = s.Int()
		}
	}
	return n, ok
}

func (c *chunk) delta(s *scan.Scanner) {
	for key := range s.Fields() {
		switch string(key) {
		case "content":
			if text, ok := s.Text(); ok {
				c.text += text
				continue
			}
			for range s.Items() { // some backends stream parts
				for key := range s.Fields() {
					if string(key) == "text" {
						text, _ := s.Text()
						c.text += text
					}
				}
			}
		case "reasoning_content", "reasoning":
			// Some backends send both names with the same text.
			if text, _ := s.Text(); c.reasoning == "" {
				c.reasoning = text
			}
		case "refusal":
			c.refusal, _ = s.Text()
		case "tool_calls":
			for range s.Items() {
				c.calls = append(c.calls, readFragment(s))
			}
		}
	}
}

func readFragment(s *scan.Scanner) fragment {
	var f fragment
	for key := range s.Fields() {
		switch string(key) {
		case "index":
			f.index, f.indexed = s.Int()
		case "id":
			f.id, _ = s.Text()
		case "function":
			for key := range s.Fields() {
				switch string(key) {
				case "name":
					f.name, _ = s.Text()
				case "arguments":
					if text, ok := s.Text(); ok && text != "null" {
						f.args = text
					} else if s.Kind() == scan.Object {
						f.args = string(s.Raw())
					}
				}
			}
		case "custom":
			f.custom = s.Kind() == scan.Object
			for key := range s.Fields() {
				switch string(key) {
				case "name":
					f.name, _ = s.Text()
				case "input":
					f.args, _ = s.Text()
				}
			}
		}
	}
	return f
}
