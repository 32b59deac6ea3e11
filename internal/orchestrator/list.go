package orchestrator

import (
	"context"
	"iter"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
)

// lookAtOnce is how many operations a list looks at before it lets commits be
// published in between. What is there throughout is in the list all the same.
const lookAtOnce = 8192

// ListQuery selects a page of operations.
type ListQuery struct {
	Filter operation.Filter
	Cursor string // Next of the page before; "" = from the beginning
	Limit  int    // 0 = 100, at most 1000
}

// List is a page of operations in the order of (display_name, created, id).
type List struct {
	Operations []operation.Snapshot
	Next       string   // the cursor of the next page; "" if this was the last
	AsOf       drey.Seq // everything up to here is in it
}

// Get returns an operation; an archived one too.
func (o *Operations) Get(ctx context.Context, id operation.ID) (operation.Snapshot, error) {
	o.mu.RLock()
	if o.refusal != nil {
		defer o.mu.RUnlock()
		return operation.Snapshot{}, unavailable(operation.ActGet, id, o.refusal)
	}
	e := o.entries[id]
	if e == nil {
		e = o.archiving[id]
	}
	if e != nil && e.seen != nil {
		defer o.mu.RUnlock()
		return o.snapshot(e), nil
	}
	o.mu.RUnlock()
	a, err := o.fromArchive(ctx, operation.ActGet, id)
	if err != nil {
		return operation.Snapshot{}, err
	}
	return a.snapshot(), nil
}

// Progress returns the last updates of an operation, oldest first.
func (o *Operations) Progress(ctx context.Context, id operation.ID) ([]operation.Progress, error) {
	o.mu.RLock()
	if o.refusal != nil {
		defer o.mu.RUnlock()
		return nil, unavailable(operation.ActGet, id, o.refusal)
	}
	e := o.entries[id]
	if e == nil {
		e = o.archiving[id]
	}
	if e != nil && e.seen != nil {
		defer o.mu.RUnlock()
		return e.history.Updates(), nil
	}
	o.mu.RUnlock()
	a, err := o.fromArchive(ctx, operation.ActGet, id)
	return a.Record.History.Updates(), err
}

// missing is the refusal of an operation that is neither live nor retained:
// evicted where the store has known it, else not_found.
func (o *Operations) missing(ctx context.Context, action operation.Action, id operation.ID) error {
	o.mu.RLock()
	code := operation.CodeNotFound
	if o.evicted.has(id) {
		code = operation.CodeEvicted
	}
	o.mu.RUnlock()
	if code == operation.CodeNotFound {
		gone, err := o.whichAreGone(ctx, []operation.Event{operation.Fail{Meta: operation.Meta{ID: id}}})
		if err != nil {
			return unavailable(action, id, err)
		}
		if gone(id) {
			code = operation.CodeEvicted
		}
	}
	return &operation.Error{Code: code, Action: action, ID: id}
}

// snapshot returns a published operation. Who calls holds o.mu.
func (o *Operations) snapshot(e *entry) operation.Snapshot {
	return e.seen.Snapshot(operation.Around{
		LastSeq: e.lastSeq, Watchers: len(e.watches), Waiters: len(e.waits),
		Parent: o.parentOf(e), Archived: o.archiving[e.id] == e,
	})
}

// parentOf returns the newest operation whose child is e's owner. That of an
// evicted one stays what it was.
func (o *Operations) parentOf(e *entry) operation.ID {
	if o.entries[e.id] != e {
		return e.parent
	}
	var kin []operation.Kin
	if x := o.byChild[e.seen.Owner]; x != nil && e.seen.Owner != e.seen.Child {
		for other := range x.ascend(operation.Key{}) {
			kin = append(kin, other.seen.Kin())
		}
	}
	return operation.ParentOf(e.seen.Kin(), kin)
}

