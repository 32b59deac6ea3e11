package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
	"go.uber.org/goleak"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/healing"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/upstream"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a gateway in front of scripted providers, all in one process.
type lab struct {
	*Gateway
	keeper *healing.Keeper
	t      *testing.T
	fakes  map[drey.ProviderID]*fake.Upstream

	mu      sync.Mutex
	records []*Record
	events  []drey.Event
}

func (l *lab) Record(r *Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ev := range r.Events {
		if _, err := ev.MarshalJSON(); err != nil {
			l.t.Errorf("an event that cannot be written: %v", err)
		}
	}
	l.records = append(l.records, r)
}

func (l *lab) Emit(ev drey.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := ev.MarshalJSON(); err != nil {
		l.t.Errorf("an event that cannot be written: %v", err)
	}
	l.events = append(l.events, ev)
}

// Committed takes the events of the Keeper.
func (l *lab) Committed(evs ...drey.Event) {
	for _, ev := range evs {
		l.Emit(ev)
	}
}

func (l *lab) Publish(...drey.Event) {}

// emitted are the names of the journaled events so far.
func (l *lab) emitted() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := []string{}
	for _, ev := range l.events {
		names = append(names, ev.Name)
	}
	return names
}

func (l *lab) last() *Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.records) == 0 {
		l.t.Fatal("no record was kept")
	}
	return l.records[len(l.records)-1]
}

// scripted is a provider of a lab.
type scripted struct {
	id     drey.ProviderID
	wire   drey.Wire
	script fake.Script
	change func(*Provider)
	ollama bool
}

// newLab builds a gateway with a profile "default" of these providers in
// order. change may alter the settings.
func newLab(t *testing.T, change func(*Settings), providers ...scripted) *lab {
	t.Helper()
	l := &lab{t: t, fakes: map[drey.ProviderID]*fake.Upstream{}}
	s := Settings{AllowPaid: true, DefaultProfile: "default", Keepalive: 10 * time.Second}
	p := Profile{ID: "default", Retry: route.DefaultPolicy(), RetryShare: 0.2, RetryFloor: 3}
	for _, sc := range providers {
		up := fake.New(fake.Options{Script: sc.script, Ollama: sc.ollama, Models: []string{"model-of-" + string(sc.id)}})
		t.Cleanup(up.Close)
		l.fakes[sc.id] = up
		pr := Provider{
			Config:  upstream.Config{ID: sc.id, Wire: sc.wire, URL: "http://" + string(sc.id) + ".test/v1", Model: "model-of-" + string(sc.id), Transport: up, Key: "secret-of-" + string(sc.id)},
			Connect: 3 * time.Second, Stall: time.Minute, Total: time.Hour, QueueWait: 30 * time.Second,
		}
		if sc.change != nil {
			sc.change(&pr)
		}
		s.Providers = append(s.Providers, pr)
		p.Chain = append(p.Chain, []drey.ProviderID{sc.id})
	}
	s.Profiles = append(s.Profiles, p)
	if change != nil {
		change(&s)
	}
	l.keeper = keep(t, l, s)
	g, err := New(Config{Recorder: l, Healer: l.keeper, Redact: func(s string) string { return strings.ReplaceAll(s, "HUSH", "[redacted]") }, InFlight: func(drey.Wire, int) {}, Random: func() float64 { return 0.5 }}, s)
	if err != nil {
		t.Fatal(err)
	}
	l.Gateway = g
	return l
}

// healthOf is what a Keeper is told of a gateway's settings.
func healthOf(s Settings) healing.Settings {
	out := healing.Settings{AllowPaid: s.AllowPaid}
	for i := range s.Providers {
		out.Providers = append(out.Providers, healing.Default(s.Providers[i].Config))
	}
	for i := range s.Profiles {
		p := &s.Profiles[i]
		out.Profiles = append(out.Profiles, healing.Profile{ID: p.ID, Action: p.Action, Adaptive: p.Adaptive, Chain: slices.Concat(p.Chain...)})
	}
	return out
}

// keep returns a Keeper that runs until the test ends.
func keep(t testing.TB, bus healing.Bus, s Settings) *healing.Keeper {
	k, err := healing.New(t.Context(), healing.Config{Journal: noJournal{}, Bus: bus}, healthOf(s))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = k.Serve(ctx) })
	t.Cleanup(func() {
		stop()
		wg.Wait()
	})
	return k
}

// noJournal forgets everything at once.
type noJournal struct{}

