package guard_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/guard"
)

func TestAddHint(t *testing.T) {
	const hint = `say "so"`
	tests := []struct {
		name       string
		of         drey.Wire
		body, want string // want "" = the body takes none
	}{
		{"a user's string", drey.WireAnthropic, `{"messages":[{"role":"user","content":"hi"}]}`, `{"messages":[{"role":"user","content":"hi\n\nsay \"so\""}]}`},
		{"an empty string", drey.WireAnthropic, `{"messages":[{"role":"user","content":""}]}`, `{"messages":[{"role":"user","content":"say \"so\""}]}`},
		{"behind results", drey.WireAnthropic, `{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t"} ]}],"z":1}`,
			`{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t"} ,{"type":"text","text":"say \"so\""}]}],"z":1}`},
		{"an empty list", drey.WireAnthropic, `{"messages":[{"content":[ ],"role":"user"}]}`, `{"messages":[{"content":[ {"type":"text","text":"say \"so\""}],"role":"user"}]}`},
		{"not to what the model began", drey.WireAnthropic, `{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"{"}]}`,
			`{"messages":[{"role":"user","content":"hi\n\nsay \"so\""},{"role":"assistant","content":"{"}]}`},
		{"not to the system", drey.WireAnthropic, `{"system":"s","messages":[{"role":"system","content":"x"}]}`, ""},
		{"a tool's string", drey.WireChat, `{"messages":[{"role":"user","content":"hi"},{"role":"tool","tool_call_id":"t","content":"ok"}]}`,
			`{"messages":[{"role":"user","content":"hi"},{"role":"tool","tool_call_id":"t","content":"ok\n\nsay \"so\""}]}`},
		{"a user's parts", drey.WireChat, `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"u"}}]}]}`,
			`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"u"}},{"type":"text","text":"say \"so\""}]}]}`},
		{"null takes none", drey.WireChat, `{"messages":[{"role":"user","content":null}]}`, ""},
		{"the input itself", drey.WireResponses, `{"input": "hi" }`, `{"input": "hi\n\nsay \"so\"" }`},
		{"an output string", drey.WireResponses, `{"input":[{"role":"user","content":"hi"},{"type":"function_call_output","call_id":"t","output":"ok"}]}`,
			`{"input":[{"role":"user","content":"hi"},{"type":"function_call_output","call_id":"t","output":"ok\n\nsay \"so\""}]}`},
		{"output parts", drey.WireResponses, `{"input":[{"output":[{"type":"input_text","text":"ok"}],"call_id":"t","type":"custom_tool_call_output"}]}`,
			`{"input":[{"output":[{"type":"input_text","text":"ok"},{"type":"input_text","text":"say \"so\""}],"call_id":"t","type":"custom_tool_call_output"}]}`},
		{"a message", drey.WireResponses, `{"input":[{"type":"message","role":"user","content":[]},{"type":"reasoning","content":[]}]}`,
			`{"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"say \"so\""}]},{"type":"reasoning","content":[]}]}`},
		{"no JSON", drey.WireChat, `{"messages":[{"role":"user","content":"hi"}]`, ""},
		{"nobody said anything", drey.WireChat, `{"messages":[]}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := guard.AddHint(tt.of, []byte(tt.body), hint)
			want := tt.want
			if want == "" {
				want = tt.body
			}
			if d := cmp.Diff(want, string(got)); d != "" || ok != (tt.want != "") {
				t.Error(ok, d)
			}
		})
	}
	if _, ok := guard.AddHint(drey.WireResponses, []byte(`{"input":"hi"}`), ""); ok {
		t.Error("no hint was added")
	}
}

// TestHintsAreRead holds that what was added is what the codec reads of it.
func TestHintsAreRead(t *testing.T) {
	for _, of := range wires {
		body := conversation(of, user("hi"), bash("x"), bash("x"), bash("x"))
		v := guard.Inspect(of, body, guard.Policy{Loop: guard.Loop{Action: guard.Inject, Window: 20, Threshold: 3}})
		with, ok := guard.AddHint(of, body, v.Hint)
		if !ok || !json.Valid(with) {
			t.Fatalf("%v: %s", of, with)
		}
		before, err := codecs[of].DecodeRequest(body)
		if err != nil {
			t.Fatal(err)
		}
		after, err := codecs[of].DecodeRequest(with)
		if err != nil {
			t.Fatal(err)
		}
		if len(after.Messages) != len(before.Messages) {
			t.Errorf("%v: another message", of)
		}
		last, _ := json.Marshal(after.Messages[len(after.Messages)-1])
		text, _ := json.Marshal(v.Hint)
		if !strings.Contains(string(last), strings.Trim(string(text), `"`)) {
			t.Errorf("%v: the last message is without the hint: %s", of, last)
		}
	}
}
