package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/queue"
)

// A job is a piece of upkeep that writes. It runs where everything else that
// writes its file runs, in a transaction of its own between two batches, so
// that nobody has to wait for a lock; and it is small, so that nobody waits
// long. It reports whether there is something to commit.
type job func(c *conn) (writes bool, err error)

// inJournal runs a job on drey.db.
func (s *Store) inJournal(ctx context.Context, op string, j job) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var c queue.Claim
	answer := make(chan error, 1)
	s.journal.queue.Put(&request{
		job: func(w *writer) error {
			if !c.Take() {
				return nil
			}
			return w.job(j)
		},
		done: func(_ store.Commit, err error) { answer <- err },
	})
	return explain(op, s.path, c.Await(ctx, answer))
}

// inTelemetry runs a job on telemetry.db.
func (s *Store) inTelemetry(ctx context.Context, op string, j job) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var c queue.Claim
	answer := make(chan error, 1)
	err := s.telemetry.Do(func(err error) {
		if err == nil && c.Take() {
			err = s.telemetry.transaction(j)
		}
		answer <- err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return explain(op, s.telemetry.path, c.Await(ctx, answer))
}

// run runs the job of a request.
func (c *committer) run(r *request) {
	if r.err = r.job(c.w); r.err == nil {
		return
	}
	r.err = explain("tend the journal", c.w.path, r.err)
	c.stop(r.err)
}

// job runs j in a transaction of its own. It is numbered as any other, so that
// a commit whose result is lost can be found again.
func (w *writer) job(j job) error {
	if err := w.ready(); err != nil {
		return err
	}
	if _, _, err := w.begin.run(); err != nil {
		return err
	}
	err := w.enter()
	writes := false
	if err == nil {
		writes, err = j(w.c)
	}
	if err == nil && writes {
		_, _, err = w.move.run(w.seq, w.txn+1, int64(w.epoch))
	}
	if err != nil || !writes {
		w.abandon()
		return err
	}
	w.txn++
	if err := w.finish(); err != nil {
		if settled, cause := w.settle(w.txn, err); !settled {
			return cause
		}
	}
	w.forget() // upkeep removes subjects that the writer may remember
	return nil
}

// transaction runs j in a transaction of its own; it belongs to the goroutine
// of the queue.
func (t *telemetry) transaction(j job) error {
	return t.within(func() (bool, error) { return j(t.c) })
}

// each runs a query and hands every row to f, whose argument is used again for
// the next one. ctx interrupts it: for connections that are nobody else's.
func (c *conn) each(ctx context.Context, query string, f func(row []driver.Value) error, args ...driver.Value) (err error) {
	rows, err := c.c.(driver.QueryerContext).QueryContext(ctx, query, named(args))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := f(row); err != nil {
			return err
		}
	}
}

// change executes a statement and returns how many rows it changed.
func (c *conn) change(query string, args ...driver.Value) (int64, error) {
	res, err := c.c.(driver.ExecerContext).ExecContext(context.Background(), query, named(args))
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func named(args []driver.Value) []driver.NamedValue {
	out := make([]driver.NamedValue, len(args))
	for i, v := range args {
		out[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return out
}
