package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey/internal/store"
)

// The rows of one chunk, which take some milliseconds.
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
	page, err := s.Query(ctx, store.Query{Limit: 1})
	if err != nil {
		return out, err
	}
	out.Oldest = page.AsOf + 1
	if len(page.Events) > 0 {
		out.Oldest = page.Events[0].Seq
	}
	return out, nil
}

func (s *Store) pruneJournal(ctx context.Context, r store.Retention, pace store.Pace, out *store.Pruned) error {
	for at := int64(0); ; {
		if err := pace.Next(ctx); err != nil {
			return err
		}
		var c cut
		err := s.inJournal(ctx, "prune the journal", func(ctx context.Context, conn *pgx.Conn) (*pgx.Batch, error) {
			c = cut{retention: r, last: at}
			return c.run(ctx, conn)
		})
		if err != nil {
			return err
		}
		out.Events += int64(len(c.remove))
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
	retention store.Retention

	last   int64 // the chunk begins after it; then the last row that was looked at
	done   bool  // the journal's end, or a row that is young enough
	kept   int64
	remove []int64
	left   map[key]bool // the machines of the removed rows
}

func (c *cut) run(ctx context.Context, conn *pgx.Conn) (*pgx.Batch, error) {
	var floor int64
	if err := conn.QueryRow(ctx, `SELECT floor FROM head WHERE one = 1`).Scan(&floor); err != nil {
		return nil, err
	}
	if err := c.look(ctx, conn, floor); err != nil {
		return nil, err
	}
	if len(c.remove) == 0 && c.last <= floor {
		return nil, nil
	}
	b := &pgx.Batch{}
	if len(c.remove) > 0 {
		var machines, ids []string
		for k := range c.left {
			machines, ids = append(machines, k.machine), append(ids, k.id)
		}
		b.Queue(`DELETE FROM journal WHERE seq = ANY($1::BIGINT[])`, c.remove)
		// Known by nothing any more: neither a row of its own nor a snapshot.
		b.Queue(`
			DELETE FROM machines WHERE (machine, id) IN (SELECT * FROM unnest($1::TEXT[], $2::TEXT[]))
			AND snapshot IS NULL
			AND NOT EXISTS (SELECT 1 FROM journal j WHERE j.machine = machines.machine AND j.id = machines.id AND j.version > 0)`,
			machines, ids)
	}
	b.Queue(`UPDATE head SET floor = greatest(floor, $1::BIGINT) WHERE one = 1`, c.last)
	return b, nil
}

// look reads the chunk and sorts its rows into those to remove and those to
// keep.
func (c *cut) look(ctx context.Context, conn *pgx.Conn, floor int64) error {
	before, now := micros(c.retention.Before), int64(0)
	if !c.retention.Now.IsZero() {
		now = micros(c.retention.Now)
	}
	c.left = map[key]bool{}
	rows, err := conn.Query(ctx, `
		SELECT j.seq, j.at, j.machine, j.id, j.version > 0 AND j.seq > greatest(COALESCE(m.born, 0), COALESCE(m.at, 0)),
			m.snapshot IS NOT NULL
		FROM journal j LEFT JOIN machines m ON m.machine = j.machine AND m.id = j.id
		WHERE j.seq > $1 ORDER BY j.seq LIMIT $2`, c.last, pruneRows)
	if err != nil {
		return err
	}
	var seq, at int64
	var k key
	var tail, snapshot bool
	looked := 0
	_, err = pgx.ForEachRow(rows, []any{&seq, &at, &k.machine, &k.id, &tail, &snapshot}, func() error {
		looked++
		if seq > floor && at >= before && (now == 0 || at <= now) {
			c.done = true
		}
		if c.done {
			return nil
		}
		c.last = seq
		if tail && (snapshot || !slices.Contains(c.retention.Logs, k.machine)) {
			c.kept++
			return nil
		}
		c.remove = append(c.remove, seq)
		c.left[k] = true
		return nil
	})
	c.done = c.done || looked < pruneRows
	return err
}

// pruneRequests removes the request rows that are older and were counted, the
// oldest first, and at last the statistics of the days before.
func (s *Store) pruneRequests(ctx context.Context, before time.Time, pace store.Pace, out *store.Pruned) error {
	for removed := requestsRows; removed == requestsRows; {
		if err := pace.Next(ctx); err != nil {
			return err
		}
		err := s.inTelemetry(ctx, "prune requests", func(ctx context.Context, c *pgx.Conn) (*pgx.Batch, error) {
			rows, err := c.Query(ctx, `
				SELECT no FROM requests WHERE at < $1 AND no <= (SELECT rolled FROM telemetry WHERE one = 1)
				ORDER BY at, id LIMIT $2`, micros(before), requestsRows)
			if err != nil {
				return nil, err
			}
			nos, err := pgx.CollectRows(rows, pgx.RowTo[int64])
			removed = len(nos)
			if err != nil || removed == 0 {
				return nil, err
			}
			b := &pgx.Batch{}
			b.Queue(`DELETE FROM requests WHERE no = ANY($1::BIGINT[])`, nos)
			return b, nil
		})
		if err != nil {
			return err
		}
		out.Requests += int64(removed)
	}
	if err := pace.Next(ctx); err != nil {
		return err
	}
	return s.inTelemetry(ctx, "prune statistics", func(context.Context, *pgx.Conn) (*pgx.Batch, error) {
		b, day := &pgx.Batch{}, store.Day(before)
		b.Queue(`DELETE FROM attempts WHERE day < $1`, day)
		b.Queue(`DELETE FROM latency WHERE day < $1`, day)
		return b, nil
	})
}
