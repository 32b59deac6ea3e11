package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/dreyhq/drey/internal/store"
)

// The bounds of what Optimize does at once: pages that are moved, and rows of
// an index that ANALYZE looks at.
const (
	vacuumPages  = 64
	analysisRows = 400
)

// Checkpoint implements store.Upkeeper. The bulk is moved beside readers and
// the writer; then the log is cut, for which its last pages must be moved under
// the writer's lock, and nobody may be reading it. It does not wait for that:
// whoever waits there holds up the writer.
func (s *Store) Checkpoint(ctx context.Context, pace store.Pace) (store.Checkpointed, error) {
	var out store.Checkpointed
	for _, path := range []string{s.path, s.telemetry.path} {
		if err := pace.Next(ctx); err != nil {
			return out, err
		}
		if err := s.checkpoint(ctx, path, &out); err != nil {
			if ctx.Err() != nil {
				return out, ctx.Err()
			}
			return out, explain("checkpoint", path, err)
		}
	}
	return out, nil
}

func (s *Store) checkpoint(ctx context.Context, path string, out *store.Checkpointed) (err error) {
	if s.closed.Load() {
		return store.ErrClosed
	}
	if err := held(s.journal.w.lock); err != nil {
		return err
	}
	// Not with the pragmas of a writer: setting auto_vacuum again is a write.
	c, err := openWith(path, "rw", "busy_timeout(0)", "synchronous(full)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	for _, q := range []string{`PRAGMA wal_checkpoint(PASSIVE)`, `PRAGMA wal_checkpoint(TRUNCATE)`} {
		var busy, moved int64
		err := c.each(ctx, q, func(v []driver.Value) error {
			busy, _ = v[0].(int64)
			moved, _ = v[2].(int64)
			return nil
		})
		if err != nil {
			return err
		}
		if strings.Contains(q, "TRUNCATE") {
			out.Busy += int(busy)
		} else {
			out.Pages += max(moved, 0)
		}
	}
	return nil
}

// Optimize implements store.Upkeeper. Every file of ours was made with
// auto_vacuum=incremental, which cannot be had later without writing the whole
// file anew; a file without it has no free pages to give back and is left so.
func (s *Store) Optimize(ctx context.Context, pace store.Pace) (store.Optimized, error) {
	var out store.Optimized
	for _, run := range []func(context.Context, string, job) error{s.inJournal, s.inTelemetry} {
		if err := pace.Next(ctx); err != nil {
			return out, err
		}
		err := run(ctx, "analyze", func(c *conn) (bool, error) {
			if _, err := c.int(fmt.Sprintf(`PRAGMA analysis_limit = %d`, analysisRows)); err != nil {
				return false, err
			}
			return true, c.exec(`ANALYZE`)
		})
		if err != nil {
			return out, err
		}
		for more := true; more; {
			if err := pace.Next(ctx); err != nil {
				return out, err
			}
			var freed int64
			err := run(ctx, "vacuum", func(c *conn) (_ bool, err error) {
				freed, more, err = vacuum(c)
				return freed > 0, err
			})
			if err != nil {
				return out, err
			}
			out.Freed += freed
		}
	}
	return out, nil
}

// vacuum gives one portion of free pages back, in the open transaction.
func vacuum(c *conn) (freed int64, more bool, err error) {
	var n [3]int64
	for i, q := range []string{`PRAGMA auto_vacuum`, `PRAGMA page_size`, `PRAGMA freelist_count`} {
		if n[i], err = c.int(q); err != nil {
			return 0, false, err
		}
	}
	mode, size, before := n[0], n[1], n[2]
	const incremental = 2
	if mode != incremental || before == 0 {
		return 0, false, nil
	}
	if err := c.exec(fmt.Sprintf(`PRAGMA incremental_vacuum(%d)`, vacuumPages)); err != nil {
		return 0, false, err
	}
	after, err := c.int(`PRAGMA freelist_count`)
	return (before - after) * size, after > 0 && after < before, err
}
