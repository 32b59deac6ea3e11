package guard

import (
	"bytes"
	"fmt"

	"github.com/dreyhq/drey"
)

// Loop is the guard against an agent that makes the same calls over and over.
// The zero value is off.
type Loop struct {
	Action Action
	// Window is how many of the latest calls are looked at, 2 to 200. Source:
	// tool_loop.window, default 20.
	Window int
	// Threshold is how many repeats are a loop, 2 to 50 and at most Window.
	// Source: tool_loop.threshold, default 3.
	Threshold int
}

// longestPeriod is the longest cycle of calls that is looked for (contract §12).
const longestPeriod = 4

// loopFound is a loop: the last calls of the window are count repetitions of
// period calls.
type loopFound struct {
	tool   string // of the last call
	count  int
	period int
}

// find looks for a loop at the end of the calls of the last user turn: so a
// user who speaks always gets out. The shortest period wins.
func (l Loop) find(calls []call) (loopFound, bool) {
	if l.Action == Off || l.Threshold < 2 {
		return loopFound{}, false
	}
	tail := calls[max(0, len(calls)-l.Window):]
	keys := keys{calls: tail}
	for period := 1; period <= longestPeriod && period*l.Threshold <= len(tail); period++ {
		// What repeats with this period reaches back to from.
		from := len(tail) - period
		for from > 0 && keys.equal(from-1, from-1+period) {
			from--
		}
		if count := (len(tail) - from) / period; count >= l.Threshold {
			return loopFound{tail[len(tail)-1].shown(), count, period}, true
		}
	}
	return loopFound{}, false
}

// keys compares calls by name and arguments. The arguments are read only where
// their spelling differs, and each call's once.
type keys struct {
	calls []call
	args  [][]byte // canonical, where they were needed; nil = none was
}

func (k *keys) equal(i, j int) bool {
	a, b := &k.calls[i], &k.calls[j]
	switch {
	case !sameTool(a, b):
		return false
	case a.quoted == b.quoted && bytes.Equal(a.args, b.args):
		return true
	default:
		return bytes.Equal(k.canonical(i), k.canonical(j))
	}
}

func (k *keys) canonical(i int) []byte {
	if k.args == nil {
		k.args = make([][]byte, len(k.calls))
	}
	if k.args[i] == nil {
		k.args[i] = k.calls[i].canonical()
	}
	return k.args[i]
}

func (l Loop) event(p drey.ProfileID, f loopFound) drey.Event {
	return event(p, "tool-loop-detected",
		drey.F("tool_name", f.tool), drey.F("repeat_count", f.count), drey.F("threshold", l.Threshold),
		drey.F("window", l.Window), drey.F("period", f.period), drey.F("action", l.Action.String()))
}

func (l Loop) refusal(p drey.ProfileID, f loopFound) *Refusal {
	what := fmt.Sprintf("'%s' was called %d times in a row with the same arguments", f.tool, f.count)
	if f.period > 1 {
		what = fmt.Sprintf("%d calls up to '%s' were repeated %d times in a row", f.period, f.tool, f.count)
	}
	// The cut keeps a message within 200 characters (contract §9).
	return &Refusal{
		Code:    "tool_loop_detected",
		Message: clip(fmt.Sprintf("tool loop detected on profile='%s': %s; a new user message lets it go on.", p, what), 199),
		key:     "tool_loop",
		facts: []drey.Field{
			drey.F("profile", p), drey.F("tool_name", f.tool), drey.F("repeat_count", f.count),
			drey.F("threshold", l.Threshold), drey.F("window", l.Window),
		},
	}
}
