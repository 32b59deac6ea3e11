package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// liveWriter is the one way in which this package writes server-sent events. It
// collects frames until flush, so that a page of history is one write. It
// belongs to one goroutine.
type liveWriter struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	buf  []byte
	last time.Time // of the last flush
}

// livePatience is how long one write may wait for a reader that does not read.
const livePatience = 30 * time.Second

// newLive sends the status and the headers of a stream.
func newLive(w http.ResponseWriter) *liveWriter {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	return &liveWriter{w: w, rc: http.NewResponseController(w)}
}

// message adds one message. seq is the place from which a reader resumes after
// it; 0 leaves its place where it is.
func (l *liveWriter) message(seq drey.Seq, name string, data []byte) {
	id := ""
	if seq != 0 {
		id = strconv.FormatUint(uint64(seq), 10)
	}
	l.buf = sse.AppendLive(l.buf, id, name, data)
}

// place adds a comment that moves the reader's place to seq: clients keep the
// id of a frame without data and show nothing.
func (l *liveWriter) place(seq drey.Seq, comment string) {
	l.buf = append(strconv.AppendUint(append(l.buf, "id: "...), uint64(seq), 10), '\n')
	l.buf = sse.AppendComment(l.buf, comment)
}

// flush sends what was added. An error means that the reader is gone.
func (l *liveWriter) flush() error {
	if len(l.buf) == 0 {
		return nil
	}
	l.last = time.Now()
	_ = l.rc.SetWriteDeadline(l.last.Add(livePatience)) // not every ResponseWriter can; then there is none
	_, err := l.w.Write(l.buf)
	l.buf = l.buf[:0]
	if err != nil {
		return err
	}
	return l.rc.Flush()
}
