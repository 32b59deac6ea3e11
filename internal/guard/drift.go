package guard

import (
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

// DriftPolicy is what a profile says about worsening answers. The zero value is
// off.
type DriftPolicy struct {
	Profile  drey.ProfileID
	Provider drey.ProviderID
	Action   DriftAction
	// Window is how many of the latest answers are looked at, 4 to 200.
	// Source: drift.window, default 20.
	Window int
	// Cooldown is how long a demotion lasts. Source: drift.cooldown, default
	// 5m.
	Cooldown    time.Duration
	Sensitivity Sensitivity
}

// Drift watches over one provider's answers to one profile. The zero value has
// seen none. It is a value that StepDrift alone changes; its slices are not shared
// with the next one.
//
// A restart begins with the zero value, or with what was kept of it as JSON: a
// demotion then ends when it would have ended.
type Drift struct {
	Level   Level     `json:"level"`
	Answers []Sample  `json:"answers,omitempty"` // the latest, oldest first
	Until   time.Time `json:"until,omitzero"`    // end of the demotion; zero = none
}

// Level is how much worse a provider's answers got.
type Level uint8

// The levels, in rising order. The zero value is Steady.
const (
	Steady Level = iota
	Mild
	Severe
)

var levelNames = [...]string{"steady", "mild", "severe"}

// String returns the level's name, as the header X-Drey-Drift and events have
// it.
func (l Level) String() string { return drey.NameOf(levelNames[:], l, "drift level") }

// MarshalText writes the level's name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (l *Level) UnmarshalText(b []byte) error {
	return drey.ParseName(levelNames[:], l, b, "drift level")
}

// Sample is one attempt at a provider, as the window keeps it.
type Sample struct {
	Failed bool   `json:"failed,omitempty"` // there was no answer; what follows is zero
	Empty  bool   `json:"empty,omitempty"`  // no tool call and only blank text
	Length int    `json:"length,omitempty"` // of text and calls, in characters or tokens: one unit for all
	Tools  bool   `json:"tools,omitempty"`  // the request declared tools
	Calls  bool   `json:"calls,omitempty"`  // the answer made a tool call
	Odd    bool   `json:"odd,omitempty"`    // it stopped as a good answer does not: see OddStop
	Text   uint64 `json:"text,omitempty"`   // a hash of its text; 0 = it had none
}

// OddStop reports whether an answer stopped as a good one does not: by its
// length, by a refusal, or for a reason that nobody knows.
func OddStop(s wire.Stop) bool {
	switch s {
	case wire.StopEnd, wire.StopTools, wire.StopSequence, wire.StopPause:
		return false
	default:
		return true
	}
}

// DriftEvent is what may happen to a Drift.
type DriftEvent interface{ isDriftEvent() }

// Answered is the end of an attempt: an answer, or a failure that is the
// provider's.
type Answered struct {
	At     time.Time
	Sample Sample
}

// Elapsed tells the time: at the end of a demotion (Demote.Until), and after a
// change of policy.
type Elapsed struct{ At time.Time }

func (Answered) isDriftEvent() {}
func (Elapsed) isDriftEvent()  {}

// DriftEffect is what is to be done about it.
type DriftEffect interface{ isDriftEffect() }

// Emit emits an event: drift-detected or drift-recovered.
type Emit struct{ Event drey.Event }

// Demote puts the provider last in the chain until a time, and asks for an
// Elapsed then. Drift.Demoted tells it too.
type Demote struct{ Until time.Time }

func (Emit) isDriftEffect()   {}
func (Demote) isDriftEffect() {}

// Demoted reports whether the provider goes last at a time.
func (d Drift) Demoted(at time.Time) bool { return at.Before(d.Until) }

// StepDrift returns the watch that follows d when ev happens, and what the
// shell is to do about it, in order. It is total.
//
//  1. Switched off: the watch forgets everything.
//  2. The end of a demotion: the provider is steady again until its answers
//     say otherwise, and those from before are forgotten.
//  3. During a demotion nothing counts.
//  4. An answer goes into the window.
//  5. The level of the window: a rise is told, and the return to steady.
//  6. Severe, and the action is demote: the cool-down begins.
func StepDrift(d Drift, ev DriftEvent, p DriftPolicy) (Drift, []DriftEffect) {
	var out []DriftEffect
	var at time.Time
	switch ev := ev.(type) {
	case Answered:
		at = ev.At
	case Elapsed:
		at = ev.At
	default:
		return d, nil
	}
	if p.Action == DriftOff { // 1
		if d.Level != Steady {
			out = append(out, recovered(p, at))
		}
		return Drift{}, out
	}
	if !d.Until.IsZero() && (!d.Demoted(at) || p.Action != DriftDemote) { // 2
		d = Drift{}
		out = append(out, recovered(p, at))
	}
	if d.Demoted(at) { // 3
		return d, out
	}
	if ev, ok := ev.(Answered); ok { // 4
		kept := latest(d.Answers, p.Window-1)
		d.Answers = append(append(make([]Sample, 0, len(kept)+1), kept...), ev.Sample)
	}
	window := latest(d.Answers, p.Window)
	level, signs := judge(window, p.Sensitivity)
	demote := level == Severe && p.Action == DriftDemote
	switch { // 5
	case level > d.Level:
		fields := []drey.Field{
			drey.F("drift", level.String()), drey.F("signs", signs), drey.F("answers", len(window)), drey.F("action", p.Action.String()),
		}
		if demote {
			fields = append(fields, drey.F("until", drey.FormatTime(at.Add(p.Cooldown))))
		}
		out = append(out, Emit{driftEvent(p, at, "drift-detected", drey.Warn, fields...)})
	case level == Steady && d.Level > Steady:
		out = append(out, recovered(p, at))
	}
	d.Level = level
	if demote { // 6
		d.Until = at.Add(p.Cooldown)
		out = append(out, Demote{d.Until})
	}
	return d, out
}

// latest returns the last n samples, or all if there are fewer.
func latest(s []Sample, n int) []Sample { return s[max(0, len(s)-max(n, 0)):] }

func recovered(p DriftPolicy, at time.Time) DriftEffect {
	return Emit{driftEvent(p, at, "drift-recovered", drey.Info)}
}

func driftEvent(p DriftPolicy, at time.Time, name string, level drey.Level, fields ...drey.Field) drey.Event {
	ev := event(p.Profile, name, append([]drey.Field{drey.F("provider", p.Provider)}, fields...)...)
	ev.Level, ev.At, ev.Machine, ev.ID = level, at, "provider", string(p.Provider)
	return ev
}
