package stage

import (
	"errors"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// Decoder returns a decoder of mended answers: dec with s behind it. It is a
// wire.Holder, since what is held back or left out is a sign of life too.
func Decoder(dec wire.Decoder, s *Stage) wire.Decoder { return &decoder{dec: dec, stage: s} }

type decoder struct {
	dec   wire.Decoder
	stage *Stage
	came  []wire.Event // reused
	watch wire.Watch
	sig   wire.Signal // of the last frame
}

// Alive reports whether the last frame brought content.
func (d *decoder) Alive() bool { return d.sig.Content }

func (d *decoder) Decode(dst []wire.Event, ev sse.Event) ([]wire.Event, error) {
	var err error
	d.came, err = d.dec.Decode(d.came[:0], ev)
	return d.mend(dst), err
}

func (d *decoder) Close(dst []wire.Event) ([]wire.Event, error) {
	var err error
	d.came, err = d.dec.Close(d.came[:0])
	return d.mend(dst), err
}

func (d *decoder) mend(dst []wire.Event) []wire.Event {
	d.sig.Content = false
	for i := range d.came {
		d.watch.Note(&d.sig, &d.came[i])
		dst = d.stage.Event(dst, d.came[i])
	}
	return dst
}

// PassOptions are what Pass works with, all of the one wire that both sides
// speak, and each for this one stream.
type PassOptions struct {
	Observer wire.Observer
	EndMark  []byte // the codec's
	Decoder  wire.Decoder
	// NewEncoder makes the encoder, once the answer has begun. It is to call
	// the answer what its provider calls it, since frames of both may make it up.
	NewEncoder func(start wire.Event) wire.Encoder
	Stage      *Stage
	// Level tells, when the stream breaks, what is decided of what was held back,
	// so that the encoder stands where the caller does and may go on.
	Level bool
}

// Pass returns a relay between equal wires that mends what goes through. Until
// there is something to mend, the provider's frames go through as they came,
// those that may belong to a call a little later; from then on the answer is
// written anew. Content and Text of the signals tell what the caller gets, Alive
// what came.
func Pass(o PassOptions) wire.Relay { return &pass{PassOptions: o} }

type pass struct {
	PassOptions
	enc          wire.Encoder
	joiner       wire.Joiner  // enc, if it is one
	came, events []wire.Event // reused
	raw, coded   held         // since the last that went out
	watch        wire.Watch
	stop         wire.Stop // why the answer ended for the caller, if that is written anew
	next         int       // as in wire.Signal, behind what went out
	opens        bool      // what is held has begun something, and nothing stands in it yet
	anew         bool      // the answer is written anew
	failed, last bool
}

// held is a way to tell the caller what came since the last that went out.
type held struct {
	frames        []byte
	content, text bool // as in wire.Signal
}

func (h *held) note(s wire.Signal) { h.content, h.text = h.content || s.Content, h.text || s.Text }

func (p *pass) Frame(dst []byte, ev sse.Event) ([]byte, wire.Signal) {
	if p.failed {
		return dst, wire.Signal{}
	}
	sig, show := p.Observer.Observe(ev)
	var err error
	p.came, err = p.Decoder.Decode(p.came[:0], ev)
	if sig.Err == nil {
		sig.Err = err
	}
	if bad, ok := errors.AsType[*wire.AnswerError](sig.Err); ok && ev.Partial && bad.Kind == wire.Malformed {
		sig.Err = &wire.AnswerError{Kind: wire.Cut, Msg: "the stream ended within a frame"}
	}
	if p.last = p.last || sig.Last; sig.Err != nil {
		return p.fail(dst, sig)
	}
	if show && !wire.Torn(ev) {
		p.raw.frames = append(p.raw.frames, ev.Raw...)
	}
	dst = p.tell(dst, ev, &sig)
	return dst, sig
}

func (p *pass) Close(dst []byte) ([]byte, wire.Signal) {
	if p.failed {
		return dst, wire.Signal{}
	}
	sig := p.Observer.Close()
	var err error
	p.came, err = p.Decoder.Close(p.came[:0])
	if sig.Err == nil && !sig.Done {
		sig.Err = err
	}
	if sig.Err != nil {
		return p.fail(dst, sig)
	}
	dst = p.tell(dst, sse.Event{}, &sig)
	if sig.Done && !p.anew {
		dst = append(dst, p.raw.frames...) // nothing can come of it any more
		sig.Content, sig.Text = sig.Content || p.raw.content, sig.Text || p.raw.text
		p.raw = held{}
		if !p.last {
			dst = append(dst, p.EndMark...)
		}
	}
	return dst, sig
}

// fail ends the answer with an error, told behind what went out.
func (p *pass) fail(dst []byte, sig wire.Signal) ([]byte, wire.Signal) {
	p.failed = true
	sig.Alive, sig.Content, sig.Text = sig.Content, false, false
	if p.Level && len(p.coded.frames) > 0 {
		dst = append(dst, p.coded.frames...)
		p.count()
	}
	sig.Next = p.next
	return dst, sig
}

// count takes the number of the next event from the encoder.
func (p *pass) count() {
	if c, ok := p.enc.(wire.Counter); ok {
		p.next = c.Next()
	}
}

// tell appends what the caller gets of the events that came with a frame, and
// makes the signal say so.
func (p *pass) tell(dst []byte, ev sse.Event, sig *wire.Signal) []byte {
	for _, came := range p.came {
		if came.Kind == wire.Start && p.enc == nil {
			p.enc = p.NewEncoder(came)
			p.joiner, _ = p.enc.(wire.Joiner)
		}
		p.events = p.Stage.Event(p.events[:0], came)
		for i := range p.events {
			if p.enc == nil {
				continue // events before the start tell a caller nothing
			}
			told := &p.events[i]
			if told.Kind == wire.Finish && p.Stage.Touched() {
				p.stop = told.Stop
			}
			var s wire.Signal
			p.watch.Note(&s, told)
			p.coded.note(s)
			p.coded.frames = p.enc.Encode(p.coded.frames, *told)
		}
	}
	p.opens = p.joiner != nil && len(ev.Data) > 0 &&
		(p.joiner.Opens(ev) || p.opens && len(p.came) == 0 && !sig.Content)
	if p.stop != wire.StopUnknown {
		sig.Stop = p.stop
	}
	p.raw.note(*sig)
	sig.Alive, sig.Content, sig.Text = sig.Content, false, false
	out := &p.raw
	switch {
	case p.anew || p.Stage.Touched():
		p.anew = true
		out = &p.coded
		p.count()
	case p.Stage.Pending(), p.opens:
		sig.Next = p.next
		return dst
	default:
		p.next = sig.Next
		if p.joiner != nil && len(ev.Data) > 0 {
			p.joiner.Follow(ev)
		}
	}
	sig.Content, sig.Text, sig.Next = out.content, out.text, p.next
	dst = append(dst, out.frames...)
	p.raw, p.coded = held{frames: p.raw.frames[:0]}, held{frames: p.coded.frames[:0]}
	return dst
}
