package lifecycle

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
)

var plan = Plan{{1, "checkpoint"}, {2, "retention"}, {3, "rollup"}, {4, "verify"}, {5, "backup"}, {6, "optimize"}}

// asleep is a record in SLEEP of a process that has been up for a day.
func asleep() (Record, Facts) {
	r := Default(t0)
	r.State, r.Seq = Sleep, 5
	return r, Facts{Now: t0, StartedAt: after(-24 * time.Hour), Baseline: after(-40 * time.Minute)}
}

// TestCycleTranscript tells one cycle as the log and the record see it: it
// completes steps, gives way, fails three times, is quarantined, forced,
// lifted, and comes to its end.
func TestCycleTranscript(t *testing.T) {
	r, _ := asleep()
	p := DefaultPolicy()
	now := t0
	var run Run
	var lines []Line
	var b strings.Builder
	tell := func(what string) {
		t.Helper()
		fmt.Fprintf(&b, "%s\n", what)
		for _, l := range lines {
			fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(string(l.JSON()), `"ts":"2026-03-01T`, `"ts":"`))
		}
		if pr := r.Progress; pr != nil {
			last := "null"
			if pr.LastError != nil {
				last = fmt.Sprintf("%q", *pr.LastError)
			}
			fmt.Fprintf(&b, "  progress: step %d, attempt %d, error %s, since %s\n", pr.LastCompletedStep, pr.Attempt, last, pr.StartedAt.Format(time.TimeOnly))
		}
		if q := r.Quarantine; q != nil {
			fmt.Fprintf(&b, "  quarantine: %s until %s\n", q.Reason, q.Until)
		}
		if c := r.LastCycle; c != nil {
			fmt.Fprintf(&b, "  last cycle: %s, %gs, seq %d\n", c.Mode, c.DurationSec, c.Seq)
		}
		b.WriteByte('\n')
		if _, err := r.Encode(); err != nil {
			t.Error(err)
		}
		now, lines = now.Add(time.Second), nil
	}
	start := func(mode string) { r, run, lines = StartCycle(r, now, mode, plan); tell("start " + mode) }
	done := func(o Outcome) (complete bool) {
		lines = StartStep(run, now)
		name := run.Step.Name
		var more []Line
		now = now.Add(o.Took)
		r, run, complete, more = StepDone(r, run, now, o)
		lines = append(lines, more...)
		tell(name + " done")
		return complete
	}
	fail := func(cause string) {
		r, lines = StepFailed(r, run, now, 2*time.Second, cause, p)
		tell(run.Step.Name + " failed")
	}

	start(ModeSleep)
	done(Outcome{Took: 12345 * time.Microsecond})
	r, lines = StepDeferred(r, run, now, 7, "activity")
	tell("retention gives way")
	start(ModeSleep)
	fail("no space left")
	r, lines = StepDeferred(r, run, now, 0, "activity")
	tell("retention gives way after a failure")
	start(ModeSleep)
	done(Outcome{Took: time.Second, Metrics: []drey.Field{drey.F("archived", 12)}})
	done(Outcome{Skipped: "nothing to do"})
	fail("page 9 is corrupt")
	for range 2 {
		start(ModeSleep)
		fail("page 9 is corrupt")
	}
	start(ModeForced)
	fail("still corrupt")
	r, lines = LiftQuarantine(r, now, LiftManual)
	tell("quarantine reset")
	start(ModeBackstop)
	done(Outcome{})
	done(Outcome{})
	if !done(Outcome{Took: 3 * time.Second}) {
		t.Error("the last step does not complete the cycle")
	}
	golden(t, "cycle.txt", b.String())
	if !Clean(r) || r.Progress != nil {
		t.Errorf("not clean: %+v", r)
	}
}

