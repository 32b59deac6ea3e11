package gateway

import (
	"context"
	"io"
	"net/http"

	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/spend"
	"github.com/dreyhq/drey/internal/wire"
)

// breaksOff is a provider that breaks off behind a piece of the text, and another
// that gives the rest.
func breaksOff(w drey.Wire, behind string) (first, second *speaker) {
	first = &speaker{wire: near(w), id: "first", says: answers["text"]}
	first.cut = upTo(first.says.stream(near(w), "first"), behind)
	return first, &speaker{wire: near(w), id: "second", says: answers["text"], cut: -1}
}

// both changes two scripted providers.
func both(change func(*Provider), providers ...scripted) []scripted {
	for i := range providers {
		own := providers[i].change
		providers[i].change = func(p *Provider) {
			own(p)
			change(p)
		}
	}
	return providers
}

// Each provider is charged for its own part, once; what is held for the rest is
// held for a prompt with the beginning in it; the row has the sum, and the
// metrics have everybody's own.
func TestARescueCostsBothParts(t *testing.T) {
	for _, whole := range []bool{false, true} {
		for _, w := range callers {
			first, second := breaksOff(w, "they fin")
			second.whole = whole
			l := newLab(t, rescuing(mending), both(paid, first.scripted("first", false), second.scripted("second", true))...)
			c := l.withBudget(perDay(1_000_000), desk{})
			a := l.ask(t.Context(), w, asking(w))
			if got, err := readStream(w, a.body); err != nil || got.text != story || !got.done {
				t.Fatalf("%v %+v", err, got)
			}
			r := l.last()
			if len(c.settled) != 2 || c.settled[0].Ending != spend.Cut || c.settled[1].Ending != spend.Complete || len(r.Attempts) != 2 {
				t.Fatalf("%s, whole %v: settled %+v\n%s", w, whole, c.settled, a.body)
			}
			one, two := r.Attempts[0], r.Attempts[1]
			if r.Usage != one.Usage.Add(two.Usage) || two.Usage != (wire.Usage{Input: 100, Output: 10}) || !one.Usage.Estimated {
				t.Errorf("%s: %+v and %+v are not %+v", w, one.Usage, two.Usage, r.Usage)
			}
			for i, at := range r.Attempts {
				if cost := spend.MicroUSD(at.Usage.Input + 10*at.Usage.Output); at.Cost != cost || c.settled[i].Cost != cost {
					t.Errorf("%s: %+v costs %d, settled %d", w, at.Usage, at.Cost, c.settled[i].Cost)
				}
			}
			if r.Cost != one.Cost+two.Cost || c.spent() != r.Cost {
				t.Errorf("the row says %d, %d are spent", r.Cost, c.spent())
			}
			begun := wire.NewPrefill(story[:strings.Index(story, "d;\n2. what")]).Tokens
			if n := int(c.reserved[1].Amount - c.reserved[0].Amount); n != begun-10*begun {
				t.Errorf("%s: %d more are held for the rest, of which %d tokens have begun", w, n, begun)
			}
			m := NewMetrics(discard{})
			m.observe(r)
			for _, at := range r.Attempts {
				if n := m.sums[strings.Join([]string{"drey_tokens_total", string(at.Provider), "output"}, sep)]; int(n) != at.Usage.Output {
					t.Errorf("%s: %v tokens are counted for %s, used were %d", w, n, at.Provider, at.Usage.Output)
				}
			}
		}
	}
}

// A provider that gives the rest in one piece and tells no usage is charged for
// what it said.
func TestARestWithoutAReport(t *testing.T) {
	first, _ := breaksOff(drey.WireChat, "they fin")
	rest := `{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"d; and that is all there is to say."}}]}`
	second := scripted{id: "second", wire: drey.WireChat, change: func(p *Provider) {
		p.Transport, p.Can.Prefill = &server{status: 200, kind: "application/json", body: rest}, route.Yes
	}}
	l := newLab(t, rescuing(mending), both(paid, first.scripted("first", false), second)...)
	if a := l.ask(t.Context(), drey.WireChat, asking(drey.WireChat)); !strings.Contains(a.body, "[DONE]") {
		t.Fatal(a.body)
	}
	if u := l.last().Attempts[1].Usage; u.Output < 5 || u.Input < wire.NewPrefill(story).Tokens/2 || !u.Estimated {
		t.Errorf("%+v", u)
	}
}

