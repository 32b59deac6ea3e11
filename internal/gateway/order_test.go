package gateway

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/wire"
)

// inPool makes one pool of all providers of a lab.
func inPool(s *Settings) {
	s.Profiles[0].Chain = [][]drey.ProviderID{slices.Concat(s.Profiles[0].Chain...)}
}

// dialog is a request of the wire with these turns, the user's first.
func dialog(w drey.Wire, system string, turns ...string) string {
	var messages []any
	for i, text := range turns {
		messages = append(messages, map[string]any{"role": []string{"user", "assistant"}[i%2], "content": text})
	}
	body := map[string]any{"model": "claude-x"}
	switch w {
	case drey.WireAnthropic:
		body["system"], body["messages"], body["max_tokens"] = system, messages, 100
	case drey.WireChat:
		body["messages"] = append([]any{map[string]any{"role": "system", "content": system}}, messages...)
	default:
		body["instructions"], body["input"] = system, messages
	}
	b, _ := json.Marshal(body)
	return string(b)
}

func by(a answer) drey.ProviderID { return drey.ProviderID(a.header.Get("X-Drey-Provider")) }

// pooling returns what the last route-resolved says about its pool, as
// "key=value …".
func (l *lab) pooling() string {
	var out []string
	for _, ev := range l.last().Events {
		if ev.Name != "route-resolved" {
			continue
		}
		for _, f := range ev.Fields {
			if strings.HasPrefix(f.Key, "pool") {
				out = append(out, fmt.Sprintf("%s=%v", f.Key, f.Value))
			}
		}
	}
	return strings.Join(out, " ")
}

// A conversation stays with the member of the pool that knows it, whoever else
// is idle, and the row says why.
func TestPoolKeepsConversations(t *testing.T) {
	for _, w := range callers {
		t.Run(w.String(), func(t *testing.T) {
			l := newLab(t, inPool, scripted{id: "a", wire: drey.WireChat}, scripted{id: "b", wire: drey.WireAnthropic})
			hold := func(id drey.ProviderID) func() { return l.occupy(t, id) }
			release := hold("a") // so that the first turn goes to b
			first := l.ask(t.Context(), w, dialog(w, "s", "one"))
			release()
			if by(first) != "b" || l.pooling() != "pool=b pool_by=load" {
				t.Fatalf("the first turn: %s, %s", by(first), l.pooling())
			}
			release = hold("b") // and the others are drawn to a
			defer release()
			for _, tt := range []struct {
				what    string
				turns   []string
				want    drey.ProviderID
				pooling string
			}{
				{"the next turn", []string{"one", "ok", "two"}, "b", "pool=b pool_by=prefix pool_messages=1"},
				{"the turn after it", []string{"one", "ok", "two", "ok", "three"}, "b", "pool=b pool_by=prefix pool_messages=3"},
				{"a branch", []string{"one", "ok", "else"}, "b", "pool=b pool_by=prefix pool_messages=2"},
				{"another conversation of the same agent", []string{"uno"}, "a", "pool=a pool_by=load"},
				{"and its next turn", []string{"uno", "ok", "due"}, "a", "pool=a pool_by=prefix pool_messages=1"},
			} {
				if a := l.ask(t.Context(), w, dialog(w, "s", tt.turns...)); by(a) != tt.want || l.pooling() != tt.pooling {
					t.Errorf("%s: %s (%s), want %s (%s)", tt.what, by(a), l.pooling(), tt.want, tt.pooling)
				}
			}
			if a := l.ask(t.Context(), w, dialog(w, "another system", "one", "ok", "two")); by(a) != "a" {
				t.Errorf("another system text: %s", by(a))
			}
		})
	}
}

