package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// captureOf is the n-th capture of a test, of so many bytes.
func captureOf(n, bytes int) store.Capture {
	whole := fmt.Sprintf(`{"id":"req_%03d","text":"é\u0000`, n)
	whole += strings.Repeat("x", max(0, bytes-len(whole)-2)) + `"}`
	return store.Capture{
		ID: drey.RequestID(fmt.Sprintf("req_%03d", n)), At: epochStart.Add(time.Duration(n/3) * time.Second), // three share a time
		Profile: "fast", Provider: []string{"a", ""}[n%2], Outcome: "failed", Bytes: int64(len(whole)), Whole: []byte(whole),
	}
}

func putCaptures(t *testing.T, st store.Store, most int64, captures ...store.Capture) {
	t.Helper()
	for _, c := range captures {
		c.Bytes = 0 // the store's own business
		st.PutCapture(c, most)
	}
	if err := st.Flush(t.Context()); err != nil {
		t.Fatalf("flush: %v", err)
	}
}

// captureIDs walks the list in pages, newest first.
func captureIDs(t *testing.T, st store.Store, limit int) []string {
	t.Helper()
	ids := []string{}
	q := store.CaptureQuery{Limit: limit}
	for {
		page, err := st.Captures(t.Context(), q)
		if err != nil || limit > 0 && len(page.Captures) > limit {
			t.Fatalf("%d captures, %v", len(page.Captures), err)
		}
		for _, c := range page.Captures {
			ids = append(ids, string(c.ID))
			if c.Whole != nil {
				t.Errorf("%s: the list holds the whole", c.ID)
			}
		}
		if q.Before = page.Next; page.Next == "" {
			return ids
		}
	}
}

func (s suite) captures(t *testing.T) {
	dir := t.TempDir()
	st := s.at(t, dir)
	if _, err := st.Capture(t.Context(), "req_000"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an unknown capture: %v", err)
	}
	if got := captureIDs(t, st, 0); len(got) != 0 {
		t.Errorf("an empty store: %q", got)
	}
	var all []store.Capture
	var newest []string
	for n := range 20 {
		all = append(all, captureOf(n, 200))
		newest = append(newest, string(all[n].ID))
	}
	slices.Reverse(newest)
	putCaptures(t, st, 0, all...)
	for _, want := range all {
		got, err := st.Capture(t.Context(), want.ID)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-put +got):\n%s", want.ID, err, diff)
		}
	}
	for _, limit := range []int{0, 1, 7, 20} {
		if diff := cmp.Diff(newest, captureIDs(t, st, limit)); diff != "" {
			t.Errorf("limit %d (-want +got):\n%s", limit, diff)
		}
	}
	if _, err := st.Captures(t.Context(), store.CaptureQuery{Before: "x"}); !errors.Is(err, store.ErrCursor) {
		t.Errorf("a cursor that is none: %v", err)
	}
	again := captureOf(3, 500)
	again.Outcome = "ok"
	putCaptures(t, st, 0, again)
	got, err := st.Capture(t.Context(), again.ID)
	if diff := cmp.Diff(again, got); err != nil || diff != "" {
		t.Errorf("replaced: %v (-put +got):\n%s", err, diff)
	}
	if n := len(captureIDs(t, st, 0)); n != 20 {
		t.Errorf("%d captures after one was replaced, want 20", n)
	}
	if page, err := st.Requests(t.Context(), store.RequestQuery{}); err != nil || len(page.Rows) != 0 {
		t.Errorf("captures are no request rows: %d, %v", len(page.Rows), err)
	}
}

// captureBound: the oldest by their time go, whatever the order in which they
// came, and the sum is right after a restart and a replacement too.
func (s suite) captureBound(t *testing.T) {
	dir := t.TempDir()
	st, err := s.open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	const size = 1000
	var first []store.Capture
	for n := range 150 { // more than one step removes
		first = append(first, captureOf(n, size))
	}
	putCaptures(t, st, 0, first...)
	putCaptures(t, st, 10*size, captureOf(200, size), captureOf(5, size)) // the second is old, and there already
	want := []string{"req_200", "req_149", "req_148", "req_147", "req_146", "req_145", "req_144", "req_143", "req_142", "req_141"}
	if diff := cmp.Diff(want, captureIDs(t, st, 0)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	putCaptures(t, st, 10*size, captureOf(145, size)) // in its own place
	if diff := cmp.Diff(want, captureIDs(t, st, 0)); diff != "" {
		t.Errorf("after a replacement (-want +got):\n%s", diff)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = s.at(t, dir)
	putCaptures(t, st, 10*size, captureOf(201, 3*size))
	want = append([]string{"req_201"}, want[:7]...)
	if diff := cmp.Diff(want, captureIDs(t, st, 0)); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	putCaptures(t, st, size, captureOf(202, 2*size)) // larger than everything may be
	if got := captureIDs(t, st, 0); len(got) != 0 {
		t.Errorf("one that is too large: %q", got)
	}
}

func (s suite) captureRetention(t *testing.T) {
	st := s.fresh(t)
	for n := range 100 {
		putCaptures(t, st, 0, captureOf(3*n, 1000)) // a second apart
	}
	if got := prune(t, st, store.Retention{}); got.Captures != 0 {
		t.Errorf("no bound: %+v", got)
	}
	if got := prune(t, st, store.Retention{Before: at(80)}); got.Captures != 80 {
		t.Errorf("by age: %+v, want 80", got)
	}
	if got := prune(t, st, store.Retention{Before: at(80), Captures: 5500}); got.Captures != 15 {
		t.Errorf("by size: %+v, want 15", got)
	}
	want := []string{"req_297", "req_294", "req_291", "req_288", "req_285"}
	if diff := cmp.Diff(want, captureIDs(t, st, 0)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := prune(t, st, store.Retention{Before: at(80), Captures: 5500}); got.Captures != 0 {
		t.Errorf("again: %+v", got)
	}
	sound(t, st)
}
