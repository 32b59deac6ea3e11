package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/spend"
)

func hello(text string) fake.Script { return fake.Always(fake.Text(text)) }

// The same wire is passed as it came: what drey does not know survives, and
// only what the configuration asks for is edited.
func TestSameWirePassesUnknownFieldsIntact(t *testing.T) {
	for _, w := range bothWires {
		t.Run(w.String(), func(t *testing.T) {
			l := newLab(t, nil, scripted{id: "a", wire: w, script: hello("hi")})
			l.ask(t.Context(), w, `{ "model" :"claude-x","max_tokens":16, "profile":"default","future":{"n":1.0e3,"z":null},"messages":[{"role":"user","content":"hi \u00e9"}]}`)
			want := `{ "model" :"model-of-a","max_tokens":16,"future":{"n":1.0e3,"z":null},"messages":[{"role":"user","content":"hi \u00e9"}]}`
			got := string(l.fakes["a"].Calls()[0].Body)
			if strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
				t.Errorf("the provider got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestHeadersTellTheWay(t *testing.T) {
	tests := []struct {
		name   string
		first  fake.Script
		change func(*Settings)
		want   map[string]string
	}{
		{"the first serves", hello("a"), nil, map[string]string{"X-Drey-Profile": "default", "X-Drey-Provider": "first", "X-Drey-Attempts": "1"}},
		{"the first fails", fake.Always(fake.ServerError()), nil, map[string]string{
			"X-Drey-Profile": "default", "X-Drey-Provider": "second", "X-Drey-Attempts": "2",
			"X-Drey-Fallback-From": "first", "X-Drey-Fallback-To": "second", "X-Drey-Fallback-Reason": "server",
		}},
		{"a closed paid gate passes over nobody", hello("a"), func(s *Settings) { s.AllowPaid = false; s.Providers[0].Price = drey.Paid }, map[string]string{
			"X-Drey-Profile": "default", "X-Drey-Provider": "second", "X-Drey-Attempts": "1",
		}},
		{"nor does a missing credential", hello("a"), func(s *Settings) { s.Providers[0].Missing = true }, map[string]string{
			"X-Drey-Profile": "default", "X-Drey-Provider": "second", "X-Drey-Attempts": "1",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, tt.change, scripted{id: "first", wire: drey.WireChat, script: tt.first}, scripted{id: "second", wire: drey.WireChat, script: hello("b")})
			a := l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, true))
			got := map[string]string{}
			for k := range a.header {
				if strings.HasPrefix(k, "X-Drey-") && k != "X-Drey-Request-Id" {
					got[k] = a.header.Get(k)
				}
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestNobodyMayServe(t *testing.T) {
	l := newLab(t, func(s *Settings) { s.AllowPaid = false; s.Providers[0].Price = drey.Paid }, scripted{id: "dear", wire: drey.WireChat, script: hello("a")})
	a := l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, false))
	if a.status != 400 || gjson.Get(a.body, "error.code").Str != "paid-gate" || a.header.Get("X-Should-Retry") != "false" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	if got := l.emitted(); !slices.Equal(got, []string{"paid-gate-blocked"}) {
		t.Errorf("events %v", got)
	}
	if o := l.last().Outcome; o != OutcomeRefused {
		t.Errorf("outcome %s", o)
	}
	if n := len(l.fakes["dear"].Calls()); n != 0 {
		t.Errorf("a paid provider was called %d times behind a closed gate", n)
	}
}

// Credentials that all providers refuse are told once for the request, with what
// to do; one that answers, or another failure between them, is another story.
func TestEverybodyRefusesTheCredential(t *testing.T) {
	for _, tt := range []struct {
		name   string
		second fake.Behaviour
		status float64 // that is told; 0 = nothing is
	}{
		{"both with 401", fake.Unauthorized(), 401},
		{"with 401 and 403", fake.Forbidden(), 0},
		{"and one that is down", fake.Refused(), 0},
		{"and one that answers", fake.Text("hi"), 0},
	} {
		for _, w := range callers {
			l := newLab(t, nil,
				scripted{id: "first", wire: drey.WireChat, script: fake.Always(fake.Unauthorized())},
				scripted{id: "second", wire: drey.WireAnthropic, script: fake.Always(tt.second)})
			a := l.ask(t.Context(), w, prompt(w, true))
			if a.status == 401 || a.status == 403 {
				t.Errorf("%s, %s: the caller is told to log in: %d", tt.name, w, a.status)
			}
			var told []float64
			for _, ev := range l.events {
				if ev.Name == "chain-uniform-auth-failure" {
					if told = append(told, fieldOf(ev, "status").Num); ev.ID != "default" || ev.RequestID == "" || !strings.Contains(fieldOf(ev, "hint").Str, "keys") {
						t.Errorf("%s, %s: %+v", tt.name, w, ev)
					}
				}
			}
			if want := tt.status; len(told) > 1 || len(told) == 1 && told[0] != want || len(told) == 0 && want != 0 {
				t.Errorf("%s, %s: told of %v, want %v", tt.name, w, told, want)
			}
		}
	}
}

// Want of memory is told with its provider, and no secret of its text.
func TestMemoryPressureIsTold(t *testing.T) {
	l := newLab(t, nil,
		scripted{id: "small", wire: drey.WireChat, script: fake.Always(fake.Status(500, "api_error", "CUDA error: out of memory for HUSH"))},
		scripted{id: "large", wire: drey.WireChat, script: hello("hi")})
	a := l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, false))
	if a.status != 200 || a.header.Get("X-Drey-Fallback-Reason") != "resource" {
		t.Fatalf("%d %v", a.status, a.header)
	}
	for _, ev := range l.events {
		if ev.Name == "memory-pressure-detected" {
			if ev.Machine != "provider" || ev.ID != "small" || ev.Level != drey.Warn || ev.RequestID == "" ||
				fieldOf(ev, "provider").Str != "small" || fieldOf(ev, "error").Str != "CUDA error: out of memory for [redacted]" {
				t.Errorf("%+v", ev)
			}
			return
		}
	}
	t.Errorf("events %v", l.emitted())
}

// While nothing has come, a stream is kept alive in the way that its clients
// bear, failover goes on, and the way is told by a comment.
func TestKeepalive(t *testing.T) {
	for _, w := range callers {
		t.Run(w.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, nil,
					scripted{id: "first", wire: near(w), script: fake.Always(fake.ServerError().Delay(25 * time.Second))},
					scripted{id: "second", wire: near(w), script: fake.Always(fake.Text("hello there").Gap(15 * time.Second))})
				a := l.ask(t.Context(), w, prompt(w, true))
				text, complete := a.text(w)
				if a.status != 200 || text != "hello there" || !complete {
					t.Fatalf("%d %q %v", a.status, text, complete)
				}
				ping := "event: ping\n"
				if w == drey.WireChat {
					ping = ": ping\n"
				}
				before, _, _ := strings.Cut(a.body, "hello")
				if n := strings.Count(before, ping); n < 2 {
					t.Errorf("%d pings before the first content, want at least 2:\n%s", n, a.body)
				}
				if !strings.Contains(before, ": drey provider=second attempts=2 reason=server\n") {
					t.Errorf("the way is not told:\n%s", before)
				}
				if _, after, _ := strings.Cut(a.body, "hello"); !strings.Contains(after, ping) {
					t.Errorf("no ping in a gap after the commit:\n%s", after)
				}
			})
		})
	}
}

