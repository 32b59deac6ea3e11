package healing

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/upstream"
)

// seat is one provider.
type seat struct {
	id drey.ProviderID

	// Read and written by anybody.
	live      atomic.Pointer[published]
	inFlight  atomic.Int64
	attempts  atomic.Uint64
	successes atomic.Uint64
	failures  [drey.Resource + 1]atomic.Uint64
	lastError atomic.Pointer[LastError]
	lastOK    atomic.Int64 // unix nanoseconds of the last real success

	// Owned by the Keeper's goroutine.
	m        health.Machine
	policy   health.Policy
	provider *Provider
	up       *upstream.Provider
	due      time.Time // of the machine's timer; zero = it is not armed
	cause    drey.Seq  // the last event of it that was journaled
	recorded bool      // the journal has a snapshot of it

	batches []*batch // commits that are not durable yet, in order
	cuts    map[uint64]func(error)
	line    []*waiter // for a place, in the order of arrival
	jury    []*waiter // for the verdict of a trial
	wants   map[uint64]*waiter
	uses    map[uint64]*group // attempts under way at a process, by the group that let them go
	waiting bool              // it is among Keeper.moved
	spoke   uint64            // the trial that has given content

	drainers    []chan int
	cancelProbe context.CancelFunc // of probe probeN; nil = none runs
	probeN      uint64
	cancelRun   context.CancelFunc // of the restart command; nil = none runs
	restartN    uint64
	answers     samples
	demerits    map[drey.ProfileID]int // replaced, never changed
}

// published is what the owner tells everybody of a provider. It is not changed
// any more.
type published struct {
	provider *Provider
	up       *upstream.Provider
	view     health.View // InFlight is 0 here: the seat has the number of this moment
	route    route.Live  // likewise
	demerits map[drey.ProfileID]int
	queued   int
	cause    drey.Seq
	process  *ProcessView

	// asks says that every attempt must ask the owner: there is a limit, a
	// ramp or a process.
	asks bool
	// calm says that a success changes nothing but the window.
	calm bool
	// ratio says that the ratio rule holds.
	ratio bool
}

// publish tells everybody how the provider is now.
func (k *Keeper) publish(s *seat) {
	v := s.m.View()
	v.InFlight = 0
	p := &published{
		provider: s.provider, up: s.up, view: v, route: routed(v), demerits: s.demerits,
		queued: s.queued(), cause: s.cause,
	}
	p.asks = s.policy.Managed || s.policy.Concurrency > 0 || v.RampLimit > 0
	p.ratio = s.m.Ratio
	p.calm = !p.asks && v.State == health.Healthy && v.Phase == health.NoPhase && v.ConsecutiveFailures == 0 &&
		v.Trial == health.NoTrial && !p.ratio
	if g := k.groups[groupName(s.provider)]; g != nil {
		p.process = g.view(s.id)
		p.route.Queues = s.m.State == health.Excluded && s.m.Phase == health.Restarting && p.process != nil && p.process.State != health.CrashLoop
	}
	s.live.Store(p)
}

// queued returns how many requests wait for the provider.
func (s *seat) queued() int { return len(s.line) + len(s.jury) + len(s.wants) }

// routed is a view in the words of routing.
func routed(v health.View) route.Live {
	l := route.Live{
		Trial: v.Trial == health.TrialOpen, Ramping: v.RampLimit > 0, NextProbe: v.NextProbeAt, PanicFrom: v.PanicFrom,
		WithdrawnTill: v.Until, Parked: route.Reason(v.ParkedReason.String()), ParkedUntil: v.ParkedUntil,
	}
	switch {
	case v.State == health.Excluded && v.By == health.ByOperator:
		l.Health = route.Withdrawn
	case v.State == health.Excluded && v.Phase == health.Restarting:
		l.Health = route.Restarting
	case v.State == health.Excluded:
		l.Health = route.Excluded
		l.Probing = v.Phase == health.Probing
	case v.State == health.Unhealthy:
		l.Health = route.Unhealthy
	case v.State == health.Degraded:
		l.Health = route.Degraded
	}
	return l
}

// Live returns what routing reads of a provider in a profile. A provider that
// nobody keeps is well.
func (k *Keeper) Live(profile drey.ProfileID, id drey.ProviderID) route.Live {
	s := k.seat(id)
	if s == nil {
		return route.Live{}
	}
	p := s.live.Load()
	l := p.route
	l.InFlight = int(s.inFlight.Load())
	l.Busy = p.provider.Limits.Concurrency > 0 && l.InFlight >= p.provider.Limits.Concurrency
	if p.demerits != nil {
		l.Demerits = p.demerits[profile]
	}
	return l
}

// inStory returns the event that whatever happens to the provider by itself is
// caused by; 0 if it is at rest.
func (s *seat) inStory() drey.Seq {
	m := &s.m
	if m.State == health.Healthy && m.Phase == health.NoPhase && m.ParkedUntil.IsZero() {
		return 0
	}
	return s.cause
}

// tellDrainers answers the operators who wait for the last answer, once it is
// over.
func (k *Keeper) tellDrainers(s *seat) {
	if len(s.drainers) == 0 || s.m.State == health.Excluded && s.m.Phase == health.Draining {
		return
	}
	for _, d := range s.drainers {
		d <- s.m.Killed // it holds one
	}
	s.drainers = nil
}

// forget drops what was counted of another backend.
func (s *seat) forget() {
	s.attempts.Store(0)
	s.successes.Store(0)
	for class := range s.failures {
		s.failures[class].Store(0)
	}
	s.lastError.Store(nil)
	s.lastOK.Store(0)
	s.answers = samples{}
}
