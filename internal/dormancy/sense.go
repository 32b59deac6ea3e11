package dormancy

import (
	"time"

	"github.com/dreyhq/drey/internal/lifecycle"
)

const (
	// never is how long the owner sleeps when nothing is due: until something
	// happens.
	never = 24 * time.Hour
	// quietAgain is how far apart the owner looks at a daemon that is never
	// quiet for long.
	quietAgain = time.Second
)

// look does everything that is due and returns how long nothing will be. Who
// comes while it looks either is seen by it or wakes the owner again.
func (o *Owner) look() time.Duration {
	for {
		if o.stirred {
			o.visit()
		}
		o.rouse()
		o.advance()
		begun, inFlight := o.work.look()
		again, next := o.perform(begun)
		if again {
			continue
		}
		asked, wait := o.listen(begun, inFlight)
		// Who came before the owner listened is not told of.
		now, flying := o.work.look()
		if asked&onBegin != 0 && now != begun || asked&onQuiet != 0 && flying == 0 {
			continue
		}
		return min(next, wait)
	}
}

// rouse acts upon what asks for WAKE: somebody's word, and activity in a state
// that activity ends. Activity in WAKE is recorded when that is due.
func (o *Owner) rouse() {
	if o.held() || o.ending || o.gone {
		return
	}
	if o.wake != nil {
		o.turnBack(ErrActivity)
		if !o.dispatch(lifecycle.Event{Name: lifecycle.EventFor(o.record.State, lifecycle.WakeAsked), At: o.cfg.Now(), Reason: *o.wake}) {
			return
		}
		o.wake = nil
		now := o.work.now()
		o.work.touch(now)
		o.written, o.flushed = now, now
	}
	begun, _ := o.work.look()
	if v := o.leaving; v != nil && v.begun != begun {
		o.turnBack(ErrActivity)
	}
	if o.record.State != lifecycle.Wake && begun != o.seen {
		noticed := max(o.work.noticed.Load(), o.moved)
		if !o.recordWork(begun, lifecycle.EventFor(o.record.State, lifecycle.ActivityBegan), o.work.now()) {
			return
		}
		o.cfg.Woke(time.Duration(o.work.now() - noticed))
	}
	if o.refreshed && o.record.State != lifecycle.Wake {
		if name := lifecycle.EventFor(o.record.State, lifecycle.LeaseRefreshed); name != lifecycle.NoEvent {
			o.recordWork(begun, name, o.work.now())
		} else {
			o.refreshed = false
		}
	}
}

// recordWork dispatches an event that says that there was activity, of which so
// much had begun, and the last of it at an instant.
func (o *Owner) recordWork(begun uint64, name lifecycle.EventName, at int64) bool {
	if !o.dispatch(lifecycle.Event{Name: name, At: o.at(at)}) {
		return false
	}
	o.written, o.flushed, o.refreshed = at, o.work.now(), false
	if begun != o.seen {
		o.seen = begun
		o.worked()
	}
	return true
}

// flushLate records the end of the last work, if that is not done.
func (o *Owner) flushLate() bool {
	begun, inFlight := o.work.look()
	at := o.work.ended.Load()
	if inFlight > 0 {
		at = o.work.now()
	}
	if begun == o.seen && at <= o.written && !o.refreshed {
		return true
	}
	return o.recordWork(begun, lifecycle.HeartbeatRefresh, at)
}

// perform does what is due first, and reports whether to look again; else it
// returns how long nothing is due. begun is the activity that the owner knows
// of.
func (o *Owner) perform(begun uint64) (again bool, next time.Duration) {
	switch {
	case o.ending || o.gone:
		return false, never
	case o.held():
		return false, time.Duration(o.retry.at - o.work.now())
	case o.leaving != nil:
		return false, never // its end is the next thing that happens
	case len(o.eager) > 0 && o.cycle == nil:
		o.leaveNow(begun)
		return true, 0
	}
	next = never
	if o.woken {
		if next = o.policy.BootGrace - time.Duration(o.work.now()-epoch); next <= 0 {
			o.countWake()
			return true, 0
		}
	}
	for _, at := range []int64{o.leases.until, o.leases.again} {
		if at == 0 {
			continue
		}
		wait := time.Duration(at - o.work.now())
		if wait <= 0 {
			o.visit()
			return true, 0
		}
		next = min(next, wait)
	}
	f := o.facts()
	due, ok := lifecycle.Next(o.record, f, o.policy)
	if !ok {
		return false, next
	}
	due = o.putOff(due, f.Now, o.notBefore)
	if due.At.After(f.Now) {
		return false, min(next, due.At.Sub(f.Now))
	}
	o.do(due, begun)
	return true, 0
}

