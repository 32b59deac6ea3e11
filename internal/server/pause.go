package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/gateway"
	"github.com/dreyhq/drey/internal/route"
)

// unsaid is how long a connection that was accepted may take to say what it
// wants while the doors pause. One that is silent for longer was opened in
// advance, and its client opens another. Source: net/http's Shutdown.
const unsaid = 5 * time.Second

// ErrHibernating is the cause with which live events end before HIBERNATION.
var ErrHibernating = &drey.Error{
	Class: drey.Cancel, Code: "hibernating", Op: "serve", Hint: "the next request wakes it",
	Err: errors.New("drey goes into hibernation"),
}

// Pause stops accepting connections and returns when nothing is under way
// behind any door but live events; what was accepted is served. The sockets
// stay open, so that whoever comes waits in their backlog. When ctx ends first,
// Pause accepts again and returns its error. (The lifecycle contract §7.5, 1
// and 2.)
func (s *Server) Pause(ctx context.Context) error {
	s.pausing.Lock()
	defer s.pausing.Unlock()
	for _, l := range s.listeners {
		l.pause()
	}
	for _, e := range []entrance{s.agents, s.socket} {
		e.SetKeepAlivesEnabled(false) // closes the connections that are idle
	}
	err := s.quiet(ctx)
	if err != nil {
		s.resume()
	}
	return err
}

// Resume accepts again.
func (s *Server) Resume() {
	s.pausing.Lock()
	defer s.pausing.Unlock()
	s.resume()
}

func (s *Server) resume() {
	for _, e := range []entrance{s.agents, s.socket} {
		e.SetKeepAlivesEnabled(true)
	}
	for _, l := range s.listeners {
		l.resume()
	}
}

// quiet waits until no connection is left that brings a request. First those
// that have said nothing yet become requests, then the requests end; new ones
// of either cannot come, because nobody is accepted.
func (s *Server) quiet(ctx context.Context) error {
	silent, cancel := context.WithTimeout(ctx, unsaid)
	defer cancel()
	if s.conns.fresh.wait(silent) != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := s.conns.active.wait(ctx); err != nil {
		return fmt.Errorf("pause: %d requests are still under way: %w", s.conns.active.count(), err)
	}
	return nil
}

// Farewell tells those who follow live events that the process goes into
// HIBERNATION, and ends their streams.
func (s *Server) Farewell() { s.leave(ErrHibernating) }

// connections counts those that may bring a request, by what they have said.
type connections struct {
	fresh  tally    // accepted, and nothing has been said yet
	active tally    // a request is under way
	state  sync.Map // net.Conn → *tally in which it is counted; absent = idle
}

// watch is http.Server's ConnState.
func (c *connections) watch(conn net.Conn, state http.ConnState) {
	var into *tally
	switch state {
	case http.StateNew:
		into = &c.fresh
	case http.StateActive:
		into = &c.active
	}
	if into != nil { // first into the next and then out of the last, so that it is never in none
		into.add(1)
	}
	if was, ok := c.state.LoadAndDelete(conn); ok {
		was.(*tally).add(-1)
	}
	if into != nil {
		c.state.Store(conn, into)
	}
}

// tally counts what is there, and lets others wait until nothing is.
type tally struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when n falls to 0; nil = nobody waits
}

func (t *tally) add(d int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n += d; t.n == 0 && t.none != nil {
		close(t.none)
		t.none = nil
	}
}

func (t *tally) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

func (t *tally) wait(ctx context.Context) error {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return nil
	}
	if t.none == nil {
		t.none = make(chan struct{})
	}
	none := t.none
	t.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pausable is a listener that can stop accepting without closing its socket.
type pausable struct {
	net.Listener
	mu      sync.Mutex
	cond    *sync.Cond
	paused  bool
	closed  bool
	accepts bool // an Accept of the socket is under way
}

func newPausable(l net.Listener) *pausable {
	p := &pausable{Listener: l}
	p.cond = sync.NewCond(&p.mu)
	return p
}

// deadliner is what TCP and Unix listeners have.
type deadliner interface{ SetDeadline(time.Time) error }

// Accept is called by one goroutine, http.Server's.
func (p *pausable) Accept() (net.Conn, error) {
	for {
		p.mu.Lock()
		for p.paused && !p.closed {
			p.cond.Wait()
		}
		if p.closed {
			p.mu.Unlock()
			return nil, net.ErrClosed
		}
		p.accepts = true
		p.mu.Unlock()

		c, err := p.Listener.Accept()

		p.mu.Lock()
		p.accepts = false
		p.cond.Broadcast()
		p.mu.Unlock()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue // pause has set it, and nobody else does
		}
		return c, err
	}
}

// pause returns when no connection can be accepted any more.
func (p *pausable) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = true
	if d, ok := p.Listener.(deadliner); ok {
		_ = d.SetDeadline(time.Unix(1, 0)) // wakes an Accept that waits; a closed listener has none
	}
	for p.accepts && !p.closed {
		p.cond.Wait()
	}
}

func (p *pausable) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d, ok := p.Listener.(deadliner); ok {
		_ = d.SetDeadline(time.Time{})
	}
	p.paused = false
	p.cond.Broadcast()
}

// Close closes our descriptor; the socket lives on in whoever else holds it.
func (p *pausable) Close() error {
	p.mu.Lock()
	p.closed = true
	p.cond.Broadcast()
	p.mu.Unlock()
	return p.Listener.Close()
}

// RefuseAll answers whatever comes to listeners with 503 and the cause, in the
// caller's own wire, until ctx ends: for a start that failed while somebody
// waits (the lifecycle contract §7.3). It closes the listeners.
func RefuseAll(ctx context.Context, cause error, listeners ...net.Listener) {
	srv := &http.Server{
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			v := &visit{ResponseWriter: w, r: r, id: newRequestID(), at: time.Now()}
			v.path, v.profile = cutProfile(r.URL.Path)
			v.control = v.isControl()
			message := "drey cannot start: " + told(cause)
			if v.control {
				controlError(w, v.id, http.StatusServiceUnavailable, api.Error{Code: api.CodeNotStarted, Message: message})
				return
			}
			v.refuse(&gateway.Refusal{Case: route.CaseNoProvider, Message: message, Header: closing()})
		}),
	}
	var wg sync.WaitGroup
	for _, l := range listeners {
		wg.Go(func() { _ = srv.Serve(l) })
	}
	<-ctx.Done()
	_ = srv.Close()
	wg.Wait()
}
