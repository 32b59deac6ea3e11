package openai

import (
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// responsesObserver watches events on their way. It keeps no text.
type responsesObserver struct {
	model  string
	next   int
	called bool
	spoke  bool // some text, or a call, was there
	done   bool
	failed bool
}

// Observe reads one event. Events of unknown types are shown and mean nothing.
func (o *responsesObserver) Observe(ev sse.Event) (sig wire.Signal, show bool) {
	if len(ev.Data) == 0 || o.failed || o.done || string(ev.Data) == endMark {
		return wire.Signal{Next: o.next, Model: o.model}, !o.failed
	}
	f, err := readResponsesFrame(ev.Data)
	if err == nil {
		err = f.err
	}
	if err != nil {
		o.failed = true
		return wire.Signal{Err: err, Next: o.next, Model: o.model}, false
	}
	if f.numbered {
		o.next = f.number + 1
	}
	if f.answer.model != "" {
		o.model = f.answer.model
	}
	sig = wire.Signal{Usage: f.answer.usage, Next: o.next, Model: o.model}
	switch f.kind {
	case eventText, eventRefusal, eventSummary, eventThought, eventArguments, eventInput:
		sig.Size = max(0, len(f.delta)-2)
	}
	switch f.kind {
	case eventText, eventRefusal:
		sig.Text = f.delta != nil && !blank(f.delta)
		sig.Content = sig.Text
	case eventSummary, eventThought:
		sig.Content = f.delta != nil && !blank(f.delta)
	case eventArguments, eventInput:
		sig.Content, sig.Text = true, true
	case eventItem, eventItemDone:
		switch f.item.kind {
		case itemMessage, itemReasoning:
			// It begins with nothing in it; a server that sends it whole tells it
			// by its end.
			sig.Text = f.item.kind == itemMessage && !o.spoke && len(f.item.texts) > 0 && !isSpace(f.item.texts[0])
			sig.Content = sig.Text
		default: // any kind of call, and what the server does itself
			o.called = o.called || f.item.isCall()
			sig.Content, sig.Text = true, true
		}
	case eventCompleted, eventIncomplete:
		o.done = true
		sig.Done, sig.Last = true, true
		sig.Stop = stopOfEnd(&f)
		sig.Stop = settle(sig.Stop, o.called)
	}
	o.spoke = o.spoke || sig.Text
	return sig, true
}

// stopOfEnd returns why an answer ended: by its status, else by the event that
// told its end.
func stopOfEnd(f *responsesFrame) wire.Stop {
	switch {
	case f.answer.stop != wire.StopUnknown:
		return f.answer.stop
	case f.kind == eventIncomplete:
		return wire.StopLength
	default:
		return wire.StopEnd
	}
}

// Close tells of a cut, unless the answer is complete.
func (o *responsesObserver) Close() wire.Signal {
	switch {
	case o.failed:
		return wire.Signal{Next: o.next}
	case o.done:
		return wire.Signal{Done: true, Next: o.next, Model: o.model}
	}
	o.failed = true
	return wire.Signal{Err: responseCut(), Next: o.next, Model: o.model}
}

func responseCut() *wire.AnswerError {
	return &wire.AnswerError{Kind: wire.Cut, Msg: "the stream ended before response.completed"}
}
