package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

func (s suite) order(t *testing.T) {
	st := s.fresh(t)
	const writers, each = 16, 25
	type answer struct {
		writer, n int
		commit    store.Commit
		err       error
	}
	var answers []answer // unguarded: one goroutine answers, or the race detector speaks
	done := make(chan struct{})
	together(writers, func(w int) {
		id := fmt.Sprint(w)
		for n := range each {
			a := store.Append{Machine: "m", ID: id, Expect: int64(n), Events: []drey.Event{event("m", id, n), event("x", id, n)}}
			st.Submit(func(c store.Commit, err error) {
				if answers = append(answers, answer{w, n, c, err}); len(answers) == writers*each {
					close(done)
				}
			}, a)
		}
	})
	<-done
	next := make([]int, writers)
	last := drey.Seq(0)
	for _, a := range answers {
		if a.err != nil {
			t.Fatalf("writer %d, append %d: %v", a.writer, a.n, a.err)
		}
		if a.n != next[a.writer] {
			t.Fatalf("writer %d: append %d is answered where %d is due", a.writer, a.n, next[a.writer])
		}
		next[a.writer]++
		if a.commit.First != last+1 || a.commit.Last != last+2 || a.commit.Rows < 2 {
			t.Fatalf("commit %+v follows seq %d", a.commit, last)
		}
		last = a.commit.Last
	}
}

func (s suite) contention(t *testing.T) {
	st := s.fresh(t)
	const writers, rounds = 8, 10
	for n := range rounds {
		var won atomic.Int32
		together(writers, func(int) {
			_, err := st.Append(t.Context(), store.Append{Machine: "m", ID: "1", Expect: int64(n), Events: []drey.Event{event("m", "1", n)}})
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, store.ErrVersion):
				t.Errorf("round %d: %v", n, err)
			}
		})
		if won.Load() != 1 {
			t.Fatalf("round %d has %d winners", n, won.Load())
		}
	}
}

func (s suite) manyWriters(t *testing.T) {
	st := s.fresh(t)
	const writers, each = 64, 10
	together(writers, func(w int) {
		id := fmt.Sprint(w)
		for n := range each {
			a := store.Append{Machine: "m", ID: id, Expect: int64(n), Events: []drey.Event{event("m", id, n)}}
			if n%4 == 3 {
				a.Snapshot = raw(`{"n":%d}`, n)
			}
			if _, err := st.Append(t.Context(), a); err != nil {
				t.Errorf("writer %d: %v", w, err)
				return
			}
			st.PutRequest(store.RequestRow{ID: drey.RequestID(fmt.Sprintf("req_%d_%d", w, n)), At: epochStart})
		}
	})
	all, err := st.Snapshots(t.Context(), "m")
	if err != nil || len(all) != writers {
		t.Fatalf("%d machines, %v", len(all), err)
	}
	for _, got := range all {
		if got.Version != each || string(got.Snapshot) != `{"n":7}` || len(got.Tail) != 2 {
			t.Errorf("%s: version %d, snapshot %s, %d in the tail", got.ID, got.Version, got.Snapshot, len(got.Tail))
		}
	}
	for i, e := range walkAll(t, st, store.Query{Limit: 1000}) {
		if e.Seq != drey.Seq(i+1) {
			t.Fatalf("row %d has seq %d", i+1, e.Seq)
		}
	}
}

