package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// eventColumns are what event.scan reads, from journal j.
const eventColumns = `j.seq, j.machine, j.id, j.at, j.event, j.level, j.from_state, j.to_state, j.trigger, j.cause, j.request_id, j.fields`

// Head implements store.Journal.
func (s *Store) Head(ctx context.Context) (drey.Seq, error) {
	var head drey.Seq
	err := s.read(ctx, "read the journal", func(ctx context.Context, tx pgx.Tx) (err error) {
		head, _, err = readHead(ctx, tx)
		return err
	})
	return head, err
}

// readHead returns the last seq, and the floor: no query shows what is not
// after it.
func readHead(ctx context.Context, tx pgx.Tx) (head, floor drey.Seq, err error) {
	var h, f int64
	err = tx.QueryRow(ctx, `SELECT seq, floor FROM head WHERE one = 1`).Scan(&h, &f)
	if errors.Is(err, pgx.ErrNoRows) {
		err = damaged("the head of the journal is missing")
	}
	return drey.Seq(h), drey.Seq(f), err
}

// Query implements store.Journal.
func (s *Store) Query(ctx context.Context, q store.Query) (store.Page, error) {
	var page store.Page
	limit := store.PageLimit(q.Limit)
	err := s.read(ctx, "read the journal", func(ctx context.Context, tx pgx.Tx) error {
		page = store.Page{} // the read may be begun again
		head, floor, err := readHead(ctx, tx)
		if err != nil {
			return err
		}
		page.AsOf = head
		text, args := querySQL(q, max(q.After, floor), limit+1) // one more says whether there are more
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

// likePattern turns a glob's signs into those of LIKE.
var likePattern = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`, `?`, `_`)

// querySQL writes the query; there is an index for each filter.
func querySQL(q store.Query, after drey.Seq, limit int) (string, []any) {
	var c conditions
	c.add(`j.seq > $`, int64(after))
	if !q.Since.IsZero() {
		c.add(`j.at >= $`, micros(q.Since))
	}
	if !q.Until.IsZero() {
		c.add(`j.at < $`, micros(q.Until))
	}
	if q.Machine != "" {
		c.add(`j.machine = $`, q.Machine)
	}
	if q.ID != "" {
		c.add(`j.id = $`, q.ID)
	}
	if q.RequestID != "" {
		c.where = append(c.where, `j.request_id <> ''`) // what the index is of
		c.add(`j.request_id = $`, string(q.RequestID))
	}
	if q.Event != "" {
		c.add(`j.event LIKE $`, likePattern.Replace(q.Event))
	}
	order := "ASC"
	if q.Newest {
		order = "DESC"
	}
	return `SELECT ` + eventColumns + ` FROM journal j WHERE ` + c.String() + ` ORDER BY j.seq ` + order + ` LIMIT ` + c.arg(limit), c.args
}

// conditions is a WHERE that grows with its arguments.
type conditions struct {
	where []string
	args  []any
}

// add adds a condition on one argument, whose place is the dollar at its end.
func (c *conditions) add(cond string, v any) {
	c.where = append(c.where, strings.TrimSuffix(cond, "$")+c.arg(v))
}

// arg adds an argument and returns its place.
func (c *conditions) arg(v any) string {
	c.args = append(c.args, v)
	return fmt.Sprintf("$%d", len(c.args))
}

func (c *conditions) String() string {
	if len(c.where) == 0 {
		return `TRUE`
	}
	return strings.Join(c.where, ` AND `)
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

func readEvents(ctx context.Context, tx pgx.Tx, query string, args ...any) ([]drey.Event, error) {
	rows, err := tx.Query(ctx, query, args...)
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
func scanEvent(rows pgx.Rows, before ...any) (drey.Event, error) {
	var (
		e                        drey.Event
		seq, at, cause           int64
		level, requestID, fields string
	)
	err := rows.Scan(append(before, &seq, &e.Machine, &e.ID, &at, &e.Name, &level, &e.From, &e.To, &e.Trigger, &cause, &requestID, &fields)...)
	if err != nil {
		return e, err
	}
	e.Seq, e.At = drey.Seq(seq), time.UnixMicro(at).UTC()
	e.Cause, e.RequestID = drey.Seq(cause), drey.RequestID(requestID)
	if level != "" {
		if err := e.Level.UnmarshalText([]byte(level)); err != nil {
			return e, damaged("row %d: %w", seq, err)
		}
	}
	if e.Fields, err = store.DecodeFields(json.RawMessage(fields)); err != nil {
		return e, damaged("row %d: %w", seq, err)
	}
	return e, nil
}
