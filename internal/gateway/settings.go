package gateway

import (
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/spend"
	"github.com/dreyhq/drey/internal/upstream"
	"github.com/dreyhq/drey/internal/wire"
)

// Settings are everything that a generation of the gateway is built from. The
// daemon makes them from the configuration, with secrets resolved and defaults
// in place. Build keeps them; they are not changed after that.
type Settings struct {
	AllowPaid      bool
	DefaultProfile drey.ProfileID
	Providers      []Provider // in file order
	Profiles       []Profile  // in file order
	Aliases        []route.Alias
	Keepalive      time.Duration // how long a stream may be silent toward the caller
	Auto           *AutoRouter   // chooses in place of DefaultProfile; nil = nobody does
	Capture        CaptureSettings
}

// Provider is one provider of a generation.
type Provider struct {
	upstream.Config
	// Missing says that the secret which the configuration names is not there
	// or blank; the provider is then passed over with reason no-credential.
	Missing         bool
	Connect         time.Duration
	FirstToken      time.Duration // 0 = auto
	Stall           time.Duration
	Total           time.Duration
	ContextTokens   int // 0 = learn
	MaxOutputTokens int // 0 = learn
	Can             route.Abilities
	Cache           bool // cache_control may be sent on the chat wire
	ReasoningBack   bool // reasoning_content may be sent back on the chat wire
	MaxTokensKey    string
	Responses       bool // it speaks Responses besides chat
	AppendSystem    string
	// QueueWait is how long a request may wait for a place under the provider's
	// limit, for its process, or for its backend to load; 0 = not at all.
	QueueWait time.Duration
	Extra     []wire.ExtraField
	Cost      spend.Given // prices that the configuration names
	Drop      []string
	// StripLines takes a first line of the system text out of requests that
	// agents change each time.
	StripLines bool
	Mending    // what is done to its answers
}

// Profile is one profile of a generation.
type Profile struct {
	ID            drey.ProfileID
	Chain         [][]drey.ProviderID // in order of trial; more than one in a place is a pool of equals
	Action        health.Action       // what it does about providers that are not well
	Adaptive      bool                // order by demerits within a price class
	ThinkingOrder bool
	EmptyAnswer   EmptyAction
	Drift         guard.DriftPolicy // without Profile and Provider
	AppendSystem  *string           // replaces the providers'; "" clears it; nil leaves it
	Timeouts      Timeouts
	Retry         route.Policy
	RetryShare    float64 // of the profile's requests that may be retries at the same provider
	RetryFloor    int     // retries in 10 s that are free of the share
	Guards        Guards
	Rescue        Rescue
}

// Timeouts replace those of the providers where they are not nil.
type Timeouts struct {
	Connect    *time.Duration
	FirstToken *time.Duration // 0 = auto
	Stall      *time.Duration
	Total      *time.Duration
}

// EmptyAction says what is done about a complete answer that has nothing in
// it.
type EmptyAction uint8

// The actions. The zero value is the default.
const (
	EmptyFallback EmptyAction = iota // the next provider is tried; if all are empty, the last answer is given
	EmptyWarn                        // it is given, with an event
	EmptyOff                         // it is given
)
