package gateway

import (
	"net/http"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/autoroute"
)

// Request is one call of an agent as the door took it in: authenticated,
// within the limits, its body read whole.
type Request struct {
	ID     drey.RequestID
	At     time.Time // arrival
	Wire   drey.Wire
	Body   []byte
	Query  string      // without the question mark; kept for same-wire providers
	Header http.Header // the caller's; what of it goes on is the provider's matter

	// Where a profile was named, by the strength of §3 of the contract.
	HeaderProfile, PathProfile string

	Key Key

	auto  *autoroute.Verdict // what the auto-router said, if it was asked
	again *again             // a captured request that is sent again; nil = a caller's own
}

// Key is who calls. The zero value is anybody on a gateway without keys.
type Key struct {
	Name      string
	Profiles  []drey.ProfileID // which it may use; nil = all
	PerMinute int              // how many requests of it may come in a minute; 0 = any number
	Secret    string           // the credential that came with the request, for providers of key: caller
}
