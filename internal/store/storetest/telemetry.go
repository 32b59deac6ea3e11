package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

func row(n int) store.RequestRow {
	return store.RequestRow{
		ID:       drey.RequestID(fmt.Sprintf("req_%03d", n)),
		At:       epochStart.Add(time.Duration(n/3) * time.Second), // three share a time
		Profile:  []string{"fast", "deep"}[n%2],
		Provider: []string{"a", "b", ""}[n%3],
		Outcome:  []string{"ok", "failed"}[n%5/4],
		Status:   200 + n,
		Row:      raw(`{"id":"req_%03d", "big":12345678901234567890,"text":"é\u0000"}`, n),
	}
}

func put(t *testing.T, st store.Store, rows ...store.RequestRow) {
	t.Helper()
	for _, r := range rows {
		st.PutRequest(r)
	}
	if err := st.Flush(t.Context()); err != nil {
		t.Fatalf("flush: %v", err)
	}
}

func (s suite) requests(t *testing.T) {
	st := s.fresh(t)
	if _, err := st.Request(t.Context(), "req_000"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an unknown request: %v", err)
	}
	if page, err := st.Requests(t.Context(), store.RequestQuery{}); err != nil || len(page.Rows) != 0 || page.Next != "" {
		t.Errorf("an empty store: %+v, %v", page, err)
	}
	var rows []store.RequestRow
	for n := range 30 {
		rows = append(rows, row(n))
	}
	put(t, st, rows...)
	for _, want := range rows {
		got, err := st.Request(t.Context(), want.ID)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-put +got):\n%s", want.ID, err, diff)
		}
	}
	newest := slices.Clone(rows)
	slices.Reverse(newest) // ids rise with the time
	for _, tt := range []struct {
		name string
		q    store.RequestQuery
		keep func(store.RequestRow) bool
	}{
		{"all", store.RequestQuery{}, func(store.RequestRow) bool { return true }},
		{"profile", store.RequestQuery{Profile: "fast"}, func(r store.RequestRow) bool { return r.Profile == "fast" }},
		{"provider", store.RequestQuery{Provider: "b"}, func(r store.RequestRow) bool { return r.Provider == "b" }},
		{"outcome", store.RequestQuery{Outcome: "failed"}, func(r store.RequestRow) bool { return r.Outcome == "failed" }},
		{"since is inclusive", store.RequestQuery{Since: epochStart.Add(4 * time.Second)}, func(r store.RequestRow) bool { return !r.At.Before(epochStart.Add(4 * time.Second)) }},
		{"several", store.RequestQuery{Profile: "deep", Provider: "a", Outcome: "ok"}, func(r store.RequestRow) bool {
			return r.Profile == "deep" && r.Provider == "a" && r.Outcome == "ok"
		}},
		{"nothing", store.RequestQuery{Profile: "none"}, func(store.RequestRow) bool { return false }},
	} {
		var want []store.RequestRow
		for _, r := range newest {
			if tt.keep(r) {
				want = append(want, r)
			}
		}
		page, err := st.Requests(t.Context(), tt.q)
		if diff := cmp.Diff(want, page.Rows); err != nil || diff != "" || page.Next != "" {
			t.Errorf("%s: %v, next %q (-want +got):\n%s", tt.name, err, page.Next, diff)
		}
	}
	if st.Dropped() != 0 {
		t.Errorf("%d rows were dropped", st.Dropped())
	}
}

func (s suite) requestPages(t *testing.T) {
	st := s.fresh(t)
	var all []store.RequestRow
	for n := range 50 {
		all = append(all, row(n))
	}
	put(t, st, all...)
	for _, limit := range []int{1, 7, 50} {
		seen := map[drey.RequestID]int{}
		q := store.RequestQuery{Limit: limit}
		for added := 100; ; added++ {
			page, err := st.Requests(t.Context(), q)
			if err != nil || len(page.Rows) > limit {
				t.Fatalf("limit %d: %d rows, %v", limit, len(page.Rows), err)
			}
			for _, r := range page.Rows {
				seen[r.ID]++
			}
			if page.Next == "" {
				break
			}
			q.Before = page.Next
			put(t, st, row(added)) // newer ones come while the walk goes on
		}
		for _, r := range all {
			if seen[r.ID] != 1 {
				t.Errorf("limit %d: %s was seen %d times", limit, r.ID, seen[r.ID])
			}
		}
	}
	for _, cursor := range []string{"x", "!!", "bm90IG9uZQ"} {
		if _, err := st.Requests(t.Context(), store.RequestQuery{Before: cursor}); !errors.Is(err, store.ErrCursor) {
			t.Errorf("cursor %q: %v, want ErrCursor", cursor, err)
		}
	}
}

