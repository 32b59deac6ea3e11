package dormancy

import (
	"context"
	"time"

	"github.com/dreyhq/drey/internal/lifecycle"
)

// operator is the reason of what an operator does.
const operator = "operator"

// SleepOptions say how an operator sends the daemon to sleep. The zero value
// refuses while work is in flight and tells nobody how it goes.
type SleepOptions struct {
	// Force runs the cycle although one is clean, upkeep is in quarantine (and
	// stays there) or work is in flight; then the state is left alone and the
	// steps go in slices beside the work.
	Force bool
	// Begun is called when it was not refused, before the first step ends; nil =
	// nobody wants to know.
	Begun func()
	// Progress is told each step as it ends, from the goroutine that called
	// Sleep.
	Progress func(StepReport)
}

// StepReport is one step that has ended.
type StepReport struct {
	Number  int // of the step
	Of      int // how many steps a cycle has
	Name    string
	Skipped string // why there was nothing to do; empty if there was
	Took    time.Duration
	Err     error // nil = ok
}

// CycleReport is what a sleep came to.
type CycleReport struct {
	Mode    string // lifecycle.ModeSleep, ModeBackstop or ModeForced; empty if nothing ran
	Clean   bool   // nothing ran, because nothing has happened since the last cycle
	Resumed bool   // it went on where an earlier one had stopped
	Took    time.Duration
	Steps   []StepReport // those that ended after the call
}

// watcher is an operator who waits for a cycle.
type watcher struct {
	steps chan StepReport // holds all that a cycle has
	done  chan cycleEnd   // holds one
}

type cycleEnd struct {
	report CycleReport
	err    error
}

