package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/backlog"
)

// evictRows is how many of the oldest captures are looked at in one step. The
// server removes a row without touching what is in it.
const evictRows = 64

// putCaptures queues the statements for captures, and those that take out the
// oldest until the bound holds.
func putCaptures(ctx context.Context, c *pgx.Conn, out *pgx.Batch, b backlog.Captured) error {
	if len(b.Captures) == 0 {
		return nil
	}
	coming := int64(0)
	var ids []string
	for _, one := range b.Captures {
		id, whole := mended(string(one.ID)), mended(string(one.Whole))
		ids = append(ids, id)
		coming += int64(len(whole))
		out.Queue(`
			INSERT INTO captures (id, at, profile, provider, outcome, bytes, whole) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (id) DO UPDATE SET at = excluded.at, profile = excluded.profile, provider = excluded.provider,
				outcome = excluded.outcome, bytes = excluded.bytes, whole = excluded.whole`,
			id, one.At.UnixMicro(), mended(one.Profile), mended(one.Provider), mended(one.Outcome), int64(len(whole)), whole)
	}
	if b.Most <= 0 {
		return nil
	}
	var held int64
	err := c.QueryRow(ctx, `SELECT COALESCE(sum(bytes), 0)::BIGINT FROM captures WHERE id <> ALL($1::TEXT[])`, ids).Scan(&held)
	if err != nil || held+coming <= b.Most {
		return err
	}
	// What is held runs from the newest to the oldest, so that the cut is where
	// it passes the bound.
	out.Queue(`
		DELETE FROM captures WHERE id IN (
			SELECT id FROM (SELECT id, sum(bytes) OVER (ORDER BY at DESC, id DESC) AS held FROM captures) AS c WHERE held > $1)`, b.Most)
	return nil
}

// pruneCaptures removes the captures that are older, and the oldest beyond the
// bound.
func (s *Store) pruneCaptures(ctx context.Context, r store.Retention, pace store.Pace, out *store.Pruned) error {
	before, most := int64(math.MinInt64), int64(math.MaxInt64)
	if !r.Before.IsZero() {
		before = micros(r.Before)
	}
	if r.Captures > 0 {
		most = r.Captures
	}
	for removed := evictRows; removed == evictRows; {
		if err := pace.Next(ctx); err != nil {
			return err
		}
		err := s.inTelemetry(ctx, "prune captures", func(ctx context.Context, c *pgx.Conn) (*pgx.Batch, error) {
			rows, err := c.Query(ctx, `
				SELECT id FROM (SELECT id, at, sum(bytes) OVER (ORDER BY at DESC, id DESC) AS held FROM captures) AS c
				WHERE at < $1 OR held > $2 ORDER BY at, id LIMIT $3`, before, most, evictRows)
			if err != nil {
				return nil, err
			}
			ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if removed = len(ids); err != nil || removed == 0 {
				return nil, err
			}
			b := &pgx.Batch{}
			b.Queue(`DELETE FROM captures WHERE id = ANY($1::TEXT[])`, ids)
			return b, nil
		})
		if err != nil {
			return err
		}
		out.Captures += int64(removed)
	}
	return nil
}

// PutCapture implements store.Captures.
func (s *Store) PutCapture(c store.Capture, most int64) { s.telemetry.PutCapture(c, most) }

const captureColumns = `id, at, profile, provider, outcome, bytes`

// Capture implements store.Captures.
func (s *Store) Capture(ctx context.Context, id drey.RequestID) (store.Capture, error) {
	list, err := s.captures(ctx, `SELECT `+captureColumns+`, whole FROM captures WHERE id = $1`, mended(string(id)))
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
	var c conditions
	if q.Before != "" {
		cursor, err := store.ParseRequestCursor(q.Before)
		if err != nil {
			return store.CapturePage{}, fmt.Errorf("read captures: %w", err)
		}
		c.where = append(c.where, `(at, id) < (`+c.arg(cursor.At.UnixMicro())+`, `+c.arg(mended(string(cursor.ID)))+`)`)
	}
	limit := store.PageLimit(q.Limit)
	list, err := s.captures(ctx, `SELECT `+captureColumns+`, '' FROM captures WHERE `+c.String()+
		` ORDER BY at DESC, id DESC LIMIT `+c.arg(limit+1), c.args...)
	if err != nil {
		return store.CapturePage{}, err
	}
	return store.PageOfCaptures(list, limit), nil
}

func (s *Store) captures(ctx context.Context, query string, args ...any) ([]store.Capture, error) {
	var out []store.Capture
	err := s.read(ctx, "read captures", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, query, args...)
		if err == nil {
			out, err = pgx.AppendRows(out[:0], rows, captureOf)
		}
		return err
	})
	return out, err
}

func captureOf(row pgx.CollectableRow) (c store.Capture, err error) {
	var at int64
	var whole string
	if err := row.Scan(&c.ID, &at, &c.Profile, &c.Provider, &c.Outcome, &c.Bytes, &whole); err != nil {
		return c, err
	}
	c.At = time.UnixMicro(at).UTC()
	if whole != "" {
		c.Whole = json.RawMessage(whole)
	}
	return c, nil
}
