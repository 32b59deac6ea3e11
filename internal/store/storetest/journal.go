package storetest

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

func (s suite) eventsComeBack(t *testing.T) {
	st := s.fresh(t)
	events := []drey.Event{
		{At: epochStart, Name: "plain", Machine: "m", ID: "1"},
		{Name: "no time", Machine: "m", ID: "1"},
		{At: epochStart.Add(1999 * time.Nanosecond), Name: "nanoseconds", Machine: "m", ID: "1"},
		{At: time.Date(1931, 1, 1, 0, 0, 0, 1, time.UTC), Name: "before 1970", Machine: "m", ID: "1"},
		{At: epochStart.In(time.FixedZone("", 3600)), Name: "another zone", Machine: "m", ID: "1", Level: drey.ErrorLevel},
		{At: epochStart, Name: "whole", Level: drey.Debug, Machine: "m", ID: "1", From: "FRÜH", To: "spät", Trigger: "日本",
			Cause: 7, RequestID: "req_0123456789abcdefghijklmn", Fields: []drey.Field{
				drey.F("z", 1), drey.F("a", "<b> & \u2028 \x00 \" \\ é 😀"), drey.F("float", 0.1), drey.F("big", uint64(math.MaxUint64)),
				drey.F("raw", json.RawMessage(`{"b":1.50,"a":[1e3, 12345678901234567890]}`)), drey.F("null", nil),
				drey.F("list", []string{"x", "y"}), drey.F("a.b\"c", map[string]int{"k": 1}), drey.F("empty", ""),
			}},
		{At: epochStart, Name: "long", Machine: "m", ID: "1", Fields: []drey.Field{drey.F("text", strings.Repeat("0123456789", 50_000))}},
	}
	c := mustAppend(t, st, store.Append{Machine: "m", ID: "1", Events: events})
	if want := (store.Commit{First: 1, Last: drey.Seq(len(events)), Rows: len(events)}); c != want {
		t.Errorf("commit %+v, want %+v", c, want)
	}
	got := walkAll(t, st, store.Query{})
	for i := range events {
		events[i].Seq = drey.Seq(i + 1)
	}
	if diff := cmp.Diff(texts(t, events), texts(t, got)); diff != "" {
		t.Errorf("events (-put +got):\n%s", diff)
	}
	for _, f := range got[5].Fields {
		if _, ok := f.Value.(json.RawMessage); !ok {
			t.Errorf("field %s comes back as %T, want json.RawMessage", f.Key, f.Value)
		}
	}
	if at := got[2].At; at.Location() != time.UTC || !got[1].At.IsZero() {
		t.Errorf("times come back as %v and %v", at, got[1].At)
	}
}

