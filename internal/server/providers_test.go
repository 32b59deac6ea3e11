package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/store"
)

// healer keeps the health of one provider, local, in memory and notes what it
// is asked to do.
type healer struct {
	mu    sync.Mutex
	now   Health
	asked []string
	err   error
	probe Probed
}

func (h *healer) Health(id drey.ProviderID) (Health, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now, id == "local"
}

// act notes an act, and makes it so unless an error was ordered.
func (h *healer) act(what string, state health.State, phase health.Phase) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, what)
	if h.err != nil {
		return false, h.err
	}
	changed := h.now.State != state
	h.now.State, h.now.Phase = state, phase
	if h.now.By = health.ByNobody; state == health.Excluded {
		h.now.By = health.ByOperator
	}
	return changed, nil
}

func (h *healer) Exclude(_ context.Context, id drey.ProviderID, reason string, span time.Duration) (bool, error) {
	return h.act(fmt.Sprintf("exclude %s %q %s", id, reason, span), health.Excluded, health.NoPhase)
}

func (h *healer) Restore(_ context.Context, id drey.ProviderID) (bool, error) {
	return h.act(fmt.Sprintf("restore %s", id), health.Healthy, health.Ramping)
}

func (h *healer) Restart(_ context.Context, id drey.ProviderID) (bool, error) {
	return h.act(fmt.Sprintf("restart %s", id), health.Excluded, health.Restarting)
}

func (h *healer) Probe(_ context.Context, id drey.ProviderID, depth *health.Depth) (Probed, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	how := "as configured"
	if depth != nil {
		how = depth.String()
	}
	h.asked = append(h.asked, fmt.Sprintf("probe %s %s", id, how))
	return h.probe, h.err
}

func (h *healer) Drain(_ context.Context, id drey.ProviderID, timeout time.Duration) (bool, int, error) {
	changed, err := h.act(fmt.Sprintf("drain %s %s", id, timeout), health.Excluded, health.NoPhase)
	return changed, 2, err
}

func (h *healer) order(err error) (asked []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	asked, h.asked, h.err = h.asked, nil, err
	return asked
}

func healerLab(t *testing.T) (*lab, *healer) {
	h := &healer{}
	return newLab(t, func(c *Config) { c.Healer = h }, nil), h
}