// After a ping went out, a chain that fails is told in the stream.
func TestFailureAfterAnEarlyStatus(t *testing.T) {
	for _, w := range callers {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, nil, scripted{id: "only", wire: near(w), script: fake.Always(fake.Status(403, "permission_error", "HUSH").Delay(25 * time.Second))})
			a := l.ask(t.Context(), w, prompt(w, true))
			if _, complete := a.text(w); complete || a.status != 200 || a.errorType() == "" || a.aborted != (w == drey.WireChat) {
				t.Errorf("%s: %d aborted=%v\n%s", w, a.status, a.aborted, a.body)
			}
			if strings.Contains(a.body, "HUSH") {
				t.Errorf("a secret in the stream: %s", a.body)
			}
		})
	}
}

// An agent's SDK that says when it gives up hears the reason before.
func TestCallersOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, scripted{id: "only", wire: drey.WireAnthropic, script: fake.Always(fake.Silent())})
		start := time.Now()
		a := l.ask(t.Context(), drey.WireAnthropic, prompt(drey.WireAnthropic, false), func(r *Request) { r.Header.Set("X-Stainless-Timeout", "60") })
		if took := time.Since(start); took != 55*time.Second || a.status != 504 || a.header.Get("Retry-After") == "" {
			t.Errorf("%s %d %s", took, a.status, a.body)
		}
	})
}

