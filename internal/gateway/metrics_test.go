package gateway

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/repair"
	"github.com/dreyhq/drey/internal/wire"
)

// TestMetrics holds what Prometheus is told of a request in which everything
// happened. The golden file is what dashboards are built on: a name, a label or
// a type in it that changes breaks somebody's.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	m.InFlight(drey.WireChat, 1)
	m.Reloaded(true)
	m.Reloaded(false)
	hostile := "a\"} 1\ndrey_forged_total 9\n" + strings.Repeat("x", 300)
	r := &Record{
		ID: "req_x", Wire: drey.WireChat, Profile: "default", Asked: hostile, Served: hostile, Error: hostile, Key: hostile, Provider: "b", Status: 200, Outcome: OutcomeOK,
		Attempts: []AttemptRecord{
			{Provider: "a", Class: drey.Server, Status: 500, Error: hostile},
			{Provider: "a", Class: drey.BadOutput, Committed: true, FirstByte: 20 * time.Millisecond, Cost: 2_000},
			{Provider: "b", OK: true, Resumed: true, FirstByte: 30 * time.Millisecond, Gap: 4 * time.Millisecond, Cost: 1_000,
				Usage: wire.Usage{Input: 60, Output: 7, CacheRead: 30, CacheWrite: 10, Reasoning: 2}},
		},
		Skipped: []Skipped{{Provider: "c", Reason: "budget"}},
		Guards:  []guard.Trip{{Guard: guard.GuardDrift, Action: "demote"}},
		Rescue:  RescueRecord{RescueContinue, RescueOK},
		Mended:  []Mended{{Provider: "b", Calls: []repair.Call{{Name: hostile}}, Filters: []string{"strip_thinking"}}},
		Total:   2 * time.Second, Own: time.Millisecond, Savings: 500, FellFrom: "a", FellFor: "server",
	}
	m.observe(r)
	m.observe(r) // a second one makes no new series
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	got := w.Body.String()
	if strings.Contains(got, "xxx") || strings.Contains(got, "forged") {
		t.Error("what a caller or a provider says is in a label")
	}
	// Of a histogram the count tells enough.
	golden(t, "metrics.golden", []byte(regexp.MustCompile(`(?m)^.*_(?:bucket|sum)[{ ].*\n`).ReplaceAllString(got, "")))
}
