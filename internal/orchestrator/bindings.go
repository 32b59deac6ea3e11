package orchestrator

import (
	"context"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/operation"
)

// Binding says in which registry a session's operation is, and who owns it.
type Binding struct {
	Registry operation.RegistryID `json:"registry"`
	Owner    string               `json:"owner_session_id"`
}

// Bind binds a session to an owner in a registry, durably when it returns. The
// last write wins, but not while the session has a live operation: that would
// lose its owner.
func (m *Members) Bind(ctx context.Context, session, owner string, r operation.RegistryID) error {
	if err := needSession(SessionRef(session), "bind"); err != nil {
		return err
	}
	switch {
	case owner == "":
		return &operation.Error{Code: operation.CodeInvalidArgument, Field: "owner_session_id", Rule: "must not be empty"}
	case r.Kind() == "":
		return &operation.Error{Code: operation.CodeInvalidArgument, Field: "registry", Rule: "must be fallback, mob:<id> or session:<id>"}
	}
	return m.decide(ctx, session, "bind", func(s *sitting) error {
		to := Binding{r, owner}
		f := s.o.bindingOf(session)
		if f.decided != nil && *f.decided == to {
			return nil
		}
		if live := s.live(session, func(m *operation.Machine) bool { return m.Kind == operation.MemberChild }); len(live) > 0 {
			_, at := s.machine(live[0])
			return &operation.Error{
				Code: operation.CodeBindingConflict, Session: session, Owner: owner, IDs: live[:1], Registry: at.Registry, Doing: "bind",
			} // E6
		}
		return s.bind(f, &to)
	})
}

// RegistryFor returns where the session's operation is: as it is bound, else in
// the fallback, as its own owner.
func (m *Members) RegistryFor(session string) Binding {
	m.o.mu.RLock()
	defer m.o.mu.RUnlock()
	if b, ok := m.o.bound[session]; ok {
		return b
	}
	return Binding{m.fallback, session}
}

// placeOf is RegistryFor as it is decided.
func (m *Members) placeOf(session string) Binding {
	if f := m.o.bindings[session]; f != nil && f.decided != nil {
		return *f.decided
	}
	return Binding{m.fallback, session}
}

// bindingOf returns the fact of a session's binding.
func (o *Operations) bindingOf(session string) *fact[Binding] {
	f := o.bindings[session]
	if f == nil {
		f = &fact[Binding]{machine: machineBinding, id: session}
		f.shown = func(b *Binding) {
			if b == nil {
				delete(o.bound, session)
				if len(f.flight) == 0 && f.decided == nil {
					delete(o.bindings, session) // the owner publishes, and it owns them
				}
			} else {
				o.bound[session] = *b
			}
		}
		o.bindings[session] = f
	}
	return f
}

// bind sets a binding, or clears it where to is nil.
func (t *turn) bind(f *fact[Binding], to *Binding) error {
	if to == nil {
		return set(t, f, nil, drey.Event{Name: "binding.cleared", Level: drey.Debug})
	}
	return set(t, f, to, drey.Event{Name: "binding.set", Level: drey.Debug, Fields: []drey.Field{
		drey.F("registry", string(to.Registry)), drey.F("owner_session_id", to.Owner),
	}})
}

// unbind clears the session's binding, if it has one.
func (s *sitting) unbind() error {
	f := s.o.bindings[s.session]
	if f == nil || f.decided == nil {
		return nil
	}
	return s.bind(f, nil)
}

// unbindIdle clears the binding unless the session has a live operation still.
func (s *sitting) unbindIdle() error {
	if live := s.live(s.session, func(m *operation.Machine) bool { return m.Kind == operation.MemberChild }); len(live) > 0 {
		return nil
	}
	return s.unbind()
}
