package spend

import "time"

// rateWindow is one second longer than the minute: requests are counted by
// whole seconds, and the minute that is looked back on begins within one.
const rateWindow = 61

// Rate holds one key to a number of requests per minute: in no 60 seconds are
// there more. It counts by the second, so that its size does not depend on the
// limit; for that a request may be held back up to a second longer than it
// would have to. The zero value has seen no request. It is not safe for
// concurrent use, and a restart forgets it.
type Rate struct {
	seconds [rateWindow]uint32
	total   uint64
	last    int64 // the newest second, since epoch
}

// Take reports whether a request may go on now, and counts it if so; refused
// ones do not count. If not, wait is how long until one may, over 0 and at most
// 61 s. perMinute ≤ 0 is no limit, and such requests are counted all the same:
// a limit that is set later holds at once.
func (r *Rate) Take(at time.Time, perMinute int) (ok bool, wait time.Duration) {
	r.advance(at.Unix())
	if perMinute <= 0 || r.total < uint64(perMinute) {
		r.seconds[rateSlot(r.last)]++
		r.total++
		return true, 0
	}
	over := r.total - uint64(perMinute) + 1 // so many must have left the window
	for s := r.last - rateWindow + 1; ; s++ {
		n := uint64(r.seconds[rateSlot(s)])
		if n < over {
			over -= n
			continue
		}
		free := time.Unix(s+rateWindow, 0)
		return false, min(free.Sub(at), rateWindow*time.Second)
	}
}

// advance empties the seconds that have left the window. A clock that was set
// back stands still until it has caught up, but for longer than a window.
func (r *Rate) advance(now int64) {
	switch gone := now - r.last; {
	case r.total == 0:
		r.last = now
	case gone >= rateWindow, gone <= -rateWindow:
		*r = Rate{last: now}
	case gone > 0:
		for s := r.last + 1; s <= now; s++ {
			slot := &r.seconds[rateSlot(s)]
			r.total -= uint64(*slot)
			*slot = 0
		}
		r.last = now
	}
}

// rateSlot is a second's index, also before the epoch.
func rateSlot(second int64) int {
	return int((second%rateWindow + rateWindow) % rateWindow)
}
