package main

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestStops(t *testing.T) {
	type state struct{ asked, hurried, overdue bool }
	for _, row := range []struct {
		name    string
		signals int
		wait    time.Duration
		want    state
	}{
		{"nobody asks", 0, time.Hour, state{}},
		{"one signal asks, and never hurries", 1, time.Hour, state{asked: true}},
		{"a second one hurries", 2, hurryLimit - 1, state{asked: true, hurried: true}},
		{"and has the limit at most", 2, hurryLimit, state{asked: true, hurried: true, overdue: true}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				signals := make(chan os.Signal, 2)
				overdue := make(chan struct{}, 1)
				s := stopOn(t.Context(), signals, func() { overdue <- struct{}{} })
				for range row.signals {
					signals <- os.Interrupt
				}
				time.Sleep(row.wait) // of the bubble's clock
				synctest.Wait()
				got := state{s.Asked.Err() != nil, s.Hurried.Err() != nil, len(overdue) > 0}
				if got != row.want {
					t.Errorf("got %+v, want %+v", got, row.want)
				}
				s.End() // the bubble fails if a goroutine is left
				if s.Asked.Err() == nil || s.Hurried.Err() == nil {
					t.Error("a context has outlived its listener")
				}
			})
		})
	}
}

// TestStopsOfAnEndedParent: the parent's end asks, and does not hurry.
func TestStopsOfAnEndedParent(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	s := stopOn(parent, nil, func() {})
	defer s.End()
	cancel()
	<-s.Asked.Done()
	if s.Hurried.Err() != nil {
		t.Error("hurried without a second signal")
	}
}
