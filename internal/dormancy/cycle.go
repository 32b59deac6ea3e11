package dormancy

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dreyhq/drey/internal/lifecycle"
)

// cycle is a sleep cycle under way. It belongs to the owner, apart from what is
// atomic.
type cycle struct {
	run      lifecycle.Run
	begun    uint64      // the activity that had begun when it was decided
	steady   atomic.Bool // it does not give way, but goes in slices beside work
	started  int64
	bout     *bout    // the step that runs; nil between two
	end      *boutEnd // of the last step, not yet on disk
	watchers []*watcher
}

// beginCycle begins a cycle where the last one stopped, if that can be saved.
// begun is the activity on whose absence that was decided.
func (o *Owner) beginCycle(mode string, begun uint64, steady bool, watchers ...*watcher) bool {
	plan := make(lifecycle.Plan, len(o.cfg.Steps))
	for i, s := range o.cfg.Steps {
		plan[i] = lifecycle.StepRef{Number: s.Number, Name: s.Name}
	}
	now := o.cfg.Now()
	var run lifecycle.Run
	if !o.update(func(r lifecycle.Record) (lifecycle.Record, []lifecycle.Line) {
		var lines []lifecycle.Line
		r, run, lines = lifecycle.StartCycle(r, now, mode, plan)
		return r, append(lines, lifecycle.StartStep(run, now)...)
	}) {
		return false
	}
	o.cycle = &cycle{run: run, begun: begun, started: o.work.now(), watchers: watchers}
	o.cycle.steady.Store(steady)
	o.startStep()
	return true
}

// startStep runs the step that is next.
func (o *Owner) startStep() {
	c := o.cycle
	i := slices.IndexFunc(o.cfg.Steps, func(s Step) bool { return s.Number == c.run.Step.Number })
	b := newBout(o.effects, o.cfg.Steps[i], o.work, &c.steady)
	c.bout = b
	if !c.steady.Load() && !o.work.guard(func() { b.cancel(ErrActivity) }, c.begun) {
		b.cancel(ErrActivity)
	}
	o.wg.Go(func() { o.bouts <- b.run() })
}

// boutEnded takes in what a step came to.
func (o *Owner) boutEnded(end boutEnd) {
	o.work.unguard()
	o.cycle.bout, o.cycle.end = nil, &end
	o.cfg.StepTook(end.bout.step.Name, end.took)
}

// steady has the cycle go on beside work from now on.
func (o *Owner) steady() {
	o.cycle.steady.Store(true)
	o.work.unguard()
}

// advance saves what the last step came to and goes on from there. What cannot
// be saved is tried again, and the cycle waits for it. Its branches:
//
//  1. the step is complete: the next one begins, or the cycle is;
//  2. it gave way to work or to the end of the daemon, or the next one would
//     have to: that is no strike;
//  3. it failed, took too long or panicked.
func (o *Owner) advance() {
	c := o.cycle
	if c == nil || c.end == nil || o.held() && !o.ending {
		return
	}
	end, now := c.end, o.cfg.Now()
	cause := context.Cause(end.bout.ctx)
	defer end.bout.cancel(nil)
	gaveWay := end.err != nil && (errors.Is(cause, ErrActivity) || errors.Is(cause, ErrStopped))
	switch {
	case end.err == nil: // 1
		stop := o.mustStop()
		run, complete := c.run, false
		if !o.update(func(r lifecycle.Record) (lifecycle.Record, []lifecycle.Line) {
			var lines, more []lifecycle.Line
			r, run, complete, lines = lifecycle.StepDone(r, c.run, now, lifecycle.Outcome{Took: end.took, Skipped: end.skipped, Metrics: end.metrics})
			switch {
			case complete:
			case stop != nil: // 2
				r, more = lifecycle.StepDeferred(r, run, now, 0, reason(stop))
			default:
				more = lifecycle.StartStep(run, now)
			}
			return r, append(lines, more...)
		}) {
			return
		}
		c.run, c.end = run, nil
		o.report(end, nil)
		switch {
		case complete:
			o.completed = o.work.now()
			o.endCycle(nil)
		case stop != nil:
			o.endCycle(interrupted(stop))
		default:
			o.startStep()
		}
	case gaveWay: // 2
		if !o.update(func(r lifecycle.Record) (lifecycle.Record, []lifecycle.Line) {
			return lifecycle.StepDeferred(r, c.run, now, int(end.bout.chunk.Load()), reason(cause))
		}) {
			return
		}
		o.report(end, interrupted(cause))
		o.endCycle(interrupted(cause))
	default: // 3
		err := end.err
		if errors.Is(cause, errTimeout) {
			err = errTimeout
		}
		if !o.update(func(r lifecycle.Record) (lifecycle.Record, []lifecycle.Line) {
			return lifecycle.StepFailed(r, c.run, now, end.took, o.cfg.Redact(err.Error()), o.policy)
		}) {
			return
		}
		o.failed = o.work.now()
		step := &StepError{Number: c.run.Step.Number, Name: c.run.Step.Name, Err: err}
		if p := o.record.Progress; p != nil {
			step.Attempt = p.Attempt
		}
		o.cfg.Log.Warn("sleep step failed", "step", step.Name, "attempt", step.Attempt, "error", err, "stack", string(end.stack))
		o.report(end, step)
		o.endCycle(step)
	}
}

// mustStop says why the next step must not begin; nil = it may.
func (o *Owner) mustStop() error {
	begun, _ := o.work.look()
	switch {
	case o.ending:
		return ErrStopped
	case !o.cycle.steady.Load() && (begun != o.cycle.begun || o.cycle.end.cut()):
		return ErrActivity
	}
	return nil
}

// cut reports whether the step was told to give way, also where it was
// complete before it could.
func (e *boutEnd) cut() bool { return errors.Is(context.Cause(e.bout.ctx), ErrActivity) }

// reason is why something gave way, in its line.
func reason(cause error) string {
	if errors.Is(cause, ErrStopped) {
		return "stop"
	}
	return "activity"
}

// interrupted is what an operator is told who waited for what gave way.
func interrupted(cause error) error {
	if errors.Is(cause, ErrStopped) {
		return ErrStopped
	}
	return ErrInterrupted
}

// report tells the operators who wait that a step has ended.
func (o *Owner) report(end *boutEnd, err error) {
	s := end.bout.step
	for _, w := range o.cycle.watchers {
		w.steps <- StepReport{
			Number: s.Number, Of: len(o.cfg.Steps), Name: s.Name, Skipped: end.skipped, Took: end.took, Err: err,
		}
	}
}

// endCycle is the end of the run, whatever it came to.
func (o *Owner) endCycle(err error) {
	c := o.cycle
	if c == nil {
		return
	}
	o.cycle = nil
	end := cycleEnd{CycleReport{Mode: c.run.Mode, Resumed: c.run.Resumed, Took: time.Duration(o.work.now() - c.started)}, err}
	for _, w := range c.watchers {
		w.done <- end
	}
}