// putOff puts a departure off that comes too soon after one that failed. wall is
// the wall time of now.
func (o *Owner) putOff(due lifecycle.Due, wall time.Time, notBefore int64) lifecycle.Due {
	if due.Event == lifecycle.SleepCycleDone {
		due.At = later(due.At, wall.Add(time.Duration(notBefore-o.work.now())))
	}
	return due
}

// do does what is due.
func (o *Owner) do(due lifecycle.Due, begun uint64) {
	now := o.cfg.Now()
	switch due.Task {
	case lifecycle.RecordWork:
		o.flushLate()
	case lifecycle.LiftTask:
		o.update(func(r lifecycle.Record) (lifecycle.Record, []lifecycle.Line) {
			return lifecycle.Recheck(r, now, o.policy)
		})
	case lifecycle.Dispatch:
		// A lease or a signal of which nobody told us may be there.
		if o.visit(); o.wake != nil || o.refreshed {
			return
		}
		if now, _ := o.work.look(); now != begun {
			return // somebody came
		}
		if due.Event == lifecycle.SleepCycleDone {
			if len(o.holds(false)) == 0 {
				o.depart(begun, false)
			}
			return
		}
		o.dispatch(lifecycle.Event{Name: due.Event, At: now, Guards: due.Guards})
	case lifecycle.BeginCycle:
		o.beginCycle(lifecycle.ModeSleep, begun, false)
	case lifecycle.BeginQuiet:
		o.beginCycle(lifecycle.ModeBackstop, begun, false)
	case lifecycle.BeginSliced:
		o.beginCycle(lifecycle.ModeBackstop, begun, true)
	}
}

// listen says of what the owner must be told, and how long it does without in
// any case. In WAKE with something unrecorded it need not hear of more: the timer
// is armed.
func (o *Owner) listen(begun uint64, inFlight int) (asked uint32, wait time.Duration) {
	if o.ending || o.gone || o.held() {
		return 0, never
	}
	wait = never
	if o.record.State != lifecycle.Wake || begun == o.seen && inFlight == 0 {
		asked |= onBegin
	}
	if inFlight > 0 && o.work.alert.Load()&onQuiet == 0 {
		// Under a load of short requests it is quiet often and never for long.
		now := o.work.now()
		if wait = time.Duration(o.quiet - now); wait <= 0 {
			wait = never
			o.quiet = now + int64(min(quietAgain, o.policy.DrowsyAfter))
			asked |= onQuiet
		}
	}
	o.work.alert.Or(asked)
	return asked, wait
}

// leaveNow serves the operators who want HIBERNATION. The state is SLEEP, unless
// there was work since.
func (o *Owner) leaveNow(begun uint64) {
	kept := o.eager[:0]
	for _, d := range o.eager {
		if !d.withdrawn.Load() {
			kept = append(kept, d)
		}
	}
	o.eager = kept
	if len(kept) == 0 {
		return
	}
	switch {
	case o.record.State == lifecycle.Hibernation: // a shadow run
		o.tellLeft(nil)
	case o.record.State != lifecycle.Sleep:
		o.tellLeft(ErrActivity)
	default:
		if blocks := o.holds(true); len(blocks) > 0 {
			o.tellLeft(&HeldError{blocks})
			return
		}
		o.depart(begun, true)
	}
}

// clean reports whether nothing has happened since the last cycle.
func (o *Owner) clean() bool { return o.record.Progress == nil && lifecycle.Clean(o.record) }

// holds returns what keeps the daemon from HIBERNATION; an operator who asks
// for it does not wait for hibernate_after.
func (o *Owner) holds(asked bool) []lifecycle.Block {
	p := o.policy
	if asked {
		p.HibernateAfter = 0
	}
	return lifecycle.StillIdle(o.record, o.facts(), p)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
