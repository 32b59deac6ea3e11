package healing

import (
	"context"
	"slices"

	"github.com/dreyhq/drey/internal/health"
)

// Rest is how far the daemon rests: the state of its lifecycle as far as
// providers are concerned.
type Rest uint8

// The rests. A Keeper begins Awake.
const (
	Awake  Rest = iota // WAKE
	Drowsy             // DROWSY: no continuous probing
	Asleep             // SLEEP: besides, recovery probes are at least health.probe.max apart
)

// Rest tells in which state the daemon is, and returns when providers are kept
// accordingly: a round of continuous probing that runs is over, and its last
// probe decided nothing. Idle connections are closed where the daemon rests. The
// same again does nothing.
func (k *Keeper) Rest(r Rest) {
	if Rest(k.rest.Swap(uint32(r))) == r {
		return
	}
	if r != Awake {
		k.endRound()
	}
	k.wait(func() {
		asleep := Rest(k.rest.Load()) == Asleep // of two at once the last one counts
		for _, s := range k.everybody() {
			if r != Awake {
				s.up.Close()
			}
			if s.policy.Asleep != asleep {
				s.policy.Asleep = asleep
				k.step(s, health.PolicyChanged{Meta: k.meta(s)})
			}
		}
	})
	k.patrolAgain()
}

// Quiet ends probing, continuous and recovery, and saves what a kill would
// forget; results of attempts still count. It is the second step of a stop
// (the gateway contract, section 15) and returns when it is done. Resume takes
// it back.
func (k *Keeper) Quiet() {
	k.still.Store(true)
	k.endRound()
	k.wait(k.hush)
}

// AwaitRestarts returns when no restart command runs, which is the third step of
// a stop: a command gets what is left of the time for answers under way. The
// error is the cause of ctx's end, or ErrClosed; a command that still runs then
// is ended when Serve ends.
func (k *Keeper) AwaitRestarts(ctx context.Context) error {
	return k.until(ctx, func() bool { return k.restarting == 0 })
}

// Settle brings everything to rest before a HIBERNATION: no probe runs, restart
// commands have ended, processes have stopped with their grace, and all of it
// is durable. Requests for processes are refused from then on ("shutdown");
// others still go, and are counted.
//
// After it the caller either ends Serve, or calls Resume because HIBERNATION was
// called off. That holds after an error too, which is the cause of ctx's end, or
// ErrClosed: what was begun is not undone.
func (k *Keeper) Settle(ctx context.Context) error {
	k.Quiet()
	if err := k.AwaitRestarts(ctx); err != nil {
		return err
	}
	k.wait(k.settle)
	return k.until(ctx, k.idle)
}

// Resume takes back Quiet and Settle: probes go on, those whose time has come at
// once, and processes start when they are wanted; eager ones, and those for
// which a provider waits that heals, without a request. Nothing was forgotten
// meanwhile. It does nothing if neither was called, or when Serve is asked to
// end.
func (k *Keeper) Resume() {
	k.wait(func() {
		if k.ending || !k.quiet {
			return
		}
		k.quiet = false
		k.still.Store(false)
		if k.settled {
			k.settled = false
			for _, name := range k.groupNames() {
				k.groupStep(k.groups[name], health.GroupResumed{GroupMeta: k.groupMeta()}, nil)
				k.groupStep(k.groups[name], health.GroupOpened{GroupMeta: k.groupMeta()}, nil)
			}
		}
		for _, s := range k.everybody() {
			k.step(s, health.Resumed{Meta: k.meta(s)})
		}
	})
	k.patrolAgain()
}

// hush tells every machine that the daemon stops.
func (k *Keeper) hush() {
	if k.quiet {
		return
	}
	k.quiet = true
	for _, s := range k.everybody() {
		k.step(s, health.ShutdownBegan{Meta: k.meta(s)})
	}
}

// settle saves what has changed since hush, and stops the processes.
func (k *Keeper) settle() {
	k.settled = true
	for _, s := range k.everybody() {
		k.save(s)
	}
	for _, name := range k.groupNames() {
		k.groupStep(k.groups[name], health.GroupShutdown{GroupMeta: k.groupMeta()}, nil)
	}
}

// condition is something that a caller waits for. The owner looks whether it is
// so after everything that happens.
type condition struct {
	is   func() bool
	done chan struct{} // closed then
}

// until returns when the owner sees that something is so. Errors: the cause of
// ctx's end, ErrClosed.
func (k *Keeper) until(ctx context.Context, is func() bool) error {
	done := make(chan struct{})
	k.post(func() { k.awaited = append(k.awaited, condition{is, done}) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		k.post(func() {
			k.awaited = slices.DeleteFunc(k.awaited, func(c condition) bool { return c.done == done })
		})
		return context.Cause(ctx)
	case <-k.ended:
		return ErrClosed
	}
}

// tellAwaited tells the callers whose condition holds.
func (k *Keeper) tellAwaited() {
	k.awaited = slices.DeleteFunc(k.awaited, func(c condition) bool {
		if !c.is() {
			return false
		}
		close(c.done)
		return true
	})
}
