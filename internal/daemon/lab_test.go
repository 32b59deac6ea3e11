package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/client"
	"github.com/dreyhq/drey/internal/discover"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/statedir"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/postgres/pgtest"
)

func TestMain(m *testing.M) {
	runChild()
	goleak.VerifyTestMain(withServer{m})
}

// withServer runs the tests with a PostgreSQL server for those that want one.
type withServer struct{ *testing.M }

func (s withServer) Run() int { return pgtest.Main(s.M) }

// soak says that the long form of the tests is wanted.
func soak() bool { return os.Getenv("DREY_SOAK") == "1" }

// short is how long anything that should happen soon may take on a busy
// machine.
const short = 20 * time.Second

// house is a whole daemon in a home of its own, with a client's side.
type house struct {
	t    *testing.T
	d    *Daemon
	home statedir.Home
	base string // of the agents' API: http://127.0.0.1:PORT
	http *http.Client
	log  *lines
	told *lines // the banner

	stopping context.CancelFunc
	ended    chan struct{}
	err      error // of serve; set when ended is closed
}

// lines is a log in memory.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// environment is an environment of a test's own.
func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

// newHome makes a home. Its path is short, as a socket's has to be.
func newHome(t *testing.T, config string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "drey")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if config != "" {
		writeConfig(t, dir, config)
	}
	return dir
}

func writeConfig(t *testing.T, home, config string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(home, "drey.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

// options are those of a daemon that nothing of this machine reaches.
func options(home string) Options {
	return Options{
		Version: "test", Home: home, Env: environment(nil),
		Look: func(context.Context) []discover.Found { return nil },
	}
}

// open starts a daemon with a configuration and stops it at the end of the
// test.
func open(t *testing.T, config string, change ...func(*Options)) *house {
	t.Helper()
	return openAt(t, newHome(t, config), change...)
}

func openAt(t *testing.T, home string, change ...func(*Options)) *house {
	t.Helper()
	h := &house{t: t, log: &lines{}, told: &lines{}, ended: make(chan struct{}), home: statedir.At(home)}
	o := options(home)
	o.Level = new(slog.LevelVar)
	o.Log = slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: o.Level}))
	o.Banner = h.told
	ready := make(chan string, 1)
	o.Ready = func(addr string) { ready <- addr }
	for _, f := range change {
		f(&o)
	}
	d, err := boot(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	h.d = d
	h.http = newHTTPClient()
	ctx, cancel := context.WithCancel(context.Background())
	h.stopping = cancel
	go func() {
		defer close(h.ended)
		h.err = d.serve(ctx)
	}()
	t.Cleanup(func() { _ = h.stop() })
	select {
	case addr := <-ready:
		h.base = "http://" + addr
	case <-h.ended:
		t.Fatalf("the daemon ended before it was ready: %v", h.err)
	}
	h.event("config-loaded", 0) // nobody waits for the first events, but tests wait for later ones
	return h
}

// newHTTPClient returns a client whose connections are its own.
func newHTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}}
}

// stop stops the daemon and returns what it ended with.
func (h *house) stop() error {
	h.http.CloseIdleConnections()
	h.stopping()
	select {
	case <-h.ended:
	case <-time.After(2 * short):
		h.t.Fatalf("the daemon does not end; its log:\n%s", h.log)
	}
	return h.err
}

// control returns a client of the control socket.
func (h *house) control() *client.Client {
	h.t.Helper()
	path, err := h.home.Socket()
	if err != nil {
		h.t.Fatal(err)
	}
	c := client.New(path)
	h.t.Cleanup(c.Close)
	return c
}

// provider opens a scripted provider on a real port.
func provider(t *testing.T, s fake.Script) *fake.Server {
	t.Helper()
	srv, err := fake.Listen(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	return srv
}

// yamlOf is the configuration of one provider "lab" behind profile default.
// more is added at the top level.
func yamlOf(wire, url string, more ...string) string {
	return fmt.Sprintf(`version: 1
providers:
  lab: {wire: %s, url: %q, class: local, model: fake-model}
profiles:
  default: {chain: [lab], retry: {same_provider: 0}, timeouts: {first_token: 1s}}
`, wire, url) + listenAnywhere(more) + strings.Join(more, "\n") + "\n"
}

// listenAnywhere picks a free port unless the test has its own listen.
func listenAnywhere(more []string) string {
	for _, m := range more {
		if strings.HasPrefix(m, "listen:") {
			return ""
		}
	}
	return "listen: {addr: \"127.0.0.1:0\"}\n"
}

// answer is what came back from the daemon over HTTP.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request to the daemon, with headers in pairs.
func (h *house) do(method, path, body string, headers ...string) answer {
	h.t.Helper()
	a, err := h.try(method, path, body, headers...)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func (h *house) try(method, path, body string, headers ...string) (answer, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), short)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, h.base+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := h.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b)}, err
}

// chat asks a question on the chat wire.
func (h *house) chat(text string, headers ...string) answer {
	h.t.Helper()
	return h.do(http.MethodPost, "/v1/chat/completions", chatBody(text, false), headers...)
}

func chatBody(text string, stream bool) string {
	return fmt.Sprintf(`{"model":"any","stream":%v,"messages":[{"role":"user","content":%q}]}`, stream, text)
}

// eventually waits until something is so. What is looked at has no other way
// to tell.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(short)
	defer deadline.Stop()
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for !is() {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("it never came to be that %s", what)
		}
	}
}

// events returns the journaled events that match.
func (h *house) events(q store.Query) []drey.Event {
	h.t.Helper()
	q.Limit = store.MaxLimit
	page, err := h.d.store.Query(h.t.Context(), q)
	if err != nil {
		h.t.Fatal(err)
	}
	return page.Events
}

// event waits for the first journaled event of a name behind a place.
func (h *house) event(name string, after drey.Seq) drey.Event {
	h.t.Helper()
	var found drey.Event
	eventually(h.t, name+" is journaled", func() bool {
		evs := h.events(store.Query{Event: name, After: after})
		if len(evs) > 0 {
			found = evs[0]
		}
		return len(evs) > 0
	})
	return found
}

func (h *house) head() drey.Seq {
	h.t.Helper()
	seq, err := h.d.store.Head(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return seq
}

// row waits for the row of a request.
func (h *house) row(id string) rowOf {
	h.t.Helper()
	var out rowOf
	eventually(h.t, "the row of "+id+" is written", func() bool {
		if err := h.d.store.Flush(h.t.Context()); err != nil {
			h.t.Fatal(err)
		}
		r, err := h.d.store.Request(h.t.Context(), drey.RequestID(id))
		if errors.Is(err, store.ErrNotFound) {
			return false
		}
		if err != nil {
			h.t.Fatal(err)
		}
		if err := json.Unmarshal(r.Row, &out); err != nil {
			h.t.Fatal(err)
		}
		return true
	})
	return out
}

// rowOf is what the tests read of a request's row.
type rowOf struct {
	ID       string `json:"id"`
	Outcome  string `json:"outcome"`
	Status   int    `json:"status"`
	Error    string `json:"error"`
	Key      string `json:"key"`
	Profile  string `json:"profile"`
	Attempts []struct {
		Provider string `json:"provider"`
		Class    string `json:"class"`
		Error    string `json:"error"`
	} `json:"attempts"`
}

// readLog returns the rows of one of the logs for people, and how many lines
// are broken.
func readLog(t *testing.T, path string) (rows []string, broken int) {
	t.Helper()
	r := statedir.ReadLog(path)
	for row := range r.Rows(statedir.LogQuery{}) {
		rows = append(rows, string(row.JSON))
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return rows, r.Broken
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
