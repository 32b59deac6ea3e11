package openai

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey/internal/wire"
)

func TestDecodeResponse(t *testing.T) {
	answer := func(message, finish string) string {
		return `{"id":"chatcmpl-1","object":"chat.completion","created":7,"model":"m","choices":[{"index":0,"message":` + message + `,"finish_reason":` + finish + `}],
			"usage":{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}}`
	}
	tests := []struct {
		name, message, finish string
		stop                  wire.Stop
		blocks                []wire.Block
	}{
		{"text", `{"role":"assistant","content":"hi"}`, `"stop"`, wire.StopEnd, []wire.Block{txt("hi")}},
		{"text cut by the limit", `{"content":"hi"}`, `"length"`, wire.StopLength, []wire.Block{txt("hi")}},
		{"a reason that nobody knows", `{"content":"hi"}`, `"because"`, wire.StopUnknown, []wire.Block{txt("hi")}},
		{"parts", `{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}`, `"stop"`, wire.StopEnd, []wire.Block{txt("a"), txt("b")}},
		{"a refusal", `{"content":null,"refusal":"no"}`, `"stop"`, wire.StopRefusal, []wire.Block{txt("no")}},
		{"a filter", `{"content":""}`, `"content_filter"`, wire.StopRefusal, nil},
		{"reasoning_content", `{"content":"hi","reasoning_content":"hm"}`, `"stop"`, wire.StopEnd, []wire.Block{{Kind: wire.Reasoning, Text: "hm"}, txt("hi")}},
		{"reasoning", `{"content":"hi","reasoning":"hm","reasoning_content":""}`, `"stop"`, wire.StopEnd, []wire.Block{{Kind: wire.Reasoning, Text: "hm"}, txt("hi")}},
		{"a call that says stop", `{"content":"\n","tool_calls":[{"id":"c","type":"function","function":{"name":"ls","arguments":"{\"a\": 1.0}"}}]}`, `"stop"`, wire.StopTools, []wire.Block{called("c", "ls", `{"a": 1.0}`)}},
		{"a call at the limit", `{"content":null,"tool_calls":[{"id":"c","function":{"name":"ls","arguments":"{\"a\":"}}]}`, `"length"`, wire.StopLength, []wire.Block{called("c", "ls", `{"_raw":"{\"a\":"}`)}},
		{"tool_calls without a call", `{"content":"hi"}`, `"tool_calls"`, wire.StopEnd, []wire.Block{txt("hi")}},
		{"empty, unpacked and missing arguments", `{"tool_calls":[{"id":"a","function":{"name":"x","arguments":""}},{"id":"b","function":{"name":"y","arguments":{"k":1}}},{"id":"c","function":{"name":"z"}}]}`, `"tool_calls"`, wire.StopTools,
			[]wire.Block{called("a", "x", `{}`), called("b", "y", `{"k":1}`), called("c", "z", `{}`)}},
		{"no id", `{"tool_calls":[{"function":{"name":"x","arguments":"[1]"}}]}`, `"tool_calls"`, wire.StopTools, []wire.Block{called(madeID("chatcmpl-1", 7, 0), "x", `{"_raw":"[1]"}`)}},
		{"blank is told if it is all", `{"content":" \n"}`, `"stop"`, wire.StopEnd, []wire.Block{txt(" \n")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := []byte(answer(tt.message, tt.finish))
			got, err := Chat{}.DecodeResponse(body)
			if err != nil {
				t.Fatal(err)
			}
			var odd string
			if tt.stop == wire.StopUnknown {
				odd = strings.Trim(tt.finish, `"`)
			}
			want := &wire.Response{Odd: odd, ID: "chatcmpl-1", Model: "m", Created: 7, Blocks: tt.blocks, Stop: tt.stop,
				Usage: wire.Usage{Input: 6, Output: 5, CacheRead: 4, Reasoning: 2}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			report, err := Chat{}.Inspect(body)
			if err != nil {
				t.Fatal(err)
			}
			calls, said := 0, false
			for _, b := range tt.blocks {
				if b.Kind == wire.ToolUse {
					calls++
				}
				said = said || b.Kind == wire.ToolUse || b.Kind == wire.Text && strings.TrimSpace(b.Text) != ""
			}
			if report.Tools != calls || report.Empty == said || report.Model != "m" || *report.Usage != want.Usage || report.Stop != tt.stop && tt.name != "a refusal" {
				t.Errorf("report %+v", report)
			}
			// What is written reads back as the same answer.
			written, err := Chat{}.EncodeResponse(got)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Chat{}.DecodeResponse(written)
			if err != nil {
				t.Fatalf("%v in %s", err, written)
			}
			if len(tt.blocks) != 2 || tt.blocks[1].Kind != wire.Text || tt.blocks[0].Kind != wire.Text { // texts are joined
				if diff := cmp.Diff(got.Blocks, again.Blocks); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestEncodeResponse(t *testing.T) {
	got, err := Chat{}.EncodeResponse(&wire.Response{
		ID: "msg_1", Model: "m", Created: 7, Stop: wire.StopEnd,
		Blocks: []wire.Block{{Kind: wire.Reasoning, Text: "hm"}, {Kind: wire.Redacted, Text: "x"}, txt("a"), txt("b"), called("c", "ls", `{"a": 1}`)},
		Usage:  wire.Usage{Input: 1, CacheRead: 2, CacheWrite: 3, Output: 4, Reasoning: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"chatcmpl-1","object":"chat.completion","created":7,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a\nb","reasoning_content":"hm","refusal":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"ls","arguments":"{\"a\": 1}"}}]},"logprobs":null,"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":6,"completion_tokens":4,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":1}}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestFinishReasons(t *testing.T) {
	want := map[wire.Stop]string{
		wire.StopUnknown: "stop", wire.StopEnd: "stop", wire.StopLength: "length", wire.StopTools: "tool_calls",
		wire.StopSequence: "stop", wire.StopRefusal: "content_filter", wire.StopPause: "stop",
	}
	for stop, reason := range want {
		if got := finishOf(stop, stop == wire.StopTools); got != reason {
			t.Errorf("%v is written %q, want %q", stop, got, reason)
		}
		if got := finishOf(stop, true); got != "tool_calls" && (stop != wire.StopLength || got != "length") {
			t.Errorf("%v with a call is written %q", stop, got)
		}
	}
}

func TestBadAnswers(t *testing.T) {
	tests := []struct {
		name, body string
		kind       wire.AnswerKind
		typ, msg   string
	}{
		{"no JSON", `<html>`, wire.Malformed, "", ""},
		{"nothing", ``, wire.Malformed, "", ""},
		{"half", `{"choices":[{"message":{"content":"a`, wire.Malformed, "", ""},
		{"another shape", `{"type":"message","content":[]}`, wire.Malformed, "", "no choice"},
		{"no choice", `{"choices":[]}`, wire.Malformed, "", "no choice"},
		{"an error", `{"error":{"message":"busy","type":"overloaded_error","code":null}}`, wire.Reported, "overloaded_error", "busy"},
		{"an error with a code alone", `{"error":{"message":"m","code":429}}`, wire.Reported, "429", "m"},
		{"an error as a string", `{"error":"busy"}`, wire.Reported, "", "busy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Chat{}.DecodeResponse([]byte(tt.body))
			_, err2 := Chat{}.Inspect([]byte(tt.body))
			for _, err := range []error{err, err2} {
				e, ok := errors.AsType[*wire.AnswerError](err)
				if !ok || e.Kind != tt.kind || e.Type != tt.typ || !strings.Contains(e.Msg, tt.msg) {
					t.Errorf("error %#v", err)
				}
			}
		})
	}
}

func TestErrors(t *testing.T) {
	e := wire.Error{Type: "invalid_request_error", Code: "tool_count_exceeded", Message: `say "hi"`, RequestID: "req_1", Detail: []byte(`{"n":1}`), Details: []byte(`{"x":2}`)}
	const want = `{"error":{"message":"say \"hi\"","type":"invalid_request_error","param":null,"code":"tool_count_exceeded","details":{"x":2}},"detail":{"n":1}}`
	if got := string(Chat{}.Error(e)); got != want {
		t.Error(got)
	}
	if got := string(Chat{}.StreamError(e)); got != "data: "+want+"\n\n" {
		t.Error(got)
	}
	if got := string(Chat{}.Error(wire.Error{Type: "server_error", Message: "m"})); got != `{"error":{"message":"m","type":"server_error","param":null,"code":null}}` {
		t.Error(got)
	}
	if got := string(Chat{}.Ping()); got != ": ping\n\n" {
		t.Errorf("%q", got)
	}
}