func (s suite) requestReplace(t *testing.T) {
	st := s.fresh(t)
	first, second := row(1), row(1)
	second.Outcome, second.Row = "cancel", nil
	put(t, st, first, row(2))
	put(t, st, second)
	got, err := st.Request(t.Context(), first.ID)
	if diff := cmp.Diff(second, got); err != nil || diff != "" {
		t.Errorf("%v (-put +got):\n%s", err, diff)
	}
	if page, _ := st.Requests(t.Context(), store.RequestQuery{}); len(page.Rows) != 2 {
		t.Errorf("%d rows, want 2", len(page.Rows))
	}
}

func (s suite) counters(t *testing.T) {
	dir := t.TempDir()
	want := map[string]float64{}
	for n := range 3 {
		st, err := s.open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		got, err := st.LoadCounters(t.Context())
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("opening %d: %v (-want +got):\n%s", n, err, diff)
		}
		st.AddCounters(map[string]float64{"a": 1, "nan": math.NaN(), "inf": math.Inf(1)})
		st.AddCounters(map[string]float64{"a": 0.5, "b": float64(n)})
		want["a"] += 1.5
		want["b"] += float64(n)
		got, err = st.LoadCounters(t.Context())
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("opening %d, after adding: %v (-want +got):\n%s", n, err, diff)
		}
		st.AddCounters(map[string]float64{"late": 2}) // left to Close
		want["late"] += 2
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func (s suite) closing(t *testing.T) {
	dir := t.TempDir()
	st, err := s.open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	const n = 500
	answered := 0
	for i := range n {
		st.Submit(func(_ store.Commit, err error) {
			if err == nil {
				answered++
			}
		}, store.Append{Machine: "m", ID: "1", Expect: int64(i), Events: []drey.Event{event("m", "1", i)}})
		st.PutRequest(row(i))
	}
	var inside error
	st.Submit(func(store.Commit, error) { // while Close waits for it, and after
		st.Submit(func(_ store.Commit, err error) { inside = err }, store.Append{Machine: "m", ID: "2"})
	}, store.Append{Machine: "m", ID: "2"})
	together(3, func(int) {
		if err := st.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if answered != n {
		t.Errorf("%d of %d appends were answered by Close", answered, n)
	}
	if inside != nil && !errors.Is(inside, store.ErrClosed) {
		t.Errorf("submitted by an answer while the store closes: %v", inside)
	}
	ctx := context.Background()
	for name, call := range map[string]func() error{
		"append":        func() error { _, err := st.Append(ctx, store.Append{Machine: "m", ID: "1"}); return err },
		"query":         func() error { _, err := st.Query(ctx, store.Query{}); return err },
		"load":          func() error { _, err := st.Load(ctx, "m", "1"); return err },
		"snapshots":     func() error { _, err := st.Snapshots(ctx, "m"); return err },
		"head":          func() error { _, err := st.Head(ctx); return err },
		"requests":      func() error { _, err := st.Requests(ctx, store.RequestQuery{}); return err },
		"request":       func() error { _, err := st.Request(ctx, "req_1"); return err },
		"captures":      func() error { _, err := st.Captures(ctx, store.CaptureQuery{}); return err },
		"capture":       func() error { _, err := st.Capture(ctx, "req_1"); return err },
		"flush":         func() error { return st.Flush(ctx) },
		"load counters": func() error { _, err := st.LoadCounters(ctx); return err },
		"submit": func() (got error) {
			st.Submit(func(_ store.Commit, err error) { got = err }, store.Append{Machine: "m", ID: "1"})
			return got
		},
	} {
		if err := call(); !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", name, err)
		}
	}
	st.PutRequest(row(1))
	st.AddCounters(map[string]float64{"a": 1})
	st.PutCapture(store.Capture{ID: "req_1"}, 0)
	if st.Dropped() != 2 {
		t.Errorf("dropped %d, want 2", st.Dropped())
	}
	again := s.at(t, dir)
	if head, err := again.Head(t.Context()); err != nil || head != n {
		t.Errorf("head %d, %v; want %d", head, err, n)
	}
	if page, err := again.Requests(t.Context(), store.RequestQuery{Limit: 1000}); err != nil || len(page.Rows) != n {
		t.Errorf("%d rows, %v; want %d", len(page.Rows), err, n)
	}
}
