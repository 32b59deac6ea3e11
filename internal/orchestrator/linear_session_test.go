package orchestrator

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/dreyhq/drey/internal/operation"
)

// sessionState is one session as the adapter's contract has it.
type sessionState struct {
	owner  int // it is bound to; 0 = not bound
	known  bool
	status operation.Status // of its live operation
	id     operation.ID     // of that, or of the last one
}

// sessionSaid is the answer to a call about a session.
type sessionSaid struct {
	code  operation.Code
	id    operation.ID
	owner int
}

// sessionModel is one session with Bind, Ensure and what they must agree with.
// A call is asked{name, owner}.
var sessionModel = porcupine.Model{
	Init: func() any { return sessionState{} },
	Step: func(state, in, out any) (bool, any) {
		s, call, got := state.(sessionState), in.(asked), out.(sessionSaid)
		if got.code == operation.CodeStoreUnavailable {
			return true, s // it did not happen
		}
		live := s.status.Live()
		answered := func(to sessionState, right bool) (bool, any) {
			return right && got.code == operation.NoCode, to
		}
		switch call.call {
		case "bind":
			if live && s.owner != call.id {
				return got.code == operation.CodeBindingConflict, s
			}
			s.owner = call.id
			return answered(s, true)
		case "bound":
			return answered(s, got.owner == s.owner)
		case "lookup":
			if !live {
				return answered(s, got.id.IsZero())
			}
			return answered(s, got.id == s.id)
		case "ensure", "provisioned":
			if call.call == "provisioned" && s.status == operation.Retiring {
				return got.code == operation.CodeInvalidTransition, s
			}
			if live {
				if call.call == "provisioned" {
					s.status = operation.Running
				}
				return answered(s, got.id == s.id)
			}
			fresh := !got.id.IsZero() && got.id != s.id
			s.id, s.status, s.known = got.id, operation.Provisioning, true
			if call.call == "provisioned" {
				s.status = operation.Running
			}
			return answered(s, fresh)
		case "retiring":
			switch s.status {
			case operation.Provisioning:
				s.status = operation.Aborted
			case operation.Running:
				s.status = operation.Retiring
			}
			return answered(s, true)
		case "retired":
			if s.known {
				s.owner = 0
			}
			if live {
				s.status = operation.Retired
			}
			return answered(s, true)
		}
		return false, s
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
}

// TestSessionLinearizable: the calls about one session, from many adapters at
// once, have an order in which each sees what those before it did: no two live
// operations, no binding lost or changed under a live one (§9).
func TestSessionLinearizable(t *testing.T) {
	calls := []string{"bind", "bind", "bound", "lookup", "ensure", "ensure", "provisioned", "retiring", "retired"}
	linearizable(t, func(t *testing.T, start func(Config) *house, seed uint64) {
		h := start(Config{})
		defer h.stop()
		converse(t, sessionModel, seed, func(rnd *rand.Rand) (any, any) {
			in := asked{calls[rnd.IntN(len(calls))], 1 + rnd.IntN(2)}
			return in, h.about(t, "s", in)
		})
	})
}

// about makes one call about a session, through an adapter of its own.
func (h *house) about(t *testing.T, session string, in asked) sessionSaid {
	m := h.Members(operation.Fallback)
	var id operation.ID
	var err error
	switch in.call {
	case "bind":
		err = m.Bind(t.Context(), session, fmt.Sprint("owner", in.id), operation.MobRegistry(fmt.Sprint("mob", in.id)))
	case "bound":
		var owner int
		if b := m.RegistryFor(session); b.Registry != operation.Fallback {
			if _, err := fmt.Sscanf(b.Owner, "owner%d", &owner); err != nil || b.Registry != operation.MobRegistry(fmt.Sprint("mob", owner)) {
				t.Errorf("bound to %+v", b)
			}
		}
		return sessionSaid{owner: owner}
	case "lookup":
		id, err = m.LookupActive(t.Context(), session)
	case "ensure":
		id, err = m.Ensure(t.Context(), session, "n")
	case "provisioned":
		id, err = m.MarkProvisioned(t.Context(), session, "n")
	case "retiring":
		err = m.BeginRetire(t.Context(), SessionRef(session))
	case "retired":
		err = m.MarkRetired(t.Context(), SessionRef(session))
	}
	return sessionSaid{code: codeOf(err), id: id}
}
