package lifecycle

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dreyhq/drey"
)

// Why a cycle runs: the mode in its lines and in Record.LastCycle.
const (
	ModeSleep    = "sleep"    // in SLEEP
	ModeBackstop = "backstop" // outside of SLEEP, because none was complete for long (§6.7)
	ModeForced   = "forced"   // because somebody said so (§8.7)
)

// StepVerify is the name of the step whose failure means that the store is
// damaged (§8.1).
const StepVerify = "verify"

// StepRef names a step of the cycle. Its number is persisted: it is never
// reused, and later steps get later ones.
type StepRef struct {
	Number int
	Name   string
}

// Plan is the cycle: its steps, numbered from 1 without gaps. It has at least
// one.
type Plan []StepRef

// Run is one run of the cycle by one process, from its start until it ends or
// gives way. The owner keeps it beside the record and replaces it by what the
// functions return.
type Run struct {
	Mode      string
	Resumed   bool      // steps were completed by an earlier run
	StartedAt time.Time // of this run
	Step      StepRef   // to do now

	plan    Plan
	started time.Time // of the cycle
}

// Clean reports whether there was no activity since the last complete cycle.
// It compares counts, since a clock may step.
func Clean(r Record) bool { return r.LastCycle != nil && r.LastCycle.Seq == r.Seq }

// cycleWanted reports whether SLEEP is to run a cycle at all: when it may
// begin is CycleAt's to say.
func cycleWanted(r Record) bool {
	return r.Quarantine == nil && (r.Progress != nil || !Clean(r))
}

// CycleAt returns from when on the next cycle may begin in SLEEP, and false if
// none is due in this idle period by the passing of time: while one runs or
// something is in flight, and during a quarantine.
//
//  1. an unfinished one: RetryDelay after its last failure, which a process
//     that has not seen it takes to be its own start;
//  2. with a clean one behind: 24 h after that;
//  3. else now;
//
// and in no case before the grace of the boot is over.
func CycleAt(r Record, f Facts, p Policy) (time.Time, bool) {
	if f.Running || f.InFlight > 0 || r.Quarantine != nil {
		return time.Time{}, false
	}
	wait := f.until(graceEnd(f, p))
	switch {
	case r.Progress != nil: // 1
		wait = max(wait, f.until(retryAt(r, f)))
	case Clean(r): // 2
		wait = max(wait, again-f.age(r))
	} // 3
	return f.Now.Add(wait), true
}

// CycleNeeded reports whether a cycle is to begin now, if the state is SLEEP.
func CycleNeeded(r Record, f Facts, p Policy) bool {
	from, ok := CycleAt(r, f, p)
	return ok && !from.After(f.Now)
}

// retryAt returns when a step that has failed may be tried again. The record
// does not say when it failed, so that a new process waits the whole time: a
// daemon that restarts in a loop does not use up the strikes at once.
func retryAt(r Record, f Facts) time.Time {
	if r.Progress == nil || r.Progress.Attempt <= 0 {
		return f.StartedAt
	}
	failed := f.FailedAt
	if failed.IsZero() {
		failed = f.StartedAt
	}
	return failed.Add(RetryDelay(r.Progress.Attempt))
}

// age returns how long ago the last complete cycle was, or the first start as
// long as there was none. A time in the future (the clock was set back) counts
// from where this process knows better, so that no cycle is put off for ever.
func (f *Facts) age(r Record) time.Duration {
	last := f.FirstStart
	if r.LastCycle != nil {
		last = r.LastCycle.CompletedAt
	}
	switch age := -f.until(last); {
	case !f.EndedAt.IsZero():
		return max(age, -f.until(f.EndedAt))
	case last.IsZero() || age < 0:
		return -f.until(f.StartedAt)
	default:
		return age
	}
}

// graceEnd is from when on idle events and cycles are allowed (§6.3).
func graceEnd(f Facts, p Policy) time.Time { return f.StartedAt.Add(p.BootGrace) }

// StartCycle begins a run of the cycle at the step after the last completed
// one. If the plan has no step of that number, a fresh cycle begins.
func StartCycle(r Record, now time.Time, mode string, plan Plan) (Record, Run, []Line) {
	run := Run{Mode: mode, StartedAt: now, Step: plan[0], plan: plan, started: instant(now)}
	if r.Progress != nil {
		if step, ok := plan.at(r.Progress.LastCompletedStep + 1); ok {
			run.Step, run.started = step, r.Progress.StartedAt
			run.Resumed = r.Progress.LastCompletedStep > 0
		} else {
			r.Progress = nil
		}
	}
	return r, run, []Line{line(now, EventCycleStarted, drey.F("mode", mode), drey.F("from_step", run.Step.Number))}
}

