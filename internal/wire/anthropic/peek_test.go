package anthropic_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/anthropic"
	"github.com/google/go-cmp/cmp"
)

var codec anthropic.Codec

func TestPeek(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     wire.Head
	}{
		{"nothing known", `{}`, wire.Head{WantUsage: true}},
		{"the simple fields", `{"model":"m\u0031","profile":"p","stream":true,"max_tokens":1e2,"messages":[{"role":"user","content":"abcd"}]}`,
			wire.Head{Model: "m1", Profile: "p", Stream: true, WantUsage: true, MaxTokens: 100, Tokens: 1, Turns: 1}},
		{"fields of wrong types are not its business", `{"model":1,"profile":{},"stream":"yes","max_tokens":"x","messages":{},"tools":1,"thinking":7,"metadata":[],"system":3,"thread":null}`,
			wire.Head{WantUsage: true}},
		{"turns are user messages without results", `{"messages":[{"role":"system","content":"s"},{"role":"user","content":"abc"},{"content":[{"tool_use_id":"1","type":"tool_result","content":"yy"},{"type":"text","text":"reminder"}],"role":"user"},{"role":"assistant","content":"a"},{"role":"user","content":[]}]}`,
			wire.Head{OddRoles: true, WantUsage: true, Tokens: 4, Turns: 2}},
		{"base64 is not text", `{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","data":"` + strings.Repeat("A", 4000) + `"}},{"source":{"data":"` + strings.Repeat("A", 4000) + `"},"type":"document"}]}]}`,
			wire.Head{WantUsage: true, Tokens: 3500, Turns: 1, Needs: wire.Needs{Vision: true, Documents: true}}},
		{"an image in a result", `{"messages":[{"role":"user","content":[{"type":"tool_result","content":[{"type":"image"},{"type":"text","text":"abcd"}]}]}]}`,
			wire.Head{WantUsage: true, Tokens: 1501, Needs: wire.Needs{Vision: true}}},
		{"tools, with what they weigh", `{"tools":[{"name":"Bash","input_schema":{"type":"object"}},{"type":"web_search_20250305","name":"w"}],"tool_choice":{"type":"none"}}`,
			wire.Head{WantUsage: true, Needs: wire.Needs{Tools: true}, NoCalls: true,
				Declared: []byte(`[{"name":"Bash","input_schema":{"type":"object"}},{"type":"web_search_20250305","name":"w"}]`), Tools: []string{"Bash", "w"}, Tokens: 17}},
		{"a call counts its name and input", `{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"not this","name":"Bash","input":{"a": "b"}},{"type":"thinking","thinking":"abc","signature":"not this"}]}]}`,
			wire.Head{WantUsage: true, Tokens: 4}},
		{"escapes count as what they stand for", `{"system":[{"type":"text","text":"\u0041\n\u0042\""}]}`, wire.Head{WantUsage: true, Tokens: 1}},
		{"thinking enabled", `{"thinking":{"type":"enabled","budget_tokens":9}}`, wire.Head{WantUsage: true, Needs: wire.Needs{Thinking: true}}},
		{"thinking adaptive", `{"thinking":{"type":"adaptive"}}`, wire.Head{WantUsage: true, Needs: wire.Needs{Thinking: true}}},
		{"thinking disabled", `{"thinking":{"type":"disabled"}}`, wire.Head{WantUsage: true}},
		{"structured output", `{"output_config":{"effort":"high","format":{"type":"json_schema"}}}`, wire.Head{WantUsage: true, Needs: wire.Needs{JSONSchema: true}}},
		{"structured output, the older field", `{"output_format":{"type":"json_schema"},"output_config":{"format":null}}`, wire.Head{WantUsage: true, Needs: wire.Needs{JSONSchema: true}}},
		{"a thread", `{"thread":{"type":"create"}}`, wire.Head{WantUsage: true, Thread: true}},
		{"a session inside user_id", `{"metadata":{"user_id":"{\"device_id\":\"d\",\"session_id\":\"s-1\"}"}}`, wire.Head{WantUsage: true, Session: "s-1"}},
		{"the older form of it", `{"metadata":{"user_id":"user_ab_account__session_0a-1b"}}`, wire.Head{WantUsage: true, Session: "0a-1b"}},
		{"a person is no session", `{"metadata":{"user_id":"someone"}}`, wire.Head{WantUsage: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := codec.Peek([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPeekRefuses(t *testing.T) {
	for in, want := range map[string]string{
		``:                        "the body is no JSON",
		`[]`:                      "the body is a list",
		`{"model":"a"`:            "the body is no JSON",
		`{"model":"a"} x`:         "the body is no JSON",
		`{"model":"a","model":1}`: "model: stands twice",
		`{"model":"a","x":{"model":"b"},"mod\u0065l":"a"}`:                         "model: stands twice",
		`{"messages":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`: "the body is nested deeper than 512",
	} {
		_, err := codec.Peek([]byte(in))
		if e, ok := err.(*wire.BodyError); !ok || !strings.HasPrefix(e.Error(), want) {
			t.Errorf("%.40s: %v, want %s …", in, err, want)
		}
	}
}

func prompt(size int) []byte {
	b := []byte(`{"model":"m","max_tokens":100,"system":[{"type":"text","text":"You are an agent."}],"tools":[{"name":"Bash","description":"Runs a command.","input_schema":{"type":"object","properties":{"command":{"type":"string"}}}}],"messages":[`)
	for i := 0; len(b) < size; i++ {
		b = fmt.Appendf(b, `{"role":"user","content":"Read file %d, please, and tell me what \"it\" says about the quick brown fox.\n"},`, i)
		b = fmt.Appendf(b, `{"role":"assistant","content":[{"type":"tool_use","id":"toolu_%d","name":"Bash","input":{"command":"cat %d"}}]},`, i, i)
		b = fmt.Appendf(b, `{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_%d","content":"%s"}]},`, i, strings.Repeat(`a line of a file\n`, 20))
	}
	return append(b[:len(b)-1], `]}`...)
}

func BenchmarkPeek(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20} {
		body := prompt(size)
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := codec.Peek(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTranslateRequest(b *testing.B) {
	body := prompt(1 << 10)
	b.ReportAllocs()
	for b.Loop() {
		r, err := codec.DecodeRequest(body)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := codec.EncodeRequest(r, wire.Target{}); err != nil {
			b.Fatal(err)
		}
	}
}