// A chain that fails again and again tells its callers to stay away for longer.
func TestRetryAfterGrowsWithEachFailedChain(t *testing.T) {
	l := newLab(t, nil, scripted{id: "only", wire: drey.WireChat, script: fake.Sequence(fake.Refused(), fake.Refused(), fake.Refused(), fake.Text("back"), fake.Refused())})
	var got []string
	for range 5 {
		got = append(got, l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, false)).header.Get("Retry-After"))
	}
	if want := []string{"1", "2", "4", "", "1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestParkedProviderIsLeftAloneAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil,
			scripted{id: "first", wire: drey.WireChat, script: fake.Sequence(fake.RateLimited().RetryAfter(20*time.Second), fake.Text("back"))},
			scripted{id: "second", wire: drey.WireChat, script: hello("b")})
		served := func() string {
			return l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, false)).header.Get("X-Drey-Provider")
		}
		got := []string{served(), served()}
		if r := l.last(); len(r.Skipped) != 1 || r.Skipped[0].Reason != "parked-rate-limit" {
			t.Errorf("skipped %+v", r.Skipped)
		}
		sleep(t.Context(), 21*time.Second) // on the clock of the bubble
		got = append(got, served())
		if want := []string{"second", "second", "first"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// A reload keeps what is known of a provider that is the same machine, lifts
// what a new configuration may have mended, and leaves requests under way.
func TestReload(t *testing.T) {
	l := newLab(t, nil,
		scripted{id: "first", wire: drey.WireChat, script: fake.Sequence(fake.Unauthorized(), fake.Text("mended"))},
		scripted{id: "second", wire: drey.WireChat, script: fake.Sequence(fake.Text("b"), fake.RateLimited().RetryAfter(time.Hour))})
	ask := func() *Record { l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, false)); return l.last() }
	if r := ask(); r.Provider != "second" {
		t.Fatalf("served by %q", r.Provider)
	}
	bad := l.gen.Load().Settings
	bad.DefaultProfile = "nowhere"
	if err := l.Reload(bad); err == nil {
		t.Error("a bad configuration was taken")
	}
	same := l.gen.Load().Settings
	same.Providers = slices.Clone(same.Providers)
	if err := l.Reload(same); err != nil {
		t.Fatal(err)
	}
	l.keeper.Apply(healthOf(same))
	if r := ask(); r.Provider != "first" {
		t.Errorf("the credential's parking was not lifted: served by %q, skipped %+v", r.Provider, r.Skipped)
	}
	if got := l.view("first"); got.Attempts != 2 || got.Successes != 1 {
		t.Errorf("what was counted is lost: %+v", got)
	}
	moved := same
	moved.Providers = slices.Clone(same.Providers)
	moved.Providers[0].Model = "another"
	if err := l.Reload(moved); err != nil {
		t.Fatal(err)
	}
	l.keeper.Apply(healthOf(moved))
	if got := l.view("first"); got.Attempts != 0 {
		t.Errorf("another model is another machine: %+v", got)
	}
}

