package events

import (
	"context"
	"errors"

	"github.com/dreyhq/drey"
)

// Errors that end a subscription.
var (
	// ErrOverflow: the reader is more than a whole buffer behind. It may come
	// back and resume after the last seq that it saw.
	ErrOverflow = errors.New("too far behind")
	// ErrEnded: the bus has ended; nothing more will come.
	ErrEnded = errors.New("ended")
)

// buffer is how many events a reader may be behind (design.md §9).
const buffer = 1024

// Subscription is one live reader. Next is for one goroutine.
type Subscription struct {
	bus  *Bus
	c    chan drey.Event
	done chan struct{}
	err  error // set before done is closed
}

// Subscribe returns a reader of everything that is delivered from now on.
func (b *Bus) Subscribe() *Subscription {
	s := &Subscription{bus: b, c: make(chan drey.Event, buffer), done: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		s.endLocked(ErrEnded)
		return s
	}
	b.subs[s] = struct{}{}
	return s
}

// Next returns the next event. It returns ErrOverflow or ErrEnded once what was
// buffered has been read, or ctx's error.
func (s *Subscription) Next(ctx context.Context) (drey.Event, error) {
	select {
	case ev := <-s.c:
		return ev, nil
	default:
	}
	select {
	case ev := <-s.c:
		return ev, nil
	case <-ctx.Done():
		return drey.Event{}, ctx.Err()
	case <-s.done:
		select { // what was offered before the end is still the reader's
		case ev := <-s.c:
			return ev, nil
		default:
			return drey.Event{}, s.err
		}
	}
}

// Close takes the reader off the bus.
func (s *Subscription) Close() {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	if _, ok := s.bus.subs[s]; ok {
		delete(s.bus.subs, s)
		s.endLocked(ErrEnded)
	}
}

// offerLocked gives the reader an event, or ends it if it is too far behind.
func (s *Subscription) offerLocked(ev drey.Event) {
	if s.err != nil {
		return
	}
	select {
	case s.c <- ev:
	default:
		s.endLocked(ErrOverflow)
	}
}

func (s *Subscription) endLocked(err error) {
	if s.err == nil {
		s.err = err
		close(s.done)
	}
}
