package guard_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/guard"
)

var (
	loop = guard.Loop{Action: guard.Warn, Window: 20, Threshold: 3}
	cap5 = guard.Cap{Action: guard.Warn, Limit: 5}
)

// told writes events as a person reads them in a test.
func told(events []drey.Event) string {
	var lines []string
	for _, ev := range events {
		lines = append(lines, told1(ev))
	}
	return strings.Join(lines, "\n")
}

func told1(ev drey.Event) string {
	line := ev.Name
	for _, f := range ev.Fields {
		line += fmt.Sprintf(" %s=%v", f.Key, f.Value)
	}
	return line
}

func TestLoops(t *testing.T) {
	a, b, c, d := bash("a"), bash("b"), bash("c"), bash("d")
	tests := []struct {
		name  string
		loop  guard.Loop
		steps []step
		want  string // tool count period; "" = none
	}{
		{"nothing", loop, []step{user("hi")}, ""},
		{"two are none", loop, []step{user("hi"), a, a}, ""},
		{"three are one", loop, []step{user("hi"), a, a, a}, "Bash 3 1"},
		{"the run counts on", loop, append([]step{user("hi"), b}, repeat(7, a)...), "Bash 7 1"},
		{"no further than the window", loop, append([]step{user("hi")}, repeat(30, a)...), "Bash 20 1"},
		{"a loop that was left is none", loop, []step{user("hi"), a, a, a, b}, ""},
		{"other arguments", loop, []step{user("hi"), a, a, b, a}, ""},
		{"another tool", loop, []step{user("hi"), calls(`A {}`), calls(`B {}`), calls(`A {}`)}, ""},
		{"two in turn", loop, []step{user("hi"), a, b, a, b, a, b}, "Bash 3 2"},
		{"two in turn, not yet", loop, []step{user("hi"), b, a, b, a, b}, ""},
		{"three in turn", loop, []step{user("hi"), a, b, c, a, b, c, a, b, c}, "Bash 3 3"},
		{"four in turn", loop, []step{user("hi"), a, b, c, d, a, b, c, d, a, b, c, d}, "Bash 3 4"},
		{"five in turn are not looked for", loop, slices.Repeat([]step{a, b, c, d, bash("e")}, 4), ""},
		{"a cycle that needs more than the window", guard.Loop{Action: guard.Warn, Window: 5, Threshold: 3}, []step{a, b, a, b, a, b}, ""},
		{"the window limits the repeats of a cycle", guard.Loop{Action: guard.Warn, Window: 7, Threshold: 3}, slices.Repeat([]step{a, b}, 9), "Bash 3 2"},
		{"parallel calls are calls", loop, []step{user("hi"), calls(`Bash {"command":"a"}`, `Bash {"command":"a"}`, `Bash {"command":"a"}`)}, "Bash 3 1"},
		{"a user who speaks gets out", loop, []step{user("hi"), a, a, user("again"), a}, ""},
		{"and may run into the next", loop, []step{user("hi"), a, a, user("again"), a, a, a}, "Bash 3 1"},
		{"what the agent says does not end a loop", loop, []step{user("hi"), a, a, says("hm"), a}, "Bash 3 1"},
		{"key order and space mean nothing", loop, []step{user("hi"),
			calls(`E {"a":1,"b":{"x":[1,2],"y":"é"}}`), calls("E {\"b\": {\"y\":\"\\u00e9\",\"x\":[ 1 ,2]}, \"a\":1}"), calls(`E {"a":1,"b":{"x":[1,2],"y":"é"}}`)}, "E 3 1"},
		{"the order of a list does", loop, []step{user("hi"), calls(`E {"a":[1,2]}`), calls(`E {"a":[2,1]}`), calls(`E {"a":[1,2]}`)}, ""},
		{"so does the kind of a value", loop, []step{user("hi"), calls(`E {"a":1}`), calls(`E {"a":"1"}`), calls(`E {"a":1}`)}, ""},
		{"of equal keys the last one counts", loop, []step{user("hi"), calls(`E {"a":1}`), calls(`E {"a":2,"a":1}`), calls(`E {"a":1}`)}, "E 3 1"},
		{"threshold two", guard.Loop{Action: guard.Warn, Window: 20, Threshold: 2}, []step{a, a}, "Bash 2 1"},
		{"off", guard.Loop{Window: 20, Threshold: 3}, repeat(9, a), ""},
	}
	for _, tt := range tests {
		for _, of := range wires {
			t.Run(tt.name+"/"+of.String(), func(t *testing.T) {
				v := guard.Inspect(of, conversation(of, tt.steps...), guard.Policy{Profile: "p", Loop: tt.loop})
				want := ""
				if tt.want != "" {
					var tool string
					var count, period int
					if _, err := fmt.Sscan(tt.want, &tool, &count, &period); err != nil {
						t.Fatal(err)
					}
					want = fmt.Sprintf("tool-loop-detected profile=p tool_name=%s repeat_count=%d threshold=%d window=%d period=%d action=warn",
						tool, count, tt.loop.Threshold, tt.loop.Window, period)
				}
				if d := cmp.Diff(want, told(v.Events)); d != "" {
					t.Error(d)
				}
				if v.Refusal != nil || v.Hint != "" {
					t.Error("warning does more than warn")
				}
			})
		}
	}
}

