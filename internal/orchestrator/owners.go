package orchestrator

import (
	"context"
	"slices"
	"strings"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/operation"
)

// fence says that a session has ended: it owns no operation any more, in any
// registry, for ever.
type fence struct {
	Reason string `json:"reason"`
}

// fenced reports whether an owner has been retired, as decided.
func (o *Operations) fenced(owner string) bool {
	f := o.fences[owner]
	return f != nil && f.decided != nil
}

// TerminateOwner ends every live operation of an owner in this registry, and
// those of the child sessions below it there, the deepest first, each with its
// own event. It returns those that it has ended; repeating it ends none. All of
// them end in one commit, so that a crash leaves nothing half done.
func (r Registry) TerminateOwner(ctx context.Context, owner, reason string, meta operation.Meta) ([]operation.ID, error) {
	return r.o.terminate(ctx, r.id, owner, reason, meta, false)
}

// RetireOwner is TerminateOwner, and from then on no operation of that owner is
// registered in any registry: who archives or deletes a session calls it.
func (r Registry) RetireOwner(ctx context.Context, owner, reason string, meta operation.Meta) ([]operation.ID, error) {
	return r.o.terminate(ctx, r.id, owner, reason, meta, true)
}

// TerminateAll ends every live operation of this registry, the youngest first.
func (r Registry) TerminateAll(ctx context.Context, reason string, meta operation.Meta) ([]operation.ID, error) {
	var ids []operation.ID
	err := r.o.ask(ctx, operation.ActTerminateOwner, operation.ID{}, func(t *turn) error {
		var live []operation.Kin
		for _, e := range t.o.entries {
			if e.decided != nil && e.scope.id == r.id {
				if t.look(e); e.decided.Live() {
					live = append(live, e.decided.Kin())
				}
			}
		}
		var err error
		ids, err = t.terminate(operation.Everyone(live), reason, meta)
		return err
	}, nil)
	return answerIDs(ids, err)
}

// TerminateOwner ends the live operations of an owner, and those below, in all
// registries.
func (o *Operations) TerminateOwner(ctx context.Context, owner, reason string, meta operation.Meta) ([]operation.ID, error) {
	return o.terminate(ctx, "", owner, reason, meta, false)
}

// RetireOwner is the fence, and TerminateOwner in all registries.
func (o *Operations) RetireOwner(ctx context.Context, owner, reason string, meta operation.Meta) ([]operation.ID, error) {
	return o.terminate(ctx, "", owner, reason, meta, true)
}

func (o *Operations) terminate(ctx context.Context, r operation.RegistryID, owner, reason string, meta operation.Meta, retire bool) ([]operation.ID, error) {
	action := operation.ActTerminateOwner
	if retire {
		action = operation.ActRetireOwner
	}
	if owner == "" {
		return nil, &operation.Error{Code: operation.CodeInvalidArgument, Action: action, Field: "owner_session_id", Rule: "must not be empty"}
	}
	var ids []operation.ID
	err := o.ask(ctx, action, operation.ID{}, func(t *turn) error {
		if retire {
			if err := t.fence(owner, reason, meta); err != nil {
				return err
			}
		}
		var err error
		ids, err = t.terminate(operation.Subtree(owner, t.family(r)), reason, meta)
		return err
	}, nil)
	return answerIDs(ids, err)
}

// answerIDs keeps a refused call's answer empty, also where the call goes on
// behind its caller.
func answerIDs(ids []operation.ID, err error) ([]operation.ID, error) {
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// fence retires an owner; one that is retired stays so.
func (t *turn) fence(owner, reason string, meta operation.Meta) error {
	f := t.o.fenceOf(owner)
	if f.decided != nil {
		t.rests = append(t.rests, f.flight...)
		return nil
	}
	return set(t, f, &fence{Reason: reason}, drey.Event{
		Name: "owner.retired", RequestID: meta.RequestID, Fields: []drey.Field{drey.F("reason", reason)},
	})
}

func (o *Operations) fenceOf(owner string) *fact[fence] {
	f := o.fences[owner]
	if f == nil {
		f = &fact[fence]{machine: machineOwner, id: owner}
		o.fences[owner] = f
	}
	return f
}

// terminate ends operations, in order, and returns those that were live.
func (t *turn) terminate(ids []operation.ID, reason string, meta operation.Meta) ([]operation.ID, error) {
	var ended []operation.ID
	for _, id := range ids {
		row, err := t.step(operation.TerminateOwner{Meta: operation.Meta{ID: id, Cause: meta.Cause, RequestID: meta.RequestID}, Reason: reason})
		if err != nil {
			return nil, err
		}
		if row != nil {
			ended = append(ended, id)
		}
	}
	return ended, nil
}

// family returns the live operations that a session owns, in a registry or, if
// it is "", in all. What has ended in flight is looked at too: a repeat is not
// answered before the ending is durable.
func (t *turn) family(r operation.RegistryID) operation.Family {
	return func(owner string) []operation.Kin {
		var kin []operation.Kin
		for e := range t.o.liveByOwner[owner] {
			if r == "" || e.scope.id == r {
				kin = append(kin, e.decided.Kin())
			}
		}
		for e := range t.o.goesByOwner[owner] {
			if r == "" || e.scope.id == r {
				t.look(e)
			}
		}
		return kin
	}
}

// AdoptOwner gives the live operations of one owner in this registry, of one
// kind or of all (NoKind), to another, and with members their bindings; but not
// the one whose child is the old owner itself. It returns those that it has
// moved.
func (r Registry) AdoptOwner(ctx context.Context, from, to string, kind operation.Kind, meta operation.Meta) ([]operation.ID, error) {
	var ids []operation.ID
	err := r.o.ask(ctx, operation.ActAdoptOwner, operation.ID{}, func(t *turn) error {
		found, err := operation.Adopted(from, to, kind, t.o.fenced(to), t.family(r.id))
		if err != nil {
			if f := t.o.fences[to]; f != nil {
				t.rests = append(t.rests, f.flight...)
			}
			return err
		}
		for _, id := range found {
			row, err := t.step(operation.AdoptOwner{Meta: operation.Meta{ID: id, Cause: meta.Cause, RequestID: meta.RequestID}, Owner: to})
			if err != nil {
				return err
			}
			if row != nil {
				ids = append(ids, id)
			}
		}
		if from == to || kind == operation.BackgroundTool {
			return nil
		}
		for _, f := range t.bindingsOf(from, r.id) {
			if f.id == from {
				continue
			}
			if err := t.bind(f, &Binding{Registry: r.id, Owner: to}); err != nil {
				return err
			}
		}
		return nil
	}, nil)
	return answerIDs(ids, err)
}

// bindingsOf returns the bindings to an owner in a registry, by session.
func (t *turn) bindingsOf(owner string, r operation.RegistryID) []*fact[Binding] {
	var out []*fact[Binding]
	for _, f := range t.o.bindings {
		if f.decided != nil && f.decided.Owner == owner && f.decided.Registry == r {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b *fact[Binding]) int { return strings.Compare(a.id, b.id) })
	return out
}
