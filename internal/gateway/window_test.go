package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/route"
)

// talk is a request of a wire that is estimated at 2,100 tokens: 21 turns, user
// and assistant by turns; with the answer that it asks for it takes 2,200.
func talk(w drey.Wire, stream bool) string {
	var parts []string
	for i := range 21 {
		role := []string{"user", "assistant"}[i%2]
		parts = append(parts, fmt.Sprintf(`{"role":%q,"content":%q}`, role, fmt.Sprintf("%04d", i)+strings.Repeat("word", 99)))
	}
	limit, field := "max_tokens", "messages"
	if w == drey.WireResponses {
		limit, field = "max_output_tokens", "input"
	}
	return fmt.Sprintf(`{"model":"claude-x",%q:100,"stream":%v,%q:[%s]}`, limit, stream, field, strings.Join(parts, ","))
}

func window(tokens int) func(*Provider) { return func(p *Provider) { p.ContextTokens = tokens } }

// budgeting is a lab whose profile has a context budget of an action.
func budgeting(t *testing.T, a guard.BudgetAction, providers ...scripted) *lab {
	t.Helper()
	return newLab(t, func(s *Settings) {
		s.Profiles[0].Guards.Context = guard.Budget{Action: a, Warn: 0.80, Trim: 0.90, Target: 0.75, KeepLast: 4}
	}, providers...)
}

// turns are the numbers of the turns of talk that a provider got.
func turns(body []byte) string {
	var out []string
	for _, m := range gjson.GetBytes(body, "messages").Array() {
		text := m.Get("content").String()
		if at := strings.Index(text, "word"); at >= 4 {
			out = append(out, text[at-4 : at][2:])
		} else {
			out = append(out, text)
		}
	}
	return strings.Join(out, " ")
}

const allTurns = "00 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20"

// TestContextBudget holds what comes of each action at each share of the
// window, on three wires toward both kinds of providers.
func TestContextBudget(t *testing.T) {
	tests := []struct {
		action guard.BudgetAction
		window int
		header string
		events []string
		guards []guard.Trip
		cut    bool
	}{
		{guard.BudgetOff, 2400, "", nil, nil, false},
		{guard.BudgetWarn, 2830, "", nil, nil, false}, // 0.777
		{guard.BudgetWarn, 2730, "warning", []string{"context-budget-warning"}, []guard.Trip{{Guard: "context_budget", Action: "warn"}}, false},
		{guard.BudgetWarn, 2000, "warning", []string{"context-budget-warning"}, []guard.Trip{{Guard: "context_budget", Action: "warn"}}, false},
		{guard.BudgetTrim, 2830, "", nil, nil, false},
		{guard.BudgetTrim, 2500, "warning", []string{"context-budget-warning"}, []guard.Trip{{Guard: "context_budget", Action: "warn"}}, false},
		{guard.BudgetTrim, 2400, "trimmed", []string{"context-budget-warning", "context-budget-trimmed"}, []guard.Trip{{Guard: "context_budget", Action: "trim"}}, true},
		{guard.BudgetRoute, 2400, "warning", []string{"context-budget-warning"}, []guard.Trip{{Guard: "context_budget", Action: "warn"}}, false},
	}
	for _, w := range callers {
		for _, upstream := range bothWires {
			for _, stream := range []bool{false, true} {
				for _, tt := range tests {
					l := budgeting(t, tt.action, scripted{id: "only", wire: upstream, script: hello("hi"), change: window(tt.window)})
					a := l.ask(t.Context(), w, talk(w, stream))
					at := name(w, "to", upstream, form(stream), tt.action, tt.window)
					if text, complete := a.text(w); text != "hi" || !complete {
						t.Fatalf("%s: %d %s", at, a.status, a.body)
					}
					if got := a.header.Get("X-Drey-Context-Budget"); got != tt.header {
						t.Errorf("%s: header %q, want %q", at, got, tt.header)
					}
					if got := l.emitted(); !slices.Equal(got, tt.events) {
						t.Errorf("%s: events %v", at, got)
					}
					if d := cmp.Diff(tt.guards, l.last().Guards); d != "" {
						t.Errorf("%s: %s", at, d)
					}
					want := allTurns
					if tt.cut { // 1,800 and no more may stay: a quarter of the window goes, 600 tokens
						want = "06 07 08 09 10 11 12 13 14 15 16 17 18 19 20"
					}
					if got := turns(l.fakes["only"].Calls()[0].Body); got != want {
						t.Errorf("%s: the provider got %s", at, got)
					}
				}
			}
		}
	}
}