// However a continuation ends, nothing stays held and nobody pays twice.
func TestARescueThatEndsEarlyIsSettled(t *testing.T) {
	total := 50 * time.Second
	for _, tt := range []struct {
		name    string
		cancel  error // the cause, after five seconds; nil = the caller leaves
		total   *time.Duration
		outcome Outcome
	}{
		{"the caller leaves", nil, nil, OutcomeCancel},
		{"a drain", &drey.Error{Class: drey.Cancel, Code: "draining", Op: "serve"}, nil, OutcomeFailedMidstream},
		{"the time is over", nil, &total, OutcomeFailedMidstream},
	} {
		for _, says := range []fake.Behaviour{fake.Silent(), fake.Text("you all and more").Gap(20 * time.Second)} {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLab(t, func(s *Settings) {
						rescuing(mending)(s)
						s.Profiles[0].Timeouts.Total = tt.total
					}, both(paid,
						scripted{id: "first", wire: drey.WireAnthropic, script: fake.Always(fake.Text("first says hello to you all").CutAfter(7, fake.FIN)), change: func(*Provider) {}},
						scripted{id: "second", wire: drey.WireChat, script: fake.Always(says), change: func(p *Provider) { p.Can.Prefill = route.Yes }})...)
					c := l.withBudget(perDay(1_000_000), desk{})
					ctx, cancel := context.WithCancelCause(t.Context())
					defer cancel(nil)
					if tt.total == nil {
						defer time.AfterFunc(25*time.Second, func() { cancel(tt.cancel) }).Stop()
					}
					a := l.ask(ctx, drey.WireAnthropic, bounded(drey.WireAnthropic, true))
					got, err := readStream(drey.WireAnthropic, a.body)
					if err != nil || got.done || (got.failed == "") != (tt.outcome == OutcomeCancel) {
						t.Errorf("%v %+v", err, got)
					}
					r := l.last()
					if r.Outcome != tt.outcome || len(r.Attempts) != 2 {
						t.Errorf("%s, %+v", r.Outcome, r.Attempts)
					}
					if len(c.reserved) != 2 || len(c.settled) != 2 || c.spent() != r.Cost || r.Cost != r.Attempts[0].Cost+r.Attempts[1].Cost {
						t.Errorf("held %d, settled %d, spent %d; the row says %d of %+v", len(c.reserved), len(c.settled), c.spent(), r.Cost, r.Attempts)
					}
					if r.Usage != r.Attempts[0].Usage.Add(r.Attempts[1].Usage) {
						t.Errorf("usage %+v of %+v", r.Usage, r.Attempts)
					}
					for _, b := range c.View(time.Now()).Budgets {
						if b.Reserved != 0 {
							t.Errorf("%d stay held", b.Reserved)
						}
					}
				})
			})
		}
	}
}

// A rest that no budget has room for any more is not asked for.
func TestNoBudgetForTheRest(t *testing.T) {
	const body = `{"model":"m","stream":true,"messages":[{"role":"user","content":"tell me"}]}`
	for _, free := range []bool{false, true} {
		first, second := breaksOff(drey.WireChat, "they fin")
		chain := both(func(p *Provider) { paid(p); p.MaxOutputTokens = 300 }, first.scripted("first", false), second.scripted("second", true))
		chain = append(chain[:1], both(func(p *Provider) { p.Cost.Output = new(20.0) }, chain[1])...)
		third := &speaker{wire: drey.WireChat, id: "third", says: answers["text"], cut: -1}
		if free {
			chain = append(chain, both(func(p *Provider) { p.Price = drey.Local }, third.scripted("third", true))...)
		}
		l := newLab(t, rescuing(mending), chain...)
		c := l.withBudget(perDay(300*20+40), desk{})
		a := l.ask(t.Context(), drey.WireChat, body)
		got, err := readStream(drey.WireChat, a.body)
		if err != nil || len(second.bodies) != 0 || len(c.reserved) != 1 || len(l.last().Skipped) != 1 || l.last().Skipped[0].Reason != "budget" {
			t.Errorf("%v: the second was asked %d times, %d reserved, %+v", err, len(second.bodies), len(c.reserved), l.last().Skipped)
		}
		if got.done != free || free && got.text != story || !free && got.failed == "" {
			t.Errorf("free %v: %+v", free, got)
		}
	}
}

