package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/health"
)

const replayID = "req_replay"

// captureOne sends a request and returns what was captured of it.
func (l *lab) captureOne(w drey.Wire, body string) *api.Capture {
	l.t.Helper()
	read := l.capturing()
	l.ask(l.t.Context(), w, body)
	c := read(capturedID)
	if c == nil {
		l.t.Fatal("nothing was captured")
	}
	return c
}

// TestReplayTellsTheSame: on every pair of wires, whole and as a stream, what is
// read of the original and of the replay is what the provider said.
func TestReplayTellsTheSame(t *testing.T) {
	say := fake.CallTool(`{"at":"the <top>","n":1}`).WithText("hello to you").Thinking("well")
	tools := map[drey.Wire]string{
		drey.WireAnthropic: `{"name":"look","input_schema":{"type":"object"}}`,
		drey.WireChat:      `{"type":"function","function":{"name":"look","parameters":{"type":"object"}}}`,
		drey.WireResponses: `{"type":"function","name":"look","parameters":{"type":"object"}}`,
	}
	for _, caller := range callers {
		for _, provider := range bothWires {
			for _, stream := range []bool{false, true} {
				t.Run(name(caller, provider, form(stream)), func(t *testing.T) {
					l := newLab(t, captureAll, scripted{id: "a", wire: provider, script: fake.Always(say)})
					body := strings.TrimSuffix(prompt(caller, stream), "}") + `,"tools":[` + tools[caller] + `]}`
					c := l.captureOne(caller, body)
					r, err := l.Replay(t.Context(), c, ReplayAsk{ID: replayID})
					if err != nil {
						t.Fatal(err)
					}
					for _, side := range []api.ReplaySide{r.Original, r.Replay} {
						if side.Text != "hello to you" || len(side.Calls) != 1 || side.Calls[0] != (api.ReplayCall{Name: "look", Arguments: `{"at":"the <top>","n":1}`}) ||
							!side.Complete || side.Outcome != "ok" || side.Provider != "a" || side.Tokens.Output == 0 || side.MS <= 0 {
							t.Errorf("%s: %+v", side.ID, side)
						}
					}
					if r.Original.ID != capturedID || r.Replay.ID != replayID {
						t.Errorf("%s and %s", r.Original.ID, r.Replay.ID)
					}
					calls := l.fakes["a"].Calls()
					if diff := cmp.Diff(string(calls[0].Body), string(calls[1].Body)); diff != "" {
						t.Errorf("something else was sent again (-first +again):\n%s", diff)
					}
				})
			}
		}
	}
}

// TestReplayLeavesNoTrace: however often a replay fails, nobody holds it against
// the provider; it is a row with a mark, and nothing is journaled.
func TestReplayLeavesNoTrace(t *testing.T) {
	synctest.Test(t, replayLeavesNoTrace) // a failing provider is asked once more, after a while
}

