package orchestrator

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
)

// Batch is several calls as one decision: all of them are taken, in order and
// in one commit, or none is.
type Batch struct {
	// Calls may go to any operations, and to one several times.
	Calls []operation.Event
	// With is committed with them, or not at all: a mob's own events. Its
	// events are shown on the bus like those of the calls.
	With []store.Append
}

// Do makes one call on an operation, which its Meta names, and returns the
// operation after it. The call's At and Epoch are filled in, of a Register also
// an ID that is zero. A repeat of a request id changes nothing and returns the
// operation as it is.
//
// The error is an *operation.Error, or the context's: the call may then still
// happen.
func (o *Operations) Do(ctx context.Context, call operation.Event) (operation.Snapshot, error) {
	after, err := o.DoAll(ctx, Batch{Calls: []operation.Event{call}})
	if err != nil {
		return operation.Snapshot{}, err
	}
	return after[0], nil
}

// DoAll makes a Batch of calls and returns, for each of them, its operation
// after the batch.
func (o *Operations) DoAll(ctx context.Context, b Batch) ([]operation.Snapshot, error) {
	calls := make([]operation.Event, len(b.Calls))
	foreign := false
	var first operation.ID
	var action operation.Action
	for i, c := range b.Calls {
		reg, ok := c.(operation.Register)
		if ok && reg.Spec.ID.IsZero() {
			reg.Spec.ID = o.mint()
			c = reg
		} else if ok {
			foreign = true
		}
		if calls[i] = c; i == 0 {
			action, first = nameOf(c)
		}
	}
	var gone func(operation.ID) bool
	if foreign { // an id of the caller's choice may be that of an operation long gone
		known, err := o.whichAreGone(ctx, calls)
		if err != nil {
			return nil, unavailable(action, first, err)
		}
		gone = known
	}
	after, err := o.doAll(ctx, action, first, calls, b.With, gone)
	if e, ok := errors.AsType[*operation.Error](err); ok && e.Code == operation.CodeNotFound && gone == nil {
		if gone, lost := o.whichAreGone(ctx, calls); lost != nil {
			return nil, unavailable(action, first, lost)
		} else if gone(e.ID) {
			return o.doAll(ctx, action, first, calls, b.With, gone)
		}
	}
	return after, err
}

func (o *Operations) doAll(ctx context.Context, action operation.Action, first operation.ID, calls []operation.Event, with []store.Append, gone func(operation.ID) bool) ([]operation.Snapshot, error) {
	var after []operation.Snapshot
	ids := make([]operation.ID, len(calls))
	for i, c := range calls {
		_, ids[i] = nameOf(c)
	}
	err := o.ask(ctx, action, first, func(t *turn) error {
		t.gone = gone
		changed := false
		for _, c := range calls {
			row, err := t.step(c)
			if err != nil {
				return err
			}
			changed = changed || row != nil
		}
		if changed { // a repeated batch has written its companions already
			t.appends = append(t.appends, with...)
		}
		return nil
	}, func(*ticket) {
		o.mu.RLock()
		defer o.mu.RUnlock()
		after = o.snapshots(ids)
	})
	if err != nil {
		return nil, err
	}
	return after, nil
}

// snapshots returns published operations. One that is gone already, because
// nothing ended is retained, is shown as it was archived.
func (o *Operations) snapshots(ids []operation.ID) []operation.Snapshot {
	out := make([]operation.Snapshot, len(ids))
	for i, id := range ids {
		if e := o.entries[id]; e != nil && e.seen != nil {
			out[i] = o.snapshot(e)
		} else if e := o.archiving[id]; e != nil {
			out[i] = o.snapshot(e)
		}
	}
	return out
}

