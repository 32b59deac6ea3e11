package openai

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/dreyhq/drey/internal/wire/sse"
)

func TestResponsesDecodeRequest(t *testing.T) {
	yes := true
	body := `{
		"tools": [
			{"type": "function", "name": "ls", "description": "d", "parameters": {"type": "object"}, "strict": true},
			{"tools": [{"type": "function", "name": "echo"}, {"type": "namespace", "name": "deeper", "tools": [{"name": "x"}]}], "name": "ns", "type": "namespace"},
			{"type": "custom", "name": "patch", "format": {"type": "text"}},
			{"type": "local_shell"},
			{"type": "file_search", "vector_store_ids": ["v"]}],
		"model": "m", "stream": true, "max_output_tokens": 100, "temperature": 0.70, "top_p": null, "store": true, "metadata": {"a": "b"},
		"parallel_tool_calls": false, "reasoning": {"effort": "low", "summary": "detailed"}, "tool_choice": {"type": "function", "name": "echo", "namespace": "ns"},
		"text": {"format": {"type": "json_schema", "name": "s", "schema": {"type":"object"}, "strict": true}}, "previous_response_id": null,
		"input": [
			{"role": "developer", "content": "more"},
			{"role": "user", "content": [
				{"type": "input_image", "image_url": "data:image/png;base64,AAA", "detail": "low"},
				{"type": "input_image", "image_url": "https://x/y", "detail": "auto"},
				{"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,BBB"},
				{"type": "input_file", "file_url": "https://x/b.pdf"}]},
			{"role": "system", "content": "in place"},
			{"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}], "content": null, "encrypted_content": "gAAAA"},
			{"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "raw"}]},
			{"type": "reasoning", "summary": []},
			{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": ""}, {"type": "refusal", "refusal": "no"}]},
			{"arguments": "{\"p\": 1.0}", "call_id": "c1", "name": "ls", "type": "function_call", "id": "fc_1"},
			{"type": "function_call", "call_id": "c2", "name": "echo", "namespace": "ns", "arguments": ""},
			{"type": "image_generation_call", "id": "ig_1", "result": "AAAA"},
			{"type": "function_call_output", "call_id": "c1", "output": "1"},
			{"type": "function_call_output", "call_id": "c2", "output": {"content": "2", "success": true}},
			{"role": "user", "content": "go on"}
		],
		"instructions": "lead"}`
	want := &wire.Request{
		From: drey.WireResponses, Model: "m", Stream: true, WantUsage: true, MaxTokens: 100, Temperature: json.RawMessage("0.70"), OneCall: true,
		Thinking: wire.Thinking{Mode: "enabled", Effort: "low", Show: true}, Choice: wire.Choice{Mode: wire.ChoiceTool, Name: "ns__echo"},
		Format: &wire.Format{Type: "json_schema", Name: "s", Schema: json.RawMessage(`{"type":"object"}`), Strict: &yes},
		Tools: []wire.Tool{
			{Name: "ls", Description: "d", Schema: json.RawMessage(`{"type": "object"}`), Strict: &yes}, {Name: "ns__echo"}, {Type: "custom", Name: "patch"},
			{Name: "local_shell", Description: shellText, Schema: json.RawMessage(shellSchema)}, {Type: "file_search"},
		},
		Aliases: map[string]wire.Alias{
			"ns__echo": {Name: "echo", Namespace: "ns"}, "patch": {Name: "patch", Form: wire.CustomForm}, "local_shell": {Name: "local_shell", Form: wire.ShellForm},
		},
		Notes:  []wire.Note{{Event: "item-skipped", Type: "image_generation_call"}},
		System: []wire.Block{txt("lead"), txt("more")},
		Messages: []wire.Message{
			user(wire.Block{Kind: wire.Image, MediaType: "image/png", Data: "AAA", Detail: "low"}, wire.Block{Kind: wire.Image, URL: "https://x/y"},
				wire.Block{Kind: wire.Document, Title: "a.pdf", MediaType: "application/pdf", Data: "BBB"}, wire.Block{Kind: wire.Document, URL: "https://x/b.pdf"}),
			{Role: wire.System, Blocks: []wire.Block{txt("in place")}},
			model(wire.Block{Kind: wire.Reasoning, Text: "a\n\nb", Signature: "gAAAA"}, wire.Block{Kind: wire.Reasoning, Text: "raw"}, txt("no"),
				called("c1", "ls", `{"p": 1.0}`), called("c2", "ns__echo", `{}`)),
			user(result("c1", txt("1")), result("c2", txt("2"))),
			user(txt("go on")),
		},
	}
	got, err := Responses{}.DecodeRequest([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestResponsesDecodeRequestRefuses(t *testing.T) {
	for body, want := range map[string]string{
		`[]`:              "the body is a list",
		`{"model":"m"`:    "no JSON",
		`{"model":"m"}`:   "input: missing",
		`{"input":[]}`:    "input: empty",
		`{"input":5}`:     "input: is a number",
		`{"input":["x"]}`: "input[0]: is a string",
		`{"input":[{}]}`:  "input[0].type: missing",
		`{"input":[{"role":"user"},{"type":"message","content":"x"}]}`:                          "input[1].role: missing",
		`{"input":[{"role":"user","content":[{"type":"input_audio"}]}]}`:                        `input[0].content[0].type: "input_audio" does not translate`,
		`{"input":[{"role":"user","content":[{"type":"input_image","file_id":"f"}]}]}`:          "input[0].content[0].file_id: names a file of one vendor",
		`{"input":[{"role":"user","content":[{"type":"input_file","file_id":"f"}]}]}`:           "input[0].content[0].file_id: names a file of one vendor",
		`{"input":[{"role":"user","content":[{"type":"input_image"}]}]}`:                        "input[0].content[0].image_url: missing",
		`{"input":[{"type":"function_call","name":"x"}]}`:                                       "input[0].call_id: missing",
		`{"input":[{"type":"function_call","call_id":"x"}]}`:                                    "input[0].name: missing",
		`{"input":[{"type":"function_call_output","output":"x"}]}`:                              "input[0].call_id: missing",
		`{"input":[{"type":"item_reference","id":"x"}]}`:                                        "input[0].type: item_reference names an item",
		`{"input":"x","previous_response_id":"resp_1"}`:                                         "send the whole conversation as input items",
		`{"input":"x","conversation":{"id":"c"}}`:                                               "conversation: names a stored conversation",
		`{"input":"x","background":true}`:                                                       "background: work in the background",
		`{"input":"x","tools":[{"type":"function"}]}`:                                           "tools[0].name: missing",
		`{"input":"x","tools":[{"type":"namespace","tools":[]}]}`:                               "tools[0].name: missing",
		`{"input":"x","tools":[{"type":"namespace","name":"n","tools":[{"type":"function"}]}]}`: "tools[0].tools[0].name: missing",
		`{"input":"x","tool_choice":"some"}`:                                                    `tool_choice: "some" is unknown`,
		`{"input":"x","tool_choice":{"type":"function"}}`:                                       "tool_choice.name: missing",
		`{"input":"x","text":{"format":{"type":"json_schema"}}}`:                                "text.format.schema: missing",
		`{"input":"x","text":{"format":{"type":"xml"}}}`:                                        `text.format.type: "xml" is unknown`,
		`{"input":"x","max_output_tokens":1.5}`:                                                 "max_output_tokens: is no whole number",
	} {
		_, err := Responses{}.DecodeRequest([]byte(body))
		if e, ok := errors.AsType[*wire.BodyError](err); !ok || !strings.Contains(e.Error(), want) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}

func TestResponsesPeek(t *testing.T) {
	body := `{"model":"m","profile":"p","stream":true,"max_output_tokens":20,"prompt_cache_key":"k","reasoning":{"effort":"high"},"tool_choice":"none",
		"text":{"format":{"type":"json_schema"}},"instructions":"1234",
		"tools":[{"type":"function","name":"ls","description":"12345","parameters":{ }},{"type":"namespace","name":"ns","tools":[{"type":"function","name":"a"}]},{"type":"local_shell"}],
		"input":[
			{"role":"developer","content":"1234"},
			{"role":"user","content":[{"type":"input_text","text":"12\n4"},{"type":"input_image","image_url":"data:image/png;base64,AAAAAAAAAAAAAAAA"},{"type":"input_file","file_data":"xxxxxxxxxxxxxxx"}]},
			{"type":"reasoning","summary":[{"type":"summary_text","text":"12"}],"encrypted_content":"gAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
			{"type":"function_call","call_id":"x","name":"ls","arguments":"{\"a\":1}"},
			{"type":"function_call_output","call_id":"x","output":"1234"}]}`
	got, err := Responses{}.Peek([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	// Tools: 2+5+2 and 2+1; input: 4 of instructions, 4+4, 2, 2+7, 4: 39
	// characters, 10 tokens.
	want := wire.Head{
		Model: "m", Profile: "p", Stream: true, WantUsage: true, MaxTokens: 20, Session: "k", Turns: 1,
		Tokens: 10 + wire.ImageTokens + wire.DocumentTokens, Tools: []string{"ls", "ns__a", "local_shell"},
		Needs:    wire.Needs{Tools: true, Vision: true, Documents: true, JSONSchema: true, Thinking: true},
		Declared: []byte(gjson.Get(body, "tools").Raw), NoCalls: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, body := range []string{`{"model":"a","model":"b"}`, `[]`, `{`, ``, `{"a":` + strings.Repeat("[", 1000)} {
		for _, c := range []wire.Codec{Responses{}, Embeddings{}} {
			if _, err := c.Peek([]byte(body)); err == nil {
				t.Errorf("%.20q was taken", body)
			} else if _, ok := errors.AsType[*wire.BodyError](err); !ok {
				t.Errorf("%.20q: %T", body, err)
			}
		}
	}
	// What it does not know is none of its business.
	if _, err := (Responses{}).Peek([]byte(`{"input":5,"model":7,"tools":{"a":1}}`)); err != nil {
		t.Error(err)
	}
}

func TestResponsesRewrite(t *testing.T) {
	const stripped = "x-anthropic-billing-header: cc=1"
	own := `{"type":"reasoning","summary":[],"encrypted_content":"drey1.reasoning"}`
	for _, tt := range []struct {
		name, in string
		x        wire.Edits
		want     string
	}{
		{"nothing is touched", `{ "a": 1.0e3, "input": [ ], "a": null }`, wire.Edits{IncludeUsage: true, MaxTokensKey: "max_tokens"}, `{ "a": 1.0e3, "input": [ ], "a": null }`},
		{"a line behind the instructions", `{"instructions":"a"}`, wire.Edits{AppendSystem: "x\"y"}, `{"instructions":"a\nx\"y"}`},
		{"a line in empty ones", `{"instructions":""}`, wire.Edits{AppendSystem: "x"}, `{"instructions":"x"}`},
		{"a line for null", `{"instructions":null,"a":1}`, wire.Edits{AppendSystem: "x"}, `{"instructions":"x","a":1}`},
		{"a line without instructions", `{"a":1}`, wire.Edits{AppendSystem: "x"}, `{"a":1,"instructions":"x"}`},
		{"a changing line", `{"instructions":"` + stripped + `\nstay"}`, wire.Edits{StripLines: true, AppendSystem: "x"}, `{"instructions":"stay\nx"}`},
		{"a changing line alone", `{"instructions":"` + stripped + `"}`, wire.Edits{StripLines: true}, `{"instructions":""}`},
		{"our own reasoning at the head", `{"input":[` + own + `, {"a":1}]}`, wire.Edits{}, `{"input":[{"a":1}]}`},
		{"our own reasoning at the end", `{"input":[{"a":1} ,` + own + ` ]}`, wire.Edits{}, `{"input":[{"a":1} ]}`},
		{"our own reasoning alone", `{"input":[` + own + `,` + own + `]}`, wire.Edits{}, `{"input":[]}`},
		{"our own reasoning in several places", `{"input":[` + own + `,{"a":1},` + own + `,` + own + `,{"b":1},` + own + `]}`, wire.Edits{}, `{"input":[{"a":1},{"b":1}]}`},
		{"a text that looks like it", `{"input":"drey1.reasoning"}`, wire.Edits{}, `{"input":"drey1.reasoning"}`},
		{"a message that looks like it", `{"input":[{"type":"message","encrypted_content":"drey1.x"}]}`, wire.Edits{}, `{"input":[{"type":"message","encrypted_content":"drey1.x"}]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := Responses{}.Rewrite([]byte(tt.in), tt.x)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(b.Bytes())); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := (Responses{}).Rewrite([]byte(`[]`), wire.Edits{}); err == nil {
		t.Error("a list was taken")
	}
}

func TestResponsesBadAnswers(t *testing.T) {
	for body, want := range map[string]wire.AnswerError{
		`{"id":"x"`:                            {Kind: wire.Malformed},
		`{"choices":[]}`:                       {Kind: wire.Malformed},
		`{"error":{"message":"m","code":"c"}}`: {Kind: wire.Reported, Type: "c"},
		`{"status":"failed","output":[],"error":{"code":"server_error","message":"m"}}`: {Kind: wire.Reported, Type: "server_error"},
		`{"status":"failed","output":[],"error":null}`:                                  {Kind: wire.Reported},
		`{"status":"queued","output":[]}`:                                               {Kind: wire.Malformed},
	} {
		for _, read := range []func() error{
			func() error { _, err := Responses{}.Inspect([]byte(body)); return err },
			func() error { _, err := Responses{}.DecodeResponse([]byte(body)); return err },
		} {
			if e, ok := errors.AsType[*wire.AnswerError](read()); !ok || e.Kind != want.Kind || e.Type != want.Type {
				t.Errorf("%s: %v", body, e)
			}
		}
	}
}

func TestResponsesInspect(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       wire.Report
	}{
		{"text", `{"model":"m","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"a"}]}],"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":1}}}`,
			wire.Report{Model: "m", Stop: wire.StopEnd, Usage: &wire.Usage{Input: 5, CacheRead: 4, Output: 2, Reasoning: 1}}},
		{"calls", `{"status":"completed","output":[{"type":"function_call"},{"type":"custom_tool_call"}]}`, wire.Report{Stop: wire.StopTools, Tools: 2}},
		{"what the server did", `{"status":"completed","output":[{"type":"web_search_call"}]}`, wire.Report{Stop: wire.StopEnd}},
		{"reasoning alone is empty", `{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[{"type":"reasoning","summary":[{"text":"hm"}]}]}`, wire.Report{Stop: wire.StopLength, Empty: true}},
		{"blank text is empty", `{"status":"incomplete","incomplete_details":{"reason":"content_filter"},"output":[{"type":"message","content":[{"type":"output_text","text":" \n"}]}]}`, wire.Report{Stop: wire.StopRefusal, Empty: true}},
		{"nothing is empty", `{"output":[]}`, wire.Report{Empty: true}},
	} {
		got, err := Responses{}.Inspect([]byte(tt.body))
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", tt.name, err, diff)
		}
	}
}

// responsesEvents makes a stream of events' fields.
func responsesEvents(lines ...string) string {
	var b strings.Builder
	for i, l := range lines {
		fmt.Fprintf(&b, "data: {\"sequence_number\":%d,%s}\n\n", i, l)
	}
	return b.String()
}

const (
	responseCreated   = `"type":"response.created","response":{"id":"resp_1","model":"m","output":[]}`
	responseCompleted = `"type":"response.completed","response":{"id":"resp_1","model":"m","status":"completed","output":[],"usage":{"input_tokens":9,"output_tokens":2}}`
)

func TestResponsesDecoder(t *testing.T) {
	for _, tt := range []struct{ name, stream, want string }{
		{"items without a start", responsesEvents(`"type":"response.output_text.delta","delta":"a"`, responseCompleted), "start \ntext \"a\" .\nfinish end 9+0 2\n"},
		{"items told by their end alone", responsesEvents(responseCreated,
			`"type":"response.output_item.done","item":{"type":"reasoning","summary":[{"text":"hm"}],"encrypted_content":"g"}`,
			`"type":"response.output_item.done","item":{"type":"message","content":[{"type":"output_text","text":"a"}]}`,
			`"type":"response.output_item.done","item":{"type":"function_call","call_id":"c","name":"ls","arguments":"{}"}`, responseCompleted),
			"start m\nreasoning \"hm\" .\ntext \"a\" .\ncall c ls \"{}\" .\nfinish tools 9+0 2\n"},
		{"no item is told twice", responsesEvents(responseCreated,
			`"type":"response.output_text.delta","delta":"a"`, `"type":"response.content_part.done"`, `"type":"response.output_text.delta","delta":"b"`, `"type":"response.content_part.done"`,
			`"type":"response.output_item.done","item":{"type":"message","content":[{"type":"output_text","text":"a"},{"type":"output_text","text":"b"}]}`, responseCompleted),
			"start m\ntext \"a\" .\ntext \"b\" .\nfinish end 9+0 2\n"},
		{"a call without arguments", responsesEvents(responseCreated, `"type":"response.output_item.added","item":{"type":"function_call","call_id":"c","name":"ls"}`, responseCompleted),
			"start m\ncall c ls \"{}\" .\nfinish tools 9+0 2\n"},
		{"a call within a namespace", responsesEvents(responseCreated, `"type":"response.output_item.added","item":{"type":"function_call","call_id":"c","namespace":"ns","name":"ls"}`,
			`"type":"response.function_call_arguments.delta","delta":"{\"a\":"`, `"type":"response.function_call_arguments.delta","delta":"1}"`, responseCompleted),
			"start m\ncall c ns__ls \"{\\\"a\\\":\" \"1}\" .\nfinish tools 9+0 2\n"},
		{"a shell call", responsesEvents(responseCreated, `"type":"response.output_item.done","item":{"type":"local_shell_call","call_id":"c","action":{"command":["ls"]}}`, responseCompleted),
			"start m\ncall c local_shell \"{\\\"command\\\":[\\\"ls\\\"]}\" .\nfinish tools 9+0 2\n"},
		{"what the server does is not told", responsesEvents(responseCreated, `"type":"response.output_item.added","item":{"type":"web_search_call"}`, `"type":"response.web_search_call.searching"`,
			`"type":"response.output_item.done","item":{"type":"web_search_call"}`, responseCompleted), "start m\nfinish end 9+0 2\n"},
		{"a refusal", responsesEvents(responseCreated, `"type":"response.refusal.delta","delta":"no"`, responseCompleted), "start m\ntext \"no\" .\nfinish refusal 9+0 2\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			events, err := decodeResponses(t, tt.stream)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, story(events)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func decodeResponses(t testing.TB, stream string) ([]wire.Event, error) {
	d := Responses{}.NewDecoder()
	var events []wire.Event
	for _, ev := range frames(t, stream) {
		var err error
		if events, err = d.Decode(events, ev); err != nil {
			return events, err
		}
	}
	return d.Close(events)
}

func TestResponsesBrokenStreams(t *testing.T) {
	for _, tt := range []struct {
		name, stream, typ string
		kind              wire.AnswerKind
	}{
		{"nothing", "", "", wire.Cut},
		{"no end", responsesEvents(responseCreated), "", wire.Cut},
		{"an end of another wire", responsesEvents(responseCreated) + "data: [DONE]\n\n", "", wire.Cut},
		{"no JSON", "data: {\"type\n\n", "", wire.Malformed},
		{"no object", "data: 5\n\n", "", wire.Malformed},
		{"no type", "data: {}\n\n", "", wire.Malformed},
		{"failed", responsesEvents(`"type":"response.failed","response":{"status":"failed","error":{"code":"rate_limit_exceeded","message":"m"}}`), "rate_limit_exceeded", wire.Reported},
		{"failed without a reason", responsesEvents(`"type":"response.failed","response":{}`), "", wire.Reported},
		{"error", responsesEvents(`"type":"error","code":"server_error","message":"m"`), "server_error", wire.Reported},
		{"an error as chat has it", `data: {"error":{"message":"m","type":"server_error"}}` + "\n\n", "server_error", wire.Reported},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decodeResponses(t, tt.stream)
			o := Responses{}.NewObserver(wire.ObserverOptions{})
			var watched error
			for _, ev := range frames(t, tt.stream) {
				if sig, _ := o.Observe(ev); sig.Err != nil {
					watched = sig.Err
				}
			}
			if sig := o.Close(); sig.Err != nil {
				watched = sig.Err
			}
			for who, err := range map[string]error{"decoder": err, "observer": watched} {
				if e, ok := errors.AsType[*wire.AnswerError](err); !ok || e.Kind != tt.kind || e.Type != tt.typ {
					t.Errorf("the %s says %v", who, err)
				}
			}
		})
	}
	// Arguments that belong to no call cannot be told; passed on they are the
	// client's affair.
	if _, err := decodeResponses(t, responsesEvents(responseCreated, `"type":"response.function_call_arguments.delta","delta":"{}"`)); err == nil {
		t.Error("arguments outside of a call were taken")
	}
}

func TestResponsesStreamError(t *testing.T) {
	frame := frames(t, string(Responses{}.StreamError(wire.Error{
		Type: "invalid_request_error", Code: "c", Message: "m\n\"", RequestID: "req_9", Details: []byte(`{"a":1}`), Sequence: 7, Created: 5,
	})))[0]
	f, err := readResponsesFrame(frame.Data)
	if frame.Name != "response.failed" || err != nil || f.number != 7 || f.answer.id != "resp_9" || f.answer.status != "failed" ||
		f.answer.created != 5 || f.err == nil || f.err.Type != "c" || f.err.Msg != "m\n\"" || !strings.Contains(string(frame.Data), `"details":{"a":1}`) {
		t.Errorf("%s: %+v %v", frame.Raw, f, err)
	}
	// Without a code the type is what a program reads.
	if plain := string(Responses{}.StreamError(wire.Error{Type: "server_error"})); !strings.Contains(plain, `"code":"server_error"`) {
		t.Error(plain)
	}
	if ping := frames(t, string(Responses{}.Ping())); len(ping) != 1 || string(ping[0].Data) != `{"type":"ping"}` {
		t.Errorf("a ping without data: %+v", ping)
	}
}

func TestResponsesObserverAllocates(t *testing.T) {
	o := Responses{}.NewObserver(wire.ObserverOptions{})
	evs := frames(t, responsesEvents(responseCreated, `"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":"some more words","logprobs":[]`))
	o.Observe(evs[0])
	if got := testing.AllocsPerRun(100, func() { o.Observe(evs[1]) }); got > 0 {
		t.Errorf("%v allocations for a piece of text", got)
	}
}

func BenchmarkResponsesEncoder(b *testing.B) {
	e := Responses{}.NewEncoder(wire.EncoderOptions{ID: "resp_1", Model: "m"})
	dst := e.Encode(nil, wire.Event{Kind: wire.Start})
	dst = e.Encode(dst, wire.Event{Kind: wire.BlockStart})
	b.ReportAllocs()
	for b.Loop() {
		dst = e.Encode(dst[:0], wire.Event{Kind: wire.Delta, Text: " tokens"})
	}
}

// TestShellCalls holds what becomes of arguments that a model gives the shell.
func TestShellCalls(t *testing.T) {
	alias := &wire.Alias{Name: shellTool, Form: wire.ShellForm}
	for input, want := range map[string]string{
		`{"command":["ls"]}`: `"type":"local_shell_call"`,
		`{"command":"ls"}`:   `"command":["bash","-lc","ls"]`,
		`{"cmd":"ls"}`:       `"type":"function_call"`, // nothing is made up
		`{"command":5}`:      `"type":"function_call"`,
	} {
		body, err := Responses{}.EncodeResponse(&wire.Response{Blocks: []wire.Block{{Kind: wire.ToolUse, ID: "c", Name: shellTool, Input: json.RawMessage(input), Alias: alias}}})
		if err != nil || !json.Valid(body) || !strings.Contains(string(body), want) {
			t.Errorf("%s: %v %s", input, err, body)
		}
	}
}

func FuzzResponsesRewrite(f *testing.F) {
	f.Add([]byte(`{"model":"a","instructions":"x-a-b: c\nd","input":[{"type":"reasoning","encrypted_content":"drey1.x"},{"a":1}]}`))
	f.Add([]byte(`{"input":[{"type":"reasoning","encrypted_content":"drey1."},{"encrypted_content":"drey1.","type":"reasoning"}],"instructions":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		same, err := Responses{}.Rewrite(body, wire.Edits{})
		if err != nil {
			return
		}
		if !hasKey(body, "profile") && !strings.Contains(string(body), wire.OwnSignature) && string(same.Bytes()) != string(body) {
			t.Errorf("%s became %s", body, same.Bytes())
		}
		b, err := Responses{}.Rewrite(body, wire.Edits{Model: "m", AppendSystem: "l", StripLines: true})
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(b.Bytes()) {
			t.Errorf("%s became %s", body, b.Bytes())
		}
	})
}

// FuzzResponsesDecoder holds what must be true of any stream: blocks never
// overlap, an answer ends once, the observer and the decoder agree on the end,
// and what the encoder writes of it is numbered without a gap.
func FuzzResponsesDecoder(f *testing.F) {
	f.Add(responsesEvents(responseCreated, `"type":"response.output_item.added","item":{"type":"function_call","call_id":"c","name":"ls"}`,
		`"type":"response.function_call_arguments.delta","delta":"{}"`, `"type":"response.output_text.delta","delta":"a"`,
		`"type":"response.output_item.done","item":{"type":"custom_tool_call","call_id":"c","input":"x"}`, responseCompleted))
	f.Add(responsesEvents(`"type":"response.reasoning_summary_part.added"`, `"type":"response.reasoning_text.delta","delta":"a"`,
		`"type":"response.output_item.done","item":{"type":"reasoning","encrypted_content":"g"}`, `"type":"response.incomplete"`))
	f.Fuzz(func(t *testing.T, stream string) {
		d, o := Responses{}.NewDecoder(), Responses{}.NewObserver(wire.ObserverOptions{})
		enc := Responses{}.NewEncoder(wire.EncoderOptions{Signed: true})
		var events []wire.Event
		var err error
		done := false
		r := sse.NewReader(strings.NewReader(stream), 0)
		for err == nil {
			ev, rerr := r.Next()
			if rerr != nil {
				break
			}
			sig, _ := o.Observe(ev)
			done = done || sig.Done
			events, err = d.Decode(events, ev)
		}
		if err == nil {
			events, err = d.Close(events)
		}
		open, ended := false, false
		var out []byte
		for i, ev := range events {
			if ended {
				t.Fatalf("event %d follows the end", i)
			}
			switch ev.Kind {
			case wire.Start:
				if i != 0 {
					t.Fatal("a second start")
				}
			case wire.BlockStart:
				if open {
					t.Fatalf("two blocks are open at event %d", i)
				}
				open = true
			case wire.Delta, wire.Sign, wire.BlockStop:
				if !open {
					t.Fatalf("event %d without a block", i)
				}
				open = ev.Kind != wire.BlockStop
			case wire.Finish:
				if open {
					t.Fatal("the end leaves a block open")
				}
				ended = true
			}
			out = enc.Encode(out, ev)
		}
		if ended == (err != nil) || ended && !done {
			t.Fatalf("ended %v with error %v, the observer says %v", ended, err, done)
		}
		for i, ev := range frames(t, string(out)) {
			if f, err := readResponsesFrame(ev.Data); err != nil || f.number != i || f.kind != ev.Name {
				t.Fatalf("event %d is %s", i, ev.Raw)
			}
		}
	})
}

// FuzzPackEmbeddings holds that packing changes nothing but lists of numbers,
// which read back as they were.
func FuzzPackEmbeddings(f *testing.F) {
	f.Add([]byte(`{"data":[{"embedding":[1,-2.5e-3]},{"embedding":"AAA="}],"x":1.0}`))
	f.Add([]byte(`{"data":[{"embedding":[1e999,"x"],"embedding":[0]}],"data":3}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if got, err := PackEmbeddings([]byte(`{"input":"x"}`), answer); err != nil || string(got) != string(answer) {
			t.Fatalf("unasked: %q, %v", got, err)
		}
		if _, err := (Embeddings{}).Inspect(answer); err != nil {
			return
		}
		got, err := PackEmbeddings([]byte(`{"encoding_format":"base64"}`), answer)
		if err != nil {
			return
		}
		var before, after struct {
			Data []map[string]json.RawMessage `json:"data"` // whose keys are exact
		}
		if !json.Valid(got) {
			t.Fatalf("%s became %s", answer, got)
		}
		s := scan.New(answer)
		seen := 0
		for key := range s.Fields() {
			if strings.EqualFold(string(key), "data") {
				seen++
			}
		}
		if seen != 1 || json.Unmarshal(answer, &before) != nil || json.Unmarshal(got, &after) != nil {
			return
		}
		for i := range before.Data {
			var numbers []float32
			if strings.Count(string(answer), "mbedding") > len(before.Data) || json.Unmarshal(before.Data[i]["embedding"], &numbers) != nil || numbers == nil {
				continue
			}
			var packed []byte
			if err := json.Unmarshal(after.Data[i]["embedding"], &packed); err != nil || len(packed) != 4*len(numbers) {
				t.Fatalf("%s became %s", before.Data[i]["embedding"], after.Data[i]["embedding"])
			}
			for j, n := range numbers {
				if back := math.Float32frombits(binary.LittleEndian.Uint32(packed[4*j:])); back != n {
					t.Fatalf("%v became %v (%s)", n, back, base64.StdEncoding.EncodeToString(packed))
				}
			}
		}
	})
}
