package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

const requestColumns = `id, at, profile, provider, outcome, status, row`

// Request implements store.Telemetry.
func (s *Store) Request(ctx context.Context, id drey.RequestID) (store.RequestRow, error) {
	rows, err := s.requests(ctx, `SELECT `+requestColumns+` FROM requests WHERE id = ?`, string(id))
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
	where := []string{`TRUE`}
	var args []any
	add := func(cond string, v ...any) {
		where = append(where, cond)
		args = append(args, v...)
	}
	if q.Before != "" {
		c, err := store.ParseRequestCursor(q.Before)
		if err != nil {
			return store.RequestPage{}, fmt.Errorf("read requests: %w", err)
		}
		add(`(at, id) < (?, ?)`, c.At.UnixMicro(), string(c.ID))
	}
	for _, f := range []struct{ column, value string }{{"profile", q.Profile}, {"provider", q.Provider}, {"outcome", q.Outcome}} {
		if f.value != "" {
			add(f.column+` = ?`, f.value)
		}
	}
	if !q.Since.IsZero() {
		add(`at >= ?`, micros(q.Since))
	}
	limit := store.PageLimit(q.Limit)
	rows, err := s.requests(ctx, `SELECT `+requestColumns+` FROM requests WHERE `+strings.Join(where, ` AND `)+
		` ORDER BY at DESC, id DESC LIMIT ?`, append(args, limit+1)...)
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
	err := s.read(ctx, "read requests", s.telemetry.readers, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r store.RequestRow
			var at int64
			var whole sql.NullString
			if err := rows.Scan(&r.ID, &at, &r.Profile, &r.Provider, &r.Outcome, &r.Status, &whole); err != nil {
				return err
			}
			r.At = time.UnixMicro(at).UTC()
			if whole.Valid {
				r.Row = json.RawMessage(whole.String)
			}
			out = append(out, r)
		}
		return rows.Err()
	})
	return out, err
}
