package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/guard"
)

// toolCall is a tool call of a session.
type toolCall struct{ name, args string }

// session is a request of a wire with a user's task and so many tool turns
// after it, each a call with its result.
func session(w drey.Wire, stream bool, calls ...toolCall) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	add(`{"role":"user","content":"do it"}`)
	for i, c := range calls {
		switch w {
		case drey.WireAnthropic:
			add(`{"role":"assistant","content":[{"type":"tool_use","id":"t%d","name":%q,"input":%s}]}`, i, c.name, c.args)
			add(`{"role":"user","content":[{"type":"tool_result","tool_use_id":"t%d","content":"done"}]}`, i)
		case drey.WireChat:
			add(`{"role":"assistant","content":null,"tool_calls":[{"id":"t%d","type":"function","function":{"name":%q,"arguments":%q}}]}`, i, c.name, c.args)
			add(`{"role":"tool","tool_call_id":"t%d","content":"done"}`, i)
		case drey.WireResponses:
			add(`{"type":"function_call","call_id":"t%d","name":%q,"arguments":%q}`, i, c.name, c.args)
			add(`{"type":"function_call_output","call_id":"t%d","output":"done"}`, i)
		}
	}
	field := "messages"
	if w == drey.WireResponses {
		field = "input"
	}
	return fmt.Sprintf(`{"model":"claude-x","max_tokens":100,"stream":%v,%q:[%s]}`, stream, field, strings.Join(parts, ","))
}

// steps are n calls that all differ.
func steps(n int) []toolCall {
	var out []toolCall
	for i := range n {
		out = append(out, toolCall{"Edit", fmt.Sprintf(`{"path":"f%d.go"}`, i)})
	}
	return out
}

// repeated repeats calls.
func repeated(n int, calls ...toolCall) []toolCall { return slices.Repeat(calls, n) }

var bash = toolCall{"Bash", `{"command":"make"}`}

// guarding is a lab with one provider and the guards of a profile.
func guarding(t *testing.T, w drey.Wire, g Guards, more ...scripted) *lab {
	t.Helper()
	return newLab(t, func(s *Settings) {
		g.Tools.Profile = "default"
		s.Profiles[0].Guards = g
	}, append([]scripted{{id: "only", wire: w, script: hello("hi")}}, more...)...)
}

// breaking are the guards of the contract's example: a cap of 50 and a loop of
// three, both with action break.
var breaking = Guards{Tools: guard.Policy{
	Cap:  guard.Cap{Action: guard.Break, Limit: 50},
	Loop: guard.Loop{Action: guard.Break, Window: 20, Threshold: 3},
}}

func agent(name string) func(*Request) {
	return func(r *Request) { r.Header.Set("User-Agent", name) }
}

// TestRefusals holds all that a refused caller gets, what is journaled and what
// the row says, on three wires, streaming and not.
func TestRefusals(t *testing.T) {
	var out bytes.Buffer
	for _, g := range []struct {
		name  string
		calls []toolCall
	}{{"cap", steps(51)}, {"loop", append(steps(4), repeated(3, bash)...)}} {
		for _, w := range callers {
			for _, stream := range []bool{false, true} {
				l := guarding(t, near(w), breaking)
				a := l.ask(t.Context(), w, session(w, stream, g.calls...), agent("curl/8"), func(r *Request) { r.At = time.Unix(1795348800, 0) })
				if len(l.fakes["only"].Requests()) > 0 || len(l.emitted()) != 1 {
					t.Errorf("%s %v: %d requests reached a provider, events %v", g.name, w, len(l.fakes["only"].Requests()), l.emitted())
				}
				fmt.Fprintf(&out, "== %s %v %s\n%d\n", g.name, w, form(stream), a.status)
				for _, k := range []string{"Content-Type", "Cache-Control", "X-Should-Retry", "Retry-After", "X-Drey-Profile", "X-Drey-Provider", "X-Drey-Attempts", "Request-Id", "X-Request-Id", "X-Drey-Request-Id"} {
					if v := a.header.Get(k); v != "" {
						fmt.Fprintf(&out, "%s: %s\n", k, v)
					}
				}
				fmt.Fprintf(&out, "%s\n", strings.TrimSuffix(a.body, "\n\n"))
				ev := l.events[0]
				fmt.Fprintf(&out, "-- %s %v %s %s %s", ev.Name, ev.Level, ev.Machine, ev.ID, ev.RequestID)
				for _, f := range ev.Fields {
					fmt.Fprintf(&out, " %s=%v", f.Key, f.Value)
				}
				r := l.last().row()
				guards, _ := json.Marshal(r.Guards)
				fmt.Fprintf(&out, "\n-- row: %s %d %s attempts %d guards %s\n\n", r.Outcome, r.Status, r.Error, len(r.Attempts), guards)
			}
		}
	}
	golden(t, "guards.golden", out.Bytes())
}

