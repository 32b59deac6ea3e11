// Package lifecycle decides when the daemon is awake, drowsy, asleep or gone.
// It holds the machine (Transition, Step), the record that is the machine on
// disk (Record), the lines of its log (Line), and the rules around it: what is
// due next (Next), what keeps the daemon from sleeping or hibernating
// (Eligible, StillIdle), and how the sleep cycle goes on, gives way, fails and
// is quarantined. Everything here is a function of its arguments; the owner in
// the daemon holds the clock, the files and the goroutines.
//
// The contract is the lifecycle contract; "§n" in the comments is section n of
// it.
package lifecycle

import (
	"fmt"
	"time"

	"github.com/dreyhq/drey"
)

// State says how awake the daemon is.
type State uint8

// The states. The zero value is Wake, the safe side.
const (
	// Wake: everything is open. A restart keeps it, and idleness goes on from
	// disk.
	Wake State = iota
	// Drowsy: serving, with caches, read pools and idle connections given
	// back. A restart keeps it.
	Drowsy
	// Sleep: as Drowsy, and the sleep cycle runs. A restart keeps it and
	// resumes the cycle after the grace of the boot.
	Sleep
	// Hibernation: no process. Whoever starts wakes it, since a running
	// process is not hibernating; only a shadow run lives on in it.
	Hibernation
)

var stateNames = [...]string{"WAKE", "DROWSY", "SLEEP", "HIBERNATION"}

// String returns the state's name in the record, the log, metrics and views.
func (s State) String() string { return drey.NameOf(stateNames[:], s, "state") }

// MarshalText writes the state's name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote, and nothing else.
func (s *State) UnmarshalText(b []byte) error { return drey.ParseName(stateNames[:], s, b, "state") }

// EventName names an event of the machine. A name is a name: with
// drowsy_after 10m the event is still idle_5min.
type EventName uint8

// The events. The zero value is no event and means nothing in any state.
const (
	NoEvent EventName = iota
	HeartbeatRefresh
	Idle5Min
	Idle30Min     // guarded by Guards.SleepEligible
	SleepEligible // accepted, never dispatched by the daemon
	RequestArrived
	SleepCycleDone          // guarded by Guards.StillIdle
	HibernationGraceExpired // accepted, never dispatched by the daemon
	WakeSignal
	Tick // accepted, never dispatched by the daemon
)

var eventNames = [...]string{
	"", "heartbeat_refresh", "idle_5min", "idle_30min", "sleep_eligible", "request_arrived",
	"sleep_cycle_done", "hibernation_grace_expired", "wake_signal", "tick",
}

// String returns the event's name on the wire; "" for NoEvent.
func (e EventName) String() string { return drey.NameOf(eventNames[:], e, "event") }

// MarshalText writes the event's name.
func (e EventName) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads the name of an event; NoEvent has none.
func (e *EventName) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		return fmt.Errorf("unknown event %q", b)
	}
	return drey.ParseName(eventNames[:], e, b, "event")
}

// ParseEvent reads the name of an event. NoEvent has no name, so that "" is an
// error like every other unknown one.
func ParseEvent(s string) (EventName, error) {
	var e EventName
	err := e.UnmarshalText([]byte(s))
	return e, err
}

// ParseGuard reads a guard from text: exactly "true" or "false". Everything
// else is an error, since a silent guess would put someone to sleep.
func ParseGuard(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is not a guard; write true or false", s)
}

// Guards are what the owner knows at the instant of a dispatch. The zero value
// refuses both. A guard that the event does not use is ignored.
type Guards struct {
	SleepEligible bool // idle_30min may lead to SLEEP (see Eligible)
	StillIdle     bool // sleep_cycle_done may lead to HIBERNATION (see StillIdle)
}

// Event is one event of the machine, with all that Step must know of the
// world.
type Event struct {
	Name   EventName
	At     time.Time // when it happened; microseconds count
	Guards Guards
	Reason string   // for the line of a transition; "" = none is written
	Cause  drey.Seq // the journaled event that caused this one; 0 = none
}
