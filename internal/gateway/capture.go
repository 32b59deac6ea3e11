package gateway

import (
	"net/http"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/upstream"
)

// CaptureMode says which requests are kept with their bodies and their
// providers' raw answers.
type CaptureMode uint8

// The modes. The zero value keeps nothing, and costs nothing.
const (
	CaptureOff    CaptureMode = iota
	CaptureErrors             // those that did not end well, or in whose course a provider failed
	CaptureAll
)

// CaptureSettings say what is captured. The zero value is nothing.
type CaptureSettings struct {
	Mode CaptureMode
	Most int64 // bytes of all captures in the store; the oldest go
}

// The bounds of one capture. A body beyond is kept up to there and cannot be sent
// again; of the answers, what goes beyond is dropped. Where all captures together
// may hold little, one of them must not push out all others.
const (
	mostBody    = 8 << 20
	mostAnswers = 4 << 20 // of all attempts together
)

func (s CaptureSettings) body() int    { return s.bound(mostBody) }
func (s CaptureSettings) answers() int { return s.bound(mostAnswers) }

func (s CaptureSettings) bound(most int) int {
	if s.Most <= 0 {
		return most
	}
	return int(min(int64(most), s.Most/4))
}

// wants reports whether a request that ended so is kept.
func (m CaptureMode) wants(r *Record) bool {
	switch {
	case m == CaptureAll:
		return true
	case m == CaptureOff:
		return false
	case r.Outcome != OutcomeOK && r.Outcome != OutcomeCancel: // a caller that leaves is nobody's failure
		return true
	}
	for _, a := range r.Attempts {
		if !a.OK && a.Class != drey.Cancel {
			return true
		}
	}
	return false
}

// capture is what is kept of one request while it runs. It belongs to the
// goroutine of its request, which gives it away in keep. nil keeps nothing.
type capture struct {
	to       *Captures
	set      CaptureSettings
	req      *Request
	body     []byte // as it came, whatever becomes of the request's on its way
	embeds   bool
	attempts []*tap
	held     int // bytes of to's memory
}

// capturing begins a capture, if this generation wants some.
func (g *Gateway) capturing(gen *generation, r *Request, embeds bool) *capture {
	switch {
	case r.again != nil:
		return r.again.capture
	case gen.Capture.Mode == CaptureOff || g.captures == nil:
		return nil
	}
	return &capture{to: g.captures, set: gen.Capture, req: r, body: r.Body, embeds: embeds}
}

// take asks for memory.
func (c *capture) take(n int) bool {
	if !c.to.memory.take(n) {
		return false
	}
	c.held += n
	return true
}

// release gives back the memory of what was not given away.
func (c *capture) release() {
	if c != nil {
		c.to.memory.give(c.held)
		c.held = 0
	}
}

// keep gives the capture away if the request ended in a way that is wanted, and
// notes so in the record. It comes right before the record is given away.
func (c *capture) keep(r *Record) {
	if c != nil && c.set.Mode.wants(r) && c.take(min(len(c.body), c.set.body())) { // so far the body was the request's own
		r.Captured = true
		c.to.add(captured{*c, r})
		c.held = 0
	}
}

// tap returns what sees an attempt's answer.
func (c *capture) tap(a *attempt) upstream.Tap {
	if c == nil {
		return nil
	}
	t := &tap{c: c, provider: a.p.ID, wire: a.codec.Wire(), start: a.start}
	c.attempts = append(c.attempts, t)
	return t
}

// tap keeps what one attempt was answered. It is an upstream.Tap.
type tap struct {
	c        *capture
	provider drey.ProviderID
	wire     drey.Wire
	start    time.Time
	status   int
	header   http.Header
	raw      []byte
	marks    []mark
	bytes    int64 // that came
}

// mark says when the bytes before a place had come.
type mark struct {
	to int
	at time.Duration // since the attempt left
}

// Answered implements upstream.Tap.
func (t *tap) Answered(status int, h http.Header) { t.status, t.header = status, h }

// Read implements upstream.Tap. What it has no room for is missing at the end,
// and not in the middle.
func (t *tap) Read(p []byte) {
	whole := int64(len(t.raw)) == t.bytes
	t.bytes += int64(len(p))
	room := t.c.set.answers()
	for _, other := range t.c.attempts {
		room -= len(other.raw)
	}
	if p = p[:min(len(p), max(0, room))]; !whole || len(p) == 0 || !t.c.take(len(p)) {
		return
	}
	t.raw = append(t.raw, p...)
	t.marks = append(t.marks, mark{len(t.raw), time.Since(t.start)})
}

// cut reports whether more came than was kept.
func (t *tap) cut() bool { return t.bytes > int64(len(t.raw)) }