// at returns the step of a number.
func (p Plan) at(number int) (StepRef, bool) {
	for _, s := range p {
		if s.Number == number {
			return s, true
		}
	}
	return StepRef{}, false
}

// StartStep returns the line that says that run.Step begins.
func StartStep(run Run, now time.Time) []Line {
	return []Line{line(now, EventStepStarted, run.named()...)}
}

// Outcome is what a step that came to its end has to say.
type Outcome struct {
	Took    time.Duration
	Skipped string       // why it had nothing to do; "" = it did it
	Metrics []drey.Field // for its line
}

// StepDone returns the record after run.Step is complete, the run at its next
// step, and whether that was the last one, which completes the cycle (§8.2).
func StepDone(r Record, run Run, now time.Time, o Outcome) (_ Record, _ Run, complete bool, _ []Line) {
	fields := append(run.named(), drey.F("duration_sec", seconds(o.Took)))
	if o.Skipped != "" {
		fields = append(fields, drey.F("skipped", o.Skipped))
	}
	lines := []Line{line(now, EventStepCompleted, append(fields, o.Metrics...)...)}
	if next, ok := run.plan.at(run.Step.Number + 1); ok {
		p := run.progress(r)
		p.LastCompletedStep, p.Attempt, p.LastError = run.Step.Number, 0, nil
		r.Progress, run.Step = &p, next
		return r, run, false, lines
	}
	took := seconds(now.Sub(run.StartedAt))
	r.Progress = nil
	r.LastCycle = &Cycle{CompletedAt: instant(now), DurationSec: took, Mode: run.Mode, Seq: r.Seq}
	return r, run, true, append(lines, line(now, EventCycleCompleted,
		drey.F("mode", run.Mode), drey.F("duration_sec", took), drey.F("resumed", run.Resumed)))
}

// StepDeferred returns the record after run.Step gave way at a chunk, which
// ends the run (§8.3). It is no strike. reason says for what it gave way.
func StepDeferred(r Record, run Run, now time.Time, chunk int, reason string) (Record, []Line) {
	p := run.progress(r)
	why := fmt.Sprintf("deferred:step=%s:chunk_idx=%d", run.Step.Name, chunk)
	p.LastError = &why
	r.Progress = &p
	return r, []Line{line(now, EventCycleDeferred,
		append(run.named(), drey.F("chunk_idx", chunk), drey.F("reason", reason))...)}
}

// StepFailed returns the record after run.Step failed, timed out or panicked,
// which ends the run (§8.4). The third failure in a row quarantines the cycle;
// a quarantine that is there (§8.7) stays as it is.
func StepFailed(r Record, run Run, now time.Time, took time.Duration, cause string, p Policy) (Record, []Line) {
	pr := run.progress(r)
	if pr.Attempt < math.MaxInt32 {
		pr.Attempt++
	}
	cause = Shorten(cause)
	pr.LastError = &cause
	r.Progress = &pr
	lines := []Line{line(now, EventStepCompleted, append(run.named(),
		drey.F("duration_sec", seconds(took)), drey.F("error", cause), drey.F("attempt", pr.Attempt))...)}
	if run.Step.Name == StepVerify {
		lines = append(lines, line(now, EventStoreDamaged, drey.F("error", cause)))
	}
	if pr.Attempt >= strikes && r.Quarantine == nil {
		var entered Line
		reason := fmt.Sprintf("sleep step %d (%s) failed %dx", run.Step.Number, run.Step.Name, pr.Attempt)
		r, entered = quarantine(r, now, reason, p)
		lines = append(lines, entered)
	}
	return r, lines
}

// progress returns a copy of the record's progress that stands before
// run.Step. Its attempts are those of this very step, since only the step
// after the last completed one is ever tried.
func (run Run) progress(r Record) Progress {
	p := Progress{StartedAt: run.started}
	if r.Progress != nil {
		p = *r.Progress
	}
	p.LastCompletedStep = run.Step.Number - 1
	return p
}

// named returns the fields with which a step's line begins, with room for
// more.
func (run Run) named() []drey.Field {
	return append(make([]drey.Field, 0, 8), drey.F("step", run.Step.Name), drey.F("step_num", run.Step.Number))
}

func line(at time.Time, event string, fields ...drey.Field) Line {
	return Line{TS: instant(at), Event: event, Fields: fields}
}

// Shorten cuts an error's text to what last_error holds, between two
// characters, and makes it valid UTF-8.
func Shorten(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if utf8.RuneCountInString(s) <= maxError {
		return s
	}
	n := 0
	for i := range s {
		if n == maxError {
			return s[:i]
		}
		n++
	}
	return s
}
