package orchestrator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
)

// takeUpAtOnce is how many operations the runtime is asked to take up at the
// same time after a restart.
const takeUpAtOnce = 8

// load reads what the journal holds.
func (o *Operations) load(ctx context.Context) error {
	head, err := o.cfg.Journal.Head(ctx)
	if err != nil {
		return err
	}
	o.head = head
	states, err := o.cfg.Journal.Snapshots(ctx, operation.MachineName)
	if err != nil {
		return err
	}
	loaded := slices.DeleteFunc(o.replay(states), func(e *entry) bool { return e == nil }) // replay has said what is wrong with its rows
	slices.SortFunc(loaded, func(a, b *entry) int { return a.key().Compare(b.key()) })     // as the indexes take them best
	var ended []*entry
	for _, e := range loaded {
		m := e.seen
		e.scope = o.scopeOf(m.Registry)
		o.entries[e.id] = e
		o.decide(e, m)
		o.list(e)
		o.count(m, +1)
		if m.Ended() {
			ended = append(ended, e)
		}
	}
	slices.SortFunc(ended, func(a, b *entry) int { return cmp.Compare(a.lastSeq, b.lastSeq) })
	for _, e := range ended {
		e.ending = e.scope.endings.PushBack(e)
	}
	if err := loadFacts(ctx, o, machineOwner, o.fenceOf); err != nil {
		return err
	}
	return loadFacts(ctx, o, machineBinding, o.bindingOf)
}

// replay brings operations back, on every processor. An operation that cannot
// be brought back is logged and stays out: the others must not stand still for
// it, and its id stays taken, since its rows are there.
func (o *Operations) replay(states []store.State) []*entry {
	out := make([]*entry, len(states))
	var wg sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), len(states))
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(states); i += workers {
				st := &states[i]
				e, err := replayOne(st, o.policy)
				if err != nil {
					o.cfg.Log.Error("operation-not-readable", "id", st.ID, "error", err)
				}
				out[i] = e
				*st = store.State{} // 100,000 tails need not all be kept to the end
			}
		})
	}
	wg.Wait()
	return out
}

func replayOne(st *store.State, p operation.Policy) (*entry, error) {
	var r operation.Record
	if st.Snapshot != nil {
		if err := json.Unmarshal(st.Snapshot, &r); err != nil {
			return nil, err
		}
	}
	r, err := operation.Replay(r, st.Tail, p)
	switch {
	case err != nil:
		return nil, err
	case !r.Machine.Exists() || r.Machine.ID.String() != st.ID:
		return nil, fmt.Errorf("the rows of operation %q make none of that id", st.ID)
	case r.Machine.Version != st.Version:
		return nil, fmt.Errorf("operation %s is at version %d in the journal, and its rows make it %d", st.ID, st.Version, r.Machine.Version)
	}
	e := &entry{id: r.Machine.ID, seen: &r.Machine, history: r.History, lastSeq: st.At, tail: len(st.Tail)}
	if n := len(st.Tail); n > 0 {
		e.lastSeq = st.Tail[n-1].Seq
	}
	return e, nil
}

// loadFacts reads the facts of a machine.
func loadFacts[T any](ctx context.Context, o *Operations, machine string, of func(string) *fact[T]) error {
	states, err := o.cfg.Journal.Snapshots(ctx, machine)
	if err != nil {
		return err
	}
	for _, st := range states {
		v := new(T)
		if err := json.Unmarshal(st.Snapshot, v); err != nil {
			return fmt.Errorf("%s %q: %w", machine, st.ID, err)
		}
		f := of(st.ID)
		f.decided, f.seen, f.version, f.saved = v, v, st.Version, st.Version
		if f.shown != nil {
			f.shown(v)
		}
	}
	return nil
}

// recover ends what a restart ends (§8), and returns when that is durable:
//
//  1. what still lives of owners that have been retired: a fence may be of one
//     registry, and its disposal reach the others later;
//  2. every live operation, by its own table;
//  3. what is no longer retained, which a crash may have left.
func (o *Operations) recover(ctx context.Context) error {
	if o.cfg.Cause != nil && len(o.liveByOwner) > 0 {
		var err error
		if o.cause, err = o.cfg.Cause(ctx); err != nil {
			return err
		}
	}
	var failed error
	answer := func(_ *ticket, err error) {
		if failed == nil {
			failed = err
		}
	}
	for owner, f := range o.fences { // 1
		if f.decided == nil || len(o.liveByOwner[owner]) == 0 {
			continue
		}
		t := &turn{o: o, at: o.now(), action: operation.ActTerminateOwner, cause: o.cause}
		_, err := t.terminate(operation.Subtree(owner, t.family("")), f.decided.Reason, operation.Meta{Cause: o.cause})
		o.conclude(t, err, answer)
	}
	live := make([]*entry, 0, len(o.entries))
	for _, e := range o.entries {
		if e.decided.Live() {
			live = append(live, e)
		}
	}
	slices.SortFunc(live, func(a, b *entry) int { return a.id.Compare(b.id) })
	for _, e := range live { // 2
		t := &turn{o: o, at: o.now(), action: operation.ActRecover, id: e.id, cause: o.cause}
		from := e.decided.Status
		left := from == operation.Retiring && o.cfg.Runtime != nil && o.cfg.Runtime.ChildLeft(e.decided.Snapshot(operation.Around{LastSeq: e.lastSeq}))
		row, err := t.step(operation.Recover{Meta: operation.Meta{ID: e.id, Cause: o.cause}, ChildLeft: left})
		if err == nil && row == nil {
			o.takeUps = append(o.takeUps, e)
		}
		o.cfg.Metrics.recovered(e.decided.Kind, from, row)
		o.conclude(t, err, answer)
	}
	for _, s := range o.scopes { // 3
		o.retain(s)
	}
	for o.read(); o.inFlight > 0; o.read() {
		select {
		case <-o.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return failed
}

// errNoRuntime is why an operation cannot be taken up where nobody runs any.
var errNoRuntime = errors.New("nothing runs children here")

// takeUp asks the runtime to go on with what the restart has left, beside the
// owner.
func (o *Operations) takeUp(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, takeUpAtOnce)
	for _, e := range o.takeUps {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		wg.Go(func() {
			defer func() { <-slots }()
			o.takeUpOne(ctx, e.id)
		})
	}
}

func (o *Operations) takeUpOne(ctx context.Context, id operation.ID) {
	s, err := o.Get(ctx, id)
	if err != nil || !s.Live() {
		return // it has ended meanwhile
	}
	if err = errNoRuntime; o.cfg.Runtime != nil {
		err = o.cfg.Runtime.TakeUp(ctx, s)
	}
	switch {
	case err == nil || ctx.Err() != nil: // the next start asks again
	case s.Status == operation.Retiring:
		o.cfg.Log.Warn("operation-not-disposed-of", "id", id.String(), "session", s.Child, "error", err)
	default:
		o.cfg.Log.Warn("operation-not-taken-up", "id", id.String(), "session", s.Child, "error", err)
		text := fmt.Sprintf("cannot take up session '%s': %v", s.Child, err)
		if _, err := o.Do(ctx, operation.Fail{Meta: operation.Meta{ID: id, Cause: o.cause}, Error: text}); err != nil && ctx.Err() == nil {
			o.cfg.Log.Warn("operation-not-failed", "id", id.String(), "error", err)
		}
	}
}
