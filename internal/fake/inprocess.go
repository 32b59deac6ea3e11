package fake

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// errReset and errRefused are what a socket gives; callers look for the
// syscall.Errno in them.
var (
	errReset   = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
)

// RoundTrip answers a request inside the process, without a port. The body
// must be closed, as always.
func (u *Upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	body := io.NopCloser(http.NoBody)
	if r.Body != nil {
		body = r.Body
	}
	defer body.Close()
	if !u.begin() {
		return nil, errRefused
	}
	// The handler must not touch the caller's request once RoundTrip has
	// returned, so it gets its own, and the body is read here.
	data, err := io.ReadAll(body)
	if err != nil {
		u.wg.Done()
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	in := r.Clone(ctx)
	in.Body = io.NopCloser(bytes.NewReader(data))

	pr, pw := io.Pipe()
	s := &process{pw: pw, header: http.Header{}, ready: make(chan struct{}), cancel: cancel}
	stop := context.AfterFunc(ctx, func() { pw.CloseWithError(context.Cause(ctx)) })
	// Close must free a handler whose caller neither reads nor closes.
	release := context.AfterFunc(u.life, func() { pw.CloseWithError(io.ErrUnexpectedEOF) })
	go func() {
		defer u.wg.Done()
		defer stop()
		defer release()
		u.serve(ctx, s, in)
		s.finish(ctx, u.life.Err() != nil)
	}()

	select {
	case <-s.ready:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if s.early != nil {
		cancel(s.early)
		return nil, s.early
	}
	return s.response(r, &bodyReader{pr, cancel}), nil
}

// errBodyClosed tells the handler that its caller has closed the body.
var errBodyClosed = errors.New("the answer's body was closed")

// bodyReader is an answer's body. Closing it is what closing a connection is
// over a socket: the fake sees that its caller is gone.
type bodyReader struct {
	*io.PipeReader
	cancel context.CancelCauseFunc
}

func (b *bodyReader) Close() error {
	b.cancel(errBodyClosed)
	return b.PipeReader.Close()
}

// process is a connection inside the process.
type process struct {
	pw     *io.PipeWriter
	header http.Header
	cancel context.CancelCauseFunc

	once   sync.Once
	ready  chan struct{} // closed when status, sent and early are set
	status int
	sent   http.Header
	early  error // the connection was lost before headers

	left   int64 // of a declared length; -1 = none declared
	isLost bool
}

func (p *process) Header() http.Header { return p.header }

func (p *process) WriteHeader(status int) {
	p.once.Do(func() {
		p.status, p.sent, p.left = status, p.header.Clone(), -1
		if n, err := strconv.ParseInt(p.header.Get("Content-Length"), 10, 64); err == nil {
			p.left = n
		}
		close(p.ready)
	})
}

func (p *process) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	n, err := p.pw.Write(b)
	if p.left >= 0 {
		p.left -= int64(n)
	}
	return n, err
}

func (p *process) Flush() error {
	p.WriteHeader(http.StatusOK)
	return nil
}

func (p *process) lose(how Loss) {
	if how == Clean {
		return
	}
	p.isLost = true
	early, late := error(errReset), error(errReset)
	switch how {
	case FIN:
		early, late = io.EOF, io.ErrUnexpectedEOF
	case refusal:
		early = errRefused
	}
	p.once.Do(func() {
		p.early = early
		close(p.ready)
	})
	_ = p.pw.CloseWithError(late) // never fails
}

// finish ends the body when the handler has returned.
func (p *process) finish(ctx context.Context, closed bool) {
	switch {
	case p.isLost:
	case ctx.Err() != nil: // the caller is gone, and must not see a proper end
		_ = p.pw.CloseWithError(context.Cause(ctx)) // never fails
	case closed:
		p.lose(FIN)
	default:
		p.WriteHeader(http.StatusOK)
		if p.left > 0 {
			_ = p.pw.CloseWithError(io.ErrUnexpectedEOF) // never fails
		}
		_ = p.pw.Close() // never fails
	}
}

func (p *process) response(r *http.Request, body io.ReadCloser) *http.Response {
	length := int64(-1)
	if n, err := strconv.ParseInt(p.sent.Get("Content-Length"), 10, 64); err == nil {
		length = n
	}
	return &http.Response{
		Status:     strconv.Itoa(p.status) + " " + http.StatusText(p.status),
		StatusCode: p.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: p.sent, Body: body, ContentLength: length, Request: r,
	}
}