func (s suite) valuesAreRead(t *testing.T) {
	st := s.fresh(t)
	fields := []drey.Field{drey.F("n", 1)}
	snapshot := json.RawMessage(`{"n":1}`)
	done := make(chan error, 1)
	st.Submit(func(_ store.Commit, err error) { done <- err },
		store.Append{Machine: "m", ID: "1", Events: []drey.Event{{Name: "x", Machine: "m", ID: "1", Fields: fields}}},
		store.Append{Machine: "m", ID: "2", Snapshot: snapshot})
	fields[0] = drey.F("n", 2)
	copy(snapshot, `{"n":2}`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	one, _ := st.Load(t.Context(), "m", "1")
	two, _ := st.Load(t.Context(), "m", "2")
	if len(one.Tail) != 1 || string(one.Tail[0].Fields[0].Value.(json.RawMessage)) != "1" || string(two.Snapshot) != `{"n":1}` {
		t.Errorf("changes after Submit were stored: %+v, %s", one.Tail, two.Snapshot)
	}
}

func (s suite) versions(t *testing.T) {
	st := s.fresh(t)
	add := func(expect int64, n int) error {
		a := store.Append{Machine: "m", ID: "1", Expect: expect}
		for i := range n {
			a.Events = append(a.Events, event("m", "1", i))
		}
		_, err := st.Append(t.Context(), a)
		return err
	}
	for _, step := range []struct {
		name   string
		expect int64
		events int
		ok     bool
	}{
		{"a machine begins at 0", 1, 1, false},
		{"the first", 0, 1, true},
		{"the same again", 0, 1, false},
		{"three at once", 1, 3, true},
		{"behind", 3, 1, false},
		{"ahead", 5, 1, false},
		{"a check without events", 4, 0, true},
		{"a wrong check without events", 3, 0, false},
		{"unchecked", store.AnyVersion, 1, true},
		{"after unchecked", 5, 1, true},
	} {
		err := add(step.expect, step.events)
		if step.ok != (err == nil) || err != nil && !errors.Is(err, store.ErrVersion) {
			t.Errorf("%s: %v", step.name, err)
		}
	}
	if got, err := st.Load(t.Context(), "m", "1"); err != nil || got.Version != 6 || len(got.Tail) != 6 {
		t.Errorf("version %d with %d events, %v; want 6 and 6", got.Version, len(got.Tail), err)
	}
	if err := add(-2, 1); err == nil || errors.Is(err, store.ErrVersion) {
		t.Errorf("a version of -2: %v, want another error than a conflict", err)
	}
	if head, err := st.Head(t.Context()); err != nil || head != 6 {
		t.Errorf("head %d, %v; want 6: refusals take no seq", head, err)
	}
}

func (s suite) allOrNone(t *testing.T) {
	st := s.fresh(t)
	one := store.Append{Machine: "m", ID: "1", Events: []drey.Event{event("m", "1", 0)}, Snapshot: raw(`1`)}
	two := store.Append{Machine: "m", ID: "2", Expect: 3, Events: []drey.Event{event("m", "2", 0)}}
	if c, err := st.Append(t.Context(), one, two); !errors.Is(err, store.ErrVersion) || c != (store.Commit{}) {
		t.Fatalf("%+v, %v; want ErrVersion", c, err)
	}
	for _, id := range []string{"1", "2"} {
		if _, err := st.Load(t.Context(), "m", id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("machine %s after a refused call: %v", id, err)
		}
	}
	two.Expect = 0
	again := store.Append{Machine: "m", ID: "1", Expect: 1, Events: []drey.Event{event("m", "1", 1)}}
	if c := mustAppend(t, st, one, two, again); c.First != 1 || c.Last != 3 {
		t.Errorf("commit %+v, want 1 to 3", c)
	}
	if got, _ := st.Load(t.Context(), "m", "1"); got.Version != 2 || got.At != 1 || len(got.Tail) != 1 {
		t.Errorf("a machine that is named twice in a call: %+v", got)
	}
	if c, err := st.Append(t.Context()); err != nil || c != (store.Commit{}) {
		t.Errorf("an empty call: %+v, %v", c, err)
	}
}

func (s suite) badAlone(t *testing.T) {
	st := s.fresh(t)
	bad := []store.Append{
		{Machine: "m", ID: "x", Events: []drey.Event{{Name: "e", Fields: []drey.Field{drey.F("seq", 1)}}}},
		{Machine: "m", ID: "x", Events: []drey.Event{{Name: "e", Fields: []drey.Field{drey.F("f", func() {})}}}},
		{Machine: "m", ID: "x", Snapshot: raw(`{"torn":`)},
		{Machine: "m", ID: "x", Snapshot: raw(`{}`), Delete: true},
		{Machine: "m", ID: "x", Expect: 9, Events: []drey.Event{event("m", "x", 0)}},
	}
	var got []error
	done := make(chan struct{})
	for i, a := range bad {
		st.Submit(func(_ store.Commit, err error) { got = append(got, err) }, a)
		good := store.Append{Machine: "m", ID: "good", Expect: int64(i), Events: []drey.Event{event("m", "good", i)}}
		st.Submit(func(_ store.Commit, err error) {
			if got = append(got, err); len(got) == 2*len(bad) {
				close(done)
			}
		}, good)
	}
	<-done
	for i, err := range got {
		if bad := i%2 == 0; bad != (err != nil) {
			t.Errorf("answer %d: %v", i, err)
		}
	}
	if got := walkAll(t, st, store.Query{}); len(got) != len(bad) {
		t.Errorf("%d rows, want %d", len(got), len(bad))
	}
}

func (s suite) companions(t *testing.T) {
	st := s.fresh(t)
	mustAppend(t, st, store.Append{Machine: "operation", ID: "1", Events: []drey.Event{
		event("operation", "1", 0), event("mob", "red", 1), event("operation", "2", 2), event("", "", 3), event("operation", "1", 4),
	}})
	got, err := st.Load(t.Context(), "operation", "1")
	if err != nil || got.Version != 2 || len(got.Tail) != 2 || got.Tail[1].Seq != 5 {
		t.Errorf("the machine itself: %+v, %v", got, err)
	}
	for _, k := range [][2]string{{"mob", "red"}, {"operation", "2"}, {"", ""}} {
		if got, err := st.Load(t.Context(), k[0], k[1]); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%v, known by a companion row alone: %+v, %v", k, got, err)
		}
	}
	if page, _ := st.Query(t.Context(), store.Query{Machine: "mob", ID: "red"}); len(page.Events) != 1 || page.Events[0].Seq != 2 {
		t.Errorf("the companion row in a query: %+v", page.Events)
	}
	mustAppend(t, st, store.Append{Machine: "mob", ID: "red", Events: []drey.Event{event("mob", "red", 5)}}) // still at 0
	if got, err := st.Load(t.Context(), "mob", "red"); err != nil || got.Version != 1 || len(got.Tail) != 1 || got.Tail[0].Seq != 6 {
		t.Errorf("after its own first event: %+v, %v", got, err)
	}
	if all, _ := st.Snapshots(t.Context(), "operation"); len(all) != 1 {
		t.Errorf("%d operations, want 1", len(all))
	}
}

