package health

import (
	"time"

	"github.com/dreyhq/drey"
)

// Departure is what a request tells the owner of the machines before it leaves
// for a provider. The owner answers with a Pass or with a Refused.
type Departure struct {
	Provider  drey.ProviderID
	Profile   drey.ProfileID
	Action    Action // the profile's
	RequestID drey.RequestID
	For       Ask // AskSlot is the usual case, in which mostly nothing has to be asked
	// Revived says that the request found no other provider, and this one on
	// its way up: it waits for it whatever its state.
	Revived bool
	// SlotWait and RampWait are how long it may wait for a place under the
	// provider's limit or for its process to be READY, and under its ramp; 0 =
	// not at all.
	SlotWait, RampWait time.Duration
	// Cut ends the request when an operator's drain has waited long enough. It
	// may be called at any time until Ended, and must return at once.
	Cut func(cause error)
}

// Pass lets one attempt leave. Whoever was given one gives it back, once, with
// the attempt's Ending. The zero value is a pass of a provider that nobody
// keeps any more; its end is of no interest.
type Pass struct {
	Token     Token
	For       Ask // AskTrial and AskPanic decide about an exclusion
	Port      int // where a managed process listens; 0 = as the provider's URL says
	Profile   drey.ProfileID
	Action    Action
	RequestID drey.RequestID
	Cause     drey.Seq      // the event that made a trial of it; 0 = none
	Waited    time.Duration // for the place
	// Run is the managed process that it leaves for, by the number of its
	// start; 0 = none.
	Run uint64
	// Holder is whatever the owner wants back with the pass; nobody else looks
	// at it. nil = nobody keeps the provider.
	Holder any
}

// Trial reports whether the attempt decides about an exclusion.
func (p Pass) Trial() bool { return p.For != AskSlot }

// Ending is how an attempt ended.
type Ending struct {
	OK         bool // the answer ended properly, whatever its quality
	Class      drey.Class
	Status     int
	Counts     bool // a failure that counts against health (healing.md §3); the profile's action is applied by the owner
	Park       Park
	RetryAfter time.Duration // how long the provider asked to be left alone; 0 = not said
	Error      string        // one line, redacted; "" if OK
	Latency    time.Duration // of the whole attempt
	FirstToken time.Duration // to the first content; 0 = none came
	Tokens     int           // the estimate of the prompt
}

// Refused is why an attempt does not leave.
type Refused struct {
	Reason string // the word of provider-skipped
	// Full says that the provider is there and has no place now; else it is
	// out of the question for this request.
	Full  bool
	Until time.Time // when that ends, if it is known
}

// Error returns the reason.
func (r *Refused) Error() string { return "not let through: " + r.Reason }

// Pass returns the pass of an attempt that this departure became.
func (d *Departure) Pass(t Token) Pass {
	return Pass{Token: t, For: d.For, Profile: d.Profile, Action: d.Action, RequestID: d.RequestID}
}
