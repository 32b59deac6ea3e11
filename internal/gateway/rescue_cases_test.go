package gateway

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/wire"
)

// rescueEvent is the event stream-rescued in short; "" if there was none.
func (l *lab) rescueEvent() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ev := range l.events {
		if ev.Name == "stream-rescued" {
			b, _ := ev.MarshalJSON()
			e := gjson.ParseBytes(b)
			return fmt.Sprintf("%s -> %s %s at %d", e.Get("from").Str, e.Get("to").Str, e.Get("mode").Str, e.Get("at_tokens").Int())
		}
	}
	return ""
}

// rescues is what the metrics count of the last request.
func (l *lab) rescues() string {
	m := NewMetrics(discard{})
	m.observe(l.last())
	for series := range m.sums {
		if name, labels := splitSeries(series); name == "drey_rescues_total" {
			return strings.Join(labels, " ")
		}
	}
	return ""
}

// upTo is the length of a stream up to and with the n-th piece of text.
func upTo(stream []byte, text string) int {
	i := strings.Index(string(stream), text)
	if i < 0 {
		panic("there is no " + text)
	}
	return i + strings.Index(string(stream[i:]), "\n\n") + 2
}

// A break within the hold leaves no trace: the next provider's answer is the
// only one that the caller sees.
func TestRestartWithinTheHold(t *testing.T) {
	for _, mode := range []RescueMode{RescueRestart, RescueContinue} {
		for _, w := range callers {
			t.Run(name(mode, " ", w), func(t *testing.T) {
				first := &speaker{wire: near(w), id: "first", says: answers["text"]}
				first.cut = upTo(first.says.stream(near(w), "first"), "more")
				second := &speaker{wire: near(w), id: "second", says: said{piece: 9, blocks: []wire.Block{{Text: "another answer"}}}, cut: -1}
				l := pair(t, holding(mode), first, second)
				a := l.ask(t.Context(), w, asking(w))
				c, err := readStream(w, a.body)
				if err != nil || c.text != "another answer" || !c.done {
					t.Errorf("%v %q %v", err, c.text, c.done)
				}
				if a.header.Get("X-Drey-Provider") != "second" || a.header.Get("X-Drey-Fallback-From") != "first" {
					t.Errorf("%v", a.header)
				}
				if ev, n := l.rescueEvent(), l.rescues(); ev != "first -> second restart at 4" || n != "restart ok" {
					t.Errorf("%q, %q", ev, n)
				}
				if n := l.view("first").Failures[drey.BadOutput]; n != 1 {
					t.Errorf("%d failures were held against the first", n)
				}
			})
		}
	}
}

// Nobody took over: the caller, who has seen nothing, gets a plain error.
func TestRestartWithNobodyLeft(t *testing.T) {
	first := &speaker{wire: drey.WireChat, id: "first", says: answers["text"], cut: 900}
	l := newLab(t, rescuing(holding(RescueRestart)), first.scripted("first", false))
	if a := l.ask(t.Context(), drey.WireChat, asking(drey.WireChat)); a.status != 502 || l.rescues() != "restart nobody" {
		t.Errorf("%d %s", a.status, l.rescues())
	}
}

// How long the beginning is held: until there is enough, or for a time, which
// also ends while nothing comes.
func TestHold(t *testing.T) {
	slow := func(gap time.Duration) fake.Script {
		return fake.Always(fake.Text("one two three four five six").Gap(gap))
	}
	for _, tt := range []struct {
		name   string
		script fake.Script
		r      Rescue
		want   time.Duration
	}{
		{"off", slow(time.Second), Rescue{}, 0},
		{"no time", slow(time.Second), Rescue{Mode: RescueRestart, HoldTokens: 64}, 0},
		{"a trickle is let go by the clock", slow(10 * time.Second), Rescue{Mode: RescueRestart, HoldTokens: 64, HoldTime: 1500 * time.Millisecond}, 1500 * time.Millisecond},
		{"enough", slow(100 * time.Millisecond), Rescue{Mode: RescueContinue, HoldTokens: 4, HoldTime: 30 * time.Second}, 300 * time.Millisecond},
		{"it is all there", slow(100 * time.Millisecond), Rescue{Mode: RescueContinue, HoldTokens: 64, HoldTime: 30 * time.Second}, 500 * time.Millisecond},
	} {
		for _, caller := range callers {
			for _, w := range bothWires {
				t.Run(name(tt.name, " ", caller, " ", w), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						l := newLab(t, rescuing(tt.r), scripted{id: "first", wire: w, script: tt.script})
						a := l.ask(t.Context(), caller, prompt(caller, true))
						c, err := readStream(caller, a.body)
						if err != nil || c.text != "one two three four five six" || !c.done {
							t.Errorf("%v %q %v", err, c.text, c.done)
						}
						if got := l.last().FirstByte; got != tt.want {
							t.Errorf("the first content went out after %s, want %s", got, tt.want)
						}
					})
				})
			}
		}
	}
}

