package server

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/events"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/gateway"
	"github.com/dreyhq/drey/internal/redact"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/upstream"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	if socket := os.Getenv(asChild); socket != "" {
		askAsChild(socket)
	}
	goleak.VerifyTestMain(m)
}

// journal is a journal in memory. It commits at once, in order.
type journal struct {
	store.Journal
	mu      sync.Mutex
	events  []drey.Event
	head    drey.Seq
	queries int
	onQuery func() // called before a query looks
}

func (j *journal) Submit(done func(store.Commit, error), appends ...store.Append) {
	j.mu.Lock()
	defer j.mu.Unlock()
	first := j.head + 1
	for _, a := range appends {
		for _, ev := range a.Events {
			j.head++
			ev.Seq = j.head
			j.events = append(j.events, ev)
		}
	}
	done(store.Commit{First: first, Last: j.head}, nil)
}

func (j *journal) Head(context.Context) (drey.Seq, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.head, nil
}

func (j *journal) Query(_ context.Context, q store.Query) (store.Page, error) {
	if j.onQuery != nil {
		j.onQuery()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.queries++
	p := store.Page{AsOf: j.head}
	var fit []drey.Event
	for _, ev := range j.events {
		if ev.Seq > q.After && (q.Machine == "" || q.Machine == ev.Machine) && (q.ID == "" || q.ID == ev.ID) &&
			(q.RequestID == "" || q.RequestID == ev.RequestID) && store.Glob(q.Event, ev.Name) {
			fit = append(fit, ev)
		}
	}
	limit := store.PageLimit(q.Limit)
	switch {
	case len(fit) <= limit:
		p.Events = fit
	case q.Newest:
		p.Events = fit[len(fit)-limit:]
	default:
		p.Events = fit[:limit]
		p.Next = p.Events[limit-1].Seq
	}
	return p, nil
}

// prune forgets everything up to seq.
func (j *journal) prune(seq drey.Seq) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = slices.DeleteFunc(j.events, func(ev drey.Event) bool { return ev.Seq <= seq })
}

// rows are request rows in memory, newest first; those that are queued are there
// from the next Flush on.
type rows struct{ list, queued []store.RequestRow }

func (r *rows) Flush(context.Context) error {
	r.list, r.queued = append(r.queued, r.list...), nil
	return nil
}

func (r *rows) Requests(_ context.Context, q store.RequestQuery) (store.RequestPage, error) {
	var p store.RequestPage
	skip := q.Before != ""
	for _, row := range r.list {
		switch {
		case skip:
			skip = string(row.ID) != q.Before
		case q.Outcome != "" && row.Outcome != q.Outcome, row.At.Before(q.Since):
		case len(p.Rows) == store.PageLimit(q.Limit):
			p.Next = string(p.Rows[len(p.Rows)-1].ID)
			return p, nil
		default:
			p.Rows = append(p.Rows, row)
		}
	}
	if skip {
		return p, store.ErrCursor
	}
	return p, nil
}

func (r *rows) Request(_ context.Context, id drey.RequestID) (store.RequestRow, error) {
	for _, row := range r.list {
		if row.ID == id {
			return row, nil
		}
	}
	return store.RequestRow{}, store.ErrNotFound
}

// daemon answers what it is told to.
type daemon struct {
	mu      sync.Mutex
	err     error
	reloads int
	bug     bool
}

func (d *daemon) answer() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bug {
		panic("a bug of the daemon")
	}
	return d.err
}

func (d *daemon) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

func (d *daemon) Status(context.Context) (api.Status, error) {
	return api.Status{Version: "1.2.3", State: "WAKE", DefaultProfile: "default"}, d.answer()
}

func (d *daemon) Config(context.Context) (api.Config, error) {
	return api.Config{Source: "zero-config", Settings: json.RawMessage(`{"version":1,"key":"HUSH"}`)}, d.answer()
}

func (d *daemon) Reload(context.Context) (api.Reload, error) {
	err := d.answer()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.reloads++
	}
	return api.Reload{Source: "zero-config"}, err
}

// recorder passes a gateway's events on to the bus.
type recorder struct{ *events.Bus }

func (recorder) Record(*gateway.Record) {}

// spy is a bus that tells when somebody has begun to listen.
type spy struct {
	*events.Bus
	subscribed chan struct{}
}

func (s spy) Subscribe() *events.Subscription {
	sub := s.Bus.Subscribe()
	select {
	case s.subscribed <- struct{}{}:
	default: // nobody wants to know
	}
	return sub
}

// patience is how long a test waits for anything: what never comes is to fail
// the test that waits for it, and not the whole run.
const patience = 2 * time.Minute

