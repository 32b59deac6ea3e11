package route

import (
	"time"

	"github.com/dreyhq/drey"
)

// ParkReason says why a provider is left alone for a time.
type ParkReason uint8

// The reasons to park. The zero value is none.
const (
	NotParked ParkReason = iota
	ParkedRateLimit
	ParkedQuota
	ParkedAuth
)

var parkReasons = [...]Reason{"", ReasonRateLimit, ReasonQuota, ReasonAuth}

// Reason returns the reason as rows, events and headers spell it.
func (p ParkReason) Reason() Reason {
	if int(p) < len(parkReasons) {
		return parkReasons[p]
	}
	return ""
}

// Parking is how long a provider is left alone. It is no part of its health: a
// parked provider is well, and does not want to be asked. The zero value is a
// provider that is not parked.
type Parking struct {
	Reason ParkReason
	Since  time.Time // when it was parked; what began before is no proof of anything
	Until  time.Time
	// Step is how often in a row it was parked for this reason without a
	// stated end; the next such time is longer.
	Step uint8
	// Cool is the end of the cool-down after a failure for want of memory.
	Cool time.Time
}

// The times of the gateway contract §6.
const (
	rateFirst, rateMost   = 5 * time.Second, time.Minute
	authFirst, authMost   = time.Minute, time.Hour
	quotaFirst, quotaMost = 15 * time.Minute, 6 * time.Hour
	rateJitter            = 0.25
	coolDown              = 120 * time.Second
)

// After returns the parking that follows a failure at the time at, and whether
// it parks anew or longer (then the event provider-parked is due). rnd is
// uniform in [0, 1) and spreads the ends of rate limits, so that clients do not
// come back at once together.
//
//   - An end that the provider stated is taken as it is.
//   - Otherwise the time doubles each time it is parked again for the same
//     reason: 5 s to 60 s ± 25 % for a rate limit, 60 s to 1 h for a
//     credential or a missing model, 15 min to 6 h for a quota.
//   - A failure that comes while it is parked was under way before and is no
//     further proof: it doubles nothing, and never shortens.
func (p Parking) After(v Verdict, at time.Time, rnd float64) (Parking, bool) {
	if v.Class == drey.Resource {
		if until := at.Add(coolDown); until.After(p.Cool) {
			p.Cool = until
		}
		return p, false
	}
	if !v.Parks {
		return p, false
	}
	next := Parking{Cool: p.Cool, Since: at}
	var first, most time.Duration
	switch {
	case v.Class == drey.RateLimit:
		next.Reason, first, most = ParkedRateLimit, rateFirst, rateMost
	case v.Sub == Quota:
		next.Reason, first, most = ParkedQuota, quotaFirst, quotaMost
	default:
		next.Reason, first, most = ParkedAuth, authFirst, authMost
	}
	if p.Reason == next.Reason {
		next.Step = p.Step
	}
	switch parked := p.Parked(at); {
	case v.RetryAfter > 0:
		next.Until = at.Add(v.RetryAfter)
	case parked && p.Reason == next.Reason:
		return p, false
	default:
		d := doubled(first, most, int(next.Step))
		if v.Class == drey.RateLimit {
			d = time.Duration(float64(d) * (1 + rateJitter*(2*rnd-1)))
		}
		next.Until = at.Add(d)
		if next.Step < 16 { // far over every maximum
			next.Step++
		}
	}
	if p.Parked(at) && !next.Until.After(p.Until) {
		return p, false
	}
	return next, true
}

// Parked reports whether the provider is parked at that time.
func (p Parking) Parked(at time.Time) bool { return p.Reason != NotParked && at.Before(p.Until) }

// Cooling reports whether it is within the cool-down after a failure for want
// of memory.
func (p Parking) Cooling(at time.Time) bool { return at.Before(p.Cool) }

// Succeeded returns the parking after a success of an attempt that began at
// the time given: none, also no cool-down, and the next one starts from the
// first step again. A success of an attempt that began before the provider was
// parked changes nothing, or a burst that half went through would unpark it at
// once. The flag reports whether a parked provider is free by it (then
// provider-unparked is due).
func (p Parking) Succeeded(began, at time.Time) (Parking, bool) {
	next, freed := p, false
	if p.Reason != NotParked && began.After(p.Since) {
		next, freed = Parking{Cool: p.Cool}, p.Parked(at)
	}
	if began.After(p.Cool.Add(-coolDown)) {
		next.Cool = time.Time{}
	}
	return next, freed
}

// Reloaded returns the parking after the configuration was loaded anew: a
// refused credential or model may be mended now; a limit is not.
func (p Parking) Reloaded(at time.Time) (Parking, bool) {
	if p.Reason != ParkedAuth {
		return p, false
	}
	return Parking{Cool: p.Cool}, p.Parked(at)
}

// doubled returns first × 2^step, at most most.
func doubled(first, most time.Duration, step int) time.Duration {
	for d := first; ; d, step = 2*d, step-1 {
		if d >= most {
			return most
		}
		if step <= 0 {
			return d
		}
	}
}
