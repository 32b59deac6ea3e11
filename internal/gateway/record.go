package gateway

import (
	"slices"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/spend"
	"github.com/dreyhq/drey/internal/wire"
)

// Outcome is how a request ended, for its row and the metrics.
type Outcome string

// The outcomes.
const (
	OutcomeOK              Outcome = "ok"
	OutcomeCancel          Outcome = "cancel"           // the caller went away
	OutcomeFailed          Outcome = "failed"           // no provider answered; the caller was told
	OutcomeFailedMidstream Outcome = "failed_midstream" // it broke after the first content
	OutcomeRefused         Outcome = "refused"          // refused before any provider was asked
)

// Record is what is kept of one request at its end: the row of requests.jsonl,
// the row of the store and the samples of the metrics are made from it. It
// never holds a body or a secret. The gateway gives it away when the request
// has ended; from then on it is read only.
type Record struct {
	ID        drey.RequestID
	At        time.Time // arrival
	Wire      drey.Wire
	Profile   drey.ProfileID
	Key       string // the name of the client's key; "" if none
	Asked     string // the model that the caller named
	Served    string // the model that answered, as its provider calls itself
	Provider  drey.ProviderID
	Attempts  []AttemptRecord
	Skipped   []Skipped
	Guards    []guard.Trip // those that found something
	Stream    bool
	Status    int
	Outcome   Outcome
	FirstByte time.Duration // arrival to commit; 0 if nothing was committed
	Total     time.Duration // arrival to the last byte
	Own       time.Duration // of Total, what was drey's own work: neither waiting for a provider nor for the caller
	Usage     wire.Usage
	Cost      spend.MicroUSD // of all attempts
	Savings   spend.MicroUSD // what tokens from a cache would have cost more without it
	Stop      wire.Stop
	FellFrom  drey.ProviderID // the first provider that was passed over; "" if none was
	FellFor   string          // why, one reason per provider passed over
	Rescue    RescueRecord
	Error     string   // one redacted line; "" if it ended well
	Mended    []Mended // what was mended, one for each attempt where something was
	Events    []drey.Event
	Captured  bool           // the request and its providers' answers are kept
	ReplayOf  drey.RequestID // the captured request that this is sent again for a person; "" = a caller's own
}

// tripped notes a guard that found something, once.
func (r *Record) tripped(t guard.Trip) {
	if !slices.Contains(r.Guards, t) {
		r.Guards = append(r.Guards, t)
	}
}

// AttemptRecord is one try at one provider.
type AttemptRecord struct {
	Provider  drey.ProviderID
	Class     drey.Class // meaningful unless OK
	OK        bool
	Committed bool // it failed after the first content
	Resumed   bool // it was to give the rest of an answer that another had begun
	Status    int
	Took      time.Duration
	FirstByte time.Duration // to the first content; 0 if none came
	Gap       time.Duration // mean time between contents; 0 if there were no two
	Usage     wire.Usage    // what it was charged for
	Cost      spend.MicroUSD
	Error     string
}

// Skipped is a provider that was passed over without being tried.
type Skipped struct {
	Provider drey.ProviderID
	Reason   string
	Until    time.Time // zero if it is not a matter of time
}

// Recorder takes what the gateway has to tell. Both methods return at once and
// may be called concurrently.
type Recorder interface {
	// Record takes a request that has ended.
	Record(r *Record)
	// Emit takes an event that is journaled and audited.
	Emit(ev drey.Event)
}