// While the hold lasts pings go on, and the way is told by a comment.
func TestPingsDuringTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(s *Settings) {
			rescuing(Rescue{Mode: RescueRestart, HoldTokens: 64, HoldTime: 25 * time.Second})(s)
		}, scripted{id: "first", wire: drey.WireAnthropic, script: fake.Always(fake.Text("one two").Gap(40 * time.Second))})
		a := l.ask(t.Context(), drey.WireAnthropic, prompt(drey.WireAnthropic, true))
		before, _, _ := strings.Cut(a.body, "one")
		if n := strings.Count(before, "event: ping\ndata: {\"type\":\"ping\"}\n\nevent: ping"); n != 1 || !strings.Contains(before, ": drey provider=first attempts=1\n") {
			t.Errorf("%s", a.body)
		}
	})
}

// An answer without text is empty, whatever it thought: the hold gives the next
// provider a chance that it would not have had.
func TestHeldThinkingIsEmpty(t *testing.T) {
	thinks := &speaker{wire: drey.WireAnthropic, id: "first", says: said{piece: 9, blocks: []wire.Block{{Kind: wire.Reasoning, Text: "well, well"}}}, cut: -1}
	second := &speaker{wire: drey.WireAnthropic, id: "second", says: answers["text"], cut: -1}
	l := pair(t, holding(RescueRestart), thinks, second)
	a := l.ask(t.Context(), drey.WireAnthropic, asking(drey.WireAnthropic))
	if c, err := readStream(drey.WireAnthropic, a.body); err != nil || c.text != story || c.thought != "" || l.rescues() != "" {
		t.Errorf("%v %+v %s", err, c, l.rescues())
	}
}

// Who can go on and who cannot, and how it is told.
func TestWhoContinues(t *testing.T) {
	const cut = "more"
	beginning := story[:strings.Index(story, "an they fin")] // in pieces of eleven characters
	rest, err := answers["text"].after(beginning, 0)
	if err != nil {
		t.Fatal(err)
	}
	first := func() *speaker {
		s := &speaker{wire: drey.WireAnthropic, id: "first", says: answers["text"]}
		s.cut = upTo(s.says.stream(s.wire, s.id), cut)
		return s
	}
	good := func() *speaker { return &speaker{wire: drey.WireChat, id: "good", says: answers["text"], cut: -1} }
	script := func(id drey.ProviderID, b fake.Behaviour) scripted {
		return scripted{id: id, wire: drey.WireChat, script: fake.Always(b), change: func(p *Provider) { p.Can.Prefill = route.Yes }}
	}
	cutAgain := good()
	cutAgain.cut = upTo(rest.stream(drey.WireChat, "good"), "an they fin")
	cutAtOnce := good()
	cutAtOnce.cut = 150
	for _, tt := range []struct {
		name   string
		others []scripted
		text   string // "" = all of it
		fails  string
		event  string
		count  string
	}{
		{"one that is able", []scripted{good().scripted("good", true)}, "", "", "first -> good continue at 12", "continue ok"},
		{"nobody", nil, beginning, "api_error", "", "continue nobody"},
		{"one that is not known to be able", []scripted{good().scripted("good", false)}, beginning, "api_error", "", "continue nobody"},
		{"one that refuses, and another", []scripted{script("b", fake.PrefillRefused()), good().scripted("good", true)}, "", "", "first -> good continue at 12", "continue ok"},
		{"one that refuses", []scripted{script("b", fake.PrefillRefused())}, beginning, "api_error", "", "continue failed"},
		{"one that is down, and another", []scripted{script("b", fake.Refused()), good().scripted("good", true)}, "", "", "first -> good continue at 12", "continue ok"},
		{"one that breaks before it says anything, and another", []scripted{cutAtOnce.scripted("b", true), good().scripted("good", true)}, "", "", "first -> good continue at 12", "continue ok"},
		{"one that breaks, too", []scripted{cutAgain.scripted("b", true), good().scripted("good", true)}, "?", "api_error", "first -> b continue at 12", "continue failed"},
		{"one that has nothing to add", []scripted{script("b", fake.Empty())}, beginning, "api_error", "", "continue failed"},
		{"one that only repeats", []scripted{script("b", fake.Text("they bury more th"))}, beginning, "api_error", "", "continue failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, rescuing(mending), append([]scripted{first().scripted("first", false)}, tt.others...)...)
			a := l.ask(t.Context(), drey.WireAnthropic, asking(drey.WireAnthropic))
			c, err := readStream(drey.WireAnthropic, a.body)
			if err != nil {
				t.Errorf("%v\n%s", err, a.body)
			}
			want := tt.text
			if want == "" {
				want = story
			}
			if want == "?" {
				if !strings.HasPrefix(story, c.text) || len(c.text) <= len(beginning) {
					t.Errorf("text %q", c.text)
				}
			} else if c.text != want {
				t.Errorf("text %q, want %q", c.text, want)
			}
			if c.failed != tt.fails || c.done == (tt.fails != "") || c.id != "msg_first" {
				t.Errorf("failed %q, done %v, id %q", c.failed, c.done, c.id)
			}
			if ev, n := l.rescueEvent(), l.rescues(); ev != tt.event || n != tt.count {
				t.Errorf("%q, %q; want %q, %q", ev, n, tt.event, tt.count)
			}
			if got := a.header.Get("X-Drey-Provider"); got != "first" {
				t.Errorf("the header says %q served", got)
			}
			if failed := slices.ContainsFunc(l.last().Events, func(e drey.Event) bool { return e.Name == "rescue-failed" }); failed != (tt.fails != "") {
				t.Errorf("rescue-failed: %v", failed)
			}
			if n := l.view("first").Failures[drey.BadOutput]; n != 1 {
				t.Errorf("%d failures were held against the first", n)
			}
		})
	}
}

