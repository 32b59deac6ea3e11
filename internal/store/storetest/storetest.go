// Package storetest is the one suite that every backend of internal/store
// passes. A backend's test calls Run, and from its TestMain and one test the
// pair CrashChild and Crash; what it knows about itself alone (its files, its
// migrations, its errors) it tests beside.
package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// Opener opens the store that belongs to a directory. The first call for a
// directory makes the store; a later one opens the same again, also while an
// earlier handle is still open, as a process would that took over. Calls may
// come at the same time, for different directories.
type Opener func(ctx context.Context, dir string) (store.Store, error)

// Run runs the suite on the stores that open gives.
func Run(t *testing.T, open Opener) {
	s := suite{open}
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"events come back exactly", s.eventsComeBack},
		{"values are read before Submit returns", s.valuesAreRead},
		{"versions are compared", s.versions},
		{"appends of one call commit all or none", s.allOrNone},
		{"a bad append fails alone", s.badAlone},
		{"companion rows count for no version", s.companions},
		{"a snapshot with its tail", s.snapshots},
		{"all machines of a kind", s.allMachines},
		{"machines in pages", s.machinePages},
		{"a deleted machine begins again", s.deletion},
		{"filters", s.filters},
		{"pages", s.pages},
		{"a walk while others write", s.walk},
		{"answers come in the order of seq", s.order},
		{"one winner per version", s.contention},
		{"many writers", s.manyWriters},
		{"readers see whole commits", s.wholeCommits},
		{"cancelled contexts", s.cancelled},
		{"reopening", s.reopening},
		{"a newer handle supersedes", s.superseded},
		{"request rows", s.requests},
		{"pages of request rows", s.requestPages},
		{"request rows replace", s.requestReplace},
		{"counters", s.counters},
		{"captures", s.captures},
		{"captures keep within their bound", s.captureBound},
		{"retention of captures", s.captureRetention},
		{"retention of the journal", s.retention},
		{"retention of logs", s.logRetention},
		{"retention of request rows", s.requestRetention},
		{"a wrong clock", s.wrongClock},
		{"rollup", s.rollup},
		{"upkeep gives way at every chunk", s.upkeepGivesWay},
		{"upkeep beside writers", s.upkeepBeside},
		{"upkeep of a closed store", s.upkeepClosed},
		{"close", s.closing},
		{"the model", s.model},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(t)
		})
	}
}

type suite struct{ open Opener }

// fresh opens a new store and closes it at the end of the test.
func (s suite) fresh(t *testing.T) store.Store { return s.at(t, t.TempDir()) }

func (s suite) at(t *testing.T, dir string) store.Store {
	t.Helper()
	st, err := s.open(t.Context(), dir)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return st
}

// epochStart is when the events of the suite happen, unless a test says more.
var epochStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// event is an event of a machine, a second after the one before it.
func event(machine, id string, n int) drey.Event {
	return drey.Event{
		At: epochStart.Add(time.Duration(n) * time.Second), Name: "test.moved", Machine: machine, ID: id,
		From: "a", To: "b", Trigger: "go", Fields: []drey.Field{drey.F("n", n)},
	}
}

func mustAppend(t *testing.T, s store.Store, appends ...store.Append) store.Commit {
	t.Helper()
	c, err := s.Append(t.Context(), appends...)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return c
}

// text is the whole of an event as people and programs read it; two events are
// the same if it is.
func text(t interface{ Fatalf(string, ...any) }, e drey.Event) string {
	b, err := e.MarshalJSON()
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	return string(b)
}

func texts(t interface{ Fatalf(string, ...any) }, events []drey.Event) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = text(t, e)
	}
	return out
}

// stateView is a State in a form that can be compared and read.
type stateView struct {
	Machine, ID string
	Version     int64
	Snapshot    string
	At          drey.Seq
	Tail        []string
}

func view(t interface{ Fatalf(string, ...any) }, s store.State) stateView {
	return stateView{s.Machine, s.ID, s.Version, string(s.Snapshot), s.At, texts(t, s.Tail)}
}

// walkAll reads the whole journal in pages.
func walkAll(t *testing.T, s store.Store, q store.Query) []drey.Event {
	t.Helper()
	var out []drey.Event
	for {
		page, err := s.Query(t.Context(), q)
		if err != nil {
			t.Fatalf("query: %v", err)
		}
		out = append(out, page.Events...)
		if page.Next == 0 {
			return out
		}
		q.After = page.Next
	}
}

// together runs f n times at once and waits.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

func raw(format string, args ...any) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(format, args...))
}
