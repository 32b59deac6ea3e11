package autoroute

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/anthropic"
	"github.com/dreyhq/drey/internal/wire/openai"
)

func must(t testing.TB, source string) *Condition {
	t.Helper()
	c, err := Compile(source)
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return c
}

// request is a body with what its codec reads of it.
func request(t testing.TB, w drey.Wire, body string) Request {
	t.Helper()
	codec := map[drey.Wire]wire.Codec{drey.WireAnthropic: anthropic.Codec{}, drey.WireChat: openai.Chat{}, drey.WireResponses: openai.Responses{}}[w]
	head, err := codec.Peek([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return Request{Wire: w, Head: head, Body: []byte(body), Key: "team", Hour: 23}
}

// The same request on the three wires, with a tool result behind the user's
// words, an image and code.
var bodies = map[drey.Wire]string{
	drey.WireAnthropic: `{"model":"claude-x","max_tokens":9,"stream":true,"thinking":{"type":"enabled","budget_tokens":1024},
		"tools":[{"name":"Bash","input_schema":{}},{"name":"mcp__git__log","input_schema":{}}],
		"messages":[
		{"role":"user","content":"old"},{"role":"assistant","content":"ok"},
		{"content":[{"type":"text","text":"Fix it:\n` + "```go\\nx\\n```" + `\n"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}],"role":"user"},
		{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"Bash","input":{}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"secret of a tool"}]}]}]}`,
	drey.WireChat: `{"model":"claude-x","stream":true,"reasoning_effort":"high",
		"tools":[{"type":"function","function":{"name":"Bash"}},{"type":"function","function":{"name":"mcp__git__log"}}],
		"messages":[{"role":"system","content":"be brief"},
		{"role":"user","content":"old"},{"role":"assistant","content":"ok"},
		{"role":"user","content":[{"type":"text","text":"Fix it:\n` + "```go\\nx\\n```" + `\n"},{"type":"image_url","image_url":{"url":"data:"}}]},
		{"role":"assistant","tool_calls":[{"id":"t","type":"function","function":{"name":"Bash","arguments":"{}"}}]},
		{"role":"tool","tool_call_id":"t","content":"secret of a tool"}]}`,
	drey.WireResponses: `{"model":"claude-x","stream":true,"reasoning":{"effort":"high"},
		"tools":[{"type":"function","name":"Bash"},{"type":"function","name":"mcp__git__log"}],
		"input":[{"role":"user","content":"old"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"ok"}]},
		{"type":"message","role":"user","content":[{"type":"input_text","text":"Fix it:\n` + "```go\\nx\\n```" + `\n"},{"type":"input_image","image_url":"data:"}]},
		{"type":"function_call","call_id":"t","name":"Bash","arguments":"{}"},
		{"type":"function_call_output","call_id":"t","output":"secret of a tool"}]}`,
}

// What a condition sees does not depend on the wire.
func TestSignalsOnThreeWires(t *testing.T) {
	all := must(t, `text != "" and code_ratio > 0`)
	for w, body := range bodies {
		t.Run(w.String(), func(t *testing.T) {
			got := New([]Rule{{"all", all, "p"}}, "d").signals(request(t, w, body))
			if got.Tokens < 10 {
				t.Errorf("tokens = %d", got.Tokens)
			}
			want := Signals{
				Model: "claude-x", Text: "Fix it:\n```go\nx\n```\n", Tokens: got.Tokens, HasImage: true, HasTools: true,
				Tools: []string{"Bash", "mcp__git__log"}, CodeRatio: 12.0 / 20, Thinking: true, Stream: true, Turns: 2,
				Wire: w.String(), Key: "team", Hour: 23, ToolCount: 2, Code: got.Code,
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			told, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			for _, private := range []string{"Fix", "Bash"} {
				if strings.Contains(string(told), private) {
					t.Errorf("the event tells %q: %s", private, told)
				}
			}
			if !strings.Contains(string(told), `"code_ratio":0.6`) {
				t.Errorf("the event does not tell the share of code: %s", told)
			}
		})
	}
}

// A body is read a second time only where a rule looks at its text.
func TestTextIsReadOnlyWhereARuleLooksAtIt(t *testing.T) {
	req := request(t, drey.WireChat, bodies[drey.WireChat])
	if s := New([]Rule{{"a", must(t, "has_tools"), "p"}}, "d").signals(req); s.Text != "" || s.Code != nil {
		t.Errorf("the text was read: %+v", s)
	}
	if s := New([]Rule{{"a", must(t, `text contains "x"`), "p"}}, "d").signals(req); s.Text == "" || s.Code != nil {
		t.Errorf("the text was not read, or the share of code was: %+v", s)
	}
}

func TestChoose(t *testing.T) {
	r := New([]Rule{
		{"broken", must(t, `tools[0] == "x"`), "never"},
		{"long", must(t, `tokens > 30000`), "big"},
		{"code", must(t, `code_ratio >= 0.3 or text contains "stack trace"`), "coder"},
		{"mcp", must(t, `any(tools, # startsWith "mcp__") and hour >= 22`), "night"},
		{"all", must(t, `model matches "^(gpt|claude)-"`), "vendor"},
	}, "rest")
	ask := func(text, model string) string {
		b, _ := json.Marshal(map[string]any{"model": model, "messages": []any{map[string]any{"role": "user", "content": text}}})
		return string(b)
	}
	for name, tt := range map[string]struct {
		body    string
		rule    string
		profile drey.ProfileID
		failed  int
	}{
		"the first that is true counts": {ask(strings.Repeat("word ", 40000)+"stack trace", "gpt-5"), "long", "big", 1},
		"code":                          {ask("```\ncode\n```\n", "gpt-5"), "code", "coder", 1},
		"a word":                        {ask("what is this stack trace?", "x"), "code", "coder", 1},
		"tools at night":                {`{"model":"x","tools":[{"type":"function","function":{"name":"mcp__a"}}],"messages":[]}`, "mcp", "night", 0},
		"a model":                       {ask("hi", "claude-opus-4-1"), "all", "vendor", 1},
		"none":                          {ask("hi", "llama"), DefaultRule, "rest", 1},
	} {
		t.Run(name, func(t *testing.T) {
			v := r.Choose(request(t, drey.WireChat, tt.body))
			if v.Rule != tt.rule || v.Profile != tt.profile || len(v.Failed) != tt.failed {
				t.Errorf("got rule %s, profile %s, failures %v", v.Rule, v.Profile, v.Failed)
			}
			for _, f := range v.Failed {
				if f.Index != 0 || f.ID != "broken" || !strings.Contains(f.Err.Error(), "index out of range") {
					t.Errorf("failure %+v", f)
				}
			}
		})
	}
}

func TestCodeRatio(t *testing.T) {
	for text, want := range map[string]float64{
		"":                                    0,
		"no code, only `this` and ```that```": 0,
		"```\nx\n```\n":                       1,
		"ab\n```\nx\n```\n":                   10.0 / 13,
		"```\nnever closed":                   1,
		"~~~\n```\nx\n~~~\nab\n":              14.0 / 17,
		"````\n```\n````\nab\n":               14.0 / 17,
		"    ```\nindented code is no fence":  0,
		"   ```py\nx\n   ```\n":               1,
		"é\n```\né\n```\n":                    10.0 / 12,
	} {
		if got := codeRatio(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// What a condition sees is bounded, and cut between characters.
func TestSignalsAreBounded(t *testing.T) {
	long := "begin " + strings.Repeat("é", 3*maxText) + " end"
	b, _ := json.Marshal(map[string]any{"model": strings.Repeat("ü", 500), "messages": []any{map[string]any{"role": "user", "content": long}}})
	req := request(t, drey.WireChat, string(b))
	for range 2 * maxTools {
		req.Head.Tools = append(req.Head.Tools, strings.Repeat("ö", maxName))
	}
	s := New([]Rule{{"a", must(t, `text contains "x"`), "p"}}, "d").signals(req)
	if len(s.Text) > maxText || !strings.HasPrefix(s.Text, "begin é") || !strings.HasSuffix(s.Text, "é end") || strings.ContainsRune(s.Text, '\ufffd') {
		t.Errorf("the text is not its two ends: %d bytes", len(s.Text))
	}
	if len(s.Tools) != maxTools || len(s.Tools[maxTools-1]) != maxName || len(req.Head.Tools[0]) != 2*maxName || s.ToolCount != 2*maxTools {
		t.Error("the tools are not bounded, or the caller's were changed")
	}
	if len(s.Model) > maxWord || strings.ContainsRune(s.Model, '\ufffd') {
		t.Error("the model is not bounded")
	}
}

func TestLatestText(t *testing.T) {
	for body, want := range map[string]string{
		`{}`:                             "",
		`{"messages":5}`:                 "",
		`{"messages":[5,{}]}`:            "",
		`{"messages":[{"role":"user"}]}`: "",
		`{"messages":[{"role":"user","content":"a"},{"role":"user","content":" \n"}]}`:            "a",
		`{"messages":[{"role":"user","content":[{"text":"a"},{"text":"b"},{"text":5},7]}]}`:       "a\nb",
		`{"messages":[{"role":"user","content":"a"}],"messages":[{"role":"user","content":"b"}]}`: "b",
	} {
		if got := latestText(drey.WireChat, []byte(body)); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
	if got := latestText(drey.WireResponses, []byte(`{"input":"all of it"}`)); got != "all of it" {
		t.Errorf("got %q", got)
	}
}
