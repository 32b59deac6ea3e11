package openai

import (
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/dreyhq/drey/internal/wire/sse"
)

const endMark = "[DONE]"

// observer watches chunks on their way. It keeps no text and allocates for a
// usage report only.
type observer struct {
	hideUsage bool

	model  string
	seen   uint64 // choices that have begun, by index up to 63
	ended  uint64 // choices that have a finish_reason
	called bool
	marked bool // the end mark was there
	failed bool
}

// complete reports whether every choice came to its end, or the end mark was
// there.
func (o *observer) complete() bool { return o.marked || o.seen != 0 && o.ended == o.seen }

func (o *observer) Observe(ev sse.Event) (sig wire.Signal, show bool) {
	if len(ev.Data) == 0 || o.failed || o.marked {
		return wire.Signal{}, !o.failed
	}
	if string(ev.Data) == endMark {
		o.marked = true
		return wire.Signal{Done: true, Last: true, Model: o.model}, true
	}
	s := scan.New(ev.Data)
	if s.Kind() != scan.Object {
		return o.malformed(ev, noObject(), o.complete()), false
	}
	before := o.complete() // what a frame says that breaks in its middle does not count
	var told *wire.AnswerError
	choices := 0
	for key := range s.Fields() {
		switch string(key) {
		case "choices":
			for range s.Items() {
				choices++
				o.choice(&s, &sig)
			}
		case "usage":
			if u, ok := readUsage(&s); ok {
				sig.Usage = &u
			}
		case "model":
			if m := unquoted(&s); len(m) > 0 && string(m) != o.model {
				o.model = string(m)
			}
		case "error":
			told = reported(&s)
		case "message":
			if ev.Name == "error" {
				msg, _ := s.Text()
				told = &wire.AnswerError{Kind: wire.Reported, Msg: msg}
			}
		}
	}
	if err := s.End(); err != nil {
		return o.malformed(ev, bad(err), before), false
	}
	if told != nil {
		o.failed = true
		return wire.Signal{Err: told, Model: o.model}, false
	}
	if sig.Stop != wire.StopUnknown {
		sig.Stop = settle(sig.Stop, o.called)
	}
	sig.Done = choices > 0 && o.complete()
	sig.Model = o.model
	return sig, !(o.hideUsage && choices == 0 && sig.Usage != nil)
}

// choice reads one choice of a chunk.
func (o *observer) choice(s *scan.Scanner, sig *wire.Signal) {
	index, ended := 0, false
	for key := range s.Fields() {
		switch string(key) {
		case "index":
			index, _ = s.Int()
		case "finish_reason":
			if reason := unquoted(s); len(reason) > 0 {
				ended = true
				sig.Stop = stopOf(reason)
			}
		case "delta", "message":
			o.delta(s, sig)
		}
	}
	bit := uint64(1) << (uint(index) & 63)
	o.seen |= bit
	if ended {
		o.ended |= bit
	}
}

func (o *observer) delta(s *scan.Scanner, sig *wire.Signal) {
	for key := range s.Fields() {
		switch string(key) {
		case "content", "refusal":
			q := s.Quoted()
			sig.Size += max(0, len(q)-2)
			if q != nil && !blank(q) {
				sig.Content, sig.Text = true, true
			}
		case "reasoning_content", "reasoning":
			q := s.Quoted()
			sig.Size += max(0, len(q)-2)
			if q != nil && !blank(q) {
				sig.Content = true
			}
		case "tool_calls":
			for range s.Items() {
				o.called = true
				sig.Content, sig.Text = true, true
				sig.Size += argumentsSize(s)
			}
		case "function_call", "audio":
			if s.Kind() == scan.Object {
				sig.Content, sig.Text = true, true
			}
		}
	}
}

// argumentsSize takes a call, or a piece of one, and returns the length of its
// arguments.
func argumentsSize(s *scan.Scanner) (n int) {
	for key := range s.Fields() {
		if string(key) != "function" && string(key) != "custom" {
			continue
		}
		for key := range s.Fields() {
			if k := string(key); k == "arguments" || k == "input" {
				n += max(0, len(s.Quoted())-2)
			}
		}
	}
	return n
}

// malformed tells of a frame that is none. What breaks off behind the end of
// the answer, most likely its end mark, is nothing.
func (o *observer) malformed(ev sse.Event, err *wire.AnswerError, complete bool) wire.Signal {
	if ev.Partial && complete {
		return wire.Signal{Model: o.model}
	}
	o.failed = true
	return wire.Signal{Err: err, Model: o.model}
}

// Close tells of a cut, unless the answer is complete.
func (o *observer) Close() wire.Signal {
	switch {
	case o.failed:
		return wire.Signal{}
	case o.complete():
		return wire.Signal{Done: true, Model: o.model}
	}
	o.failed = true
	return wire.Signal{Err: cutError(), Model: o.model}
}

func noObject() *wire.AnswerError {
	return &wire.AnswerError{Kind: wire.Malformed, Msg: "a frame is no JSON object"}
}

func cutError() *wire.AnswerError {
	return &wire.AnswerError{Kind: wire.Cut, Msg: "the stream ended without a finish_reason"}
}
