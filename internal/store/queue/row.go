package queue

import (
	"fmt"

	"github.com/dreyhq/drey/internal/store"
)

// Row is one event as a store binds it. At is microseconds since 1970, UTC; an
// empty text, and a Cause of 0, stand for none.
type Row struct {
	Own          bool  // it is an event of the machine that is appended to, and counts for its version
	Seq, Version int64 // its place, which the committer decides

	Machine, ID       string
	At                int64
	Event, Level      string
	From, To, Trigger string
	Cause             int64
	RequestID         string
	Fields            string // as store.EncodeFields writes them
}

// rowBytes is about what a row takes besides its fields.
const rowBytes = 128

// Rows turns an append into what a store binds, and says about how many bytes
// that takes. It is meant for the caller's goroutine: the committer's time is
// everybody's. An error names the append, and the event that is no good.
func Rows(in store.Append) (rows []Row, bytes int, err error) {
	if err := in.Check(); err != nil {
		return nil, 0, err
	}
	bytes = len(in.Snapshot)
	rows = make([]Row, len(in.Events))
	for i, e := range in.Events {
		fields, err := store.EncodeFields(e.Fields)
		if err != nil {
			return nil, 0, in.Fail(fmt.Errorf("event %s: %w", e.Name, err))
		}
		level := ""
		if e.Level != 0 {
			level = e.Level.String()
		}
		rows[i] = Row{
			Own:     e.Machine == in.Machine && e.ID == in.ID,
			Machine: e.Machine, ID: e.ID,
			At:    e.At.UnixMicro(),
			Event: e.Name, Level: level,
			From: e.From, To: e.To, Trigger: e.Trigger,
			Cause:     int64(e.Cause),
			RequestID: string(e.RequestID),
			Fields:    string(fields),
		}
		bytes += len(fields) + rowBytes
	}
	return rows, bytes, nil
}
