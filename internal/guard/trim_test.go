package guard_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/wire"
)

const head = "[earlier conversation trimmed to fit the context budget]"

// outline writes the parts of a body, one letter each: system, user, note, says,
// calls, results and reasoning.
func outline(t *testing.T, body []byte) string {
	t.Helper()
	var b struct{ Messages, Input []map[string]any }
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	var out strings.Builder
	for _, m := range append(b.Messages, b.Input...) {
		text, _ := json.Marshal(m)
		has := func(s string) bool { return bytes.Contains(text, []byte(s)) }
		letter := 'a' // says
		switch {
		case has(head):
			letter = 'N'
		case m["role"] == "system" || m["role"] == "developer":
			letter = 's'
		case m["type"] == "reasoning":
			letter = 't'
		case has(`tool_result`) || has(`_output"`) && m["role"] == nil || m["role"] == "tool":
			letter = 'r'
		case has(`tool_use`) || has(`"tool_calls":[`) || m["type"] == "function_call":
			letter = 'c'
		case m["role"] == "user":
			letter = 'u'
		}
		out.WriteRune(letter)
	}
	return out.String()
}

// text is a user's text of about that many tokens.
func text(tokens int) string { return strings.Repeat("word", tokens) }

func TestTrim(t *testing.T) {
	talk := []step{user(text(300)), says(text(300)), user(text(300)), says(text(300)), user(text(300)), says("ok"), user("more")}
	work := []step{user(text(600)), bash(text(100)), bash(text(100)), bash(text(100)), bash(text(100))}
	keep := func(n int) guard.Budget { b := budget; b.KeepLast = n; return b }
	tests := []struct {
		name   string
		budget guard.Budget
		window int
		steps  []step
		want   map[drey.Wire]string // the outline; "" = nothing to leave out
	}{
		{"to a user's turn", keep(1), 1600, talk, map[drey.Wire]string{
			drey.WireAnthropic: "uauau", drey.WireChat: "suauau", drey.WireResponses: "uauau"}},
		{"the last ones stay", keep(6), 1600, talk, map[drey.Wire]string{
			drey.WireAnthropic: "Nauauau", drey.WireChat: "sNauauau", drey.WireResponses: "Nauauau"}},
		{"all of them stay", keep(7), 1600, talk, map[drey.Wire]string{}},
		{"none of them fits", keep(1), 100, talk, map[drey.Wire]string{
			drey.WireAnthropic: "Nau", drey.WireChat: "sNau", drey.WireResponses: "Nau"}},
		{"a note begins what has no user", keep(1), 1000, work, map[drey.Wire]string{
			drey.WireAnthropic: "Ncrcrcrcr", drey.WireChat: "sNcrcrcrcr", drey.WireResponses: "Ntcrtcrtcrtcr"}},
		{"calls go with their results", keep(1), 300, work, map[drey.Wire]string{
			drey.WireAnthropic: "Ncr", drey.WireChat: "sNcr", drey.WireResponses: "Ntcr"}},
		{"parallel calls too", keep(1), 200, []step{user(text(300)), calls(`A {}`, `B {}`, `C {}`)}, map[drey.Wire]string{
			drey.WireAnthropic: "Ncr", drey.WireChat: "sNcrrr", drey.WireResponses: "Ntcccrrr"}},
		{"below the target", keep(1), 100_000, talk, map[drey.Wire]string{}},
		{"unknown window", keep(1), 0, talk, map[drey.Wire]string{}},
	}
	for _, tt := range tests {
		for _, of := range wires {
			t.Run(tt.name+"/"+of.String(), func(t *testing.T) {
				body := conversation(of, tt.steps...)
				before := bytes.Clone(body)
				got := guard.Trim(codecs[of], body, fit(t, of, body, tt.window), tt.budget)
				if !bytes.Equal(body, before) {
					t.Error("the body was changed")
				}
				if tt.want[of] == "" {
					if got.Body != nil || got.Dropped != 0 {
						t.Errorf("%d left out: %s", got.Dropped, outline(t, got.Body))
					}
					return
				}
				if d := cmp.Diff(tt.want[of], outline(t, got.Body)); d != "" {
					t.Fatal(d)
				}
				all := len(strings.Trim(outline(t, body), "s"))
				if stay := len(strings.Trim(tt.want[of], "sN")); got.Dropped != all-stay {
					t.Errorf("%d left out of %d, and %d are there", got.Dropped, all, stay)
				}
				if _, err := codecs[of].DecodeRequest(got.Body); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func fit(t interface{ Fatal(...any) }, of drey.Wire, body []byte, window int) guard.Fit {
	h, err := codecs[of].Peek(body)
	if err != nil {
		t.Fatal(err)
	}
	return guard.Fit{Estimate: h.Tokens, MaxTokens: h.MaxTokens, Window: window}
}

// TestTrimOddForms holds what no conversation of the lab has.
func TestTrimOddForms(t *testing.T) {
	long := text(200)
	tests := []struct {
		name       string
		of         drey.Wire
		body, want string
	}{
		{"space and other fields stay", drey.WireAnthropic,
			`{ "model":"m", "messages" : [ {"role":"user","content":"` + long + `"} , {"role":"user","content":"b"}, {"role":"assistant","content":"a"} ], "max_tokens":1.0 }`,
			`{ "model":"m", "messages" : [ {"role":"user","content":"b"}, {"role":"assistant","content":"a"} ], "max_tokens":1.0 }`},
		{"system messages at the front stay, later ones go", drey.WireAnthropic,
			`{"messages":[{"role":"system","content":"s"},{"role":"user","content":"a"},{"role":"system","content":"` + long + `"},{"role":"user","content":"b"}]}`,
			`{"messages":[{"role":"system","content":"s"},{"role":"user","content":"b"}]}`},
		{"developers are systems", drey.WireResponses,
			`{"input":[{"role":"developer","content":"s"},{"role":"user","content":"x"},{"role":"assistant","content":"` + long + `"},{"role":"user","content":"b"}]}`,
			`{"input":[{"role":"developer","content":"s"},{"role":"user","content":"b"}]}`},
		{"the form of 2023", drey.WireChat,
			`{"messages":[{"role":"user","content":"` + long + `"},{"role":"assistant","content":"","function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":"r"}]}`,
			`{"messages":[{"role":"user","content":"` + head + `"},{"role":"assistant","content":"","function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":"r"}]}`},
		{"an id that comes again is the latest call's", drey.WireChat,
			`{"messages":[{"role":"assistant","tool_calls":[{"id":"t"}]},{"role":"tool","tool_call_id":"t","content":"` + long + `"},{"role":"assistant","tool_calls":[{"id":"t"}]},{"role":"tool","tool_call_id":"t","content":"r"}]}`,
			`{"messages":[{"role":"user","content":"` + head + `"},{"role":"assistant","tool_calls":[{"id":"t"}]},{"role":"tool","tool_call_id":"t","content":"r"}]}`},
		{"items of other tools", drey.WireResponses,
			`{"input":[{"role":"user","content":"` + long + `"},{"type":"local_shell_call","call_id":"t"},{"type":"local_shell_call_output","call_id":"t","output":"r"}]}`,
			`{"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"` + head + `"}]},{"type":"local_shell_call","call_id":"t"},{"type":"local_shell_call_output","call_id":"t","output":"r"}]}`},
		{"input in one string cannot be", drey.WireResponses, `{"input":"` + long + `"}`, ""},
		{"one message cannot be", drey.WireChat, `{"messages":[{"role":"user","content":"` + long + `"}]}`, ""},
		{"nothing but one system", drey.WireChat, `{"messages":[{"role":"system","content":"` + long + `"}]}`, ""},
		{"no JSON", drey.WireChat, `{"messages":[{"role":"user","content":"` + long + `"},{"role":"user","content":"b"}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := budget
			b.KeepLast = 0
			got := guard.Trim(codecs[tt.of], []byte(tt.body), guard.Fit{Estimate: 210, Window: 200}, b)
			if d := cmp.Diff(tt.want, string(got.Body)); d != "" {
				t.Error(d)
			}
		})
	}
}

// drawSteps draws a conversation as agents hold it.
func drawSteps(t *rapid.T, n int) []step {
	steps := []step{user(text(rapid.IntRange(1, 400).Draw(t, "task")))}
	for range n {
		size := rapid.IntRange(1, 80).Draw(t, "size")
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			steps = append(steps, says(text(size)), user(text(size)))
		case 1:
			steps = append(steps, calls(`A {"x":"`+text(size)+`"}`, `B {}`))
		default:
			steps = append(steps, bash(text(size)))
		}
	}
	return steps
}

// TestTrimmedIsSound holds for any conversation what must be true of a trimmed
// one.
func TestTrimmedIsSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		of := rapid.SampledFrom(wires).Draw(t, "wire")
		body := conversation(of, drawSteps(t, rapid.IntRange(1, 60).Draw(t, "steps"))...)
		b := budget
		b.KeepLast = rapid.IntRange(1, 10).Draw(t, "keep")
		f := fit(t, of, body, rapid.IntRange(200, 4000).Draw(t, "window"))
		f.Factor = guard.Factor{Ratio: rapid.Float64Range(.5, 2).Draw(t, "factor")}
		got := guard.Trim(codecs[of], body, f, b)
		if got.Body == nil {
			if got.Dropped != 0 {
				t.Fatal("no body, and something left out")
			}
			return
		}
		before, after := partsOf(t, body), partsOf(t, got.Body)
		if of == drey.WireChat {
			if after[0] != before[0] {
				t.Fatal("the system message is gone")
			}
			before, after = before[1:], after[1:]
		}
		if strings.Contains(after[0], head) {
			after = after[1:]
			if first := after[0]; strings.Contains(first, `"role":"user"`) && !strings.Contains(first, "tool_result") {
				t.Fatalf("a note before a user's turn: %s", first)
			}
		} else if first := after[0]; !strings.Contains(first, `"role":"user"`) || strings.Contains(first, "tool_result") {
			t.Fatalf("it begins with %s", first)
		}
		if len(after) != len(before)-got.Dropped || len(after) < b.KeepLast {
			t.Fatalf("%d of %d parts are left, %d left out, %d to keep", len(after), len(before), got.Dropped, b.KeepLast)
		}
		for i, p := range after {
			if p != before[got.Dropped+i] {
				t.Fatal("what stays was changed")
			}
		}
		// Every result that stays has its call.
		for id := range 200 {
			quoted := fmt.Sprintf(`"t%d"`, id)
			uses, results := 0, 0
			for _, p := range after {
				switch {
				case strings.Contains(p, `_use_id":`+quoted), strings.Contains(p, `"tool_call_id":`+quoted), strings.Contains(p, `_output"`) && strings.Contains(p, quoted):
					results++
				case strings.Contains(p, quoted):
					uses++
				}
			}
			if uses != results {
				t.Fatalf("call %d: %d calls, %d results", id, uses, results)
			}
		}
		// The note is not counted, and each part is rounded up.
		now := fit(t, of, got.Body, f.Window)
		now.Factor = f.Factor
		if d := now.Used() - got.Tokens; d < 0 || d > 40+2*got.Dropped {
			t.Fatalf("said to take %d tokens, and takes %d", got.Tokens, now.Used())
		}
	})
}

func partsOf(t *rapid.T, body []byte) []string {
	var b struct{ Messages, Input []json.RawMessage }
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	var out []string
	for _, p := range append(b.Messages, b.Input...) {
		out = append(out, string(p))
	}
	return out
}

// TestCutsMoveInSteps holds that a growing conversation keeps its first message
// until it has grown by a quarter of the window.
func TestCutsMoveInSteps(t *testing.T) {
	for _, of := range wires {
		const window = 1500
		steps := []step{user(text(100))}
		cuts, trimmed, was := 0, 0, -1
		for n := range 150 {
			steps = append(steps, bash(fmt.Sprint(text(20), n)))
			body := conversation(of, steps...)
			f := fit(t, of, body, window)
			// The factor learns all the while, a little this way and that.
			f.Factor = guard.Factor{Ratio: 1.07 + .05*float64(n%3)}
			if !budget.Check(f).Full {
				continue
			}
			got := guard.Trim(codecs[of], body, f, budget)
			if got.Body == nil {
				t.Fatalf("%v: not trimmed at %d", of, n)
			}
			if trimmed++; got.Dropped != was {
				cuts++
				was = got.Dropped
			}
			if float64(got.Tokens) > budget.Target*window {
				t.Fatalf("%v: %d tokens are left", of, got.Tokens)
			}
		}
		last := fit(t, of, conversation(of, steps...), window)
		quarters := int(float64(last.Estimate)*1.2) / (window / 4)
		if cuts > quarters || trimmed < 5*cuts {
			t.Errorf("%v: %d trimmed bodies with %d cuts over %d quarters", of, trimmed, cuts, quarters)
		}
	}
}

// TestTrimCountsAsTheCodecDoes holds that there is one estimate: the parts of a
// body are no more and no less than the whole, but for rounding.
func TestTrimCountsAsTheCodecDoes(t *testing.T) {
	var _ guard.Peeker = wire.Codec(nil)
	for _, of := range wires {
		body := conversation(of, append([]step{user(text(999))}, repeat(50, bash(text(30)))...)...)
		f := fit(t, of, body, 1000)
		got := guard.Trim(codecs[of], body, f, budget)
		after := fit(t, of, got.Body, 1000)
		if d := after.Used() - got.Tokens; d < 0 || d > 150 {
			t.Errorf("%v: said %d, is %d", of, got.Tokens, after.Used())
		}
	}
}
