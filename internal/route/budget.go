package route

import "time"

// RetryBudget holds a profile's repetitions at the same provider to a share of
// its requests, so that retries do not finish off a provider that is down. The
// zero value knows no requests. It is not safe for concurrent use.
type RetryBudget struct {
	seconds [60]struct{ requests, retries uint32 }
	last    int64 // the newest second, since epoch
}

// The windows of the gateway contract §6.
const (
	shareWindow = 60 // seconds over which the share holds
	floorWindow = 10 // seconds in which the floor is free
)

// Request counts a request.
func (b *RetryBudget) Request(at time.Time) { b.seconds[b.advance(at)].requests++ }

// Take reports whether a retry may be made now, and counts it if so: retries
// are at most share (0 to 1) of the requests of the last 60 s, or floor in the
// last 10 s, whichever is more.
func (b *RetryBudget) Take(at time.Time, share float64, floor int) bool {
	i := b.advance(at)
	var requests, retries, recent uint32
	for n := range b.seconds {
		s := &b.seconds[(i-n+len(b.seconds))%len(b.seconds)]
		requests += s.requests
		retries += s.retries
		if n < floorWindow {
			recent += s.retries
		}
	}
	if float64(retries+1) > share*float64(requests) && int(recent) >= floor {
		return false
	}
	b.seconds[i].retries++
	return true
}

// advance empties the seconds that have passed and returns the index of now. A
// clock that was set back stands still here until it has caught up, but for
// longer than a window.
func (b *RetryBudget) advance(at time.Time) int {
	now := at.Unix()
	switch gone := now - b.last; {
	case b.last == 0, gone >= shareWindow, gone <= -shareWindow:
		*b = RetryBudget{last: now}
	case gone > 0:
		for s := b.last + 1; s <= now; s++ {
			b.seconds[slot(s)] = struct{ requests, retries uint32 }{}
		}
		b.last = now
	}
	return slot(b.last)
}

// slot is the second's index, also before the epoch.
func slot(second int64) int { return int((second%shareWindow + shareWindow) % shareWindow) }
