// Package guard watches over unattended runs: it finds agents that repeat the
// same tool calls or make too many of them, keeps conversations within a
// provider's context window, and sees when a provider's answers get worse.
//
// Everything here is pure. The guards of a request (Inspect, AddHint, Trim) work
// on its raw body, on all three wires, in one pass of the scanner and without a
// decode: most requests go through as bytes, and what a guard changes is then
// passed on or decoded like any body. What is to be told and done comes back as
// data. Drift is a machine of the house's one shape.
package guard

import "github.com/dreyhq/drey"

// Policy is what a profile says about tool calls. The zero value guards
// nothing.
type Policy struct {
	Profile drey.ProfileID
	Loop    Loop
	Cap     Cap
}

// Off reports whether there is nothing to guard, so that a body need not be
// read.
func (p Policy) Off() bool { return p.Loop.Action == Off && p.Cap.off() }

// Verdict is what the guards say about a request. The zero value is that it may
// go its way as it is.
type Verdict struct {
	// Events are to be emitted and audited, in order. At and RequestID are left
	// to who emits them.
	Events []drey.Event
	// Tripped are the guards that found something, in order.
	Tripped []Trip
	// Hint is to be added to the conversation (AddHint); "" = none.
	Hint string
	// Refusal, if not nil, answers the request; nothing else is to be done.
	Refusal *Refusal
}

// Trip is a guard that found something in a request, and what it did about it,
// as the request's row and the metrics tell it.
type Trip struct {
	Guard  string `json:"guard"`
	Action string `json:"action"` // warn, inject, break, trim, route or demote
}

// The guards' names in rows and metrics.
const (
	GuardCap     = "tool_cap"
	GuardLoop    = "tool_loop"
	GuardContext = "context_budget"
	GuardDrift   = "drift"
)

// Inspect looks at the tool calls of a request. The cap comes first; a request
// that it refuses is not looked at for loops.
//
// A body that is no JSON is judged by what was read of it: who decodes it
// refuses it.
func Inspect(of drey.Wire, body []byte, p Policy) Verdict {
	var v Verdict
	if p.Off() {
		return v
	}
	h := read(of, body)
	if n := p.Cap.count(h); n > 0 {
		v.trip(p.Cap.Action, GuardCap, p.Cap.event(p.Profile, n), capHint)
		if p.Cap.Action == Break {
			v.Refusal = p.Cap.refusal(p.Profile, n)
			return v
		}
	}
	if f, found := p.Loop.find(h.calls[h.turn:]); found {
		v.trip(p.Loop.Action, GuardLoop, p.Loop.event(p.Profile, f), loopHint)
		if p.Loop.Action == Break {
			v.Hint, v.Refusal = "", p.Loop.refusal(p.Profile, f)
		}
	}
	return v
}

func (v *Verdict) trip(a Action, guard string, ev drey.Event, hint string) {
	v.Events = append(v.Events, ev)
	v.Tripped = append(v.Tripped, Trip{guard, a.String()})
	if a != Inject {
		return
	}
	if v.Hint != "" {
		v.Hint += "\n"
	}
	v.Hint += hint
}

// event is the envelope of what a guard of a profile finds.
func event(p drey.ProfileID, name string, fields ...drey.Field) drey.Event {
	return drey.Event{
		Name: name, Level: drey.Warn, Machine: "profile", ID: string(p),
		Fields: append([]drey.Field{drey.F("profile", p)}, fields...),
	}
}
