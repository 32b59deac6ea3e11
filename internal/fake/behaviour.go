package fake

import (
	"net/http"
	"strings"
	"time"
)

// Behaviour is how the fake answers one call. It is a value: each method
// returns a changed copy, so behaviours can be shared and stand in tables. The
// zero value is an empty answer. Make one with Text, Echo, CallTool … or with
// one of the faults, and refine it.
type Behaviour struct {
	// the answer
	thinking string
	pieces   []string // of text, one frame each
	echo     bool
	calls    []ToolCall
	textCall string // a call written as text, with {name} and {args}
	then     *Behaviour
	stop     string // Anthropic's word for it; "" = as the answer suggests
	usage    *Usage // nil = estimated from the lengths
	noUsage  bool

	// time
	delay, ttft, gap time.Duration

	// faults of a stream; the counts are of events, negative = not
	faults []fault

	// faults instead of an answer
	lost    *Loss // the connection, before headers
	refused bool
	silent  bool
	plain   *plain // a whole answer that is not the model's
	frames  []string
	headers http.Header // added to whatever is answered
}

// ToolCall is a call that the model makes. An empty Name stands for the first
// tool that the request declares.
type ToolCall struct {
	Name string
	Args string // JSON, unless a broken one is wanted
}

// Usage is what an answer reports, with Input as Anthropic counts it: without
// the cached tokens.
type Usage struct {
	Input, Output, CacheRead, CacheWrite, Reasoning int
}

// Loss is a way to lose a connection.
type Loss uint8

// The ways.
const (
	RST   Loss = iota // reset: the reader gets "connection reset by peer"
	FIN               // closed before the body's end: "unexpected EOF"
	Clean             // the body ends properly and too early: EOF

	refusal // there never was a connection; a reset where there is one
)

type faultKind uint8

const (
	cut faultKind = iota
	stall
	malformed
	inBand
	unmarked
)

type fault struct {
	kind          faultKind
	after         int // events
	how           Loss
	errType, text string
}

type plain struct {
	status        int
	contentType   string // "" = JSON
	body          func(ask) []byte
	errType, text string // used if body is nil: an error in the wire's shape
	code          string // chat: error.code
}

// ask is what a plain answer may depend on.
type ask struct {
	kind  Kind
	model string
	id    string
}

// Text answers with text, streamed word by word.
func Text(s string) Behaviour { return Pieces(strings.SplitAfter(s, " ")...) }

// Pieces answers with text, streamed in exactly these pieces. One piece may be
// as large as a huge frame needs.
func Pieces(pieces ...string) Behaviour { return Behaviour{pieces: pieces} }

// Echo answers with the text of the last user turn.
func Echo() Behaviour { return Behaviour{echo: true} }

// Empty answers with nothing: usage and the end mark alone.
func Empty() Behaviour { return Behaviour{} }

// CallTool calls the first tool that the request declares with args. A request
// without tools is answered with a text that says so.
func CallTool(args string) Behaviour { return CallTools(ToolCall{Args: args}) }

// CallTools makes the calls, in order.
func CallTools(calls ...ToolCall) Behaviour { return Behaviour{calls: calls} }

// TextCall writes a call of the first declared tool as text, as weak models
// do. In shape {name} and {args} are replaced; an empty shape is a JSON object
// in a fence.
func TextCall(shape, args string) Behaviour {
	if shape == "" {
		shape = "```json\n{\"name\": \"{name}\", \"arguments\": {args}}\n```"
	}
	return Behaviour{textCall: shape, calls: []ToolCall{{Args: args}}}
}

// Then gives the answer for a request that brings a tool result: final takes
// the place of b.
func (b Behaviour) Then(final Behaviour) Behaviour { b.then = &final; return b }

// Thinking puts reasoning in front of the answer.
func (b Behaviour) Thinking(s string) Behaviour { b.thinking = s; return b }

// WithText puts text in front of tool calls.
func (b Behaviour) WithText(s string) Behaviour { b.pieces = strings.SplitAfter(s, " "); return b }

// Stop sets the reason of the end in Anthropic's words ("max_tokens",
// "refusal"); chat gets its own word for it. An unknown word goes out as it is.
func (b Behaviour) Stop(reason string) Behaviour { b.stop = reason; return b }

// Reports sets the usage; without it one is estimated from the lengths.
func (b Behaviour) Reports(u Usage) Behaviour { b.usage, b.noUsage = &u, false; return b }

// NoUsage reports none.
func (b Behaviour) NoUsage() Behaviour { b.noUsage = true; return b }

// Delay waits before the answer's headers.
func (b Behaviour) Delay(d time.Duration) Behaviour { b.delay = d; return b }

// TTFT waits before the first content, after headers and opening frames.
func (b Behaviour) TTFT(d time.Duration) Behaviour { b.ttft = d; return b }

// Gap waits between contents.
func (b Behaviour) Gap(d time.Duration) Behaviour { b.gap = d; return b }

// Header adds a header to the answer, whatever it is.
func (b Behaviour) Header(key, value string) Behaviour {
	h := b.headers.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Add(key, value)
	b.headers = h
	return b
}

// RetryAfter adds the header of that name, in whole seconds.
func (b Behaviour) RetryAfter(d time.Duration) Behaviour {
	return b.Header("Retry-After", string(format("%d", int(d.Seconds()))))
}

// CutAfter loses the connection after n events, before the end of the answer
// at the latest. An answer that is not streamed breaks in its middle.
func (b Behaviour) CutAfter(n int, how Loss) Behaviour {
	return b.with(fault{kind: cut, after: n, how: how})
}

// StallAfter sends n events, not the end of the answer, and then nothing until
// the caller goes away.
func (b Behaviour) StallAfter(n int) Behaviour { return b.with(fault{kind: stall, after: n}) }

// MalformedAfter puts a frame that is no JSON after n events. An answer that is
// not streamed is half its JSON.
func (b Behaviour) MalformedAfter(n int) Behaviour { return b.with(fault{kind: malformed, after: n}) }

// ErrorAfter ends the stream after n events with an error event in the wire's
// form. An answer that is not streamed is the error with status 200.
func (b Behaviour) ErrorAfter(n int, errType, message string) Behaviour {
	return b.with(fault{kind: inBand, after: n, errType: errType, text: message})
}

// NoEndMark leaves out the mark of a complete stream (message_stop, [DONE]);
// everything before it is sent.
func (b Behaviour) NoEndMark() Behaviour { return b.with(fault{kind: unmarked}) }

func (b Behaviour) with(f fault) Behaviour {
	b.faults = append(b.faults[:len(b.faults):len(b.faults)], f)
	return b
}

// has returns the first fault of a kind.
func (b Behaviour) has(k faultKind) (fault, bool) {
	for _, f := range b.faults {
		if f.kind == k {
			return f, true
		}
	}
	return fault{}, false
}
