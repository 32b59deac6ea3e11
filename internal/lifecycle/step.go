package lifecycle

import (
	"math"
	"time"

	"github.com/dreyhq/drey"
)

// Transition is the table of §1.2. moved is true when the table names a
// target, also where next == s; without one next is s. It is total: an unknown
// state or event has no target, but for request_arrived, which leads to WAKE
// from everywhere.
func Transition(s State, e EventName, g Guards) (next State, moved bool) {
	if e == RequestArrived {
		return Wake, true
	}
	switch {
	case s == Wake && e == Idle5Min:
		return Drowsy, true
	case s == Drowsy && e == HeartbeatRefresh:
		return Wake, true
	case s == Drowsy && e == Idle30Min && g.SleepEligible:
		return Sleep, true
	case s == Sleep && e == SleepCycleDone && g.StillIdle:
		return Hibernation, true
	case s == Hibernation && e == WakeSignal:
		return Wake, true
	}
	return s, false
}

// Effect is one thing that the owner is asked to do after a dispatch. The
// effects of one Step come in the order Save, Log, StopCycle or RunCycle,
// Relax, Arm, Hibernate, and are performed in it.
type Effect interface{ effect() }

// The effects.
type (
	// Save writes the record that Step returned; if that fails, nothing else
	// of the dispatch is done and the state stays the old one (§2.7).
	Save struct{}
	// Log appends a line to the event log.
	Log struct{ Line Line }
	// StopCycle interrupts the sleep cycle, if one runs: SLEEP was left for
	// work.
	StopCycle struct{}
	// RunCycle: SLEEP was entered and a cycle is wanted. When it may begin is
	// in Next.
	RunCycle struct{}
	// Relax gives memory and idle connections back: DROWSY was entered.
	Relax struct{}
	// Arm asks Next again and arms the one timer by it.
	Arm struct{}
	// Hibernate ends the process: the point of no return is behind.
	Hibernate struct{}
)

func (Save) effect()      {}
func (Log) effect()       {}
func (StopCycle) effect() {}
func (RunCycle) effect()  {}
func (Relax) effect()     {}
func (Arm) effect()       {}
func (Hibernate) effect() {}

// Step returns the record that follows r when ev happens, and what the owner
// is asked to do about it, in order. It is Transition plus the bookkeeping of
// §2.3 and §2.4:
//
//  1. the record's shadow_run is the policy's;
//  2. heartbeat_refresh, request_arrived and wake_signal set the last activity
//     and add 1 to the sequence, in every state;
//  3. a target sets state and since, is saved, and has one line;
//  4. without a target a changed record is saved, and an unchanged one has no
//     effects at all;
//  5. entering HIBERNATION ends the process, or in a shadow run says that it
//     would have.
//
// It is total and keeps nothing, so any number of calls may run at once. The
// outbox is the writer's (see Record.Queue).
func Step(r Record, ev Event, p Policy) (Record, []Effect) {
	from, at := r.State, instant(ev.At)
	changed := r.ShadowRun != p.ShadowRun
	r.ShadowRun = p.ShadowRun // 1
	switch ev.Name {
	case HeartbeatRefresh, RequestArrived, WakeSignal: // 2
		r.LastActivity, changed = at, true
		if r.Seq < math.MaxInt64 {
			r.Seq++
		}
	}
	next, moved := Transition(from, ev.Name, ev.Guards)
	if !moved { // 4
		if !changed {
			return r, nil
		}
		return r, []Effect{Save{}, Arm{}}
	}
	r.State, r.Since = next, at // 3
	out := append(make([]Effect, 0, 4), Save{}, Log{transition(from, next, ev, at)})
	switch {
	case next == Wake && from == Sleep:
		out = append(out, StopCycle{})
	case next == Drowsy:
		out = append(out, Relax{})
	case next == Sleep && cycleWanted(r):
		out = append(out, RunCycle{})
	case next == Hibernation && p.ShadowRun: // 5
		out = append(out, Log{shadowWarning(at)})
	case next == Hibernation: // a process that ends arms nothing
		return r, append(out, Hibernate{})
	}
	return r, append(out, Arm{})
}

// instant is a time as the record holds it: UTC, microseconds, without a
// monotonic reading. What is in memory is then what a load would give.
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// boxedStates and boxedEvents are the names as field values; a dispatch need
// not allocate them.
var boxedStates, boxedEvents = boxed(stateNames[:]), boxed(eventNames[:])

func boxed(names []string) []any {
	out := make([]any, len(names))
	for i, n := range names {
		out[i] = n
	}
	return out
}

func transition(from, to State, ev Event, at time.Time) Line {
	was := any(from.String())
	if int(from) < len(boxedStates) {
		was = boxedStates[from]
	}
	return Line{
		TS: at, Event: EventTransition, Reason: ev.Reason, Cause: ev.Cause,
		Fields: []drey.Field{{Key: "from", Value: was}, {Key: "to", Value: boxedStates[to]}, {Key: "trigger", Value: boxedEvents[ev.Name]}},
	}
}
