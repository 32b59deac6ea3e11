package cashier

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/spend"
	"github.com/dreyhq/drey/internal/store"
)

// Serve waits until ctx ends and then takes the last snapshot, so that the next
// start has nothing to replay. It returns when every row is written. Nothing is
// asked of the cashier after that.
func (c *Cashier) Serve(ctx context.Context) error {
	<-ctx.Done()
	c.mu.Lock()
	rows := c.rows
	snapshot, err := c.machine.MarshalJSON()
	c.mu.Unlock()
	if rows == 0 {
		return nil
	}
	if err == nil {
		// Answers come in the order of appends: behind this one there are none.
		_, err = store.AppendAndWait(context.WithoutCancel(ctx), c.cfg.Journal.Submit, own(nil, snapshot))
	}
	if err != nil {
		c.cfg.Log.Error("budgets-not-saved", "error", err) // the rows are there, and are replayed
	}
	return nil
}

// takeUp makes the machine the one that wrote a state, and settles what it left
// open.
func (c *Cashier) takeUp(ctx context.Context, state store.State) error {
	now := time.Now()
	var events []drey.Event
	if err := read(&c.machine, state); err != nil {
		c.machine = spend.Machine{}
		// It is the daemon's: among the rows of the budget nothing could replay it.
		events = append(events, drey.Event{
			At: now, Name: "state-dropped", Level: drey.Warn, Machine: "daemon",
			Fields: []drey.Field{drey.F("what", "budgets"), drey.F("error", err.Error())},
		})
	}
	rows := c.machine.Recover(spend.Meta{At: now})
	for i := range rows {
		events = append(events, rows[i].Event())
	}
	if len(events)+len(state.Tail) == 0 {
		return nil
	}
	snapshot, err := c.machine.MarshalJSON()
	if err != nil {
		return err
	}
	commit, err := store.AppendAndWait(ctx, c.cfg.Journal.Submit, own(events, snapshot))
	if err != nil {
		return err
	}
	c.show(commit, events)
	if len(rows) > 0 {
		c.cfg.Log.Warn("reservations-recovered", "count", len(rows))
	}
	return nil
}

// read makes m the machine of a state.
func read(m *spend.Machine, state store.State) error {
	if state.Snapshot != nil {
		if err := json.Unmarshal(state.Snapshot, m); err != nil {
			return fmt.Errorf("read the snapshot: %w", err)
		}
	}
	return m.Replay(state.Tail)
}

// own is an append of the machine's. A snapshot that is nil leaves the last one.
func own(events []drey.Event, snapshot []byte) store.Append {
	return store.Append{
		Machine: spend.MachineName, ID: spend.MachineID, Expect: store.AnyVersion, Events: events, Snapshot: snapshot,
	}
}

// tellLocked journals what a refusal is the first to tell.
func (c *Cashier) tellLocked(r *spend.Refusal) {
	if r == nil {
		return
	}
	for i := range r.Rows {
		c.submitLocked(&r.Rows[i], nil)
	}
}

// submitLocked hands a row to the journal, with a snapshot where one is due.
// then is told what became of it; nil = nobody waits.
func (c *Cashier) submitLocked(row *spend.Row, then func(error)) {
	ev := row.Event()
	var snapshot []byte
	if c.rows++; c.rows%snapshotEvery == 0 {
		snapshot, _ = c.machine.MarshalJSON() // names and numbers: it cannot fail
	}
	c.cfg.Journal.Submit(func(commit store.Commit, err error) {
		if err != nil {
			c.cfg.Log.Error("budget-not-journaled", "event", ev.Name, "error", err)
		} else {
			c.show(commit, []drey.Event{ev})
		}
		if then != nil {
			then(err)
		}
	}, own([]drey.Event{ev}, snapshot))
}

// show tells of events that were committed. What every paid attempt writes is
// for live readers alone: in the audit log it would bury the decisions.
func (c *Cashier) show(commit store.Commit, events []drey.Event) {
	for i := range events {
		ev := &events[i]
		ev.Seq = commit.First + drey.Seq(i)
		switch ev.Name {
		case spend.RowReserved.String(), spend.RowSettled.String():
			c.cfg.Bus.Publish(*ev)
		default:
			c.cfg.Bus.Committed(*ev)
		}
	}
}