// TestStepNumbersThatAreGone: a record of another version whose next step does
// not exist begins a fresh cycle, and keeps no error of the old one.
func TestStepNumbersThatAreGone(t *testing.T) {
	r, _ := asleep()
	old := "old"
	r.Progress = &Progress{LastCompletedStep: 9, Attempt: 2, LastError: &old, StartedAt: after(-time.Hour)}
	r, run, lines := StartCycle(r, t0, ModeSleep, plan)
	if r.Progress != nil || run.Step.Number != 1 || run.Resumed || lines[0].Field("from_step") != 1 {
		t.Errorf("%+v %+v", r.Progress, run)
	}
	r, _ = StepFailed(r, run, t0, 0, "x", DefaultPolicy())
	if r.Progress.Attempt != 1 || !r.Progress.StartedAt.Equal(t0) {
		t.Errorf("%+v", r.Progress)
	}
}

// TestFunctionsKeepTheirArguments: a record that was handed in stays good.
func TestFunctionsKeepTheirArguments(t *testing.T) {
	r := full()
	before := string(r.appendJSON(nil))
	_, run, _ := StartCycle(r, t0, ModeForced, plan)
	p := DefaultPolicy()
	StepDone(r, run, t0, Outcome{})
	StepDeferred(r, run, t0, 1, "activity")
	StepFailed(r, run, t0, 0, "x", p)
	LiftQuarantine(r, t0, LiftManual)
	r.Quarantine.Until = drey.FormatTime(after(1000 * time.Hour))
	before = strings.Replace(before, `"soon"`, `"`+r.Quarantine.Until+`"`, 1)
	Recheck(r, t0, p)
	CountWake(r)
	Worked(r)
	r.Queue(r.Outbox, Line{TS: t0, Event: "x"})
	if d := cmp.Diff(before, string(r.appendJSON(nil))); d != "" {
		t.Error(d)
	}
}

func TestShorten(t *testing.T) {
	for in, want := range map[string]int{"short": 5, strings.Repeat("é", 500): 500, strings.Repeat("é", 501): 500, strings.Repeat("x\xff", 400): 500} {
		got := Shorten(in)
		if n := utf8.RuneCountInString(got); n != want || !utf8.ValidString(got) {
			t.Errorf("%.10s…: %d characters", in, n)
		}
	}
}

// TestCycleAt is when a cycle may begin in SLEEP (§8.4 to §8.6).
func TestCycleAt(t *testing.T) {
	clean := func(ago time.Duration) func(*Record, *Facts) {
		return func(r *Record, f *Facts) { r.LastCycle = &Cycle{CompletedAt: after(-ago), Seq: r.Seq} }
	}
	failed := func(attempt int, ago time.Duration) func(*Record, *Facts) {
		return func(r *Record, f *Facts) {
			r.Progress = &Progress{Attempt: attempt, StartedAt: t0}
			if ago > 0 {
				f.FailedAt = after(-ago)
			}
		}
	}
	const never = time.Duration(-1)
	for _, tt := range []struct {
		name string
		with func(*Record, *Facts)
		in   time.Duration // from now; below 0 in the rows = never
	}{
		{"none yet", func(*Record, *Facts) {}, 0},
		{"work since the last", func(r *Record, f *Facts) { r.LastCycle = &Cycle{CompletedAt: t0, Seq: 4} }, 0},
		{"clean for an hour", clean(time.Hour), 23 * time.Hour},
		{"clean for a day", clean(24 * time.Hour), 0},
		{"gave way", failed(0, 0), 0},
		{"failed once", failed(1, time.Minute), 4 * time.Minute},
		{"failed twice", failed(2, time.Minute), 29 * time.Minute},
		{"failed once, long ago", failed(1, time.Hour), 0},
		{"failed in an earlier process, up for a day", failed(2, 0), 0},
		{"failed in an earlier process, just started", func(r *Record, f *Facts) { failed(2, 0)(r, f); f.StartedAt = t0 }, 30 * time.Minute},
		{"within the grace", func(r *Record, f *Facts) { f.StartedAt = after(-20 * time.Second) }, 40 * time.Second},
		{"clock set back after the end", func(r *Record, f *Facts) { clean(-20*time.Hour)(r, f); f.EndedAt = after(-time.Hour) }, 23 * time.Hour},
		{"completed in the future, up for a day", clean(-1000 * time.Hour), 0},
		{"completed in the future, up for an hour", func(r *Record, f *Facts) { clean(-1000*time.Hour)(r, f); f.StartedAt = after(-time.Hour) }, 23 * time.Hour},
		{"quarantined", func(r *Record, f *Facts) { r.Quarantine = &Quarantine{} }, never},
		{"one runs", func(r *Record, f *Facts) { f.Running = true }, never},
		{"in flight", func(r *Record, f *Facts) { f.InFlight = 1 }, never},
	} {
		r, f := asleep()
		tt.with(&r, &f)
		at, ok := CycleAt(r, f, DefaultPolicy())
		in := max(at.Sub(t0), 0)
		if !ok {
			in = never
		}
		if in != tt.in {
			t.Errorf("%s: in %s, want %s", tt.name, in, tt.in)
		}
		if CycleNeeded(r, f, DefaultPolicy()) != (tt.in == 0) {
			t.Errorf("%s: needed %t", tt.name, tt.in != 0)
		}
	}
}