// lab is a server on loopback with two providers behind it.
type lab struct {
	*Server
	t       *testing.T
	url     string // of the TCP door
	addr    string
	http    *http.Client
	up      *fake.Upstream
	bus     spy
	journal *journal
	rows    *rows
	daemon  *daemon
	log     *syncBuffer
	sock    string // the control socket of socketLab
	stop    func() // ends Serve and waits
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newLab starts a server. change may alter the doors; script is the provider's.
func newLab(t testing.TB, change func(*Config), script fake.Script) *lab {
	t.Helper()
	l := &lab{journal: &journal{}, rows: &rows{}, daemon: &daemon{}, log: &syncBuffer{}}
	l.t, _ = t.(*testing.T)
	l.up = fake.New(fake.Options{Script: script})
	t.Cleanup(l.up.Close)
	l.bus = spy{events.New(events.Config{Journal: l.journal}), make(chan struct{}, 1)}
	g, err := gateway.New(gateway.Config{
		Recorder: recorder{l.bus.Bus}, Redact: func(s string) string { return s }, InFlight: func(drey.Wire, int) {}, Random: func() float64 { return 0.5 },
		Captures: gateway.NewCaptures(gateway.CapturesConfig{Redactor: func() *redact.Redactor { return nil }}),
	}, gateway.Settings{
		DefaultProfile: "default", Keepalive: 10 * time.Second,
		Providers: []gateway.Provider{{
			Config:  upstream.Config{ID: "local", Wire: drey.WireChat, URL: "http://u:p@local.test/v1", Model: "m", Transport: l.up},
			Connect: time.Second, FirstToken: time.Minute, Stall: time.Minute, Total: time.Hour, ContextTokens: 8000,
		}, {
			Config:  upstream.Config{ID: "cloud", Wire: drey.WireAnthropic, Price: drey.Paid, URL: "http://cloud.test/v1", Model: "m", Transport: l.up},
			Connect: time.Second, FirstToken: time.Minute, Stall: time.Minute, Total: time.Hour, ContextTokens: 8000,
		}},
		Profiles: []gateway.Profile{
			{ID: "default", Chain: [][]drey.ProviderID{{"local"}, {"cloud"}}, Retry: route.DefaultPolicy()},
			{ID: "dear", Chain: [][]drey.ProviderID{{"cloud"}}, Retry: route.DefaultPolicy()},
		},
		Aliases: []route.Alias{{Pattern: "gpt-x", Target: "default"}, {Pattern: "claude-*", Target: "default"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Version: "1.2.3", Gateway: g, Daemon: l.daemon, Journal: l.journal, Rows: l.rows, Bus: l.bus,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "# HELP drey\n") }),
		Redact:  func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("HUSH"), []byte("[redacted]")) },
		Log:     slog.New(slog.NewTextHandler(l.log, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	l.Server = New(cfg)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.serve(t, []net.Listener{listener}, nil)
	l.addr = listener.Addr().String()
	l.url = "http://" + l.addr
	l.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}, Timeout: patience}
	t.Cleanup(l.http.CloseIdleConnections)
	return l
}

// serve runs the server and the bus until the test ends or stop is called.
func (l *lab) serve(t testing.TB, agents, control []net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	busCtx, busCancel := context.WithCancel(context.Background())
	busDone := make(chan error, 1)
	go func() { busDone <- l.bus.Serve(busCtx) }()
	go func() { done <- l.Serve(ctx, agents, control) }()
	var once sync.Once
	l.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Serve: %v", err)
			}
			busCancel()
			<-busDone
		})
	}
	t.Cleanup(l.stop)
}

// ask performs one request. Headers are pairs; Host is one of them.
func (l *lab) ask(method, path, body string, headers ...string) *reply {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), method, l.url+path, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		} else {
			req.Header.Add(headers[i], headers[i+1])
		}
	}
	return l.do(req)
}

func (l *lab) do(req *http.Request) *reply {
	l.t.Helper()
	resp, err := l.http.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return &reply{resp, string(data)}
}

// reply is an answer read to its end.
type reply struct {
	*http.Response
	body string
}

func event(name string, fields ...drey.Field) drey.Event {
	return drey.Event{At: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), Name: name, Machine: "provider", ID: "local", Fields: fields}
}

func newCancel(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

// dial opens a connection to the agents' door.
func (l *lab) dial() net.Conn {
	l.t.Helper()
	c, err := net.Dial("tcp", l.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		l.t.Fatal(err)
	}
	return c
}

// settled waits until no request is under way.
func (l *lab) settled() {
	l.t.Helper()
	for end := time.Now().Add(patience); l.InFlight() != 0; runtime.Gosched() {
		if time.Now().After(end) {
			l.t.Fatal("requests stay under way")
		}
	}
}
