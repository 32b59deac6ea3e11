package wire

import "github.com/dreyhq/drey/internal/wire/sse"

// Relay turns a provider's stream into the caller's, frame by frame. The
// gateway drives it and looks only at the Signal: when to commit, when the
// answer is done, when it is broken. A Relay belongs to one goroutine.
type Relay interface {
	// Frame takes one upstream frame and appends to dst what the caller gets.
	Frame(dst []byte, ev sse.Event) ([]byte, Signal)
	// Close is called at the end of the upstream body.
	Close(dst []byte) ([]byte, Signal)
}

// Pass returns a relay between equal wires: bytes go through as they are.
func Pass(o Observer) Relay { return pass{o} }

type pass struct{ o Observer }

func (p pass) Frame(dst []byte, ev sse.Event) ([]byte, Signal) {
	s, show := p.o.Observe(ev)
	if show && s.Err == nil {
		dst = append(dst, ev.Raw...)
	}
	return dst, s
}

func (p pass) Close(dst []byte) ([]byte, Signal) { return dst, p.o.Close() }
