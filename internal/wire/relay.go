package wire

import (
	"errors"

	"github.com/dreyhq/drey/internal/wire/sse"
)

// Relay turns a provider's stream into the caller's, frame by frame. The
// gateway drives it and looks only at the Signal: when to commit, when the
// answer is done, when it is broken. A Relay belongs to one goroutine.
type Relay interface {
	// Frame takes one upstream frame and appends to dst what the caller gets.
	Frame(dst []byte, ev sse.Event) ([]byte, Signal)
	// Close is called at the end of the upstream body.
	Close(dst []byte) ([]byte, Signal)
}

// Pass returns a relay between equal wires: bytes go through as they are. After
// an error nothing more goes through, and the error is told once. endMark is
// the codec's: an answer that is complete and ends without it gets it, because
// clients wait for it where not every backend sends it.
func Pass(o Observer, endMark []byte) Relay { return &pass{o: o, endMark: endMark} }

type pass struct {
	o            Observer
	endMark      []byte
	failed, last bool
}

func (p *pass) Frame(dst []byte, ev sse.Event) ([]byte, Signal) {
	if p.failed {
		return dst, Signal{}
	}
	s, show := p.o.Observe(ev)
	s.Err = cutWithin(ev, s.Err)
	p.failed, p.last = s.Err != nil, p.last || s.Last
	if show && !p.failed && !Torn(ev) {
		dst = append(dst, ev.Raw...)
	}
	return dst, s
}

func (p *pass) Close(dst []byte) ([]byte, Signal) {
	if p.failed {
		return dst, Signal{}
	}
	s := p.o.Close()
	p.failed = s.Err != nil
	if s.Done && !p.last && !p.failed {
		dst = append(dst, p.endMark...)
	}
	return dst, s
}

// Torn reports whether a frame is what is left of one that broke off before its
// data. It means nothing, but clients that go by its name alone would take
// "event: message_stop" for the end.
func Torn(ev sse.Event) bool { return ev.Partial && len(ev.Data) == 0 }

// cutWithin tells a frame that makes no sense because the body ended in its
// middle from one that never made any: the first is a cut.
func cutWithin(ev sse.Event, err error) error {
	if e, ok := errors.AsType[*AnswerError](err); ok && ev.Partial && e.Kind == Malformed {
		return &AnswerError{Kind: Cut, Msg: "the stream ended within a frame"}
	}
	return err
}
