package storetest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// at is the instant of the n-th event of a test, see event.
func at(n int) time.Time { return epochStart.Add(time.Duration(n) * time.Second) }

func prune(t *testing.T, st store.Store, r store.Retention) store.Pruned {
	t.Helper()
	got, err := st.Prune(t.Context(), r, nil)
	if err != nil {
		t.Fatalf("prune: %v", err)
	}
	return got
}

// sound fails the test if the store is not.
func sound(t *testing.T, st store.Store) {
	t.Helper()
	if _, err := st.Verify(t.Context(), store.Check{}, nil); err != nil {
		t.Fatalf("verify: %v", err)
	}
}

// states is everything that a restart would load.
func states(t *testing.T, st store.Store, machines ...string) []stateView {
	t.Helper()
	var out []stateView
	for _, m := range machines {
		all, err := st.Snapshots(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			out = append(out, view(t, s))
		}
	}
	return out
}

// retention: what is old goes, what a state needs stays, the numbers go on, and
// a reader with an old cursor can see that something is missing.
func (s suite) retention(t *testing.T) {
	dir := t.TempDir()
	st, err := s.open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	add := func(a store.Append, from, to int, others ...drey.Event) {
		t.Helper()
		for n := from; n <= to; n++ {
			a.Events = append(a.Events, event(a.Machine, a.ID, n))
		}
		a.Expect = store.AnyVersion
		a.Events = append(a.Events, others...)
		mustAppend(t, st, a)
	}
	add(store.Append{Machine: "m", ID: "covered", Snapshot: raw(`{"v":2}`)}, 1, 2)   // 1, 2
	add(store.Append{Machine: "m", ID: "tail"}, 3, 4)                                // 3, 4: no snapshot
	add(store.Append{Machine: "log", ID: "x"}, 5, 5, event("other", "companion", 6)) // 5, 6
	add(store.Append{Machine: "m", ID: "gone"}, 7, 7)                                // 7
	add(store.Append{Machine: "m", ID: "gone", Delete: true}, 8, 8)                  // 8
	add(store.Append{Machine: "m", ID: "half", Snapshot: raw(`{"v":1}`)}, 9, 9)      // 9
	add(store.Append{Machine: "m", ID: "half"}, 10, 10)                              // 10
	add(store.Append{Machine: "m", ID: "young"}, 20, 21)                             // 11, 12
	add(store.Append{Machine: "m", ID: "late", Snapshot: raw(`0`)}, 11, 11)          // 13: old, behind a young one
	before := states(t, st, "m", "log", "other")

	r := store.Retention{Before: at(20), Logs: []string{"log"}}
	if got := prune(t, st, store.Retention{}); got.Events != 0 || got.Oldest != 1 {
		t.Errorf("no bound: %+v", got)
	}
	if got, want := prune(t, st, r), (store.Pruned{Events: 7, Kept: 3, Oldest: 11}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, want := prune(t, st, r), (store.Pruned{Kept: 3, Oldest: 11}); got != want {
		t.Errorf("again: %+v, want %+v", got, want)
	}
	sound(t, st)
	check := func(when string) {
		t.Helper()
		want := before[:0:0]
		for _, v := range before {
			if v.Machine != "log" {
				want = append(want, v)
			}
		}
		if diff := cmp.Diff(want, states(t, st, "m", "log", "other")); diff != "" {
			t.Errorf("%s, the states (-before +after):\n%s", when, diff)
		}
	}
	check("after it")
	for name, q := range map[string]store.Query{
		"all": {}, "by machine": {Machine: "m"}, "by id": {ID: "tail"}, "by time": {Since: at(0), Until: at(19)}, "newest": {Newest: true},
	} {
		for _, e := range walkAll(t, st, q) {
			if e.Seq < 11 {
				t.Errorf("%s shows row %d, which is behind the cut", name, e.Seq)
			}
		}
	}
	// A reader at 3 asks for the rest, and sees by the first seq what he missed.
	if page, err := st.Query(t.Context(), store.Query{After: 3, Limit: 1}); err != nil || len(page.Events) != 1 || page.Events[0].Seq != 11 || page.AsOf != 13 {
		t.Errorf("behind an old cursor: %+v, %v", page, err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}

	st = s.at(t, dir)
	check("after a restart")
	for id, version := range map[string]int64{"covered": 2, "tail": 2, "gone": 0, "half": 2, "young": 2} {
		c := mustAppend(t, st, store.Append{Machine: "m", ID: id, Expect: version, Events: []drey.Event{event("m", id, 30)}})
		if c.First < 14 {
			t.Errorf("%s: a new row got seq %d", id, c.First)
		}
	}
	// Covered at last: what was kept for it goes.
	mustAppend(t, st, store.Append{Machine: "m", ID: "tail", Expect: 3, Snapshot: raw(`3`)})
	if got, want := prune(t, st, r), (store.Pruned{Events: 2, Kept: 1, Oldest: 11}); got != want {
		t.Errorf("after the snapshot: %+v, want %+v", got, want)
	}
	// Everything is old: the numbers go on all the same.
	if got, want := prune(t, st, store.Retention{Before: at(99)}), drey.Seq(19); got.Oldest != want {
		t.Errorf("all is old: %+v, want oldest %d", got, want)
	}
	if head, err := st.Head(t.Context()); err != nil || head != 18 {
		t.Errorf("head %d, %v; want 18", head, err)
	}
	if page, err := st.Query(t.Context(), store.Query{}); err != nil || len(page.Events) != 0 || page.AsOf != 18 {
		t.Errorf("all is old, a query: %+v, %v", page, err)
	}
	if c := mustAppend(t, st, store.Append{Machine: "m", ID: "covered", Expect: 3, Events: []drey.Event{event("m", "covered", 99)}}); c.First != 19 {
		t.Errorf("the next row is %d, want 19", c.First)
	}
	sound(t, st)
}

// logRetention: the rows of a machine whose events nobody replays go by age. What
// came after a snapshot of one stays until there is another, or none.
func (s suite) logRetention(t *testing.T) {
	st := s.fresh(t)
	add := func(id string, n int, more store.Append) {
		more.Machine, more.ID, more.Expect, more.Events = "log", id, store.AnyVersion, []drey.Event{event("log", id, n)}
		mustAppend(t, st, more)
	}
	add("stateless", 1, store.Append{})
	add("stateful", 2, store.Append{Snapshot: raw(`1`)})
	add("stateful", 3, store.Append{})
	add("stateless", 4, store.Append{})
	add("ended", 5, store.Append{Snapshot: raw(`1`)})
	add("ended", 6, store.Append{Delete: true})
	add("ended", 7, store.Append{})
	add("stateless", 20, store.Append{})
	r := store.Retention{Before: at(10), Logs: []string{"log"}}
	for i, want := range []store.Pruned{{Events: 6, Kept: 1, Oldest: 8}, {Kept: 1, Oldest: 8}} {
		if got := prune(t, st, r); got != want {
			t.Errorf("%d: %+v, want %+v", i, got, want)
		}
		sound(t, st)
	}
	state, err := st.Load(t.Context(), "log", "stateful")
	if err != nil || string(state.Snapshot) != "1" || len(state.Tail) != 1 || state.Version != 2 {
		t.Errorf("%+v, %v", state, err)
	}
	add("stateful", 8, store.Append{Delete: true})
	add("stateful", 21, store.Append{})
	add("stateless", 21, store.Append{Snapshot: raw(`3`)})
	if got, want := prune(t, st, r), (store.Pruned{Events: 1, Oldest: 8}); got != want {
		t.Errorf("nothing is left to keep: %+v, want %+v", got, want)
	}
	sound(t, st)
}

// wrongClock: one row from the future does not keep the journal for ever.
func (s suite) wrongClock(t *testing.T) {
	st := s.fresh(t)
	for _, n := range []int{1, 1 << 40, 2, 50} {
		e := event("m", "1", 0)
		e.At = at(0).Add(time.Duration(n) * time.Millisecond)
		mustAppend(t, st, store.Append{Machine: "m", ID: "1", Expect: store.AnyVersion, Events: []drey.Event{e}, Snapshot: raw(`0`)})
	}
	r := store.Retention{Before: at(0).Add(10 * time.Millisecond)}
	if got := prune(t, st, r); got.Oldest != 2 {
		t.Errorf("believed: %+v", got)
	}
	r.Now = at(1)
	if got := prune(t, st, r); got.Oldest != 4 {
		t.Errorf("not believed: %+v", got)
	}
}

func (s suite) requestRetention(t *testing.T) {
	st := s.fresh(t)
	const n = 400
	var rows []store.RequestRow
	for i := range n {
		rows = append(rows, row(i))
	}
	put(t, st, rows...)
	cut := rows[300].At
	if got := prune(t, st, store.Retention{Before: cut}); got.Requests != 0 {
		t.Errorf("%d rows are gone that nobody has counted", got.Requests)
	}
	rolled := func(want int64) {
		t.Helper()
		if got, err := st.Rollup(t.Context(), nil); err != nil || got.Requests != want {
			t.Fatalf("rollup of %d rows, %v; want %d", got.Requests, err, want)
		}
	}
	rolled(n)
	if got := prune(t, st, store.Retention{Before: cut}); got.Requests != 300 {
		t.Errorf("%d rows are gone, want 300", got.Requests)
	}
	page, err := st.Requests(t.Context(), store.RequestQuery{Limit: 1000})
	if err != nil || len(page.Rows) != 100 || page.Rows[99].At.Before(cut) {
		t.Errorf("%d rows are left, %v", len(page.Rows), err)
	}
	// Nothing is left, and still every new row is counted once.
	if got := prune(t, st, store.Retention{Before: rows[n-1].At.Add(time.Hour)}); got.Requests != 100 {
		t.Errorf("%d rows are gone, want 100", got.Requests)
	}
	rolled(0)
	put(t, st, row(n), row(n+1))
	rolled(2)
	rolled(0)
	if usage, err := st.Usage(t.Context(), time.Time{}, time.Time{}); err != nil || requests(usage) != n+2 {
		t.Errorf("usage of %d requests, %v; want %d: it stays for ever", requests(usage), err, n+2)
	}
}

func requests(usage []store.Usage) (n int64) {
	for _, u := range usage {
		n += u.Requests
	}
	return n
}

func (s suite) rollup(t *testing.T) {
	st := s.fresh(t)
	day := time.Date(2026, 3, 1, 23, 59, 59, 0, time.UTC)
	rows := []store.RequestRow{
		{ID: "1", At: day, Provider: "a", Outcome: "ok", Row: raw(`{"model":"asked","model_served":"big","tokens":{"input":100,"output":20,"cache_read":5,"cache_write":6,"reasoning":7},
			"attempts":[{"provider":"b","class":"server","ms":3},{"provider":"a","class":"ok","ms":1000,"ttft_ms":100}]}`)},
		{ID: "2", At: day, Provider: "a", Outcome: "cancel", Row: raw(`{"model":"asked","model_served":"big","tokens":{"input":1,"output":2,"estimated":true},
			"attempts":[{"provider":"a","class":"cancel","ms":1}]}`)},
		{ID: "3", At: day.Add(time.Second), Provider: "", Outcome: "failed", Row: raw(`{"model":"asked","attempts":[{"provider":"b","class":"server"},{"provider":"b","class":"server"}]}`)},
		{ID: "4", At: day.Add(time.Second), Provider: "a", Outcome: "refused"},
		{ID: "5", At: day.Add(time.Second), Provider: "a", Outcome: "ok", Row: raw(`{"model_served":"big","tokens":{"input":-5,"output":"x"},"attempts":7}`)},
	}
	put(t, st, rows[:2]...)
	for i := range 3 { // a second time counts nothing
		if i == 1 {
			put(t, st, rows[2:]...)
		}
		if _, err := st.Rollup(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	usage, err := st.Usage(t.Context(), time.Time{}, time.Time{})
	want := []store.Usage{
		{Day: "2026-03-01", Provider: "a", Model: "big", Requests: 2, Input: 101, Output: 22, CacheRead: 5, CacheWrite: 6, Reasoning: 7, Estimated: 3},
		{Day: "2026-03-02", Provider: "", Model: "asked", Requests: 1, Failed: 1},
		{Day: "2026-03-02", Provider: "a", Model: "", Requests: 1, Failed: 1},
		{Day: "2026-03-02", Provider: "a", Model: "big", Requests: 1},
	}
	if diff := cmp.Diff(want, usage); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	first, err := st.Usage(t.Context(), day, day.Add(time.Second))
	if diff := cmp.Diff(want[:1], first); err != nil || diff != "" {
		t.Errorf("one day: %v (-want +got):\n%s", err, diff)
	}
	stats, err := st.ProviderStats(t.Context(), time.Time{})
	if err != nil || len(stats) != 2 {
		t.Fatalf("%+v, %v", stats, err)
	}
	a, b := stats[0], stats[1]
	if a.Provider != "a" || a.Attempts != 2 || a.Classes["ok"] != 1 || a.Classes["cancel"] != 1 || a.Total.Count != 1 ||
		!within(a.Total.P95, time.Second) || !within(a.TTFT.P50, 100*time.Millisecond) {
		t.Errorf("a: %+v", a)
	}
	if b.Provider != "b" || b.Attempts != 3 || b.Classes["server"] != 3 || b.Total != (store.Latency{}) {
		t.Errorf("b: %+v", b)
	}
	if later, err := st.ProviderStats(t.Context(), day.Add(time.Second)); err != nil || len(later) != 1 || later[0].Attempts != 2 {
		t.Errorf("of the second day: %+v, %v", later, err)
	}
	// Old statistics go with the rows they are of.
	prune(t, st, store.Retention{Before: day.Add(24 * time.Hour)})
	if left, err := st.ProviderStats(t.Context(), time.Time{}); err != nil || len(left) != 1 || left[0].Attempts != 2 {
		t.Errorf("after the retention: %+v, %v", left, err)
	}
}

// within reports whether a duration is true to 9 %.
func within(got, want time.Duration) bool {
	return (got - want).Abs() <= want*9/100
}

// upkeepCalls are the calls of an Upkeeper that every backend has, by name.
func upkeepCalls(st store.Store, r store.Retention, path string) map[string]func(context.Context, store.Pace) error {
	return map[string]func(context.Context, store.Pace) error{
		"checkpoint": func(ctx context.Context, p store.Pace) error { _, err := st.Checkpoint(ctx, p); return err },
		"prune":      func(ctx context.Context, p store.Pace) error { _, err := st.Prune(ctx, r, p); return err },
		"rollup":     func(ctx context.Context, p store.Pace) error { _, err := st.Rollup(ctx, p); return err },
		"verify":     func(ctx context.Context, p store.Pace) error { _, err := st.Verify(ctx, store.Check{}, p); return err },
		"backup":     func(ctx context.Context, p store.Pace) error { _, err := st.Backup(ctx, path, p); return err },
		"optimize":   func(ctx context.Context, p store.Pace) error { _, err := st.Optimize(ctx, p); return err },
	}
}

// upkeepGivesWay interrupts every call at each of its chunks, by its pace and
// by ctx, and then lets it run through: nothing is done twice or left out.
func (s suite) upkeepGivesWay(t *testing.T) {
	const events, rows = 600, 200
	fill := func(t *testing.T, st store.Store) {
		t.Helper()
		for n := range events / 100 {
			a := store.Append{Machine: "m", ID: fmt.Sprint(n), Expect: store.AnyVersion}
			for i := range 100 {
				a.Events = append(a.Events, event("m", a.ID, n*100+i))
			}
			if n%2 == 0 {
				a.Snapshot = raw(`%d`, n)
			}
			mustAppend(t, st, a)
		}
		all := make([]store.RequestRow, rows)
		for i := range all {
			all[i] = row(i)
		}
		put(t, st, all...)
	}
	stop := errors.New("give way")
	for _, name := range []string{"checkpoint", "rollup", "prune", "verify", "backup", "optimize"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := s.fresh(t)
			fill(t, st)
			if name == "prune" {
				if _, err := st.Rollup(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
			}
			before := states(t, st, "m")
			call := upkeepCalls(st, store.Retention{Before: at(events)}, filepath.Join(t.TempDir(), "copy.db"))[name]
			interrupted := 0
			for chunk := 0; ; chunk++ {
				ctx, cancel := context.WithCancel(t.Context())
				n := 0
				err := call(ctx, func() error {
					if n++; n <= chunk {
						return nil
					}
					if chunk%2 == 1 {
						cancel()
						return nil
					}
					return stop
				})
				cancel()
				if errors.Is(err, store.ErrNotOurs) {
					t.Skip(err)
				}
				if err == nil {
					break
				}
				if !errors.Is(err, stop) && !errors.Is(err, context.Canceled) {
					t.Fatalf("at chunk %d: %v", chunk, err)
				}
				interrupted++
				if diff := cmp.Diff(before, states(t, st, "m")); diff != "" {
					t.Fatalf("interrupted at chunk %d, the states (-before +after):\n%s", chunk, diff)
				}
			}
			if interrupted < 2 {
				t.Errorf("it was interrupted %d times: is there work to do?", interrupted)
			}
			sound(t, st)
			switch name {
			case "prune":
				if got := prune(t, st, store.Retention{Before: at(events)}); got.Events != 0 || got.Kept != 300 || got.Oldest != events+1 {
					t.Errorf("a further prune: %+v", got)
				}
			case "rollup":
				if usage, err := st.Usage(t.Context(), time.Time{}, time.Time{}); err != nil || requests(usage) != rows {
					t.Errorf("%d requests are counted, %v; want %d", requests(usage), err, rows)
				}
			}
		})
	}
}

// upkeepBeside runs every call again and again while others write and read.
func (s suite) upkeepBeside(t *testing.T) {
	st := s.fresh(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const writers, each = 4, 60
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		together(writers, func(w int) {
			id := fmt.Sprint(w)
			for n := range each {
				a := store.Append{Machine: "m", ID: id, Expect: int64(n), Events: []drey.Event{event("m", id, n), event("companion", id, n)}}
				if n%10 == 9 {
					a.Snapshot = raw(`{"n":%d}`, n)
				}
				if _, err := st.Append(ctx, a); err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				st.PutRequest(store.RequestRow{ID: drey.RequestID(fmt.Sprintf("req_%d_%d", w, n)), At: at(n), Outcome: "ok", Provider: "p"})
			}
		})
	}()
	dir := t.TempDir()
	for round, done := 0, false; !done; round++ {
		select {
		case <-ended:
			done = true // and one round more, of all there is
		default:
		}
		for name, call := range upkeepCalls(st, store.Retention{Before: at(each / 2)}, filepath.Join(dir, fmt.Sprint(round, ".db"))) {
			if err := call(t.Context(), nil); err != nil && !errors.Is(err, store.ErrNotOurs) {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	for w := range writers {
		got, err := st.Load(t.Context(), "m", fmt.Sprint(w))
		if err != nil || got.Version != each || string(got.Snapshot) != fmt.Sprintf(`{"n":%d}`, each-1) {
			t.Errorf("writer %d: version %d, snapshot %s, %v", w, got.Version, got.Snapshot, err)
		}
	}
	if _, err := st.Rollup(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if usage, err := st.Usage(t.Context(), time.Time{}, time.Time{}); err != nil || requests(usage) != writers*each {
		t.Errorf("%d requests are counted, %v; want %d", requests(usage), err, writers*each)
	}
}

func (s suite) upkeepClosed(t *testing.T) {
	st, err := s.open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	for name, call := range upkeepCalls(st, store.Retention{Before: at(1)}, filepath.Join(t.TempDir(), "copy.db")) {
		if err := call(t.Context(), nil); !errors.Is(err, store.ErrClosed) && !errors.Is(err, store.ErrNotOurs) {
			t.Errorf("%s: %v, want ErrClosed", name, err)
		}
	}
}
