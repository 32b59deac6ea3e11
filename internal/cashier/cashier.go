// Package cashier keeps the money of a home: it owns the one spend.Machine,
// writes its rows to the journal, and is asked before a paid attempt leaves.
package cashier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/spend"
	"github.com/dreyhq/drey/internal/store"
)

// Journal is what the cashier needs of the store.
type Journal interface {
	Submit(done func(store.Commit, error), appends ...store.Append)
	Load(ctx context.Context, machine, id string) (store.State, error)
}

// Bus is the way of events; internal/events has one.
type Bus interface {
	// Committed shows journaled events to every reader, the audit log included.
	Committed(evs ...drey.Event)
	// Publish shows events to live readers alone.
	Publish(evs ...drey.Event)
}

// Config is what a cashier works with. Journal and Bus are required.
type Config struct {
	Journal Journal
	Bus     Bus
	Log     *slog.Logger // nil = nothing is said
}

// snapshotEvery is how many rows may follow a snapshot. A start replays no more
// than so many, in a few milliseconds.
const snapshotEvery = 1000

// ErrNotWritten is wrapped by the error of a reservation that the journal did
// not take: the attempt may not leave.
var ErrNotWritten = errors.New("the reservation could not be written down")

// Cashier owns the machine of the budgets. Its methods may be called
// concurrently; New, Reserve and Serve wait for the journal, the others never
// do.
//
// Rows stand in the journal in the order in which the machine took them, since
// each is submitted before mu is given back. The store may answer before Submit
// returns, so that what it calls back takes no lock of the cashier's.
type Cashier struct {
	cfg    Config
	policy atomic.Pointer[policy]

	mu      sync.Mutex
	machine spend.Machine
	rows    int // submitted by this process
}

// policy is the budgets in force.
type policy struct {
	spend.Policy
	any bool // there is one
}

// New takes up what the journal holds: the snapshot, the rows since, and the
// reservations that were open when the last process ended. Those are settled in
// full, and that is durable when New returns. What cannot be read is dropped
// with one event state-dropped, and the sums begin again.
func New(ctx context.Context, cfg Config, p spend.Policy) (*Cashier, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cashier{cfg: cfg}
	c.Apply(p)
	state, err := cfg.Journal.Load(ctx, spend.MachineName, spend.MachineID)
	if errors.Is(err, store.ErrNotFound) {
		return c, nil
	}
	if err == nil {
		err = c.takeUp(ctx, state)
	}
	if err != nil {
		return nil, fmt.Errorf("take up the budgets: %w", err)
	}
	return c, nil
}

// Apply puts the budgets of a configuration in force. Requests under way are
// held to them from their next attempt on; what is spent and reserved stays.
func (c *Cashier) Apply(p spend.Policy) {
	c.policy.Store(&policy{p, p.Any()})
}

// Any reports whether there is a budget at all.
func (c *Cashier) Any() bool { return c.policy.Load().any }

// InForce reports whether some budget reaches over the payer's attempts.
func (c *Cashier) InForce(p spend.Payer) bool {
	now := c.policy.Load()
	return now.any && now.InForce(p)
}

// Check returns why the budgets have no room for an attempt; nil if they have.
// It holds nothing and promises nothing: Reserve decides.
func (c *Cashier) Check(r spend.Reserve) *spend.Refusal {
	if !c.InForce(r.Payer) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	refusal := c.machine.Check(r, c.policy.Load().Policy)
	c.tellLocked(refusal)
	return refusal
}

// Reserve holds what an attempt may cost on every account of its payer, and
// returns when that is durable. Where no budget is in force it holds nothing
// and returns at once. The error is a *spend.Refusal where there is no room,
// the cause of ctx's end, or one that is ErrNotWritten; then nothing is held.
//
// A ticket is settled once, also one that holds nothing.
func (c *Cashier) Reserve(ctx context.Context, r spend.Reserve) (spend.Ticket, error) {
	if !c.InForce(r.Payer) {
		return spend.Ticket{Payer: r.Payer}, nil
	}
	written := make(chan error, 1)
	ticket, err := c.reserve(r, written)
	if err != nil || ticket.ID == 0 {
		return ticket, err
	}
	ending := spend.Failed
	select {
	case err = <-written:
		if err == nil {
			return ticket, nil
		}
		err = fmt.Errorf("%w: %w", ErrNotWritten, err)
	case <-ctx.Done():
		err, ending = context.Cause(ctx), spend.Cancelled
	}
	r.At = time.Now()
	c.Settle(spend.Settle{Meta: r.Meta, Ticket: ticket, Ending: ending})
	return spend.Ticket{}, err
}

// reserve has the machine decide. What becomes of the row is told to written.
func (c *Cashier) reserve(r spend.Reserve, written chan<- error) (spend.Ticket, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ticket, row, refusal := c.machine.Reserve(r, c.policy.Load().Policy)
	if refusal != nil {
		c.tellLocked(refusal)
		return spend.Ticket{}, refusal
	}
	if row.Kind != spend.NoRow {
		c.submitLocked(&row, func(err error) { written <- err })
	}
	return ticket, nil
}

// Settle charges an attempt that has ended, and gives back what was reserved
// for it. It waits for nothing: a row that a crash loses leaves the reservation
// open, and the next start settles that in full.
func (c *Cashier) Settle(s spend.Settle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if row := c.machine.Settle(s); row.Kind != spend.NoRow {
		c.submitLocked(&row, nil)
	}
}

// View returns the windows of a time, for status and metrics.
func (c *Cashier) View(at time.Time) spend.View {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.machine.View(at, c.policy.Load().Policy)
}