// TestQuarantineEnds is §8.8.
func TestQuarantineEnds(t *testing.T) {
	p := DefaultPolicy()
	for _, tt := range []struct {
		name, until string
		at          time.Duration // of LiftAt
		reason      string        // lifted now; "" = not
		left        string        // until_ts if not
	}{
		{"ahead", drey.FormatTime(after(time.Hour)), time.Hour, "", drey.FormatTime(after(time.Hour))},
		{"over", drey.FormatTime(t0), 0, "auto_recovery_after_ttl", ""},
		{"long over", drey.FormatTime(after(-99 * time.Hour)), -99 * time.Hour, "auto_recovery_after_ttl", ""},
		{"no time", "next week", 0, "auto_recovery_malformed_ts", ""},
		{"empty", "", 0, "auto_recovery_malformed_ts", ""},
		{"too far ahead", drey.FormatTime(after(999 * time.Hour)), 0, "", drey.FormatTime(after(24 * time.Hour))},
		{"as far as it may be", drey.FormatTime(after(24 * time.Hour)), 24 * time.Hour, "", drey.FormatTime(after(24 * time.Hour))},
	} {
		r := full()
		r.Progress.Attempt = 3
		r.Quarantine.Until = tt.until
		if at, ok := LiftAt(r, t0, p); !ok || !at.Equal(after(tt.at)) {
			t.Errorf("%s: looked at again at %s", tt.name, at)
		}
		got, lines := Recheck(r, t0, p)
		if tt.reason == "" {
			if len(lines) != 0 || got.Quarantine == nil || got.Quarantine.Until != tt.left {
				t.Errorf("%s: %+v %v", tt.name, got.Quarantine, lines)
			}
			continue
		}
		if got.Quarantine != nil || len(lines) != 1 || lines[0].Field("reason") != tt.reason || lines[0].Field("prior_until_ts") != tt.until {
			t.Errorf("%s: %+v %v", tt.name, got.Quarantine, lines)
		}
		if got.Progress.Attempt != 0 || got.Progress.LastCompletedStep != 2 {
			t.Errorf("%s: %+v", tt.name, got.Progress)
		}
	}
	r := Default(t0)
	if _, ok := LiftAt(r, t0, p); ok {
		t.Error("nothing is to be lifted")
	}
	if got, lines := LiftQuarantine(r, t0, LiftManual); !got.Equal(r) || lines != nil {
		t.Error("lifting nothing changes something")
	}
	if got, lines := Recheck(r, t0, p); !got.Equal(r) || lines != nil {
		t.Error("rechecking nothing changes something")
	}
}
