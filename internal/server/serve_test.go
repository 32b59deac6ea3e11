package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/fake"
)

// socket makes a control socket in a directory whose path is short enough.
func socket(t *testing.T) (string, net.Listener) {
	t.Helper()
	dir, err := os.MkdirTemp("", "drey")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "drey.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return path, l
}

// overSocket is a client of a control socket.
func overSocket(t *testing.T, path string) *http.Client {
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}, Timeout: patience}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// socketLab is a lab, and a client of a control socket of the same daemon.
func socketLab(t *testing.T, change func(*Config)) (*lab, *http.Client) {
	l := newLab(t, change, nil)
	path, control := socket(t)
	l.sock = path
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	srv := New(l.cfg)
	go func() { done <- srv.Serve(ctx, nil, []net.Listener{control}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l, overSocket(t, path)
}

func TestSocket(t *testing.T) {
	_, c := socketLab(t, func(c *Config) { c.Doors.Keys = []Key{{Name: "k", Secret: "s"}} })
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/status", 200}, {"POST", "/config/reload", 200}, {"GET", "/openapi.json", 200}, {"GET", "/nowhere", 404}, {"PUT", "/status", 405},
		{"GET", "/../../v1/models", 404}, {"POST", "/../../v1/messages", 404},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), tt.method, "http://anything.example"+api.Prefix+tt.path, nil)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		r := &reply{resp, string(body)}
		r.checkID(t)
		if r.StatusCode != tt.status || tt.status != 200 && !strings.HasPrefix(r.envelope(), "control ") {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, r.StatusCode, body)
		}
	}
}

func TestSocketOfAnotherUser(t *testing.T) {
	_, control := socket(t)
	listener := ownedListener(control).(*peerListener)
	if listener.owner != os.Getuid() {
		t.Errorf("the owner of our own socket is %d", listener.owner)
	}
	listener.owner++ // as if another user had made it
	l := newLab(t, nil, nil)
	srv := New(l.cfg)
	go func() { _ = srv.socket.Serve(listener) }()
	defer srv.socket.Close()
	c := overSocket(t, control.Addr().String())
	resp, err := c.Get("http://drey" + api.Prefix + "/status")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 403 || gjson.GetBytes(body, "error.code").Str != "forbidden" || !strings.Contains(string(body), "belongs to user") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if !strings.Contains(l.log.String(), "socket-refused") {
		t.Error("the log does not tell")
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if admit(a, os.Getuid()) == nil {
		t.Error("a connection without credentials was let in")
	}
}

func TestABugBehindTheSocket(t *testing.T) {
	l, c := socketLab(t, nil)
	l.daemon.bug = true
	resp, err := c.Get("http://drey" + api.Prefix + "/status")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 500 || gjson.GetBytes(body, "error.code").Str != "internal" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// inFlight starts a request and returns once a provider has it; its end is sent
// on the channel.
func (l *lab) inFlight(body, path string) <-chan *reply {
	end := make(chan *reply, 1)
	req, _ := http.NewRequest("POST", l.url+path, strings.NewReader(body))
	calls := len(l.up.Calls())
	ctx, cancel := context.WithCancelCause(l.t.Context())
	go func() {
		defer close(end)
		resp, err := l.http.Do(req)
		if err != nil {
			cancel(err) // no provider will have it
			return
		}
		defer resp.Body.Close()
		data, _ := io.ReadAll(resp.Body)
		end <- &reply{resp, string(data)}
	}()
	if _, err := l.up.WaitCalls(ctx, calls+1); err != nil {
		l.t.Fatal(err, context.Cause(ctx))
	}
	return end
}

func TestDrainLetsAnswersEnd(t *testing.T) {
	l := newLab(t, nil, fake.Always(fake.Text("done").Delay(300*time.Millisecond)))
	end := l.inFlight(askAnthropic, "/v1/messages")
	if err := l.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := <-end; r == nil || r.StatusCode != 200 {
		t.Errorf("the answer under way: %+v", r)
	}
	if _, err := net.Dial("tcp", l.addr); err == nil {
		t.Error("the door is still open")
	}
	if err := l.Drain(t.Context()); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

func TestCancelTellsTheCaller(t *testing.T) {
	for path, want := range map[string]string{"/v1/messages": "anthropic overloaded_error", "/v1/chat/completions": "openai cancelled"} {
		l := newLab(t, nil, fake.Always(fake.Silent()))
		end := l.inFlight(map[string]string{"/v1/messages": askAnthropic, "/v1/chat/completions": askChat}[path], path)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := l.Drain(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 requests") {
			t.Errorf("Drain: %v", err)
		}
		l.Cancel(nil)
		r := <-end
		if r == nil || r.StatusCode != 503 || r.envelope() != want || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %+v", path, r)
		}
	}
}

func TestARequestOnAKeptConnectionWhileDraining(t *testing.T) {
	l := newLab(t, nil, nil)
	c := l.dial()
	// Half a request keeps the connection from being idle.
	if _, err := io.WriteString(c, "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\n"); err != nil {
		t.Fatal(err)
	}
	l.gate.close()
	if _, err := io.WriteString(c, "Content-Length: 2\r\n\r\n{}"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 503 || !resp.Close || !strings.Contains(string(body), "drey is stopping") || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
}

func TestServeEndsWithEverythingInIt(t *testing.T) {
	l := newLab(t, nil, fake.Always(fake.Silent()))
	end := l.inFlight(askAnthropic, "/v1/messages")
	w := l.watch("")
	w.place()
	l.stop()
	if r := <-end; r == nil || r.StatusCode != 503 {
		t.Errorf("%+v", r)
	}
	if n := l.handlers.inFlight(); n != 0 {
		t.Errorf("%d handlers are left", n)
	}
}

func TestServeSaysWhyAListenerFailed(t *testing.T) {
	l := newLab(t, nil, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	err = New(l.cfg).Serve(t.Context(), []net.Listener{listener}, nil)
	if !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), listener.Addr().String()) {
		t.Errorf("Serve: %v", err)
	}
}

func TestTold(t *testing.T) {
	if got := told(ErrDraining); got != "drey is stopping; send the request again in a moment" {
		t.Error(got)
	}
	if got := told(&drey.Error{Op: "x", Code: "y"}); got != "x: y" {
		t.Error(got)
	}
}
