package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

// warden rings the clocks of a provider's attempts with one timer for all of
// them. A timer of its own for each attempt would wake a sleeping thread with
// nearly each request, in the middle of it: a new timer that is due before all
// others does that, and a connect timeout is. The warden's timer is only moved
// when a clock is due before it rings; when it rings it looks at all clocks and
// is wound up for the next.
type warden struct {
	rings atomic.Int64 // when the timer rings, in nanoseconds since born; never = it does not

	mu     sync.Mutex // never held while a clock's is taken
	born   time.Time
	timer  *time.Timer
	clocks []*clock // those that are not stopped; a clock knows its place
}

const never = int64(1<<63 - 1)

func newWarden() *warden {
	w := &warden{born: time.Now()}
	w.rings.Store(never)
	return w
}

// join takes a clock in; it is watched from its first call of wind on.
func (w *warden) join(c *clock) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.place = len(w.clocks)
	w.clocks = append(w.clocks, c)
}

// leave lets a clock go. A second time does nothing.
func (w *warden) leave(c *clock) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.place < 0 {
		return
	}
	last := len(w.clocks) - 1
	w.clocks[c.place] = w.clocks[last]
	w.clocks[c.place].place = c.place
	w.clocks[last] = nil
	w.clocks = w.clocks[:last]
	c.place = -1
}

// wind makes sure that the timer rings at that time or before. Being late with
// nothing to do costs one look at the clocks.
func (w *warden) wind(at time.Time) {
	due := at.Sub(w.born).Nanoseconds()
	if w.rings.Load() <= due {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.windLocked(due)
}

func (w *warden) windLocked(due int64) {
	if w.rings.Load() <= due {
		return
	}
	w.rings.Store(due)
	d := time.Duration(due) - time.Since(w.born)
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.ring)
	} else {
		w.timer.Reset(d)
	}
}

// ring looks at every clock, and winds the timer up for the one that is due
// next; without one it stays silent.
func (w *warden) ring() {
	w.mu.Lock()
	// From here on a clock that is wound winds the timer up itself.
	w.rings.Store(never)
	clocks := append([]*clock(nil), w.clocks...)
	w.mu.Unlock()
	for _, c := range clocks {
		if next := c.ring(); !next.IsZero() {
			w.wind(next)
		}
	}
}
