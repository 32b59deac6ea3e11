package dormancy

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/dreyhq/drey/internal/lifecycle"
)

// How long the doors may take. Nothing is in flight when they begin, so what
// is waited for in Pause is a status call or a stream that ends; in Settle it
// is the grace of local backends. A connection that comes meanwhile waits, so
// neither may last: when the time is over the daemon stays.
const (
	pauseWithin  = 10 * time.Second
	settleWithin = time.Minute
	// leaveAgain is how long after a departure that failed the next one is
	// tried.
	leaveAgain = time.Minute
)

// leaving is the way into HIBERNATION (§7.5): one door after the other is
// closed, and any activity meanwhile turns the daemon back.
type leaving struct {
	begun  uint64 // the activity that had begun when it set out
	asked  bool   // by an operator, who does not wait for hibernate_after
	ctx    context.Context
	cancel context.CancelCauseFunc
	phase  phase
	back   error // why it turns back; nil = it does not
}

// phase says which door moves.
type phase uint8

const (
	pausing phase = iota
	settling
	resuming
)

// departure is an operator who wants HIBERNATION now.
type departure struct {
	done      chan error // holds one
	withdrawn atomic.Bool
}

// depart sets out for HIBERNATION, which nothing held back when activity had
// begun so often. A shadow run closes no doors, since nothing ends.
func (o *Owner) depart(begun uint64, asked bool) {
	if !o.countWake() {
		return
	}
	if o.policy.ShadowRun {
		o.tellLeft(o.pass(begun, asked))
		return
	}
	v := &leaving{begun: begun, asked: asked}
	v.ctx, v.cancel = context.WithCancelCause(o.effects)
	o.leaving = v
	if !o.work.guard(func() { v.cancel(ErrActivity) }, begun) {
		o.turnBack(ErrActivity)
	}
	o.move(v, o.cfg.Doors.Pause, pauseWithin)
}

// move moves a door beside the owner. Its end is the next thing that happens.
func (o *Owner) move(v *leaving, door func(context.Context) error, within time.Duration) {
	o.wg.Go(func() {
		ctx, stop := context.WithTimeoutCause(v.ctx, within, errTimeout)
		defer stop()
		var err error
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
			o.doors <- err
		}()
		if err = door(ctx); err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	})
}

// turnBack has the daemon stay, if it is leaving.
func (o *Owner) turnBack(why error) {
	if v := o.leaving; v != nil && v.back == nil {
		v.back = why
		v.cancel(why)
	}
}

// doorEnded goes on when a door has moved:
//
//  1. the doors are open again: that was it;
//  2. it failed, or there was activity: they are opened;
//  3. accepting is paused and nothing is left: the rest settles;
//  4. all has settled: the point of no return, if still nothing stands against
//     it.
func (o *Owner) doorEnded(err error) {
	v := o.leaving
	if v.phase == resuming { // 1
		o.leaving = nil
		o.work.unguard()
		v.cancel(nil)
		o.tellLeft(v.back)
		return
	}
	if begun, inFlight := o.work.look(); begun != v.begun || inFlight > 0 {
		err = ErrActivity
	}
	if err != nil {
		o.turnBack(err)
	}
	if v.back == nil && v.phase == pausing { // 3
		v.phase = settling
		o.move(v, o.cfg.Doors.Settle, settleWithin)
		return
	}
	if v.back == nil { // 4
		if err = o.pass(v.begun, v.asked); err == nil {
			v.cancel(nil)
			o.leaving = nil
			o.tellLeft(nil)
			return
		}
		o.turnBack(err)
	}
	o.stay(v) // 2
}

// stay opens the doors again.
func (o *Owner) stay(v *leaving) {
	if !errors.Is(v.back, ErrActivity) && !errors.Is(v.back, ErrStopped) {
		o.cfg.Log.Warn("hibernation given up", "error", v.back)
		o.notBefore = o.work.now() + int64(leaveAgain)
	}
	v.phase = resuming
	o.move(v, func(context.Context) error {
		o.cfg.Doors.Resume()
		return nil
	}, settleWithin)
}

// pass is the point of no return. nil = it is behind; else the error says why
// the daemon stays. Who comes between the last look and the save is seen after
// it and wakes the record again, since the process has not ended.
func (o *Owner) pass(begun uint64, asked bool) error {
	o.visit()
	if o.wake != nil {
		return ErrActivity
	}
	if blocks := o.holds(asked); len(blocks) > 0 {
		return &HeldError{blocks}
	}
	if !o.dispatch(lifecycle.Event{Name: lifecycle.SleepCycleDone, At: o.cfg.Now(), Guards: lifecycle.Guards{StillIdle: true}}) {
		return o.retry.err
	}
	if now, _ := o.work.look(); now != begun {
		o.gone = false
		return ErrActivity
	}
	return nil
}

// tellLeft answers the operators who wanted HIBERNATION.
func (o *Owner) tellLeft(err error) {
	for _, d := range o.eager {
		d.done <- err
	}
	o.eager = nil
}
