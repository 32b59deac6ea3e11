package sse

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"time"
)

// ErrTooLarge says that a frame is larger than the Reader takes.
var ErrTooLarge = errors.New("sse: frame too large")

// MaxFrame is the largest frame that a Reader takes unless it is told another
// size. It is far above any honest frame (a tool call with a whole file in it)
// and keeps a broken backend from filling the memory.
const MaxFrame = 64 << 20

// firstBuffer holds nearly every frame of a model's stream; longer ones grow
// the buffer once and it stays. It is as much as net/http reads at once: more
// would stay empty, a thousand times in a daemon with a thousand streams.
const firstBuffer = 4 << 10

// maxNames bounds the names that a Reader remembers. The wires have about
// twenty; a hostile stream gets no more memory than this.
const maxNames = 64

// A Reader splits a stream into frames. It takes all line ends (LF, CRLF, CR)
// and a byte order mark, and the same bytes give the same frames however they
// are cut into reads. In the steady state it allocates nothing per frame. It
// belongs to one goroutine.
type Reader struct {
	src   io.Reader
	limit int
	names map[string]string // interned event names

	buf     []byte
	from    int // the current frame begins here
	to      int // the bytes of buf that are filled
	started bool
	err     error  // of src; told once the frames before it are
	joined  []byte // scratch for several data lines
}

// NewReader returns a Reader of src. A frame larger than limit bytes is
// ErrTooLarge; limit 0 stands for MaxFrame.
func NewReader(src io.Reader, limit int) *Reader {
	if limit <= 0 {
		limit = MaxFrame
	}
	return &Reader{src: src, limit: limit, names: map[string]string{}}
}

// line is one line of the current frame; the offsets count from its beginning.
type line struct {
	from, to, next int
	bareCR         bool
}

// Next returns the next frame. Comments without data are frames too. Blank
// lines before a frame are part of its Raw. At the end of the stream it returns
// io.EOF, after a last frame without its blank line was returned as Partial;
// any other error of the source is returned as it is, and an unfinished frame
// before it is dropped.
func (r *Reader) Next() (Event, error) {
	if !r.started {
		if err := r.skipMark(); err != nil {
			return Event{}, err
		}
	}
	var ev Event
	var (
		at       int  // the next line begins here, counted from r.from
		fields   bool // some line was not blank
		nData    int
		dataFrom int
		dataTo   int
		bareCR   bool // the line before ended with a CR alone
	)
	r.joined = r.joined[:0]
	for {
		ln, ok, err := r.line(at, bareCR)
		if err != nil {
			return Event{}, err
		}
		if !ok { // the stream is at its end, and no frame is open
			if !fields {
				r.from = r.to
				return Event{}, r.err
			}
			r.complete()
			ev.Partial = true
			ln.next = r.to - r.from
		}
		if !ok || ln.from == ln.to && fields {
			ev.Raw = r.buf[r.from : r.from+ln.next]
			switch nData {
			case 0:
			case 1:
				ev.Data = ev.Raw[dataFrom:dataTo:dataTo]
			default:
				ev.Data = r.joined
			}
			r.from += ln.next
			if len(ev.Raw) > r.limit && !ev.Partial {
				return Event{}, ErrTooLarge
			}
			return ev, nil
		}
		at, bareCR = ln.next, ln.bareCR
		if ln.from == ln.to {
			continue // a blank line before the frame
		}
		fields = true
		text := r.buf[r.from+ln.from : r.from+ln.to]
		name, value, skip := cutField(text)
		switch string(name) {
		case "data":
			if nData++; nData == 1 {
				dataFrom, dataTo = ln.from+skip, ln.to
				continue
			}
			if nData == 2 {
				r.joined = append(r.joined, r.buf[r.from+dataFrom:r.from+dataTo]...)
			}
			r.joined = append(append(r.joined, '\n'), value...)
		case "event":
			ev.Name = r.intern(value)
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				ev.ID = string(value)
			}
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
				ev.Retry = time.Duration(ms) * time.Millisecond
			}
		}
	}
}