// TestLoopsOfOddForms holds what no conversation of the lab has.
func TestLoopsOfOddForms(t *testing.T) {
	three := func(before, s, after string) []byte { return []byte(before + s + "," + s + "," + s + after) }
	tests := []struct {
		name string
		of   drey.Wire
		body []byte
		tool string
	}{
		{"the type stands behind", drey.WireAnthropic, three(`{"messages":[{"role":"assistant","content":[`, `{"input":{},"name":"A","type":"tool_use"}`, `]}]}`), "A"},
		{"a call without arguments", drey.WireAnthropic, three(`{"messages":[{"role":"assistant","content":[`, `{"type":"tool_use","name":"A"}`, `]}]}`), "A"},
		{"a name with escapes", drey.WireAnthropic, three(`{"messages":[{"role":"assistant","content":[`, `{"type":"tool\u005fuse","name":"\u0041","input":{}}`, `]}]}`), "A"},
		{"a vendor's own tools are not the agent's", drey.WireAnthropic, three(`{"messages":[{"role":"assistant","content":[`, `{"type":"server_tool_use","name":"A","input":{}}`, `]}]}`), ""},
		{"arguments that are no JSON", drey.WireChat, three(`{"messages":[{"role":"assistant","tool_calls":[`, `{"function":{"name":"A","arguments":"{oops"}}`, `]}]}`), "A"},
		{"the form of 2023", drey.WireChat, three(`{"messages":[`, `{"role":"assistant","function_call":{"name":"A","arguments":"{}"}}`, `]}`), "A"},
		{"null is no call", drey.WireChat, three(`{"messages":[`, `{"role":"assistant","function_call":null,"tool_calls":null}`, `]}`), ""},
		{"custom tools", drey.WireChat, three(`{"messages":[{"role":"assistant","tool_calls":[`, `{"type":"custom","custom":{"name":"A","input":"free text"}}`, `]}]}`), "A"},
		{"custom tools", drey.WireResponses, three(`{"input":[`, `{"type":"custom_tool_call","name":"A","input":"free text"}`, `]}`), "A"},
		{"a namespace", drey.WireResponses, three(`{"input":[`, `{"type":"function_call","namespace":"mcp","name":"A","arguments":"{}"}`, `]}`), "mcp__A"},
		{"one name in two namespaces", drey.WireResponses, []byte(`{"input":[{"type":"function_call","namespace":"x","name":"A","arguments":"{}"},{"type":"function_call","namespace":"y","name":"A","arguments":"{}"},{"type":"function_call","namespace":"x","name":"A","arguments":"{}"}]}`), ""},
		{"a message without a type", drey.WireResponses, []byte(`{"input":[{"type":"function_call","name":"A"},{"type":"function_call","name":"A"},{"role":"user","content":"hi"},{"type":"function_call","name":"A"}]}`), ""},
		{"input in one string", drey.WireResponses, []byte(`{"input":"hi"}`), ""},
		{"a long name is cut", drey.WireChat, three(`{"messages":[{"role":"assistant","tool_calls":[`, `{"function":{"name":"`+strings.Repeat("é", 100)+`","arguments":"{}"}}`, `]}]}`), strings.Repeat("é", 64) + "…"},
		{"arguments too long to be read, written alike", drey.WireChat, three(`{"messages":[{"role":"assistant","tool_calls":[`, `{"function":{"name":"A","arguments":"`+strings.Repeat("x", 300<<10)+`"}}`, `]}]}`), "A"},
		{"no wire", drey.WireNone, three(`{"messages":[`, `{"role":"assistant","function_call":{"name":"A"}}`, `]}`), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name+"/"+tt.of.String(), func(t *testing.T) {
			v := guard.Inspect(tt.of, tt.body, guard.Policy{Loop: loop})
			got := ""
			for _, ev := range v.Events {
				got = ev.Fields[1].Value.(string)
			}
			if got != tt.tool {
				t.Errorf("found a loop of %q, want %q", got, tt.tool)
			}
		})
	}
}

