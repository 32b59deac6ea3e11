package postgres

import (
	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey/internal/store/queue"
)

// changes is what one transaction writes, in columns: one statement takes all
// rows of a table, whatever their number.
type changes struct {
	rows     columns
	machines map[key]*change
	order    []key // of machines, as they came
}

// columns are the rows of the journal.
type columns struct {
	seq, version, at, cause              []int64
	machine, id, event, level            []string
	from, to, trigger, requestID, fields []string
}

// change is the row of a machine as the transaction leaves it.
type change struct {
	machine
	snapshot *string
	replace  bool // false: the row is only to be there
}

// gather adds what was decided for r.
func (w *writer) gather(out *changes, r *request) {
	for i := range r.appends {
		a := &r.appends[i]
		own := false
		for j := range a.rows {
			out.rows.add(&a.rows[j])
			own = own || a.rows[j].Own
		}
		m := w.machines[a.key]
		if a.snapshot == "" && !a.delete && (m.stored || !own) {
			continue
		}
		m.stored = true
		c := out.machines[a.key]
		if c == nil {
			c = &change{}
			out.machines[a.key] = c
			out.order = append(out.order, a.key)
		}
		if a.snapshot == "" && !a.delete {
			continue // new, and nothing to say of it
		}
		c.machine, c.replace, c.snapshot = a.after, true, nil
		if a.snapshot != "" {
			c.snapshot = &a.snapshot
		}
	}
}

func (c *columns) add(r *queue.Row) {
	c.seq = append(c.seq, r.Seq)
	c.machine = append(c.machine, r.Machine)
	c.id = append(c.id, r.ID)
	c.version = append(c.version, r.Version)
	c.at = append(c.at, r.At)
	c.event = append(c.event, r.Event)
	c.level = append(c.level, r.Level)
	c.from = append(c.from, r.From)
	c.to = append(c.to, r.To)
	c.trigger = append(c.trigger, r.Trigger)
	c.cause = append(c.cause, r.Cause)
	c.requestID = append(c.requestID, r.RequestID)
	c.fields = append(c.fields, r.Fields)
}

// statements returns what writes the changes.
func (c *changes) statements() *pgx.Batch {
	b := &pgx.Batch{}
	if r := &c.rows; len(r.seq) > 0 {
		b.Queue(`
			INSERT INTO journal (seq, machine, id, version, at, event, level, from_state, to_state, trigger, cause, request_id, fields)
			SELECT * FROM unnest($1::BIGINT[], $2::TEXT[], $3::TEXT[], $4::BIGINT[], $5::BIGINT[], $6::TEXT[], $7::TEXT[],
				$8::TEXT[], $9::TEXT[], $10::TEXT[], $11::BIGINT[], $12::TEXT[], $13::TEXT[])`,
			r.seq, r.machine, r.id, r.version, r.at, r.event, r.level, r.from, r.to, r.trigger, r.cause, r.requestID, r.fields)
	}
	var fresh, replaced machineColumns
	for _, k := range c.order {
		if ch := c.machines[k]; ch.replace {
			replaced.add(k, ch)
		} else {
			fresh.add(k, ch)
		}
	}
	fresh.queue(b, `DO NOTHING`)
	replaced.queue(b, `DO UPDATE SET born = excluded.born, at = excluded.at, version = excluded.version, snapshot = excluded.snapshot`)
	return b
}

// machineColumns are the rows of machines.
type machineColumns struct {
	machine, id       []string
	born, at, version []int64
	snapshot          []*string
}

func (c *machineColumns) add(k key, ch *change) {
	c.machine = append(c.machine, k.machine)
	c.id = append(c.id, k.id)
	c.born = append(c.born, ch.born)
	c.at = append(c.at, ch.at)
	c.version = append(c.version, ch.covered)
	c.snapshot = append(c.snapshot, ch.snapshot)
}

func (c *machineColumns) queue(b *pgx.Batch, conflict string) {
	if len(c.machine) == 0 {
		return
	}
	b.Queue(`
		INSERT INTO machines (machine, id, born, at, version, snapshot)
		SELECT * FROM unnest($1::TEXT[], $2::TEXT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[], $6::TEXT[])
		ON CONFLICT (machine, id) `+conflict, c.machine, c.id, c.born, c.at, c.version, c.snapshot)
}
