package guard_test

import (
	"encoding/json"
	"testing"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/guard"
)

// FuzzBodies holds what must be true of any body on any wire: the calls are
// those that a plain reading of the JSON finds, and what a guard changes is
// still JSON.
func FuzzBodies(f *testing.F) {
	for _, of := range wires {
		f.Add(conversation(of, user("hi"), bash("x"), calls(`A {"b":1,"a":[2]}`, `A {"a":[2],"b":1}`), user("go on"), says("yes"), bash("x")))
	}
	f.Add([]byte(`{"messages":[{"role":"user","content":[{"type":"tool_result"},{"type":"text"}]}],"input":"x"}`))
	f.Add([]byte(`{"messages":{"role":"user"},"messages":null,"input":[{"role":"user"},{"type":"custom_tool_call_output","output":[]}]}`))
	f.Add([]byte(`{"messages":[{"content":"","function_call":{"name":1,"arguments":{}}},[],null,"x",{"tool_calls":[{"function":null}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, of := range wires {
			v := guard.Inspect(of, body, guard.Policy{
				Cap: guard.Cap{Action: guard.Warn, Limit: 1}, Loop: guard.Loop{Action: guard.Inject, Window: 200, Threshold: 2},
			})
			if _, err := codecs[of].Peek(body); err != nil {
				continue
			}
			if n, ok := plainCount(of, body); ok {
				told := 0
				for _, ev := range v.Events {
					if ev.Name == "tool-count-exceeded" {
						told = ev.Fields[1].Value.(int)
					}
				}
				if n > 1 && told != n || n <= 1 && told != 0 {
					t.Fatalf("%v: %d calls counted, %d are there:\n%s", of, told, n, body)
				}
			}
			if with, ok := guard.AddHint(of, body, "hint"); ok && (!json.Valid(with) || len(with) <= len(body)) {
				t.Fatalf("%v: with a hint\n%s\nbecame\n%s", of, body, with)
			} else if !ok && string(with) != string(body) {
				t.Fatalf("%v: no hint, and changed", of)
			}
			h, _ := codecs[of].Peek(body)
			got := guard.Trim(codecs[of], body, guard.Fit{Estimate: h.Tokens, Window: max(1, h.Tokens/2)}, guard.Budget{Target: .5})
			if got.Body != nil && (!json.Valid(got.Body) || got.Dropped == 0) {
				t.Fatalf("%v: trimmed\n%s\nbecame\n%s", of, body, got.Body)
			}
		}
	})
}

// plainCount counts calls the plain way. ok is false where encoding/json reads
// a body otherwise than the house does: it takes keys of another case.
func plainCount(of drey.Wire, body []byte) (n int, ok bool) {
	var top map[string]any
	if json.Unmarshal(body, &top) != nil {
		return 0, false
	}
	object := func(v any) map[string]any { m, _ := v.(map[string]any); return m }
	list := func(v any) []any { l, _ := v.([]any); return l }
	if of == drey.WireResponses {
		for _, item := range list(top["input"]) {
			if kind := object(item)["type"]; kind == "function_call" || kind == "custom_tool_call" {
				n++
			}
		}
		return n, !twice(body)
	}
	for _, m := range list(top["messages"]) {
		m := object(m)
		if of == drey.WireAnthropic {
			for _, b := range list(m["content"]) {
				if object(b)["type"] == "tool_use" {
					n++
				}
			}
			continue
		}
		for _, c := range list(m["tool_calls"]) {
			for _, key := range []string{"function", "custom"} {
				if object(c)[key] != nil && object(object(c)[key]) != nil {
					n++
				}
			}
		}
		if object(m["function_call"]) != nil {
			n++
		}
	}
	return n, !twice(body)
}

// twice reports whether a body may have a key twice in one object, which the
// two readings need not agree on.
func twice(body []byte) bool {
	var v any
	_ = json.Unmarshal(body, &v)
	again, _ := json.Marshal(v)
	return countByte(again, ':') != countByte(body, ':')
}

func countByte(b []byte, c byte) (n int) {
	for _, x := range b {
		if x == c {
			n++
		}
	}
	return n
}