// TestNightRuns holds that a session of 500 tool turns is stopped when it loops,
// in whichever way and wherever it begins to, at the very call; and that an
// honest one never is. Source: what must be seen of the guards, issue E.
func TestNightRuns(t *testing.T) {
	const turns = 500
	// The ways to loop: each returns the n-th step of the loop.
	ways := map[string]struct {
		period int
		step   func(n int) step
	}{
		"one call":    {1, func(int) step { return bash("make") }},
		"two in turn": {2, func(n int) step { return bash([]string{"make", "cat log"}[n%2]) }},
		"three in turn": {3, func(n int) step {
			return calls([]string{`Read {"p":1}`, `Edit {"p":1}`, `Bash {"command":"make"}`}[n%3])
		}},
		"four in turn": {4, func(n int) step { return bash([]string{"make", "ls", "make", "cat log"}[n%4]) }},
		"spelled anew": {1, func(n int) step {
			return calls([]string{`Edit {"old":"a","new":"b"}`, `Edit { "new" : "b", "old":"a"}`}[n%2])
		}},
	}
	// honest is a step that an agent makes which gets on: it reads and edits
	// one place after another, and runs the same tests again after each edit,
	// sometimes twice.
	honest := func(n int) []step {
		s := []step{calls(fmt.Sprintf(`Read {"path":"f%d.go"}`, n)), calls(fmt.Sprintf(`Edit {"path":"f%d.go","old":"a%d","new":"b"}`, n, n)), bash("go test ./...")}
		if n%5 == 0 {
			s = append(s, s[2])
		}
		return s
	}
	p := guard.Policy{Profile: "night", Loop: guard.Loop{Action: guard.Break, Window: 20, Threshold: 3}}
	rapid.Check(t, func(t *rapid.T) {
		of := rapid.SampledFrom(wires).Draw(t, "wire")
		var names []string
		for name := range ways {
			names = append(names, name)
		}
		slices.Sort(names)
		way := ways[rapid.SampledFrom(names).Draw(t, "way")]
		begin := rapid.IntRange(0, turns-4*3).Draw(t, "loops from")
		steps := []step{user("fix it all")}
		for n := rapid.IntRange(0, 1000).Draw(t, "place"); len(steps) <= turns; n++ {
			steps = append(steps, honest(n)...)
		}
		if v := guard.Inspect(of, conversation(of, steps[:turns+1]...), p); v.Refusal != nil {
			t.Fatalf("an honest session of %d turns is refused: %v", turns, v.Refusal)
		}
		// The last honest step may be a step of the loop by chance.
		steps = append(steps[:begin+1], bash("date"))
		last := 3*way.period - 1
		for n := range last {
			steps = append(steps, way.step(n))
		}
		if v := guard.Inspect(of, conversation(of, steps...), p); v.Refusal != nil {
			t.Fatalf("refused after %d calls of a loop of %d: %v", last, way.period, v.Refusal)
		}
		steps = append(steps, way.step(last))
		if guard.Inspect(of, conversation(of, steps...), p).Refusal == nil {
			t.Fatal("the loop goes on")
		}
		for n := 3 * way.period; len(steps) < turns+1; n++ {
			steps = append(steps, way.step(n))
		}
		if guard.Inspect(of, conversation(of, steps...), p).Refusal == nil {
			t.Fatal("after 500 turns the loop goes on")
		}
	})
}

