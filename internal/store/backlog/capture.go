package backlog

import "github.com/dreyhq/drey/internal/store"

// The bounds of captures that wait. They are apart from those of the rows: what
// is large must not cost what is small its place.
const (
	MaxCaptureBytes = 64 << 20
	captureFlush    = 8 << 20 // written at once without waiting
)

// Captured is the part of a Batch that captures are.
type Captured struct {
	Captures []store.Capture
	Most     int64 // bytes that all captures of the store may hold when these are written; 0 = no bound

	held int // bytes of Captures
}

// heavy reports whether there is enough to be written at once.
func (c *Captured) heavy() bool { return c.held >= captureFlush }

// follow adds what came later.
func (c *Captured) follow(later Captured) {
	if len(later.Captures) == 0 {
		return
	}
	c.Captures = append(c.Captures, later.Captures...)
	c.Most, c.held = later.Most, c.held+later.held
}

// PutCapture queues a capture, or drops and counts it.
func (q *Queue) PutCapture(c store.Capture, most int64) {
	one := Captured{Captures: []store.Capture{c}, Most: most, held: len(c.Whole) + len(c.ID) + 128}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.writing.held+q.queued.held+one.held > MaxCaptureBytes {
		q.dropped++
		return
	}
	q.queued.follow(one)
	q.signal()
}
