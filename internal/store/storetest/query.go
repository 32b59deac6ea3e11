package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

func seqs(events []drey.Event) []drey.Seq {
	out := []drey.Seq{}
	for _, e := range events {
		out = append(out, e.Seq)
	}
	return out
}

func (s suite) filters(t *testing.T) {
	st := s.fresh(t)
	at := func(n int) time.Time { return epochStart.Add(time.Duration(n) * time.Second) }
	for i, e := range []drey.Event{
		{At: at(1), Name: "self-healing-exclude", Machine: "provider", ID: "a", RequestID: "req_1"},
		{At: at(2), Name: "self-healing-restart", Machine: "provider", ID: "b"},
		{At: at(2), Name: "operation.running", Machine: "operation", ID: "a"},
		{At: at(1), Name: "operation.progress", Machine: "operation", ID: "a", RequestID: "req_1"}, // late
		{At: at(4), Name: "state_transition", Machine: "lifecycle"},
		{At: at(5), Name: "self-healing-restore", Machine: "provider", ID: "a", RequestID: "req_2"},
		{At: at(6).Add(time.Microsecond), Name: "a[b]c", Machine: "provider", ID: "a"},
	} {
		mustAppend(t, st, store.Append{Machine: e.Machine, ID: e.ID, Expect: store.AnyVersion, Events: []drey.Event{e}})
		if head, err := st.Head(t.Context()); err != nil || head != drey.Seq(i+1) {
			t.Fatalf("head %d, %v", head, err)
		}
	}
	for _, tt := range []struct {
		name string
		q    store.Query
		want []drey.Seq
	}{
		{"all", store.Query{}, []drey.Seq{1, 2, 3, 4, 5, 6, 7}},
		{"after", store.Query{After: 5}, []drey.Seq{6, 7}},
		{"after the end", store.Query{After: 70}, nil},
		{"machine", store.Query{Machine: "provider"}, []drey.Seq{1, 2, 6, 7}},
		{"unknown machine", store.Query{Machine: "x"}, nil},
		{"machine and id", store.Query{Machine: "provider", ID: "a"}, []drey.Seq{1, 6, 7}},
		{"unknown id", store.Query{Machine: "provider", ID: "x"}, nil},
		{"id of any machine", store.Query{ID: "a"}, []drey.Seq{1, 3, 4, 6, 7}},
		{"request", store.Query{RequestID: "req_1"}, []drey.Seq{1, 4}},
		{"request and machine", store.Query{RequestID: "req_1", Machine: "operation"}, []drey.Seq{4}},
		{"name", store.Query{Event: "operation.running"}, []drey.Seq{3}},
		{"glob", store.Query{Event: "self-healing-*"}, []drey.Seq{1, 2, 6}},
		{"glob with a question mark", store.Query{Event: "operation.?rogress"}, []drey.Seq{4}},
		{"glob in the middle", store.Query{Event: "*heal*re*"}, []drey.Seq{2, 6}},
		{"a bracket is a bracket", store.Query{Event: "a[b]?"}, []drey.Seq{7}},
		{"case counts", store.Query{Event: "SELF*"}, nil},
		{"glob and machine and after", store.Query{Event: "self*", Machine: "provider", ID: "a", After: 1}, []drey.Seq{6}},
		{"since is inclusive", store.Query{Since: at(2)}, []drey.Seq{2, 3, 5, 6, 7}},
		{"until is exclusive", store.Query{Until: at(4)}, []drey.Seq{1, 2, 3, 4}},
		{"a span", store.Query{Since: at(2), Until: at(5)}, []drey.Seq{2, 3, 5}},
		{"a span of a machine", store.Query{Machine: "operation", Since: at(2), Until: at(5)}, []drey.Seq{3}},
		{"nanoseconds round up", store.Query{Since: at(6).Add(time.Nanosecond)}, []drey.Seq{7}},
		{"until a nanosecond later", store.Query{Since: at(6), Until: at(6).Add(time.Microsecond + 1)}, []drey.Seq{7}},
		{"newest", store.Query{Newest: true, Limit: 2}, []drey.Seq{6, 7}},
		{"newest of a machine", store.Query{Newest: true, Limit: 2, Machine: "operation"}, []drey.Seq{3, 4}},
		{"newest of fewer", store.Query{Newest: true, Limit: 5, RequestID: "req_1"}, []drey.Seq{1, 4}},
		{"newest after", store.Query{Newest: true, Limit: 5, After: 5}, []drey.Seq{6, 7}},
		{"newest in a span", store.Query{Newest: true, Limit: 1, Until: at(2)}, []drey.Seq{4}},
	} {
		page, err := st.Query(t.Context(), tt.q)
		if tt.want == nil {
			tt.want = []drey.Seq{}
		}
		if diff := cmp.Diff(tt.want, seqs(page.Events)); err != nil || diff != "" || page.Next != 0 || page.AsOf != 7 {
			t.Errorf("%s: %v, next %d, as of %d (-want +got):\n%s", tt.name, err, page.Next, page.AsOf, diff)
		}
	}
}

