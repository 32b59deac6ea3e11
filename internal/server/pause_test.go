package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/fake"
)

func TestPauseServesWhatWasAcceptedAndKeepsTheRestWaiting(t *testing.T) {
	l := newLab(t, nil, fake.Always(fake.Text("done").Delay(100*time.Millisecond)))
	under := l.inFlight(askAnthropic, "/v1/messages")
	paused := make(chan error, 1)
	go func() { paused <- l.Pause(t.Context()) }()
	if r := <-under; r == nil || r.StatusCode != 200 {
		t.Fatalf("the answer under way: %+v", r)
	}
	if err := <-paused; err != nil {
		t.Fatal(err)
	}
	calls := len(l.up.Calls())
	c := l.dial() // the socket is open
	if _, err := fmt.Fprintf(c, "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(askAnthropic), askAnthropic); err != nil {
		t.Fatal(err)
	}
	if n := l.conns.fresh.count() + l.conns.active.count(); n != 0 {
		t.Errorf("%d connections were accepted while the doors paused", n)
	}
	if len(l.up.Calls()) != calls {
		t.Error("a request came in while the doors paused")
	}
	l.Resume()
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
		t.Errorf("behind the pause: %v %s", err, answer)
	}
	if r := l.ask("POST", "/v1/messages", askAnthropic); r.StatusCode != 200 {
		t.Errorf("after it: %d", r.StatusCode)
	}
}

func TestPauseThatIsGivenUpAcceptsAgain(t *testing.T) {
	l := newLab(t, nil, fake.Always(fake.Silent()))
	end := l.inFlight(askAnthropic, "/v1/messages")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := l.Pause(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Pause: %v", err)
	}
	if r := l.ask("GET", "/healthz", ""); r.StatusCode != 200 {
		t.Errorf("the doors stayed shut: %d", r.StatusCode)
	}
	l.Cancel(nil)
	<-end
}

func TestPauseClosesConnectionsThatAreIdle(t *testing.T) {
	l := newLab(t, nil, nil)
	l.ask("GET", "/healthz", "") // the client keeps the connection
	if err := l.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := l.conns.fresh.count() + l.conns.active.count(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
	l.Resume()
}

func TestLiveEventsDoNotHoldAPauseAndAreToldGoodbye(t *testing.T) {
	l := newLab(t, nil, nil)
	w := l.watch("")
	w.place()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := l.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	l.Resume()
	l.bus.Emit(drey.Event{Name: "still-there"})
	if got := w.next(); !strings.Contains(got, "still-there") {
		t.Errorf("a pause that was given up ended a stream: %s", got)
	}
	l.Farewell()
	if got := w.next(); !strings.Contains(got, api.MessageHibernating) {
		t.Errorf("%s", got)
	}
	if got := w.next(); got != io.EOF.Error() {
		t.Errorf("after the goodbye: %s", got)
	}
}

func TestWhatKeepsItAwake(t *testing.T) {
	var begun, ended atomic.Int64
	l := newLab(t, func(c *Config) {
		c.Begin = func() func() { begun.Add(1); return func() { ended.Add(1) } }
		c.Doors.MaxBody = 1000
	}, nil)
	for _, tt := range []struct {
		method, path, body string
		work               bool
	}{
		{"POST", "/v1/messages", askAnthropic, true},
		{"POST", "/v1/chat/completions", askChat, true},
		{"POST", "/v1/messages/count_tokens", askAnthropic, true},
		{"POST", api.Prefix + "/config/reload", "", true},
		{"GET", "/v1/models", "", false},
		{"HEAD", "/", "", false},
		{"GET", "/metrics", "", false},
		{"GET", "/healthz", "", false},
		{"GET", api.Prefix + "/status", "", false},
		{"GET", "/v1/messages", "", false},
		{"POST", "/v1/nothing", "{}", false},
		{"POST", "/v1/messages", strings.Repeat("x", 2000), false},
		{"POST", api.Prefix + "/nothing", "", false},
		{"OPTIONS", "/v1/messages", "", false},
	} {
		before := begun.Load()
		l.ask(tt.method, tt.path, tt.body)
		if got := begun.Load() > before; got != tt.work {
			t.Errorf("%s %s: work %v, want %v", tt.method, tt.path, got, tt.work)
		}
	}
	l.stop()
	if begun.Load() != ended.Load() {
		t.Errorf("%d began, %d ended", begun.Load(), ended.Load())
	}
}

func TestRefuseAllTellsTheCauseInTheCallersWire(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		RefuseAll(ctx, &drey.Error{Op: "configuration", Err: errors.New("line 3 is bad"), Hint: "mend it"}, listener)
		close(done)
	}()
	for path, at := range map[string]string{"/v1/messages": "error.message", "/v1/chat/completions": "error.message", api.Prefix + "/status": "error.message"} {
		resp, err := http.Post("http://"+listener.Addr().String()+path, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if msg := gjson.GetBytes(body, at).Str; resp.StatusCode != 503 || msg != "drey cannot start: line 3 is bad; mend it" {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
		if code := gjson.GetBytes(body, "error.code").Str; strings.HasPrefix(path, api.Prefix) && code != api.CodeNotStarted {
			t.Errorf("%s: its code is %q", path, code)
		}
	}
	cancel()
	<-done
}

func TestBelow(t *testing.T) {
	tree := map[int]int{10: 1, 11: 10, 12: 11, 20: 1, 30: 31, 31: 30}
	parent := func(pid int) (int, error) {
		if p, ok := tree[pid]; ok {
			return p, nil
		}
		return 0, os.ErrNotExist
	}
	for pid, want := range map[int]bool{10: false, 11: true, 12: true, 20: false, 99: false, 30: false} {
		if got := below(pid, 10, parent); got != want {
			t.Errorf("%d below 10: %v", pid, got)
		}
	}
}

// asChild is the variable by which a copy of this test binary is a child that
// asks a control socket for the status.
const asChild = "DREY_TEST_ASK"

// askAsChild prints what the socket answers.
func askAsChild(socket string) {
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}, Timeout: patience}
	resp, err := c.Get("http://drey" + api.Prefix + "/status")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	_, _ = io.Copy(os.Stdout, resp.Body)
	os.Exit(0)
}

func TestSocketRefusesWhoeverThisDaemonHasStarted(t *testing.T) {
	l, _ := socketLab(t, nil)
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), asChild+"="+l.sock)
	out, err := child.Output()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if gjson.GetBytes(out, "error.code").Str != api.CodeForbidden || !strings.Contains(string(out), "started by this daemon") {
		t.Errorf("%s", out)
	}
}
