package operation

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dreyhq/drey"
)

// Code says for programs why a call is refused.
type Code uint8

// The codes of §3. The zero value is none and never in an Error.
const (
	NoCode                    Code = iota
	CodeInvalidArgument            // an argument breaks a rule: Field, Rule
	CodeNotFound                   // there is no such operation
	CodeEvicted                    // it has ended and is not retained; is also a not_found
	CodeAlreadyRegistered          // the id is taken, also by one that has ended
	CodeInvalidTransition          // its status does not allow the call
	CodePeerNotExpected            // it was registered without a peer channel
	CodeAlreadyPeerReady           // the first handle is kept
	CodeMaxConcurrentExceeded      // the registry has as many live ones as it may
	CodeDuplicateWait              // a wait names an operation twice
	CodeOwnerRetired               // the owner has ended, and has no operations any more
	CodeAmbiguous                  // a session has several live operations
	CodeBindingConflict            // a session with a live operation cannot be bound elsewhere
	CodeIdempotencyMismatch        // the request id belongs to another call
	CodeStaleEpoch                 // the work was begun in another process
	CodeNotOwner                   // another process owns the registry
	CodeStoreUnavailable           // it could not be written or read
	CodeClosed                     // the registry is closed
)

// codes holds each code's name, HTTP status and sentinel.
var codes = [...]struct {
	name   string
	status int
	err    error
}{
	CodeInvalidArgument:       {"invalid_argument", 400, ErrInvalidArgument},
	CodeNotFound:              {"not_found", 404, ErrNotFound},
	CodeEvicted:               {"evicted", 410, ErrEvicted},
	CodeAlreadyRegistered:     {"already_registered", 409, ErrAlreadyRegistered},
	CodeInvalidTransition:     {"invalid_transition", 409, ErrInvalidTransition},
	CodePeerNotExpected:       {"peer_not_expected", 409, ErrPeerNotExpected},
	CodeAlreadyPeerReady:      {"already_peer_ready", 409, ErrAlreadyPeerReady},
	CodeMaxConcurrentExceeded: {"max_concurrent_exceeded", 429, ErrMaxConcurrentExceeded},
	CodeDuplicateWait:         {"duplicate_wait_operation", 400, ErrDuplicateWait},
	CodeOwnerRetired:          {"owner_retired", 409, ErrOwnerRetired},
	CodeAmbiguous:             {"ambiguous", 409, ErrAmbiguous},
	CodeBindingConflict:       {"binding_conflict", 409, ErrBindingConflict},
	CodeIdempotencyMismatch:   {"idempotency_mismatch", 409, ErrIdempotencyMismatch},
	CodeStaleEpoch:            {"stale_epoch", 409, ErrStaleEpoch},
	CodeNotOwner:              {"not_owner", 503, ErrNotOwner},
	CodeStoreUnavailable:      {"store_unavailable", 503, ErrStoreUnavailable},
	CodeClosed:                {"closed", 503, ErrClosed},
}

// The sentinels, one for each code: errors.Is(err, ErrNotFound).
var (
	ErrInvalidArgument       = errors.New("invalid argument")
	ErrNotFound              = errors.New("operation not found")
	ErrEvicted               = errors.New("operation no longer retained")
	ErrAlreadyRegistered     = errors.New("operation already registered")
	ErrInvalidTransition     = errors.New("transition not allowed")
	ErrPeerNotExpected       = errors.New("no peer expected")
	ErrAlreadyPeerReady      = errors.New("peer ready already")
	ErrMaxConcurrentExceeded = errors.New("too many active operations")
	ErrDuplicateWait         = errors.New("operation named twice in a wait")
	ErrOwnerRetired          = errors.New("owner session has ended")
	ErrAmbiguous             = errors.New("several live operations")
	ErrBindingConflict       = errors.New("session has a live operation elsewhere")
	ErrIdempotencyMismatch   = errors.New("request id belongs to another call")
	ErrStaleEpoch            = errors.New("stale epoch")
	ErrNotOwner              = errors.New("not the owner of the registry")
	ErrStoreUnavailable      = errors.New("the store is not available")
	ErrClosed                = errors.New("the registry is closed")
)

// String returns the code's name in JSON and metrics.
func (c Code) String() string {
	if int(c) < len(codes) {
		return codes[c].name
	}
	return fmt.Sprintf("code(%d)", c)
}

// MarshalText writes the code's name.
func (c Code) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// HTTPStatus returns the status that the control API answers with.
func (c Code) HTTPStatus() int {
	if c != NoCode && int(c) < len(codes) {
		return codes[c].status
	}
	return 500
}

