package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
)

// Members maps the sessions of members to their operations (§9). Each of its
// calls is one decision of the owner of all operations, in one commit: so calls
// for one session come one after another, whoever makes them, and those for
// different sessions do not wait for each other's.
type Members struct {
	o        *Operations
	fallback operation.RegistryID
}

// Members returns the adapter. Sessions that nobody has bound are in fallback,
// as their own owners.
func (o *Operations) Members(fallback operation.RegistryID) *Members { return &Members{o, fallback} }

// RefKind says what a member is.
type RefKind uint8

// The kinds of a Ref.
const (
	RefSession     RefKind = iota // a session of this daemon
	RefBackendPeer                // a peer behind another backend
)

// Ref names a member. One without a session is refused by every call.
type Ref struct {
	Kind    RefKind
	Session string
	PeerID  string // of a backend peer
	Address string // of a backend peer
}

// SessionRef returns the Ref of a session.
func SessionRef(session string) Ref { return Ref{Session: session} }

// String returns the Ref as errors show it.
func (r Ref) String() string {
	if r.Kind == RefSession {
		return "session " + r.Session
	}
	s := "backend_peer " + r.PeerID + " at " + r.Address
	if r.Session != "" {
		s += " (session " + r.Session + ")"
	}
	return s
}

// What the adapter was about, in the words of its errors.
const (
	doLookUp    = "look up"
	doProvision = "provision"
	doConfirm   = "confirm"
	doReport    = "report progress"
	doPeer      = "mark peer ready"
	doRetire    = "retire"
	doAbort     = "abort provisioning"
	doRollBack  = "roll back"
	doResolve   = "resolve active operation"
)

// errAsk says that a decision needs to know of the archive, which the owner
// does not read.
var errAsk = errors.New("is the session known?")

// decide makes a decision about a session. The decision is told whether the
// session is known from the archive; that is looked up only when it asks.
func (m *Members) decide(ctx context.Context, session, doing string, decide func(*sitting) error) error {
	archived := unasked
	for {
		err := m.o.ask(ctx, operation.NoAction, operation.ID{}, func(t *turn) error {
			s := &sitting{turn: t, session: session, doing: doing, archived: archived}
			s.at = m.placeOf(session)
			if f := m.o.bindings[session]; f != nil {
				if err := lookAt(t, f); err != nil {
					return err
				}
			}
			return decide(s)
		}, nil)
		if errors.Is(err, errSettling) {
			continue
		}
		if !errors.Is(err, errAsk) {
			return err
		}
		archived = strange
		switch _, err := m.o.cfg.Journal.Load(ctx, machineChild, session); {
		case err == nil:
			archived = familiar
		case !errors.Is(err, store.ErrNotFound):
			return unavailable(operation.NoAction, operation.ID{}, err)
		}
	}
}

// knowledge is what is known of a session from the archive.
type knowledge uint8

const (
	unasked  knowledge = iota // nothing yet
	strange                   // no archived operation has had it as child
	familiar                  // some has
)

// sitting is one decision about a session: the turn, and where the session
// stands.
type sitting struct {
	*turn
	session, doing string
	at             Binding // as decided: the registry and the owner
	archived       knowledge
}

// active returns the session's one live operation, zero if it has none.
func (s *sitting) active() (operation.ID, error) {
	return s.turn.one(s.at.Registry, s.session, operation.MemberChild, s.doing)
}

// known reports whether the session has or had an operation, in any registry.
func (s *sitting) known() (bool, error) {
	if len(s.o.liveByChild[s.session]) > 0 {
		return true, nil
	}
	for e := range s.o.goesByChild[s.session] { // it may not be published yet
		if e.leaving.Kind == operation.MemberChild {
			s.look(e)
			return true, nil
		}
	}
	if x := s.o.byChild[s.session]; x != nil {
		for e := range x.ascend(operation.Key{}) {
			if e.seen.Kind == operation.MemberChild {
				return true, nil
			}
		}
	}
	if s.o.gone.has(s.session) {
		return true, nil
	}
	if s.archived == unasked {
		return false, errAsk
	}
	return s.archived == familiar, nil
}

