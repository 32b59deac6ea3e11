package sqlite

import (
	"context"
	"database/sql/driver"
	"slices"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// The rows of one chunk. A row of the journal is in five trees and one of the
// requests in six, so that a chunk of either takes some milliseconds.
const (
	pruneRows    = 256
	requestsRows = 128
)

// Prune implements store.Upkeeper.
func (s *Store) Prune(ctx context.Context, r store.Retention, pace store.Pace) (store.Pruned, error) {
	var out store.Pruned
	if !r.Before.IsZero() {
		if err := s.pruneJournal(ctx, r, pace, &out); err != nil {
			return out, err
		}
		if err := s.pruneRequests(ctx, r.Before, pace, &out); err != nil {
			return out, err
		}
	}
	if err := s.pruneCaptures(ctx, r, pace, &out); err != nil {
		return out, err
	}
	err := s.readOldest(ctx, &out)
	return out, err
}

func (s *Store) readOldest(ctx context.Context, out *store.Pruned) error {
	page, err := s.Query(ctx, store.Query{Limit: 1})
	if err != nil {
		return err
	}
	out.Oldest = page.AsOf + 1
	if len(page.Events) > 0 {
		out.Oldest = page.Events[0].Seq
	}
	return nil
}

func (s *Store) pruneJournal(ctx context.Context, r store.Retention, pace store.Pace, out *store.Pruned) error {
	for at := drey.Seq(0); ; {
		if err := pace.Next(ctx); err != nil {
			return err
		}
		var c cut
		err := s.inJournal(ctx, "prune the journal", func(w *conn) (bool, error) {
			c = cut{conn: w, retention: r, last: at}
			return c.run()
		})
		if err != nil {
			return err
		}
		out.Events += c.removed
		out.Kept += c.kept
		if c.done {
			return nil
		}
		at = c.last
	}
}

// cut is one chunk of the journal's pruning: the rows from one seq on, in their
// order. The rows behind the floor are looked at again each time, because a
// snapshot may have covered them since; there are as many as there are events
// in old tails.
type cut struct {
	conn      *conn
	retention store.Retention

	last          drey.Seq // the chunk begins after it; then the last row that was looked at
	done          bool     // the journal's end, or a row that is young enough
	removed, kept int64
}

func (c *cut) run() (writes bool, err error) {
	floor, err := c.conn.int(`SELECT floor FROM head`)
	if err != nil {
		return false, err
	}
	remove, subjects, err := c.look(floor)
	if err != nil {
		return false, err
	}
	for _, seq := range remove {
		if _, err := c.conn.change(`DELETE FROM journal WHERE seq = ?`, seq); err != nil {
			return false, err
		}
	}
	for _, no := range subjects {
		// Known by nothing any more: neither a row nor a snapshot.
		_, err := c.conn.change(`DELETE FROM subjects WHERE no = ?1
			AND NOT EXISTS (SELECT 1 FROM journal WHERE subject = ?1)
			AND NOT EXISTS (SELECT 1 FROM snapshots WHERE subject = ?1)`, no)
		if err != nil {
			return false, err
		}
	}
	c.removed = int64(len(remove))
	moved := int64(c.last) > floor
	if moved {
		if _, err := c.conn.change(`UPDATE head SET floor = ?`, int64(c.last)); err != nil {
			return false, err
		}
	}
	return moved || c.removed > 0, nil
}

// look reads the chunk and sorts its rows into those to remove, with the
// subjects that they leave, and those to keep.
func (c *cut) look(floor int64) (remove, subjects []int64, err error) {
	before, now := micros(c.retention.Before), int64(0)
	if !c.retention.Now.IsZero() {
		now = micros(c.retention.Now)
	}
	rows := 0
	seen := map[int64]bool{}
	err = c.conn.each(context.Background(), `
		SELECT j.seq, j.at, j.subject, m.name, j.version > 0 AND j.seq > max(s.born, coalesce(n.at, 0)), n.at IS NOT NULL
		FROM journal j NOT INDEXED
		CROSS JOIN subjects s ON s.no = j.subject CROSS JOIN machines m ON m.no = j.machine
		LEFT JOIN snapshots n ON n.subject = j.subject
		WHERE j.seq > ? ORDER BY j.seq LIMIT ?`, func(v []driver.Value) error {
		rows++
		seq, at, subject := v[0].(int64), v[1].(int64), v[2].(int64)
		if seq > floor && at >= before && (now == 0 || at <= now) {
			c.done = true
		}
		if c.done {
			return nil
		}
		c.last = drey.Seq(seq)
		tail, snapshot := v[4].(int64) != 0, v[5].(int64) != 0
		if tail && (snapshot || !slices.Contains(c.retention.Logs, v[3].(string))) {
			c.kept++
			return nil
		}
		remove = append(remove, seq)
		if !seen[subject] {
			seen[subject] = true
			subjects = append(subjects, subject)
		}
		return nil
	}, int64(c.last), int64(pruneRows))
	c.done = c.done || rows < pruneRows
	return remove, subjects, err
}

// pruneRequests removes the request rows that are older and were counted, the
// oldest first, and at last the statistics of the days before.
func (s *Store) pruneRequests(ctx context.Context, before time.Time, pace store.Pace, out *store.Pruned) error {
	for removed := int64(requestsRows); removed == requestsRows; {
		if err := pace.Next(ctx); err != nil {
			return err
		}
		err := s.inTelemetry(ctx, "prune requests", func(c *conn) (_ bool, err error) {
			removed, err = c.change(`
				DELETE FROM requests WHERE no IN (
					SELECT no FROM requests INDEXED BY requests_by_time
					WHERE at < ? AND no <= (SELECT rolled FROM head) ORDER BY at, id LIMIT ?)`,
				micros(before), int64(requestsRows))
			if err != nil || removed == 0 {
				return false, err
			}
			// The numbers from the last row on are given again.
			_, err = c.change(`UPDATE head SET rolled = min(rolled, coalesce((SELECT max(no) FROM requests), 0))`)
			return true, err
		})
		if err != nil {
			return err
		}
		out.Requests += removed
	}
	if err := pace.Next(ctx); err != nil {
		return err
	}
	return s.inTelemetry(ctx, "prune statistics", func(c *conn) (bool, error) {
		day := store.Day(before)
		attempts, err := c.change(`DELETE FROM attempts WHERE day < ?`, day)
		if err != nil {
			return false, err
		}
		latency, err := c.change(`DELETE FROM latency WHERE day < ?`, day)
		return attempts+latency > 0, err
	})
}