// occupy keeps an answer under way at a provider until release is called, so
// that the other members of its pool have fewer.
func (l *lab) occupy(t *testing.T, id drey.ProviderID) (release func()) {
	t.Helper()
	pass, err := l.keeper.Leave(t.Context(), health.Departure{Provider: id, Profile: "default", Cut: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	return func() { l.keeper.Ended(pass, health.Ending{OK: true}) }
}

// seeming is a Healer under which providers seem to be otherwise than they are.
type seeming struct {
	Healer
	as map[drey.ProviderID]func(*route.Live)
}

func (s seeming) Live(p drey.ProfileID, id drey.ProviderID) route.Live {
	l := s.Healer.Live(p, id)
	if change := s.as[id]; change != nil {
		change(&l)
	}
	return l
}

// Who knows the conversation and is full, on its way back or not well, is left
// to those who are; the row says for what.
func TestPoolLeavesWhoIsNotWell(t *testing.T) {
	for _, tt := range []struct {
		name, pooling string
		as            func(*route.Live)
	}{
		{"well", "pool=b pool_by=prefix pool_messages=1", nil},
		{"full", "pool=a pool_by=load pool_left=b pool_left_for=busy", func(l *route.Live) { l.Busy = true }},
		{"ramping", "pool=a pool_by=load pool_left=b pool_left_for=ramping", func(l *route.Live) { l.Ramping = true }},
		{"degraded", "pool=a pool_by=load pool_left=b pool_left_for=degraded", func(l *route.Live) { l.Health = route.Degraded }},
		{"excluded", "pool=a pool_by=load pool_left=b", func(l *route.Live) { l.Health = route.Excluded }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, inPool, scripted{id: "a", wire: drey.WireChat}, scripted{id: "b", wire: drey.WireChat})
			release := l.occupy(t, "a")
			if a := l.ask(t.Context(), drey.WireChat, dialog(drey.WireChat, "s", "one")); by(a) != "b" {
				t.Fatalf("the first turn: %s", by(a))
			}
			release()
			l.healer = seeming{l.healer, map[drey.ProviderID]func(*route.Live){"b": tt.as}}
			l.ask(t.Context(), drey.WireChat, dialog(drey.WireChat, "s", "one", "ok", "two"))
			if got := l.pooling(); got != tt.pooling {
				t.Errorf("got  %s\nwant %s", got, tt.pooling)
			}
		})
	}
}

// The key of a session leads to its member where nothing else is in common.
func TestPoolKeepsSessions(t *testing.T) {
	headers := func(k, v string) func(*Request) { return func(r *Request) { r.Header.Set(k, v) } }
	l := newLab(t, inPool, scripted{id: "a", wire: drey.WireAnthropic}, scripted{id: "b", wire: drey.WireAnthropic})
	release := l.occupy(t, "a")
	l.ask(t.Context(), drey.WireAnthropic, dialog(drey.WireAnthropic, "s", "one"), headers("X-Claude-Code-Session-Id", "7f"))
	release()
	body := dialog(drey.WireAnthropic, "s", "compacted")
	for _, tt := range []struct {
		what, body string
		change     []func(*Request)
		want       drey.ProviderID
	}{
		{"a stranger", body, nil, "a"},
		{"the session", dialog(drey.WireAnthropic, "s", "compacted too"), []func(*Request){headers("X-Claude-Code-Session-Id", "7f")}, "b"},
		{"the session, named by the body", strings.Replace(dialog(drey.WireAnthropic, "s", "and again"), "{", `{"metadata":{"user_id":"{\"session_id\":\"7f\"}"},`, 1), nil, "b"},
	} {
		if a := l.ask(t.Context(), drey.WireAnthropic, tt.body, tt.change...); by(a) != tt.want {
			t.Errorf("%s: %s (%s), want %s", tt.what, by(a), l.pooling(), tt.want)
		}
	}
	if want := "pool=b pool_by=session"; l.pooling() != want {
		t.Errorf("%s, want %s", l.pooling(), want)
	}
}

// Many agents at once: each conversation stays with the member that got its
// first turn.
func TestPoolUnderLoad(t *testing.T) {
	ids := []drey.ProviderID{"a", "b", "c"}
	var providers []scripted
	for _, id := range ids {
		providers = append(providers, scripted{id: id, wire: drey.WireChat})
	}
	l := newLab(t, inPool, providers...)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			turns := []string{fmt.Sprint("agent ", n)}
			home := drey.ProviderID("")
			for turn := range 10 {
				a := l.ask(t.Context(), callers[n%3], dialog(callers[n%3], "s", turns...))
				if turn > 0 && by(a) != home {
					t.Errorf("agent %d: turn %d went to %s, not %s", n, turn, by(a), home)
				}
				home = by(a)
				turns = append(turns, "ok", fmt.Sprint("turn ", turn))
			}
		})
	}
	wg.Wait()
}

