package daemon

import (
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dreyhq/drey/internal/store"
)

func TestLogsThatAreOffAreNotThere(t *testing.T) {
	p := provider(t, nil)
	h := open(t, yamlOf("openai", p.URL(), "logs: {audit: false, requests: false}"))
	id := h.chat("hi").header.Get("X-Request-Id")
	h.row(id) // the store has it all the same
	h.event("drey-startup", 0)
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{h.home.Audit(), h.home.Requests()} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, msg := range h.messages() {
		if msg == "audit-log-started" || msg == "request-log-started" {
			t.Errorf("the log says %s", msg)
		}
	}
}

// A full disk is played by directories where the logs should be: no row can be
// written, and nothing but rows is lost.
func TestLogsThatCannotBeWrittenFailNoRequest(t *testing.T) {
	p := provider(t, nil)
	home := newHome(t, yamlOf("openai", p.URL()))
	for _, name := range []string{"/audit.jsonl", "/requests.jsonl"} {
		if err := os.Mkdir(home+name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h := openAt(t, home)
	const n = 20
	for range n {
		if got := h.chat("hi"); got.status != 200 {
			t.Fatalf("a request gets %d: %s", got.status, got.body)
		}
	}
	eventually(t, "the lost rows are counted", func() bool {
		st, err := h.control().Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st.Requests.Total == n && st.Requests.Dropped >= n
	})
	if metrics := h.do(http.MethodGet, "/metrics", "").body; !strings.Contains(metrics, "drey_log_dropped_total 2") { // 20 rows and some events
		t.Errorf("/metrics says %s", metrics)
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	warned := 0
	for _, msg := range h.messages() {
		if msg == "log-not-written" {
			warned++
		}
	}
	if warned != 2 {
		t.Errorf("%d warnings for two logs", warned)
	}
	st := reopen(t, h.home)
	if page, err := st.Requests(t.Context(), store.RequestQuery{}); err != nil || len(page.Rows) != n {
		t.Errorf("the store has %d rows, %v", len(page.Rows), err)
	}
}

func TestLogLevelIsReloaded(t *testing.T) {
	p := provider(t, nil)
	h := open(t, yamlOf("openai", p.URL()))
	h.row(h.chat("hi").header.Get("X-Request-Id"))
	if slices.Contains(h.messages(), "request") {
		t.Error("a request that went well is in the log of level info")
	}
	writeConfig(t, h.home.Root(), yamlOf("openai", p.URL(), "logs: {level: debug}"))
	if _, err := h.control().Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.row(h.chat("hi").header.Get("X-Request-Id"))
	if !slices.Contains(h.messages(), "request") {
		t.Error("the level has not changed")
	}
}

func TestMetricsHaveADoorOfTheirOwn(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	_ = free.Close()
	p := provider(t, nil)
	h := open(t, yamlOf("openai", p.URL(), `telemetry: {metrics: false, metrics_listen: "`+addr+`"}`))
	h.chat("hi")
	agents := h.base
	if got := h.do(http.MethodGet, "/metrics", ""); got.status != 404 {
		t.Errorf("metrics are off, and at the agents' door %d", got.status)
	}
	h.base = "http://" + addr
	eventually(t, "the request is counted", func() bool {
		return strings.Contains(h.do(http.MethodGet, "/metrics", "").body, `drey_requests_total{outcome="ok",profile="default",status="200",wire="chat"} 1`)
	})
	for _, path := range []string{"/", "/v1/models", "/api/v1/status", "/healthz"} {
		if got := h.do(http.MethodGet, path, ""); got.status != 404 {
			t.Errorf("%s is %d there", path, got.status)
		}
	}
	if got := h.do(http.MethodPost, "/metrics", ""); got.status != 405 {
		t.Errorf("POST /metrics is %d", got.status)
	}
	h.base = agents
}