// Error is why a call on an operation, or on a registry, is refused. Programs
// branch on Code, or with errors.Is on its sentinel; people read the text. Only
// what the code names in §3 is set beside Code, Action, ID and RequestID.
type Error struct {
	Code      Code
	Action    Action
	ID        ID // zero if no single operation is meant
	RequestID drey.RequestID

	Field, Rule    string // invalid_argument: what is wrong, and what it must be
	Status         string // already_registered, invalid_transition: the operation's, or evicted
	SameSpec       bool   // already_registered: by the same spec
	Peer           string // already_peer_ready: the name of the first one
	Registry       RegistryID
	Limit, Active  int    // max_concurrent_exceeded
	Owner          string // owner_retired, binding_conflict
	Session        string // ambiguous, binding_conflict
	IDs            []ID   // ambiguous, binding_conflict: the live ones, by (created, id)
	Doing          string // ambiguous, binding_conflict: what the adapter was about, in its words
	Given, Current uint64 // stale_epoch
	Err            error  // not_owner, store_unavailable, closed: the cause; nil = the code's own words
}

// Error returns the text of §3 on one line.
func (e *Error) Error() string {
	switch e.Code {
	case CodeInvalidArgument:
		return fmt.Sprintf("%s: %s %s", e.Action, e.Field, e.Rule)
	case CodeDuplicateWait:
		return fmt.Sprintf("wait: operation '%s' is named twice", e.ID)
	case CodeAmbiguous:
		return fmt.Sprintf("member operations: cannot %s for session '%s': several live operations [%s]", e.Doing, e.Session, e.idList())
	case CodeBindingConflict:
		return fmt.Sprintf("member operations: cannot bind session '%s' to owner '%s': operation '%s' is live in '%s'", e.Session, e.Owner, e.idList(), e.Registry)
	}
	if e.ID.IsZero() {
		return e.Action.String() + ": " + e.reason()
	}
	return e.Action.subject() + " operation '" + e.ID.String() + "': " + e.reason()
}

// reason is the text behind the operation that is meant.
func (e *Error) reason() string {
	switch e.Code {
	case CodeNotFound:
		return "not found"
	case CodeEvicted:
		return "ended and no longer retained"
	case CodeAlreadyRegistered:
		return "already registered (" + e.Status + ")"
	case CodeInvalidTransition:
		return "not allowed while " + e.Status
	case CodePeerNotExpected:
		return "expects no peer channel"
	case CodeAlreadyPeerReady:
		return "peer '" + e.Peer + "' is ready already"
	case CodeMaxConcurrentExceeded:
		return fmt.Sprintf("%d of %d active in '%s'", e.Active, e.Limit, e.Registry)
	case CodeOwnerRetired:
		return "owner session '" + e.Owner + "' has ended"
	case CodeIdempotencyMismatch:
		return "request '" + string(e.RequestID) + "' was another call"
	case CodeStaleEpoch:
		return fmt.Sprintf("from epoch %d, now %d", e.Given, e.Current)
	}
	if e.Err != nil {
		return e.Err.Error()
	}
	if s := e.sentinel(); s != nil {
		return s.Error()
	}
	return e.Code.String()
}

func (e *Error) idList() string {
	var b strings.Builder
	for i, id := range e.IDs {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(id.String())
	}
	return b.String()
}

func (e *Error) sentinel() error {
	if int(e.Code) < len(codes) {
		return codes[e.Code].err
	}
	return nil
}

// Is reports whether target is the code's sentinel; an evicted operation is
// also one that is not found.
func (e *Error) Is(target error) bool {
	return target != nil && (target == e.sentinel() || e.Code == CodeEvicted && target == ErrNotFound)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Fields returns what the API shows beside the text, in the order of §3.
func (e *Error) Fields() []drey.Field {
	id := drey.F("id", e.ID)
	switch e.Code {
	case CodeInvalidArgument:
		return []drey.Field{drey.F("field", e.Field), drey.F("rule", e.Rule)}
	case CodeNotFound, CodeEvicted, CodePeerNotExpected, CodeAlreadyPeerReady, CodeDuplicateWait:
		return []drey.Field{id}
	case CodeAlreadyRegistered:
		return []drey.Field{id, drey.F("status", e.Status), drey.F("same_spec", e.SameSpec)}
	case CodeInvalidTransition:
		return []drey.Field{id, drey.F("status", e.Status), drey.F("action", e.Action.String())}
	case CodeMaxConcurrentExceeded:
		return []drey.Field{drey.F("registry", string(e.Registry)), drey.F("limit", e.Limit), drey.F("active", e.Active)}
	case CodeOwnerRetired:
		return []drey.Field{drey.F("owner", e.Owner)}
	case CodeAmbiguous, CodeBindingConflict:
		return []drey.Field{drey.F("session", e.Session), drey.F("ids", e.IDs)}
	case CodeIdempotencyMismatch:
		return []drey.Field{drey.F("request_id", string(e.RequestID))}
	case CodeStaleEpoch:
		return []drey.Field{drey.F("given", e.Given), drey.F("current", e.Current)}
	case CodeNotOwner, CodeStoreUnavailable, CodeClosed:
		return []drey.Field{drey.F("registry", string(e.Registry)), drey.F("cause", e.reason())}
	}
	return nil
}
