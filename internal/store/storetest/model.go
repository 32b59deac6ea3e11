package storetest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// reference is the store as one would write it without a disk: two lists and
// the rules of the interface, with no thought of speed.
type reference struct {
	journal  []drey.Event
	machines map[[2]string]*life
	floor    drey.Seq // where the journal was cut
	removed  int64    // rows behind the cut that are gone
}

// life is one machine of the reference.
type life struct {
	version  int64
	last     drey.Seq
	snapshot json.RawMessage
	at       drey.Seq
	own      []drey.Event // of this life
}

func (m *reference) append(appends []store.Append) (store.Commit, bool) {
	next := &reference{journal: slices.Clone(m.journal), machines: map[[2]string]*life{}, floor: m.floor, removed: m.removed}
	for k, l := range m.machines {
		c := *l
		c.own = slices.Clone(l.own)
		next.machines[k] = &c
	}
	for _, a := range appends {
		k := [2]string{a.Machine, a.ID}
		l := next.machines[k]
		if l == nil {
			l = &life{}
			next.machines[k] = l
		}
		if a.Expect != store.AnyVersion && a.Expect != l.version {
			return store.Commit{}, false
		}
		for _, e := range a.Events {
			e.Seq = drey.Seq(len(next.journal) + 1)
			next.journal = append(next.journal, e)
			if e.Machine == a.Machine && e.ID == a.ID {
				l.version++
				l.last = e.Seq
				l.own = append(l.own, e)
			}
		}
		if a.Snapshot != nil {
			l.snapshot, l.at = a.Snapshot, l.last
		}
		if a.Delete {
			delete(next.machines, k)
		}
	}
	var c store.Commit
	if n := len(next.journal) - len(m.journal); n > 0 {
		c = store.Commit{First: drey.Seq(len(m.journal) + 1), Last: drey.Seq(len(next.journal)), Rows: n}
	}
	*m = *next
	return c, true
}

func (m *reference) states(machine string) []store.State {
	var out []store.State
	for k, l := range m.machines {
		if k[0] != machine || l.version == 0 && l.snapshot == nil {
			continue
		}
		s := store.State{Machine: k[0], ID: k[1], Version: l.version, Snapshot: l.snapshot, At: l.at}
		for _, e := range l.own {
			if e.Seq > l.at {
				s.Tail = append(s.Tail, e)
			}
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b store.State) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func (m *reference) query(q store.Query) store.Page {
	p := store.Page{AsOf: drey.Seq(len(m.journal))}
	for _, e := range m.journal {
		if e.Seq > max(q.After, m.floor) && (q.Machine == "" || e.Machine == q.Machine) && (q.ID == "" || e.ID == q.ID) &&
			store.Glob(q.Event, e.Name) && (q.RequestID == "" || e.RequestID == q.RequestID) &&
			!e.At.Before(q.Since) && (q.Until.IsZero() || e.At.Before(q.Until)) {
			p.Events = append(p.Events, e)
		}
	}
	limit := store.PageLimit(q.Limit)
	switch n := len(p.Events); {
	case n <= limit:
	case q.Newest:
		p.Events = p.Events[n-limit:]
	default:
		p.Events = p.Events[:limit]
		p.Next = p.Events[limit-1].Seq
	}
	return p
}

// prune cuts the journal, and returns what a Prune then says.
func (m *reference) prune(before time.Time) store.Pruned {
	for int(m.floor) < len(m.journal) && m.journal[m.floor].At.Before(before) {
		m.floor++
	}
	p := store.Pruned{Oldest: m.floor + 1}
	for _, l := range m.machines {
		for _, e := range l.own {
			if e.Seq > l.at && e.Seq <= m.floor {
				p.Kept++
			}
		}
	}
	p.Events = int64(m.floor) - p.Kept - m.removed
	m.removed += p.Events
	return p
}

// Generators of few values, so that they meet.
var (
	machines   = rapid.SampledFrom([]string{"m", "n", ""})
	ids        = rapid.SampledFrom([]string{"a", "b", "ü", ""})
	names      = rapid.SampledFrom([]string{"up", "up.x", "down", "do[w]n"})
	requestIDs = rapid.SampledFrom([]drey.RequestID{"", "", "req_1", "req_2"})
	globs      = rapid.SampledFrom([]string{"", "", "*", "up*", "?o*", "*n", "up", "do[w]?"})
	instants   = rapid.Custom(func(t *rapid.T) time.Time {
		return epochStart.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "second")) * time.Second)
	})
)

func drawAppend(t *rapid.T) store.Append {
	a := store.Append{
		Machine: machines.Draw(t, "machine"), ID: ids.Draw(t, "id"),
		Expect: rapid.Int64Range(-1, 4).Draw(t, "expect"),
		Delete: rapid.IntRange(0, 9).Draw(t, "delete") == 0,
	}
	if !a.Delete && rapid.IntRange(0, 2).Draw(t, "snapshot") == 0 {
		a.Snapshot = raw(`{"n":%d}`, rapid.IntRange(0, 99).Draw(t, "n"))
	}
	for range rapid.IntRange(0, 3).Draw(t, "events") {
		e := drey.Event{At: instants.Draw(t, "at"), Name: names.Draw(t, "name"), Machine: a.Machine, ID: a.ID,
			RequestID: requestIDs.Draw(t, "request"), Cause: drey.Seq(rapid.Uint64Range(0, 3).Draw(t, "cause"))}
		if rapid.IntRange(0, 4).Draw(t, "companion") == 0 {
			e.Machine, e.ID = machines.Draw(t, "its machine"), ids.Draw(t, "its id")
		}
		if rapid.Bool().Draw(t, "fields") {
			e.Fields = []drey.Field{drey.F("text", rapid.StringN(0, 8, -1).Draw(t, "text"))}
		}
		a.Events = append(a.Events, e)
	}
	return a
}

