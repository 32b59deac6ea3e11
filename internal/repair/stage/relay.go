package stage

import (
	"errors"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// Decoder returns a decoder of mended answers: dec with s behind it.
func Decoder(dec wire.Decoder, s *Stage) wire.Decoder { return &decoder{dec: dec, stage: s} }

type decoder struct {
	dec   wire.Decoder
	stage *Stage
	came  []wire.Event // reused
}

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
	for _, ev := range d.came {
		dst = d.stage.Event(dst, ev)
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
}

// Pass returns a relay between equal wires that mends what goes through. Until
// there is something to mend, the provider's frames go through as they came,
// those that may belong to a call a little later; from then on the answer is
// written anew. The signals are those of the provider's frames: what is held
// back is content too.
func Pass(o PassOptions) wire.Relay { return &pass{PassOptions: o} }

type pass struct {
	PassOptions
	enc          wire.Encoder
	came, events []wire.Event // reused
	raw, coded   []byte       // of the frames since the last that went out
	anew         bool         // the answer is written anew
	failed, last bool
}

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
	p.failed, p.last = sig.Err != nil, p.last || sig.Last
	if p.failed {
		return dst, sig
	}
	if show {
		p.raw = append(p.raw, ev.Raw...)
	}
	return p.tell(dst, &sig), sig
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
	if p.failed = sig.Err != nil; p.failed {
		return dst, sig
	}
	dst = p.tell(dst, &sig)
	if sig.Done && !p.anew {
		dst = append(dst, p.raw...) // nothing can come of it any more
		p.raw = nil
		if !p.last {
			dst = append(dst, p.EndMark...)
		}
	}
	return dst, sig
}

// tell appends what the caller gets of the events that came.
func (p *pass) tell(dst []byte, sig *wire.Signal) []byte {
	for _, ev := range p.came {
		if ev.Kind == wire.Start && p.enc == nil {
			p.enc = p.NewEncoder(ev)
		}
		p.events = p.Stage.Event(p.events[:0], ev)
		for _, ev := range p.events {
			if p.enc == nil {
				continue // events before the start tell a caller nothing
			}
			if ev.Kind == wire.Finish && sig.Stop != wire.StopUnknown {
				sig.Stop = ev.Stop
			}
			p.coded = p.enc.Encode(p.coded, ev)
		}
	}
	switch {
	case p.anew || p.Stage.Touched():
		p.anew = true
		dst = append(dst, p.coded...)
	case p.Stage.Pending():
		return dst
	default:
		dst = append(dst, p.raw...)
	}
	p.raw, p.coded = p.raw[:0], p.coded[:0]
	return dst
}
