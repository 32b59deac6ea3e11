package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
)

func TestSinceTime(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"":                          {},
		"2h":                        now.Add(-2 * time.Hour),
		"7d":                        now.AddDate(0, 0, -7),
		"0":                         now,
		"2026-01-01T00:00:00Z":      time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		"2026-01-01T01:00:00+01:00": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		got, err := sinceTime(in, now)
		if err != nil || !got.Equal(want) {
			t.Errorf("sinceTime(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"15", "-1h", "soon", "2026-13-01T00:00:00Z"} {
		if got, err := sinceTime(in, now); err == nil {
			t.Errorf("sinceTime(%q) = %v, want an error", in, got)
		}
	}
}

func TestEventLine(t *testing.T) {
	local := time.Local
	time.Local = time.UTC
	defer func() { time.Local = local }()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, row := range []struct {
		ev   drey.Event
		want string
	}{
		{
			drey.Event{At: at, Name: "try-provider", RequestID: "req_1", Fields: []drey.Field{drey.F("provider", "nest")}},
			"2026-01-02 03:04:05      -       try-provider         provider=nest request_id=req_1",
		},
		{
			drey.Event{
				Seq: 12, At: at, Name: "self-healing-exclude", Level: drey.Warn, Machine: "provider", ID: "nest",
				From: "HEALTHY", To: "EXCLUDED", Trigger: "failed", Cause: 11,
				Fields: []drey.Field{drey.F("consecutive_failures", json.RawMessage("3")), drey.F("error", json.RawMessage(`"no \u001b[31mroute"`)), drey.F("null", json.RawMessage("null"))},
			},
			`2026-01-02 03:04:05     12 warn  self-healing-exclude provider nest HEALTHY -> EXCLUDED trigger=failed consecutive_failures=3 error="no \x1b[31mroute" null=null cause=11`,
		},
	} {
		if got := eventLine(row.ev); got != row.want {
			t.Errorf("got\n%s\nwant\n%s", got, row.want)
		}
	}
}

func TestProviderNow(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for want, p := range map[string]api.Provider{
		"ready":                       {},
		"ready, 2 under way":          {InFlight: 2},
		"paid-gate":                   {Out: "paid-gate"},
		"parked-rate-limit for 1m30s": {Out: "parked-rate-limit", Until: drey.FormatTime(now.Add(90 * time.Second))},
		"parked-rate-limit":           {Out: "parked-rate-limit", Until: drey.FormatTime(now)},
		"parked-auth":                 {Out: "parked-auth", Until: "some day"},
		"parked-quota for 1d1h":       {Out: "parked-quota", Until: drey.FormatTime(now.Add(25 * time.Hour))},
	} {
		if got := providerNow(p, now); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestChainText(t *testing.T) {
	got := chainText([][]drey.ProviderID{{"a"}, {"b", "c"}, {"d"}})
	if want := "a > [b, c] > d"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                "",
		"größer 木":        "größer 木",
		"a\x1b[31mb\r\nc": `a\x1b[31mb\r\nc`,
		"\u202eabc":       `\u202eabc`,
		"it's \"fine\"":   "it's \"fine\"",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
	if got := cut("abcdef", 4); got != "abc…" {
		t.Errorf("cut = %q", got)
	}
	if got := cut("größe", 5); got != "größe" {
		t.Errorf("cut = %q", got)
	}
}
