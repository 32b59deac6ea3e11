package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/postgres/pgtest"
)

func TestMain(m *testing.M) {
	crashChild()
	leaseChild()
	goleak.VerifyTestMain(withServer{m})
}

// withServer runs the tests and then ends the PostgreSQL server that they have
// started.
type withServer struct{ *testing.M }

func (s withServer) Run() int { return pgtest.Main(s.M) }

// journal is a store in memory that checks versions as a store does, and whose
// commits a test can hold back and have fail.
type journal struct {
	mu       sync.Mutex
	epoch    uint64
	events   []drey.Event
	machines map[[2]string]*kept
	holding  bool
	held     []heldBack
	fail     func(n int, appends []store.Append) error // asked for each submission, by number; nil = none fails
	n        int
}

type kept struct {
	version, at int64
	tail        []drey.Event
	snapshot    []byte
}

type heldBack struct {
	done    func(store.Commit, error)
	appends []store.Append
	n       int
}

func newJournal() *journal { return &journal{epoch: 1, machines: map[[2]string]*kept{}} }

func (j *journal) Epoch() uint64 { return j.epoch }

func (j *journal) Head(context.Context) (drey.Seq, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return drey.Seq(len(j.events)), nil
}

func (j *journal) Submit(done func(store.Commit, error), appends ...store.Append) {
	j.mu.Lock()
	j.n++
	h := heldBack{done, slices.Clone(appends), j.n}
	for i := range h.appends {
		h.appends[i].Events = slices.Clone(h.appends[i].Events)
	}
	if j.holding {
		j.held = append(j.held, h)
		j.mu.Unlock()
		return
	}
	c, err := j.commitLocked(h)
	j.mu.Unlock()
	done(c, err)
}

// release answers what was held back, in order, and holds nothing back any
// more; then fails the first ones with err, as many as say so.
func (j *journal) release(fails int, err error) {
	j.mu.Lock()
	held := j.held
	j.held, j.holding = nil, false
	type answer struct {
		done func(store.Commit, error)
		c    store.Commit
		err  error
	}
	var answers []answer
	for i, h := range held {
		if i < fails {
			answers = append(answers, answer{h.done, store.Commit{}, err})
			continue
		}
		c, err := j.commitLocked(h)
		answers = append(answers, answer{h.done, c, err})
	}
	j.mu.Unlock()
	for _, a := range answers {
		a.done(a.c, a.err)
	}
}

func (j *journal) hold() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.holding = true
}

func (j *journal) commitLocked(h heldBack) (store.Commit, error) {
	if j.fail != nil {
		if err := j.fail(h.n, h.appends); err != nil {
			return store.Commit{}, err
		}
	}
	next := map[[2]string]*kept{}
	events := slices.Clone(j.events)
	for _, a := range h.appends {
		key := [2]string{a.Machine, a.ID}
		k := next[key]
		if k == nil {
			k = &kept{}
			if was := j.machines[key]; was != nil {
				*k = *was
				k.tail = slices.Clone(was.tail)
			}
			next[key] = k
		}
		if a.Expect != store.AnyVersion && a.Expect != k.version {
			return store.Commit{}, fmt.Errorf("%s %s at %d, not %d: %w", a.Machine, a.ID, k.version, a.Expect, store.ErrVersion)
		}
		for _, e := range a.Events {
			e.Seq = drey.Seq(len(events) + 1)
			events = append(events, e)
			if e.Machine == a.Machine && e.ID == a.ID {
				k.version++
				k.tail = append(k.tail, e)
			}
		}
		switch {
		case a.Delete:
			*k = kept{}
		case a.Snapshot != nil:
			k.snapshot, k.tail, k.at = a.Snapshot, nil, int64(len(events))
		}
	}
	c := store.Commit{Rows: len(events) - len(j.events)}
	if c.Rows > 0 {
		c.First, c.Last = drey.Seq(len(j.events)+1), drey.Seq(len(events))
	}
	j.events = events
	maps.Copy(j.machines, next)
	return c, nil
}

func (j *journal) Load(_ context.Context, machine, id string) (store.State, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	k := j.machines[[2]string{machine, id}]
	if k == nil || k.version == 0 && k.snapshot == nil {
		return store.State{}, store.ErrNotFound
	}
	return k.state(machine, id), nil
}

func (k *kept) state(machine, id string) store.State {
	return store.State{Machine: machine, ID: id, Version: k.version, Snapshot: k.snapshot, At: drey.Seq(k.at), Tail: slices.Clone(k.tail)}
}

func (j *journal) Snapshots(ctx context.Context, machine string) ([]store.State, error) {
	j.mu.Lock()
	ids := []string{}
	for key := range j.machines {
		if key[0] == machine {
			ids = append(ids, key[1])
		}
	}
	j.mu.Unlock()
	slices.Sort(ids)
	var out []store.State
	for _, id := range ids {
		if st, err := j.Load(ctx, machine, id); err == nil {
			out = append(out, st)
		}
	}
	return out, nil
}

func (j *journal) Query(_ context.Context, q store.Query) (store.Page, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := store.Page{AsOf: drey.Seq(len(j.events))}
	for _, e := range j.events {
		if e.Seq > q.After && (q.Machine == "" || e.Machine == q.Machine) && (q.ID == "" || e.ID == q.ID) {
			p.Events = append(p.Events, e)
		}
	}
	return p, nil
}

// house is Operations that serve until the test ends, or stop is called.
type house struct {
	*Operations
	stop func()
}

// open starts Operations on a journal.
func open(t testing.TB, cfg Config) *house {
	t.Helper()
	if cfg.Policy == (operation.Policy{}) {
		cfg.Policy = operation.DefaultPolicy()
	}
	o, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Serve(ctx) }()
	var once sync.Once
	h := &house{o, func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Serve: %v", err)
			}
		})
	}}
	t.Cleanup(h.stop)
	return h
}

func member(owner, child string) operation.Spec {
	return operation.Spec{Kind: operation.MemberChild, Owner: owner, Child: child, Name: "member/" + child, ExpectPeer: true}
}

func tool(owner, name string) operation.Spec {
	return operation.Spec{Kind: operation.BackgroundTool, Owner: owner, Name: name}
}

func meta(id operation.ID) operation.Meta { return operation.Meta{ID: id} }

// must registers an operation.
func (h *house) must(t testing.TB, r operation.RegistryID, spec operation.Spec) operation.ID {
	t.Helper()
	s, err := h.Registry(r).Register(t.Context(), spec, operation.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	return s.ID
}

// running registers an operation that runs.
func (h *house) running(t testing.TB, r operation.RegistryID, spec operation.Spec) operation.ID {
	t.Helper()
	id := h.must(t, r, spec)
	h.do(t, operation.Provisioned{Meta: meta(id)})
	return id
}

// do makes a call that must be taken.
func (h *house) do(t testing.TB, ev operation.Event) operation.Snapshot {
	t.Helper()
	s, err := h.Do(t.Context(), ev)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// status is an operation's, the archived ones' too; Absent if there is none.
func (h *house) status(t testing.TB, id operation.ID) operation.Status {
	t.Helper()
	s, err := h.Get(t.Context(), id)
	if err != nil && !errors.Is(err, operation.ErrNotFound) {
		t.Fatal(err)
	}
	return s.Status
}

func codeOf(err error) operation.Code {
	if e, ok := errors.AsType[*operation.Error](err); ok {
		return e.Code
	}
	return operation.NoCode
}
