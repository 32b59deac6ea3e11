package upstream

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/wire"
)

// Call is one request to a provider, in the provider's own wire.
type Call struct {
	Method string // "" = POST
	Path   string // below the provider's base: "/messages", "/chat/completions"
	Query  string // the caller's, without the question mark
	Body   *wire.Body
	// Port replaces that of the provider's URL, where a backend of ours listens
	// elsewhere after each start; 0 leaves it.
	Port int

	// Header holds the caller's headers; only those go on that the contract
	// lets through. CallerKey is the caller's credential, sent only if the
	// provider's configuration says so.
	Header    http.Header
	CallerKey string

	Stream bool // the body asks for a stream

	// Connect bounds dial and TLS (0 = the provider's). FirstToken bounds the
	// time from the last byte of the request to the first content; without
	// Stream, to the first byte of the body. Stall bounds the time between
	// contents. 0 sets no bound for these two.
	Connect, FirstToken, Stall time.Duration

	// NotReady says that the provider is a process of ours that is not ready:
	// a failure then means that it is loading.
	NotReady bool

	// Tap is shown what comes; nil = nobody looks.
	Tap Tap
}

// Answer is a provider's answer with a status of 2xx. Exactly one of JSON and
// Stream is set, except that an empty body gives empty JSON.
type Answer struct {
	Status int
	Header http.Header
	JSON   []byte  // the whole body: also where a stream was asked for and JSON came
	Stream *Stream // must be closed
	Timing Timing
}

// Timing says when things happened. The spans count from Start; 0 means that
// it did not happen, or not yet when the answer's headers came.
type Timing struct {
	Start     time.Time
	Connected time.Duration // a connection was had
	Sent      time.Duration // the last byte of the request was written
	Headers   time.Duration // the answer's headers came
	Reused    bool          // the connection had served before
	Resent    bool          // it was stale, and the request went again on a fresh one
}

// ErrTotalTimeout is the cause with which a caller of Do ends the context when
// the request's total time is over. Any other end of the context but its
// deadline means that the client went away.
var ErrTotalTimeout = errors.New("total time over")

// Do performs one attempt. The error is always a *Failure.
//
// A connection that was kept open may turn out to be closed by the other side
// only when it is used. If it breaks before any byte of an answer, the request
// is sent once more on a fresh connection; that is no second attempt.
func (p *Provider) Do(ctx context.Context, c Call) (*Answer, error) {
	return p.do(ctx, &c, p.at(p.endpoint(c.Path, c.Query), c.Port))
}

func (p *Provider) do(ctx context.Context, c *Call, u *url.URL) (*Answer, error) {
	a := p.begin(ctx, c, time.Now())
	resp, err := a.send(p.rt, c, u)
	if err != nil && p.fresh != nil && a.stale(err) {
		a.end()
		a = p.begin(ctx, c, a.timing.Start)
		a.timing.Resent = true
		resp, err = a.send(p.fresh, c, u)
	}
	if err != nil {
		return nil, a.fail(c, a.evidence(err, route.OtherTransport), nil, err)
	}
	c.Body = nil // it is not sent again, and an answer may take long
	timing := a.gotHeaders(resp)
	if c.Tap != nil {
		a.tapped(c.Tap, resp)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, a.refusal(c, resp)
	}
	ans := &Answer{Status: resp.StatusCode, Header: resp.Header, Timing: timing}
	asStream := false
	if c.Stream {
		if asStream, err = streams(resp); err != nil {
			return nil, a.fail(c, route.Evidence{Fault: route.MalformedAnswer, Text: err.Error()}, resp, err)
		}
	}
	if asStream {
		ans.Stream = newStream(a, c, resp)
		return ans, nil
	}
	ans.JSON, err = a.readAll(resp.ContentLength, p.maxAnswer)
	if err != nil {
		return nil, a.fail(c, a.evidence(err, route.CutAnswer), resp, err)
	}
	a.end()
	return ans, nil
}

// streams reports whether the answer to a request for a stream is one. JSON is
// taken as it is; a missing type is left to the reader of the frames. Anything
// else is not the wire.
func streams(resp *http.Response) (bool, error) {
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return false, errors.New("a stream came compressed as " + enc)
	}
	header := resp.Header.Get("Content-Type")
	if header == "" || header == "text/event-stream" {
		return true, nil
	}
	switch kind, _, _ := mime.ParseMediaType(header); kind {
	case "text/event-stream":
		return true, nil
	case "application/json", "text/json":
		return false, nil
	default:
		return false, errors.New("a stream was asked for, and " + header + " came")
	}
}

// refusal turns an answer that is no success into a Failure. The status is
// known: a body that breaks or hangs is used as far as it came.
func (a *attempt) refusal(c *Call, resp *http.Response) *Failure {
	a.clock.enter(settling, errorBodyWait)
	body, err := io.ReadAll(io.LimitReader(a.body, maxErrorBody))
	ev := route.Evidence{Status: resp.StatusCode, Header: resp.Header.Get, Body: body}
	if err != nil && a.parent.Err() != nil {
		ev = a.evidence(err, route.OtherTransport)
	}
	return a.fail(c, ev, resp, nil)
}