// nameOf returns the action of a call and whose it is.
func nameOf(ev operation.Event) (operation.Action, operation.ID) {
	switch e := ev.(type) {
	case operation.Register:
		return operation.ActRegister, e.Spec.ID
	case operation.Provisioned:
		return operation.ActProvisioned, e.ID
	case operation.ProvisioningFailed:
		return operation.ActProvisioningFailed, e.ID
	case operation.AbortProvisioning:
		return operation.ActAbortProvisioning, e.ID
	case operation.PeerBecameReady:
		return operation.ActPeerReady, e.ID
	case operation.ReportProgress:
		return operation.ActReportProgress, e.ID
	case operation.Complete:
		return operation.ActComplete, e.Meta.ID
	case operation.Fail:
		return operation.ActFail, e.ID
	case operation.Cancel:
		return operation.ActCancel, e.ID
	case operation.RequestRetire:
		return operation.ActRequestRetire, e.ID
	case operation.MarkRetired:
		return operation.ActMarkRetired, e.ID
	case operation.TerminateOwner:
		return operation.ActTerminateOwner, e.ID
	case operation.AdoptOwner:
		return operation.ActAdoptOwner, e.ID
	case operation.RegisterWatcher:
		return operation.ActRegisterWatcher, e.ID
	case operation.Recover:
		return operation.ActRecover, e.ID
	}
	return operation.NoAction, operation.ID{}
}

// mint returns a new id. Ids of drey are never looked up in the store: two of
// them are not the same.
func (o *Operations) mint() operation.ID {
	var random [10]byte
	_, _ = rand.Read(random[:]) // never fails
	return operation.IDAt(o.now(), random)
}

// Registry is one scope of the operations. It is a name: there is nothing to
// open or to close.
type Registry struct {
	o  *Operations
	id operation.RegistryID
}

// Registry returns a registry by its name.
func (o *Operations) Registry(id operation.RegistryID) Registry { return Registry{o, id} }

// ID returns the registry's name.
func (r Registry) ID() operation.RegistryID { return r.id }

// Register begins an operation of this registry. A Spec without ID gets one.
func (r Registry) Register(ctx context.Context, spec operation.Spec, meta operation.Meta) (operation.Snapshot, error) {
	return r.o.Do(ctx, operation.Register{Meta: meta, Registry: r.id, Spec: spec})
}

// Get returns an operation of this registry, retained or live; not_found where
// it belongs to another one.
func (r Registry) Get(ctx context.Context, id operation.ID) (operation.Snapshot, error) {
	s, err := r.o.Get(ctx, id)
	switch {
	case err != nil:
		return operation.Snapshot{}, err
	case s.Registry != r.id:
		return operation.Snapshot{}, &operation.Error{Code: operation.CodeNotFound, Action: operation.ActGet, ID: id}
	case s.Archived:
		return operation.Snapshot{}, &operation.Error{Code: operation.CodeEvicted, Action: operation.ActGet, ID: id}
	}
	return s, nil
}

// List returns a page of this registry's operations.
func (r Registry) List(ctx context.Context, q ListQuery) (List, error) {
	q.Filter.Registry = r.id
	return r.o.List(ctx, q)
}

// Ensure returns the live operation of spec's kind whose child is spec's, as it
// is, or registers spec where there is none: one decision, so that no number of
// calls makes two. Several live ones are an ambiguous error.
func (r Registry) Ensure(ctx context.Context, spec operation.Spec) (operation.ID, error) {
	if spec.ID.IsZero() {
		spec.ID = r.o.mint()
	}
	var id operation.ID
	err := r.o.ask(ctx, operation.ActRegister, spec.ID, func(t *turn) error {
		var err error
		id, err = t.ensure(r.id, spec, doProvision)
		return err
	}, nil)
	if err != nil {
		return operation.ID{}, err
	}
	return id, nil
}

// ensure is Ensure within a turn.
func (t *turn) ensure(r operation.RegistryID, spec operation.Spec, doing string) (operation.ID, error) {
	id, err := t.one(r, spec.Child, spec.Kind, doing)
	if err != nil || !id.IsZero() {
		return id, err
	}
	_, err = t.step(operation.Register{Registry: r, Spec: spec})
	return spec.ID, err
}

// one returns the one live operation of a kind whose child is session in a
// registry, zero if there is none. What ended a moment ago, and may yet be taken
// back, is among what the decision rests on.
func (t *turn) one(r operation.RegistryID, session string, kind operation.Kind, doing string) (operation.ID, error) {
	live := t.live(session, func(m *operation.Machine) bool { return m.Registry == r && m.Kind == kind })
	switch len(live) {
	case 0:
		return operation.ID{}, nil
	case 1:
		return live[0], nil
	}
	return operation.ID{}, &operation.Error{Code: operation.CodeAmbiguous, Action: operation.ActRegister, Session: session, IDs: live, Doing: doing}
}
