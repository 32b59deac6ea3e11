package healing

import (
	"context"
	"errors"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
)

// The errors of an operator's acts that callers branch on. The Code of the
// drey.Error around each is the control API's.
var (
	// ErrNotFound: there is no provider of that name.
	ErrNotFound = errors.New("there is no such provider")
	// ErrRestartInProgress: a restart runs, or waits for answers to end.
	ErrRestartInProgress = errors.New("a restart is in progress")
	// ErrNothingToRestart: the provider has no restart command and is no
	// process of drey's.
	ErrNothingToRestart = errors.New("there is nothing to restart")
	// ErrPaidGate: a paid provider is probed only where that is allowed.
	ErrPaidGate = errors.New("a probe of this provider costs money")
	// ErrClosed: the daemon is stopping.
	ErrClosed = errors.New("the keeper has ended")
)

// ProbeResult is what a probe found.
type ProbeResult struct {
	OK      bool
	Depth   health.Depth // the rung that it ended on
	Latency time.Duration
	Class   drey.Class // of a failure
	Error   string     // one line, redacted; "" if OK
	Model   string     // the model that answered, as it calls itself; "" = it did not say
}

// Exclude takes a provider out of all chains until it is restored, or for a
// time (0 = until restored). It returns when that is durable; changed is false
// where it was so already. Errors: ErrNotFound, ErrClosed, ctx's.
func (k *Keeper) Exclude(ctx context.Context, id drey.ProviderID, reason string, span time.Duration) (v View, changed bool, err error) {
	return k.operate(ctx, "exclude provider", id, func(s *seat, m health.Meta) (health.Event, error) {
		return health.OperatorExclude{Meta: m, For: span, Reason: reason}, nil
	})
}

// Restore takes a provider back in.
func (k *Keeper) Restore(ctx context.Context, id drey.ProviderID, reason string) (v View, changed bool, err error) {
	return k.operate(ctx, "restore provider", id, func(s *seat, m health.Meta) (health.Event, error) {
		return health.OperatorRestore{Meta: m, Reason: reason}, nil
	})
}

// Restart has a provider's backend restarted, and returns when that has been
// decided. Errors besides those of Exclude: ErrRestartInProgress,
// ErrNothingToRestart.
func (k *Keeper) Restart(ctx context.Context, id drey.ProviderID, reason string) (v View, changed bool, err error) {
	return k.operate(ctx, "restart provider", id, func(s *seat, m health.Meta) (health.Event, error) {
		switch {
		case s.policy.Command == "":
			return nil, ErrNothingToRestart
		case !s.m.CanRestart(s.policy):
			return nil, ErrRestartInProgress
		}
		return health.OperatorRestart{Meta: m, Reason: reason}, nil
	})
}

// Drain takes a provider out and waits until its last answer is over. What is
// left at the timeout (0 = at once) is cut, with an error in its stream; killed
// says how many that were. When ctx ends first, the provider stays out.
func (k *Keeper) Drain(ctx context.Context, id drey.ProviderID, reason string, timeout time.Duration) (v View, changed bool, killed int, err error) {
	drained := make(chan int, 1)
	v, changed, err = k.operate(ctx, "drain provider", id, func(s *seat, m health.Meta) (health.Event, error) {
		s.drainers = append(s.drainers, drained)
		return health.OperatorDrain{Meta: m, Timeout: timeout, Reason: reason}, nil
	})
	if err != nil {
		return v, changed, 0, err
	}
	select {
	case killed = <-drained:
	case <-ctx.Done():
		return v, changed, 0, ctx.Err()
	case <-k.ended:
		return v, changed, 0, refusal("drain provider", id, ErrClosed)
	}
	if now, ok := k.View(id); ok {
		v = now
	}
	return v, changed, killed, nil
}

// Probe looks at a provider now, at a depth of the caller's choice. Good news
// is believed and restores a provider that is out by its health; bad news
// changes nothing. A process that is not loaded is not started by it: that is a
// result which is not OK. changed says whether the provider's state moved.
// Errors besides those of Exclude: ErrPaidGate.
func (k *Keeper) Probe(ctx context.Context, id drey.ProviderID, depth health.Depth, allowPaid bool) (r ProbeResult, v View, changed bool, err error) {
	const op = "probe provider"
	s := k.seat(id)
	if s == nil {
		return r, v, false, refusal(op, id, ErrNotFound)
	}
	live := s.live.Load()
	if live.provider.Price == drey.Paid && !allowPaid {
		return r, s.view(), false, refusal(op, id, ErrPaidGate)
	}
	r = k.look(ctx, live, depth, live.provider.Probe.Timeout)
	if ctx.Err() != nil {
		return r, s.view(), false, ctx.Err()
	}
	v, changed, err = k.operate(ctx, op, id, func(s *seat, m health.Meta) (health.Event, error) {
		return health.OperatorProbe{Meta: m, OK: r.OK, Depth: r.Depth, Latency: r.Latency}, nil
	})
	return r, v, changed, err
}

// Depth returns how far probes of a provider go by its configuration.
func (k *Keeper) Depth(id drey.ProviderID) health.Depth {
	if s := k.seat(id); s != nil {
		return s.live.Load().provider.Probe.Depth
	}
	return health.DepthGeneration
}

// operate hands an operator's event to a machine and waits until what followed
// is durable.
func (k *Keeper) operate(ctx context.Context, op string, id drey.ProviderID, event func(*seat, health.Meta) (health.Event, error)) (v View, changed bool, err error) {
	type answer struct {
		commit  *batch
		changed bool
		err     error
	}
	answers := make(chan answer, 1)
	k.post(func() {
		s := k.table.Load().seats[id]
		if s == nil {
			answers <- answer{err: ErrNotFound}
			return
		}
		ev, err := event(s, k.meta(s))
		if err != nil {
			answers <- answer{err: err}
			return
		}
		before := s.m.View()
		k.step(s, ev)
		after := s.m.View()
		a := answer{changed: before != after}
		if n := len(s.batches); n > 0 {
			a.commit = s.batches[n-1]
		}
		k.tellDrainers(s)
		answers <- a
	})
	var a answer
	select {
	case a = <-answers:
	case <-ctx.Done():
		return v, false, ctx.Err()
	case <-k.ended:
		return v, false, refusal(op, id, ErrClosed)
	}
	if s := k.seat(id); s != nil {
		defer func() { v = s.view() }()
	}
	if a.err != nil {
		return v, false, refusal(op, id, a.err)
	}
	if a.commit == nil {
		return v, a.changed, nil
	}
	select {
	case <-a.commit.durable:
		return v, a.changed, nil
	case <-ctx.Done():
		return v, a.changed, ctx.Err()
	case <-k.ended:
		return v, a.changed, nil // the end of Serve is behind all commits
	}
}

// codes are the control API's words for the errors.
var codes = map[error]struct {
	code string
	hint string
}{
	ErrNotFound:          {"not_found", "`drey provider list` shows the providers of the configuration"},
	ErrRestartInProgress: {"restart_in_progress", "wait for its end; `drey provider show` tells how far it is"},
	ErrNothingToRestart:  {"nothing_to_restart", "give the provider a restart_command or a process in the configuration"},
	ErrPaidGate:          {"paid_gate", "allow it for this probe (--paid), or set health.probe.paid"},
	ErrClosed:            {"unavailable", "the daemon is stopping; ask the next one"},
}

func refusal(op string, id drey.ProviderID, err error) error {
	c := codes[err]
	return &drey.Error{Class: drey.Caller, Code: c.code, Op: op, Provider: id, Hint: c.hint, Err: err}
}