// Without a pool nothing is read and nothing remembered, and embeddings are no
// conversation.
func TestNoPool(t *testing.T) {
	l := newLab(t, nil, scripted{id: "a", wire: drey.WireChat}, scripted{id: "b", wire: drey.WireChat})
	l.ask(t.Context(), drey.WireChat, dialog(drey.WireChat, "s", "one"))
	if l.talks.table.Len() != 0 || l.pooling() != "" {
		t.Errorf("%d entries, %s", l.talks.table.Len(), l.pooling())
	}
	l = newLab(t, inPool, scripted{id: "a", wire: drey.WireChat}, scripted{id: "b", wire: drey.WireChat})
	l.Embed(t.Context(), httptest.NewRecorder(), &Request{ID: "req_0123456789abcdefghijklmn", At: time.Now(), Wire: drey.WireChat, Body: []byte(`{"model":"m","input":"one"}`)})
	if l.talks.table.Len() != 0 || l.pooling() != "" {
		t.Errorf("embeddings: %d entries, %s", l.talks.table.Len(), l.pooling())
	}
}

const changing = "x-anthropic-billing-header: cc_version=2.1; cch=c0ffee"

// A changing line is gone from what a provider gets, from every wire to every
// wire, where its provider says so; and a member of a pool is found without it.
func TestStripLines(t *testing.T) {
	for _, caller := range callers {
		for _, provider := range []drey.Wire{drey.WireAnthropic, drey.WireChat, drey.WireResponses} {
			for _, strip := range []bool{true, false} {
				t.Run(name(caller, provider, strip), func(t *testing.T) {
					sc := scripted{id: "a", wire: provider, change: func(p *Provider) { p.StripLines = strip }}
					if provider == drey.WireResponses {
						sc.wire = drey.WireChat
						sc.change = func(p *Provider) { p.StripLines, p.Responses = strip, true }
					}
					l := newLab(t, nil, sc)
					l.ask(t.Context(), caller, dialog(caller, changing+"\nyou are", "one"))
					requests := l.fakes["a"].Requests()
					if len(requests) == 0 {
						t.Fatal("the provider was never asked")
					}
					got := string(requests[0].Body)
					if has := strings.Contains(got, "billing-header"); has == strip || !strings.Contains(got, "you are") {
						t.Errorf("it got %s", got)
					}
				})
			}
		}
	}
}

// long is a text of about so many tokens by the estimate.
func long(tokens int) string { return strings.Repeat("abcd", tokens) }

// A provider that counts more than the estimate is believed: for its window, for
// the first usage of a stream, by count_tokens; and after a reload that leaves it
// what it was.
func TestFactor(t *testing.T) {
	var s Settings
	l := newLab(t, func(now *Settings) { s = *now },
		scripted{id: "small", wire: drey.WireChat, script: fake.Always(fake.Text("ok").Reports(fake.Usage{Input: 1000, CacheRead: 500, Output: 1})),
			change: func(p *Provider) { p.ContextTokens = 4000 }},
		scripted{id: "large", wire: drey.WireChat, change: func(p *Provider) { p.ContextTokens = 100_000 }})
	ask := func(tokens int) drey.ProviderID {
		return by(l.ask(t.Context(), drey.WireAnthropic, dialog(drey.WireAnthropic, "s", long(tokens))))
	}
	if got := ask(3000); got != "small" {
		t.Fatalf("nothing learned: %s", got)
	}
	lane := l.gen.Load().lanes[0]
	if got := lane.tokens(1000); got < 495 || got > 505 {
		t.Errorf("1,500 were reported for 3,000, and 1,000 of the estimate are %d", got)
	}
	for range 20 {
		ask(750) // 1,500 reported: twice
	}
	if got := lane.tokens(1000); got < 1900 || got > 2000 {
		t.Errorf("1,000 of the estimate are %d, want about 2,000", got)
	}
	if got := ask(3000); got != "large" {
		t.Errorf("6,000 tokens in a window of 4,000: %s", got)
	}
	next := s
	next.Providers = slices.Clone(s.Providers)
	next.Providers[0].AppendSystem = "be brief"
	if err := l.Reload(next); err != nil {
		t.Fatal(err)
	}
	if got := ask(3000); got != "large" {
		t.Errorf("after a reload: %s", got)
	}
	rec := httptest.NewRecorder()
	l.CountTokens(t.Context(), rec, &Request{ID: "req_0123456789abcdefghijklmn", At: time.Now(), Wire: drey.WireAnthropic, Body: []byte(dialog(drey.WireAnthropic, "s", long(1000)))})
	if n := gjson.Get(rec.Body.String(), "input_tokens").Int(); n < 1900 || n > 2100 {
		t.Errorf("count_tokens: %s", rec.Body)
	}
	a := l.ask(t.Context(), drey.WireAnthropic, strings.Replace(dialog(drey.WireAnthropic, "s", long(1000)), "{", `{"stream":true,`, 1))
	_, start, _ := strings.Cut(a.body, `"input_tokens":`)
	start, _, _ = strings.Cut(start, ",")
	if n, _ := strconv.Atoi(strings.TrimRight(start, "}")); n < 1900 || n > 2100 {
		t.Errorf("message_start: %s", a.body)
	}
	next.Providers = slices.Clone(next.Providers)
	next.Providers[0].Model = "another"
	if err := l.Reload(next); err != nil {
		t.Fatal(err)
	}
	if got := ask(3000); got != "small" {
		t.Errorf("another model counts in its own way: %s", got)
	}
}

