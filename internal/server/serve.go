package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// lastWords is how long handlers have, once their context is cancelled, to tell
// their callers before the connections are closed under them.
const lastWords = 500 * time.Millisecond

// Serve serves the agents' API and the control API on agents, and the control
// API alone on control, whose listeners are Unix sockets. It takes the
// listeners over and closes them. It is called once.
//
// It returns when everything that it started has ended: after ctx has ended, by
// which what is still under way is cancelled with ErrDraining, or when a
// listener fails. For a stop that lets answers end, call Drain first.
func (s *Server) Serve(ctx context.Context, agents, control []net.Listener) error {
	var serving sync.WaitGroup
	failed := make(chan error, len(agents)+len(control))
	start := func(srv *http.Server, l net.Listener) {
		serving.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", l.Addr(), err)
			}
		})
	}
	s.pausing.Lock()
	for _, l := range agents {
		p := newPausable(l)
		s.listeners = append(s.listeners, p)
		start(s.agents.Server, p)
	}
	for _, l := range control {
		p := newPausable(l)
		s.listeners = append(s.listeners, p)
		start(s.socket.Server, ownedListener(p))
	}
	s.pausing.Unlock()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.agents.shut()
	s.socket.shut()
	serving.Wait()
	s.end()
	return err
}

// end gives handlers time for their last words, closes every connection and
// waits for the handlers.
func (s *Server) end() {
	s.agents.cancel(ErrDraining)
	s.socket.cancel(ErrDraining)
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	var wg sync.WaitGroup
	for _, e := range []entrance{s.agents, s.socket} {
		wg.Go(func() {
			if e.Shutdown(ctx) != nil {
				_ = e.Close() // what remains is cut; there is nobody to tell
			}
		})
	}
	wg.Wait()
	<-s.handlers.close()
}

// shut closes the listeners and the connections that are idle. Whoever is in
// may stay.
func (e entrance) shut() {
	over, cancel := context.WithCancel(context.Background())
	cancel() // Shutdown then does its first round and does not wait
	_ = e.Shutdown(over)
}

// Drain closes the TCP doors and waits until no request of an agent is under
// way. The control API stays open on the socket, so that people can watch. When
// ctx ends first, Drain returns an error that says how many requests remain;
// Cancel ends those.
func (s *Server) Drain(ctx context.Context) error {
	idle := s.gate.close()
	s.agents.shut()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain: %d requests are still under way: %w", s.gate.inFlight(), context.Cause(ctx))
	}
}

// Cancel cuts everything that is under way behind the TCP doors, with a cause
// that callers are told; nil stands for ErrDraining. It does not wait.
func (s *Server) Cancel(cause error) {
	if cause == nil {
		cause = ErrDraining
	}
	s.agents.cancel(cause)
}

// InFlight returns how many requests of agents are under way.
func (s *Server) InFlight() int { return s.gate.inFlight() }

// gate counts the requests of agents that are under way.
type gate struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{} // made by close; closed once n is 0
}

// enter takes a place. It returns false if there are most of them taken, or
// nobody is let in any more.
func (g *gate) enter(most int) (ok, closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.n >= most {
		return false, g.closed
	}
	g.n++
	return true, false
}

// leave gives a place back.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.closed && g.n == 0 {
		close(g.idle)
	}
}

// close lets nobody in any more and returns a channel that is closed when the
// last one is out.
func (g *gate) close() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.closed, g.idle = true, make(chan struct{})
		if g.n == 0 {
			close(g.idle)
		}
	}
	return g.idle
}

func (g *gate) inFlight() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}