// What the caller has been told may forbid to go on.
func TestUnsafeToContinue(t *testing.T) {
	schema := strings.Replace(asking(drey.WireChat), `"model":`, `"response_format":{"type":"json_object"},"model":`, 1)
	several := strings.Replace(asking(drey.WireChat), `"model":`, `"n":2,"model":`, 1)
	for _, tt := range []struct {
		name, answer, cut, body, obstacle string
		wire                              drey.Wire
	}{
		{"within a thought", "thinking", " squirrel", asking(drey.WireAnthropic), "thinking", drey.WireAnthropic},
		{"between a thought and the text", "thinking", "content_block_stop", asking(drey.WireAnthropic), "thinking", drey.WireAnthropic},
		{"within a call", "text and call", `\"at\":`, asking(drey.WireChat), "tool_call", drey.WireChat},
		{"behind a call", "text and call", `content_block_stop","index":1`, asking(drey.WireAnthropic), "tool_call", drey.WireAnthropic},
		{"the reason of the end is told", "text", `"end_turn"`, asking(drey.WireAnthropic), "ending", drey.WireAnthropic},
		{"an answer in a format", "text", "more", schema, "form", drey.WireChat},
		{"several answers", "text", "more", several, "form", drey.WireChat},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first := &speaker{wire: tt.wire, id: "first", says: answers[tt.answer]}
			first.cut = upTo(first.says.stream(tt.wire, "first"), tt.cut)
			second := &speaker{wire: tt.wire, id: "second", says: first.says, cut: -1}
			l := pair(t, mending, first, second)
			a := l.ask(t.Context(), tt.wire, tt.body)
			if c, err := readStream(tt.wire, a.body); err != nil || c.failed == "" || c.done {
				t.Errorf("%v %+v", err, c)
			}
			if len(second.bodies) != 0 {
				t.Errorf("the second was asked")
			}
			if n := l.rescues(); n != "continue unsafe" {
				t.Error(n)
			}
			ev := l.last().Events[slices.IndexFunc(l.last().Events, func(e drey.Event) bool { return e.Name == "rescue-failed" })]
			if b, _ := ev.MarshalJSON(); gjson.GetBytes(b, "obstacle").Str != tt.obstacle {
				t.Errorf("%s", b)
			}
		})
	}
}

