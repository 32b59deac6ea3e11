package dormancy

import (
	"context"
	"time"

	"github.com/dreyhq/drey/internal/lifecycle"
)

// Status is what the lifecycle looks like at one moment.
type Status struct {
	Record   lifecycle.Record // as it is on disk; a copy
	InFlight int
	Idle     time.Duration // since the last activity; 0 while something is in flight
	Running  *Running      // the cycle that runs; nil = none
	Leaving  bool          // the doors close for HIBERNATION
	// Blocks is why the daemon may not hibernate at this moment; empty = it may.
	Blocks []lifecycle.Block
	// Next is what happens next if nobody comes; nil = nothing does.
	Next *lifecycle.Due
}

// Running is a sleep cycle under way.
type Running struct {
	Mode  string
	Step  int // its number
	Name  string
	Chunk int // the last chunk boundary that the step came to
	Of    int // how many steps there are
}

// view is what the owner knows beside the ledger, for those who may not ask
// it. It is replaced whole.
type view struct {
	record    lifecycle.Record
	policy    lifecycle.Policy
	seen      uint64
	written   int64
	flushed   int64
	failed    int64
	completed int64
	leased    int64 // until when a lease says that its client is at work
	refreshed bool
	leaving   bool
	notBefore int64
	mode      string // of the cycle that runs
	step      lifecycle.StepRef
	bout      *bout // of it; nil between two steps
}

// show lets the others see what the owner knows.
func (o *Owner) show() { o.view.Store(o.snapshot()) }

func (o *Owner) snapshot() *view {
	v := &view{
		record: o.record, policy: o.policy, seen: o.seen, written: o.written, flushed: o.flushed, failed: o.failed,
		completed: o.completed, leased: o.leases.until, refreshed: o.refreshed, leaving: o.leaving != nil, notBefore: o.notBefore,
	}
	if c := o.cycle; c != nil {
		v.mode, v.step, v.bout = c.run.Mode, c.run.Step, c.bout
	}
	return v
}

// facts is what the rules are asked about, at this moment.
func (o *Owner) facts() lifecycle.Facts { return o.factsOf(o.snapshot()) }

// factsOf makes facts. Every instant of the ledger's clock is told by the wall
// clock of this moment, so that distances hold whatever that clock has done.
func (o *Owner) factsOf(v *view) lifecycle.Facts {
	wall, now := o.cfg.Now().Round(0), o.work.now()
	at := func(instant int64) time.Time { return wall.Add(time.Duration(instant - now)) }
	ever := func(instant int64) time.Time {
		if instant == 0 {
			return time.Time{}
		}
		return at(instant)
	}
	begun, inFlight := o.work.look()
	ended := o.work.ended.Load()
	f := lifecycle.Facts{
		Now: wall, StartedAt: at(epoch), FirstStart: o.cfg.FirstStart,
		InFlight: inFlight, Baseline: at(min(ended, now)),
		Unrecorded: begun != v.seen || inFlight > 0 || ended > v.written || v.refreshed,
		RecordedAt: ever(v.flushed),
		Running:    v.mode != "", FailedAt: ever(v.failed), EndedAt: ever(v.completed),
		NextTimer: o.cfg.TimerDue(), Alarm: o.cfg.Alarm,
		ActiveLease: v.leased > now, Signal: o.cfg.Home.WakePending(), Blocks: o.cfg.Blocks(),
	}
	if f.ActiveLease { // its client works as long as it is fresh
		f.Baseline = wall
	}
	return f
}

// CatchUp returns when the state has followed the activity that has begun so
// far, or its save has failed, or ctx has ended: whoever looks after its request
// was answered sees the daemon awake.
func (o *Owner) CatchUp(ctx context.Context) {
	begun, _ := o.work.look()
	if v := o.view.Load(); v.record.State == lifecycle.Wake || v.seen == begun {
		return
	}
	_ = o.tell(ctx, func() error { o.rouse(); return nil }) // a look shows what is there
}

// Status returns what the lifecycle looks like. It asks nobody and interrupts
// nothing.
func (o *Owner) Status() Status {
	v := o.view.Load()
	f := o.factsOf(v)
	s := Status{
		Record: v.record.Clone(), InFlight: f.InFlight, Idle: f.Idle(), Leaving: v.leaving,
		Blocks: lifecycle.StillIdle(v.record, f, v.policy),
	}
	if v.mode != "" {
		s.Running = &Running{Mode: v.mode, Step: v.step.Number, Name: v.step.Name, Of: len(o.cfg.Steps)}
		if v.bout != nil {
			s.Running.Chunk = int(v.bout.chunk.Load())
		}
	}
	if due, ok := lifecycle.Next(v.record, f, v.policy); ok {
		due = o.putOff(due, f.Now, v.notBefore)
		s.Next = &due
	}
	return s
}
