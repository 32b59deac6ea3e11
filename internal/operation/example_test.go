package operation_test

import (
	"fmt"
	"time"

	"github.com/dreyhq/drey/internal/operation"
)

// A shell hands in calls and performs the effects. Here it has no store, and
// prints what it would append.
func ExampleStep() {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	id := operation.IDAt(now, [10]byte{})
	meta := operation.Meta{ID: id, At: now, Epoch: 1}
	var m operation.Machine
	for _, ev := range []operation.Event{
		operation.Register{Meta: meta, Registry: operation.Fallback, Spec: operation.Spec{
			ID: id, Kind: operation.BackgroundTool, Owner: "s1", Name: "shell",
		}},
		operation.Provisioned{Meta: meta},
		operation.Complete{Meta: meta, Result: operation.Result{Content: "done"}},
		operation.Cancel{Meta: meta},
	} {
		var out []operation.Effect
		m, out = operation.Step(m, ev, operation.DefaultPolicy())
		for _, e := range out {
			switch e := e.(type) {
			case operation.Append:
				fmt.Println("append", e.Event().Name)
			case operation.Resolve:
				fmt.Println("resolve", e.After.Outcome.Result.Content)
			case operation.Reject:
				fmt.Println("reject", e.Code)
			}
		}
	}
	// Output:
	// append operation.registered
	// append operation.running
	// append operation.completed
	// resolve done
	// reject invalid_transition
}
