package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/wire"
)

// TestFaults breaks the connection in every way that a real one breaks, over
// real sockets.
func TestFaults(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	tests := []struct {
		name   string
		stream bool
		script func(c *peer)
		fault  route.Fault
		class  drey.Class
		counts bool
	}{
		{"reset before headers", false, func(c *peer) { c.request(); c.reset() }, route.Reset, drey.Transport, true},
		{"reset within the request", false, func(c *peer) { c.r.ReadByte(); c.reset() }, route.Reset, drey.Transport, true},
		{"end before headers", false, func(c *peer) { c.request() }, route.EndOfFile, drey.Transport, true},
		{"end within headers", false, func(c *peer) { c.request(); c.say(head) }, route.EndOfFile, drey.Transport, true},
		{"no HTTP", false, func(c *peer) { c.request(); c.say("SSH-2.0-x\r\n") }, route.OtherTransport, drey.Transport, true},
		{"headers without end", false, func(c *peer) {
			c.request()
			c.say(head)
			for range maxHeader/1000 + 100 {
				c.say("X: " + strings.Repeat("x", 1000) + "\r\n")
			}
		}, route.OtherTransport, drey.Transport, true},
		{"body cut short of its length", false, func(c *peer) { c.request(); c.say(head + "Content-Length: 9\r\n\r\n{}") }, route.CutAnswer, drey.BadOutput, true},
		{"body reset", false, func(c *peer) {
			c.request()
			c.say(head + "Content-Length: 9\r\n\r\n{}")
			c.reset()
		}, route.CutAnswer, drey.BadOutput, true},
		{"chunked body cut", false, func(c *peer) {
			c.request()
			c.say(head + "Transfer-Encoding: chunked\r\n\r\n" + chunk("{"))
		}, route.CutAnswer, drey.BadOutput, true},
		{"stream cut between frames", true, func(c *peer) { c.request(); c.say(streamHead + chunk("data: x\n\n")) }, route.CutAnswer, drey.BadOutput, true},
		{"stream cut within a frame", true, func(c *peer) { c.request(); c.say(streamHead + chunk("data: x\n\ndata:")) }, route.CutAnswer, drey.BadOutput, true},
		{"stream reset", true, func(c *peer) {
			c.request()
			c.say(streamHead + chunk("data: x\n\n"))
			c.reset()
		}, route.CutAnswer, drey.BadOutput, true},
		{"body too large", false, func(c *peer) {
			c.request()
			c.say(head + "\r\n" + strings.Repeat(" ", 5000))
		}, route.MalformedAnswer, drey.BadOutput, true},
		{"body that says it is too large", false, func(c *peer) {
			c.request()
			c.say(head + "Content-Length: 99999999999\r\n\r\n" + strings.Repeat(" ", 5000))
		}, route.MalformedAnswer, drey.BadOutput, true},
		{"frame too large", true, func(c *peer) {
			c.request()
			c.say(streamHead + chunk("data: "+strings.Repeat("x", 5000)))
			c.gone()
		}, route.MalformedAnswer, drey.BadOutput, true},
		{"a page instead of a stream", true, func(c *peer) {
			c.request()
			c.say("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi")
		}, route.MalformedAnswer, drey.BadOutput, true},
		{"a compressed stream", true, func(c *peer) {
			c.request()
			c.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: br\r\n\r\n")
		}, route.MalformedAnswer, drey.BadOutput, true},
		{"a redirect is not followed", false, func(c *peer) {
			c.request()
			c.say("HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
		}, route.NoFault, drey.Server, true},
		{"a status", true, func(c *peer) {
			c.request()
			c.say("HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\noops")
		}, route.NoFault, drey.Server, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			var served atomic.Int32
			url := listen(t, func(c *peer, _ int) { served.Add(1); tt.script(c) })
			p := provider(t, Config{URL: url})
			p.maxAnswer, p.maxFrame = 4000, 4000
			c := call()
			c.Stream = tt.stream
			ans, err := p.Do(t.Context(), c)
			if err == nil {
				if ans.Stream == nil {
					t.Fatalf("answer %+v, want a failure", ans)
				}
				_, err = drain(ans.Stream)
				if _, again := ans.Stream.Next(); again != err {
					t.Errorf("the next Next says %v, want the same", again)
				}
			}
			f := wantFault(t, err, tt.fault, tt.class)
			if f.Counts != tt.counts || !f.Dialed {
				t.Errorf("counts %v dialed %v, want %v and true", f.Counts, f.Dialed, tt.counts)
			}
			if n := served.Load(); n != 1 {
				t.Errorf("%d connections, want 1: a fresh one that breaks is a failure", n)
			}
		})
	}
}

