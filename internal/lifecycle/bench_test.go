package lifecycle

import (
	"testing"
	"time"
)

// BenchmarkStep goes round the machine: activity, four transitions, and
// events that mean nothing. A round is eight steps.
func BenchmarkStep(b *testing.B) {
	p := DefaultPolicy()
	r := Default(t0)
	all := Guards{SleepEligible: true, StillIdle: true}
	round := []EventName{HeartbeatRefresh, Idle5Min, Tick, Idle30Min, SleepCycleDone, Idle5Min, WakeSignal, RequestArrived}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		r, _ = Step(r, Event{Name: round[n%len(round)], At: t0.Add(time.Duration(n)), Guards: all}, p)
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "steps/s")
}

func BenchmarkEncode(b *testing.B) {
	r := full()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}

// TestStepsThatMeanNothingDoNotAllocate holds the idle path.
func TestStepsThatMeanNothingDoNotAllocate(t *testing.T) {
	r, p := Default(t0), DefaultPolicy()
	if n := testing.AllocsPerRun(100, func() { r, _ = Step(r, Event{Name: Tick, At: t0}, p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