func TestRefusedBeforeAnyProvider(t *testing.T) {
	tests := []struct {
		name, body string
		change     func(*Request)
		status     int
		message    string
	}{
		{"no JSON", `{"model":`, nil, 400, ""},
		{"two models", `{"model":"a","model":"b","messages":[]}`, nil, 400, "model"},
		{"unknown profile in the body", `{"model":"a","profile":"nope","messages":[]}`, nil, 400, "default"},
		{"unknown profile in the header", `{"model":"a","messages":[]}`, func(r *Request) { r.HeaderProfile = "nope" }, 400, "default"},
		{"unknown profile in the path", `{"model":"a","messages":[]}`, func(r *Request) { r.PathProfile = "nope" }, 400, "default"},
		{"unknown drey/NAME", `{"model":"drey/nope","messages":[]}`, nil, 400, "default"},
		{"a stream is refused as JSON too", `{"model":"drey/nope","stream":true,"messages":[]}`, nil, 400, "default"},
		{"a profile that the key may not use", `{"model":"a","profile":"default","messages":[]}`, func(r *Request) { r.Key = Key{Name: "k", Profiles: []drey.ProfileID{"other", "another"}} }, 403, "may not"},
		{"message threads", `{"model":"a","thread":{"type":"create"},"messages":[]}`, nil, 400, "thread"},
	}
	for _, tt := range tests {
		for _, w := range callers {
			if strings.Contains(tt.name, "threads") && w != drey.WireAnthropic {
				continue
			}
			t.Run(tt.name+" "+w.String(), func(t *testing.T) {
				l := newLab(t, nil, scripted{id: "a", wire: near(w), script: hello("hi")})
				var change []func(*Request)
				if tt.change != nil {
					change = append(change, tt.change)
				}
				a := l.ask(t.Context(), w, tt.body, change...)
				if a.status != tt.status || !strings.Contains(gjson.Get(a.body, "error.message").Str, tt.message) || a.errorType() == "" {
					t.Errorf("%d %s", a.status, a.body)
				}
				if ct := a.header.Get("Content-Type"); ct != "application/json" || a.header.Get("X-Should-Retry") != "false" {
					t.Errorf("headers %v", a.header)
				}
				if n := len(l.fakes["a"].Calls()); n != 0 || l.last().Outcome != OutcomeRefused {
					t.Errorf("%d calls, outcome %s", n, l.last().Outcome)
				}
			})
		}
	}
}

// The one who cancels is never held against a provider, wherever it happens.
func TestCancels(t *testing.T) {
	stages := map[string]fake.Behaviour{
		"before headers":       fake.Silent(),
		"before first content": fake.Text("hello").TTFT(time.Minute),
		"in the middle":        fake.Text("one two three four").Gap(30 * time.Second),
	}
	for stage, b := range stages {
		for _, w := range callers {
			for _, provider := range bothWires {
				for _, stream := range []bool{true, false} {
					if stage == "in the middle" && !stream && w == provider {
						continue // an answer in one piece has no middle
					}
					t.Run(name(stage, " ", w, " ", provider, " ", form(stream)), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							l := newLab(t, nil, scripted{id: "a", wire: provider, script: fake.Always(b)}, scripted{id: "b", wire: provider, script: hello("b")})
							ctx, cancel := context.WithCancel(t.Context())
							time.AfterFunc(40*time.Second, cancel)
							if stage != "in the middle" {
								time.AfterFunc(5*time.Second, cancel)
							}
							l.ask(ctx, w, prompt(w, stream))
							if _, err := l.fakes["a"].WaitCancelled(t.Context(), 1); err != nil {
								t.Error(err)
							}
							r, p := l.last(), l.view("a")
							if r.Outcome != OutcomeCancel || p.ConsecutiveFailures != 0 || len(p.Failures) != 0 || p.InFlight != 0 {
								t.Errorf("outcome %s, tally %+v, in flight %d", r.Outcome, p.View, p.InFlight)
							}
							if n := len(l.fakes["b"].Calls()); n != 0 {
								t.Errorf("the next provider was called for a caller that is gone")
							}
						})
					})
				}
			}
		}
	}
}

// Whoever is cut off by the daemon's end is told so, in the stream if need be.
func TestDrainedRequestsAreTold(t *testing.T) {
	for _, w := range callers {
		for _, b := range []fake.Behaviour{fake.Silent(), fake.Text("one two three").Gap(time.Minute)} {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, nil, scripted{id: "a", wire: near(w), script: fake.Always(b)})
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(5*time.Second, func() { cancel(&drey.Error{Class: drey.Cancel, Code: "draining", Op: "serve"}) })
				a := l.ask(ctx, w, prompt(w, true))
				if _, complete := a.text(w); complete || a.errorType() == "" {
					t.Errorf("%s: %d %s", w, a.status, a.body)
				}
				if p := l.view("a"); p.ConsecutiveFailures != 0 {
					t.Errorf("it counts against the provider: %+v", p)
				}
			})
		}
	}
}

