package orchestrator

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// fact is a small thing that the journal keeps under a name: a binding, a
// fence. It is decided and published as operations are. The zero value but for
// its names is a fact that is not so.
type fact[T any] struct {
	machine, id string

	decided, seen  *T    // nil = it is not so
	version, saved int64 // in the journal: as decided, as published
	flight         []*ticket
	shown          func(*T) // makes it seen by readers, who hold Operations.mu; nil = they do not see it
}

// change is one change of a fact, within a ticket.
type change[T any] struct {
	f       *fact[T]
	to      *T
	version int64
}

// set changes a fact, nil = it is not so any more, with the event that says so.
func set[T any](t *turn, f *fact[T], to *T, ev drey.Event) error {
	ev.At, ev.Machine, ev.ID, ev.Cause = t.at, f.machine, f.id, t.cause
	a := store.Append{Machine: f.machine, ID: f.id, Expect: f.version, Events: []drey.Event{ev}}
	c := change[T]{f, to, f.version + 1}
	if to == nil {
		a.Delete, c.version = true, 0
	} else {
		snapshot, err := json.Marshal(to)
		if err != nil {
			return fmt.Errorf("%s %s: %w", f.machine, f.id, err)
		}
		a.Snapshot = snapshot
	}
	t.appends = append(t.appends, a)
	t.sets = append(t.sets, c)
	return nil
}

func (c change[T]) submitted(t *ticket) {
	c.f.decided, c.f.version = c.to, c.version
	c.f.flight = append(c.f.flight, t)
}

func (c change[T]) publish(t *ticket) {
	if len(c.f.flight) > 0 && c.f.flight[0] == t {
		c.f.flight = c.f.flight[1:]
	}
	c.f.seen, c.f.saved = c.to, c.version
	if c.f.shown != nil {
		c.f.shown(c.to)
	}
}

// errSettling says that a decision cannot be made before a fact is settled. The
// turn is refused with it when that is so, and may be tried again.
var errSettling = errors.New("a fact is being cleared")

// lookAt notes that a decision is made by what is decided of a fact: while that
// is in flight, what the turn writes asserts it. Nothing is decided by a fact
// that is being cleared: its versions begin again, so that if it is not cleared
// after all, what rests on that could not be told from what rests on the fact as
// it was.
func lookAt[T any](t *turn, f *fact[T]) error {
	if len(f.flight) == 0 {
		return nil
	}
	t.rests = append(t.rests, f.flight[len(f.flight)-1])
	if f.decided == nil {
		return errSettling
	}
	t.asserts = append(t.asserts, store.Append{Machine: f.machine, ID: f.id, Expect: f.version})
	return nil
}

func (c change[T]) takeBack(t *ticket) {
	for _, in := range c.f.flight {
		if in == t {
			c.f.flight, c.f.decided, c.f.version = nil, c.f.seen, c.f.saved
			return
		}
	}
}
