package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/dreyhq/drey"
)

// Captures keeps requests as they came, with what the providers answered, for a
// person to look at and to send again. It is telemetry: written in the same
// batches, lost with the last second of a crash, and never waited for.
type Captures interface {
	// PutCapture queues a capture. It never blocks; one that the queue has no
	// room for is dropped and counted (Telemetry.Dropped). One with the id of an
	// earlier one replaces it. Once it is written, the oldest captures go until
	// what is left holds no more than most bytes; 0 is no bound. The store keeps
	// c.Whole, which must not be changed.
	PutCapture(c Capture, most int64)
	// Captures returns captures that have been written, newest first and
	// without their Whole. A cursor that is none is ErrCursor.
	Captures(ctx context.Context, q CaptureQuery) (CapturePage, error)
	// Capture returns one capture, or ErrNotFound.
	Capture(ctx context.Context, id drey.RequestID) (Capture, error)
}

// Capture is one request as it was kept: columns for the list, and the whole as
// JSON.
type Capture struct {
	ID       drey.RequestID
	At       time.Time // arrival, to the microsecond
	Profile  string
	Provider string // who served; "" if none
	Outcome  string // as of a RequestRow
	Bytes    int64  // the length of Whole, as the store writes it; PutCapture does not read it
	Whole    json.RawMessage
}

// CaptureQuery selects captures. The zero value selects the newest 100.
type CaptureQuery struct {
	Before string // opaque cursor
	Limit  int    // 0 = 100; more than 1000 is 1000
}

// CapturePage is one page of captures.
type CapturePage struct {
	Captures []Capture
	Next     string // cursor; "" if this was the last page
}

// PageOfCaptures makes a page of captures that were read in the order of a list,
// one more than limit if there are more. Backends share it.
func PageOfCaptures(list []Capture, limit int) CapturePage {
	if len(list) <= limit {
		return CapturePage{Captures: list}
	}
	last := list[limit-1]
	return CapturePage{list[:limit], RequestCursor{At: last.At, ID: last.ID}.String()}
}
