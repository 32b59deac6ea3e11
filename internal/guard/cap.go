package guard

import (
	"fmt"

	"github.com/dreyhq/drey"
)

// Cap is the guard against conversations with too many tool calls. The zero
// value is off.
type Cap struct {
	Action Action
	// Limit is how many calls are allowed; one more is too many. 0 to 10000,
	// 0 = no limit. Source: tool_cap.limit, default 50.
	Limit int
	Scope Scope
}

func (c Cap) off() bool { return c.Action == Off || c.Limit <= 0 }

// count returns the number of calls if there are too many of them, else 0.
func (c Cap) count(h history) int {
	n := len(h.calls)
	if c.Scope == Turn {
		n -= h.turn
	}
	if c.off() || n <= c.Limit {
		return 0
	}
	return n
}

func (c Cap) event(p drey.ProfileID, n int) drey.Event {
	return event(p, "tool-count-exceeded",
		drey.F("total_count", n), drey.F("max_allowed", c.Limit), drey.F("action", c.Action.String()))
}

func (c Cap) refusal(p drey.ProfileID, n int) *Refusal {
	return &Refusal{
		Code:    "tool_count_exceeded",
		Message: fmt.Sprintf("tool count exceeded on profile='%s': %d tool calls exceed the limit of %d.", p, n, c.Limit),
		key:     "tool_count",
		facts:   []drey.Field{drey.F("total_count", n), drey.F("max_allowed", c.Limit), drey.F("profile", p)},
	}
}
