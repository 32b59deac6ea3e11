package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/backlog"
)

// How many of the oldest captures are looked at in one step, and the bytes after
// which no further one is removed in it: the pages of so many are free in some
// milliseconds.
const (
	evictRows  = 64
	evictBytes = 4 << 20
)

// captured is what the writer of telemetry.db knows of the captures in it. It
// belongs to the goroutine of the queue.
type captured struct {
	known bool
	held  int64 // bytes, if known
}

// counting forgets the sum after a transaction that failed: nobody knows what of
// it there is. It returns err.
func (t *captured) counting(err error) error {
	if err != nil {
		t.known = false
	}
	return err
}

// write puts captures in the open transaction, and takes the oldest out until
// the bound holds.
func (t *captured) write(c *conn, b backlog.Captured) error {
	if len(b.Captures) == 0 {
		return nil
	}
	if err := t.count(c); err != nil {
		return err
	}
	for _, one := range b.Captures {
		err := c.each(context.Background(), `DELETE FROM captures WHERE id = ? RETURNING bytes`, func(v []driver.Value) error {
			t.held -= v[0].(int64)
			return nil
		}, string(one.ID))
		if err == nil {
			_, err = c.change(`INSERT INTO captures (id, at, profile, provider, outcome, bytes, whole) VALUES (?, ?, ?, ?, ?, ?, ?)`,
				string(one.ID), one.At.UnixMicro(), one.Profile, one.Provider, one.Outcome, int64(len(one.Whole)), string(one.Whole))
		}
		if err != nil {
			return err
		}
		t.held += int64(len(one.Whole))
	}
	for more := true; more; {
		var err error
		if _, more, err = t.evict(c, 0, b.Most); err != nil {
			return err
		}
	}
	return nil
}

// count reads the sum if it is not known.
func (t *captured) count(c *conn) (err error) {
	if !t.known {
		t.held, err = c.int(`SELECT coalesce(sum(bytes), 0) FROM captures`)
		t.known = err == nil
	}
	return err
}

// evict removes captures, the oldest first: those that came before a time, and
// those without which the rest still holds more than most bytes (0 = no bound).
// more says that it stopped because this was enough for one step.
func (t *captured) evict(c *conn, before, most int64) (removed int64, more bool, err error) {
	if err := t.count(c); err != nil {
		return 0, false, err
	}
	var nos []int64
	bytes, done := int64(0), false
	err = c.each(context.Background(), `SELECT no, at, bytes FROM captures ORDER BY at, id LIMIT ?`, func(v []driver.Value) error {
		no, at, size := v[0].(int64), v[1].(int64), v[2].(int64)
		switch {
		case done || at >= before && (most <= 0 || t.held <= most):
			done = true
			return nil
		case bytes >= evictBytes:
			return nil
		}
		nos = append(nos, no)
		bytes += size
		t.held -= size
		return nil
	}, int64(evictRows))
	if err != nil {
		return 0, false, err
	}
	for _, no := range nos {
		if _, err := c.change(`DELETE FROM captures WHERE no = ?`, no); err != nil {
			return 0, false, err
		}
	}
	return int64(len(nos)), len(nos) > 0 && !done, nil
}

// pruneCaptures removes the captures that are older, and the oldest beyond the
// bound.
func (s *Store) pruneCaptures(ctx context.Context, r store.Retention, pace store.Pace, out *store.Pruned) error {
	before := int64(math.MinInt64)
	if !r.Before.IsZero() {
		before = micros(r.Before)
	}
	t := &s.telemetry.captured
	for more := true; more; {
		if err := pace.Next(ctx); err != nil {
			return err
		}
		var removed int64
		err := s.inTelemetry(ctx, "prune captures", func(c *conn) (_ bool, err error) {
			removed, more, err = t.evict(c, before, r.Captures)
			return removed > 0, t.counting(err)
		})
		if err != nil {
			return err
		}
		out.Captures += removed
	}
	return nil
}

// PutCapture implements store.Captures.
func (s *Store) PutCapture(c store.Capture, most int64) { s.telemetry.PutCapture(c, most) }

const captureColumns = `id, at, profile, provider, outcome, bytes`

// Capture implements store.Captures.
func (s *Store) Capture(ctx context.Context, id drey.RequestID) (store.Capture, error) {
	list, err := s.captures(ctx, `SELECT `+captureColumns+`, whole FROM captures WHERE id = ?`, string(id))
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("read capture %s: %w", id, store.ErrNotFound)
	}
	if err != nil {
		return store.Capture{}, err
	}
	return list[0], nil
}

// Captures implements store.Captures. Pages follow the key (at, id), which no
// later capture can shift.
func (s *Store) Captures(ctx context.Context, q store.CaptureQuery) (store.CapturePage, error) {
	where, args := `TRUE`, []any{}
	if q.Before != "" {
		c, err := store.ParseRequestCursor(q.Before)
		if err != nil {
			return store.CapturePage{}, fmt.Errorf("read captures: %w", err)
		}
		where, args = `(at, id) < (?, ?)`, []any{c.At.UnixMicro(), string(c.ID)}
	}
	limit := store.PageLimit(q.Limit)
	list, err := s.captures(ctx, `SELECT `+captureColumns+`, '' FROM captures WHERE `+where+` ORDER BY at DESC, id DESC LIMIT ?`,
		append(args, limit+1)...)
	if err != nil {
		return store.CapturePage{}, err
	}
	return store.PageOfCaptures(list, limit), nil
}

func (s *Store) captures(ctx context.Context, query string, args ...any) ([]store.Capture, error) {
	var out []store.Capture
	err := s.read(ctx, "read captures", s.telemetry.readers, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var c store.Capture
			var at int64
			var whole string
			if err := rows.Scan(&c.ID, &at, &c.Profile, &c.Provider, &c.Outcome, &c.Bytes, &whole); err != nil {
				return err
			}
			c.At = time.UnixMicro(at).UTC()
			if whole != "" {
				c.Whole = json.RawMessage(whole)
			}
			out = append(out, c)
		}
		return rows.Err()
	})
	return out, err
}
