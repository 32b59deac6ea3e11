package health

import (
	"time"

	"github.com/dreyhq/drey"
)

// View is what routing and the control API read of a Machine. It is a value;
// the owner publishes it and readers need no lock.
type View struct {
	State               State
	Phase               Phase
	By                  By
	Reason              string
	Profile             drey.ProfileID
	ConsecutiveFailures int
	Epoch               uint64 // for the Token of an attempt that is routed by this view
	InFlight            int
	Interval            time.Duration // between probes; 0 = none are due
	NextProbeAt         time.Time     // of the probe or the trial; zero = none
	ExcludedAt          time.Time
	Until               time.Time // the end of an operator's exclusion; zero = open
	RampLimit           int       // answers at once; 0 = no ramp
	Trial               Trial
	PanicFrom           time.Time // no panic trial before; zero = any time
	Loaded              bool      // its model is in memory, as far as is known
	ParkedUntil         time.Time
	ParkedReason        Park
}

// View returns what others may see.
func (m Machine) View() View {
	v := View{
		State: m.State, Phase: m.Phase, By: m.By, Reason: m.Reason, Profile: m.Profile,
		ConsecutiveFailures: m.ConsecutiveFailures, Epoch: m.Epoch, InFlight: m.InFlight(),
		NextProbeAt: m.NextProbeAt, ExcludedAt: m.ExcludedAt, Until: m.Until,
		RampLimit: m.RampLimit, Trial: m.Trial, Loaded: !m.Unloaded,
		ParkedUntil: m.ParkedUntil, ParkedReason: m.ParkedReason,
	}
	if m.Phase == Probing {
		v.Interval = m.Interval
	}
	if !m.PanicFailedAt.IsZero() {
		v.PanicFrom = m.PanicFailedAt.Add(panicPause)
	}
	return v
}

// MayPanic reports whether the panic rule may choose this provider at a time:
// it is EXCLUDED by health, probing, nobody is trying it, and the last panic
// trial has not just failed. The owner has the last word (AskPanic).
func (v View) MayPanic(at time.Time) bool {
	return v.State == Excluded && v.By != ByOperator && v.Phase == Probing &&
		(v.Trial == NoTrial || v.Trial == TrialOpen) && !at.Before(v.PanicFrom)
}

// Action is what a profile does about a provider that is not well: its
// health_action.
type Action uint8

// The actions. The zero value is the default.
const (
	ActionExclude Action = iota // counted; EXCLUDED is skipped
	ActionDemote                // counted; behind all that are well
	ActionWarn                  // counted; own place
	ActionOff                   // failures are not counted; own place
)

var actionNames = [...]string{"exclude", "demote", "warn", "off"}

// String returns the name as the configuration spells it.
func (a Action) String() string { return drey.NameOf(actionNames[:], a, "health_action") }

// MarshalText writes the name.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads the name.
func (a *Action) UnmarshalText(b []byte) error {
	return drey.ParseName(actionNames[:], a, b, "health_action")
}

// Counts reports whether failures of attempts under this action count.
func (a Action) Counts() bool { return a != ActionOff }

// Place is where a provider stands in a profile's chain.
type Place uint8

// The places.
const (
	OwnPlace Place = iota
	Behind         // after all that are in their own place, stable
	Skipped
)

var placeNames = [...]string{"own", "behind", "skipped"}

// String returns the name.
func (p Place) String() string { return drey.NameOf(placeNames[:], p, "place") }

// Place is the table of the healing contract §5: where a profile of this action has the
// provider. It is Skipped with an open trial too; that is the one request's
// own exception.
func (v View) Place(a Action) Place {
	switch {
	case v.State == Excluded && (v.By == ByOperator || v.Phase == Restarting):
		return Skipped
	case v.State == Excluded && a == ActionExclude:
		return Skipped
	case v.State >= Unhealthy && a == ActionDemote:
		return Behind
	}
	return OwnPlace
}