// An estimate teaches nothing, and neither does an answer without usage.
func TestFactorLearnsFromReportsAlone(t *testing.T) {
	for _, provider := range bothWires {
		for _, stream := range []bool{false, true} {
			l := newLab(t, nil, scripted{id: "a", wire: provider, script: fake.Always(fake.Text("ok").NoUsage())})
			for _, caller := range callers {
				l.ask(t.Context(), caller, strings.Replace(dialog(caller, "s", long(1000)), "{", fmt.Sprintf(`{"stream":%v,`, stream), 1))
			}
			if f := l.gen.Load().lanes[0].factor(); f.Ratio != 0 {
				t.Errorf("%v, %s: learned %v", provider, form(stream), f)
			}
		}
	}
}

// TestPoolsAreDeterministic: two gateways that see the same requests in the same
// order send each to the same member, and a conversation never leaves its own.
func TestPoolsAreDeterministic(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		providers := []scripted{{id: "a", wire: drey.WireChat}, {id: "b", wire: drey.WireAnthropic}}
		one, two := newLab(t, inPool, providers...), newLab(t, inPool, providers...)
		homes := map[string]drey.ProviderID{}
		talks := map[string][]string{}
		for range rapid.IntRange(1, 12).Draw(r, "requests") {
			who := rapid.SampledFrom([]string{"x", "y", "z"}).Draw(r, "who")
			w := rapid.SampledFrom(callers).Draw(r, "wire")
			key := who + w.String()
			talks[key] = append(talks[key], who, "ok")
			body := dialog(w, "s", talks[key][:len(talks[key])-1]...)
			load := rapid.SampledFrom([]drey.ProviderID{"a", "b"}).Draw(r, "load")
			releaseOne, releaseTwo := one.occupy(t, load), two.occupy(t, load)
			a, b := by(one.ask(t.Context(), w, body)), by(two.ask(t.Context(), w, body))
			releaseOne()
			releaseTwo()
			if a != b {
				r.Fatalf("one went to %s, the other to %s", a, b)
			}
			if home := homes[key]; home != "" && home != a {
				r.Fatalf("%s left %s for %s", key, home, a)
			}
			homes[key] = a
		}
	})
}

// Where nobody watches and there is no pool, ordering a request costs no memory.
func TestOrderCostsNothing(t *testing.T) {
	l := newLab(t, nil, scripted{id: "a", wire: drey.WireChat}, scripted{id: "b", wire: drey.WireChat})
	gen := l.gen.Load()
	x := &exchange{g: l.Gateway, gen: gen, chain: gen.chains["default"], req: &Request{Wire: drey.WireChat, Body: []byte(prompt(drey.WireChat, false))}, now: time.Now()}
	x.head.Tokens = 1000
	live := make([]route.Live, 2)
	if n := testing.AllocsPerRun(100, func() { x.order(live) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if live[0].Tokens != 1000 || live[0].Affine || live[0].Drifted {
		t.Errorf("%+v", live[0])
	}
}

func BenchmarkStripLines(b *testing.B) {
	var turns []string
	for i := range 200 {
		turns = append(turns, fmt.Sprint(i, long(1280)))
	}
	for _, w := range callers {
		for what, system := range map[string]string{"nothing": "you are", "a line": changing + "\nyou are"} {
			body := []byte(dialog(w, system, turns...))
			b.Run(name(w, " of 1 MB without ", what), func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := codecs[w].Rewrite(body, wire.Edits{Model: "m", StripLines: true}); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(name(w, " of 1 MB as it is, with ", what), func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				for b.Loop() {
					if _, err := codecs[w].Rewrite(body, wire.Edits{Model: "m"}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
