package fake

import (
	"net/http"
	"strings"
	"testing"
)

// TestModel: each habit shows, and no other.
func TestModel(t *testing.T) {
	ask := func(text string) string {
		return `{"model":"m","messages":[{"role":"user","content":` + quote(text) + `}]}`
	}
	long := "The code word is OAK." + strings.Repeat(" acorn", 3000) + " What is the code word?"
	tool := `{"model":"m","tools":[{"type":"function","function":{"name":"echo"}}],"messages":[{"role":"user","content":"Call it with \"oak\" and \"elm\"."}]}`
	image := `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,"}},{"type":"text","text":"what colour?"}]}]}`
	think := `{"model":"m","reasoning_effort":"low","messages":[{"role":"user","content":"why?"}]}`
	system := `{"model":"m","messages":[{"role":"system","content":"You are a squirrel."},{"role":"user","content":"hello"}]}`
	tests := []struct {
		name   string
		model  Model
		body   string
		status int
		want   []string // in the answer
		never  string
	}{
		{"it counts", Model{}, ask("Count from 3 to 6."), 200, []string{`"3 4 5 6"`}, ""},
		{"it repeats a word", Model{}, ask(long), 200, []string{`"OAK"`}, ""},
		{"it loses the beginning", Model{Window: 1000}, ask(long), 200, []string{`"ok"`, `"prompt_tokens":1000`}, "OAK"},
		{"unless it is told to read more", Model{Window: 1000, HeedsNumCtx: true}, strings.Replace(ask(long), `{"model"`, `{"options":{"num_ctx":8000},"model"`, 1), 200, []string{`"OAK"`}, ""},
		{"it does not heed it", Model{Window: 1000}, strings.Replace(ask(long), `{"model"`, `{"options":{"num_ctx":8000},"model"`, 1), 200, []string{`"ok"`}, "OAK"},
		{"it is cut", Model{MaxChars: 3}, ask("Count from 3 to 6."), 200, []string{`"3 4"`, `"length"`}, ""},
		{"unless it is told not to", Model{MaxChars: 3, HeedsNumPredict: true}, strings.Replace(ask("Count from 3 to 6."), `{"model"`, `{"options":{"num_predict":-1},"model"`, 1), 200, []string{`"3 4 5 6"`, `"stop"`}, ""},
		{"it calls tools", Model{}, tool, 200, []string{`"tool_calls":[`, `{\"text\":\"oak\"}`, `{\"text\":\"elm\"}`}, ""},
		{"it prints calls", Model{Tools: PrintsTools}, tool, 200, []string{"```json", `\"name\": \"echo\"`}, `"tool_calls":[`},
		{"it ignores tools", Model{Tools: IgnoresTools}, tool, 200, []string{`"ok"`}, `"tool_calls":[`},
		{"it refuses tools", Model{Tools: RefusesTools}, tool, 400, []string{"does not support tools"}, ""},
		{"it reasons unasked", Model{Thoughts: "Hm."}, ask("hello"), 200, []string{`"reasoning_content":"Hm."`}, ""},
		{"it writes around its text", Model{Prefix: "<think>x</think>", Suffix: "<|im_end|>"}, ask("hello"), 200, []string{`u003c|im_end|`}, ""},
		{"it reasons when asked", Model{Reasons: true}, think, 200, []string{`"reasoning_content"`}, ""},
		{"it refuses to", Model{}, think, 400, []string{"thinking"}, ""},
		{"it sees", Model{Sees: true}, image, 200, []string{"Red."}, ""},
		{"it refuses images", Model{}, image, 400, []string{"images"}, ""},
		{"it wants a key", Model{Key: "k"}, ask("hello"), 401, nil, ""},
		{"it has no such model", Model{Names: []string{"other"}}, ask("hello"), 404, []string{"not found"}, ""},
		{"it keeps nothing unmarked", Model{Keeps: true, Marked: true}, system, 200, []string{`"cached_tokens":0`}, ""},
		{"it keeps what it has read", Model{Keeps: true}, system, 200, []string{`"cached_tokens":6`}, ""},
		{"it keeps nothing", Model{}, system, 200, []string{`"cached_tokens":0`}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			up := New(Options{Script: tt.model.Script()})
			defer up.Close()
			c := &http.Client{Transport: up}
			post(t.Context(), c, "http://m"+chatPath, system) // it is read once before
			g := post(t.Context(), c, "http://m"+chatPath, tt.body)
			if g.err != nil || g.status != tt.status {
				t.Fatalf("%d, %v: %s", g.status, g.err, g.body)
			}
			for _, w := range tt.want {
				if !strings.Contains(g.body, w) {
					t.Errorf("no %s in %s", w, g.body)
				}
			}
			if tt.never != "" && strings.Contains(g.body, tt.never) {
				t.Errorf("%s in %s", tt.never, g.body)
			}
		})
	}
}

// TestModelStream: streams alone are spoiled, and only where they are to be.
func TestModelStream(t *testing.T) {
	m := Model{OnlyUsage: true, Stream: func(b Behaviour) Behaviour { return b.NoEndMark() }}
	up := New(Options{Script: m.Script()})
	defer up.Close()
	c := &http.Client{Transport: up}
	for body, whole := range map[string]bool{
		`{"stream":true,"stream_options":{"include_usage":true}}`: false,
		`{"stream":true}`: true,
	} {
		g := post(t.Context(), c, "http://m"+chatPath, body)
		if strings.Contains(g.body, "[DONE]") != whole {
			t.Errorf("%s: whole %v, got %s", body, whole, g.body)
		}
	}
}
