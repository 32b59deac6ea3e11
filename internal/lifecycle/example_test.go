package lifecycle_test

import (
	"fmt"
	"time"

	"github.com/dreyhq/drey/internal/lifecycle"
)

// A request always wakes: the record is saved, the transition is logged, and
// the sleep cycle gives way.
func ExampleStep() {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := lifecycle.Default(at)
	r.State = lifecycle.Sleep

	r, effects := lifecycle.Step(r, lifecycle.Event{Name: lifecycle.RequestArrived, At: at}, lifecycle.DefaultPolicy())
	fmt.Println(r.State, r.Seq)
	for _, e := range effects {
		if l, ok := e.(lifecycle.Log); ok {
			fmt.Printf("%s\n", l.Line.JSON())
		}
	}
	// Output:
	// WAKE 1
	// {"ts":"2026-03-01T12:00:00.000000+00:00","event":"state_transition","from":"SLEEP","to":"WAKE","trigger":"request_arrived"}
}

// The owner arms one timer, by Next.
func ExampleNext() {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := lifecycle.Default(now)
	f := lifecycle.Facts{Now: now, StartedAt: now.Add(-time.Hour), Baseline: now.Add(-2 * time.Minute)}

	due, ok := lifecycle.Next(r, f, lifecycle.DefaultPolicy())
	fmt.Println(ok, due.Name(), "in", due.At.Sub(now))
	// Output:
	// true idle_5min in 3m0s
}
