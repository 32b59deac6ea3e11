package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/route"
)

// driftWatch watches over one provider's answers to one profile. It outlives
// reloads as long as the provider is the same machine, and is gone with the
// process: a demotion does not outlast a restart.
type driftWatch struct {
	// level and until repeat what d says, for those who only look.
	level atomic.Uint32
	until atomic.Int64 // end of the demotion in Unix nanoseconds; 0 = none

	mu sync.Mutex
	d  guard.Drift
}

// watched is a watch and what its profile says about drift.
type watched struct {
	*driftWatch
	policy guard.DriftPolicy
}

// watchers returns the watches over a chain's providers, by index; nil if the
// profile does not watch. What the last generation has watched of the same
// machines is taken over.
func (c *chain) watchers(last *generation) []watched {
	if c.Drift.Action == guard.DriftOff {
		return nil
	}
	out := make([]watched, len(c.lanes))
	for i, l := range c.lanes {
		out[i].policy = c.Drift
		out[i].policy.Profile, out[i].policy.Provider = c.ID, l.p.ID
		if last != nil && last.chains[c.ID] != nil {
			out[i].driftWatch = last.chains[c.ID].watch(l).driftWatch
		}
		if out[i].driftWatch == nil {
			out[i].driftWatch = &driftWatch{}
		}
	}
	return out
}

// watch returns the watch over a lane's machine; the zero value is none.
func (c *chain) watch(l *lane) watched {
	for i, w := range c.drift {
		if c.lanes[i].machine == l.machine {
			return w
		}
	}
	return watched{}
}

// alone returns the watches of a chain of one: that of the profile, so that it
// sees all answers of the provider, or none.
func (c *chain) alone(l *lane) []watched {
	if w := c.watch(l); w.driftWatch != nil {
		return []watched{w}
	}
	return nil
}

// current is how much worse the answers are now.
func (w watched) current() guard.Level {
	if w.driftWatch == nil {
		return guard.Steady
	}
	return guard.Level(w.level.Load())
}

// step performs one step of the machine, tells what it decided, and reports
// whether it found that the answers got worse, and whether that demoted the
// provider. It tells under the lock, so that what is told has the order in which
// it was decided; telling waits for nothing.
func (w watched) step(ev guard.DriftEvent, emit func(drey.Event)) (detected, demoted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var effects []guard.DriftEffect
	w.d, effects = guard.StepDrift(w.d, ev, w.policy)
	w.level.Store(uint32(w.d.Level))
	until := int64(0)
	if !w.d.Until.IsZero() {
		until = w.d.Until.UnixNano()
	}
	w.until.Store(until)
	for _, eff := range effects {
		switch eff := eff.(type) {
		case guard.Emit:
			detected = detected || eff.Event.Name == "drift-detected"
			emit(eff.Event)
		case guard.Demote: // until says so
			demoted = true
		}
	}
	return detected, demoted
}

// demoted reports whether the provider goes last. Who finds that a demotion is
// over tells it: nobody waits for its end, since until the next request of the
// profile it is nobody's business.
func (x *exchange) demoted(w watched) bool {
	until := w.until.Load()
	if until == 0 {
		return false
	}
	if x.now.UnixNano() < until {
		return true
	}
	w.step(guard.Elapsed{At: x.now}, x.emit)
	return w.until.Load() != 0
}

// redrift brings the watches of the last generation under what the profiles of
// the new one say. Where there is no watch any more, it ends.
func (g *Gateway) redrift(last, next *generation) {
	at := time.Now()
	for id, c := range last.chains {
		for i, w := range c.drift {
			w.policy.Action = guard.DriftOff
			if n := next.chains[id]; n != nil {
				if now := n.watch(c.lanes[i]); now.driftWatch == w.driftWatch {
					w = now
				}
			}
			w.step(guard.Elapsed{At: at}, g.recorder.Emit)
		}
	}
}

// drifting tells the watch over a provider how an attempt ended.
func (x *exchange) drifting(l *lane, res result) {
	w := x.chain.watch(l)
	if w.driftWatch == nil {
		return
	}
	s := guard.Sample{Tools: x.head.Needs.Tools}
	switch {
	case res.ok, res.fault == route.EmptyAnswer:
		s.Odd = guard.OddStop(res.stop)
		x.heard.report(&s)
	case providersFault(res.verdict.Class):
		s = guard.Sample{Failed: true}
	default:
		return
	}
	detected, demoted := w.step(guard.Answered{At: x.now, Sample: s}, x.emit)
	switch {
	case demoted:
		x.rec.tripped(guard.Trip{Guard: guard.GuardDrift, Action: guard.DriftDemote.String()})
	case detected:
		x.rec.tripped(guard.Trip{Guard: guard.GuardDrift, Action: guard.DriftWarn.String()})
	}
}

// providersFault reports whether a failure says something about how well the
// provider answers. A pause that it asks for, a credential that it refuses and a
// model that still loads do not.
func providersFault(c drey.Class) bool {
	switch c {
	case drey.Transport, drey.Server, drey.Silence, drey.BadOutput, drey.Resource:
		return true
	default:
		return false
	}
}
