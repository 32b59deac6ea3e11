package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noLeaks fails the test if a goroutine is left after all of its cleanups.
func noLeaks(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
}

// peer plays a provider on one connection.
type peer struct {
	net.Conn
	r *bufio.Reader
}

// request reads one request with its body. At the end of the connection it
// returns nil.
func (c *peer) request() *http.Request {
	req, err := http.ReadRequest(c.r)
	if err != nil {
		return nil
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil
	}
	req.Body = io.NopCloser(strings.NewReader(string(body)))
	return req
}

// say writes; a connection that is gone is the other side's decision.
func (c *peer) say(text string) { io.WriteString(c, text) }

// reset closes the connection with RST instead of FIN.
func (c *peer) reset() {
	c.Conn.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// gone waits until the other side has closed the connection.
func (c *peer) gone() { io.Copy(io.Discard, c.r) }

const (
	streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	streamEnd  = "0\r\n\r\n"
)

func chunk(s string) string {
	const hex = "0123456789abcdef"
	n := len(s)
	return string([]byte{hex[n>>12&15], hex[n>>8&15], hex[n>>4&15], hex[n&15]}) + "\r\n" + s + "\r\n"
}

func jsonAnswer(body string) string {
	return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

// listen serves real connections; the nth one is given to script with n from
// 0. All is closed and awaited at the end of the test.
func listen(t *testing.T, script func(c *peer, n int)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				script(&peer{conn, bufio.NewReader(conn)}, n)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return "http://" + l.Addr().String() + "/v1"
}

// provider returns a Provider that is closed at the end of the test.
func provider(t *testing.T, cfg Config) *Provider {
	t.Helper()
	if cfg.ID == "" {
		cfg.ID = "p"
	}
	if cfg.Wire == drey.WireNone {
		cfg.Wire = drey.WireChat
	}
	p := New(cfg)
	t.Cleanup(p.Close)
	return p
}

// piped returns a Provider whose connections are pipes, for use in a bubble of
// synctest. The nth dial is served by the nth script; one more dial blocks
// until it is given up.
func piped(t *testing.T, cfg Config, scripts ...func(c *peer)) *Provider {
	t.Helper()
	cfg.URL = "http://provider.test/v1"
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait) // after the provider is closed
	p := provider(t, cfg)
	var mu sync.Mutex
	for _, tr := range p.close {
		tr.Proxy = nil
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			if len(scripts) == 0 {
				limit, _ := ctx.Value(connectLimit{}).(time.Duration)
				ctx, cancel := context.WithTimeout(ctx, limit)
				defer cancel()
				<-ctx.Done()
				return nil, ctx.Err()
			}
			script := scripts[0]
			scripts = scripts[1:]
			ours, theirs := net.Pipe()
			wg.Go(func() {
				defer theirs.Close()
				script(&peer{theirs, bufio.NewReader(theirs)})
			})
			return ours, nil
		}
	}
	return p
}

func call() Call {
	return Call{Path: "/chat/completions", Body: wire.NewBody([]byte(`{"a":`), []byte(`1}`)), FirstToken: 30 * time.Second, Stall: 60 * time.Second}
}

func streamCall() Call {
	c := call()
	c.Stream = true
	return c
}

// failed returns err as the Failure that it must be.
func failed(t *testing.T, err error) *Failure {
	t.Helper()
	f, ok := errors.AsType[*Failure](err)
	if !ok {
		t.Fatalf("error is %T %v, want a *Failure", err, err)
	}
	if f.Provider != "p" || f.Error() == "" {
		t.Errorf("failure %+v names no provider or has no text", f)
	}
	return f
}

func wantFault(t *testing.T, err error, want route.Fault, class drey.Class) *Failure {
	t.Helper()
	f := failed(t, err)
	if f.Fault != want || f.Class != class {
		t.Errorf("fault %d class %s (%v), want fault %d class %s", f.Fault, f.Class, err, want, class)
	}
	return f
}

// drain reads a stream to its end, taking every frame with data as content.
func drain(s *Stream) (frames int, err error) {
	for {
		ev, err := s.Next()
		if err != nil {
			return frames, err
		}
		if ev.Data != nil {
			s.Content()
			frames++
		}
	}
}

// quiet takes what net/http's servers say of the faults that tests provoke.
var quiet = log.New(io.Discard, "", 0)