// model runs random histories on the store and on the reference.
func (s suite) model(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); !soak() && f.Value.String() == f.DefValue {
		// Each history opens and closes stores, which sync. The soak, and
		// whoever sets the flag, runs more of them.
		if err := f.Value.Set("12"); err != nil {
			t.Fatal(err)
		}
	}
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.open(ctx, dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
		}()
		m := &reference{machines: map[[2]string]*life{}}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				appends := rapid.SliceOfN(rapid.Custom(drawAppend), 0, 3).Draw(t, "appends")
				got, err := st.Append(ctx, appends...)
				want, ok := m.append(appends)
				if ok != (err == nil) || err != nil && !errors.Is(err, store.ErrVersion) {
					t.Fatalf("append: %v, want success %v", err, ok)
				}
				if got != want {
					t.Fatalf("commit %+v, want %+v", got, want)
				}
			},
			"submit": func(t *rapid.T) { // several that may share a transaction
				calls := rapid.SliceOfN(rapid.SliceOfN(rapid.Custom(drawAppend), 1, 2), 2, 5).Draw(t, "calls")
				type answer struct {
					commit store.Commit
					err    error
				}
				answers := make(chan answer, len(calls))
				for _, appends := range calls {
					st.Submit(func(c store.Commit, err error) { answers <- answer{c, err} }, appends...)
				}
				for i, appends := range calls {
					got := <-answers
					want, ok := m.append(appends)
					if ok != (got.err == nil) {
						t.Fatalf("call %d: %v, want success %v", i, got.err, ok)
					}
					if got.commit.First != want.First || got.commit.Last != want.Last || got.commit.Rows < want.Rows {
						t.Fatalf("call %d: %+v, want %+v", i, got.commit, want)
					}
				}
			},
			"load": func(t *rapid.T) {
				machine, id := machines.Draw(t, "machine"), ids.Draw(t, "id")
				var want []store.State
				for _, w := range m.states(machine) {
					if w.ID == id {
						want = append(want, w)
					}
				}
				got, err := st.Load(ctx, machine, id)
				switch {
				case errors.Is(err, store.ErrNotFound):
					same(t, want, nil)
				case err != nil:
					t.Fatal(err)
				default:
					same(t, want, []store.State{got})
				}
			},
			"snapshots": func(t *rapid.T) {
				machine := machines.Draw(t, "machine")
				got, err := st.Snapshots(ctx, machine)
				if err != nil {
					t.Fatal(err)
				}
				same(t, m.states(machine), got)
			},
			"query": func(t *rapid.T) {
				q := store.Query{
					After:   drey.Seq(rapid.IntRange(0, len(m.journal)+1).Draw(t, "after")),
					Machine: machines.Draw(t, "machine"), ID: ids.Draw(t, "id"), Event: globs.Draw(t, "event"),
					RequestID: requestIDs.Draw(t, "request"), Limit: rapid.IntRange(0, 5).Draw(t, "limit"),
					Newest: rapid.Bool().Draw(t, "newest"),
				}
				if rapid.Bool().Draw(t, "since") {
					q.Since = instants.Draw(t, "since")
				}
				if rapid.Bool().Draw(t, "until") {
					q.Until = instants.Draw(t, "until")
				}
				got, err := st.Query(ctx, q)
				if err != nil {
					t.Fatal(err)
				}
				want := m.query(q)
				if diff := gocmp.Diff(texts(t, want.Events), texts(t, got.Events)); diff != "" || got.Next != want.Next || got.AsOf != want.AsOf {
					t.Fatalf("%+v: next %d, as of %d; want %d, %d (-want +got):\n%s", q, got.Next, got.AsOf, want.Next, want.AsOf, diff)
				}
			},
			"prune": func(t *rapid.T) {
				before := instants.Draw(t, "before")
				got, err := st.Prune(ctx, store.Retention{Before: before}, nil)
				if want := m.prune(before); err != nil || got != want {
					t.Fatalf("prune: %+v, %v; want %+v", got, err, want)
				}
			},
			"verify": func(t *rapid.T) {
				got, err := st.Verify(ctx, store.Check{}, nil)
				if rows := int64(len(m.journal)) - m.removed; err != nil || got.Events != rows {
					t.Fatalf("verify: %+v, %v; want %d rows", got, err, rows)
				}
			},
			"reopen": func(t *rapid.T) {
				epoch := st.Epoch()
				if err := st.Close(); err != nil {
					t.Fatal(err)
				}
				var err error
				if st, err = s.open(ctx, dir); err != nil {
					t.Fatal(err)
				}
				if st.Epoch() != epoch+1 {
					t.Fatalf("epoch %d follows %d", st.Epoch(), epoch)
				}
			},
			"": func(t *rapid.T) {
				if head, err := st.Head(ctx); err != nil || int(head) != len(m.journal) {
					t.Fatalf("head %d, %v; want %d", head, err, len(m.journal))
				}
			},
		})
	})
}

// same compares states as their readers see them.
func same(t *rapid.T, want, got []store.State) {
	t.Helper()
	views := func(states []store.State) string {
		out := ""
		for _, s := range states {
			out += fmt.Sprintf("%+v\n", view(t, s))
		}
		return out
	}
	if diff := gocmp.Diff(views(want), views(got)); diff != "" {
		t.Fatalf("states (-want +got):\n%s", diff)
	}
}