// Agents that take an error in a stream for a broken one get a 400.
func TestTheFormOfARefusal(t *testing.T) {
	tests := []struct {
		form   guard.StreamForm
		stream bool
		agent  string
		want   int
	}{
		{guard.FormAuto, true, "claude-cli/2.0.1 (external, cli)", 400},
		{guard.FormAuto, true, "codex_cli_rs/0.50", 400},
		{guard.FormAuto, true, "opencode/1.0", 400},
		{guard.FormAuto, true, "OpenAI/Python 2.1", 200},
		{guard.FormAuto, true, "", 200},
		{guard.FormAuto, false, "curl/8", 400},
		{guard.FormSSE, true, "claude-cli/2.0.1", 200},
		{guard.FormSSE, false, "claude-cli/2.0.1", 400},
		{guard.FormHTTP, true, "curl/8", 400},
	}
	for _, tt := range tests {
		for _, w := range callers {
			g := breaking
			g.Form = tt.form
			l := guarding(t, near(w), g)
			a := l.ask(t.Context(), w, session(w, tt.stream, repeated(3, bash)...), agent(tt.agent))
			kind := map[int]string{200: "text/event-stream", 400: "application/json"}[a.status]
			if a.status != tt.want || a.header.Get("Content-Type") != kind || (a.header.Get("X-Should-Retry") == "false") != (tt.want == 400) || a.aborted {
				t.Errorf("%+v on %v: %d %v aborted %v", tt, w, a.status, a.header, a.aborted)
			}
			if _, complete := a.text(w); complete {
				t.Errorf("%+v on %v looks like a whole answer: %s", tt, w, a.body)
			}
		}
	}
}

// TestALongSession has sessions of 500 tool turns. One that runs into a loop is
// stopped at the turn that makes it one and not before, whatever the form of
// the loop; an honest one never is.
func TestALongSession(t *testing.T) {
	a, b, c, d := bash, toolCall{"Read", `{"path":"a.go"}`}, toolCall{"Read", `{"path":"b.go"}`}, toolCall{"Grep", `{"q":"x"}`}
	honest := steps(500)
	tests := []struct {
		name   string
		tail   []toolCall // the last of them makes it a loop
		period int
	}{
		{"the same call", repeated(3, a), 1},
		{"two in turn", repeated(3, a, b), 2},
		{"three in turn", repeated(3, a, b, c), 3},
		{"four in turn", repeated(3, a, b, c, d), 4},
		{"keys in another order", []toolCall{{"Edit", `{"path":"x","old":"1","new":"2"}`}, {"Edit", `{"new":"2", "path":"x","old":"1"}`}, {"Edit", "{\n\"old\":\"\\u0031\",\"path\":\"x\",\"new\":\"2\"}"}}, 1},
	}
	policy := Guards{Tools: guard.Policy{Loop: breaking.Tools.Loop, Cap: guard.Cap{Action: guard.Break, Limit: 1000}}}
	for _, w := range callers {
		for _, tt := range tests {
			t.Run(tt.name+"/"+w.String(), func(t *testing.T) {
				l := guarding(t, near(w), policy)
				whole := append(slices.Clone(honest[:500-len(tt.tail)]), tt.tail...)
				for n, status := range map[int]int{499: 200, 500: 400} {
					ans := l.ask(t.Context(), w, session(w, false, whole[:n]...), agent("claude-cli/2"))
					if ans.status != status {
						t.Fatalf("at turn %d: %d %s", n, ans.status, ans.body)
					}
				}
				if got := gjson.GetBytes(fieldsOf(l.events[0]), "period").Int(); got != int64(tt.period) {
					t.Errorf("period %d: %s", got, fieldsOf(l.events[0]))
				}
			})
		}
		t.Run("honest/"+w.String(), func(t *testing.T) {
			l := guarding(t, near(w), policy)
			calls := slices.Clone(honest)
			// Work comes back to the same call again and again, but does other
			// things between.
			random := rand.New(rand.NewPCG(1, 2))
			for i := 3; i < len(calls); i += 2 + random.IntN(3) {
				calls[i] = bash
			}
			for n := 10; n <= 500; n += 35 {
				if ans := l.ask(t.Context(), w, session(w, false, calls[:n]...)); ans.status != 200 {
					t.Fatalf("at turn %d: %d %s", n, ans.status, ans.body)
				}
			}
			if got := l.emitted(); len(got) != 0 {
				t.Errorf("events %v", got)
			}
			if g := l.last().row().Guards; g != nil {
				t.Errorf("the row has guards %v", g)
			}
		})
	}
}

// fieldsOf are the fields of an event as JSON.
func fieldsOf(ev drey.Event) []byte {
	b, _ := ev.MarshalJSON()
	return b
}