// A beginning fills the window too. What is trimmed for who goes on is the
// conversation, and not the beginning.
func TestTrimmingForTheRest(t *testing.T) {
	for _, w := range callers {
		first, second := breaksOff(w, "they fin")
		first.says.blocks = []wire.Block{{Text: strings.Repeat("a nut is a nut. ", 154) + story}}
		first.cut = upTo(first.says.stream(near(w), "first"), "they fin")
		second.says.blocks = first.says.blocks
		a, b := first.scripted("first", false), second.scripted("second", true)
		l := budgeting(t, guard.BudgetTrim, both(window(100_000), a)[0], both(window(2600), b)[0])
		l.gen.Load().chains["default"].Rescue = mending
		got, err := readStream(w, l.ask(t.Context(), w, talk(w, true)).body)
		if err != nil || got.text != first.says.text() || !got.done {
			t.Fatalf("%v %+v", err, got)
		}
		asked := gjson.GetBytes(second.bodies[0], "messages").Array()
		if n := len(asked); n >= 22 || n < 5 {
			t.Errorf("%s: %d turns were left", w, n)
		}
		if last := asked[len(asked)-1]; last.Get("role").Str != "assistant" || !strings.HasPrefix(first.says.text(), last.Get("content").String()) {
			t.Errorf("%s: the last turn is %s", w, last)
		}
		if n := len(gjson.GetBytes(first.bodies[0], "messages").Array()); n != 21 {
			t.Errorf("%s: the first got %d turns", w, n)
		}
	}
}

// Who gives a rest is not held to be short of words, and who broke off has
// failed.
func TestDriftHearsBothParts(t *testing.T) {
	first, second := breaksOff(drey.WireAnthropic, "they fin")
	l := newLab(t, func(s *Settings) {
		drifts(demoting)(s)
		rescuing(mending)(s)
	}, first.scripted("first", false), second.scripted("second", true))
	l.ask(t.Context(), drey.WireAnthropic, asking(drey.WireAnthropic))
	w := l.gen.Load().chains["default"].drift
	if got := w[0].d.Answers; len(got) != 1 || got[0] != (guard.Sample{Failed: true}) {
		t.Errorf("the first: %+v", got)
	}
	whole := len([]rune(story))
	if got := w[1].d.Answers; len(got) != 1 || got[0].Length < whole-2 || got[0].Length > whole || got[0].Empty || got[0].Failed {
		t.Errorf("the second: %+v", got)
	}
}

// A capture has both parts, and a person reads them as one.
func TestACaptureOfARescue(t *testing.T) {
	for _, w := range callers {
		first, second := breaksOff(w, "they fin")
		second.overlap = 20
		l := newLab(t, func(s *Settings) {
			captureAll(s)
			rescuing(mending)(s)
		}, first.scripted("first", false), second.scripted("second", true))
		c := l.captureOne(w, asking(w))
		if len(c.Attempts) != 2 || c.Attempts[0].Provider != "first" || c.Attempts[1].Provider != "second" {
			t.Fatalf("%+v", c.Attempts)
		}
		r, err := l.Replay(t.Context(), c, ReplayAsk{ID: replayID})
		if err != nil {
			t.Fatal(err)
		}
		if o, n := r.Original, r.Replay; o.Text != story || n.Text != story || !o.Complete || !n.Complete {
			t.Errorf("%s: %q, %v, and again %q, %v", w, o.Text, o.Complete, n.Text, n.Complete)
		}
	}
}

