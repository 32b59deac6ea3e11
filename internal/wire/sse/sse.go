// Package sse reads and writes server-sent events: the framing of every
// streamed answer and of drey's own live events.
package sse

// Event is one frame of a stream. Raw holds its bytes as they came, with the
// blank line that ends it, so that a relay can pass it on unchanged; Data
// points into Raw where the frame has one data line. Both are valid until the
// next call of Reader.Next.
type Event struct {
	Name string // the event field; "" if absent
	ID   string
	Data []byte // data lines joined by \n; nil for a frame of comments only
	Raw  []byte
}
