// Package sse reads and writes server-sent events: the framing of every
// streamed answer and of drey's own live events.
package sse

import "time"

// Event is one frame of a stream. Raw holds its bytes as they came, with the
// blank line that ends it, so that a relay can pass it on unchanged; Data
// points into Raw where the frame has one data line. Both are valid until the
// next call of Reader.Next.
type Event struct {
	Name  string // the event field; "" if absent
	ID    string
	Retry time.Duration // the retry field; 0 if absent
	Data  []byte        // data lines joined by \n; nil for a frame without one, such as a comment
	Raw   []byte
	// Partial says that the stream ended before the blank line that ends the
	// frame. Raw has been given one all the same, so that it can be passed on;
	// whether Data is whole is for the wire to tell.
	Partial bool
}
