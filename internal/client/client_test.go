package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
)

func TestMain(m *testing.M) {
	backoff.first, backoff.longest = time.Millisecond, 20*time.Millisecond
	goleak.VerifyTestMain(m)
}

// socketPath is a path that is short enough for a socket.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "drey")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "drey.sock")
}

// listen serves h on a socket until the returned function is called.
func listen(t *testing.T, path string, h http.HandlerFunc) (stop func()) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { _ = srv.Serve(l); close(done) }()
	stop = func() { _ = srv.Close(); <-done }
	t.Cleanup(stop)
	return stop
}

// dial is a client of a daemon that answers with h.
func dial(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	path := socketPath(t)
	listen(t, path, h)
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func house(t *testing.T, err error) *drey.Error {
	t.Helper()
	e, ok := errors.AsType[*drey.Error](err)
	if !ok {
		t.Fatalf("%v is not of the house", err)
	}
	return e
}

func TestNobodyIsThere(t *testing.T) {
	stale := socketPath(t)
	l, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	for name, path := range map[string]string{"no socket": socketPath(t), "no home": "/nowhere/drey.sock", "left behind": stale} {
		t.Run(name, func(t *testing.T) {
			_, err := Dial(t.Context(), path)
			e := house(t, err)
			if e.Code != CodeNoDaemon || e.Error() != "no daemon is running" || e.Hint != "start it with `drey serve`" {
				t.Errorf("Dial: %+v", e)
			}
			if _, err := New(path).Status(t.Context()); house(t, err).Code != CodeNoDaemon {
				t.Errorf("Status: %v", err)
			}
			for _, err := range New(path).Events(t.Context(), EventQuery{}) {
				if house(t, err).Code != CodeNoDaemon {
					t.Errorf("Events: %v", err)
				}
			}
		})
	}
	if os.Getuid() != 0 {
		t.Run("not ours", func(t *testing.T) {
			path := socketPath(t)
			listen(t, path, nil)
			if err := os.Chmod(path, 0); err != nil {
				t.Fatal(err)
			}
			if _, err := Dial(t.Context(), path); house(t, err).Code != api.CodeForbidden {
				t.Errorf("Dial: %v", err)
			}
		})
	}
}

func TestCalls(t *testing.T) {
	var got []string
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Accept"))
		switch r.URL.Path {
		case "/api/v1/status":
			_, _ = io.WriteString(w, `{"version":"1.2.3","state":"WAKE","new_field":1}`)
		case "/api/v1/config":
			_, _ = io.WriteString(w, `{"source":"zero-config","settings":{"version":1}}`)
		case "/api/v1/config/reload":
			_, _ = io.WriteString(w, `{"source":"f","needs_restart":["listen"]}`)
		case "/api/v1/providers":
			if r.FormValue("cursor") == "" {
				_, _ = io.WriteString(w, `{"providers":[{"name":"a","wire":"chat","class":"free"}],"next_cursor":"a"}`)
				return
			}
			_, _ = io.WriteString(w, `{"providers":[{"name":"b","wire":"anthropic","class":"paid"}]}`)
		case "/api/v1/requests":
			_, _ = io.WriteString(w, `{"requests":[{"id":"req_1"}],"next_cursor":"c","as_of_seq":7}`)
		case "/api/v1/requests/req_1":
			_, _ = io.WriteString(w, `{"id":"req_1","events":[]}`)
		case "/api/v1/events":
			_, _ = io.WriteString(w, `{"events":[{"seq":9,"ts":"2026-11-22T10:00:00.000000+00:00","event":"x","level":"warn","f":1}],"as_of_seq":9}`)
		}
	})
	ctx := t.Context()
	st, err := c.Status(ctx)
	if err != nil || st.Version != "1.2.3" || st.State != "WAKE" {
		t.Errorf("Status: %+v, %v", st, err)
	}
	cfg, err := c.Config(ctx)
	if err != nil || string(cfg.Settings) != `{"version":1}` {
		t.Errorf("Config: %+v, %v", cfg, err)
	}
	rl, err := c.Reload(ctx)
	if err != nil || len(rl.NeedsRestart) != 1 {
		t.Errorf("Reload: %+v, %v", rl, err)
	}
	ps, err := c.Providers(ctx)
	if err != nil || len(ps) != 2 || ps[1].Name != "b" || ps[0].Class != drey.Free {
		t.Errorf("Providers: %+v, %v", ps, err)
	}
	rs, err := c.Requests(ctx, RequestQuery{Cursor: "a b", Profile: "p", Provider: "q", Outcome: "ok", Since: "2h", Limit: 5})
	if err != nil || rs.NextCursor != "c" || rs.AsOfSeq != 7 || string(rs.Requests[0]) != `{"id":"req_1"}` {
		t.Errorf("Requests: %+v, %v", rs, err)
	}
	row, err := c.Request(ctx, "req_1")
	if err != nil || string(row) != `{"id":"req_1","events":[]}` {
		t.Errorf("Request: %s, %v", row, err)
	}
	after := drey.Seq(8)
	page, err := c.EventPage(ctx, EventQuery{After: &after, Event: "x*", Limit: 3, Newest: true})
	if err != nil || page.AsOfSeq != 9 || len(page.Events) != 1 || page.Events[0].Seq != 9 || page.Events[0].Level != drey.Warn {
		t.Errorf("EventPage: %+v, %v", page, err)
	}
	want := []string{
		"GET /api/v1/status application/json", "GET /api/v1/config application/json", "POST /api/v1/config/reload application/json",
		"GET /api/v1/providers?limit=1000 application/json", "GET /api/v1/providers?cursor=a&limit=1000 application/json",
		"GET /api/v1/requests?cursor=a+b&limit=5&outcome=ok&profile=p&provider=q&since=2h application/json",
		"GET /api/v1/requests/req_1 application/json",
		"GET /api/v1/events?after=8&event=x%2A&limit=3&newest=true application/json",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
		want   drey.Error
		text   string
		fields int
	}{
		{"with fields", 400, `{"error":{"code":"config_rejected","message":"the file is bad","hint":"mend it","fields":[{"path":"a","message":"b"}],"request_id":"r"}}`,
			drey.Error{Class: drey.Caller, Code: "config_rejected", Status: 400, Hint: "mend it"}, "GET /status: the file is bad", 1},
		{"of the server", 503, `{"error":{"code":"unavailable","message":"stopping","request_id":"r"}}`,
			drey.Error{Class: drey.Server, Code: "unavailable", Status: 503}, "GET /status: stopping", 0},
		{"of somebody else", 502, `<html>`, drey.Error{Class: drey.Server, Status: 502}, "GET /status: the daemon answered with status 502", 0},
		{"no JSON", 200, `<html>`, drey.Error{Class: drey.BadOutput}, "GET /status: read the answer: invalid character '<' looking for beginning of value", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			})
			_, err := c.Status(t.Context())
			e := house(t, err)
			if e.Class != tt.want.Class || e.Code != tt.want.Code || e.Status != tt.want.Status || e.Hint != tt.want.Hint || err.Error() != tt.text {
				t.Errorf("%+v (%s)", e, err)
			}
			if ae, ok := errors.AsType[*api.Error](err); tt.fields > 0 && (!ok || len(ae.Fields) != tt.fields) {
				t.Errorf("fields: %+v", ae)
			}
		})
	}
	t.Run("cut", func(t *testing.T) {
		c := dial(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
		})
		if _, err := c.Status(t.Context()); house(t, err).Class != drey.Transport || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		c := dial(t, func(http.ResponseWriter, *http.Request) {})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Status(ctx); house(t, err).Class != drey.Cancel || !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// ev is the frame of an event.
func ev(seq int, name string) string {
	return fmt.Sprintf("id: %d\nevent: %s\ndata: {\"seq\":%d,\"ts\":\"2026-11-22T10:00:00.000000+00:00\",\"event\":%q,\"level\":\"info\",\"machine\":\"m\"}\n\n", seq, name, seq, name)
}

// streams answers the n-th connection with the n-th text and the end.
func streams(asked *[]string, texts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.RawQuery+" after "+r.Header.Get("Last-Event-ID"))
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, texts[min(len(*asked), len(texts))-1])
	}
}

