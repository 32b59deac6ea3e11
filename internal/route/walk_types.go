package route

import (
	"time"

	"github.com/dreyhq/drey"
)

// Auto is Policy.Retries where the class of the failure decides: once.
const Auto = -1

// Policy is how a profile repeats attempts at the same provider.
type Policy struct {
	// Retries is how often a request may be repeated at one provider for a
	// class that allows it: 0 to 3, or Auto.
	Retries int
	// Wait is the longest Retry-After that a request waits out.
	Wait time.Duration
}

// DefaultPolicy is the policy of a profile that says nothing.
func DefaultPolicy() Policy { return Policy{Retries: Auto, Wait: 5 * time.Second} }

// Event is what happened to a request on its way.
type Event interface{ isEvent() }

type (
	// Began starts the walk down a plan. Further ones are ignored.
	Began struct {
		At       time.Time
		Plan     Plan
		Tokens   int       // the estimate of the prompt, for a message about its length
		Deadline time.Time // when the whole request must be over; zero = none
	}

	// Failed is the end of the attempt under way.
	Failed struct {
		At       time.Time
		Provider drey.ProviderID // one that is not under way is ignored
		Verdict  Verdict
		// Committed says that the caller has seen content of the answer.
		Committed bool
		// Resumable says that the caller may be given the rest by somebody
		// else: nothing of the committed part forbids it, and the profile
		// wants it.
		Resumable bool
		Took      time.Duration
		Rand      float64 // uniform in [0, 1)
	}

	// Served is the proper end of the attempt under way: nothing follows.
	Served struct{ Provider drey.ProviderID }

	// Full says that the attempt did not leave: there was no place at the
	// provider, within the time that Try allowed for it.
	Full struct {
		At       time.Time
		Provider drey.ProviderID
		Reason   Reason // ReasonBusy or ReasonRamping
		Rand     float64
	}

	// Passed says that the attempt did not leave, and that its provider is
	// out of the question: its state changed since the plan was made, or a
	// budget could not be reserved.
	Passed struct {
		At       time.Time
		Provider drey.ProviderID
		Reason   Reason
		Until    time.Time
		Rand     float64
	}

	// RetryRefused says that the retry which the last Try asked for is over
	// the profile's retry budget (RetryBudget). No further one is asked for.
	RetryRefused struct {
		At       time.Time
		Provider drey.ProviderID
	}
)

func (Began) isEvent()        {}
func (Failed) isEvent()       {}
func (Served) isEvent()       {}
func (Full) isEvent()         {}
func (Passed) isEvent()       {}
func (RetryRefused) isEvent() {}

// Action is what the gateway is asked to do next. A nil Action asks nothing.
type Action interface{ isAction() }

type (
	// Try asks for an attempt at a provider. Its end is the next event.
	Try struct {
		Candidate
		After time.Duration // wait so long first
		// Retry says that this repeats a failed attempt at the provider: take
		// it from the profile's RetryBudget, or answer RetryRefused.
		Retry bool
		// Resume says that the caller has the beginning of an answer which
		// broke, and that this provider is to give the rest.
		Resume bool
		// SlotWait and RampWait are how long the attempt may wait for a place
		// under the provider's limit, and under its ramp; 0 = not at all.
		SlotWait, RampWait time.Duration
	}

	// Relay ends the walk: the provider's answer, an error that blames the
	// request, goes to the caller in the caller's envelope (Relayed).
	Relay struct {
		Provider drey.ProviderID
		Verdict  Verdict
	}

	// Give ends the walk: all answers were empty, and the last one goes to the
	// caller as it is.
	Give struct{ Provider drey.ProviderID }

	// Fail ends the walk with an error of drey's own.
	Fail struct {
		Case Case
		Code string // CaseNotEligible: the skip reason
		// InBand says that content was sent: the error goes in the stream.
		InBand bool
		// RetryAt is when the soonest provider is free again; zero = unknown.
		RetryAt time.Time
		// Uniform is 401 or 403 if every attempt was refused with it: the
		// event chain-uniform-auth-failure is due.
		Uniform int
		// Tokens and Maximum are for CaseContextLength: the prompt's length
		// and the largest window that refused it.
		Tokens, Maximum int
	}
)

func (Try) isAction()   {}
func (Relay) isAction() {}
func (Give) isAction()  {}
func (Fail) isAction()  {}

// Attempt is one failed attempt of a walk.
type Attempt struct {
	Provider drey.ProviderID
	Index    int // in Plan.Candidates
	Verdict  Verdict
	At       time.Time // when it failed
	Took     time.Duration
	Retry    bool // it repeated an earlier one
}
