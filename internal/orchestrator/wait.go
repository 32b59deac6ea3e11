package orchestrator

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dreyhq/drey/internal/operation"
)

// Waited is what a wait has come to.
type Waited struct {
	WaitID operation.ID
	IDs    []operation.ID // as they were asked for
	// Outcomes are those of IDs, in the same order; the zero Outcome stands for
	// an operation that was live when the wait was given up.
	Outcomes []operation.Outcome
}

// WaitError says that a wait was given up, and for whom it still waited.
type WaitError struct {
	Live []operation.ID
	Err  error // why: the context's error, or that the registry was closed
}

// Error names the operations that are still live.
func (e *WaitError) Error() string {
	ids := make([]string, len(e.Live))
	for i, id := range e.Live {
		ids[i] = "'" + id.String() + "'"
	}
	return fmt.Sprintf("wait: still live: %s: %v", strings.Join(ids, ", "), e.Err)
}

// Unwrap returns the cause.
func (e *WaitError) Unwrap() error { return e.Err }

// wait is one call of WaitAll. It is guarded by Operations.mu until done is
// closed.
type wait struct {
	ids      []operation.ID
	outcomes []operation.Outcome
	left     int
	err      error
	done     chan struct{}
}

// WaitAll returns when all of the operations have ended. It counts from the
// call on: from then until it returns, their records are retained, and each
// outcome is copied as it is published. Any number of waits may go on at once.
//
// A wait that is given up returns what it has, with a *WaitError. If everything
// has ended already, that is the answer, even under a context that has ended
// too.
func (o *Operations) WaitAll(ctx context.Context, ids []operation.ID) (Waited, error) {
	w, pinned, err := o.await(ctx, ids)
	if err != nil {
		return Waited{}, err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
	}
	return o.waited(ctx, w, pinned)
}

// await registers a wait, and returns the records that it pins.
func (o *Operations) await(ctx context.Context, ids []operation.ID) (*wait, []*entry, error) {
	o.mu.Lock()
	if o.refusal != nil {
		defer o.mu.Unlock()
		return nil, nil, unavailable(operation.ActWait, operation.ID{}, o.refusal)
	}
	live, err := operation.CheckWait(ids, func(id operation.ID) operation.Machine {
		if e := o.entries[id]; e != nil && e.seen != nil {
			return *e.seen
		}
		if o.evicted.has(id) {
			return operation.Evicted(id, operation.Absent)
		}
		return operation.Machine{}
	})
	if err != nil {
		o.mu.Unlock()
		if e, ok := err.(*operation.Error); ok && e.Code == operation.CodeNotFound {
			err = o.missing(ctx, operation.ActWait, e.ID)
		}
		return nil, nil, err
	}
	defer o.mu.Unlock()
	w := &wait{ids: slices.Clone(ids), outcomes: make([]operation.Outcome, len(ids)), left: len(live), done: make(chan struct{})}
	pinned := make([]*entry, len(ids))
	for i, id := range ids {
		e := o.entries[id]
		pinned[i] = e
		if e.pins++; e.pins == 1 {
			o.pinned++
		}
		if e.seen.Ended() {
			w.outcomes[i] = e.seen.Outcome
		} else {
			e.waits = append(e.waits, w)
		}
	}
	o.waits++
	if w.left == 0 {
		close(w.done)
	}
	return w, pinned, nil
}

// waited takes a wait off its operations and returns what it has.
func (o *Operations) waited(ctx context.Context, w *wait, pinned []*entry) (Waited, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waits--
	var over []*scope
	for _, e := range pinned {
		if e.pins--; e.pins == 0 {
			o.pinned--
			if e.ending != nil && !slices.Contains(over, e.scope) {
				over = append(over, e.scope)
			}
		}
		e.waits = slices.DeleteFunc(e.waits, func(other *wait) bool { return other == w })
	}
	for _, s := range over { // what was pinned may be one too many
		o.post(note{do: func() { o.retain(s) }})
	}
	out := Waited{WaitID: o.mint(), IDs: w.ids, Outcomes: w.outcomes}
	if w.left == 0 {
		return out, nil
	}
	e := &WaitError{Err: w.err}
	if e.Err == nil {
		e.Err = ctx.Err()
	}
	for i, id := range w.ids {
		if w.outcomes[i].IsZero() {
			e.Live = append(e.Live, id)
		}
	}
	return out, e
}