// take reads n messages as text.
func take(t *testing.T, c *Client, q EventQuery, n int) (out []string) {
	t.Helper()
	for m, err := range c.Events(t.Context(), q) {
		switch {
		case err != nil:
			return append(out, "error "+err.Error())
		case m.Gap != nil:
			out = append(out, fmt.Sprintf("gap %d-%d", m.Gap.From, m.Gap.To))
		default:
			out = append(out, fmt.Sprintf("%d %s %s", m.Event.Seq, m.Event.Name, m.Event.Machine))
		}
		if len(m.Data) == 0 {
			t.Error("a message without data")
		}
		if len(out) == n {
			break
		}
	}
	return out
}

func TestEventsGoOnWhereTheyStopped(t *testing.T) {
	var asked []string
	cut := ev(9, "cut")
	c := dial(t, streams(&asked,
		"id: 4\n: from here\n\n"+ev(5, "a")+"event: telemetry\ndata: {\"ts\":\"2026-11-22T10:00:00.000000+00:00\",\"event\":\"telemetry\",\"level\":\"debug\"}\n\n"+cut[:len(cut)-2],
		"id: 5\n: from here\n\n",
		"id: 8\n: still here\n\n"+ev(9, "b"),
		ev(10, "c")+"event: overflow\ndata: {\"seq\":10}\n\n"+ev(11, "never read"),
		"id: 20\nevent: gap\ndata: {\"from\":11,\"to\":20}\n\n"+ev(21, "d"),
		"event: strange\ndata: not json\n\n",
	))
	lost := 0
	got := take(t, c, EventQuery{Event: "*", RequestID: "req_1", Machine: "m", ID: "i", Lost: func(error) { lost++ }}, 8)
	want := []string{"5 a m", "0 telemetry ", "9 b m", "10 c m", "gap 11-20", "21 d m", "0 strange ", "0 strange "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	q := "event=%2A&id=i&machine=m&request_id=req_1 after "
	if diff := cmp.Diff([]string{q, q + "5", q + "5", q + "9", q + "10", q + "21", q + "21"}, asked); diff != "" {
		t.Errorf("connections (-want +got):\n%s", diff)
	}
	if lost != 6 {
		t.Errorf("told of %d breaks", lost)
	}
}

func TestEventsBeginBehindASeq(t *testing.T) {
	var asked []string
	c := dial(t, streams(&asked, ev(1, "a")))
	zero := drey.Seq(0)
	take(t, c, EventQuery{After: &zero}, 1)
	if diff := cmp.Diff([]string{" after 0"}, asked); diff != "" {
		t.Errorf("connections (-want +got):\n%s", diff)
	}
}

func TestEventsSurviveARestart(t *testing.T) {
	path := socketPath(t)
	var asked []string
	stop := listen(t, path, streams(&asked, ev(1, "a")))
	c := New(path)
	t.Cleanup(c.Close)
	lost := make(chan error, 10)
	restarted := make(chan struct{})
	go func() {
		defer close(restarted)
		<-lost
		listen(t, path, streams(&asked, ev(2, "b")))
	}()
	n := 0
	var got []string
	for m, err := range c.Events(t.Context(), EventQuery{Lost: func(err error) { lost <- err }}) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, m.Event.Name); len(got) == 2 {
			break
		}
		stop() // the daemon goes, and its socket with it
		n++
	}
	<-restarted
	if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" || n != 1 {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(lost) != 0 {
		t.Errorf("one break was told %d times", 1+len(lost))
	}
}

