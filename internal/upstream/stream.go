package upstream

import (
	"io"
	"net/http"

	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// Stream is a streamed answer. It belongs to one goroutine; from another one it
// is ended by the context that Do was given.
type Stream struct {
	a      *attempt
	call   *Call
	resp   *http.Response
	frames *sse.Reader
	err    error // why Next gives nothing any more; nil while it does
	closed bool
}

func newStream(a *attempt, c *Call, resp *http.Response) *Stream {
	return &Stream{a: a, call: c, resp: resp, frames: sse.NewReader(a, a.p.maxFrame)}
}

// Next returns the next frame, valid until the next call. At the clean end of
// the body it returns io.EOF; whether the answer was complete then is for the
// wire to tell. Any other error is a *Failure, and the provider's connection is
// closed by then. Errors are final; after Close there is only
// http.ErrBodyReadAfterClose.
func (s *Stream) Next() (sse.Event, error) {
	if s.err != nil {
		return sse.Event{}, s.err
	}
	ev, err := s.frames.Next()
	switch {
	case err == nil:
		return ev, nil
	case err == io.EOF && s.a.Err() == nil:
		s.err = io.EOF
		s.Close()
	default:
		s.err = s.a.fail(s.call, s.a.evidence(err, route.CutAnswer), s.resp, err)
		s.closed = true
	}
	return sse.Event{}, s.err
}

// Ready reports whether Next will return a frame without waiting for the
// provider.
func (s *Stream) Ready() bool { return s.err == nil && s.frames.Ready() }

// Content says that the frame that Next returned last carried content: the wait
// for the first content is over, or the stall begins anew.
func (s *Stream) Content() { s.a.clock.content() }

// Finish is Close for an answer that is complete by its own mark: it reads on
// for a moment to see the end of the body, so that the connection can be used
// again. What comes is dropped.
func (s *Stream) Finish() {
	if s.closed {
		return
	}
	s.a.clock.enter(settling, finishWait)
	io.Copy(io.Discard, io.LimitReader(s.a.body, maxErrorBody)) // the answer is complete: its rest is nobody's loss
	s.Close()
}

// Close ends the stream. Before the end of the body it closes the provider's
// connection, which tells it to stop generating; after it, it does nothing.
func (s *Stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.a.end()
	if s.err == nil {
		s.err = http.ErrBodyReadAfterClose
	}
	return nil
}
