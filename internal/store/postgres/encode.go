package postgres

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/dreyhq/drey/internal/store"
)

// appending is one store.Append as it is written.
type appending struct {
	key      key
	expect   int64
	rows     []row
	snapshot string // "" = none
	delete   bool
	bytes    int

	after machine // set when it is decided: the machine after it
}

// row is one event as it is written; the numbers of its place come later.
type row struct {
	own          bool // counts for the version
	seq, version int64

	machine, id       string
	at                int64
	event, level      string
	from, to, trigger string
	cause             int64
	requestID         string
	fields            string
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

func (a *appending) encode(in store.Append) error {
	a.key, a.expect, a.delete = key{in.Machine, in.ID}, in.Expect, in.Delete
	if err := in.Check(); err != nil {
		return err
	}
	a.snapshot = string(in.Snapshot)
	if err := storable(in.Machine, in.ID, a.snapshot); err != nil {
		return in.Fail(err)
	}
	a.bytes = len(a.snapshot)
	a.rows = make([]row, len(in.Events))
	for i, e := range in.Events {
		fields, err := store.EncodeFields(e.Fields)
		if err != nil {
			return in.Fail(fmt.Errorf("event %s: %w", e.Name, err))
		}
		level := ""
		if e.Level != 0 {
			level = e.Level.String()
		}
		a.rows[i] = row{
			own:     e.Machine == in.Machine && e.ID == in.ID,
			machine: e.Machine, id: e.ID,
			at:    e.At.UnixMicro(),
			event: e.Name, level: level,
			from: e.From, to: e.To, trigger: e.Trigger,
			cause:     int64(e.Cause),
			requestID: string(e.RequestID),
			fields:    string(fields),
		}
		r := &a.rows[i]
		if err := storable(r.machine, r.id, r.event, r.from, r.to, r.trigger, r.requestID, r.fields); err != nil {
			return in.Fail(fmt.Errorf("event %s: %w", e.Name, err))
		}
		a.bytes += len(fields) + 128 // about what the rest of a row takes
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