func replayLeavesNoTrace(t *testing.T) {
	l := newLab(t, captureAll,
		scripted{id: "a", wire: drey.WireChat, script: fake.FailFirst(0, fake.ServerError(), fake.Text("hello"))},
		scripted{id: "b", wire: drey.WireAnthropic, script: fake.Always(fake.ServerError())})
	c := l.captureOne(drey.WireChat, prompt(drey.WireChat, true))
	for range 20 {
		r, err := l.Replay(t.Context(), c, ReplayAsk{ID: replayID, Provider: "b"})
		if err != nil || r.Replay.Outcome != "failed" || r.Replay.Text != "" || r.Replay.Error == "" {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if v := l.view("b"); v.State != health.Healthy || v.ConsecutiveFailures != 0 || v.InFlight != 0 {
		t.Errorf("it is held against the provider: %+v", v.View)
	}
	if got := l.emitted(); len(got) != 0 {
		t.Errorf("journaled: %q", got)
	}
	rec := l.last()
	if rec.ReplayOf != capturedID || rec.ID != replayID || rec.Captured || rec.Events[0].Name != "request-replayed" {
		t.Errorf("%+v", rec)
	}
	row := rec.row()
	if row.ReplayOf != capturedID || row.Outcome != OutcomeFailed {
		t.Errorf("%+v", row)
	}
	if n := l.profiles.failedInARow("default"); n != 1 {
		t.Errorf("the profile has failed %d times in a row", n-1)
	}
}

// TestReplayOfWhoIsOut: a provider that its health has excluded is asked if it is
// named, without being its trial; along the chain it is passed over.
func TestReplayOfWhoIsOut(t *testing.T) {
	l := newLab(t, captureAll,
		scripted{id: "a", wire: drey.WireChat, script: fake.FailFirst(6, fake.ServerError(), fake.Text("a is back"))},
		scripted{id: "b", wire: drey.WireChat, script: hello("b says hello")})
	c := l.captureOne(drey.WireChat, prompt(drey.WireChat, true))
	for l.view("a").State != health.Excluded {
		l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, false))
	}
	before := l.emitted()
	r, err := l.Replay(t.Context(), c, ReplayAsk{ID: replayID, Provider: "a"})
	if err != nil || r.Replay.Text != "a is back" {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = l.Replay(t.Context(), c, ReplayAsk{ID: replayID})
	if err != nil || r.Replay.Provider != "b" {
		t.Errorf("along the chain: %+v, %v", r, err)
	}
	if v := l.view("a"); v.State != health.Excluded {
		t.Errorf("a replay has decided its exclusion: %+v", v.View)
	}
	if diff := cmp.Diff(before, l.emitted()); diff != "" {
		t.Errorf("journaled (-before +after):\n%s", diff)
	}
	if _, _, err := l.keeper.Exclude(t.Context(), "b", "", 0); err != nil {
		t.Fatal(err)
	}
	r, err = l.Replay(t.Context(), c, ReplayAsk{ID: replayID, Provider: "b"})
	if err != nil || r.Replay.Outcome == "ok" || !strings.Contains(r.Replay.Error, "excluded") {
		t.Errorf("an operator took it out: %+v, %v", r, err)
	}
}

// TestReplayPays: with the ask's leave only, and then whatever the
// configuration says.
func TestReplayPays(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		l := newLab(t, func(s *Settings) {
			captureAll(s)
			s.AllowPaid = allowed
			s.Profiles = append(s.Profiles, Profile{ID: "dear", Chain: [][]drey.ProviderID{{"paid"}}})
		},
			scripted{id: "free", wire: drey.WireChat, script: hello("hello")},
			scripted{id: "paid", wire: drey.WireChat, script: hello("hello"), change: paid})
		c := l.captureOne(drey.WireChat, prompt(drey.WireChat, true))
		for _, ask := range []ReplayAsk{{Provider: "paid"}, {Profile: "dear"}} {
			var e *drey.Error
			if _, err := l.Replay(t.Context(), c, ask); !errors.As(err, &e) || e.Code != api.CodePaidGate || !strings.Contains(e.Hint, "--yes") {
				t.Errorf("%+v: %v", ask, err)
			}
			ask.Paid = true
			if r, err := l.Replay(t.Context(), c, ask); err != nil || r.Replay.Provider != "paid" || r.Replay.Outcome != "ok" {
				t.Errorf("%+v: %+v, %v", ask, r, err)
			} else if r.Replay.CostUSD == nil || *r.Replay.CostUSD == 0 {
				t.Errorf("%+v: what was paid for it is not told: %v", ask, r.Replay.CostUSD)
			}
		}
		if r, err := l.Replay(t.Context(), c, ReplayAsk{}); err != nil || r.Replay.Provider != "free" {
			t.Errorf("a chain with one that costs nothing: %+v, %v", r, err)
		}
		if n := len(l.fakes["paid"].Calls()); n != 2 {
			t.Errorf("%d calls were paid for, want 2", n)
		}
	}
}

// TestReplayIsCharged: what a replay takes from a paid provider is held back,
// charged and told as for anybody else, and a budget that is spent keeps it from
// leaving.
func TestReplayIsCharged(t *testing.T) {
	answer := fake.Text("hello").Reports(fake.Usage{Input: 10, Output: 2})
	l := newLab(t, captureAll,
		scripted{id: "free", wire: drey.WireChat, script: hello("hello")},
		scripted{id: "paid", wire: drey.WireChat, script: fake.Always(answer), change: paid})
	const cost = 10 + 2*10
	till := l.withBudget(perDay(1_000_000), desk{})
	c := l.captureOne(drey.WireChat, prompt(drey.WireChat, true))
	ask := ReplayAsk{ID: replayID, Provider: "paid", Paid: true}
	r, err := l.Replay(t.Context(), c, ask)
	if err != nil {
		t.Fatal(err)
	}
	if r.Replay.CostUSD == nil {
		t.Fatal("its cost is not told")
	}
	if *r.Replay.CostUSD != cost/1e6 || l.last().Cost != cost {
		t.Errorf("it is told to cost %v, and the row says %s", *r.Replay.CostUSD, l.last().Cost)
	}
	if len(till.reserved) != 1 || till.reserved[0].Amount < cost || till.spent() != cost {
		t.Errorf("held back: %+v, spent: %s", till.reserved, till.spent())
	}
	l.withBudget(perDay(1), desk{})
	if r, err := l.Replay(t.Context(), c, ask); err != nil || r.Replay.Status != http.StatusPaymentRequired {
		t.Errorf("with a budget that has no room: %+v, %v", r, err)
	}
}