func (noJournal) Submit(done func(store.Commit, error), _ ...store.Append) { done(store.Commit{}, nil) }

func (noJournal) Snapshots(context.Context, string) ([]store.State, error) { return nil, nil }

// view is what the Keeper knows of a provider.
func (l *lab) view(id drey.ProviderID) healing.View {
	v, _ := l.keeper.View(id)
	return v
}

// answer is what a caller got.
type answer struct {
	status  int
	header  http.Header
	body    string
	aborted bool // the connection was broken rather than ended
}

// ask sends a body as a caller of the wire and waits for the end.
func (l *lab) ask(ctx context.Context, w drey.Wire, body string, change ...func(*Request)) answer {
	r := &Request{ID: "req_0123456789abcdefghijklmn", At: time.Now(), Wire: w, Body: []byte(body), Header: http.Header{}}
	for _, c := range change {
		c(r)
	}
	rec := httptest.NewRecorder()
	a := answer{}
	func() {
		defer func() {
			if p := recover(); p == http.ErrAbortHandler {
				a.aborted = true
			} else if p != nil {
				panic(p)
			}
		}()
		l.Generate(ctx, rec, r)
	}()
	a.status, a.header, a.body = rec.Code, rec.Header(), rec.Body.String()
	return a
}

// prompt is a small request of the wire.
func prompt(w drey.Wire, stream bool) string {
	body := map[string]any{
		"model": "claude-x", "stream": stream, "messages": []any{map[string]any{"role": "user", "content": "say hello"}},
	}
	switch w {
	case drey.WireAnthropic:
		body["max_tokens"] = 100
	case drey.WireResponses:
		body["input"] = body["messages"]
		delete(body, "messages")
	}
	b, _ := json.Marshal(body)
	return string(b)
}

// text is the text that a caller of the wire reads out of an answer, and
// whether the answer ended as a complete one does.
func (a answer) text(w drey.Wire) (text string, complete bool) {
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream") {
		switch w {
		case drey.WireAnthropic:
			return gjson.Get(a.body, `content.#(type=="text").text`).Str, gjson.Get(a.body, "stop_reason").Exists()
		case drey.WireResponses:
			return gjson.Get(a.body, `output.#(type=="message").content.0.text`).Str, gjson.Get(a.body, "status").Str == "completed"
		default:
			return gjson.Get(a.body, "choices.0.message.content").Str, gjson.Get(a.body, "choices.0.finish_reason").Exists()
		}
	}
	var b strings.Builder
	for _, line := range strings.Split(a.body, "\n") {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		switch {
		case w == drey.WireAnthropic:
			b.WriteString(gjson.Get(data, "delta.text").Str)
			complete = complete || gjson.Get(data, "type").Str == "message_stop"
		case w == drey.WireResponses:
			if gjson.Get(data, "type").Str == "response.output_text.delta" {
				b.WriteString(gjson.Get(data, "delta").Str)
			}
			complete = complete || gjson.Get(data, "type").Str == "response.completed"
		case data == "[DONE]":
			complete = true
		default:
			b.WriteString(gjson.Get(data, "choices.0.delta.content").Str)
		}
	}
	return b.String(), complete
}

// errorType is the type of the error that the caller reads, in the stream or
// by itself; on responses within a stream its code. "" if there is none.
func (a answer) errorType() string {
	if t := gjson.Get(a.body, "error.type").Str; t != "" {
		return t
	}
	for _, line := range strings.Split(a.body, "\n") {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			for _, path := range []string{"error.type", "response.error.code"} {
				if t := gjson.Get(data, path).Str; t != "" {
					return t
				}
			}
		}
	}
	return ""
}

// golden compares with a file of testdata, or rewrites it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with -update to write it, and read it", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (-want +got); run with -update if it should:\n%s", path, cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")))
	}
}

// bothWires are those of providers, and callers those of callers.
var (
	bothWires = []drey.Wire{drey.WireAnthropic, drey.WireChat}
	callers   = []drey.Wire{drey.WireAnthropic, drey.WireChat, drey.WireResponses}
)

// near is the wire of a provider that is nearest to a caller's.
func near(caller drey.Wire) drey.Wire {
	if caller == drey.WireResponses {
		return drey.WireChat
	}
	return caller
}

func form(stream bool) string {
	if stream {
		return "stream"
	}
	return "whole"
}

func name(parts ...any) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(parts...), " ", "-"), "-")
}
