package server

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	core "github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/orchestrator"
	"github.com/dreyhq/drey/internal/store"
)

// operationsJournal keeps what the registry reads of a journal; the events are
// the lab's.
type operationsJournal struct{ *journal }

func (operationsJournal) Epoch() uint64 { return 1 }
func (operationsJournal) Load(context.Context, string, string) (store.State, error) {
	return store.State{}, store.ErrNotFound
}
func (operationsJournal) Snapshots(context.Context, string) ([]store.State, error) { return nil, nil }
func (operationsJournal) SnapshotsAfter(context.Context, string, string, int) ([]store.State, error) {
	return nil, nil
}

// withOperations gives a lab a registry.
func withOperations(t *testing.T) (*lab, *orchestrator.Operations) {
	t.Helper()
	var ops *orchestrator.Operations
	l := newLab(t, func(cfg *Config) {
		j, ok := cfg.Journal.(*journal)
		if !ok {
			t.Fatalf("the lab's journal is a %T", cfg.Journal)
		}
		var err error
		ops, err = orchestrator.New(t.Context(), orchestrator.Config{
			Journal: operationsJournal{j}, Bus: cfg.Bus.(orchestrator.Bus), Policy: core.DefaultPolicy(),
		})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Operations = ops
	}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := ops.Serve(ctx); err != nil {
			t.Errorf("serve operations: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l, ops
}

func TestOperationRoutes(t *testing.T) {
	l, ops := withOperations(t)
	spec := core.Spec{Kind: core.BackgroundTool, Owner: "s", Name: "build", Labels: core.Labels{"role": "smith"}}
	reg := ops.Registry(core.MobRegistry("red"))
	made, err := reg.Register(t.Context(), spec, core.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	id := made.ID.String()
	meta := core.Meta{ID: made.ID}
	for _, call := range []core.Event{
		core.Provisioned{Meta: meta},
		core.ReportProgress{Meta: meta, Update: core.ProgressUpdate{Message: "half", Percent: core.PercentOf(50)}},
	} {
		if _, err := ops.Do(t.Context(), call); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		method, path, body string
		status             int
		at, want           string // a path in the answer, and what is there
	}{
		{"GET", "?active=true&status=running&label=role%3Dsmith", "", 200, "operations.0.display_name", "build"},
		{"GET", "?status=failed&status=running", "", 200, "operations.#", "1"},
		{"GET", "?status=failed", "", 200, "operations.#", "0"},
		{"GET", "?status=dead", "", 400, "error.code", "invalid_argument"},
		{"GET", "?cursor=x", "", 400, "error.code", "invalid_argument"},
		{"GET", "/" + id, "", 200, "progress.percent", "50"},
		{"GET", "/" + id, "", 200, "registry", "mob:red"},
		{"GET", "/nothing", "", 400, "error.code", "invalid_argument"},
		{"GET", "/00000000-0000-7000-8000-000000000001", "", 404, "error.code", "not_found"},
		{"GET", "/" + id + "/progress", "", 200, "progress.0.message", "half"},
		{"GET", "/tree?mob=red", "", 200, "operations.0.id", id},
		{"GET", "/" + id + "/events", "", 200, "events.#", "3"},
		{"POST", "/wait", `{"ids":["` + id + `"],"timeout":"1ms"}`, 200, "satisfied", "false"},
		{"POST", "/wait", `{"ids":["` + id + `","` + id + `"]}`, 400, "error.code", "duplicate_wait_operation"},
		{"POST", "/" + id + "/cancel", `{"reason":"enough","request_id":"r"}`, 200, "terminal_outcome.reason", "enough"},
		{"POST", "/" + id + "/cancel", `{"reason":"enough","request_id":"r"}`, 200, "version", "4"},
		{"POST", "/" + id + "/cancel", "", 409, "error.code", "invalid_transition"},
		{"POST", "/wait", `{"ids":["` + id + `"]}`, 200, "outcomes.0.outcome_type", "cancelled"},
		{"POST", "/terminate-owner", `{"owner_session_id":"s","reason":"over"}`, 200, "terminated.#", "0"},
	}
	for _, tt := range tests {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, l.url+"/api/v1/operations"+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "application/json")
		if tt.body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := l.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := gjson.GetBytes(body, tt.at).String(); err != nil || resp.StatusCode != tt.status || got != tt.want {
			t.Errorf("%s %s: %d, %s is %q; want %d, %q: %s", tt.method, tt.path, resp.StatusCode, tt.at, got, tt.status, tt.want, body)
		}
	}
}

// TestOperationStreamEndsWithIt: the stream of one operation ends behind its
// ending, live and from the journal, and at once where that is behind already.
func TestOperationStreamEndsWithIt(t *testing.T) {
	l, ops := withOperations(t)
	made, err := ops.Registry(core.Fallback).Register(t.Context(), core.Spec{Kind: core.BackgroundTool, Owner: "s", Name: "n"}, core.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	read := func(query string, meanwhile func()) string {
		t.Helper()
		resp, err := l.http.Get(l.url + "/api/v1/operations/" + made.ID.String() + "/events" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if meanwhile != nil {
			meanwhile()
		}
		body, err := io.ReadAll(resp.Body) // it comes to an end
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	live := read("?after=0", func() {
		if _, err := ops.Do(t.Context(), core.Fail{Meta: core.Meta{ID: made.ID}, Error: "x"}); err != nil {
			t.Error(err)
		}
	})
	if !strings.Contains(live, "event: operation.registered") || !strings.Contains(live, "event: operation.failed") {
		t.Errorf("live: %s", live)
	}
	if again := read("?after=0", nil); !strings.Contains(again, "event: operation.failed") {
		t.Errorf("from the journal: %s", again)
	}
	if behind := read("", nil); strings.Contains(behind, "event:") {
		t.Errorf("behind the ending: %s", behind)
	}
}

// TestWhyOperation: the story has the operation's events and what caused them,
// and of very many the first and the last.
func TestWhyOperation(t *testing.T) {
	l, ops := withOperations(t)
	made, err := ops.Registry(core.MobRegistry("red")).Register(t.Context(), core.Spec{Kind: core.BackgroundTool, Owner: "s", Name: "build"}, core.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	meta := core.Meta{ID: made.ID}
	do := func(call core.Event) {
		t.Helper()
		if _, err := ops.Do(t.Context(), call); err != nil {
			t.Fatal(err)
		}
	}
	ask := func() (text string, steps int64) {
		t.Helper()
		r := l.ask("GET", api.Prefix+"/why/operation/"+made.ID.String(), "")
		if r.StatusCode != 200 || gjson.Get(r.body, "subject").Str != "operation" || gjson.Get(r.body, "id").Str != made.ID.String() {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		return gjson.Get(r.body, "text").Str, gjson.Get(r.body, "steps.#").Int()
	}
	do(core.Provisioned{Meta: meta})
	do(core.ReportProgress{Meta: meta, Update: core.ProgressUpdate{Message: "half", Percent: core.PercentOf(50)}})
	if text, steps := ask(); steps != 3 || !strings.Contains(text, "build, a tool in the background, has been running for") || !strings.Contains(text, "how far it was: 50%, half.") {
		t.Errorf("%d steps: %s", steps, text)
	}
	l.journal.Submit(func(store.Commit, error) {}, store.Append{Events: []drey.Event{{At: time.Now(), Name: "moon_rose", Machine: "sky", ID: "moon"}}})
	rose, err := l.journal.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2*storyEvents + 20 {
		do(core.ReportProgress{Meta: meta, Update: core.ProgressUpdate{Message: "more"}})
	}
	caused := meta
	caused.Cause = rose
	do(core.Cancel{Meta: caused, Reason: "enough"})
	text, _ := ask()
	for _, want := range []string{": cancelled: enough. It was of session s in mob:red.", "Of its 1024 events 24 are not told", "registered it as build", "  moon_rose\n", "  cancelled: enough\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	for path, want := range map[string]string{"nothing": "invalid_argument", "00000000-0000-7000-8000-000000000001": "not_found"} {
		if r := l.ask("GET", api.Prefix+"/why/operation/"+path, ""); gjson.Get(r.body, "error.code").Str != want {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
	}
}