func TestProviderActs(t *testing.T) {
	l, h := healerLab(t)
	h.probe = Probed{OK: true, Depth: health.DepthModels, Latency: 40 * time.Millisecond}
	code := func(c string) error {
		return &drey.Error{Class: drey.Caller, Code: c, Op: "restart", Provider: "local"}
	}
	for _, tt := range []struct {
		name, path, body string
		err              error
		asked            string
		status           int
		want             string // of the view, or of the error
	}{
		{"exclude", "local/exclude", `{"reason":"new driver","for":"2h"}`, nil, `exclude local "new driver" 2h0m0s`, 200,
			"state=EXCLUDED by=operator changed=true"},
		{"exclude again, without a body", "local/exclude", "", nil, `exclude local "" 0s`, 200, "state=EXCLUDED changed=false"},
		{"an unknown key", "local/exclude", `{"reasom":"x"}`, nil, "", 400, "error.code=invalid_argument"},
		{"a bare number", "local/exclude", `{"for":7200}`, nil, "", 400, "error.code=invalid_argument"},
		{"a span without unit", "local/exclude", `{"for":"7200"}`, nil, "", 400, "error.code=invalid_argument"},
		{"a negative span", "local/exclude", `{"for":"-2h"}`, nil, "", 400, "error.fields.0.path=body.for"},
		{"no JSON", "local/exclude", `for 2h`, nil, "", 400, "error.code=invalid_argument"},
		{"restore", "local/restore", "", nil, "restore local", 200, "state=HEALTHY phase=ramping changed=true"},
		{"restart", "local/restart", "", nil, "restart local", 200, "phase=restarting changed=true"},
		{"restart while one runs", "local/restart", "", code(api.CodeRestartInProgress), "restart local", 409, "error.code=restart_in_progress"},
		{"restart of nothing", "local/restart", "", code(api.CodeNothingToRestart), "restart local", 422, "error.code=nothing_to_restart"},
		{"probe", "local/probe", "", nil, "probe local as configured", 200,
			"probe.success=true probe.depth=models probe.latency_ms=40 changed=false"},
		{"probe to a depth", "local/probe", `{"depth":"liveness"}`, nil, "probe local liveness", 200, "probe.success=true"},
		{"probe to no depth", "local/probe", `{"depth":"trial"}`, nil, "", 400, "error.code=invalid_argument"},
		{"probe of a paid one", "cloud/probe", "", nil, "", 403, "error.code=paid_gate"},
		{"probe of a paid one, allowed", "cloud/probe", `{"allow_paid":true}`, nil, "probe cloud as configured", 200, "name=cloud probe.success=true"},
		{"drain", "local/drain", "", nil, "drain local 1m0s", 200, "in_flight_killed=2 changed=false"},
		{"drain for longer", "local/drain", `{"timeout":"5m"}`, nil, "drain local 5m0s", 200, "in_flight_killed=2"},
		{"drain at once", "local/drain", `{"timeout":"0"}`, nil, "drain local 0s", 200, "in_flight_killed=2"},
		{"nobody", "nobody/restore", "", nil, "", 404, "error.code=not_found"},
		{"no such act", "local/bless", "", nil, "", 404, "error.code=not_found"},
		{"a bug", "local/restore", "", errors.New("a bug"), "restore local", 500, "error.code=internal"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.order(tt.err)
			r := l.ask("POST", api.Prefix+"/providers/"+tt.path, tt.body, "Content-Type", "application/json")
			r.checkID(t)
			if r.StatusCode != tt.status {
				t.Errorf("status %d: %s", r.StatusCode, r.body)
			}
			if asked := strings.Join(h.order(nil), "; "); asked != tt.asked {
				t.Errorf("the healer was asked %q, want %q", asked, tt.asked)
			}
			for _, pair := range strings.Fields(tt.want) {
				key, want, _ := strings.Cut(pair, "=")
				if got := gjson.Get(r.body, key).String(); got != want {
					t.Errorf("%s is %q, want %q: %s", key, got, want, r.body)
				}
			}
		})
	}
	r := l.ask("POST", api.Prefix+"/providers/nobody/drain", "")
	if !strings.Contains(gjson.Get(r.body, "error.hint").Str, "cloud, local") {
		t.Errorf("the hint does not name those that there are: %s", r.body)
	}
}