func (s suite) snapshots(t *testing.T) {
	st := s.fresh(t)
	load := func() store.State {
		t.Helper()
		got, err := st.Load(t.Context(), "m", "1")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if _, err := st.Load(t.Context(), "m", "1"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("an unknown machine: %v", err)
	}
	mustAppend(t, st, store.Append{Machine: "m", ID: "1", Snapshot: raw(`{"v":0}`)})
	if got := load(); got.Version != 0 || got.At != 0 || string(got.Snapshot) != `{"v":0}` || len(got.Tail) != 0 {
		t.Errorf("a snapshot without events: %+v", got)
	}
	mustAppend(t, st, store.Append{Machine: "m", ID: "1", Events: []drey.Event{event("m", "1", 1), event("m", "1", 2)}})
	if got := load(); got.Version != 2 || got.At != 0 || len(got.Tail) != 2 {
		t.Errorf("with a tail: %+v", got)
	}
	mustAppend(t, st, store.Append{Machine: "m", ID: "1", Expect: 2, Events: []drey.Event{event("m", "1", 3), event("x", "y", 4)}, Snapshot: raw(`{ "v" : 3.0 }`)})
	if got := load(); got.Version != 3 || got.At != 3 || string(got.Snapshot) != `{ "v" : 3.0 }` || len(got.Tail) != 0 {
		t.Errorf("with events, byte for byte: %+v", got)
	}
	mustAppend(t, st, store.Append{Machine: "m", ID: "1", Expect: 3, Events: []drey.Event{event("m", "1", 5)}})
	if got := load(); got.Version != 4 || got.At != 3 || len(got.Tail) != 1 || got.Tail[0].Seq != 5 {
		t.Errorf("the tail after it: %+v", got)
	}
}

func (s suite) allMachines(t *testing.T) {
	st := s.fresh(t)
	if all, err := st.Snapshots(t.Context(), "m"); err != nil || len(all) != 0 {
		t.Errorf("an unknown machine: %v, %v", all, err)
	}
	for i, id := range []string{"b", "a", "ä", "B", "c"} {
		a := store.Append{Machine: "m", ID: id, Events: []drey.Event{event("m", id, i)}}
		if id != "c" {
			a.Snapshot = raw(`%q`, id)
		}
		mustAppend(t, st, a)
		mustAppend(t, st, store.Append{Machine: "other", ID: id, Snapshot: raw(`0`)})
	}
	mustAppend(t, st, store.Append{Machine: "m", ID: "a", Expect: 1, Events: []drey.Event{event("m", "a", 9)}})
	all, err := st.Snapshots(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, got := range all {
		ids = append(ids, got.ID)
		one, err := st.Load(t.Context(), "m", got.ID)
		if diff := cmp.Diff(view(t, one), view(t, got)); err != nil || diff != "" {
			t.Errorf("%s: %v, (-Load +Snapshots):\n%s", got.ID, err, diff)
		}
	}
	if diff := cmp.Diff([]string{"B", "a", "b", "c", "ä"}, ids); diff != "" {
		t.Errorf("order of ids:\n%s", diff)
	}
}

func (s suite) machinePages(t *testing.T) {
	st := s.fresh(t)
	if page, err := st.SnapshotsAfter(t.Context(), "m", "", 10); err != nil || len(page) != 0 {
		t.Errorf("an unknown machine: %v, %v", page, err)
	}
	for i, id := range []string{"b", "a", "ä", "B", "c", "a b", "a-b", "0", "gone", "gone too", "a.b", "AB", "ab"} {
		a := store.Append{Machine: "m", ID: id, Events: []drey.Event{event("m", id, i), event("companion", id, i)}}
		if i%3 != 0 {
			a.Snapshot = raw(`%q`, id)
		}
		mustAppend(t, st, a)
		mustAppend(t, st, store.Append{Machine: "other", ID: id, Snapshot: raw(`0`)})
		if i%2 == 0 {
			mustAppend(t, st, store.Append{Machine: "m", ID: id, Expect: 1, Events: []drey.Event{event("m", id, i+20)}})
		}
	}
	for _, id := range []string{"gone", "gone too"} {
		mustAppend(t, st, store.Append{Machine: "m", ID: id, Expect: store.AnyVersion, Delete: true})
	}
	all, err := st.Snapshots(t.Context(), "m")
	if err != nil || len(all) != 11 {
		t.Fatalf("%d machines, %v; want 11", len(all), err)
	}
	for _, limit := range []int{1, 2, 5, 11, 0} {
		var got []store.State
		for after, walking := "", true; walking; {
			page, err := st.SnapshotsAfter(t.Context(), "m", after, limit)
			if err != nil {
				t.Fatal(err)
			}
			if want := min(store.PageLimit(limit), len(all)-len(got)); len(page) != want {
				t.Fatalf("a page of %d behind %q has %d machines, want %d", limit, after, len(page), want)
			}
			if got, walking = append(got, page...), len(page) > 0; walking {
				after = page[len(page)-1].ID
			}
		}
		for i := range all {
			if diff := cmp.Diff(view(t, all[i]), view(t, got[i])); diff != "" {
				t.Errorf("pages of %d (-Snapshots +SnapshotsAfter):\n%s", limit, diff)
			}
		}
	}
}

func (s suite) deletion(t *testing.T) {
	st := s.fresh(t)
	mustAppend(t, st, store.Append{Machine: "m", ID: "1", Events: []drey.Event{event("m", "1", 0), event("m", "1", 1)}, Snapshot: raw(`1`)})
	mustAppend(t, st, store.Append{Machine: "m", ID: "1", Expect: 2, Events: []drey.Event{event("m", "1", 2)}, Delete: true})
	if got, err := st.Load(t.Context(), "m", "1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after its deletion: %+v, %v", got, err)
	}
	if all, err := st.Snapshots(t.Context(), "m"); err != nil || len(all) != 0 {
		t.Errorf("among all: %+v, %v", all, err)
	}
	if rows := walkAll(t, st, store.Query{Machine: "m", ID: "1"}); len(rows) != 3 {
		t.Errorf("%d rows in the journal, want all 3", len(rows))
	}
	if _, err := st.Append(t.Context(), store.Append{Machine: "m", ID: "1", Expect: 3, Events: []drey.Event{event("m", "1", 3)}}); !errors.Is(err, store.ErrVersion) {
		t.Errorf("the version of its earlier life: %v", err)
	}
	mustAppend(t, st, store.Append{Machine: "m", ID: "1", Events: []drey.Event{event("m", "1", 4)}})
	if got, err := st.Load(t.Context(), "m", "1"); err != nil || got.Version != 1 || len(got.Tail) != 1 || got.Tail[0].Seq != 4 || got.Snapshot != nil {
		t.Errorf("its next life: %+v, %v", got, err)
	}
	mustAppend(t, st, store.Append{Machine: "m", ID: "never", Delete: true})
	if _, err := st.Load(t.Context(), "m", "never"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a deletion of nothing: %v", err)
	}
}