// Models repeat their last words before they go on, in pieces of any size.
func TestOverlapIsCut(t *testing.T) {
	for _, w := range callers {
		for _, piece := range []int{1, 2, 5, 300} {
			for _, overlap := range []int{0, 9, 20, 200} {
				for _, whole := range []bool{false, true} {
					t.Run(name(w, " ", piece, " ", overlap, " ", form(!whole)), func(t *testing.T) {
						first := &speaker{wire: near(w), id: "first", says: answers["text"]}
						first.cut = upTo(first.says.stream(near(w), "first"), "they fin")
						second := &speaker{wire: near(w), id: "second", says: answers["text"], cut: -1, overlap: overlap, whole: whole}
						second.says.piece = piece
						l := pair(t, mending, first, second)
						a := l.ask(t.Context(), w, asking(w))
						if c, err := readStream(w, a.body); err != nil || c.text != story || !c.done {
							t.Errorf("%v %q %v", err, c.text, c.done)
						}
					})
				}
			}
		}
	}
}

// What the provider that goes on is asked: the same, with the beginning behind
// it, and no more tokens than the caller allowed.
func TestWhatTheNextIsAsked(t *testing.T) {
	for _, tt := range []struct {
		caller, to drey.Wire
		body, want string
		at         string // of the body
	}{
		{drey.WireAnthropic, drey.WireAnthropic, asking(drey.WireAnthropic), `{"role":"assistant","content":"@"}`, "messages.1"},
		{drey.WireAnthropic, drey.WireChat, asking(drey.WireAnthropic), `{"role":"assistant","content":"@"}`, "messages.1"},
		{drey.WireChat, drey.WireChat, asking(drey.WireChat), `{"role":"assistant","content":"@"}`, "messages.1"},
		{drey.WireResponses, drey.WireResponses, asking(drey.WireResponses), `{"type":"message","role":"assistant","content":[{"type":"output_text","text":"@"}]}`, "input.1"},
		{drey.WireResponses, drey.WireResponses, `{"input":"hi","stream":true,"max_output_tokens":4000}`, `{"type":"message","role":"assistant","content":[{"type":"output_text","text":"@"}]}`, "input.1"},
		{drey.WireAnthropic, drey.WireAnthropic, `{"max_tokens":4000,"stream":true,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"So: "}]}`, `{"role":"assistant","content":"So: @"}`, "messages.1"},
		{drey.WireAnthropic, drey.WireAnthropic, `{"max_tokens":4000,"stream":true,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"text","text":"So: ","x":1}]} ]}`, `{"role":"assistant","content":[{"type":"text","text":"So: @","x":1}]}`, "messages.1"},
		{drey.WireAnthropic, drey.WireChat, `{"max_tokens":4000,"stream":true,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"So:"}]}`, `{"role":"assistant","content":"So:@"}`, "messages.1"},
	} {
		t.Run(name(tt.caller, " ", tt.to), func(t *testing.T) {
			from := tt.caller
			first := &speaker{wire: from, id: "first", says: answers["text"]}
			first.cut = upTo(first.says.stream(from, "first"), "quirrels:")
			told := story[:strings.Index(story, "\n")]
			second := &speaker{wire: tt.to, id: "second", says: answers["text"], cut: -1}
			l := pair(t, mending, first, second)
			l.ask(t.Context(), tt.caller, tt.body)
			if len(second.bodies) != 1 {
				t.Fatalf("it was asked %d times", len(second.bodies))
			}
			body := gjson.ParseBytes(second.bodies[0])
			if got, want := body.Get(tt.at).Raw, strings.Replace(tt.want, "@", told, 1); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			limit := body.Get("max_tokens").Int() + body.Get("max_output_tokens").Int()
			if limit != 4000-int64(wire.NewPrefill(told).Tokens) || limit >= 4000 {
				t.Errorf("limit %d", limit)
			}
			if body.Get("thinking").Exists() {
				t.Errorf("thinking on an answer that is begun")
			}
		})
	}
}

// The rules of time hold on: a stall is a break, pings go on while another
// provider is asked for the rest, and the whole request has one end.
func TestContinueAfterAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rescuing(mending),
			scripted{id: "first", wire: drey.WireAnthropic, script: fake.Always(fake.Text("first says hello to you all").StallAfter(7))},
			scripted{id: "second", wire: drey.WireChat, script: fake.Always(fake.Text("you all").TTFT(25 * time.Second)), change: func(p *Provider) { p.Can.Prefill = route.Yes }})
		a := l.ask(t.Context(), drey.WireAnthropic, prompt(drey.WireAnthropic, true))
		c, err := readStream(drey.WireAnthropic, a.body)
		if err != nil || c.text != "first says hello to you all" || !c.done {
			t.Errorf("%v %+v", err, c)
		}
		if n := strings.Count(a.body, "event: ping"); n < 8 {
			t.Errorf("%d pings in 85 s", n)
		}
		if v := l.view("first"); v.Failures[drey.Silence] != 1 {
			t.Errorf("%v", v.Failures)
		}
	})
}

