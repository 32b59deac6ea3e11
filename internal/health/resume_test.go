package health

import (
	"testing"
	"time"

	"github.com/dreyhq/drey"
)

// A stop that is called off leaves nothing behind: probes go on, counts are
// what they were, a restart that was put off runs.
func TestResumed(t *testing.T) {
	p := DefaultPolicy("local", "main")
	restartable := p
	restartable.Command = "restart"
	for _, tt := range []struct {
		name  string
		p     Policy
		do    func(*rig)
		phase Phase
		due   float64 // after the resumption, in seconds of the story
		last  string  // the effect that matters
	}{
		{"a probe is armed again", p, func(r *rig) { r.fail(6); r.step(ShutdownBegan{r.meta()}) }, Probing, 30, "ArmTimer"},
		{"a probe that ran is due at once", p, func(r *rig) {
			r.fail(6)
			r.tick()
			r.step(ShutdownBegan{r.meta()})
		}, Probing, 30, "ArmTimer"},
		{"a restart that was put off runs", restartable, func(r *rig) {
			r.start()
			r.fail(6)
			r.step(ShutdownBegan{r.meta()})
			r.step(AttemptEnded{Meta: r.meta(), Token: Token{Provider: "local", N: 1}})
		}, Restarting, 0, "RunRestart"},
		{"what a person took out stays out", p, func(r *rig) {
			r.step(OperatorExclude{Meta: r.meta()})
			r.step(ShutdownBegan{r.meta()})
		}, NoPhase, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(tt.p)
			tt.do(r)
			m, out := Step(r.m, Resumed{r.meta()}, tt.p)
			if m.Closed || m.Phase != tt.phase {
				t.Errorf("is %s, closed %t", describe(m), m.Closed)
			}
			if due := m.due(); tt.due != 0 && !due.Equal(after(tt.due)) || tt.due == 0 && !due.IsZero() {
				t.Errorf("due %s", due)
			}
			found := tt.last == ""
			for _, e := range out {
				switch e.(type) {
				case ArmTimer:
					found = found || tt.last == "ArmTimer"
				case RunRestart:
					found = found || tt.last == "RunRestart"
				}
			}
			if !found {
				t.Errorf("no %s among %v", tt.last, out)
			}
			if again, out := Step(m, Resumed{r.meta()}, tt.p); len(out) != 0 || again.Phase != m.Phase {
				t.Errorf("twice: %v", out)
			}
		})
	}
	r := newRig(p)
	r.fail(2)
	r.step(ShutdownBegan{r.meta()})
	if _, ok := r.m.Record(); !ok {
		t.Error("a stop does not keep the counts")
	}
	m, out := Step(r.m, Resumed{r.meta()}, p)
	if len(out) != 1 {
		t.Fatalf("%v", out)
	}
	if saved, ok := out[0].(Persist); !ok || !saved.Delete || m.ConsecutiveFailures != 2 {
		t.Errorf("%v, %d failures", out, m.ConsecutiveFailures)
	}
}

// In SLEEP no probe comes before the longest interval, whatever the jitter.
func TestProbesInSleep(t *testing.T) {
	p := DefaultPolicy("local", "main")
	p.Jitter, p.Asleep = 0.5, true
	for _, rnd := range []float64{0, 0.25, 0.5, 0.99} {
		if d := p.wait(p.initial(), rnd); d < p.longest() {
			t.Errorf("Rand %v: %s", rnd, d)
		}
	}
	r := newRig(p)
	r.p.Asleep = false
	r.p.Jitter = 0
	r.fail(6)
	m, _ := Step(r.m, PolicyChanged{Meta: r.meta()}, p)
	if d := m.NextProbeAt.Sub(r.m.ExcludedAt); d < p.longest() || m.Interval != 30*time.Second {
		t.Errorf("%s until the next probe, interval %s", d, m.Interval)
	}
	p.Asleep = false
	m, _ = Step(m, PolicyChanged{Meta: r.meta()}, p)
	if d := m.NextProbeAt.Sub(r.m.ExcludedAt); d > 45*time.Second {
		t.Errorf("awake again: %s", d)
	}
}

// A panic trial that hangs does not keep probes away; whoever of the two is
// first with good news restores, and the other changes nothing.
func TestProbeBesideAPanicTrial(t *testing.T) {
	p := DefaultPolicy("local", "main")
	r := newRig(p)
	r.fail(6)
	trial := Token{Provider: "local", Epoch: r.m.Epoch, N: 100}
	r.step(AttemptAsked{Meta: r.meta(), Token: trial, For: AskPanic})
	r.tick()
	if r.m.ProbeN == 0 || r.m.Trial != PanicRunning {
		t.Fatalf("%s: probe %d", describe(r.m), r.m.ProbeN)
	}
	r.probe(true)
	if r.m.State != Healthy {
		t.Fatal(describe(r.m))
	}
	before := r.m.Epoch
	r.step(AttemptEnded{Meta: r.meta(), Token: trial, Counted: true, Class: drey.Silence})
	if r.m.ConsecutiveFailures != 0 || r.m.Epoch != before || r.m.State != Healthy {
		t.Errorf("the trial's end counted: %s", describe(r.m))
	}

	paid := p // where a probe may not be, the request that tries it is row 10's
	paid.NoProbe = true
	r = newRig(paid)
	r.fail(6)
	trial.Epoch = r.m.Epoch
	r.step(AttemptAsked{Meta: r.meta(), Token: trial, For: AskPanic})
	r.tick()
	if r.m.Trial != TrialRunning || !r.m.due().IsZero() {
		t.Fatalf("%s, due %s", describe(r.m), r.m.due())
	}
	r.step(AttemptEnded{Meta: r.meta(), Token: trial, Counted: true, Class: drey.Server})
	if r.m.Interval != time.Minute {
		t.Errorf("interval %s", r.m.Interval)
	}
}

// A person's exclusion of a provider that was out already has that person's
// reason.
func TestOperatorsReason(t *testing.T) {
	r := newRig(DefaultPolicy("local", "main"))
	r.fail(6)
	r.step(OperatorExclude{Meta: r.meta()})
	if r.m.Reason != "operator" || r.m.By != ByOperator {
		t.Errorf("%s by %s", r.m.Reason, r.m.By)
	}
	r.step(OperatorRestore{Meta: r.meta()})
	r.step(OperatorDrain{Meta: r.meta(), Reason: "new memory"})
	if r.m.Reason != "new memory" {
		t.Error(r.m.Reason)
	}
}
