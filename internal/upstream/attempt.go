package upstream

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"time"
)

// joinBelow is the size up to which a body of several parts is sent as one
// piece. net/http flushes the headers by themselves before a body that it does
// not know to be in memory, which costs a second packet; above this size the
// packet is nothing and the copy is.
const joinBelow = 64 << 10

// connectLimit is the context key under which a dial finds how long it may
// take.
type connectLimit struct{}

// attempt is one request on its way. It is the context of that request: when a
// timeout ends it, the connection is closed at once.
type attempt struct {
	context.Context
	cancel context.CancelFunc
	parent context.Context // the caller's: its end is not ours
	p      *Provider

	connect, firstToken, stall time.Duration

	clock clock
	trace httptrace.ClientTrace
	body  io.ReadCloser // of the answer; nil before it
	sent  *bytes.Reader // of the request's body; nil where it lets go of the body by itself

	// Guarded by clock.mu; the hooks of the trace write them.
	timing    Timing
	connected bool
	answered  bool // the first byte of the answer came
}

// begin starts an attempt's clock.
func (p *Provider) begin(parent context.Context, c *Call, start time.Time) *attempt {
	a := &attempt{parent: parent, p: p, connect: c.Connect, firstToken: c.FirstToken, stall: c.Stall}
	if a.connect <= 0 {
		a.connect = p.cfg.Connect
	}
	ctx, cancel := context.WithCancel(parent)
	a.cancel = cancel
	a.trace.GotConn = a.gotConn
	a.trace.WroteRequest = a.wroteRequest
	a.trace.GotFirstResponseByte = a.gotFirstByte
	a.Context = httptrace.WithClientTrace(ctx, &a.trace)
	a.timing.Start = start
	a.clock.start = start
	a.clock.over = cancel
	a.clock.warden = p.warden
	p.warden.join(&a.clock)
	if p.fresh == nil { // nothing is dialed, and nobody calls the hooks
		a.connected = true
		a.clock.enter(writing, a.firstToken)
	} else {
		a.clock.enter(connecting, a.connect)
	}
	return a
}

// Value answers connectLimit, and asks the parent for everything else.
func (a *attempt) Value(key any) any {
	if key == (connectLimit{}) {
		return a.connect
	}
	return a.Context.Value(key)
}

// end releases what the attempt holds. The connection is kept if the answer
// was read to its end, and closed if not.
func (a *attempt) end() {
	a.clock.stop()
	a.cancel()
	if a.body != nil {
		a.body.Close()
	}
}

func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	c := &a.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	a.connected = true
	a.timing.Connected = time.Since(c.start)
	a.timing.Reused = info.Reused
	if c.phase <= writing {
		c.enterLocked(writing, a.firstToken)
	}
}

// wroteRequest lets go of the request's body, which net/http keeps as long as it
// reads the answer. It is called by whoever has read the body.
func (a *attempt) wroteRequest(info httptrace.WroteRequestInfo) {
	if info.Err == nil && a.sent != nil {
		a.sent.Reset(nil)
	}
	c := &a.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	if info.Err != nil || c.phase != writing {
		return
	}
	a.timing.Sent = time.Since(c.start)
	c.enterLocked(waiting, a.firstToken)
}

func (a *attempt) gotFirstByte() {
	a.clock.mu.Lock()
	defer a.clock.mu.Unlock()
	a.answered = true
}

// gotHeaders notes the answer. A provider may answer before it has read the
// whole request; the wait for content then goes on from where it is.
func (a *attempt) gotHeaders(resp *http.Response) Timing {
	a.body = resp.Body
	c := &a.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	a.answered = true
	a.timing.Headers = time.Since(c.start)
	if !c.ended && c.phase < waiting {
		c.phase = waiting
	}
	return a.timing
}

// send performs the request. An error is net/http's own.
func (a *attempt) send(rt http.RoundTripper, c *Call, u *url.URL) (*http.Response, error) {
	req := &http.Request{
		Method:     c.Method,
		URL:        u,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     a.p.headers(c),
		Host:       u.Host,
	}
	if req.Method == "" {
		req.Method = http.MethodPost
	}
	if h := a.p.plain["Host"]; h != nil {
		req.Host = h[0]
	}
	if c.Body != nil && c.Body.Len() > 0 {
		// There is no GetBody on purpose: with it net/http would send the
		// request again by itself, on any connection and as often as it likes.
		req.ContentLength = c.Body.Len()
		body := c.Body.Reader()
		if c.Body.Len() <= joinBelow {
			body = bytes.NewReader(c.Body.Bytes())
		}
		a.sent, _ = body.(*bytes.Reader)
		req.Body = io.NopCloser(body)
	}
	return rt.RoundTrip(req.WithContext(a))
}

// Read reads the answer's body under the clock.
func (a *attempt) Read(b []byte) (int, error) {
	a.clock.beforeRead(a.stall)
	n, err := a.body.Read(b)
	a.clock.afterRead(false)
	return n, err
}

// errTooLarge says that an answer is larger than limit.
type errTooLarge struct{ limit int64 }

func (e errTooLarge) Error() string {
	return "answer is larger than " + sizeText(e.limit)
}

// readAll reads the whole body of at most limit bytes. Every byte of it is
// content. What was read is returned with an error, too.
func (a *attempt) readAll(length, limit int64) ([]byte, error) {
	const first, most = 4 << 10, 1 << 20
	size := int64(first)
	if length >= 0 {
		size = min(length+64, most) // room to see the end without growing
	}
	buf := make([]byte, 0, size)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		a.clock.beforeRead(a.stall)
		n, err := a.body.Read(buf[len(buf):cap(buf)])
		a.clock.afterRead(n > 0)
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return buf[:limit], errTooLarge{limit}
		}
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}
