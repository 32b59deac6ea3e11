package gateway

import (
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

// errCallerGone is what writing to a caller ends with once it has left or does
// not read any more. Its cause makes no difference to anybody.
var errCallerGone = errors.New("the caller is gone")

// phase is how far the answer to the caller has come.
type phase uint8

const (
	held      phase = iota // nothing has gone out: every provider may still be tried
	early                  // status and pings have gone out: later facts are told in-band
	committed              // content has gone out: a failure can no longer be hidden
	ended
)

// sink is the caller's side of one answer. The exchange's goroutine writes to
// it; beside it only the keepalive timer does, so mu guards everything below
// it.
type sink struct {
	id        drey.RequestID
	codec     wire.Codec
	stream    bool
	keepalive time.Duration
	patience  time.Duration // how long one write may wait for a slow caller
	rc        *http.ResponseController

	mu       sync.Mutex
	w        http.ResponseWriter
	phase    phase
	gone     bool
	last     time.Time // of the last write
	deadline time.Time // the write deadline that is set
	timer    *time.Timer
}

func newSink(w http.ResponseWriter, r *Request, codec wire.Codec, stream bool, keepalive, patience time.Duration) *sink {
	s := &sink{
		id: r.ID, codec: codec, stream: stream, keepalive: keepalive, patience: patience,
		w: w, rc: http.NewResponseController(w), last: r.At,
	}
	if stream {
		s.mu.Lock() // the timer may ring before it is stored
		s.timer = time.AfterFunc(keepalive, s.ping)
		s.mu.Unlock()
	}
	return s
}

// ping fills a gap of the keepalive interval. Waiting for the first content it
// sends the status out, so that neither the client nor a proxy between gives
// up; from then on failover goes on and a final failure is told in-band.
func (s *sink) ping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == ended || s.gone {
		return
	}
	if wait := s.keepalive - time.Since(s.last); wait > time.Millisecond {
		s.timer.Reset(wait)
		return
	}
	if s.phase == held {
		s.startLocked(nil)
		s.phase = early
	}
	s.writeLocked(s.codec.Ping())
	s.timer.Reset(s.keepalive)
}

// startLocked sends status 200 and the headers of a stream.
func (s *sink) startLocked(explain http.Header) {
	h := s.w.Header()
	setID(h, s.id)
	h["Content-Type"] = eventStream
	h["Cache-Control"] = noCache
	h["X-Accel-Buffering"] = noBuffering
	for k, v := range explain {
		h[k] = v
	}
	s.w.WriteHeader(http.StatusOK)
}

var (
	eventStream = []string{"text/event-stream"}
	jsonType    = []string{"application/json"}
	noCache     = []string{"no-cache"}
	noBuffering = []string{"no"}
)

// writeLocked writes and flushes frames, and remembers a caller that is gone.
func (s *sink) writeLocked(p []byte) error {
	if s.gone {
		return errCallerGone
	}
	s.last = time.Now()
	// The deadline is moved only when half of it is used up: a write per frame
	// must not cost a timer per frame.
	if s.deadline.Sub(s.last) < s.patience/2 {
		s.deadline = s.last.Add(s.patience)
		_ = s.rc.SetWriteDeadline(s.deadline) // not every ResponseWriter can; then there is none
	}
	if _, err := s.w.Write(p); err != nil {
		s.gone = true
		return errCallerGone
	}
	if err := s.rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		s.gone = true
		return errCallerGone
	}
	return nil
}

// commit sends the first content. explain are the headers that tell the route;
// if the status is out already, comment tells it instead.
func (s *sink) commit(explain http.Header, comment, first []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.phase {
	case held:
		s.startLocked(explain)
	case early:
		first = append(comment, first...)
	}
	s.phase = committed
	return s.writeLocked(first)
}

// frames sends more of a committed stream.
func (s *sink) frames(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writeLocked(p)
}

// json sends a whole answer, or an error that nothing precedes.
func (s *sink) json(status int, header http.Header, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = ended
	if s.gone {
		return errCallerGone
	}
	h := s.w.Header()
	setID(h, s.id)
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	for k, v := range header {
		h[k] = v
	}
	s.deadline = time.Now().Add(s.patience)
	_ = s.rc.SetWriteDeadline(s.deadline) // not every ResponseWriter can; then there is none
	s.w.WriteHeader(status)
	if _, err := s.w.Write(body); err != nil {
		s.gone = true
		return errCallerGone
	}
	return nil
}

// end stops the keepalive. No ping is written after it. The write deadline
// stays: the server has the end of the body still to write. It sets its own
// again when the connection carries the next request.
func (s *sink) end() {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = ended
}

// now returns how far the answer has come.
func (s *sink) now() phase {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase
}

// abandoned reports whether a write has found the caller gone.
func (s *sink) abandoned() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone
}

// setID puts the request's id under the three names by which SDKs and people
// look for it.
func setID(h http.Header, id drey.RequestID) {
	v := []string{string(id)}
	h["Request-Id"] = v
	h["X-Request-Id"] = v
	h["X-Drey-Request-Id"] = v
}
