package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// drifts sets what the profile default says about drift.
func drifts(p guard.DriftPolicy) func(*Settings) {
	return func(s *Settings) { s.Profiles[0].Drift, s.Profiles[0].EmptyAnswer = p, EmptyOff }
}

var demoting = guard.DriftPolicy{Action: guard.DriftDemote, Window: 10, Cooldown: 5 * time.Minute}

// varied answers differently each time: what a provider that is well does.
func varied(n int, _ fake.Request) fake.Behaviour {
	return fake.Text(fmt.Sprintf("answer number %d, and some more of it", n))
}

// emptyAfter is well for a while, and then has nothing to say.
func emptyAfter(good int) fake.Script {
	return func(n int, r fake.Request) fake.Behaviour {
		if n <= good {
			return varied(n, r)
		}
		return fake.Empty()
	}
}

// drift are the journaled events about drift.
func (l *lab) drift() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, ev := range l.events {
		if strings.HasPrefix(ev.Name, "drift-") {
			out = append(out, ev.Name)
		}
	}
	return out
}

// A provider whose answers get empty goes last for the cool-down, on every wire,
// and comes back; each step is told.
func TestDriftDemotes(t *testing.T) {
	for _, caller := range callers {
		for _, provider := range bothWires {
			for _, stream := range []bool{false, true} {
				t.Run(name(caller, provider, form(stream)), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { testDriftDemotes(t, caller, provider, stream) })
				})
			}
		}
	}
}

func testDriftDemotes(t *testing.T, caller, provider drey.Wire, stream bool) {
	l := newLab(t, drifts(demoting),
		scripted{id: "a", wire: provider, script: emptyAfter(8)}, scripted{id: "b", wire: provider, script: varied})
	ask := func() answer {
		a := l.ask(t.Context(), caller, prompt(caller, stream))
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return a
	}
	asked := 0
	for len(l.drift()) == 0 {
		if a := ask(); a.header.Get("X-Drey-Provider") != "a" {
			t.Fatalf("before any drift %s answered", a.header.Get("X-Drey-Provider"))
		}
		if asked++; asked > 20 {
			t.Fatal("twelve empty answers, and nobody noticed")
		}
	}
	if asked <= 8 {
		t.Fatalf("good answers were found to be worse, after %d", asked)
	}
	if got := l.last().Guards; !slices.Equal(got, []guard.Trip{{Guard: guard.GuardDrift, Action: "demote"}}) {
		t.Errorf("the record says %v", got)
	}
	a := ask()
	for key, want := range map[string]string{
		"X-Drey-Provider": "b", "X-Drey-Fallback-From": "a", "X-Drey-Fallback-Reason": "drift", "X-Drey-Drift": "",
	} {
		if got := a.header.Get(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	l.fakes["b"].Outage(fake.Refused())
	if a := ask(); a.header.Get("X-Drey-Provider") != "a" || a.header.Get("X-Drey-Drift") != "severe" {
		t.Errorf("while b is out: %v", a.header)
	}
	l.fakes["b"].Restore()
	time.Sleep(5 * time.Minute) // of the bubble
	if a := ask(); a.header.Get("X-Drey-Provider") != "a" || a.header.Get("X-Drey-Drift") != "" {
		t.Errorf("after the cool-down: %v", a.header)
	}
	if got := l.drift(); !slices.Equal(got, []string{"drift-detected", "drift-recovered"}) {
		t.Errorf("told: %v", got)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ev := range l.events {
		if strings.HasPrefix(ev.Name, "drift-") && (ev.Machine != "provider" || ev.ID != "a" || ev.RequestID == "") {
			t.Errorf("%+v", ev)
		}
	}
}

// With the action warn nobody is moved.
func TestDriftWarns(t *testing.T) {
	warn := demoting
	warn.Action = guard.DriftWarn
	l := newLab(t, drifts(warn), scripted{id: "a", wire: drey.WireChat, script: emptyAfter(6)}, scripted{id: "b", wire: drey.WireChat})
	for range 14 {
		l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, true))
	}
	a := l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, true))
	if a.header.Get("X-Drey-Provider") != "a" || a.header.Get("X-Drey-Drift") != "severe" {
		t.Errorf("%v", a.header)
	}
	if got := l.drift(); !slices.Equal(got, []string{"drift-detected"}) {
		t.Errorf("told: %v", got)
	}
}

