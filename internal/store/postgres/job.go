package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/queue"
)

// A task is a piece of upkeep that writes. It runs where everything else that
// writes the same tables runs, in a transaction of its own between two batches,
// and it is small, so that nobody waits long. What it only wants to read it
// reads from c; what it writes it returns, nil for nothing. It may be run more
// than once, if others are in its way.
type task func(ctx context.Context, c *pgx.Conn) (*pgx.Batch, error)

// job is a task with its caller, who may give up while it waits.
type job struct {
	queue.Claim
	task task
}

// inJournal runs a task under the lock of the journal's head.
func (s *Store) inJournal(ctx context.Context, op string, t task) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{task: t}
	answer := make(chan error, 1)
	s.journal.queue.Put(&request{job: j, done: func(_ store.Commit, err error) { answer <- err }})
	return s.told(ctx, op, j.Await(ctx, answer))
}

// inTelemetry runs a task under the lock of telemetry.
func (s *Store) inTelemetry(ctx context.Context, op string, t task) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{task: t}
	answer := make(chan error, 1)
	err := s.telemetry.Do(func(err error) {
		if err == nil && j.Take() {
			err = s.telemetry.again(func() error { return s.telemetry.within(j.task) })
		}
		answer <- err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return s.told(ctx, op, j.Await(ctx, answer))
}

// told explains an error, except that of ctx.
func (s *Store) told(ctx context.Context, op string, err error) error {
	if err != nil && err == ctx.Err() {
		return err
	}
	return s.at.explain(op, err)
}

// run runs the job of a request.
func (c *committer) run(r *request) {
	if !r.job.Take() {
		return
	}
	r.err = c.again(func() error {
		_, err := c.w.within(func(ctx context.Context) (*pgx.Batch, error) { return r.job.task(ctx, c.w.c) })
		return err
	})
	clear(c.w.machines) // upkeep removes machines that the writer may remember
	c.stop(r.err)
}