// own returns an operation, which must be the session's; the zero machine if
// there is none.
func (s *sitting) own(id operation.ID) (operation.Machine, error) {
	_, m := s.machine(id)
	if m.Exists() && m.Child != s.session {
		return m, &operation.Error{Code: operation.CodeInvalidArgument, Action: operation.ActGet, Field: "operation_id", Rule: "must be an operation of session '" + s.session + "'"}
	}
	return m, nil
}

// register begins a member's operation.
func (s *sitting) register(name string) (operation.ID, error) {
	id := s.o.mint()
	return s.ensure(s.at.Registry, operation.Spec{
		ID: id, Kind: operation.MemberChild, Owner: s.at.Owner, Name: name, Child: s.session, ExpectPeer: true,
	}, s.doing)
}

// promote brings an operation from provisioning to running; beyond that is fine.
func (s *sitting) promote(id operation.ID) error {
	_, m := s.machine(id)
	switch {
	case !m.Exists():
		return &memberError{fmt.Sprintf("member operations: cannot %s: operation '%s' not found", s.doing, id),
			&operation.Error{Code: operation.CodeNotFound, Action: operation.ActProvisioned, ID: id}} // E2
	case m.Status != operation.Provisioning:
		return nil
	}
	if _, err := s.step(operation.Provisioned{Meta: operation.Meta{ID: id}}); err != nil {
		return &memberError{fmt.Sprintf("member operations: cannot %s: bring operation '%s' from provisioning to running: %v", s.doing, id, err), err} // E3
	}
	return nil
}

// refuse is E5: the operation is where the call has no business.
func (s *sitting) refuse(m *operation.Machine) error {
	return &memberError{
		fmt.Sprintf("member operations: cannot %s for session '%s': operation '%s' is %s", s.doing, s.session, m.ID, m.Status),
		&operation.Error{Code: operation.CodeInvalidTransition, Action: operation.ActProvisioned, ID: m.ID, Status: m.Status.String()},
	}
}

// memberError says in the adapter's words what the registry has refused.
type memberError struct {
	text string
	err  error
}

func (e *memberError) Error() string { return e.text }
func (e *memberError) Unwrap() error { return e.err }

// needSession is E1, before anything is touched.
func needSession(r Ref, doing string) error {
	if r.Session != "" {
		return nil
	}
	return &memberError{
		fmt.Sprintf("member operations: cannot %s for member without a session: %s", doing, r),
		&operation.Error{Code: operation.CodeInvalidArgument, Field: "member", Rule: "must have a session"},
	}
}

// live returns the decided live operations whose child is a session, of those
// that want selects, in the order of (created, id). What has ended and is not
// durable yet is looked at, so that the decision rests on it.
func (t *turn) live(session string, want func(*operation.Machine) bool) []operation.ID {
	var found []operation.Kin
	for e := range t.o.liveByChild[session] {
		_, m := t.machine(e.id)
		if m.Live() && want(&m) {
			found = append(found, m.Kin())
		}
	}
	for e := range t.o.goesByChild[session] {
		if want(e.leaving) {
			t.look(e)
		}
	}
	ids := operation.Everyone(found) // the youngest first
	slices.Reverse(ids)
	return ids
}

// LookupActive returns the session's live operation, zero if it has none.
// Several are an ambiguous error. It changes nothing.
func (m *Members) LookupActive(ctx context.Context, session string) (operation.ID, error) {
	var id operation.ID
	err := m.decide(ctx, session, doLookUp, func(s *sitting) (err error) {
		id, err = s.active()
		return err
	})
	return answerID(id, err)
}

// ActiveOperation returns the session's live operation, promoted to running
// first. It returns zero where there is none, and also where that cannot be
// said: the log then tells why.
func (m *Members) ActiveOperation(ctx context.Context, session string) operation.ID {
	var id operation.ID
	err := m.decide(ctx, session, doResolve, func(s *sitting) (err error) {
		if id, err = s.active(); err != nil || id.IsZero() {
			return err
		}
		return s.promote(id)
	})
	if err == nil {
		return id
	}
	if e, ok := errors.AsType[*operation.Error](err); ok && e.Code == operation.CodeAmbiguous {
		m.o.cfg.Log.ErrorContext(ctx, "active operation ambiguous", "session_id", session, "operation_ids", e.IDs)
	} else {
		m.o.cfg.Log.ErrorContext(ctx, "active operation not promoted", "session_id", session, "operation_id", id.String(), "error", err)
	}
	return operation.ID{}
}

