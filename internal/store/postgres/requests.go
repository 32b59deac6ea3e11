package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

const requestColumns = `id, at, profile, provider, outcome, status, whole`

// Request implements store.Telemetry.
func (s *Store) Request(ctx context.Context, id drey.RequestID) (store.RequestRow, error) {
	rows, err := s.requests(ctx, `SELECT `+requestColumns+` FROM requests WHERE id = $1`, mended(string(id)))
	if err == nil && len(rows) == 0 {
		err = fmt.Errorf("read request %s: %w", id, store.ErrNotFound)
	}
	if err != nil {
		return store.RequestRow{}, err
	}
	return rows[0], nil
}

// Requests implements store.Telemetry. Pages follow the key (at, id), which no
// later row can shift.
func (s *Store) Requests(ctx context.Context, q store.RequestQuery) (store.RequestPage, error) {
	var c conditions
	if q.Before != "" {
		cursor, err := store.ParseRequestCursor(q.Before)
		if err != nil {
			return store.RequestPage{}, fmt.Errorf("read requests: %w", err)
		}
		c.where = append(c.where, `(at, id) < (`+c.arg(cursor.At.UnixMicro())+`, `+c.arg(mended(string(cursor.ID)))+`)`)
	}
	for _, f := range []struct{ cond, value string }{{`profile = $`, q.Profile}, {`provider = $`, q.Provider}, {`outcome = $`, q.Outcome}} {
		if f.value != "" {
			c.add(f.cond, mended(f.value))
		}
	}
	if !q.Since.IsZero() {
		c.add(`at >= $`, micros(q.Since))
	}
	limit := store.PageLimit(q.Limit)
	rows, err := s.requests(ctx, `SELECT `+requestColumns+` FROM requests WHERE `+c.String()+
		` ORDER BY at DESC, id DESC LIMIT `+c.arg(limit+1), c.args...)
	if err != nil {
		return store.RequestPage{}, err
	}
	page := store.RequestPage{Rows: rows}
	if len(rows) > limit {
		last := rows[limit-1]
		page.Rows, page.Next = rows[:limit], store.RequestCursor{At: last.At, ID: last.ID}.String()
	}
	return page, nil
}

func (s *Store) requests(ctx context.Context, query string, args ...any) ([]store.RequestRow, error) {
	var out []store.RequestRow
	err := s.read(ctx, "read requests", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, query, args...)
		if err == nil {
			out, err = pgx.AppendRows(out[:0], rows, requestOf)
		}
		return err
	})
	return out, err
}

func requestOf(row pgx.CollectableRow) (r store.RequestRow, err error) {
	var at int64
	var whole string
	if err := row.Scan(&r.ID, &at, &r.Profile, &r.Provider, &r.Outcome, &r.Status, &whole); err != nil {
		return r, err
	}
	r.At = time.UnixMicro(at).UTC()
	if whole != "" {
		r.Row = json.RawMessage(whole)
	}
	return r, nil
}
