package openai

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

func TestDecodeRequest(t *testing.T) {
	yes := true
	body := `{
		"model": "m", "stream": true, "stream_options": {"include_usage": true},
		"max_completion_tokens": 100, "temperature": 0.70, "top_p": null, "stop": "END", "seed": 7, "n": 1,
		"user": "u", "parallel_tool_calls": false, "reasoning_effort": "low", "tool_choice": "required",
		"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type":"object"}, "strict": true}},
		"tools": [
			{"type": "function", "function": {"name": "ls", "description": "d", "parameters": {"type": "object"}, "strict": true}},
			{"type": "custom", "custom": {"name": "patch"}}
		],
		"messages": [
			{"role": "developer", "content": "lead"},
			{"content": [{"type": "text", "text": "more"}], "role": "system"},
			{"role": "user", "name": "ann", "content": [
				{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAA", "detail": "low"}},
				{"type": "image_url", "image_url": {"url": "https://x/y"}},
				{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,BBB"}}]},
			{"role": "system", "content": "in place"},
			{"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
				{"id": "c1", "type": "function", "function": {"name": "ls", "arguments": "{\"p\": 1.0}"}},
				{"id": "c2", "type": "function", "function": {"name": "ls", "arguments": "oops"}},
				{"id": "c3", "type": "function", "function": {"name": "ls", "arguments": ""}}]},
			{"role": "tool", "tool_call_id": "c1", "content": "1"},
			{"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "2"}]},
			{"role": "user", "content": "go on"}
		]}`
	want := &wire.Request{
		From: drey.WireChat, Model: "m", Stream: true, WantUsage: true, MaxTokens: 100,
		Temperature: json.RawMessage("0.70"), Stop: []string{"END"}, User: "u", OneCall: true,
		Thinking: wire.Thinking{Mode: "enabled", Effort: "low"}, Choice: wire.Choice{Mode: wire.ChoiceAny},
		ChatOnly: []wire.ExtraField{{Key: "seed", Value: []byte("7")}},
		Aliases:  map[string]wire.Alias{"patch": {Name: "patch", Form: wire.CustomForm}},
		Format:   &wire.Format{Type: "json_schema", Name: "s", Schema: json.RawMessage(`{"type":"object"}`), Strict: &yes},
		Tools:    []wire.Tool{{Name: "ls", Description: "d", Schema: json.RawMessage(`{"type": "object"}`), Strict: &yes}, {Type: "custom", Name: "patch"}},
		System:   []wire.Block{txt("lead"), txt("more")},
		Messages: []wire.Message{
			{Role: wire.User, Name: "ann", Blocks: []wire.Block{
				{Kind: wire.Image, MediaType: "image/png", Data: "AAA", Detail: "low"},
				{Kind: wire.Image, URL: "https://x/y"},
				{Kind: wire.Document, MediaType: "application/pdf", Data: "BBB", Title: "a.pdf"}}},
			{Role: wire.System, Blocks: []wire.Block{txt("in place")}},
			model(wire.Block{Kind: wire.Reasoning, Text: "hm"}, called("c1", "ls", `{"p": 1.0}`), called("c2", "ls", `{"_raw":"oops"}`), called("c3", "ls", "{}")),
			user(result("c1", txt("1")), result("c2", txt("2"))),
			user(txt("go on")),
		},
	}
	got, err := Chat{}.DecodeRequest([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeRequestRefuses(t *testing.T) {
	const hi = `"messages":[{"role":"user","content":"hi"}]`
	tests := []struct{ name, body, field, msg string }{
		{"no JSON", `{"messages":`, "", "no JSON"},
		{"nothing", ``, "", "nothing; send one JSON object"},
		{"no object", `[1]`, "", "a list; send one JSON object"},
		{"too deep", `{"x":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`, "", "deeper than 512"},
		{"no messages", `{"model":"m"}`, "messages", "missing"},
		{"empty messages", `{"messages":[]}`, "messages", "empty"},
		{"messages of a wrong type", `{"messages":"hi"}`, "messages", "is a string"},
		{"a message of a wrong type", `{"messages":["hi"]}`, "messages[0]", "is a string"},
		{"no role", `{"messages":[{"content":"x"}]}`, "messages[0].role", "missing"},
		{"content of a wrong type", `{"messages":[{"role":"user","content":5}]}`, "messages[0].content", "is a number"},
		{"an unknown part", `{"messages":[{"role":"user","content":[{"type":"input_audio"}]}]}`, "messages[0].content[0].type", `"input_audio" does not translate`},
		{"an image without a URL", `{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, "messages[0].content[0].image_url.url", "missing"},
		{"a vendor's file", `{"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}]}`, "messages[0].content[0].file.file_id", "send file_data"},
		{"a result without its call's id", `{"messages":[{"role":"tool","content":"x"}]}`, "messages[0].tool_call_id", "missing"},
		{"a call without a name", `{"messages":[{"role":"assistant","tool_calls":[{"id":"a","function":{}}]}]}`, "messages[0].tool_calls[0].function.name", "missing"},
		{"a tool without a name", `{` + hi + `,"tools":[{"type":"function"}]}`, "tools[0].function.name", "missing"},
		{"several choices", `{` + hi + `,"n":2}`, "n", "one choice only"},
		{"the old functions", `{` + hi + `,"functions":[]}`, "functions", "use tools"},
		{"an unknown choice", `{` + hi + `,"tool_choice":"maybe"}`, "tool_choice", `"maybe" is unknown`},
		{"an unknown format", `{` + hi + `,"response_format":{"type":"xml"}}`, "response_format.type", `"xml" is unknown`},
		{"half a token", `{` + hi + `,"max_tokens":1.5}`, "max_tokens", "no whole number"},
		{"audio", `{` + hi + `,"modalities":["text","audio"]}`, "modalities", "audio"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Chat{}.DecodeRequest([]byte(tt.body))
			e, ok := errors.AsType[*wire.BodyError](err)
			if !ok {
				t.Fatalf("error %v", err)
			}
			if e.Field != tt.field || !strings.Contains(e.Msg, tt.msg) {
				t.Errorf("got %q: %q, want %q: …%s…", e.Field, e.Msg, tt.field, tt.msg)
			}
		})
	}
}

func TestPeek(t *testing.T) {
	body := `{"model":"m","profile":"p","stream":true,"stream_options":{"include_usage":true},"max_tokens":10,"max_completion_tokens":20,
		"prompt_cache_key":"k","user":"not this","n":2,"tool_choice":"none","reasoning_effort":"high","response_format":{"type":"json_schema"},
		"tools":[{"type":"function","function":{"name":"ls","description":"12345","parameters":{ }}},{"type":"custom","custom":{"name":"patch"}}],
		"messages":[
			{"role":"system","content":"1234"},
			{"role":"user","content":[{"type":"text","text":"12\n4"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAAAAAAAAAAAAAA"}},{"type":"file","file":{"file_data":"xxxxxxxxxxxxxxx"}}]},
			{"role":"assistant","content":null,"tool_calls":[{"id":"x","function":{"name":"ls","arguments":"{\"a\":1}"}}]},
			{"role":"tool","content":"1234"}]}`
	got, err := Chat{}.Peek([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	// Tools: 2+5+2 and 5; messages 4+4, 2+7, 4: 35 characters, 9 tokens.
	want := wire.Head{
		Model: "m", Profile: "p", Stream: true, WantUsage: true, MaxTokens: 20, Session: "k", Turns: 1,
		Tokens: 9 + wire.ImageTokens + wire.DocumentTokens, Tools: []string{"ls", "patch"},
		Needs:    wire.Needs{Tools: true, Vision: true, Documents: true, JSONSchema: true, Thinking: true},
		Declared: []byte(gjson.Get(body, "tools").Raw), NoCalls: true, Choices: 2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, body := range []string{`{"model":"a","model":"b"}`, `[]`, `{`, ``, strings.Repeat("[", 1000), `{"a":` + strings.Repeat("[", 1000)} {
		if _, err := (Chat{}).Peek([]byte(body)); err == nil {
			t.Errorf("%.20q was taken", body)
		} else if _, ok := errors.AsType[*wire.BodyError](err); !ok {
			t.Errorf("%.20q: %T", body, err)
		}
	}
	// What it does not know is none of its business.
	if _, err := (Chat{}).Peek([]byte(`{"messages":5,"model":7,"tools":{"a":1}}`)); err != nil {
		t.Error(err)
	}
}
