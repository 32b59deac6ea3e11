package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"time"
)

// hurryLimit is how long a stop may take after the second signal. The contract
// (the gateway contract §15) gives it a second, and the exit itself needs some of it.
const hurryLimit = 900 * time.Millisecond

// stops is what a person who wants the program to end has asked for so far.
type stops struct {
	Asked   context.Context // ends with the first signal
	Hurried context.Context // ends with the second one
	end     func()
}

// stopOnSignals listens until End. overdue is called if the program is still
// there hurryLimit after the second signal.
func stopOnSignals(parent context.Context, overdue func()) *stops {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, stopSignals...)
	s := stopOn(parent, signals, overdue)
	end := s.end
	s.end = func() { signal.Stop(signals); end() }
	return s
}

func stopOn(parent context.Context, signals <-chan os.Signal, overdue func()) *stops {
	asked, ask := context.WithCancel(parent)
	hurried, hurry := context.WithCancel(context.WithoutCancel(parent))
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, next := range []func(){ask, hurry} {
			select {
			case <-signals:
				next()
			case <-ended:
				return
			}
		}
		select {
		case <-time.After(hurryLimit):
			overdue()
		case <-ended:
		}
	})
	return &stops{asked, hurried, func() { close(ended); wg.Wait(); ask(); hurry() }}
}

// End stops listening. It is called once.
func (s *stops) End() { s.end() }