func TestTheTimeIsOverWhileContinuing(t *testing.T) {
	for _, stalls := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			first := fake.Text("first says hello to you all").CutAfter(7, fake.Clean)
			if stalls {
				first = fake.Text("first says hello to you all").StallAfter(7)
			}
			total := 50 * time.Second // before the stall is one
			l := newLab(t, func(s *Settings) {
				rescuing(mending)(s)
				s.Profiles[0].Timeouts.Total = &total
			}, scripted{id: "first", wire: drey.WireAnthropic, script: fake.Always(first)},
				scripted{id: "second", wire: drey.WireChat, script: fake.Always(fake.Silent()), change: func(p *Provider) { p.Can.Prefill = route.Yes }})
			start := time.Now()
			a := l.ask(t.Context(), drey.WireAnthropic, prompt(drey.WireAnthropic, true))
			c, err := readStream(drey.WireAnthropic, a.body)
			if took := time.Since(start); err != nil || took != total || c.failed == "" {
				t.Errorf("%v after %s: %+v", err, took, c)
			}
			if n := l.rescues(); n != map[bool]string{false: "continue failed", true: ""}[stalls] {
				t.Errorf("counted as %q", n)
			}
			if asked := len(l.fakes["second"].Calls()); asked != map[bool]int{false: 1, true: 0}[stalls] {
				t.Errorf("the second was asked %d times", asked)
			}
		})
	}
}

func TestCancelWhileContinuing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rescuing(mending),
			scripted{id: "first", wire: drey.WireAnthropic, script: fake.Always(fake.Text("first says hello to you all").CutAfter(7, fake.FIN))},
			scripted{id: "second", wire: drey.WireChat, script: fake.Always(fake.Silent()), change: func(p *Provider) { p.Can.Prefill = route.Yes }})
		ctx, cancel := context.WithCancel(t.Context())
		defer time.AfterFunc(5*time.Second, cancel).Stop()
		a := l.ask(ctx, drey.WireAnthropic, prompt(drey.WireAnthropic, true))
		if c, err := readStream(drey.WireAnthropic, a.body); err != nil || c.done {
			t.Errorf("%v %+v", err, c)
		}
		if r := l.last(); r.Outcome != OutcomeCancel || l.rescues() != "continue cancel" {
			t.Errorf("%s, %s", r.Outcome, l.rescues())
		}
		if v := l.view("second"); v.ConsecutiveFailures != 0 {
			t.Errorf("%d failures were held against the second", v.ConsecutiveFailures)
		}
	})
}

// A timer that lets content go and a stream that brings more meet at all
// moments; nothing is lost, told twice or out of order.
func TestHoldRaces(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			pieces := make([]string, 60)
			for n := range pieces {
				pieces[n] = fmt.Sprintf("%d ", n)
			}
			r := Rescue{Mode: RescueContinue, HoldTokens: 1000, HoldTime: time.Duration(1+i*50) * time.Microsecond}
			l := newLab(t, rescuing(r), scripted{id: "first", wire: drey.WireChat, script: fake.Always(fake.Pieces(pieces...).Gap(20 * time.Microsecond))})
			a := l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, true))
			if c, err := readStream(drey.WireChat, a.body); err != nil || c.text != strings.Join(pieces, "") || !c.done {
				t.Errorf("%v %q", err, c.text)
			}
		})
	}
	wg.Wait()
}

// A caller that is gone when its first content is let go ends the request.
func TestCallerGoneDuringTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rescuing(Rescue{Mode: RescueRestart, HoldTokens: 64, HoldTime: time.Second}),
			scripted{id: "first", wire: drey.WireChat, script: fake.Always(fake.Text("one two three").Gap(10 * time.Second))})
		w := &brokenWriter{ResponseRecorder: httptest.NewRecorder(), writes: 1}
		l.Generate(t.Context(), w, &Request{ID: "req_0123456789abcdefghijklmn", At: time.Now(), Wire: drey.WireChat, Body: []byte(prompt(drey.WireChat, true))})
		if o := l.last().Outcome; o != OutcomeCancel {
			t.Error(o)
		}
	})
}
