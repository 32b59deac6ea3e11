package orchestrator

import (
	"context"
	"errors"
	"iter"

	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
)

// remembered bounds what one process remembers of what it has evicted; with a
// store, that knows the rest.
const remembered = 1_000_000

// memory is a set that forgets its oldest members.
type memory[K comparable] struct {
	set   map[K]struct{}
	order []K
	next  int // the oldest, once order is full
}

func (m *memory[K]) has(id K) bool {
	_, ok := m.set[id]
	return ok
}

func (m *memory[K]) add(id K) {
	if m.set == nil {
		m.set = map[K]struct{}{}
	}
	if m.has(id) {
		return
	}
	m.set[id] = struct{}{}
	if len(m.order) < remembered {
		m.order = append(m.order, id)
		return
	}
	delete(m.set, m.order[m.next])
	m.order[m.next] = id
	m.next = (m.next + 1) % remembered
}

// walk yields the registry's endings, the oldest first.
func (x *endings) walk() iter.Seq[operation.Ending] {
	return func(yield func(operation.Ending) bool) {
		for at := x.Front(); at != nil; at = at.Next() {
			e := at.Value.(*entry)
			if !yield(operation.Ending{ID: e.id, Pinned: e.pins > 0}) {
				return
			}
		}
	}
}

// retain evicts what a registry retains no longer.
func (o *Operations) retain(s *scope) {
	if s.endings.Len() <= max(o.policy.MaxCompleted, 0) { // the owner alone changes it
		return
	}
	o.mu.Lock()
	ids := operation.Excess(s.endings.walk(), s.endings.Len(), o.policy.MaxCompleted)
	gone := o.evict(ids)
	o.mu.Unlock()
	o.cfg.Metrics.evicted(len(gone))
	o.archive(gone)
}

// evict takes ended operations out of their registry: the registry's calls
// answer evicted for them from now on. Who calls holds o.mu.
func (o *Operations) evict(ids []operation.ID) []*entry {
	gone := make([]*entry, 0, len(ids))
	for _, id := range ids {
		e := o.entries[id]
		e.scope.endings.Remove(e.ending)
		e.ending = nil
		e.parent = o.parentOf(e)
		o.unlist(e)
		o.evicted.add(id)
		if m := e.seen; m.Kind == operation.MemberChild {
			o.gone.add(m.Child)
		}
		o.archiving[id] = e
		gone = append(gone, e)
	}
	return gone
}

// CollectCompleted drains the registry's ended operations, in the order of
// their endings, but for those that a wait needs. They are archived from then
// on. A crash may show them once more; who must not miss one reads the journal.
func (r Registry) CollectCompleted(ctx context.Context) ([]operation.Snapshot, error) {
	var out []operation.Snapshot
	err := r.o.ask(ctx, operation.ActList, operation.ID{}, func(t *turn) error {
		s := t.o.scopes[r.id]
		if s == nil {
			return nil
		}
		t.o.mu.Lock()
		gone := t.o.evict(operation.Collected(s.endings.walk()))
		for _, e := range gone {
			out = append(out, t.o.snapshot(e))
		}
		t.o.mu.Unlock()
		t.o.archive(gone)
		return nil
	}, nil)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// whichAreGone returns, of the operations that calls go to, those that the
// store knows and nobody retains. It asks the store in the caller's goroutine,
// so that the owner never waits for a disk; what is evicted meanwhile the owner
// remembers itself.
func (o *Operations) whichAreGone(ctx context.Context, calls []operation.Event) (func(operation.ID) bool, error) {
	gone := map[operation.ID]bool{}
	for _, c := range calls {
		_, id := nameOf(c)
		if id.IsZero() || gone[id] || o.has(id) {
			continue
		}
		page, err := o.cfg.Journal.Query(ctx, store.Query{Machine: operation.MachineName, ID: id.String(), Limit: 1})
		if err != nil {
			return nil, err
		}
		gone[id] = len(page.Events) > 0
		if !gone[id] {
			_, err := o.cfg.Journal.Load(ctx, machinePlace, id.String())
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			gone[id] = err == nil
		}
		gone[id] = gone[id] && !o.has(id) // it may have begun between the two looks
	}
	return func(id operation.ID) bool { return gone[id] }, nil
}

// has reports whether an operation is live or retained, or about to be.
func (o *Operations) has(id operation.ID) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.entries[id] != nil
}