func (s suite) wholeCommits(t *testing.T) {
	st := s.fresh(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	wrote := make(chan error, 1)
	go func() {
		for n := 0; ; n++ {
			_, err := st.Append(ctx,
				store.Append{Machine: "m", ID: "left", Expect: int64(n), Events: []drey.Event{event("m", "left", n)}, Snapshot: raw(`%d`, n)},
				store.Append{Machine: "m", ID: "right", Expect: int64(n), Events: []drey.Event{event("m", "right", n)}})
			if err != nil {
				wrote <- err
				return
			}
		}
	}()
	together(3, func(int) {
		for range 20 {
			page, err := st.Query(t.Context(), store.Query{Newest: true, Limit: 2})
			if err != nil || len(page.Events) == 1 || page.AsOf%2 != 0 {
				t.Errorf("half a commit: %+v, %v", page, err)
			}
			all, err := st.Snapshots(t.Context(), "m")
			if err != nil || len(all) == 1 || len(all) == 2 && all[0].Version != all[1].Version {
				t.Errorf("half a commit: %d machines, %v", len(all), err)
			}
		}
	})
	stop()
	if err := <-wrote; !errors.Is(err, context.Canceled) {
		t.Errorf("writer: %v", err)
	}
}

func (s suite) cancelled(t *testing.T) {
	st := s.fresh(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := st.Append(ctx, store.Append{Machine: "m", ID: "1", Events: []drey.Event{event("m", "1", 0)}}); !errors.Is(err, context.Canceled) {
		t.Errorf("append: %v", err)
	}
	if head, _ := st.Head(t.Context()); head != 0 {
		t.Errorf("an append under an ended context wrote %d rows", head)
	}
	for name, call := range map[string]func() error{
		"query":         func() error { _, err := st.Query(ctx, store.Query{}); return err },
		"load":          func() error { _, err := st.Load(ctx, "m", "1"); return err },
		"snapshots":     func() error { _, err := st.Snapshots(ctx, "m"); return err },
		"head":          func() error { _, err := st.Head(ctx); return err },
		"requests":      func() error { _, err := st.Requests(ctx, store.RequestQuery{}); return err },
		"request":       func() error { _, err := st.Request(ctx, "req_1"); return err },
		"flush":         func() error { return st.Flush(ctx) },
		"load counters": func() error { _, err := st.LoadCounters(ctx); return err },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A context that ends while the append is on its way ends the waiting
	// alone: the append is committed or not, whole in either case.
	committed := 0
	for n := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		_, err := st.Append(ctx, store.Append{Machine: "c", ID: fmt.Sprint(n), Events: []drey.Event{event("c", fmt.Sprint(n), 0), event("c", fmt.Sprint(n), 1)}})
		if err == nil {
			committed++
		} else if !errors.Is(err, context.Canceled) {
			t.Errorf("append: %v", err)
		}
	}
	mustAppend(t, st, store.Append{Machine: "m", ID: "after", Events: []drey.Event{event("m", "after", 0)}}) // behind all of them
	all, err := st.Snapshots(t.Context(), "c")
	if err != nil || len(all) < committed {
		t.Errorf("%d machines, and %d were acknowledged, %v", len(all), committed, err)
	}
	for _, got := range all {
		if got.Version != 2 {
			t.Errorf("half an append: %+v", got)
		}
	}
}

func (s suite) reopening(t *testing.T) {
	dir := t.TempDir()
	var epoch uint64
	var want stateView
	for n := range 3 {
		st, err := s.open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			epoch = st.Epoch()
		} else {
			got, err := st.Load(t.Context(), "m", "1")
			if v := view(t, got); err != nil || fmt.Sprint(v) != fmt.Sprint(want) {
				t.Errorf("opening %d: %+v, %v; want %+v", n, v, err, want)
			}
		}
		if got := st.Epoch(); got != epoch+uint64(n) {
			t.Errorf("opening %d has epoch %d, want %d", n, got, epoch+uint64(n))
		}
		c := mustAppend(t, st, store.Append{Machine: "m", ID: "1", Expect: int64(2 * n), Snapshot: raw(`%d`, n), Events: []drey.Event{event("m", "1", n)}},
			store.Append{Machine: "m", ID: "1", Expect: int64(2*n + 1), Events: []drey.Event{event("m", "1", n)}})
		if c.First != drey.Seq(2*n+1) {
			t.Errorf("opening %d goes on at seq %d", n, c.First)
		}
		got, err := st.Load(t.Context(), "m", "1")
		if err != nil {
			t.Fatal(err)
		}
		want = view(t, got)
		if err := st.Close(); err != nil {
			t.Errorf("close %d: %v", n, err)
		}
	}
}

func (s suite) superseded(t *testing.T) {
	dir := t.TempDir()
	old := s.at(t, dir)
	mustAppend(t, old, store.Append{Machine: "m", ID: "1", Events: []drey.Event{event("m", "1", 0)}})
	young := s.at(t, dir)
	if young.Epoch() != old.Epoch()+1 {
		t.Errorf("epochs %d and %d", old.Epoch(), young.Epoch())
	}
	for _, a := range []store.Append{
		{Machine: "m", ID: "1", Expect: 1, Events: []drey.Event{event("m", "1", 1)}},
		{Machine: "m", ID: "1", Expect: 7, Events: []drey.Event{event("m", "1", 1)}},
		{Machine: "m", ID: "1", Expect: 1},
		{Machine: "m", ID: "2", Snapshot: raw(`1`)},
		{Machine: "m", ID: "1", Expect: store.AnyVersion, Delete: true},
	} {
		if _, err := old.Append(t.Context(), a); !errors.Is(err, store.ErrEpoch) {
			t.Errorf("the older handle: %v, want ErrEpoch", err)
		}
	}
	old.PutRequest(store.RequestRow{ID: "req_old", At: epochStart})
	if err := old.Flush(t.Context()); !errors.Is(err, store.ErrEpoch) {
		t.Errorf("the older handle's telemetry: %v, want ErrEpoch", err)
	}
	mustAppend(t, young, store.Append{Machine: "m", ID: "1", Expect: 1, Events: []drey.Event{event("m", "1", 1)}})
	if head, err := old.Head(t.Context()); err != nil || head != 2 {
		t.Errorf("the older handle reads head %d, %v", head, err)
	}
	if _, err := young.Request(t.Context(), "req_old"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the older handle's row: %v", err)
	}
}
