package process

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// keptOutput is how much of an output is kept: its last 8 KiB (the healing contract §6).
const keptOutput = 8 << 10

// tail keeps the end of what is written to it. It is safe for concurrent use.
type tail struct {
	mu  sync.Mutex
	buf []byte // at most 2 × keptOutput, so that moving it is rare
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(b)
	b = b[max(0, n-keptOutput):]
	if len(t.buf)+len(b) > 2*keptOutput {
		keep := t.buf[max(0, len(t.buf)-(keptOutput-len(b))):]
		t.buf = t.buf[:copy(t.buf, keep)]
	}
	t.buf = append(t.buf, b...)
	return n, nil
}

// String returns the end of the output as valid UTF-8: a character that was
// cut in two at the front is dropped.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return lastBytes(string(t.buf), keptOutput)
}

// lastBytes returns at most n bytes from the end of s, beginning with a whole
// character. What is no UTF-8 becomes U+FFFD.
func lastBytes(s string, n int) string {
	if cut := len(s) - n; cut > 0 {
		for i := 0; i < 3 && cut < len(s) && s[cut]&0xC0 == 0x80; i++ {
			cut++ // the rest of a character
		}
		s = s[cut:]
	}
	if s = strings.ToValidUTF8(s, "\uFFFD"); len(s) > n {
		return lastBytes(s, n) // the replacement is longer than what it replaced
	}
	return s
}

// drainMax is how much of a pipe is read after the first process has ended. A
// child that lives on may never stop writing; what the first process wrote is
// in the pipe's buffer, which is smaller than this everywhere.
const drainMax = 1 << 20

// tap reads a pipe and writes all of it to sink, so that whoever writes into
// the pipe never waits. One goroutine serves it until finish.
type tap struct {
	r    *os.File
	sink io.Writer     // its errors are of no concern to the writer
	done chan struct{} // closed when the goroutine has ended
	eof  bool          // nobody has the other end any more; after done
}

// openTap returns a tap that runs, and the end of the pipe for the writer.
func openTap(sink io.Writer) (*tap, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	t := &tap{r: r, sink: sink, done: make(chan struct{})}
	go t.serve()
	return t, w, nil
}

func (t *tap) serve() {
	defer close(t.done)
	buf := make([]byte, 32<<10)
	for {
		n, err := t.r.Read(buf)
		if n > 0 {
			_, _ = t.sink.Write(buf[:n])
		}
		if err != nil {
			t.eof = errors.Is(err, io.EOF)
			return
		}
	}
}

// finish takes what is in the pipe by now, ends the goroutine, and reports
// whether the pipe is at its end; if it is not, somebody still has the other
// end of it. It does not wait for more to come. The pipe stays open.
func (t *tap) finish() (eof bool) {
	_ = t.r.SetReadDeadline(time.Unix(1, 0))
	<-t.done
	if t.eof {
		return true
	}
	_ = t.r.SetReadDeadline(time.Time{})
	raw, err := t.r.SyscallConn()
	if err != nil {
		return true
	}
	buf := make([]byte, 32<<10)
	for total := 0; total < drainMax; {
		var n int
		var rerr error
		if err := raw.Read(func(fd uintptr) bool {
			n, rerr = unix.Read(int(fd), buf) // the pipe is non-blocking
			return true
		}); err != nil {
			return true
		}
		switch {
		case rerr == unix.EINTR:
			continue
		case rerr != nil: // EAGAIN: it is empty, and somebody could fill it
			return false
		case n == 0:
			return true
		}
		_, _ = t.sink.Write(buf[:n])
		total += n
	}
	return false
}

func (t *tap) close() { _ = t.r.Close() }