// A server whose health is not kept yet refuses acts and still shows what there
// is.
func TestProvidersWithoutAHealer(t *testing.T) {
	l := newLab(t, nil, nil)
	if r := l.ask("POST", api.Prefix+"/providers/local/exclude", ""); r.StatusCode != 503 || gjson.Get(r.body, "error.code").Str != api.CodeUnavailable {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := l.ask("GET", api.Prefix+"/providers/local", ""); r.StatusCode != 200 || gjson.Get(r.body, "state").Str != "HEALTHY" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

func TestProviderView(t *testing.T) {
	l, h := healerLab(t)
	h.now = Health{
		View: health.View{
			State: health.Excluded, Phase: health.Probing, By: health.ByHealth, Reason: "consecutive", ConsecutiveFailures: 6, InFlight: 1,
			Interval: 30 * time.Second, ExcludedAt: time.Now().Add(-90 * time.Second), NextProbeAt: time.Now().Add(time.Hour),
			ParkedUntil: time.Now().Add(time.Hour), ParkedReason: health.ParkRateLimit,
		},
		Queued:   3,
		Attempts: 9, Successes: 3, Failures: map[drey.Class]uint64{drey.Transport: 6},
		LastError: &LastError{At: time.Now(), Class: drey.Transport, Text: strings.Repeat("x", 300)},
		Process:   &Process{State: health.Ready, PID: 42, Port: 8080, Idle: 1500 * time.Millisecond},
	}
	r := l.ask("GET", api.Prefix+"/providers/local", "")
	for key, want := range map[string]string{
		"name": "local", "class": "local", "wire": "chat", "model": "m", "state": "EXCLUDED", "phase": "probing", "by": "health",
		"reason": "consecutive", "consecutive_failures": "6", "in_flight": "1", "queued": "3", "interval_s": "30",
		"process.state": "READY", "process.pid": "42", "process.port": "8080", "process.idle_s": "1.5", "changed": "", "attempts": "9", "successes": "3", "failures.transport": "6",
		"last_error.class": "transport", "last_error.text": strings.Repeat("x", 199) + "…",
	} {
		if got := gjson.Get(r.body, key).String(); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	for key, near := range map[string]float64{"excluded_for_s": 90, "next_probe_in_s": 3600} {
		if got := gjson.Get(r.body, key).Num; got < near-60 || got > near+60 {
			t.Errorf("%s is %v", key, got)
		}
	}
	if gjson.Get(r.body, "parked_until").Str == "" {
		t.Error("parked_until is missing")
	}
	if r := l.ask("GET", api.Prefix+"/providers/nobody", ""); r.StatusCode != 404 {
		t.Errorf("nobody: %d", r.StatusCode)
	}
}

const row1 = `{"id":"req_1","ts":"2026-11-22T10:00:00.000000+00:00","wire":"chat","profile":"default","provider":"cloud","status":200,"outcome":"ok","ms":900,` +
	`"attempts":[{"provider":"local"},{"provider":"cloud"}],"skipped":[{"provider":"big","reason":"excluded"}],"events":[` +
	`{"ts":"2026-11-22T10:00:00.000000+00:00","event":"provider-skipped","level":"debug","provider":"big","reason":"excluded"},` +
	`{"ts":"2026-11-22T10:00:00.100000+00:00","event":"provider-failed","level":"warn","provider":"local","class":"transport","status":0,"error":"connection refused by HUSH","retryable":true,"committed":false},` +
	`{"ts":"2026-11-22T10:00:00.900000+00:00","event":"provider-ok","level":"info","provider":"cloud","duration_ms":800}]}`

func TestWhy(t *testing.T) {
	l, h := healerLab(t)
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	l.bus.Emit(drey.Event{At: at, Name: "chain-panic-trial", Machine: "profile", ID: "default", Fields: []drey.Field{drey.F("profile", "default"), drey.F("provider", "big")}})
	l.rows.list = []store.RequestRow{{ID: "req_1", At: at, Row: []byte(row1)}}
	l.journal.Submit(func(store.Commit, error) {}, store.Append{Events: []drey.Event{
		{At: at.Add(-time.Minute), Name: "self-healing-exclude", Machine: "provider", ID: "big", Fields: []drey.Field{drey.F("provider", "big"), drey.F("consecutive_failures", 6), drey.F("reason", "consecutive")}},
		{At: at, Name: "config-loaded", Machine: "daemon", RequestID: "req_1"},
		{At: at.Add(100 * time.Millisecond), Name: "self-healing-exclude", Machine: "provider", ID: "local", Cause: 3, Fields: []drey.Field{drey.F("provider", "local"), drey.F("profile", "default"), drey.F("consecutive_failures", 1), drey.F("reason", "consecutive")}},
	}})
	h.now = Health{View: health.View{State: health.Excluded, Phase: health.Probing, By: health.ByHealth, ExcludedAt: time.Now().Add(-time.Minute), NextProbeAt: time.Now().Add(time.Hour)}}
	for path, want := range map[string][]string{
		"request/req_1": {"cloud answered request req_1", "passed over big: it is excluded, since 1m earlier (6 failures in a row)", "local failed (transport: connection refused by [redacted])"},
		"provider/local": {"local has been EXCLUDED for 1m, by its health", // the exclusion goes back to the request by its cause
			"excluded after 1 failure in a row (transport: connection refused by [redacted]), first seen by request req_1"},
		"provider/big": {"big is not in the configuration any more.", "got a request as a trial", "excluded after 6 failures in a row"},
	} {
		t.Run(path, func(t *testing.T) {
			r := l.ask("GET", api.Prefix+"/why/"+path, "")
			if r.StatusCode != 200 {
				t.Fatalf("%d %s", r.StatusCode, r.body)
			}
			text := gjson.Get(r.body, "text").Str
			for _, w := range want {
				if !strings.Contains(text, w) {
					t.Errorf("%q is not in\n%s", w, text)
				}
			}
			if n := len(gjson.Get(r.body, "steps").Array()); n == 0 || n != strings.Count(text, "2026-11-22") {
				t.Errorf("%d steps, and the text is\n%s", n, text)
			}
		})
	}
	if seq := gjson.Get(l.ask("GET", api.Prefix+"/why/provider/local", "").body, "steps.0.seq").Int(); seq != 4 {
		t.Errorf("the step stands on event %d", seq)
	}
	for _, path := range []string{"request/req_2", "provider/nobody", "daemon"} {
		if r := l.ask("GET", api.Prefix+"/why/"+path, ""); r.StatusCode != 404 || gjson.Get(r.body, "error.code").Str != api.CodeNotFound {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
	}
}
