package openai

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey/internal/wire"
)

func TestRewrite(t *testing.T) {
	yes, no := true, false
	const stripped = "x-anthropic-billing-header: cc=1"
	tests := []struct {
		name, in string
		x        wire.Edits
		want     string
	}{
		{"nothing is touched", `{ "a": 1.0e3, "messages": [ ], "a": null }`, wire.Edits{}, `{ "a": 1.0e3, "messages": [ ], "a": null }`},
		{"the model in its place", `{"x":null, "model" : "a"}`, wire.Edits{Model: "b"}, `{"x":null, "model" : "b"}`},
		{"the profile goes", `{"model":"a","profile":"p","x":1}`, wire.Edits{}, `{"model":"a","x":1}`},
		{"usage is asked for", `{"stream":true}`, wire.Edits{IncludeUsage: true}, `{"stream":true,"stream_options":{"include_usage":true}}`},
		{"usage is asked for in the caller's options", `{"stream":true,"stream_options":{"x":1}}`, wire.Edits{IncludeUsage: true}, `{"stream":true,"stream_options":{"include_usage":true,"x":1}}`},
		{"a no becomes a yes", `{"stream":true,"stream_options":{"include_usage": false ,"x":1}}`, wire.Edits{IncludeUsage: true}, `{"stream":true,"stream_options":{"include_usage": true ,"x":1}}`},
		{"null options", `{"stream":true,"stream_options":null}`, wire.Edits{IncludeUsage: true}, `{"stream":true,"stream_options":{"include_usage":true}}`},
		{"empty options", `{"stream":true,"stream_options":{ }}`, wire.Edits{IncludeUsage: true}, `{"stream":true,"stream_options":{"include_usage":true}}`},
		{"what is no stream has no options", `{"stream":false}`, wire.Edits{IncludeUsage: true}, `{"stream":false}`},
		{"options go with the stream", `{"stream":true,"stream_options":{"include_usage":true}}`, wire.Edits{Stream: &no, IncludeUsage: true}, `{"stream":false}`},
		{"a stream that we ask for", `{"a":1}`, wire.Edits{Stream: &yes, IncludeUsage: true}, `{"a":1,"stream":true,"stream_options":{"include_usage":true}}`},
		{"dropped options are not asked for", `{"stream":true}`, wire.Edits{IncludeUsage: true, Drop: []string{"stream_options"}}, `{"stream":true}`},
		{"options stand once", `{"stream":true}`, wire.Edits{IncludeUsage: true, Extra: []wire.ExtraField{{Key: "stream_options", Value: []byte("{}")}}}, `{"stream":true,"stream_options":{"include_usage":true}}`},
		{"limits are renamed", `{"max_tokens":5}`, wire.Edits{MaxTokensKey: "max_completion_tokens"}, `{"max_completion_tokens":5}`},
		{"limits are renamed the other way", `{"max_completion_tokens":5}`, wire.Edits{MaxTokensKey: "max_tokens"}, `{"max_tokens":5}`},
		{"a line at the end of a string", `{"messages":[{"role":"system","content":"a"},{"role":"user","content":"b"}]}`, wire.Edits{AppendSystem: "x\"y"}, `{"messages":[{"role":"system","content":"a\nx\"y"},{"role":"user","content":"b"}]}`},
		{"a line in an empty string", `{"messages":[{"role":"system","content":""}]}`, wire.Edits{AppendSystem: "x"}, `{"messages":[{"role":"system","content":"x"}]}`},
		{"a line for a developer, in the last leading message", `{"messages":[{"role":"system","content":"a"},{"content":"b","role":"developer"},{"role":"user"},{"role":"system","content":"c"}]}`, wire.Edits{AppendSystem: "x"}, `{"messages":[{"role":"system","content":"a"},{"content":"b\nx","role":"developer"},{"role":"user"},{"role":"system","content":"c"}]}`},
		{"a line in the last part", `{"messages":[{"role":"system","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}`, wire.Edits{AppendSystem: "x"}, `{"messages":[{"role":"system","content":[{"type":"text","text":"a"},{"type":"text","text":"b\nx"}]}]}`},
		{"a line as a part", `{"messages":[{"role":"system","content":[ ]}]}`, wire.Edits{AppendSystem: "x"}, `{"messages":[{"role":"system","content":[ {"type":"text","text":"x"}]}]}`},
		{"a line behind a part that is no text", `{"messages":[{"role":"system","content":[{"type":"y"}]}]}`, wire.Edits{AppendSystem: "x"}, `{"messages":[{"role":"system","content":[{"type":"y"},{"type":"text","text":"x"}]}]}`},
		{"a line for null", `{"messages":[{"role":"system","content":null}]}`, wire.Edits{AppendSystem: "x"}, `{"messages":[{"role":"system","content":"x"}]}`},
		{"a line without a system message", `{"messages":[{"role":"user","content":"b"}]}`, wire.Edits{AppendSystem: "x"}, `{"messages":[{"role":"system","content":"x"},{"role":"user","content":"b"}]}`},
		{"a line without messages", `{"messages":[]}`, wire.Edits{AppendSystem: "x"}, `{"messages":[{"role":"system","content":"x"}]}`},
		{"a changing line", `{"messages":[{"role":"system","content":"` + stripped + `\nstay"}]}`, wire.Edits{StripLines: true}, `{"messages":[{"role":"system","content":"stay"}]}`},
		{"a changing message", `{"messages":[{"role":"system","content":"` + stripped + `"},{"role":"user","content":"b"}]}`, wire.Edits{StripLines: true}, `{"messages":[{"role":"user","content":"b"}]}`},
		{"a changing message that gets a line", `{"messages":[{"role":"system","content":"` + stripped + `"},{"role":"user","content":"b"}]}`, wire.Edits{StripLines: true, AppendSystem: "x"}, `{"messages":[{"role":"system","content":"x"},{"role":"user","content":"b"}]}`},
		{"a changing part", `{"messages":[{"role":"system","content":[{"type":"text","text":"` + stripped + `"},{"type":"text","text":"b"}]}]}`, wire.Edits{StripLines: true, AppendSystem: "x"}, `{"messages":[{"role":"system","content":[{"type":"text","text":"b\nx"}]}]}`},
		{"a changing part alone", `{"messages":[{"role":"system","content":[{"type":"text","text":"` + stripped + `"}]},{"role":"user"}]}`, wire.Edits{StripLines: true}, `{"messages":[{"role":"user"}]}`},
		{"a changing message before another", `{"messages":[{"role":"system","content":"` + stripped + `"},{"role":"system","content":"b"}]}`, wire.Edits{StripLines: true, AppendSystem: "x"}, `{"messages":[{"role":"system","content":"b\nx"}]}`},
		{"messages that are none", `{"messages":"x"}`, wire.Edits{StripLines: true, AppendSystem: "x"}, `{"messages":"x"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := Chat{}.Rewrite([]byte(tt.in), tt.x)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(b.Bytes())); diff != "" {
				t.Error(diff)
			}
			if !json.Valid(b.Bytes()) {
				t.Error("no JSON")
			}
		})
	}
	if _, err := (Chat{}).Rewrite([]byte(`[]`), wire.Edits{}); err == nil {
		t.Error("a list was taken")
	}
}

// FuzzRewrite holds what must be true of any edit: JSON stays JSON, and without
// an edit nothing changes.
func FuzzRewrite(f *testing.F) {
	f.Add([]byte(`{"model":"a","messages":[{"role":"system","content":"x-a-b: c\nd"}],"stream":true,"stream_options":{"a":1}}`))
	f.Add([]byte(`{"messages":[{"role":"system","content":[{"type":"text","text":"x-a-b: c"},{"text":""}]},{"role":"developer","content":null}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		same, err := Chat{}.Rewrite(body, wire.Edits{})
		if err != nil {
			return
		}
		if h, err := (Chat{}).Peek(body); err == nil && h.Profile == "" && !hasKey(body, "profile") && string(same.Bytes()) != string(body) {
			t.Errorf("%s became %s", body, same.Bytes())
		}
		b, err := Chat{}.Rewrite(body, wire.Edits{Model: "m", AppendSystem: "l", IncludeUsage: true, StripLines: true, MaxTokensKey: "max_tokens"})
		if err != nil {
			t.Fatal(err)
		}
		if json.Valid(body) && !json.Valid(b.Bytes()) {
			t.Errorf("%s became %s", body, b.Bytes())
		}
	})
}

func hasKey(body []byte, key string) bool {
	var m map[string]json.RawMessage
	_ = json.Unmarshal(body, &m)
	_, ok := m[key]
	return ok
}
