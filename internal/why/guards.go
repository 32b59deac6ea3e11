package why

import (
	"fmt"
	"math"

	"github.com/dreyhq/drey"
)

// guardTrip is a guard of the row; internal/guard writes it.
type guardTrip struct {
	Guard  string `json:"guard"`
	Action string `json:"action"`
}

// stopper returns the guard that refused the request; "" if none did.
func (r *requestRow) stopper() string {
	for _, t := range r.Guards {
		if t.Action == "break" {
			return t.Guard
		}
	}
	return ""
}

// ofGuard reports whether an event tells what a guard of the request found. It
// is told where it happened: a guard decides which way the request goes on.
func ofGuard(ev drey.Event) bool {
	switch ev.Name {
	case "tool-loop-detected", "tool-count-exceeded", "context-budget-warning", "context-budget-trimmed":
		return true
	default:
		return false
	}
}

// guarded tells what a guard found and did; false if the event is of none.
func (n *narrator) guarded(ev drey.Event, id string) bool {
	if !ofGuard(ev) {
		return false
	}
	did := word(guardDid, text(ev, "action"))
	whole := func(key string) int { return int(number(ev, key)) }
	switch ev.Name {
	case "tool-loop-detected":
		what := text(ev, "tool_name") + " was called with the same arguments"
		if p := whole("period"); p > 1 {
			what = fmt.Sprintf("the same %d calls up to %s were made", p, text(ev, "tool_name"))
		}
		n.say(ev.At, ev, "the agent goes round in a loop: %s %d times in a row (tool_loop of profile %s counts from %d); %s", what,
			whole("repeat_count"), text(ev, "profile"), whole("threshold"), did)
	case "tool-count-exceeded":
		n.say(ev.At, ev, "the conversation has made %s, and tool_cap of profile %s allows %d; %s",
			count(whole("total_count"), "tool call"), text(ev, "profile"), whole("max_allowed"), did)
	case "context-budget-warning":
		n.say(ev.At, ev, "the request takes %.0f %% of %s's window (%d of %d tokens)", math.Floor(100*number(ev, "ratio")), id,
			whole("tokens"), whole("window"))
	case "context-budget-trimmed":
		n.say(ev.At, ev, "its oldest part (%s) was left out for %s, which brings it to %d of %d tokens", count(whole("messages"), "message"), id,
			whole("tokens"), whole("window"))
	}
	return true
}

// guardDid says what came of it, by the action of a guard of tool calls.
var guardDid = map[string]string{
	"warn":   "the request went on all the same (action warn)",
	"inject": "a hint to the model was added (action inject)",
	"break":  "the request was refused (action break)",
}