// TestStaleConnection wants a request sent once more, and only once, where a
// kept connection turns out to be gone.
func TestStaleConnection(t *testing.T) {
	serve := func(c *peer) bool {
		if c.request() == nil {
			return false
		}
		c.say(jsonAnswer("{}"))
		return true
	}
	tests := []struct {
		name   string
		first  func(c *peer) // what the kept connection does with its second request
		second func(c *peer) // what the fresh one does
		conns  int32
		fault  route.Fault // NoFault: success
	}{
		{"reset", func(c *peer) { c.request(); c.reset() }, func(c *peer) { serve(c) }, 2, route.NoFault},
		{"end", func(c *peer) { c.request() }, func(c *peer) { serve(c) }, 2, route.NoFault},
		{"the fresh one breaks, too", func(c *peer) { c.request(); c.reset() }, func(c *peer) { c.request(); c.reset() }, 2, route.Reset},
		{"a byte of the answer came", func(c *peer) { c.request(); c.say("H"); c.Close() }, nil, 1, route.OtherTransport},
		{"a refusal", func(c *peer) { c.request(); c.say("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n") }, nil, 1, route.NoFault},
	}
	for _, tt := range tests {
		for _, size := range []int{10, joinBelow + 1} {
			t.Run(fmt.Sprint(tt.name, " ", size), func(t *testing.T) {
				noLeaks(t)
				var conns atomic.Int32
				url := listen(t, func(c *peer, n int) {
					conns.Add(1)
					if n > 0 {
						tt.second(c)
						return
					}
					serve(c)
					tt.first(c)
				})
				p := provider(t, Config{URL: url})
				c := call()
				c.Body = wire.NewBody([]byte(`{"p":"`), []byte(strings.Repeat("x", size)), []byte(`"}`))
				if _, err := p.Do(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				ans, err := p.Do(t.Context(), c)
				switch {
				case tt.fault != route.NoFault:
					f := wantFault(t, err, tt.fault, drey.Transport)
					if f.Timing.Resent != (tt.conns == 2) {
						t.Errorf("timing %+v", f.Timing)
					}
				case tt.conns == 1:
					wantFault(t, err, route.NoFault, drey.Server)
				case err != nil:
					t.Fatal(err)
				case !ans.Timing.Resent || ans.Timing.Reused || string(ans.JSON) != "{}":
					t.Errorf("answer %+v", ans)
				}
				if n := conns.Load(); n != tt.conns {
					t.Errorf("%d connections, want %d", n, tt.conns)
				}
			})
		}
	}
}

// TestStaleCancelled wants nothing sent again for a caller who is gone.
func TestStaleCancelled(t *testing.T) {
	noLeaks(t)
	ctx, cancel := context.WithCancel(t.Context())
	var conns atomic.Int32
	url := listen(t, func(c *peer, n int) {
		conns.Add(1)
		c.request()
		c.say(jsonAnswer("{}"))
		c.request()
		cancel()
		c.reset()
	})
	p := provider(t, Config{URL: url})
	if _, err := p.Do(t.Context(), call()); err != nil {
		t.Fatal(err)
	}
	_, err := p.Do(ctx, call())
	wantFault(t, err, route.CallerGone, drey.Cancel)
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestRefused(t *testing.T) {
	noLeaks(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	p := provider(t, Config{URL: "http://" + l.Addr().String()})
	_, err = p.Do(t.Context(), call())
	f := wantFault(t, err, route.Refused, drey.Transport)
	if f.Dialed || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialed %v, %v", f.Dialed, err)
	}
}

func TestTLS(t *testing.T) {
	noLeaks(t)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/abort") {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"proto":"`+r.Proto+`"}`)
	}))
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = quiet
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())

	t.Run("unknown authority", func(t *testing.T) {
		p := provider(t, Config{URL: srv.URL})
		_, err := p.Do(t.Context(), call())
		if f := wantFault(t, err, route.Handshake, drey.Transport); f.Dialed {
			t.Error("a handshake that failed is no connection")
		}
	})
	t.Run("no TLS there", func(t *testing.T) {
		plain := httptest.NewServer(http.NotFoundHandler())
		t.Cleanup(plain.Close)
		p := provider(t, Config{URL: strings.Replace(plain.URL, "http:", "https:", 1)})
		_, err := p.Do(t.Context(), call())
		wantFault(t, err, route.Handshake, drey.Transport)
	})
	t.Run("HTTP/2", func(t *testing.T) {
		p := provider(t, Config{URL: srv.URL, TLS: &tls.Config{RootCAs: roots}})
		for i := range 2 {
			ans, err := p.Do(t.Context(), call())
			if err != nil {
				t.Fatal(err)
			}
			if string(ans.JSON) != `{"proto":"HTTP/2.0"}` || ans.Timing.Reused != (i == 1) {
				t.Errorf("answer %s, timing %+v", ans.JSON, ans.Timing)
			}
		}
		// The stream is reset, and the connection stays: the request was seen
		// and is not sent again.
		c := call()
		c.Path = "/abort"
		_, err := p.Do(t.Context(), c)
		if f := wantFault(t, err, route.OtherTransport, drey.Transport); f.Timing.Resent {
			t.Error("sent again")
		}
	})
}