// List returns a page of operations. Archived ones come from the store.
func (o *Operations) List(ctx context.Context, q ListQuery) (List, error) {
	after, err := operation.ParseCursor(q.Cursor)
	if err != nil {
		return List{}, err
	}
	limit := store.PageLimit(q.Limit)
	if q.Filter.Archived {
		return o.listArchived(ctx, q.Filter, after, limit)
	}
	var out List
	for first := true; ; first = false {
		items, on, next, err := o.look(&q.Filter, after, limit-len(out.Operations), &out, first)
		if err != nil {
			return List{}, err
		}
		out.Operations = append(out.Operations, items...)
		switch {
		case !next.IsZero():
			out.Next = next.Cursor()
			return out, nil
		case on.IsZero():
			return out, nil
		}
		if after = on; ctx.Err() != nil {
			return List{}, ctx.Err()
		}
	}
}

// look reads a part of a page under one lock: what it has found, from where to
// go on looking if it was not all that there is, and the cursor of the next page
// if this one is full.
func (o *Operations) look(f *operation.Filter, after operation.Key, limit int, out *List, first bool) (found []operation.Snapshot, on, next operation.Key, err error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.refusal != nil {
		return nil, on, next, unavailable(operation.ActList, operation.ID{}, o.refusal)
	}
	if first {
		out.AsOf = o.head
	}
	among, want := o.narrowest(f), wanted(f)
	items, next := operation.Page(func(from operation.Key) iter.Seq[operation.Item] {
		return func(yield func(operation.Item) bool) {
			var last *entry
			n := 0
			for e := range among.ascend(from) {
				if n++; n > lookAtOnce {
					on = last.key()
					return
				}
				last = e
				if e.traits&want == want && !yield(operation.Item{Machine: e.seen}) {
					return
				}
			}
		}
	}, *f, after, limit)
	for _, it := range items {
		found = append(found, o.snapshot(o.entries[it.Machine.ID]))
	}
	return found, on, next, nil
}

// Branch is an operation and those below it: whose owner is its child.
type Branch struct {
	operation.Snapshot
	Below []Branch
}

// TreeQuery selects what a tree shows. The zero value selects everything that is
// live or retained.
type TreeQuery struct {
	Root  operation.ID // this operation and those below it; zero = all
	Owner string       // those of this session, and those below them
	Mob   string       // a mob's registry, by its id
}

// Tree nests operations by their parents, the oldest first.
func (o *Operations) Tree(ctx context.Context, q TreeQuery) ([]Branch, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.refusal != nil {
		return nil, unavailable(operation.ActList, operation.ID{}, o.refusal)
	}
	var kin []operation.Kin
	for e := range o.all.ascend(operation.Key{}) {
		if q.Mob == "" || e.scope.id == operation.MobRegistry(q.Mob) {
			kin = append(kin, e.seen.Kin())
		}
	}
	top := operation.Tree(kin)
	switch {
	case !q.Root.IsZero():
		n := findNode(top, q.Root)
		if n == nil {
			return nil, &operation.Error{Code: operation.CodeNotFound, Action: operation.ActGet, ID: q.Root}
		}
		top = []*operation.Node{n}
	case q.Owner != "":
		top = o.ownedBy(top, q.Owner)
	}
	return o.branches(top), nil
}

func findNode(in []*operation.Node, id operation.ID) *operation.Node {
	for _, n := range in {
		if n.ID == id {
			return n
		}
		if found := findNode(n.Below, id); found != nil {
			return found
		}
	}
	return nil
}

// ownedBy returns the highest nodes that belong to a session.
func (o *Operations) ownedBy(in []*operation.Node, owner string) []*operation.Node {
	var out []*operation.Node
	for _, n := range in {
		if o.entries[n.ID].seen.Owner == owner {
			out = append(out, n)
		} else {
			out = append(out, o.ownedBy(n.Below, owner)...)
		}
	}
	return out
}

func (o *Operations) branches(in []*operation.Node) []Branch {
	out := make([]Branch, 0, len(in))
	for _, n := range in {
		out = append(out, Branch{o.snapshot(o.entries[n.ID]), o.branches(n.Below)})
	}
	return out
}
