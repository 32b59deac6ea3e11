package route

import (
	"time"

	"github.com/dreyhq/drey"
)

// Ability says whether a provider can do something.
type Ability uint8

// The answers. The zero value is Unknown, which routing treats as yes: a
// provider is passed over only for what it is known not to do.
const (
	Unknown Ability = iota
	Yes
	No
)

// Abilities are what a provider can do, as configured, found by doctor or
// taken from the built-in table.
type Abilities struct {
	Tools, Vision, Documents, Thinking, JSONSchema Ability
	// Prefill is to go on from the start of an answer. Here alone Unknown is
	// taken as no: a server that does not know it answers from the beginning.
	Prefill Ability
}

// Needs are the abilities that a request asks of a provider.
type Needs struct {
	Tools, Vision, Documents, JSONSchema, Thinking bool
}

// Credential says what a provider needs to be called.
type Credential uint8

// The kinds of credential. The zero value is CredentialSet, which is also that
// of a provider that needs none.
const (
	CredentialSet     Credential = iota // it has what it needs
	CredentialMissing                   // a named secret is missing or blank
	CredentialCaller                    // the caller's own is passed on
)

// Member is a provider's place in a chain: what the configuration says of it.
type Member struct {
	ID    drey.ProviderID
	Price drey.Price
	// Slot is the provider's index in the table of live states that all
	// chains of a configuration share.
	Slot int
	// Pool groups neighbours in the chain that are equals: those with the
	// same number > 0. 0 stands alone.
	Pool       int
	Credential Credential
	Context    int // tokens of the window; 0 = unknown, taken as without limit
	Can        Abilities
	// QueueWait is how long one request may wait for a place under the
	// provider's limit, or for its backend to load.
	QueueWait time.Duration
}

// HealthAction says what a profile does about a provider's health
// (the healing contract §5).
type HealthAction uint8

// The actions. The zero value is Exclude, the default.
const (
	Exclude HealthAction = iota
	Demote
	Warn
	Off
)

// Chain is a profile's chain, built once per configuration and read-only.
type Chain struct {
	Profile       drey.ProfileID
	Members       []Member
	AllowPaid     bool // the paid gate is open
	Action        HealthAction
	ThinkingOrder bool // requests that ask for thinking try capable providers first
	Adaptive      bool // sort by demerits within a price class
	DemoteDrift   bool // providers that drifted go last
}

// Health is what is known of a provider's condition.
type Health uint8

// The conditions (the healing contract §2). The zero value is Healthy.
const (
	Healthy    Health = iota
	Degraded          // among the equals of a pool chosen last
	Unhealthy         // its own place, or behind all others where a profile demotes
	Excluded          // by health: out of the chains of profiles that exclude
	Restarting        // out of all chains
	Withdrawn         // by the operator: out of all chains
)

// Live is one provider's state as its owners published it, and what it is to
// this request. The zero value is a healthy idle provider that never saw the
// conversation.
type Live struct {
	Health Health
	// Trial says that the next request that would have used the excluded
	// provider may try it, at its old place.
	Trial bool
	// Probing says that an excluded provider is in the phase in which the
	// panic rule may pick it.
	Probing bool
	// Ramping and Busy are hints that an affinity is not worth following now;
	// whether there is a place is asked at the attempt.
	Ramping, Busy bool
	Drifted       bool // under drift's cool-down
	InFlight      int
	Demerits      int       // adaptive order; 0 is best
	NextProbe     time.Time // excluded: when it is looked at again
	PanicFrom     time.Time // no trial by the panic rule before; zero = at any time
	WithdrawnTill time.Time // by the operator, for a time; zero = until restored
	// Queues says that a provider that restarts is a process on its way up: it
	// takes requests that nobody else could serve, and they wait for it.
	Queues bool
	// Parked is why the provider is left alone until ParkedUntil, also after a
	// failure for want of memory; "" = it is not.
	Parked      Reason
	ParkedUntil time.Time
	// Affine says that of its pool the provider served this conversation last.
	Affine bool
	// Tokens is the estimate of the prompt as this provider counts; 0 = as Ask
	// has it.
	Tokens int
}

// parked reports whether the provider is left alone at that time.
func (l *Live) parked(at time.Time) bool { return l.Parked != "" && at.Before(l.ParkedUntil) }