// TestFaultOf covers what is hard to bring about with a socket.
func TestFaultOf(t *testing.T) {
	tests := []struct {
		err       error
		connected bool
		want      route.Fault
	}{
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}, false, route.NameLookup},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}}, false, route.NameLookup},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "i/o timeout", IsTimeout: true}}, false, route.ConnectTimeout},
		{&net.OpError{Op: "dial", Err: syscall.ETIMEDOUT}, false, route.ConnectTimeout},
		{&net.OpError{Op: "read", Err: syscall.ETIMEDOUT}, true, route.OtherTransport},
		{&net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}, false, route.OtherTransport},
		{fmt.Errorf("proxyconnect tcp: %w", syscall.ECONNREFUSED), false, route.Refused},
		{&net.OpError{Op: "write", Err: syscall.EPIPE}, true, route.Reset},
		{errors.New("http: server closed idle connection"), true, route.EndOfFile},
		{errors.New("http2: server sent GOAWAY and closed the connection; LastStreamID=1"), true, route.EndOfFile},
		{errors.New("stream error: stream ID 3; REFUSED_STREAM"), true, route.Reset},
		{errors.New("stream error: stream ID 3; INTERNAL_ERROR"), true, route.OtherTransport},
		{errors.New("remote error: tls: handshake failure"), false, route.Handshake},
	}
	for _, tt := range tests {
		if got := faultOf(tt.err, tt.connected); got != tt.want {
			t.Errorf("%v: fault %d, want %d", tt.err, got, tt.want)
		}
	}
}

// TestWhatCameToAStream takes the whole answer that came though a stream was
// asked for, and frames that nobody named.
func TestWhatCameToAStream(t *testing.T) {
	tests := []struct {
		kind, body string
		json       bool
	}{
		{"Content-Type: application/json; charset=utf-8\r\n", `{"a":1}`, true},
		{"Content-Type: application/json\r\n", `{"a":1}`, true},
		{"Content-Type: text/event-stream;charset=utf-8\r\n", "data: x\n\n", false},
		{"Content-Encoding: identity\r\n", "data: x\n\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.kind, func(t *testing.T) {
			noLeaks(t)
			url := listen(t, func(c *peer, _ int) {
				c.request()
				c.say("HTTP/1.1 200 OK\r\n" + tt.kind + "Content-Length: " + strconv.Itoa(len(tt.body)) + "\r\n\r\n" + tt.body)
				c.gone()
			})
			ans, err := provider(t, Config{URL: url}).Do(t.Context(), streamCall())
			if err != nil {
				t.Fatal(err)
			}
			if tt.json {
				if ans.Stream != nil || string(ans.JSON) != tt.body {
					t.Errorf("answer %+v", ans)
				}
				return
			}
			if _, err := ans.Stream.Next(); err != nil {
				t.Fatal(err)
			}
			ans.Stream.Close()
			ans.Stream.Finish()
			ans.Stream.Close()
			if _, err := ans.Stream.Next(); err != http.ErrBodyReadAfterClose {
				t.Errorf("Next after Close says %v", err)
			}
		})
	}
}