// Frames that lie ready together go out together, in their order; and an error
// among them is still in time to hide the provider that made it.
func TestFramesThatLieReady(t *testing.T) {
	frame := func(text string) string {
		return `data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"` + text + `"},"finish_reason":null}]}` + "\n\n"
	}
	end := `data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"
	whole := frame("one ") + frame("two ") + frame("three") + end
	broken := frame("one ") + `data: {"error":{"type":"server_error","message":"it broke"}}` + "\n\n"

	l := newLab(t, nil, scripted{id: "a", wire: drey.WireChat, script: fake.Always(fake.Raw(200, "text/event-stream", whole))})
	if a := l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, true)); a.body != whole {
		t.Errorf("got %q", a.body)
	}
	l = newLab(t, nil, scripted{id: "a", wire: drey.WireChat, script: fake.Always(fake.Raw(200, "text/event-stream", broken))}, scripted{id: "b", wire: drey.WireChat, script: hello("fine")})
	for _, w := range bothWires {
		a := l.ask(t.Context(), w, prompt(w, true))
		if text, complete := a.text(w); text != "fine" || !complete {
			t.Errorf("%s: %s", w, a.body)
		}
	}
}

// What nobody has counted is estimated and marked, and never 0 for an answer
// that said something.
func TestUncountedTokensAreEstimated(t *testing.T) {
	for _, w := range bothWires {
		for _, provider := range bothWires {
			for _, stream := range []bool{true, false} {
				b := fake.Text("one two three four five").NoUsage()
				if stream {
					b = fake.Text("one two three four five").CutAfter(6, fake.RST)
				}
				l := newLab(t, nil, scripted{id: "a", wire: provider, script: fake.Always(b)})
				l.ask(t.Context(), w, prompt(w, stream))
				if r := l.last(); r.Usage.Output == 0 || r.Usage.Input == 0 || !r.Usage.Estimated && r.Outcome == OutcomeFailedMidstream {
					t.Errorf("%s in front of %s, %s: outcome %s, usage %+v", w, provider, form(stream), r.Outcome, r.Usage)
				}
			}
		}
	}
}

// The caller's own credential comes back in no answer and no row, whatever the
// provider that got it says.
func TestTheCallersCredentialStaysHidden(t *testing.T) {
	const own = "plain-words-of-the-caller"
	for _, b := range []fake.Behaviour{fake.Status(500, "server_error", strings.Repeat("x", 180)+" "+own), fake.Text("a b c").ErrorAfter(1, "api_error", strings.Repeat("x", 180)+" "+own)} {
		for _, stream := range []bool{true, false} {
			l := newLab(t, nil, scripted{id: "a", wire: drey.WireChat, script: fake.Always(b), change: func(p *Provider) { p.CallerKey, p.Key = true, "" }})
			a := l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, stream), func(r *Request) { r.Key.Secret = own })
			row, err := json.Marshal(l.last().row())
			if err != nil {
				t.Fatal(err)
			}
			for _, sink := range []string{a.body, string(row), fmt.Sprint(l.last().Events), fmt.Sprint(l.Providers())} {
				if strings.Contains(sink, "plain-words") {
					t.Errorf("it stands in %s", sink)
				}
			}
		}
	}
}

func TestUnfitForAgents(t *testing.T) {
	l := newLab(t, nil,
		scripted{id: "fine", wire: drey.WireChat, change: func(p *Provider) { p.ContextTokens, p.Can.Tools = 64_000, route.Yes }},
		scripted{id: "mute", wire: drey.WireChat, change: func(p *Provider) { p.ContextTokens, p.Can.Tools = 64_000, route.No }},
		scripted{id: "small", wire: drey.WireChat, change: func(p *Provider) { p.ContextTokens = 4096 }})
	var got []string
	for _, u := range l.Unfit() {
		got = append(got, fmt.Sprintf("%s %s: %s", u.Profile, u.Provider, u.Reason))
	}
	want := []string{
		"default mute: it cannot call tools",
		"default small: its window of 4096 tokens is smaller than an agent's first prompt (about 32000)",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// brokenWriter is a caller that is gone after the first write.
type brokenWriter struct {
	*httptest.ResponseRecorder
	writes int
}

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.writes++; w.writes > 1 {
		return 0, http.ErrBodyNotAllowed
	}
	return w.ResponseRecorder.Write(p)
}

func TestACallerThatDoesNotRead(t *testing.T) {
	l := newLab(t, nil, scripted{id: "a", wire: drey.WireChat, script: hello("one two three four")})
	w := &brokenWriter{ResponseRecorder: httptest.NewRecorder()}
	l.Generate(t.Context(), w, &Request{ID: "req_x", At: time.Now(), Wire: drey.WireChat, Body: []byte(prompt(drey.WireChat, true)), Header: http.Header{}})
	if r := l.last(); r.Outcome != OutcomeCancel || len(l.view("a").Failures) != 0 {
		t.Errorf("outcome %s, tally %+v", r.Outcome, l.view("a"))
	}
}

func TestPoolsTakeTheLeastBusy(t *testing.T) {
	l := newLab(t, func(s *Settings) { s.Profiles[0].Chain = [][]drey.ProviderID{{"a", "b"}} },
		scripted{id: "a", wire: drey.WireChat, script: fake.Always(fake.Text("a").TTFT(50 * time.Millisecond))},
		scripted{id: "b", wire: drey.WireChat, script: fake.Always(fake.Text("b").TTFT(50 * time.Millisecond))})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, false)) })
		if _, err := l.fakes["a"].WaitCalls(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if a, b := len(l.fakes["a"].Calls()), len(l.fakes["b"].Calls()); a != 1 || b != 1 {
		t.Errorf("a %d, b %d calls", a, b)
	}
}

func TestCountTokens(t *testing.T) {
	body := `{"model":"claude-x","messages":[{"role":"user","content":"` + strings.Repeat("four", 100) + `"}]}`
	count := func(l *lab, body string) (int, int64, string) {
		w := httptest.NewRecorder()
		l.CountTokens(t.Context(), w, &Request{ID: "req_x", At: time.Now(), Wire: drey.WireAnthropic, Body: []byte(body), Header: http.Header{}})
		return w.Code, gjson.Get(w.Body.String(), "input_tokens").Int(), w.Body.String()
	}
	l := newLab(t, nil, scripted{id: "a", wire: drey.WireAnthropic})
	status, first, _ := count(l, body)
	_, again, _ := count(l, body)
	asked := 0
	for _, r := range l.fakes["a"].Requests() {
		if strings.HasSuffix(r.Path, "/count_tokens") {
			asked++
		}
	}
	if status != 200 || first != again || asked != 1 {
		t.Errorf("status %d, %d then %d tokens, provider asked %d times", status, first, again, asked)
	}
	for name, other := range map[string]*lab{
		"a provider of the other wire": newLab(t, nil, scripted{id: "a", wire: drey.WireChat}),
		"a provider that cannot count": newLab(t, nil, scripted{id: "a", wire: drey.WireAnthropic, ollama: true}),
	} {
		if status, n, _ := count(other, body); status != 200 || n < 95 || n > 110 {
			t.Errorf("%s: %d, estimate %d", name, status, n)
		}
	}
	// A name of drey's own means nothing to the provider.
	own := newLab(t, nil, scripted{id: "a", wire: drey.WireAnthropic, change: func(p *Provider) { p.Model = "" }})
	own.Learn(t.Context())
	if status, _, _ := count(own, strings.Replace(body, "claude-x", "drey/default", 1)); status != 200 {
		t.Errorf("drey/default: %d", status)
	}
	if rs := own.fakes["a"].Requests(); rs[len(rs)-1].Model != "model-of-a" {
		t.Errorf("the provider is asked to count for %q", rs[len(rs)-1].Model)
	}
	for _, bad := range []string{`{"messages":[]}`, `{"model":"x"}`, `{"model":"x","messages":3}`, `[]`} {
		if status, _, text := count(l, bad); status != 400 {
			t.Errorf("%s: %d %s", bad, status, text)
		}
	}
}

func TestModels(t *testing.T) {
	l := newLab(t, func(s *Settings) {
		s.Aliases = []route.Alias{{Pattern: "gpt-*", Target: "default"}, {Pattern: "fast", Target: "a"}, {Pattern: "a", Target: "default"}}
	}, scripted{id: "a", wire: drey.WireChat}, scripted{id: "default", wire: drey.WireChat})
	want := []Model{{"default", true}, {"fast", false}, {"a", false}}
	if d := cmp.Diff(want, l.Models(Key{})); d != "" {
		t.Error(d)
	}
}

// The rows and the events of a request tell the whole story and no secret.
func TestRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil,
			scripted{id: "first", wire: drey.WireChat, script: fake.Always(fake.Status(500, "server_error", "HUSH, it broke").Delay(20 * time.Millisecond))},
			scripted{id: "second", wire: drey.WireChat, script: fake.Always(fake.Text("hello there").Reports(fake.Usage{Input: 11, Output: 3}).TTFT(40 * time.Millisecond))})
		l.ask(t.Context(), drey.WireAnthropic, prompt(drey.WireAnthropic, true))
		r := l.last()
		line, err := json.Marshal(r.row())
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`{"ts":%q,"id":"req_0123456789abcdefghijklmn","wire":"anthropic","profile":"default","model":"claude-x","model_served":"model-of-second","provider":"second",`+
			`"attempts":[{"provider":"first","class":"server","status":500,"ms":20,"error":"[redacted], it broke"},{"provider":"second","class":"ok","status":200,"ms":40,"ttft_ms":40}],`+
			`"stream":true,"status":200,"outcome":"ok","ttft_ms":60,"ms":60,"tokens":{"input":11,"output":3},"cost_usd":0,"savings_usd":0,"finish":"end"}`, drey.FormatTime(r.At))
		if string(line) != want {
			t.Errorf("row\n got %s\nwant %s", line, want)
		}
		var names []string
		for _, ev := range r.Events {
			names = append(names, ev.Name)
			if ev.RequestID != r.ID {
				t.Errorf("event %s without the request's id", ev.Name)
			}
		}
		if want := []string{"route-resolved", "try-provider", "provider-failed", "try-provider", "provider-ok"}; !slices.Equal(names, want) {
			t.Errorf("events %v, want %v", names, want)
		}
		if r.Own > time.Millisecond {
			t.Errorf("drey's own time is %s of a bubble's", r.Own)
		}
	})
}

// Counting is no generation: it asks no guard, no budget and no rate, keeps no
// row and no capture, and nothing of it is told.
func TestCountingIsNoGeneration(t *testing.T) {
	l := newLab(t, func(s *Settings) {
		s.Capture = CaptureSettings{Mode: CaptureAll, Most: 1 << 20}
		s.Profiles[0].Guards.Tools.Cap = guard.Cap{Action: guard.Break, Limit: 1}
		s.Profiles[0].Guards.Context = guard.Budget{Action: guard.BudgetTrim, Warn: 0.1, Trim: 0.2, Target: 0.1, KeepLast: 1}
	}, scripted{id: "dear", wire: drey.WireAnthropic, script: hello("hi"), change: func(p *Provider) {
		p.Price, p.Cost, p.ContextTokens = drey.Paid, spend.Given{Input: new(3.0), Output: new(15.0)}, 100
	}})
	c := l.withBudget(spend.Policy{Global: spend.Limit{Day: spend.CapAt(0)}}, desk{})
	turn := `{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"Bash","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"well"}]}`
	for _, w := range []drey.Wire{drey.WireAnthropic, drey.WireResponses} {
		body := `{"model":"m","messages":[{"role":"user","content":"go"},` + turn + `,` + turn + `]}`
		if w == drey.WireResponses {
			body = prompt(w, false)
		}
		for range 3 {
			rec := httptest.NewRecorder()
			l.CountTokens(t.Context(), rec, &Request{
				ID: "req_x", At: time.Now(), Wire: w, Body: []byte(body), Header: http.Header{}, Key: Key{Name: "k", PerMinute: 1},
			})
			if rec.Code != 200 || gjson.Get(rec.Body.String(), "input_tokens").Int() <= 0 {
				t.Errorf("%s: %d %s", w, rec.Code, rec.Body)
			}
		}
	}
	if len(l.records)+len(l.events)+len(c.reserved)+len(c.settled) > 0 {
		t.Errorf("%d rows, events %v, %d reserved, %d settled", len(l.records), l.emitted(), len(c.reserved), len(c.settled))
	}
	if n := len(l.fakes["dear"].Calls()); n != 0 {
		t.Errorf("%d answers were generated", n)
	}
}