// What is trimmed is trimmed for one provider: the next one gets the whole
// request, if it has the room.
func TestTrimmingIsForOneProvider(t *testing.T) {
	for _, w := range callers {
		for _, first := range bothWires {
			l := budgeting(t, guard.BudgetTrim,
				scripted{id: "small", wire: first, script: fake.Always(fake.ServerError()), change: window(2400)},
				scripted{id: "large", wire: drey.WireChat, script: hello("hi"), change: window(100_000)})
			a := l.ask(t.Context(), w, talk(w, true))
			if text, _ := a.text(w); text != "hi" {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if got := a.header.Get("X-Drey-Context-Budget"); got != "" {
				t.Errorf("header %q about somebody else's window", got)
			}
			if got := turns(l.fakes["small"].Calls()[0].Body); got == allTurns {
				t.Errorf("%v to %v: small got %s", w, first, got)
			}
			if got := turns(l.fakes["large"].Calls()[0].Body); got != allTurns {
				t.Errorf("%v to %v: large got %s", w, first, got)
			}
			if got := l.emitted(); !slices.Equal(got, []string{"context-budget-warning", "context-budget-trimmed", "fallback-occurred"}) {
				t.Errorf("events %v", got)
			}
		}
	}
}

// A provider that is asked once more gets the same, and nothing is told twice.
func TestTrimmingIsToldOnce(t *testing.T) {
	l := budgeting(t, guard.BudgetTrim,
		scripted{id: "only", wire: drey.WireChat, script: fake.FailFirst(1, fake.ServerError(), fake.Text("hi")), change: window(2400)})
	if a := l.ask(t.Context(), drey.WireAnthropic, talk(drey.WireAnthropic, false)); a.status != 200 || a.header.Get("X-Drey-Context-Budget") != "trimmed" {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	calls := l.fakes["only"].Calls()
	if len(calls) != 2 || string(calls[0].Body) != string(calls[1].Body) {
		t.Errorf("%d calls, or they differ", len(calls))
	}
	if got := l.emitted(); !slices.Equal(got, []string{"context-budget-warning", "context-budget-trimmed"}) {
		t.Errorf("events %v", got)
	}
	if got := l.last().Guards; len(got) != 1 {
		t.Errorf("guards %v", got)
	}
}

// What the row and the timeouts are told of a trimmed request is what was sent.
func TestATrimmedRequestIsCountedAsSent(t *testing.T) {
	l := budgeting(t, guard.BudgetTrim,
		scripted{id: "only", wire: drey.WireChat, script: fake.Always(fake.Text("hi").NoUsage()), change: window(2400)})
	l.ask(t.Context(), drey.WireChat, talk(drey.WireChat, true))
	if u := l.last().Usage; !u.Estimated || u.Input != 1500 {
		t.Errorf("usage %+v", u)
	}
}

// Of a provider that the request fills and one that has room, the latter is
// asked first, and the answer says so; the former is not lost.
func TestRoutingByRoom(t *testing.T) {
	tests := []struct {
		name    string
		script  fake.Script // of large
		windows [3]int
		order   []drey.ProviderID // who was asked
		headers map[string]string
		events  []string
	}{
		{"room in the first", hello("hi"), [3]int{9000, 9000, 9000}, []drey.ProviderID{"a"}, map[string]string{}, nil},
		{"room in the last", hello("hi"), [3]int{2400, 2420, 9000}, []drey.ProviderID{"c"},
			map[string]string{"Context-Budget": "routed", "Fallback-From": "a", "Fallback-To": "c", "Fallback-Reason": "context-budget,context-budget"},
			[]string{"context-budget-warning", "context-budget-warning", "fallback-occurred"}},
		{"little room in the second", hello("hi"), [3]int{2400, 2600, 2400}, []drey.ProviderID{"b"},
			map[string]string{"Context-Budget": "routed", "Fallback-From": "a", "Fallback-To": "b", "Fallback-Reason": "context-budget"},
			[]string{"context-budget-warning", "context-budget-warning", "fallback-occurred"}},
		{"room in none: the largest", hello("hi"), [3]int{2300, 2400, 2350}, []drey.ProviderID{"b"},
			map[string]string{"Context-Budget": "routed", "Fallback-From": "a", "Fallback-To": "b", "Fallback-Reason": "context-budget"},
			[]string{"context-budget-warning", "context-budget-warning", "fallback-occurred"}},
		{"room in one that fails", fake.Always(fake.ServerError()), [3]int{2400, 9000, 2350}, []drey.ProviderID{"b", "a"},
			map[string]string{"Context-Budget": "warning", "Fallback-From": "b", "Fallback-To": "a", "Fallback-Reason": "server"},
			[]string{"context-budget-warning", "fallback-occurred"}},
	}
	for _, tt := range tests {
		for _, w := range callers {
			t.Run(tt.name+"/"+w.String(), func(t *testing.T) {
				scripts := [3]fake.Script{hello("hi"), hello("hi"), hello("hi")}
				if tt.order[0] != "a" {
					scripts[slices.Index([]drey.ProviderID{"a", "b", "c"}, tt.order[0])] = tt.script
				}
				l := budgeting(t, guard.BudgetRoute,
					scripted{id: "a", wire: drey.WireChat, script: scripts[0], change: window(tt.windows[0])},
					scripted{id: "b", wire: drey.WireAnthropic, script: scripts[1], change: window(tt.windows[1])},
					scripted{id: "c", wire: drey.WireChat, script: scripts[2], change: window(tt.windows[2])})
				a := l.ask(t.Context(), w, talk(w, true))
				if text, complete := a.text(w); text != "hi" || !complete {
					t.Fatalf("%d %s", a.status, a.body)
				}
				for _, k := range []string{"Context-Budget", "Fallback-From", "Fallback-To", "Fallback-Reason"} {
					if got := a.header.Get("X-Drey-" + k); got != tt.headers[k] {
						t.Errorf("%s: %q, want %q", k, got, tt.headers[k])
					}
				}
				var order []drey.ProviderID
				for _, at := range l.last().Attempts {
					order = append(order, at.Provider)
				}
				if !slices.Equal(order, tt.order) || !slices.Equal(l.emitted(), tt.events) {
					t.Errorf("asked %v, events %v", order, l.emitted())
				}
			})
		}
	}
}

// Where the headers went out before the first content, a comment tells it.
func TestTrimmingIsToldInAStreamThatHasBegun(t *testing.T) {
	for _, w := range callers {
		synctest.Test(t, func(t *testing.T) {
			l := budgeting(t, guard.BudgetTrim, scripted{id: "only", wire: drey.WireChat, script: fake.Always(fake.Text("hi").TTFT(25 * time.Second)), change: window(2400)})
			a := l.ask(t.Context(), w, talk(w, true))
			if text, complete := a.text(w); text != "hi" || !complete || !strings.Contains(a.body, "\n: drey provider=only attempts=1 context_budget=trimmed\n\n") {
				t.Errorf("%v: %s", w, a.body)
			}
		})
	}
}

// A window makes up for nothing that a later or an earlier pass has moved a
// provider back for.
func TestRoomDoesNotMakeUpForAbilities(t *testing.T) {
	l := budgeting(t, guard.BudgetRoute,
		scripted{id: "small", wire: drey.WireChat, script: hello("hi"), change: window(2400)},
		scripted{id: "large", wire: drey.WireChat, script: hello("hi"), change: func(p *Provider) { p.ContextTokens, p.Can.Tools = 9000, route.No }})
	body := strings.Replace(talk(drey.WireChat, false), `"messages"`, `"tools":[{"type":"function","function":{"name":"f"}}],"messages"`, 1)
	a := l.ask(t.Context(), drey.WireChat, body)
	if a.header.Get("X-Drey-Provider") != "small" || a.header.Get("X-Drey-Context-Budget") != "warning" {
		t.Errorf("%d %v", a.status, a.header)
	}
}

// Nor does it make up for answers that have become worse: what drift has put
// last stays there, whatever its window.
func TestRoomDoesNotMakeUpForDrift(t *testing.T) {
	l := newLab(t, func(s *Settings) {
		drifts(demoting)(s)
		s.Profiles[0].Guards.Context = guard.Budget{Action: guard.BudgetRoute, Warn: 0.80, Trim: 0.90, Target: 0.75, KeepLast: 4}
	},
		scripted{id: "large", wire: drey.WireChat, script: emptyAfter(8), change: window(9000)},
		scripted{id: "small", wire: drey.WireChat, script: varied, change: window(2400)})
	for i := 0; len(l.drift()) == 0; i++ {
		if l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, false)); i > 20 {
			t.Fatal("twelve empty answers, and nobody noticed")
		}
	}
	a := l.ask(t.Context(), drey.WireChat, talk(drey.WireChat, false))
	for key, want := range map[string]string{
		"X-Drey-Provider": "small", "X-Drey-Context-Budget": "warning", "X-Drey-Fallback-From": "large", "X-Drey-Fallback-Reason": "drift",
	} {
		if got := a.header.Get(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}
