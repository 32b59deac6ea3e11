package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
)

// stopper turns the first signal into the end of a context and the second into
// hurry.
type stopper struct {
	signals chan os.Signal
	first   chan struct{}
	second  chan struct{}
	done    chan struct{}
	once    sync.Once
}

// stopSignals begins to listen. hurry is closed by the second signal.
func stopSignals() (s *stopper, hurry <-chan struct{}) {
	s = &stopper{
		signals: make(chan os.Signal, 2), first: make(chan struct{}), second: make(chan struct{}), done: make(chan struct{}),
	}
	signal.Notify(s.signals, stopOn...)
	return s, s.second
}

// watch runs until the second signal or the end.
func (s *stopper) watch() {
	for _, next := range []chan struct{}{s.first, s.second} {
		select {
		case <-s.signals:
			close(next)
		case <-s.done:
			return
		}
	}
}

// context returns one that the first signal ends.
func (s *stopper) context(parent context.Context) context.Context {
	ctx, cancel := context.WithCancel(parent)
	go func() {
		defer cancel()
		select {
		case <-s.first:
		case <-s.done:
		case <-ctx.Done():
		}
	}()
	return ctx
}

// end stops listening.
func (s *stopper) end() { s.once.Do(func() { close(s.done) }) }