// A warning changes nothing for the caller: it is journaled, and the row has
// it.
func TestGuardsThatWarn(t *testing.T) {
	g := breaking
	g.Tools.Cap.Action, g.Tools.Loop.Action = guard.Warn, guard.Warn
	for _, w := range callers {
		l := guarding(t, near(w), g)
		body := session(w, true, append(steps(50), repeated(4, bash)...)...)
		a := l.ask(t.Context(), w, body)
		if text, complete := a.text(w); text != "hi" || !complete {
			t.Errorf("%v: %d %s", w, a.status, a.body)
		}
		if got := l.emitted(); !slices.Equal(got, []string{"tool-count-exceeded", "tool-loop-detected"}) {
			t.Errorf("%v: events %v", w, got)
		}
		want := []guard.Trip{{Guard: "tool_cap", Action: "warn"}, {Guard: "tool_loop", Action: "warn"}}
		if got := l.last().Guards; !slices.Equal(got, want) {
			t.Errorf("%v: guards %v", w, got)
		}
		if strings.Contains(string(l.fakes["only"].Calls()[0].Body), "[drey:") {
			t.Error("a hint without inject")
		}
	}
}

// A hint goes to every provider that is tried, on its wire, and stands where
// the model reads it last.
func TestGuardsThatInject(t *testing.T) {
	g := breaking
	g.Tools.Cap.Action, g.Tools.Loop.Action = guard.Inject, guard.Inject
	for _, w := range callers {
		for _, first := range bothWires {
			l := newLab(t, func(s *Settings) {
				g.Tools.Profile = "default"
				s.Profiles[0].Guards = g
			}, scripted{id: "first", wire: first, script: fake.Always(fake.ServerError())},
				scripted{id: "second", wire: drey.WireAnthropic, script: hello("hi")})
			a := l.ask(t.Context(), w, session(w, false, append(steps(50), repeated(4, bash)...)...))
			if text, _ := a.text(w); text != "hi" {
				t.Fatalf("%v: %d %s", w, a.status, a.body)
			}
			for id, f := range l.fakes {
				if n := len(f.Calls()); n != 1 {
					t.Fatalf("%s was called %d times", id, n)
				}
				body := f.Calls()[0].Body
				last := gjson.GetBytes(body, "messages").Array()
				said := last[len(last)-1].Raw
				if strings.Count(string(body), "[drey: ") != 2 || strings.Count(said, "[drey: ") != 2 {
					t.Errorf("%v by way of %v: %s is told %s", w, first, id, said)
				}
			}
			if want := []guard.Trip{{Guard: "tool_cap", Action: "inject"}, {Guard: "tool_loop", Action: "inject"}}; !slices.Equal(l.last().Guards, want) {
				t.Errorf("guards %v", l.last().Guards)
			}
		}
	}
}

// A secret that a model has made a tool's name of is nobody else's.
func TestGuardsHideSecrets(t *testing.T) {
	l := guarding(t, drey.WireChat, breaking)
	l.ask(t.Context(), drey.WireChat, session(drey.WireChat, false, repeated(3, toolCall{"HUSH-key", "{}"})...))
	r := l.last()
	if ev := string(fieldsOf(l.events[0])); strings.Contains(ev+r.Error, "HUSH") || !strings.Contains(ev, "[redacted]-key") || !strings.Contains(r.Error, "[redacted]-key") {
		t.Errorf("%s %s", ev, r.Error)
	}
}

// What is no generation is not guarded.
func TestWhatIsNotGuarded(t *testing.T) {
	for _, w := range []drey.Wire{drey.WireAnthropic, drey.WireResponses} {
		l := guarding(t, near(w), breaking)
		rec := httptest.NewRecorder()
		l.CountTokens(t.Context(), rec, &Request{ID: "req_0123456789abcdefghijklmn", Wire: w, Body: []byte(session(w, false, steps(51)...))})
		if rec.Code != 200 || len(l.emitted()) > 0 {
			t.Errorf("%v: %d %s, events %v", w, rec.Code, rec.Body, l.emitted())
		}
	}
	l := guarding(t, drey.WireChat, breaking)
	rec := httptest.NewRecorder()
	l.Embed(t.Context(), rec, &Request{ID: "req_0123456789abcdefghijklmn", Wire: drey.WireChat, Body: []byte(`{"model":"m","input":"x","messages":` + gjson.Get(session(drey.WireChat, false, steps(51)...), "messages").Raw + `}`)})
	if got := l.emitted(); slices.Contains(got, "tool-count-exceeded") || l.last().Guards != nil || strings.Contains(rec.Body.String(), "tool_count") {
		t.Errorf("%d %s, events %v", rec.Code, rec.Body, got)
	}
}
