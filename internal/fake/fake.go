// Package fake is a scriptable upstream: a model server that behaves, and
// misbehaves, as told. It stands behind "demo:" providers and "drey demo", and
// behind the tests of everything that calls a model.
//
// It speaks both provider wires (Anthropic Messages and OpenAI Chat
// Completions), streamed and not, with the frames of the real servers, and
// knows nothing of the codecs in internal/wire: what those read is written here
// a second time and independently, so that one checks the other.
//
//	up := fake.New(fake.Options{Script: fake.Sequence(
//		fake.ServerError(),
//		fake.Text("hello").CutAfter(3, fake.RST),
//		fake.CallTool(`{"command":"ls"}`).Then(fake.Text("done")),
//	)})
//	client := &http.Client{Transport: up} // in the process, no port
//	server, err := up.Listen()            // or on a real loopback port
package fake

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Script says how the n-th call of a model is answered; n counts from 1. It is
// asked by several requests at once and must allow that.
type Script func(n int, r Request) Behaviour

// Always answers every call in the same way.
func Always(b Behaviour) Script { return func(int, Request) Behaviour { return b } }

// Sequence answers the first call with the first behaviour and so on; the last
// one goes on for ever. An empty sequence answers "ok".
func Sequence(bs ...Behaviour) Script {
	if len(bs) == 0 {
		return Always(Text("ok"))
	}
	return func(n int, _ Request) Behaviour { return bs[min(n, len(bs))-1] }
}

// FailFirst answers the first count calls with fault and all later ones with
// then.
func FailFirst(count int, fault, then Behaviour) Script {
	return func(n int, _ Request) Behaviour {
		if n <= count {
			return fault
		}
		return then
	}
}

// Options configure an Upstream. The zero value answers every call with "ok".
type Options struct {
	Script Script   // nil: every call is answered with "ok"
	Models []string // what GET /v1/models lists; nil: "fake-model"
	// Ollama gives the frames and gaps of Ollama instead of those of
	// Anthropic and OpenAI: the role in every chunk, no ping, a guess as the
	// first usage, no count_tokens, tool calls in one piece.
	Ollama bool
	// Now and Sleep are the clock; nil is the real one. Sleep returns early
	// with ctx's error when ctx ends.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error
}

// Upstream is a scripted model server. It is an http.Handler, and an
// http.RoundTripper that plays the same inside the process: a cut, a reset or
// a cancel there reaches the caller as the error that a socket would give.
// It is safe for concurrent use.
type Upstream struct {
	opts Options
	wg   sync.WaitGroup // requests in progress
	stop context.CancelFunc
	life context.Context // ends with Close; a server's own lifetime, not a request's

	mu      sync.Mutex
	calls   int // of a model, so far
	outage  *Behaviour
	records []*record
	changed chan struct{} // closed and replaced at each change of a record
	closed  bool
}

// New returns an upstream. Close ends what it still has in progress.
func New(o Options) *Upstream {
	if o.Script == nil {
		o.Script = Always(Text("ok"))
	}
	if o.Models == nil {
		o.Models = []string{"fake-model"}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	life, stop := context.WithCancel(context.Background())
	return &Upstream{opts: o, life: life, stop: stop, changed: make(chan struct{})}
}

// Outage lets every request, of a model or not, be answered with b until
// Restore. Requests in progress go on. An outage counts no calls of the
// script.
func (u *Upstream) Outage(b Behaviour) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.outage = &b
}

// Restore ends an outage.
func (u *Upstream) Restore() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.outage = nil
}

// Close ends every request in progress as if its connection were lost, and
// waits for them. Later requests are refused.
func (u *Upstream) Close() {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	u.stop()
	u.wg.Wait()
}

// begin admits a request; false after Close.
func (u *Upstream) begin() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return false
	}
	u.wg.Add(1)
	return true
}

// sink is the connection that a behaviour is played to.
type sink interface {
	http.ResponseWriter
	Flush() error
	// lose ends the connection in the given way; nothing may follow.
	lose(how Loss)
}

// serve answers one request on s.
func (u *Upstream) serve(ctx context.Context, s sink, r *http.Request) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(u.life, cancel)()

	// A caller's broken body is the caller's end of the connection.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.lose(FIN)
		return
	}
	rec, b := u.admit(r, body)
	defer u.end(ctx, rec)
	defer context.AfterFunc(ctx, func() { u.cancelled(rec) })()

	req := u.snapshot(rec)
	if b != nil {
		u.play(ctx, s, req, *b)
		return
	}
	switch req.Kind {
	case Models:
		writeJSON(s, http.StatusOK, modelList(u.opts, r.Header.Get("anthropic-version") != ""))
	case CountTokens:
		u.countTokens(s, req)
	default:
		u.play(ctx, s, req, NotFound())
	}
}

// admit records a request and decides how it is answered; nil leaves it to
// the routes that are no call of a model.
func (u *Upstream) admit(r *http.Request, body []byte) (*record, *Behaviour) {
	req := readRequest(r, body)
	u.mu.Lock()
	req.At = u.opts.Now()
	if u.outage != nil {
		b := *u.outage
		rec := u.addLocked(req)
		u.mu.Unlock()
		return rec, &b
	}
	isCall := req.Kind == Messages || req.Kind == Chat
	if isCall {
		u.calls++
		req.N = u.calls
	}
	rec := u.addLocked(req)
	u.mu.Unlock()
	if !isCall {
		return rec, nil
	}
	b := u.opts.Script(req.N, req)
	return rec, &b
}

func (u *Upstream) countTokens(s sink, r Request) {
	if u.opts.Ollama {
		http.Error(s, "404 page not found", http.StatusNotFound)
		return
	}
	writeJSON(s, http.StatusOK, format(`{"input_tokens":%d}`, estimate(len(r.Body))))
}

func modelList(o Options, anthropic bool) []byte {
	var rows []string
	for _, m := range o.Models {
		if anthropic && !o.Ollama {
			rows = append(rows, string(format(`{"type":"model","id":%s,"display_name":%s,"created_at":"2025-01-01T00:00:00Z"}`, quote(m), quote(m))))
			continue
		}
		owner := "system"
		if o.Ollama {
			owner = "library"
		}
		rows = append(rows, string(format(`{"id":%s,"object":"model","created":1735689600,"owned_by":%s}`, quote(m), quote(owner))))
	}
	data := strings.Join(rows, ",")
	if anthropic && !o.Ollama {
		first, last := "", ""
		if len(o.Models) > 0 {
			first, last = o.Models[0], o.Models[len(o.Models)-1]
		}
		return format(`{"data":[%s],"has_more":false,"first_id":%s,"last_id":%s}`, data, quote(first), quote(last))
	}
	return format(`{"object":"list","data":[%s]}`, data)
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a caller that is gone is seen by its context
}

// quote writes a string as JSON.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string can always be written
	}
	return string(b)
}

// sleep waits for d or the end of ctx. No wait takes no timer: in a synctest
// bubble two goroutines that look at a timer which is due already crash the race
// detector (go.dev/issue/78156).
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