// TestReplayGoesTheSameWay: without a name it goes where the request went, by
// whatever it was sent there.
func TestReplayGoesTheSameWay(t *testing.T) {
	l := newLab(t, func(s *Settings) {
		captureAll(s)
		s.Profiles = append(s.Profiles, Profile{ID: "other", Chain: [][]drey.ProviderID{{"b"}}})
	}, scripted{id: "a", wire: drey.WireChat, script: hello("a")}, scripted{id: "b", wire: drey.WireAnthropic, script: hello("b")})
	read := l.capturing()
	body := prompt(drey.WireChat, false)
	for _, tt := range []struct {
		name   string
		body   string
		change func(*Request)
		ask    ReplayAsk
		want   drey.ProviderID
	}{
		{"the default", body, func(*Request) {}, ReplayAsk{}, "a"},
		{"a path", body, func(r *Request) { r.PathProfile = "other" }, ReplayAsk{}, "b"},
		{"a header", body, func(r *Request) {
			r.HeaderProfile = "other"
			r.Header = http.Header{"X-Drey-Profile": {"other"}}
		}, ReplayAsk{}, "b"},
		{"the key's only profile", body, func(r *Request) { r.Key.Profiles = []drey.ProfileID{"other"} }, ReplayAsk{}, "b"},
		{"a model that is a provider", strings.Replace(body, "claude-x", "b", 1), func(*Request) {}, ReplayAsk{}, "b"},
		{"a model of ours", strings.Replace(body, "claude-x", "drey/other", 1), func(*Request) {}, ReplayAsk{}, "b"},
		{"a model that is gone, and a name", strings.Replace(body, "claude-x", "drey/gone", 1), func(*Request) {}, ReplayAsk{Provider: "b"}, "b"},
		{"another provider", body, func(*Request) {}, ReplayAsk{Provider: "b"}, "b"},
		{"another profile", body, func(r *Request) { r.PathProfile = "other" }, ReplayAsk{Profile: "default"}, "a"},
	} {
		l.ask(t.Context(), drey.WireChat, tt.body, tt.change)
		r, err := l.Replay(t.Context(), read(capturedID), tt.ask)
		if err != nil || r.Replay.Provider != tt.want || r.Replay.Outcome != "ok" {
			t.Errorf("%s: %+v, %v", tt.name, r, err)
		}
	}
	for _, ask := range []ReplayAsk{{Provider: "nobody"}, {Profile: "nothing"}} {
		var e *drey.Error
		if _, err := l.Replay(t.Context(), read(capturedID), ask); !errors.As(err, &e) || e.Code != api.CodeInvalidArgument {
			t.Errorf("%+v: %v", ask, err)
		}
	}
}

// TestReplayOfAFailure: what a provider said before it broke off is told.
func TestReplayOfAFailure(t *testing.T) {
	l := newLab(t, captureAll, scripted{id: "a", wire: drey.WireAnthropic, script: fake.Sequence(
		fake.Text("this is half of it").CutAfter(5, fake.RST), fake.Text("this is all of it"))})
	c := l.captureOne(drey.WireAnthropic, prompt(drey.WireAnthropic, true))
	r, err := l.Replay(t.Context(), c, ReplayAsk{ID: replayID})
	if err != nil {
		t.Fatal(err)
	}
	if o := r.Original; o.Outcome != "failed_midstream" || o.Complete || !strings.HasPrefix(o.Text, "this is") || o.Provider != "a" {
		t.Errorf("%+v", o)
	}
	if p := r.Replay; p.Outcome != "ok" || !p.Complete || p.Text != "this is all of it" {
		t.Errorf("%+v", p)
	}
}

func TestReplayOfEmbeddings(t *testing.T) {
	l := newLab(t, captureAll, scripted{id: "a", wire: drey.WireChat, change: func(p *Provider) {
		p.Transport = instant(`{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"model":"m","usage":{"prompt_tokens":1,"total_tokens":1}}`)
	}})
	read := l.capturing()
	rec := httptest.NewRecorder()
	l.Embed(t.Context(), rec, &Request{ID: capturedID, At: time.Now(), Wire: drey.WireChat, Body: []byte(`{"model":"m","input":"hello"}`), Header: http.Header{}})
	r, err := l.Replay(t.Context(), read(capturedID), ReplayAsk{ID: replayID})
	if err != nil || r.Replay.Outcome != "ok" || !r.Original.Complete || !r.Replay.Complete {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestReplaysAreFew: they are bounded, and end with whoever asked.
func TestReplaysAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, captureAll, scripted{id: "a", wire: drey.WireChat, script: fake.Sequence(fake.Text("hello"), fake.Silent())})
		c := l.captureOne(drey.WireChat, prompt(drey.WireChat, true))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range mostReplays {
			wg.Go(func() {
				if _, err := l.Replay(ctx, c, ReplayAsk{ID: replayID}); !errors.Is(err, context.Canceled) {
					t.Errorf("%v", err)
				}
			})
		}
		synctest.Wait()
		var e *drey.Error
		if _, err := l.Replay(ctx, c, ReplayAsk{}); !errors.As(err, &e) || e.Code != api.CodeLimitReached {
			t.Errorf("one more: %v", err)
		}
		cancel()
		wg.Wait()
		if rec := l.last(); rec.ReplayOf != capturedID || rec.Outcome != OutcomeCancel {
			t.Errorf("%+v", rec) // it may have cost money, so it has a row
		}
	})
}