func TestCap(t *testing.T) {
	five := repeat(5, calls(`A {}`))
	tests := []struct {
		name  string
		cap   guard.Cap
		steps []step
		count int // 0 = not told
	}{
		{"as many as allowed", cap5, five, 0},
		{"one more", cap5, append(five, bash("x")), 6},
		{"parallel ones are counted each", cap5, []step{calls(`A 1`, `A 2`, `A 3`, `A 4`, `A 5`, `A 6`, `A 7`)}, 7},
		{"a user who speaks changes nothing", cap5, append(append([]step{user("a")}, five...), user("b"), bash("x")), 6},
		{"but for the scope turn", guard.Cap{Action: guard.Warn, Limit: 5, Scope: guard.Turn}, append(append([]step{user("a")}, five...), user("b"), bash("x")), 0},
		{"which has a limit too", guard.Cap{Action: guard.Warn, Limit: 1, Scope: guard.Turn}, []step{user("a"), bash("x"), user("b"), bash("x"), bash("y")}, 2},
		{"no user at all is one turn", guard.Cap{Action: guard.Warn, Limit: 5, Scope: guard.Turn}, append(five, bash("x")), 6},
		{"no limit", guard.Cap{Action: guard.Break}, five, 0},
		{"off", guard.Cap{Limit: 1}, five, 0},
	}
	for _, tt := range tests {
		for _, of := range wires {
			t.Run(tt.name+"/"+of.String(), func(t *testing.T) {
				v := guard.Inspect(of, conversation(of, tt.steps...), guard.Policy{Profile: "p", Cap: tt.cap})
				want := ""
				if tt.count > 0 {
					want = fmt.Sprintf("tool-count-exceeded profile=p total_count=%d max_allowed=%d action=warn", tt.count, tt.cap.Limit)
				}
				if d := cmp.Diff(want, told(v.Events)); d != "" {
					t.Error(d)
				}
			})
		}
	}
}

// TestActions holds what each pair of actions comes to, where both guards find
// something.
func TestActions(t *testing.T) {
	body := conversation(drey.WireChat, repeat(6, bash("x"))...)
	for capAction := guard.Off; capAction <= guard.Break; capAction++ {
		for loopAction := guard.Off; loopAction <= guard.Break; loopAction++ {
			t.Run(capAction.String()+" "+loopAction.String(), func(t *testing.T) {
				v := guard.Inspect(drey.WireChat, body, guard.Policy{
					Profile: "p", Cap: guard.Cap{Action: capAction, Limit: 5}, Loop: guard.Loop{Action: loopAction, Window: 20, Threshold: 3},
				})
				var want []guard.Trip
				hints, code := 0, ""
				if capAction != guard.Off {
					want = append(want, guard.Trip{Guard: guard.GuardCap, Action: capAction.String()})
				}
				if capAction == guard.Inject {
					hints++
				}
				switch {
				case capAction == guard.Break:
					code = "tool_count_exceeded"
				case loopAction == guard.Break:
					code, hints, want = "tool_loop_detected", 0, append(want, guard.Trip{Guard: guard.GuardLoop, Action: "break"})
				case loopAction != guard.Off:
					want = append(want, guard.Trip{Guard: guard.GuardLoop, Action: loopAction.String()})
					if loopAction == guard.Inject {
						hints++
					}
				}
				if d := cmp.Diff(want, v.Tripped); d != "" || len(v.Events) != len(want) {
					t.Error(d, v.Events)
				}
				if got := strings.Count(v.Hint, "[drey: "); got != hints {
					t.Errorf("%d hints, want %d: %s", got, hints, v.Hint)
				}
				got := ""
				if v.Refusal != nil {
					got = v.Refusal.Code
				}
				if got != code {
					t.Errorf("refused with %q, want %q", got, code)
				}
				for _, ev := range v.Events {
					if ev.Level != drey.Warn || ev.Machine != "profile" || ev.ID != "p" {
						t.Errorf("%+v", ev)
					}
					if _, err := ev.MarshalJSON(); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}
