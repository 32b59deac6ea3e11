package cashier

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/spend"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/postgres/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(withServer{m}) }

// withServer runs the tests with a PostgreSQL server for those that want one.
type withServer struct{ *testing.M }

func (s withServer) Run() int { return pgtest.Main(s.M) }

// memory is a journal in memory that commits at once, or when it is told to.
type memory struct {
	mu       sync.Mutex
	held     bool  // commits wait for commit
	broken   error // commits are refused with it
	waiting  []func()
	head     drey.Seq
	snapshot json.RawMessage
	taken    int // snapshots
	tail     []drey.Event
	all      []drey.Event
}

func (j *memory) Submit(done func(store.Commit, error), appends ...store.Append) {
	j.mu.Lock()
	defer j.mu.Unlock()
	write := func() {
		if j.broken != nil {
			done(store.Commit{}, j.broken)
			return
		}
		first := j.head + 1
		for _, a := range appends {
			for _, ev := range a.Events {
				j.head++
				ev.Seq = j.head
				j.all = append(j.all, ev)
				if ev.Machine == a.Machine && ev.ID == a.ID {
					j.tail = append(j.tail, ev)
				}
			}
			if a.Snapshot != nil {
				j.snapshot, j.tail = a.Snapshot, nil
				j.taken++
			}
		}
		done(store.Commit{First: first, Last: j.head}, nil)
	}
	if j.held {
		j.waiting = append(j.waiting, write)
		return
	}
	write()
}

func (j *memory) Load(context.Context, string, string) (store.State, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.snapshot == nil && len(j.tail) == 0 {
		return store.State{}, store.ErrNotFound
	}
	return store.State{Snapshot: j.snapshot, Tail: j.tail}, nil
}

// commit writes the first n of what waits.
func (j *memory) commit(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, write := range j.waiting[:n] {
		write()
	}
	j.waiting = j.waiting[n:]
}

// names are those of the journaled events.
func (j *memory) names() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	for _, ev := range j.all {
		out = append(out, ev.Name)
	}
	return out
}

// bus remembers what it carried.
type bus struct {
	mu         sync.Mutex
	told, live []string
}

func (b *bus) Committed(evs ...drey.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ev := range evs {
		b.told = append(b.told, ev.Name)
	}
}

func (b *bus) Publish(evs ...drey.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ev := range evs {
		b.live = append(b.live, ev.Name)
	}
}

// open returns a cashier on a journal. Whatever was there before it is as if it
// had been killed.
func open(t testing.TB, j Journal, b Bus, p spend.Policy) *Cashier {
	t.Helper()
	c, err := New(context.Background(), Config{Journal: j, Bus: b}, p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// perDay is a policy that lets so much through each day.
func perDay(m spend.MicroUSD) spend.Policy {
	return spend.Policy{Global: spend.Limit{Day: spend.CapAt(m)}}
}

// asks is a reservation of the payer "p" of an amount.
func asks(m spend.MicroUSD) spend.Reserve {
	return spend.Reserve{Meta: spend.Meta{At: time.Now(), RequestID: "req_x"}, Payer: spend.Payer{Provider: "p"}, Amount: m}
}

// settles is the end of an attempt that cost so much.
func settles(t spend.Ticket, m spend.MicroUSD) spend.Settle {
	return spend.Settle{Meta: spend.Meta{At: time.Now()}, Ticket: t, Cost: m}
}

// today is what the global account has spent today, and holds.
func (c *Cashier) today() (spent, reserved spend.MicroUSD) {
	for _, b := range c.View(time.Now()).Budgets {
		if b.Scope.Kind == spend.Global && b.Period == spend.Day {
			return b.Spent, b.Reserved
		}
	}
	return 0, 0
}

// stands fails the test unless today's sums are these.
func (c *Cashier) stands(t *testing.T, when string, spent, reserved spend.MicroUSD) {
	t.Helper()
	if s, r := c.today(); s != spent || r != reserved {
		t.Errorf("%s: spent %s, held %s; want %s and %s", when, s, r, spent, reserved)
	}
}

var errDisk = errors.New("the disk is full")
