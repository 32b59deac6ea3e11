package server

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/store"
)

// captures are captures in memory, newest first.
type captures struct {
	list []store.Capture
	mode string
}

func (c *captures) Capturing() string { return c.mode }

func (c *captures) Captures(_ context.Context, q store.CaptureQuery) (store.CapturePage, error) {
	from := 0
	for from < len(c.list) && q.Before != "" && string(c.list[from].ID) >= q.Before {
		from++
	}
	if q.Before != "" && !strings.HasPrefix(q.Before, "req_") {
		return store.CapturePage{}, store.ErrCursor
	}
	p := store.CapturePage{Captures: c.list[from:]}
	if limit := store.PageLimit(q.Limit); len(p.Captures) > limit {
		p.Captures = p.Captures[:limit]
		p.Next = string(p.Captures[limit-1].ID)
	}
	return p, nil
}

func (c *captures) Capture(_ context.Context, id drey.RequestID) (store.Capture, error) {
	for _, one := range c.list {
		if one.ID == id {
			return one, nil
		}
	}
	return store.Capture{}, fmt.Errorf("read: %w", store.ErrNotFound)
}

func captureOf(t *testing.T, id string) store.Capture {
	t.Helper()
	whole, err := json.Marshal(api.Capture{
		ID: drey.RequestID(id), At: "2026-11-22T10:00:00.000000+00:00", Wire: drey.WireChat, Path: "/v1/chat/completions",
		Body: `{"model":"m","messages":[{"role":"user","content":"say hello"}]}`, Bytes: 64, Attempts: []api.CaptureAttempt{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return store.Capture{ID: drey.RequestID(id), At: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), Profile: "default", Provider: "big", Outcome: "ok", Bytes: int64(len(whole)), Whole: whole}
}

func TestCaptures(t *testing.T) {
	caps := &captures{mode: "all", list: []store.Capture{captureOf(t, "req_c"), captureOf(t, "req_b"), captureOf(t, "req_a")}}
	l := newLab(t, func(c *Config) { c.Captures = caps }, nil)
	r := l.ask("GET", "/api/v1/captures?limit=2", "")
	if got := gjson.Get(r.body, "captures.#.id").Raw; r.StatusCode != 200 || got != `["req_c","req_b"]` || !gjson.Get(r.body, "as_of_seq").Exists() {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	r = l.ask("GET", "/api/v1/captures?cursor="+gjson.Get(r.body, "next_cursor").Str, "")
	if got := gjson.Get(r.body, "captures.#.id").Raw; got != `["req_a"]` || gjson.Get(r.body, "next_cursor").Exists() {
		t.Errorf("the second page: %d %s", r.StatusCode, r.body)
	}
	r = l.ask("GET", "/api/v1/captures/req_b", "")
	if r.StatusCode != 200 || gjson.Get(r.body, "wire").Str != "chat" || gjson.Get(r.body, "body").Str == "" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r = l.ask("GET", "/api/v1/captures?cursor=x", ""); r.StatusCode != 400 || gjson.Get(r.body, "error.code").Str != "invalid_argument" {
		t.Errorf("a bad cursor: %d %s", r.StatusCode, r.body)
	}
}

// TestNoCapture: whoever finds none is told what to do, by what is known of the
// request.
func TestNoCapture(t *testing.T) {
	caps := &captures{}
	l := newLab(t, func(c *Config) { c.Captures = caps }, nil)
	for _, row := range []string{`{"id":"req_plain"}`, `{"id":"req_gone","captured":true}`, `{"id":"req_again","replay_of":"req_plain"}`} {
		l.rows.list = append(l.rows.list, store.RequestRow{ID: drey.RequestID(gjson.Get(row, "id").Str), Row: []byte(row)})
	}
	for _, tt := range []struct{ name, mode, id, hint string }{
		{"unknown", "all", "req_x", "a request is there once it has ended"},
		{"off", "off", "req_plain", "set logs.capture: errors or all"},
		{"only errors", "errors", "req_plain", "set logs.capture: all"},
		{"before that", "all", "req_plain", "before logs.capture was set"},
		{"evicted", "all", "req_gone", "logs.capture_max_mb"},
		{"a replay", "off", "req_again", "send req_plain again instead"},
	} {
		caps.mode = tt.mode
		for _, ask := range []func() *reply{
			func() *reply { return l.ask("GET", "/api/v1/captures/"+tt.id, "") },
			func() *reply { return l.ask("POST", "/api/v1/requests/"+tt.id+"/replay", "") },
		} {
			r := ask()
			if hint := gjson.Get(r.body, "error.hint").Str; r.StatusCode != 404 || !strings.Contains(hint, tt.hint) {
				t.Errorf("%s: %d %s, want the hint %q", tt.name, r.StatusCode, r.body, tt.hint)
			}
		}
	}
}

// TestReplay: a replay answers with both sides, and the gateway's refusals have
// their status.
func TestReplay(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Captures = &captures{list: []store.Capture{captureOf(t, "req_a")}} }, nil)
	for _, tt := range []struct {
		body   string
		status int
		code   string
		text   string // in the answer
	}{
		{``, 200, "", `"provider":"local"`},
		{`{"provider":"cloud","yes":true}`, 200, "", `"provider":"cloud"`},
		{`{"provider":"cloud"}`, 403, "paid_gate", "--yes"},
		{`{"profile":"dear"}`, 403, "paid_gate", "--yes"},
		{`{"provider":"nope"}`, 400, "invalid_argument", "nope"},
		{`{"profile":"nope"}`, 400, "invalid_argument", "nope"},
		{`{"provdier":"local"}`, 400, "invalid_argument", "provdier"},
	} {
		r := l.ask("POST", "/api/v1/requests/req_a/replay", tt.body, "Content-Type", "application/json")
		if code := gjson.Get(r.body, "error.code").Str; r.StatusCode != tt.status || code != tt.code || !strings.Contains(r.body, tt.text) {
			t.Errorf("%s: %d %s", tt.body, r.StatusCode, r.body)
		}
	}
}
