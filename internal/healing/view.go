package healing

import (
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
)

// View is everything that the Keeper knows of a provider, for the control API,
// `drey status` and metrics.
type View struct {
	ID    drey.ProviderID
	Wire  drey.Wire
	Price drey.Price
	Model string

	health.View     // state, phase, by, reason, probes, ramp, parking; InFlight is the current number
	Queued      int // requests that wait for a place or for its process
	Process     *ProcessView

	Attempts, Successes uint64                // since the daemon's start
	Failures            map[drey.Class]uint64 // by class; cancels are nobody's failure
	LastError           *LastError            // nil = none since the daemon's start
	Cause               drey.Seq              // the last journaled event of its story; 0 = none
}

// ExcludedFor returns how long the provider has been out; 0 if it is not.
func (v View) ExcludedFor(now time.Time) time.Duration { return since(v.ExcludedAt, now) }

// NextProbeIn returns how long it is until the next probe or trial; 0 if none
// is due.
func (v View) NextProbeIn(now time.Time) time.Duration { return since(now, v.NextProbeAt) }

func since(from, to time.Time) time.Duration {
	if from.IsZero() || to.IsZero() {
		return 0
	}
	return max(to.Sub(from), 0)
}

// ProcessView is a managed process.
type ProcessView struct {
	State health.ProcState
	PID   int // 0 = none runs
	Port  int // 0 = none runs
	// IdleSince is the end of the last request; zero if none ended, or some
	// are under way.
	IdleSince time.Time
}

// LastError is a provider's latest failure, for people.
type LastError struct {
	At     time.Time
	Class  drey.Class
	Status int    // 0 if it answered none
	Text   string // redacted, at most 200 characters
}

// View returns what is known of a provider; ok is false if there is none of
// that name.
func (k *Keeper) View(id drey.ProviderID) (v View, ok bool) {
	s := k.seat(id)
	if s == nil {
		return View{}, false
	}
	return s.view(), true
}

// Views returns all providers, in file order.
func (k *Keeper) Views() []View {
	t := k.table.Load()
	out := make([]View, 0, len(t.order))
	for _, s := range t.order {
		out = append(out, s.view())
	}
	return out
}

// Profiles returns what profiles say about health, in file order.
func (k *Keeper) Profiles() []Profile { return k.table.Load().settings.Profiles }

func (s *seat) view() View {
	p := s.live.Load()
	v := View{
		ID: s.id, Wire: p.provider.Wire, Price: p.provider.Price, Model: p.provider.Model,
		View: p.view, Queued: p.queued, Cause: p.cause, LastError: s.lastError.Load(),
		Attempts: s.attempts.Load(), Successes: s.successes.Load(),
	}
	v.InFlight = int(s.inFlight.Load())
	if p.process != nil {
		c := *p.process
		v.Process = &c
	}
	for class := range s.failures {
		if n := s.failures[class].Load(); n > 0 {
			if v.Failures == nil {
				v.Failures = map[drey.Class]uint64{}
			}
			v.Failures[drey.Class(class)] = n
		}
	}
	return v
}