// The provider's own frames may hold what an encoder is not told of.
func TestUnsafeToContinueWhatIsMended(t *testing.T) {
	chunk := func(delta, finish string) string {
		return `data: {"id":"gen-1","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"delta":` + delta + `,"finish_reason":` + finish + "}]}\n\n"
	}
	message := `event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":9,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"I search."}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}}

`
	for _, tt := range []struct {
		name, sent, more string // in a packet of its own
		wire             drey.Wire
	}{
		{"a search of the server's own is open", message, "", drey.WireAnthropic},
		{"a refusal", chunk(`{"role":"assistant","content":""}`, "null") + chunk(`{"refusal":"I must not"}`, "null"), "", drey.WireChat},
		{"the reason of the end is told", chunk(`{"role":"assistant","content":"hello"}`, "null") + chunk(`{}`, `"length"`), "data: {\"error\":{\"message\":\"gone\",\"type\":\"server_error\"}}\n\n", drey.WireChat},
	} {
		_, second := breaksOff(tt.wire, "they fin")
		first := scripted{id: "first", wire: tt.wire, change: func(p *Provider) {
			p.Transport = &server{status: 200, kind: "text/event-stream", body: tt.sent, more: tt.more, cut: true}
		}}
		l := newLab(t, rescuing(mending), both(func(p *Provider) { p.Repair = true }, first, second.scripted("second", true))...)
		a := l.ask(t.Context(), tt.wire, asking(tt.wire))
		if a.errorType() == "" || len(second.bodies) != 0 || l.last().Rescue != (RescueRecord{RescueContinue, RescueUnsafe}) {
			t.Errorf("%s: the second was asked %d times, %+v\n%s", tt.name, len(second.bodies), l.last().Rescue, a.body)
		}
	}
}

// lingering is a stream whose end is not noticed before the caller has something.
type lingering struct {
	pieces []string
	done   func()
}

func (b *lingering) Read(p []byte) (int, error) {
	if len(b.pieces) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, b.pieces[0])
	b.pieces = b.pieces[1:]
	return n, nil
}

func (b *lingering) Close() error {
	b.done()
	return nil
}

type lingers struct{ *lingering }

func (l lingers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: l.lingering, ContentLength: -1, Request: r}, nil
}

// The hold may come to its end while the attempt does. What came with the break
// is not told then, and is not taken for told either.
func TestTheHoldEndsWithTheBreak(t *testing.T) {
	for _, repairs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			chunk := func(text string) string {
				return `data: {"id":"gen-first","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"` + text + `"},"finish_reason":null}]}` + "\n\n"
			}
			first := lingers{&lingering{
				pieces: []string{chunk("The Élan "), strings.Replace(chunk("of squirrels"), `"role":"assistant",`, "", 1) + "data: nonsense\n\n"},
				done:   func() { <-time.After(time.Minute) },
			}}
			_, second := breaksOff(drey.WireChat, "they fin")
			one := scripted{id: "first", wire: drey.WireChat, change: func(p *Provider) { p.Transport = first }}
			l := newLab(t, rescuing(Rescue{Mode: RescueContinue, HoldTokens: 64, HoldTime: time.Second}),
				both(func(p *Provider) { p.Repair = repairs }, one, second.scripted("second", true))...)
			a := l.ask(t.Context(), drey.WireChat, asking(drey.WireChat))
			if got, err := readStream(drey.WireChat, a.body); err != nil || got.text != story || !got.done {
				t.Errorf("%v %+v\n%s", err, got, a.body)
			}
		})
	}
}

// A profile that rescues refuses what its guards refuse, and mends nothing of
// that.
func TestGuardsRefuseBeforeARescue(t *testing.T) {
	for _, w := range callers {
		l := newLab(t, func(s *Settings) {
			rescuing(mending)(s)
			s.Profiles[0].Guards.Tools = guard.Policy{Profile: "default", Loop: guard.Loop{Action: guard.Break, Window: 20, Threshold: 3}}
		}, scripted{id: "first", wire: near(w), script: hello("hi")})
		a := l.ask(t.Context(), w, session(w, true, repeated(3, bash)...))
		if a.errorType() == "" || len(l.fakes["first"].Calls()) != 0 || l.rescues() != "" {
			t.Errorf("%s: %d %s, %q", w, a.status, a.body, l.rescues())
		}
	}
}
