package openai

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

func txt(s string) wire.Block { return wire.Block{Kind: wire.Text, Text: s} }

func user(bs ...wire.Block) wire.Message { return wire.Message{Role: wire.User, Blocks: bs} }

func model(bs ...wire.Block) wire.Message { return wire.Message{Role: wire.Assistant, Blocks: bs} }

func called(id, name, input string) wire.Block {
	return wire.Block{Kind: wire.ToolUse, ID: id, Name: name, Input: json.RawMessage(input)}
}

func result(id string, content ...wire.Block) wire.Block {
	return wire.Block{Kind: wire.ToolResult, ID: id, Content: content}
}

var picture = wire.Block{Kind: wire.Image, MediaType: "image/png", Data: "iVBO"}

var paper = wire.Block{Kind: wire.Document, MediaType: "application/pdf", Data: "JVBE", Title: "plan.pdf"}

func TestEncodeMessages(t *testing.T) {
	cached := wire.Block{Kind: wire.Text, Text: "long", Cache: json.RawMessage(`{"type":"ephemeral"}`)}
	ask := user(txt("hi"))
	calls := model(called("a", "ls", `{"p": "."}`), called("b", "cat", `{}`))
	failed := result("a", txt("gone"))
	failed.IsError = true
	tests := []struct {
		name   string
		system []wire.Block
		in     []wire.Message
		to     wire.Target
		want   string // the messages
	}{
		{
			name:   "system blocks become one message, a line each, the provider's own line last",
			system: []wire.Block{txt("one"), txt("two")}, in: []wire.Message{ask},
			to:   wire.Target{AppendSystem: "three"},
			want: `[{"role":"system","content":"one\ntwo\nthree"},{"role":"user","content":"hi"}]`,
		},
		{
			name: "a provider's line makes a system message where there is none",
			in:   []wire.Message{ask}, to: wire.Target{AppendSystem: "be brief"},
			want: `[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}]`,
		},
		{
			name:   "a changing first block is stripped",
			system: []wire.Block{txt("x-anthropic-billing-header: cc_version=1"), txt("two")}, in: []wire.Message{ask},
			to:   wire.Target{StripLines: true},
			want: `[{"role":"system","content":"two"},{"role":"user","content":"hi"}]`,
		},
		{
			name:   "a changing first line is stripped",
			system: []wire.Block{txt("x-anthropic-billing-header: cc_version=1\ntwo")}, in: []wire.Message{ask},
			to:   wire.Target{StripLines: true},
			want: `[{"role":"system","content":"two"},{"role":"user","content":"hi"}]`,
		},
		{
			name: "a later system turn keeps its role for paid",
			in:   []wire.Message{ask, {Role: wire.System, Blocks: []wire.Block{txt("note")}}, model(txt("ok"))},
			to:   wire.Target{Price: drey.Paid},
			want: `[{"role":"user","content":"hi"},{"role":"system","content":"note"},{"role":"assistant","content":"ok"}]`,
		},
		{
			name: "a later system turn is a user's for local, merged with its neighbour",
			in:   []wire.Message{ask, {Role: wire.System, Blocks: []wire.Block{txt("note")}}, model(txt("ok"))},
			want: `[{"role":"user","content":"hi\nnote"},{"role":"assistant","content":"ok"}]`,
		},
		{
			name: "turns of one role stay apart for paid",
			in:   []wire.Message{ask, user(txt("there"))}, to: wire.Target{Price: drey.Paid},
			want: `[{"role":"user","content":"hi"},{"role":"user","content":"there"}]`,
		},
		{
			name: "turns of one role are merged for free",
			in:   []wire.Message{ask, user(picture), model(txt("a")), model(txt("b"))}, to: wire.Target{Price: drey.Free},
			want: `[{"role":"user","content":[{"type":"text","text":"hi"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBO"}}]},{"role":"assistant","content":"a\nb"}]`,
		},
		{
			name: "an image keeps its position",
			in:   []wire.Message{user(txt("before"), picture, txt("behind"), wire.Block{Kind: wire.Image, URL: "https://x/y.png"})},
			want: `[{"role":"user","content":[{"type":"text","text":"before"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBO"}},{"type":"text","text":"behind"},{"type":"image_url","image_url":{"url":"https://x/y.png"}}]}]`,
		},
		{
			name: "a document is a file for who reads documents",
			in:   []wire.Message{user(paper)}, to: wire.Target{Documents: true},
			want: `[{"role":"user","content":[{"type":"file","file":{"filename":"plan.pdf","file_data":"data:application/pdf;base64,JVBE"}}]}]`,
		},
		{
			name: "a document is a note for who does not",
			in:   []wire.Message{user(paper, txt("?"))},
			want: `[{"role":"user","content":"[document plan.pdf omitted: provider cannot read it]\n?"}]`,
		},
		{
			name: "a text document is text",
			in:   []wire.Message{user(wire.Block{Kind: wire.Document, MediaType: "text/plain", Text: "body"})},
			to:   wire.Target{Documents: true},
			want: `[{"role":"user","content":"body"}]`,
		},
		{
			name: "results stand behind the call in the order of the calls, before the turn's text",
			in:   []wire.Message{ask, calls, user(txt("and?"), result("b", txt("B1"), txt("B2")), failed)},
			want: `[{"role":"user","content":"hi"},{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"ls","arguments":"{\"p\": \".\"}"}},{"id":"b","type":"function","function":{"name":"cat","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"Error: gone"},{"role":"tool","tool_call_id":"b","content":"B1\nB2"},{"role":"user","content":"and?"}]`,
		},
		{
			name: "a call without a result gets one, a result without a call becomes text",
			in:   []wire.Message{model(called("a", "ls", "")), user(result("a", txt("ok"))), model(called("c", "ls", "{}")), user(result("a", txt("late")), result("zz", txt("lost")))},
			want: `[{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"ls","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"ok"},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"ls","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"[no result: interrupted]"},{"role":"user","content":"[result of ls] late\n[result of zz] lost"}]`,
		},
		{
			name: "one id used twice pairs in order",
			in:   []wire.Message{model(called("a", "ls", "{}"), called("a", "cat", "{}")), user(result("a", txt("1")), result("a", txt("2")))},
			want: `[{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"ls","arguments":"{}"}},{"id":"a","type":"function","function":{"name":"cat","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"1"},{"role":"tool","tool_call_id":"a","content":"2"}]`,
		},
		{
			name: "images of results follow all results, before the turn's text",
			in:   []wire.Message{calls, user(result("a", txt("shot"), picture), result("b", picture), txt("look"))},
			want: `[{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"ls","arguments":"{\"p\": \".\"}"}},{"id":"b","type":"function","function":{"name":"cat","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"shot\n[image 1: see next message]"},{"role":"tool","tool_call_id":"b","content":"[image 2: see next message]"},{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBO"}},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBO"}},{"type":"text","text":"look"}]}]`,
		},
		{
			name: "a prefix of an error is not doubled",
			in: []wire.Message{model(called("a", "ls", "{}")), user(func() wire.Block {
				b := result("a", txt("Error: gone"))
				b.IsError = true
				return b
			}())},
			want: `[{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"ls","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"Error: gone"}]`,
		},
		{
			name: "reasoning is not told to who does not take it",
			in:   []wire.Message{model(wire.Block{Kind: wire.Reasoning, Text: "hm"}, txt("ok"))},
			want: `[{"role":"assistant","content":"ok"}]`,
		},
		{
			name: "reasoning goes back to who takes it, but never another vendor's",
			in: []wire.Message{model(
				wire.Block{Kind: wire.Reasoning, Text: "hm"},
				wire.Block{Kind: wire.Reasoning, Text: "ours", Signature: wire.OwnSignature + "x"},
				wire.Block{Kind: wire.Reasoning, Text: "theirs", Signature: "EqQB"},
				wire.Block{Kind: wire.Redacted, Text: "secret"}, txt("ok"))},
			to:   wire.Target{ReasoningHistory: true},
			want: `[{"role":"assistant","content":"ok","reasoning_content":"hm\nours"}]`,
		},
		{
			name: "cache marks stay on parts where they are understood",
			in:   []wire.Message{user(cached, txt("q"))}, to: wire.Target{Cache: true},
			want: `[{"role":"user","content":[{"type":"text","text":"long","cache_control":{"type":"ephemeral"}},{"type":"text","text":"q"}]}]`,
		},
		{
			name: "cache marks are dropped elsewhere",
			in:   []wire.Message{user(cached, txt("q"))},
			want: `[{"role":"user","content":"long\nq"}]`,
		},
		{
			name: "nothing is escaped that need not be",
			in:   []wire.Message{user(txt("<a href=\"x\">&\u2028\n\x01"))},
			want: `[{"role":"user","content":"<a href=\"x\">&` + "\u2028" + `\n\u0001"}]`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			enc := encode(t, &wire.Request{Model: "m", System: tt.system, Messages: tt.in}, tt.to)
			if diff := cmp.Diff(`{"model":"m","messages":`+tt.want+`}`, string(enc.Body)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func encode(t *testing.T, r *wire.Request, to wire.Target) *wire.Encoded {
	t.Helper()
	enc, err := Chat{}.EncodeRequest(r, to)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(enc.Body) {
		t.Fatalf("no JSON: %s", enc.Body)
	}
	return enc
}

func TestEncodeFields(t *testing.T) {
	yes := true
	fn := wire.Tool{Name: "ls", Description: "list", Schema: json.RawMessage(`{"type":"object"}`)}
	const fnJSON = `{"type":"function","function":{"name":"ls","description":"list","parameters":{"type":"object"}}}`
	search := wire.Tool{Type: "web_search_20250305", Name: "web_search"}
	schema := &wire.Format{Type: "json_schema", Schema: json.RawMessage(`{"type":"object"}`), Strict: &yes}
	const schemaTool = `{"type":"function","function":{"name":"structured_output","description":"Give the final answer in this form.","parameters":{"type":"object"}}}`
	tests := []struct {
		name  string
		r     wire.Request
		to    wire.Target
		want  string // behind the messages
		notes []wire.Note
		tool  string
	}{
		{name: "no more than was asked", want: ``},
		{
			name: "a stream asks for its usage",
			r:    wire.Request{Stream: true}, want: `,"stream":true,"stream_options":{"include_usage":true}`,
		},
		{
			name: "a caller without a stream in front of a provider that streams",
			to:   wire.Target{Stream: true}, want: `,"stream":true,"stream_options":{"include_usage":true}`,
		},
		{
			name: "tools, a choice, one call",
			r:    wire.Request{Tools: []wire.Tool{fn, {Name: "bare", Strict: &yes}}, Choice: wire.Choice{Mode: wire.ChoiceTool, Name: "ls"}, OneCall: true},
			want: `,"tools":[` + fnJSON + `,{"type":"function","function":{"name":"bare","parameters":{"type":"object","properties":{}},"strict":true}}],"tool_choice":{"type":"function","function":{"name":"ls"}},"parallel_tool_calls":false`,
		},
		{
			name: "any is required", r: wire.Request{Tools: []wire.Tool{fn}, Choice: wire.Choice{Mode: wire.ChoiceAny}},
			want: `,"tools":[` + fnJSON + `],"tool_choice":"required"`,
		},
		{
			name: "server tools are skipped, and a choice of one is automatic",
			r:    wire.Request{Tools: []wire.Tool{fn, search}, Choice: wire.Choice{Mode: wire.ChoiceTool, Name: "web_search"}},
			want: `,"tools":[` + fnJSON + `],"tool_choice":"auto"`, notes: []wire.Note{{Event: "tool-skipped", Type: search.Type, Name: search.Name}},
		},
		{
			name: "without a tool left there is no choice",
			r:    wire.Request{Tools: []wire.Tool{search}, Choice: wire.Choice{Mode: wire.ChoiceAny}, OneCall: true},
			want: ``, notes: []wire.Note{{Event: "tool-skipped", Type: search.Type, Name: search.Name}},
		},
		{
			name: "sampling for local",
			r:    wire.Request{MaxTokens: 5, Temperature: json.RawMessage("0.50"), TopP: json.RawMessage("1"), TopK: json.RawMessage("40"), Stop: []string{"1", "2", "3", "4", "5"}, ChatOnly: []wire.ExtraField{{Key: "seed", Value: []byte("7")}}},
			want: `,"max_tokens":5,"temperature":0.50,"top_p":1,"top_k":40,"seed":7,"stop":["1","2","3","4","5"]`,
		},
		{
			name: "sampling for OpenAI itself",
			r:    wire.Request{MaxTokens: 5, TopK: json.RawMessage("40"), Stop: []string{"1", "2", "3", "4", "5"}, ChatOnly: []wire.ExtraField{{Key: "seed", Value: []byte("7")}}},
			to:   wire.Target{Price: drey.Paid, OpenAIHost: true, MaxTokensKey: "max_completion_tokens"},
			want: `,"max_completion_tokens":5,"stop":["1","2","3","4"]`,
		},
		{name: "a small budget is low", r: wire.Request{Thinking: wire.Thinking{Mode: "enabled", Budget: 4095}}, want: `,"reasoning_effort":"low"`},
		{name: "a middling budget is medium", r: wire.Request{Thinking: wire.Thinking{Mode: "enabled", Budget: 4096}}, want: `,"reasoning_effort":"medium"`},
		{name: "a large budget is high", r: wire.Request{Thinking: wire.Thinking{Mode: "enabled", Budget: 16384}}, want: `,"reasoning_effort":"high"`},
		{name: "an effort is itself", r: wire.Request{Thinking: wire.Thinking{Mode: "adaptive", Effort: "low"}}, want: `,"reasoning_effort":"low"`},
		{name: "no thinking is not told", r: wire.Request{Thinking: wire.Thinking{Mode: "disabled", Effort: "high"}}, want: ``},
		{
			name: "a schema where it is native", r: wire.Request{Format: schema}, to: wire.Target{JSONSchema: true},
			want: `,"response_format":{"type":"json_schema","json_schema":{"name":"answer","schema":{"type":"object"},"strict":true}}`,
		},
		{
			name: "any JSON where it is native", r: wire.Request{Format: &wire.Format{Type: "json_object"}}, to: wire.Target{JSONSchema: true},
			want: `,"response_format":{"type":"json_object"}`,
		},
		{
			name: "a schema as a forced tool elsewhere", r: wire.Request{Format: schema},
			want: `,"tools":[` + schemaTool + `],"tool_choice":{"type":"function","function":{"name":"structured_output"}}`, tool: "structured_output",
		},
		{
			name: "a schema beside tools leaves the model its tools", r: wire.Request{Format: schema, Tools: []wire.Tool{fn}},
			want: `,"tools":[` + fnJSON + `,` + schemaTool + `],"tool_choice":"required"`, tool: "structured_output",
		},
		{
			name: "dropped and extra fields", r: wire.Request{Temperature: json.RawMessage("1"), MaxTokens: 5},
			to:   wire.Target{Drop: []string{"temperature", "max_tokens"}, Extra: []wire.ExtraField{{Key: "temperature", Value: []byte("0.2")}, {Key: "num_ctx", Value: []byte("8192")}, {Key: "model", Value: []byte(`"x"`)}}},
			want: `,"temperature":0.2,"num_ctx":8192`,
		},
		{name: "who the user is stays here", r: wire.Request{User: "u-1"}, want: ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.r.Model = "asked"
			tt.r.Messages = []wire.Message{user(txt("hi"))}
			tt.to.Model = "served"
			enc := encode(t, &tt.r, tt.to)
			rest, ok := strings.CutPrefix(string(enc.Body), `{"model":"served","messages":[{"role":"user","content":"hi"}]`)
			if !ok {
				t.Fatalf("another beginning: %s", enc.Body)
			}
			if diff := cmp.Diff(tt.want+"}", rest); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.notes, enc.Notes); diff != "" {
				t.Error(diff)
			}
			if enc.SchemaTool != tt.tool {
				t.Errorf("SchemaTool = %q, want %q", enc.SchemaTool, tt.tool)
			}
		})
	}
}

// TestManyCalls holds the pairing of results to linear time.
func TestManyCalls(t *testing.T) {
	const n = 50_000
	var calls, results []wire.Block
	for range n {
		calls = append(calls, called("a", "ls", "{}"))
		results = append(results, result("a", txt("x")))
	}
	enc := encode(t, &wire.Request{Messages: []wire.Message{model(calls...), user(results...)}}, wire.Target{})
	if got := strings.Count(string(enc.Body), `"role":"tool"`); got != n {
		t.Errorf("%d results, want %d", got, n)
	}
}