// OperationStatus returns the status of an operation of the session: whose child
// it is, or, where it has no child, who owns it. Absent where there is no such
// one. Archived ones have their status still.
func (m *Members) OperationStatus(ctx context.Context, session string, id operation.ID) (operation.Status, error) {
	s, err := m.o.Get(ctx, id)
	switch {
	case errors.Is(err, operation.ErrNotFound):
		return operation.Absent, nil
	case err != nil:
		return operation.Absent, err
	case s.Child == session || s.Child == "" && s.Owner == session:
		return s.Status, nil
	}
	return operation.Absent, nil
}

// Ensure returns the session's live operation, registered if there is none.
func (m *Members) Ensure(ctx context.Context, session, name string) (operation.ID, error) {
	if err := needSession(SessionRef(session), doProvision); err != nil {
		return operation.ID{}, err
	}
	var id operation.ID
	err := m.decide(ctx, session, doProvision, func(s *sitting) (err error) {
		id, err = s.register(name)
		return err
	})
	return answerID(id, err)
}

// MarkProvisioned is Ensure, and the operation runs.
func (m *Members) MarkProvisioned(ctx context.Context, session, name string) (operation.ID, error) {
	if err := needSession(SessionRef(session), doProvision); err != nil {
		return operation.ID{}, err
	}
	var id operation.ID
	err := m.decide(ctx, session, doProvision, func(s *sitting) (err error) {
		if id, err = s.register(name); err != nil {
			return err
		}
		if _, now := s.machine(id); now.Status != operation.Provisioning && now.Status != operation.Running {
			return s.refuse(&now)
		}
		return s.promote(id)
	})
	return answerID(id, err)
}

// ConfirmProvisioned brings this very operation to running, or leaves it there.
// It registers none: a member that was retired meanwhile stays retired.
func (m *Members) ConfirmProvisioned(ctx context.Context, session string, id operation.ID) (operation.ID, error) {
	if err := needSession(SessionRef(session), doConfirm); err != nil {
		return operation.ID{}, err
	}
	err := m.decide(ctx, session, doConfirm, func(s *sitting) error {
		now, err := s.own(id)
		if err != nil {
			return err
		}
		if now.Exists() && now.Status != operation.Provisioning && now.Status != operation.Running {
			return s.refuse(&now)
		}
		return s.promote(id)
	})
	return answerID(id, err)
}

// ReportProgress records progress on the member's operation. A session that is
// not known gets one; what comes after the ending changes nothing.
func (m *Members) ReportProgress(ctx context.Context, ref Ref, u operation.ProgressUpdate) error {
	if err := needSession(ref, doReport); err != nil {
		return err
	}
	return m.decide(ctx, ref.Session, doReport, func(s *sitting) error {
		id, err := s.atWork("mob_member/" + ref.Session)
		if err != nil || id.IsZero() {
			return err
		}
		_, err = s.step(operation.ReportProgress{Meta: operation.Meta{ID: id}, Update: u})
		return err
	})
}

// MarkPeerReady records that the member can be reached as a peer; the first
// handle is kept. Else it is as ReportProgress.
func (m *Members) MarkPeerReady(ctx context.Context, ref Ref, name string, peer operation.Peer) error {
	if err := needSession(ref, doPeer); err != nil {
		return err
	}
	return m.decide(ctx, ref.Session, doPeer, func(s *sitting) error {
		id, err := s.atWork(name)
		if err != nil || id.IsZero() {
			return err
		}
		if _, now := s.machine(id); now.PeerReady {
			return nil
		}
		_, err = s.step(operation.PeerBecameReady{Meta: operation.Meta{ID: id}, Handle: operation.PeerHandle{Name: name, Peer: peer}})
		return err
	})
}

// atWork returns the session's operation, running; a new one if the session is
// not known, and zero if all that it had has ended.
func (s *sitting) atWork(name string) (operation.ID, error) {
	id, err := s.active()
	if err != nil {
		return id, err
	}
	if id.IsZero() {
		known, err := s.known()
		if err != nil || known {
			return operation.ID{}, err
		}
		if id, err = s.register(name); err != nil {
			return id, err
		}
	}
	return id, s.promote(id)
}

func answerID(id operation.ID, err error) (operation.ID, error) {
	if err != nil {
		return operation.ID{}, err
	}
	return id, nil
}
