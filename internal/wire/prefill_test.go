package wire_test

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/dreyhq/drey/internal/wire"
)

// FuzzPrefill lays the beginning of an answer behind bodies of all wires. What
// comes out is JSON, says the same in the neutral form as the neutral way, and
// leaves a body without it as it was.
func FuzzPrefill(f *testing.F) {
	for _, body := range []string{
		`{"messages":[{"role":"user","content":"a"}],"max_tokens":40,"thinking":{"type":"enabled"}}`,
		`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"So: "}]}`,
		`{"messages":[{"role":"user","content":"a"},{"content":[{"text":"So: ","type":"text"} ],"role":"assistant"} ]}`,
		`{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"b","input":{}}]}]}`,
		`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":null}],"max_completion_tokens":1}`,
		`{"input":"hi \"you\"","max_output_tokens":7}`,
		`{"input":[{"role":"user","content":"a"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"So"}]}]}`,
		`{"messages":[],"input":[]}`, `{}`, `{"messages":{},"input":7,"max_tokens":"x"}`,
	} {
		f.Add([]byte(body), "and \"so\"\non é")
	}
	f.Fuzz(func(t *testing.T, body []byte, text string) {
		if !utf8.ValidString(text) || !utf8.Valid(body) {
			return // JSON has another spelling for it
		}
		p := wire.NewPrefill(text)
		for w, c := range codecs {
			plain, err := c.Rewrite(body, wire.Edits{})
			if err != nil {
				continue
			}
			b, err := c.Rewrite(body, wire.Edits{Prefill: p})
			if err != nil {
				t.Fatalf("%s: %v", w, err)
			}
			if out := b.Bytes(); !json.Valid(out) {
				t.Fatalf("%s: %s became %s", w, body, out)
			}
			was, err := c.DecodeRequest(plain.Bytes())
			if err != nil || len(was.Messages) == 0 || p.Text == "" {
				continue
			}
			got, err := c.DecodeRequest(b.Bytes())
			if err != nil {
				t.Fatalf("%s: %v: %s", w, err, b.Bytes())
			}
			want := was.WithPrefill(p)
			if textOf(got) != textOf(want) || got.MaxTokens != want.MaxTokens {
				t.Fatalf("%s: %q and a limit of %d, want %q and %d\n%s", w, textOf(got), got.MaxTokens, textOf(want), want.MaxTokens, b.Bytes())
			}
		}
	})
}

// textOf is all text of what the assistant has said last.
func textOf(r *wire.Request) (all string) {
	for _, m := range r.Messages {
		if m.Role != wire.Assistant {
			all = ""
			continue
		}
		for _, b := range m.Blocks {
			if b.Kind == wire.Text {
				all += b.Text
			}
		}
	}
	return all
}
