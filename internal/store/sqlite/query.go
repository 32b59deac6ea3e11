package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// eventColumns are what scanEvent reads, from journal j with its names.
const (
	eventColumns = `j.seq, m.name, s.id, j.at, j.event, j.level, j.from_state, j.to_state, j.trigger, j.cause, j.request_id, j.fields`
	eventNames   = `CROSS JOIN subjects s ON s.no = j.subject CROSS JOIN machines m ON m.no = j.machine`
)

// Head implements store.Journal.
func (s *Store) Head(ctx context.Context) (drey.Seq, error) {
	var head drey.Seq
	err := s.read(ctx, "read the journal", s.readers, func(tx *sql.Tx) (err error) {
		head, err = readSeq(ctx, tx)
		return err
	})
	return head, err
}

// readFloor returns where the journal was cut; no query shows what is not after
// it.
func readFloor(ctx context.Context, tx *sql.Tx) (drey.Seq, error) {
	var floor int64
	err := tx.QueryRowContext(ctx, `SELECT floor FROM head`).Scan(&floor)
	return drey.Seq(floor), err
}

func readSeq(ctx context.Context, tx *sql.Tx) (drey.Seq, error) {
	var seq int64
	err := tx.QueryRowContext(ctx, `SELECT seq FROM head`).Scan(&seq)
	return drey.Seq(seq), err
}

// Query implements store.Journal.
func (s *Store) Query(ctx context.Context, q store.Query) (store.Page, error) {
	var page store.Page
	limit := store.PageLimit(q.Limit)
	err := s.read(ctx, "read the journal", s.readers, func(tx *sql.Tx) (err error) {
		if page.AsOf, err = readSeq(ctx, tx); err != nil {
			return err
		}
		floor, err := readFloor(ctx, tx)
		if err != nil {
			return err
		}
		q.After = max(q.After, floor)
		text, args := querySQL(q, limit+1) // one more says whether there are more
		page.Events, err = readEvents(ctx, tx, text, args...)
		return err
	})
	if err != nil {
		return store.Page{}, err
	}
	if q.Newest {
		page.Events = page.Events[:min(limit, len(page.Events))]
		slices.Reverse(page.Events)
		return page, nil
	}
	if len(page.Events) > limit {
		page.Events = page.Events[:limit]
		page.Next = page.Events[limit-1].Seq
	}
	return page, nil
}

// querySQL writes the query. It names the index itself: SQLite chooses well
// only after an ANALYZE, and a wrong choice is a walk through the whole
// journal. The narrowest comes first: request, machine with id, id, machine,
// time; without any of them it is the order of seq itself.
func querySQL(q store.Query, limit int) (string, []any) {
	index := "NOT INDEXED"
	var where []string
	var args []any
	add := func(cond string, v ...any) {
		where = append(where, cond)
		args = append(args, v...)
	}
	add(`j.seq > ?`, int64(q.After))
	if !q.Since.IsZero() {
		index = "INDEXED BY journal_by_time"
		add(`j.at >= ?`, micros(q.Since))
	}
	if !q.Until.IsZero() {
		index = "INDEXED BY journal_by_time"
		add(`j.at < ?`, micros(q.Until))
	}
	switch {
	case q.ID == "" && q.Machine != "":
		index = "INDEXED BY journal_by_machine"
		add(`j.machine = (SELECT no FROM machines WHERE name = ?)`, q.Machine)
	case q.ID != "" && q.Machine != "":
		index = "INDEXED BY journal_by_subject"
		add(`j.subject = (SELECT no FROM subjects WHERE id = ? AND machine = (SELECT no FROM machines WHERE name = ?))`, q.ID, q.Machine)
	case q.ID != "":
		index = "INDEXED BY journal_by_subject"
		add(`j.subject IN (SELECT no FROM subjects WHERE id = ?)`, q.ID)
	}
	if q.RequestID != "" {
		index = "INDEXED BY journal_by_request"
		add(`j.request_id = ?`, string(q.RequestID))
	}
	if q.Event != "" {
		// In SQLite's GLOB a bracket opens a set; in ours it is itself.
		add(`j.event GLOB ?`, strings.ReplaceAll(q.Event, "[", "[[]"))
	}
	order := "ASC"
	if q.Newest {
		order = "DESC"
	}
	text := `SELECT ` + eventColumns + ` FROM journal j ` + index + ` ` + eventNames +
		` WHERE ` + strings.Join(where, ` AND `) + ` ORDER BY j.seq ` + order + ` LIMIT ?`
	return text, append(args, limit)
}

// micros rounds a bound up to the microseconds of the journal: an event of the
// bound's own microsecond is before the bound unless the bound is that very
// microsecond.
func micros(t time.Time) int64 {
	n := t.UnixMicro()
	if t.After(time.UnixMicro(n)) {
		n++
	}
	return n
}

func readEvents(ctx context.Context, tx *sql.Tx, query string, args ...any) ([]drey.Event, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []drey.Event
	for rows.Next() {
		e, err := scanEvent(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

// scanEvent reads eventColumns, after the columns that before takes.
func scanEvent(rows *sql.Rows, before ...any) (drey.Event, error) {
	e, fields, err := scanRow(rows, before...)
	if err == nil {
		err = decodeFields(&e, fields)
	}
	return e, err
}

// scanRow is scanEvent with the fields left as they are in the database, for
// decodeFields.
func scanRow(rows *sql.Rows, before ...any) (e drey.Event, fields string, err error) {
	var (
		seq, at                             int64
		cause                               sql.NullInt64
		level, from, to, trigger, requestID sql.NullString
		raw                                 sql.NullString
	)
	err = rows.Scan(append(before, &seq, &e.Machine, &e.ID, &at, &e.Name, &level, &from, &to, &trigger, &cause, &requestID, &raw)...)
	if err != nil {
		return e, "", err
	}
	e.Seq, e.At = drey.Seq(seq), time.UnixMicro(at).UTC()
	e.From, e.To, e.Trigger = from.String, to.String, trigger.String
	e.Cause, e.RequestID = drey.Seq(cause.Int64), drey.RequestID(requestID.String)
	if level.Valid {
		if err := e.Level.UnmarshalText([]byte(level.String)); err != nil {
			return e, "", fmt.Errorf("row %d: %w", seq, err)
		}
	}
	return e, raw.String, nil
}

func decodeFields(e *drey.Event, raw string) (err error) {
	if e.Fields, err = store.DecodeFields(json.RawMessage(raw)); err != nil {
		return fmt.Errorf("row %d: %w", e.Seq, err)
	}
	return nil
}
