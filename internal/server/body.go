package server

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dreyhq/drey/internal/gateway"
	"github.com/dreyhq/drey/internal/route"
)

var (
	errTooLarge = errors.New("body too large")
	errEncoding = errors.New("unknown content encoding")
	errNotUTF8  = errors.New("it is not UTF-8, as JSON has to be")
)

// A body has bodyGrace to arrive, and a second more for each slowest bytes of
// it. Any network that an agent works over is faster; who is slower holds a
// place that others need.
const (
	bodyGrace = 30 * time.Second
	slowest   = 64 << 10
)

// body reads the request's body, or says how to refuse it.
func (v *visit) body() ([]byte, *gateway.Refusal) {
	size := v.r.ContentLength
	if size < 0 || size > v.d.maxBody {
		size = v.d.maxBody
	}
	rc := http.NewResponseController(v.ResponseWriter)
	patience := bodyGrace + time.Duration(size/slowest)*time.Second
	_ = rc.SetReadDeadline(v.at.Add(patience)) // not every ResponseWriter can; then there is none
	body, err := readBody(v.r, v.d.maxBody)
	if err == nil && !utf8.Valid(body) {
		err = errNotUTF8
	}
	if err != nil {
		// The rest of the body, if there is any, would be read as the next
		// request.
		return nil, &gateway.Refusal{Case: caseOfBody(err), Message: v.bodyMessage(err, patience), Header: closing()}
	}
	// From here on a read waits for the client to go away, for as long as the
	// answer takes.
	_ = rc.SetReadDeadline(time.Time{})
	return body, nil
}

func caseOfBody(err error) route.Case {
	if errors.Is(err, errTooLarge) {
		return route.CaseTooLarge
	}
	return route.CaseBadRequest
}

func (v *visit) bodyMessage(err error, patience time.Duration) string {
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, errTooLarge):
		return fmt.Sprintf("the body is larger than %s (listen.max_body_mb)", sizeText(v.d.maxBody))
	case errors.Is(err, errEncoding):
		return err.Error() + "; send the body plain, or as gzip or deflate"
	case isNet && timeout.Timeout():
		return fmt.Sprintf("the body did not arrive within %s", patience)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the body ended before its end"
	default:
		return "the body cannot be read: " + err.Error()
	}
}

func sizeText(n int64) string {
	if n >= 1<<20 && n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}

// readBody reads a request's body whole, unpacked, of at most limit bytes.
// Where the length is known it is read into one buffer of that size, so that a
// long prompt is not copied while the buffer grows.
func readBody(r *http.Request, limit int64) ([]byte, error) {
	switch enc := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); enc {
	case "", "identity":
		return readPlain(r, limit)
	case "gzip", "x-gzip":
		return unpack(r.Body, limit, "gzip", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) })
	case "deflate":
		return unpack(r.Body, limit, "deflate", func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) })
	default:
		return nil, fmt.Errorf("%w %q", errEncoding, clip(enc))
	}
}

func readPlain(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	if r.ContentLength < 0 {
		return readAll(r.Body, limit)
	}
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return nil, err
	}
	return body, end(r.Body)
}

// end reads the end of a body of which every byte was read. The server sees
// that a client has gone only once that was read.
func end(r io.Reader) error {
	var none [1]byte
	if _, err := r.Read(none[:]); err != nil && err != io.EOF {
		return err
	}
	return nil
}

// unpack reads a compressed body. What counts is its size unpacked; but a
// stream that never unpacks to anything has to end too.
func unpack(r io.Reader, limit int64, name string, open func(io.Reader) (io.Reader, error)) ([]byte, error) {
	packed := &io.LimitedReader{R: r, N: limit + limit/16 + 64<<10} // more than what does not compress grows by
	all := bufio.NewReader(packed)                                  // the unpackers read no further in it than they need
	z, err := open(all)
	if err != nil {
		return nil, notPacked(name, err)
	}
	body, err := readAll(z, limit)
	switch {
	case packed.N <= 0:
		return nil, errTooLarge
	case err != nil:
		return nil, notPacked(name, err)
	}
	// Neither format needs to be read to its last byte to be whole.
	if n, err := io.Copy(io.Discard, all); err != nil || n > 0 {
		return nil, notPacked(name, errors.Join(err, errors.New("something follows its end")))
	}
	return body, nil
}

// notPacked tells a body that is not what it says from one that did not come.
func notPacked(name string, err error) error {
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, errTooLarge) || errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return fmt.Errorf("it is not %s: %w", name, err)
}

func readAll(r io.Reader, limit int64) ([]byte, error) {
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(r, limit+1))
	if n > limit {
		return nil, errTooLarge
	}
	return b.Bytes(), err
}
