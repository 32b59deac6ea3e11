package daemon

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/statedir"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/sqlite"
)

// messages returns the messages of the log's lines, in order.
func (h *house) messages() []string {
	var out []string
	for line := range strings.Lines(h.log.String()) {
		var l struct{ Msg string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			h.t.Fatalf("the log has a line %q: %v", line, err)
		}
		out = append(out, l.Msg)
	}
	return out
}

// reopen opens the store of a home whose daemon has ended.
func reopen(t *testing.T, home statedir.Home) *sqlite.Store {
	t.Helper()
	lock, err := statedir.TryLock(home.Lock())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lock.Release)
	st, err := sqlite.Open(t.Context(), sqlite.Options{Path: home.DB(), Lock: lock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

func TestTheLastWordIsTheShutdown(t *testing.T) {
	p := provider(t, nil)
	h := open(t, yamlOf("openai", p.URL()))
	id := h.chat("hi").header.Get("X-Request-Id")
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}

	log := h.messages()
	if log[len(log)-1] != "drey-shutdown" {
		t.Errorf("the log ends with %q", log[len(log)-1])
	}
	for _, want := range []string{"state-store-attached", "audit-log-started", "request-log-started", "drey-startup", "config-loaded"} {
		if !slices.Contains(log, want) {
			t.Errorf("the log lacks %s: %q", want, log)
		}
	}

	audit, broken := readLog(t, h.home.Audit())
	if broken > 0 || !strings.Contains(audit[len(audit)-1], `"event":"drey-shutdown"`) || !strings.Contains(audit[len(audit)-1], `"reason":"signal"`) {
		t.Errorf("the audit log (%d broken) ends with %s", broken, audit[len(audit)-1])
	}
	rows, broken := readLog(t, h.home.Requests())
	if len(rows) != 1 || broken > 0 || !strings.Contains(rows[0], id) {
		t.Errorf("the request log (%d broken) is %q", broken, rows)
	}

	st := reopen(t, h.home)
	page, err := st.Query(t.Context(), store.Query{Newest: true, Limit: 1})
	if err != nil || page.Events[0].Name != "drey-shutdown" {
		t.Errorf("the journal ends with %+v, %v", page.Events, err)
	}
	if _, err := st.Request(t.Context(), drey.RequestID(id)); err != nil {
		t.Errorf("the request's row: %v", err)
	}
	if sums, err := st.LoadCounters(t.Context()); err != nil || len(sums) == 0 {
		t.Errorf("the sums are %v, %v", sums, err)
	}
}

// exchange is a streamed request that is under way.
type exchange struct {
	begun <-chan struct{} // closed when the headers are there, and with them the first content
	ended <-chan answer
}

// underWay sends a streamed request and returns once the provider has it.
func underWay(h *house, p *fake.Server) exchange {
	h.t.Helper()
	n := len(p.Calls())
	begun, ended := make(chan struct{}), make(chan answer, 1)
	go func() {
		resp, err := h.http.Post(h.base+"/v1/messages", "application/json",
			strings.NewReader(`{"model":"any","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"hi"}]}`))
		if err != nil {
			ended <- answer{body: err.Error()}
			return
		}
		defer resp.Body.Close()
		close(begun)
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			body = append(body, " and then "+err.Error()...)
		}
		ended <- answer{resp.StatusCode, resp.Header, string(body)}
	}()
	if _, err := p.WaitCalls(h.t.Context(), n+1); err != nil {
		h.t.Fatal(err)
	}
	return exchange{begun, ended}
}

func TestAStopLetsAnswersEnd(t *testing.T) {
	release := make(chan struct{})
	p := provider(t, func(int, fake.Request) fake.Behaviour {
		<-release
		return fake.Text("the whole answer, to its last word")
	})
	h := open(t, strings.Replace(yamlOf("anthropic", p.URL()), "first_token: 1s", "first_token: 1m", 1))
	x := underWay(h, p)
	h.stopping()
	eventually(t, "the doors are closed", func() bool {
		_, err := h.try(http.MethodGet, "/healthz", "")
		return err != nil
	})
	// The control API is still there for those who want to see what it waits for.
	st, err := h.control().Status(t.Context())
	if err != nil || st.Requests.InFlight != 1 {
		t.Errorf("in flight are %d, %v", st.Requests.InFlight, err)
	}
	close(release)
	if a := <-x.ended; a.status != 200 || !strings.Contains(a.body, "word") || !strings.Contains(a.body, "message_stop") {
		t.Errorf("the answer under way: %d %s", a.status, a.body)
	}
	if err := h.stop(); err != nil {
		t.Error(err)
	}
	if !slices.Contains(h.messages(), "draining") {
		t.Error("the log does not say that it waits")
	}
}