func (s suite) pages(t *testing.T) {
	st := s.fresh(t)
	var a store.Append
	for i := range 1100 {
		a.Events = append(a.Events, event("m", fmt.Sprint(i%2), i))
	}
	if page, err := st.Query(t.Context(), store.Query{}); err != nil || len(page.Events) != 0 || page.Next != 0 || page.AsOf != 0 {
		t.Errorf("an empty journal: %+v, %v", page, err)
	}
	mustAppend(t, st, a)
	for _, tt := range []struct {
		limit, want int
		next        drey.Seq
	}{{0, 100, 100}, {-1, 100, 100}, {1, 1, 1}, {1000, 1000, 1000}, {5000, 1000, 1000}} {
		page, err := st.Query(t.Context(), store.Query{Limit: tt.limit})
		if err != nil || len(page.Events) != tt.want || page.Next != tt.next || page.AsOf != 1100 {
			t.Errorf("limit %d: %d events, next %d, as of %d, %v", tt.limit, len(page.Events), page.Next, page.AsOf, err)
		}
	}
	page, err := st.Query(t.Context(), store.Query{After: 1000, Limit: 100})
	if err != nil || len(page.Events) != 100 || page.Next != 0 {
		t.Errorf("a full last page: %d events, next %d, %v", len(page.Events), page.Next, err)
	}
	if got := walkAll(t, st, store.Query{Machine: "m", ID: "1", Limit: 7}); len(got) != 550 {
		t.Errorf("a walk over one machine: %d events, want 550", len(got))
	}
}

func (s suite) walk(t *testing.T) {
	st := s.fresh(t)
	const before = 200
	var a store.Append
	for i := range before {
		a.Events = append(a.Events, event("m", "1", i))
	}
	mustAppend(t, st, a)
	ctx, stop := context.WithCancel(t.Context())
	wrote := make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			_, err := st.Append(ctx, store.Append{Machine: "m", ID: "2", Expect: store.AnyVersion, Events: []drey.Event{event("m", "2", i)}})
			if err != nil {
				wrote <- err
				return
			}
		}
	}()
	var got []drey.Seq
	q := store.Query{Machine: "m", Limit: 7}
	for len(got) < before+50 { // past what was there, among what is being written
		page, err := st.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(page.Events); n > 0 {
			q.After = page.Events[n-1].Seq
			if page.AsOf < q.After {
				t.Fatalf("a page as of %d holds %d", page.AsOf, q.After)
			}
		}
		got = append(got, seqs(page.Events)...)
	}
	stop()
	if err := <-wrote; !errors.Is(err, context.Canceled) {
		t.Errorf("writer: %v", err)
	}
	for i, seq := range got {
		if seq != drey.Seq(i+1) {
			t.Fatalf("event %d of the walk is seq %d", i+1, seq)
		}
	}
	if !slices.IsSorted(got) {
		t.Error("the walk is out of order")
	}
}