// tell does something in the owner's goroutine and returns what it came to, or
// ErrStopped, or ctx's error; then it may happen still.
func (o *Owner) tell(ctx context.Context, do func() error) error {
	done := make(chan error, 1)
	select {
	case o.calls <- func() { done <- do() }:
	case <-o.ended:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Wake leads to WAKE from every state and returns when that is on disk, with
// the state. When it cannot be saved the error says so, the old state is
// returned, and the owner goes on trying.
func (o *Owner) Wake(ctx context.Context, reason string) (lifecycle.State, error) {
	var state lifecycle.State
	err := o.tell(ctx, func() error {
		if o.ending || o.gone {
			return ErrStopped
		}
		o.ask(o.cfg.Redact(reason))
		o.hurry()
		o.rouse()
		state = o.record.State
		return o.retry.err
	})
	if err != nil {
		return o.view.Load().record.State, err
	}
	return state, nil
}

// Sleep sends the daemon to sleep, or runs the cycle beside its work, and
// returns when the cycle has ended. One that runs already is joined. Errors: a
// *BusyError or ErrQuarantined when it was refused, a *StepError when a step
// failed, ErrInterrupted when work came, ErrStopped. When ctx ends first, its
// error is returned and the cycle goes on.
func (o *Owner) Sleep(ctx context.Context, opt SleepOptions) (CycleReport, error) {
	w := &watcher{steps: make(chan StepReport, len(o.cfg.Steps)+1), done: make(chan cycleEnd, 1)}
	if err := o.tell(ctx, func() error { return o.sleep(w, opt.Force) }); err != nil {
		return CycleReport{}, err
	}
	if opt.Begun != nil {
		opt.Begun()
	}
	var seen []StepReport
	report := func(r StepReport) {
		seen = append(seen, r)
		if opt.Progress != nil {
			opt.Progress(r)
		}
	}
	for {
		select {
		case r := <-w.steps:
			report(r)
			continue
		case end := <-w.done:
			for len(w.steps) > 0 { // all of it came before the end
				report(<-w.steps)
			}
			end.report.Steps = seen
			return end.report, end.err
		case <-ctx.Done():
			return CycleReport{Steps: seen}, ctx.Err()
		case <-o.ended:
			select {
			case end := <-w.done:
				for len(w.steps) > 0 {
					report(<-w.steps)
				}
				end.report.Steps = seen
				return end.report, end.err
			default:
				return CycleReport{Steps: seen}, ErrStopped
			}
		}
	}
}

// sleep is Sleep in the owner's goroutine. Its branches:
//
//  1. in quarantine nothing runs that is not forced;
//  2. with work in flight it is refused, or runs and leaves the state alone;
//  3. else the state follows, the last activity being recorded first;
//  4. a cycle that runs is joined; forced, it does not give way any more;
//  5. nothing has happened since the last cycle: there is nothing to do;
//  6. a cycle begins.
func (o *Owner) sleep(w *watcher, force bool) error {
	if o.ending || o.gone {
		return ErrStopped
	}
	if o.record.Quarantine != nil && !force { // 1
		return ErrQuarantined
	}
	o.visit()
	o.hurry()
	if o.rouse(); o.held() {
		return o.retry.err
	}
	begun, inFlight := o.work.look()
	switch {
	case inFlight == 0 && len(o.leases.active) == 0: // 3
		if !o.settleDown() {
			return o.retry.err
		}
	case !force: // 2
		return &BusyError{InFlight: inFlight, Leases: len(o.leases.active)}
	}
	if o.cycle != nil { // 4
		if force {
			o.steady()
		}
		o.cycle.watchers = append(o.cycle.watchers, w)
		return nil
	}
	if !force && o.clean() { // 5
		w.done <- cycleEnd{report: CycleReport{Clean: true}}
		return nil
	}
	mode := lifecycle.ModeSleep
	if force {
		mode = lifecycle.ModeForced
	}
	if !o.beginCycle(mode, begun, force, w) { // 6
		return o.retry.err
	}
	return nil
}

// settleDown leads to SLEEP without waiting for idleness.
func (o *Owner) settleDown() bool {
	now := o.cfg.Now()
	switch o.record.State {
	case lifecycle.Wake:
		if !o.flushLate() || !o.dispatch(lifecycle.Event{Name: lifecycle.Idle5Min, At: now, Reason: operator}) {
			return false
		}
		fallthrough
	case lifecycle.Drowsy:
		return o.dispatch(lifecycle.Event{Name: lifecycle.Idle30Min, At: now, Guards: lifecycle.Guards{SleepEligible: true}, Reason: operator})
	}
	return true
}

// Hibernate is Sleep and then HIBERNATION at once, without waiting for
// hibernate_after. It returns nil when that is on disk and Serve returns
// ErrHibernated, and else what is in the way: a *HeldError, ErrActivity, the
// error of a door, or one of Sleep's.
func (o *Owner) Hibernate(ctx context.Context) error {
	if _, err := o.Sleep(ctx, SleepOptions{}); err != nil {
		return err
	}
	d := &departure{done: make(chan error, 1)}
	if err := o.tell(ctx, func() error {
		o.eager = append(o.eager, d)
		return nil
	}); err != nil {
		d.withdrawn.Store(true)
		return err
	}
	select {
	case err := <-d.done:
		return err
	case <-ctx.Done():
		d.withdrawn.Store(true)
		return ctx.Err()
	case <-o.ended:
		select {
		case err := <-d.done:
			return err
		default:
			return ErrStopped
		}
	}
}

// ResetQuarantine lifts the quarantine of the upkeep. It reports whether there
// was one; where there was none, nothing is written.
func (o *Owner) ResetQuarantine(ctx context.Context) (lifted bool, err error) {
	err = o.tell(ctx, func() error {
		if o.record.Quarantine == nil {
			return nil
		}
		now := o.cfg.Now()
		if !o.update(func(r lifecycle.Record) (lifecycle.Record, []lifecycle.Line) {
			return lifecycle.LiftQuarantine(r, now, lifecycle.LiftManual)
		}) {
			return o.retry.err
		}
		lifted = true
		return nil
	})
	return lifted, err
}
