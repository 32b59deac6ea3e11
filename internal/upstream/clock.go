package upstream

import (
	"sync"
	"time"

	"github.com/dreyhq/drey/internal/route"
)

// phase is where an attempt is, and so which timeout it is under.
type phase uint8

const (
	connecting phase = iota // dial and TLS: connect
	writing                 // the request goes out: first_token, measured by itself
	waiting                 // for the first content: first_token
	flowing                 // between contents: stall
	settling                // the outcome is known; a little patience for the rest
)

// fault is what the end of a phase's time means.
func (ph phase) fault() route.Fault {
	switch ph {
	case connecting:
		return route.ConnectTimeout
	case writing, waiting:
		return route.FirstTokenTimeout
	default:
		return route.StallTimeout
	}
}

// stretch is how often the stall timeout fits into a time without content in
// which at least something came. Source: contract §7.
const stretch = 5

// clock ends an attempt that is silent for too long. It is level-triggered:
// moving the due time is a store, and whoever rings it too early is told when
// to come again. So a stream of many frames costs no timer operation per frame,
// and a ring that comes late does no harm.
type clock struct {
	start  time.Time // spans below count from here
	over   func()    // called at most once, when the time of a phase is over
	warden *warden   // who rings
	place  int       // in the warden's list, guarded by its mutex

	mu      sync.Mutex
	phase   phase
	due     time.Duration // 0 = nothing is due
	ended   bool          // stopped, or over was called
	expired bool
	limit   time.Duration // of the phase that expired, for its text

	reading time.Duration // since when a read waits
	waited  time.Duration // by reads, since the last content
}

// enterLocked puts the attempt into a phase that may last d; d 0 sets no end.
// After the end of the clock the phase stays, because the verdict is read from
// it.
func (c *clock) enterLocked(ph phase, d time.Duration) {
	if c.ended {
		return
	}
	c.phase = ph
	c.limit = d
	c.windLocked(d)
}

func (c *clock) enter(ph phase, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enterLocked(ph, d)
}

// windLocked makes the end due in d; d 0 makes nothing due.
func (c *clock) windLocked(d time.Duration) {
	if c.ended || d <= 0 {
		c.due = 0
		return
	}
	c.due = time.Since(c.start) + d
	c.warden.wind(c.start.Add(c.due))
}

// ring ends the attempt if its time is over. It returns when to ring again;
// zero if never, unless it is wound up anew.
func (c *clock) ring() (again time.Time) {
	c.mu.Lock()
	if c.ended || c.due == 0 {
		c.mu.Unlock()
		return time.Time{}
	}
	if time.Since(c.start) < c.due {
		again = c.start.Add(c.due)
		c.mu.Unlock()
		return again
	}
	c.ended, c.expired = true, true
	c.mu.Unlock()
	c.over()
	return time.Time{}
}

// stop ends the clock; over is not called any more.
func (c *clock) stop() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.warden.leave(c)
}

// beforeRead and afterRead stand around every read of an answer's body. Once
// content flows only the time within reads counts: a slow caller of ours is
// not the provider's silence. Whatever comes begins a new wait, but the waits
// since the last content together may not exceed stretch times the stall.
func (c *clock) beforeRead(stall time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != flowing || stall <= 0 {
		return
	}
	c.limit = stall
	c.reading = time.Since(c.start)
	c.windLocked(max(1, min(stall, stretch*stall-c.waited)))
}

func (c *clock) afterRead(content bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case content:
		c.contentLocked()
	case c.phase == flowing:
		c.waited += time.Since(c.start) - c.reading
		c.due = 0
	}
}

// content ends the wait for the first content, or a wait between contents.
func (c *clock) content() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.contentLocked()
}

func (c *clock) contentLocked() {
	if c.ended || c.phase == settling {
		return
	}
	c.phase, c.due, c.waited = flowing, 0, 0
}

// verdict says whether a timeout ended the attempt, which, and how long it was.
func (c *clock) verdict() (f route.Fault, limit time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.expired || c.phase == settling {
		return route.NoFault, 0
	}
	return c.phase.fault(), c.limit
}