func TestAStopTellsTheAnswersThatItCuts(t *testing.T) {
	hurry := make(chan struct{})
	tests := []struct {
		name   string
		change func(*Options)
		after  func()
		hurry  bool
	}{
		{"the time is over", func(o *Options) { o.test.drain = 300 * time.Millisecond }, func() {}, false},
		{"somebody is in a hurry", func(o *Options) { o.Hurry = hurry }, func() { close(hurry) }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := provider(t, func(n int, _ fake.Request) fake.Behaviour {
				if n == 1 {
					return fake.Silent() // nothing is out yet: an error of its own
				}
				return fake.Text("half of an answer").StallAfter(4) // an error in-band
			})
			h := open(t, strings.Replace(yamlOf("anthropic", p.URL()), "first_token: 1s", "first_token: 1m", 1), tt.change)
			silent, stalled := underWay(h, p), underWay(h, p)
			<-stalled.begun
			at := time.Now()
			h.stopping()
			tt.after()
			a := <-silent.ended
			if a.status != 503 || !strings.Contains(a.body, "overloaded_error") || !strings.Contains(a.body, "send the request again") || a.header.Get("Retry-After") == "" {
				t.Errorf("the silent one: %d %s", a.status, a.body)
			}
			b := <-stalled.ended
			if b.status != 200 || !strings.Contains(b.body, "half") || !strings.Contains(b.body, "event: error") || strings.Contains(b.body, "message_stop") || strings.Contains(b.body, "and then") {
				t.Errorf("the stalled one: %d %s", b.status, b.body)
			}
			err := h.stop()
			if took := time.Since(at); took > 10*time.Second { // 1 s by the contract, on a machine that is not this busy
				t.Errorf("it took %v", took)
			}
			if tt.hurry != errors.Is(err, errHurried) || !tt.hurry && err != nil {
				t.Errorf("it ended with %v", err)
			}
			rows, _ := readLog(t, h.home.Requests())
			if len(rows) != 2 || strings.Contains(strings.Join(rows, ""), `"outcome":"ok"`) {
				t.Errorf("the rows are %q", rows)
			}
			audit, _ := readLog(t, h.home.Audit())
			if !strings.Contains(audit[len(audit)-1], "drey-shutdown") {
				t.Errorf("the audit log ends with %s", audit[len(audit)-1])
			}
		})
	}
}

// A part that fails stops the house, in order and with its reason.
func TestAPartThatFailsStopsTheHouse(t *testing.T) {
	p := provider(t, nil)
	h := open(t, yamlOf("openai", p.URL()))
	_ = h.d.tcp.Close()
	select {
	case <-h.ended:
	case <-time.After(short):
		t.Fatal("it serves on without a door")
	}
	audit, _ := readLog(t, h.home.Audit())
	if last := audit[len(audit)-1]; !strings.Contains(last, "drey-shutdown") || !strings.Contains(last, `"reason":"error"`) {
		t.Errorf("the audit log ends with %s", last)
	}
	if err := h.stop(); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("it ended with %v", err)
	}
	if log := h.messages(); log[len(log)-1] != "drey-shutdown" || !slices.Contains(log, "part-failed") {
		t.Errorf("the log is %q", log)
	}
}

func TestTotalsGoOnOverRestarts(t *testing.T) {
	p := provider(t, nil)
	home := newHome(t, yamlOf("openai", p.URL()))
	for start := 1; start <= 3; start++ {
		h := openAt(t, home)
		for range 2 {
			h.chat("hi")
		}
		want := uint64(2 * start)
		eventually(t, "the total is told", func() bool {
			st, err := h.control().Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return st.Requests.Total == want && st.Requests.Outcomes["ok"] == want && st.Journal.Epoch == uint64(start)
		})
		metrics := h.do(http.MethodGet, "/metrics", "").body
		if line := `drey_requests_total{outcome="ok",profile="default",status="200",wire="chat"} ` + string(rune('0'+want)); !strings.Contains(metrics, line) {
			t.Errorf("/metrics lacks %s:\n%s", line, metrics)
		}
		if err := h.stop(); err != nil {
			t.Fatal(err)
		}
	}
}
