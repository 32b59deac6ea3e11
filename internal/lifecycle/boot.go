package lifecycle

import (
	"math"
	"time"
)

// The reasons of a boot from HIBERNATION (§7.2).
const (
	WokenBySignal     = "wake.signal"
	WokenByConnection = "connection"
	WokenByAlarm      = "alarm"
	WokenByStart      = "start"
)

// Boot returns the event that a process dispatches when it starts, and whether
// there is one. signal: a wake.signal was consumed; readable: a connection
// waits at an inherited listener.
//
//  1. from HIBERNATION always wake_signal, with the best reason there is: a
//     running process is not hibernating;
//  2. from another state what a signal calls for there;
//  3. else nothing: idleness and cycle go on from disk.
func Boot(r Record, now time.Time, signal, readable bool) (Event, bool) {
	ev := Event{At: now}
	switch {
	case r.State == Hibernation: // 1
		ev.Name, ev.Reason = EventFor(r.State, ProcessStarted), WokenByStart
		switch {
		case signal:
			ev.Reason = WokenBySignal
		case readable:
			ev.Reason = WokenByConnection
		case !r.WakeAt.IsZero() && !r.WakeAt.After(now):
			ev.Reason = WokenByAlarm
		}
	case signal: // 2
		ev.Name, ev.Reason = EventFor(r.State, WakeAsked), WokenBySignal
	}
	return ev, ev.Name != NoEvent // 3
}

// CountWake returns the record after a boot from HIBERNATION: one more wake
// that has not seen work yet (§7.8).
func CountWake(r Record) Record {
	if r.WorklessWakes < math.MaxInt32 {
		r.WorklessWakes++
	}
	return r
}

// Worked returns the record after the first activity, and whether that changed
// it: the wake was not for nothing.
func Worked(r Record) (Record, bool) {
	changed := r.WorklessWakes != 0
	r.WorklessWakes = 0
	return r, changed
}

// HeldUntil returns until when HIBERNATION is held back because the last wakes
// were without work; the process's start where it is not.
func HeldUntil(r Record, f Facts) time.Time {
	return f.StartedAt.Add(HoldBack(r.WorklessWakes))
}