// TestRefusalKeepsTheConnection: a provider that refuses a storm of requests
// should not have to shake hands for each.
func TestRefusalKeepsTheConnection(t *testing.T) {
	noLeaks(t)
	var conns atomic.Int32
	url := listen(t, func(c *peer, _ int) {
		conns.Add(1)
		for c.request() != nil {
			c.say("HTTP/1.1 429 No\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk("{}") + streamEnd)
		}
	})
	p := provider(t, Config{URL: url})
	for range 5 {
		_, err := p.Do(t.Context(), streamCall())
		wantFault(t, err, route.NoFault, drey.RateLimit)
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestLargeBodies sends and receives what does not fit any buffer.
func TestLargeBodies(t *testing.T) {
	noLeaks(t)
	for _, gzip := range []drey.Price{drey.Local, drey.Paid} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.Copy(w, r.Body)
		}))
		p := provider(t, Config{URL: srv.URL, Price: gzip})
		part := strings.Repeat("0123456789", 300_000)
		c := call()
		c.Body = wire.NewBody([]byte(part), []byte("-"), []byte(part))
		ans, err := p.Do(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(part+"-"+part, string(ans.JSON)); diff != "" {
			t.Error("the answer is not what was sent")
		}
		p.Close()
		srv.Close()
	}
}

// TestProxyChoice checks who asks the environment's proxy.
func TestProxyChoice(t *testing.T) {
	own := &url.URL{Scheme: "http", Host: "proxy.test:3128"}
	tests := []struct {
		url   string
		proxy *url.URL
		none  bool
		want  *url.URL
	}{
		{"http://127.0.0.1:11434/v1", nil, true, nil},
		{"http://[::1]:11434/v1", nil, true, nil},
		{"http://localhost:11434/v1", nil, true, nil},
		{"https://api.openai.com/v1", nil, false, nil},
		{"http://127.0.0.1:11434/v1", own, false, own},
	}
	for _, tt := range tests {
		p := provider(t, Config{URL: tt.url, Proxy: tt.proxy})
		for _, tr := range p.close {
			if (tr.Proxy == nil) != tt.none {
				t.Errorf("%s: proxy function set: %v", tt.url, tr.Proxy != nil)
			}
			if tt.want == nil {
				continue
			}
			if got, err := tr.Proxy(&http.Request{URL: p.base}); err != nil || got.String() != tt.want.String() {
				t.Errorf("%s: proxy %v, %v; want %v", tt.url, got, err, tt.want)
			}
		}
	}
}

// TestThousandsCancelled sends 2,000 requests, a third of which are given up
// at some point, and wants nothing left of them on either side.
func TestThousandsCancelled(t *testing.T) {
	noLeaks(t)
	const requests, workers = 2000, 32
	var open atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		kind := r.URL.RawQuery
		if kind == "silent" {
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		for range 3 {
			io.WriteString(w, "data: x\n\n")
			rc.Flush()
		}
		if kind == "endless" {
			<-r.Context().Done()
		}
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	p := provider(t, Config{URL: srv.URL})

	errs := make(chan error, workers)
	var next atomic.Int32
	for range workers {
		go func() {
			for {
				i := int(next.Add(1))
				if i > requests {
					errs <- nil
					return
				}
				if err := oneOfThousands(t.Context(), p, i); err != nil {
					errs <- fmt.Errorf("request %d: %w", i, err)
					return
				}
			}
		}()
	}
	for range workers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	p.Close()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for open.Load() != 0 {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d connections are left", open.Load())
		}
	}
}

func oneOfThousands(ctx context.Context, p *Provider, i int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := streamCall()
	switch i % 6 {
	case 1:
		c.Query = "silent"
		defer time.AfterFunc(time.Duration(i%7)*100*time.Microsecond, cancel).Stop()
	case 4:
		c.Query = "endless"
	}
	ans, err := p.Do(ctx, c)
	if c.Query == "silent" {
		if f, ok := errors.AsType[*Failure](err); !ok || f.Class != drey.Cancel {
			return fmt.Errorf("%v, want a cancel", err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if c.Query == "endless" {
		for range 3 {
			if _, err := ans.Stream.Next(); err != nil {
				return err
			}
		}
		return ans.Stream.Close()
	}
	if n, err := drain(ans.Stream); n != 3 || err != io.EOF {
		return fmt.Errorf("%d frames, %w", n, err)
	}
	return nil
}