// What an attempt was like, as the watch over its provider gets it.
func TestDriftSamples(t *testing.T) {
	tool := `"tools":[{"type":"function","function":{"name":"ls","parameters":{}}}],`
	text := fake.Text("Grüße an alle")
	for _, tt := range []struct {
		name   string
		script fake.Behaviour
		want   guard.Sample // without Text
		text   bool
	}{
		{"a text", text, guard.Sample{Length: 13, Tools: true}, true},
		{"a call", fake.CallTool(`{"a":1}`), guard.Sample{Length: 7, Tools: true, Calls: true}, false},
		{"a text and a call", fake.CallTool(`{"a":1}`).WithText("well"), guard.Sample{Length: 11, Tools: true, Calls: true}, true},
		{"nothing", fake.Empty(), guard.Sample{Empty: true, Tools: true}, false},
		{"thoughts alone", fake.Empty().Thinking("hm"), guard.Sample{Empty: true, Tools: true}, false},
		{"cut short", text.Stop("max_tokens"), guard.Sample{Length: 13, Tools: true, Odd: true}, true},
		{"a failure", fake.ServerError(), guard.Sample{Failed: true}, false},
	} {
		for _, stream := range []bool{false, true} {
			for _, caller := range []drey.Wire{drey.WireChat, drey.WireAnthropic} {
				for _, provider := range bothWires {
					t.Run(name(tt.name, caller, provider, form(stream)), func(t *testing.T) {
						l := newLab(t, func(s *Settings) {
							drifts(demoting)(s)
							s.Profiles[0].Retry.Retries = 0
						}, scripted{id: "a", wire: provider, script: fake.Always(tt.script)})
						body := strings.Replace(prompt(caller, stream), "{", "{"+tool, 1)
						if caller == drey.WireAnthropic {
							body = strings.Replace(prompt(caller, stream), "{", `{"tools":[{"name":"ls","input_schema":{}}],`, 1)
						}
						l.ask(t.Context(), caller, body)
						w := l.gen.Load().chains["default"].drift[0]
						if len(w.d.Answers) == 0 {
							t.Fatal("nobody watched")
						}
						got := w.d.Answers[0]
						if (got.Text != 0) != tt.text {
							t.Errorf("the hash of its text is %x", got.Text)
						}
						if got.Text = 0; got != tt.want {
							t.Errorf("got %+v, want %+v", got, tt.want)
						}
					})
				}
			}
		}
	}
}

// Answers of a provider that speaks Responses itself are heard too.
func TestDriftSamplesOfResponses(t *testing.T) {
	whole := `{"id":"resp_1","object":"response","model":"m","status":"completed","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"hi"}]}],"usage":{"input_tokens":9,"output_tokens":2}}`
	var hashes []uint64
	for kind, body := range map[string]string{"text/event-stream": nativeStream + nativeEnd, "application/json": whole} {
		l := newLab(t, drifts(demoting), native("a", &server{status: 200, kind: kind, body: body}))
		l.ask(t.Context(), drey.WireResponses, prompt(drey.WireResponses, kind == "text/event-stream"))
		answers := l.gen.Load().chains["default"].drift[0].d.Answers
		if len(answers) != 1 || answers[0].Length != 2 || answers[0].Empty || answers[0].Odd {
			t.Fatalf("%s: %+v", kind, answers)
		}
		hashes = append(hashes, answers[0].Text)
	}
	if hashes[0] != hashes[1] {
		t.Errorf("one text has the hashes %x", hashes)
	}
}

// A caller's mistake, a refused credential and a pause that a provider asks for
// are no drift.
func TestNoDrift(t *testing.T) {
	for _, b := range []fake.Behaviour{
		fake.Status(400, "invalid_request_error", "no"), fake.Status(401, "authentication_error", "no"), fake.Status(429, "rate_limit_error", "later"),
	} {
		l := newLab(t, drifts(demoting), scripted{id: "a", wire: drey.WireAnthropic, script: fake.Always(b)})
		l.ask(t.Context(), drey.WireAnthropic, prompt(drey.WireAnthropic, false))
		if d := l.gen.Load().chains["default"].drift[0].d; len(d.Answers) > 0 {
			t.Errorf("%+v", d)
		}
	}
}

// However a text is cut into frames, its hash is the same.
func TestTapIsBlindToFrames(t *testing.T) {
	hash := func(pieces ...string) uint64 {
		var s guard.Sample
		listener := &listener{text: fnvSeed, open: wire.Text}
		for _, p := range pieces {
			listener.piece(p)
		}
		listener.report(&s)
		return s.Text
	}
	if a, b := hash("one two"), hash("one", " ", "t", "wo"); a != b || a == 0 {
		t.Errorf("%x and %x", a, b)
	}
	if hash("one two") == hash("one too") {
		t.Error("two texts have one hash")
	}
}

