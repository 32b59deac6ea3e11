package daemon

import (
	"testing"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/lifecycle"
)

// TestEndsUpkeep: memory is given back once, when nothing of upkeep is left to
// do for now.
func TestEndsUpkeep(t *testing.T) {
	for _, c := range []struct {
		name string
		line lifecycle.Line
		want bool
	}{
		{"a cycle is complete", lifecycle.Line{Event: lifecycle.EventCycleCompleted}, true},
		{"a step failed", lifecycle.Line{Event: lifecycle.EventStepCompleted, Fields: []drey.Field{drey.F("error", "no space")}}, true},
		{"a step is done, and the next one begins", lifecycle.Line{Event: lifecycle.EventStepCompleted}, false},
		{"somebody came", lifecycle.Line{Event: lifecycle.EventCycleDeferred}, false},
		{"a state was entered", lifecycle.Line{Event: lifecycle.EventTransition}, false},
	} {
		if got := endsUpkeep(c.line); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
