package postgres

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/queue"
)

// appending is one store.Append as it is written.
type appending struct {
	key      key
	expect   int64
	rows     []queue.Row
	snapshot string // "" = none
	delete   bool
	bytes    int

	after machine // set when it is decided: the machine after it
}

// encode turns appends into what the writer sends, in the caller's goroutine:
// the committer's time is everybody's. What cannot be encoded fails in its
// place in the order, with nothing written.
func encode(appends []store.Append) *request {
	r := &request{appends: make([]appending, len(appends))}
	for i, a := range appends {
		if err := r.appends[i].encode(a); err != nil {
			return &request{invalid: err, err: err}
		}
		r.rows += len(a.Events)
		r.bytes += r.appends[i].bytes
	}
	return r
}

func (a *appending) encode(in store.Append) (err error) {
	a.key, a.expect, a.delete, a.snapshot = key{in.Machine, in.ID}, in.Expect, in.Delete, string(in.Snapshot)
	if a.rows, a.bytes, err = queue.Rows(in); err != nil {
		return err
	}
	if err := storable(in.Machine, in.ID, a.snapshot); err != nil {
		return in.Fail(err)
	}
	for i := range a.rows {
		r := &a.rows[i]
		if err := storable(r.Machine, r.ID, r.Event, r.From, r.To, r.Trigger, r.RequestID, r.Fields); err != nil {
			return in.Fail(fmt.Errorf("event %s: %w", r.Event, err))
		}
	}
	return nil
}

// storable refuses what a column of text cannot hold, before it costs the whole
// batch its transaction.
func storable(texts ...string) error {
	for _, s := range texts {
		if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
			return errors.New("the database holds no text with a zero byte or without valid UTF-8")
		}
	}
	return nil
}

// mended makes any text storable, for telemetry: there what a caller sent is
// better kept a little changed than not at all.
func mended(s string) string {
	if storable(s) == nil {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