// A demotion outlives a reload that leaves the provider what it was, and ends
// with one that does not watch it any more.
func TestDriftOverReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Settings
		l := newLab(t, func(now *Settings) { drifts(demoting)(now); s = *now },
			scripted{id: "a", wire: drey.WireChat, script: emptyAfter(6)}, scripted{id: "b", wire: drey.WireChat, script: varied})
		reload := func(change func(p *Profile, a *Provider)) {
			next := s
			next.Profiles, next.Providers = slices.Clone(s.Profiles), slices.Clone(s.Providers)
			change(&next.Profiles[0], &next.Providers[0])
			if err := l.Reload(next); err != nil {
				t.Fatal(err)
			}
		}
		served := func() string {
			return l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, false)).header.Get("X-Drey-Provider")
		}
		demote := func() {
			for range 20 {
				if served() == "b" {
					return
				}
			}
			t.Fatal("a was never demoted")
		}
		demote()
		reload(func(p *Profile, a *Provider) { a.AppendSystem = "be brief" })
		if by := served(); by != "b" {
			t.Errorf("after a reload that changes nothing about a: %s", by)
		}
		reload(func(p *Profile, a *Provider) { p.Drift.Action = guard.DriftWarn })
		if by := served(); by != "a" {
			t.Errorf("after a reload to warn: %s", by)
		}
		if got := l.drift(); !slices.Equal(got, []string{"drift-detected", "drift-recovered"}) {
			t.Errorf("told: %v", got)
		}
		reload(func(p *Profile, a *Provider) {})
		demote()
		reload(func(p *Profile, a *Provider) { a.Model = "another" })
		if by := served(); by != "a" {
			t.Errorf("after a reload to another model: %s", by)
		}
		demote()
		reload(func(p *Profile, a *Provider) { p.Drift = guard.DriftPolicy{}; a.Model = "another" })
		want := []string{"drift-detected", "drift-recovered", "drift-detected", "drift-recovered", "drift-detected", "drift-recovered"}
		if got := l.drift(); !slices.Equal(got, want) {
			t.Errorf("told: %v", got)
		}
	})
}

// Many requests at once, a reload among them: what is told is in order.
func TestDriftIsToldInOrder(t *testing.T) {
	policy := guard.DriftPolicy{Action: guard.DriftDemote, Window: 4, Sensitivity: guard.High, Cooldown: time.Nanosecond}
	var s Settings
	l := newLab(t, func(now *Settings) { drifts(policy)(now); s = *now }, scripted{id: "a", wire: drey.WireChat, script: fake.Always(fake.Empty())})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, true))
			}
		})
	}
	if err := l.Reload(s); err != nil {
		t.Error(err)
	}
	wg.Wait()
	got := l.drift()
	if len(got) < 10 {
		t.Errorf("only %d events", len(got))
	}
	for i, ev := range got {
		if want := []string{"drift-detected", "drift-recovered"}[i%2]; ev != want {
			t.Fatalf("the %d-th event is %s", i, ev)
		}
	}
}

// A provider named by the model is watched as in its profile, and embeddings
// are no talk.
func TestDriftOfOne(t *testing.T) {
	l := newLab(t, drifts(demoting), scripted{id: "a", wire: drey.WireChat})
	answers := func() int { return len(l.gen.Load().chains["default"].drift[0].d.Answers) }
	l.ask(t.Context(), drey.WireChat, strings.Replace(prompt(drey.WireChat, false), "claude-x", "a", 1))
	if answers() != 1 {
		t.Errorf("%d answers", answers())
	}
}

// What guards found is counted by what was done about it.
func TestGuardsAreCounted(t *testing.T) {
	m := NewMetrics(discard{})
	r := &Record{Outcome: OutcomeOK}
	r.tripped(guard.Trip{Guard: guard.GuardDrift, Action: "demote"})
	r.tripped(guard.Trip{Guard: guard.GuardDrift, Action: "warn"})
	m.observe(r)
	m.observe(r)
	delta := m.takeDelta()
	for _, action := range []string{"demote", "warn"} {
		if n := delta[strings.Join([]string{"drey_guard_total", "drift", action}, sep)]; n != 2 {
			t.Errorf("%s: %v", action, n)
		}
	}
}

// BenchmarkTap is what watching costs for each frame of a stream.
func BenchmarkTap(b *testing.B) {
	frame := sse.Event{Data: []byte(`{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" lorem"},"finish_reason":null}]}`)}
	listener := &listener{dec: codecs[drey.WireChat].NewDecoder(), text: fnvSeed}
	b.ReportAllocs()
	for b.Loop() {
		listener.frame(frame)
	}
	if listener.length == 0 {
		b.Error("it heard nothing")
	}
}