// Ready reports whether Next will return a frame without reading on. It errs on
// the side of false, for streams whose lines end in CR alone.
func (r *Reader) Ready() bool {
	b := r.buf[r.from:r.to]
	return bytes.Contains(b, []byte("\n\n")) || bytes.Contains(b, []byte("\n\r\n"))
}

// cutField splits a line at its colon and takes one space off the value, which
// begins skip bytes into the line. A comment has an empty name.
func cutField(text []byte) (name, value []byte, skip int) {
	i := bytes.IndexByte(text, ':')
	if i < 0 {
		return text, nil, len(text)
	}
	skip = i + 1
	if skip < len(text) && text[skip] == ' ' {
		skip++
	}
	return text[:i], text[skip:], skip
}

// line finds the line at offset at of the current frame, reading on as needed.
// ok is false at the end of the stream if no byte of a line is left; a last
// line without its end is returned as one.
//
// A CR may be the first half of a CRLF. Whether it is must not depend on where
// a read ended, and a frame that is complete must not wait for the next one:
// so the blank line after a line that ended with a CR alone ends with its CR,
// and in every other case the next byte decides.
func (r *Reader) line(at int, bareCR bool) (ln line, ok bool, err error) {
	searched := at
	for {
		b := r.buf[r.from:r.to]
		lf := bytes.IndexByte(b[searched:], '\n')
		end := len(b)
		if lf >= 0 {
			end = searched + lf
		}
		if cr := bytes.IndexByte(b[searched:end], '\r'); cr >= 0 {
			cr += searched
			switch {
			case cr+1 < len(b) && b[cr+1] == '\n' && (cr != at || !bareCR):
				return line{from: at, to: cr, next: cr + 2}, true, nil
			case cr+1 < len(b) || cr == at && bareCR || r.err == io.EOF:
				return line{from: at, to: cr, next: cr + 1, bareCR: true}, true, nil
			}
			end = cr // come back to it with the next byte
		} else if lf >= 0 {
			return line{from: at, to: end, next: end + 1}, true, nil
		}
		if r.err != nil {
			if r.err != io.EOF {
				return line{}, false, r.err
			}
			if at == len(b) {
				return line{}, false, nil
			}
			return line{from: at, to: len(b), next: len(b)}, true, nil
		}
		searched = end
		if err := r.fill(); err != nil {
			return line{}, false, err
		}
	}
}

// fill reads once more. An error of the source is kept in r.err, where the
// lines that are there already go before it.
func (r *Reader) fill() error {
	if r.to-r.from > r.limit {
		return ErrTooLarge
	}
	if r.from > 0 && (r.from == r.to || r.to == len(r.buf)) {
		r.to = copy(r.buf, r.buf[r.from:r.to])
		r.from = 0
	}
	if r.to == len(r.buf) {
		grown := make([]byte, max(firstBuffer, min(2*len(r.buf), r.limit+1)))
		copy(grown, r.buf[:r.to])
		r.buf = grown
	}
	for range 100 {
		n, err := r.src.Read(r.buf[r.to:])
		r.to += n
		if err != nil {
			r.err = err
			return nil
		}
		if n > 0 {
			return nil
		}
	}
	r.err = io.ErrNoProgress
	return nil
}

// skipMark drops a byte order mark at the beginning of the stream.
func (r *Reader) skipMark() error {
	const mark = "\xef\xbb\xbf"
	for {
		b := r.buf[r.from:r.to]
		n := min(len(b), len(mark))
		if string(b[:n]) != mark[:n] || n < len(mark) && r.err != nil {
			break
		}
		if n == len(mark) {
			r.from += n
			break
		}
		if err := r.fill(); err != nil {
			return err
		}
	}
	r.started = true
	return nil
}

// complete gives the last frame of a stream the line ends that it lacks.
func (r *Reader) complete() {
	b := r.buf[r.from:r.to]
	lack := "\n\n"
	if c := b[len(b)-1]; c == '\n' || c == '\r' {
		lack = "\n"
	}
	r.buf = append(r.buf[:r.to], lack...)
	r.to = len(r.buf)
}

func (r *Reader) intern(b []byte) string {
	if s, ok := r.names[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(r.names) < maxNames {
		r.names[s] = s
	}
	return s
}