func TestEventsEnd(t *testing.T) {
	t.Run("with the daemon's refusal, also after a break", func(t *testing.T) {
		n := 0
		c := dial(t, func(w http.ResponseWriter, _ *http.Request) {
			if n++; n == 1 {
				_, _ = io.WriteString(w, ev(1, "a"))
				return
			}
			w.WriteHeader(400)
			_, _ = io.WriteString(w, `{"error":{"code":"invalid_argument","message":"no","request_id":"r"}}`)
		})
		if got := take(t, c, EventQuery{}, 9); strings.Join(got, "|") != "1 a m|error GET /events: no" {
			t.Error(got)
		}
	})
	t.Run("with the context", func(t *testing.T) {
		c := dial(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, ev(1, "a"))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var last error
		for _, err := range c.Events(ctx, EventQuery{}) {
			last = err
			cancel()
		}
		if house(t, last).Class != drey.Cancel {
			t.Errorf("%v", last)
		}
	})
}

func TestEventsEndWithHibernation(t *testing.T) {
	var asked []string
	c := dial(t, streams(&asked, ev(1, "a")+"event: hibernating\ndata: {\"seq\":1}\n\n"))
	var got []string
	for m, err := range c.Events(t.Context(), EventQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(m.Event.Name, m.Hibernating))
	}
	if diff := cmp.Diff([]string{"afalse", "true"}, got); diff != "" {
		t.Error(diff)
	}
	if len(asked) != 1 {
		t.Errorf("it came back %d times, and woke the daemon", len(asked)-1)
	}
}
