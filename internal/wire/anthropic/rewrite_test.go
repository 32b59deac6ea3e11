package anthropic_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/dreyhq/drey/internal/wire"
)

func TestRewrite(t *testing.T) {
	strip := wire.Edits{StripLines: true}
	add := wire.Edits{AppendSystem: `Be "brief".`}
	both := wire.Edits{StripLines: true, AppendSystem: "End."}
	const line = `x-anthropic-billing-header: cc_version=2.1.197.a; cch=0;`
	for _, tt := range []struct {
		name, in string
		edits    wire.Edits
		want     string
	}{
		{"nothing", ` {"model" : "m" , "n":1.0e+2,"messages" : [ ]} `, wire.Edits{}, ` {"model" : "m" , "n":1.0e+2,"messages" : [ ]} `},
		{"append without a system", `{"x":1}`, add, `{"x":1,"system":"Be \"brief\"."}`},
		{"append to null", `{"system":null,"x":1}`, add, `{"system":"Be \"brief\".","x":1}`},
		{"append to an empty string", `{"system":""}`, add, `{"system":"Be \"brief\"."}`},
		{"append to a string", `{"system":"Hi."}`, add, `{"system":"Hi.\nBe \"brief\"."}`},
		{"append to blocks", `{"system":[ {"type":"text","text":"Hi."} ]}`, add, `{"system":[ {"type":"text","text":"Hi."},{"type":"text","text":"Be \"brief\"."} ]}`},
		{"append to no blocks", `{"system":[]}`, add, `{"system":[{"type":"text","text":"Be \"brief\"."}]}`},
		{"a system of a wrong type is the provider's to refuse", `{"system":7}`, both, `{"system":7}`},
		{"strip a line", `{"system":"` + line + `\nHi."}`, strip, `{"system":"Hi."}`},
		{"strip all there is", `{"a":1,"system":"` + line + `"}`, strip, `{"a":1}`},
		{"strip all and append", `{"system":"` + line + `"}`, both, `{"system":"End."}`},
		{"strip a line and append", `{"system":"` + line + `\nHi."}`, both, `{"system":"Hi.\nEnd."}`},
		{"strip a block", `{"system":[{"type":"text","text":"` + line + `"}, {"type":"text","text":"Hi."}]}`, strip, `{"system":[{"type":"text","text":"Hi."}]}`},
		{"strip a block's line", `{"system":[{"text":"` + line + `\nHi.","type":"text"}]}`, both, `{"system":[{"text":"Hi.","type":"text"},{"type":"text","text":"End."}]}`},
		{"strip the only block", `{"system":[{"type":"text","text":"` + line + `"}],"x":1}`, strip, `{"x":1}`},
		{"strip the only block and append", `{"system":[{"type":"text","text":"` + line + `"}],"x":1}`, both, `{"system":[{"type":"text","text":"End."}],"x":1}`},
		{"only the first block is looked at", `{"system":[{"type":"text","text":"Hi."},{"type":"text","text":"` + line + `"}]}`, strip, `{"system":[{"type":"text","text":"Hi."},{"type":"text","text":"` + line + `"}]}`},
		{"the system is dropped and appended to", `{"system":"Hi.","x":1}`, wire.Edits{AppendSystem: "y", Drop: []string{"system"}}, `{"x":1}`},
		{"our own thinking is never sent", `{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"drey1.unsigned"}, {"type":"text","text":"a"},{"signature":"drey1.x","type":"thinking"}]},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"drey1.unsigned"}]},{"role":"user","content":"\"drey1.unsigned"}]}`, wire.Edits{},
			`{"messages":[{"role":"assistant","content":[{"type":"text","text":"a"}]},{"role":"assistant","content":[{"type":"text","text":"[thinking omitted]"}]},{"role":"user","content":"\"drey1.unsigned"}]}`},
		{"a vendor's thinking stays", `{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"\"drey1.","signature":"Er0B"}]}]}`, wire.Edits{},
			`{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"\"drey1.","signature":"Er0B"}]}]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := codec.Rewrite([]byte(tt.in), tt.edits)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(b.Bytes()); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func FuzzRewrite(f *testing.F) {
	f.Add([]byte(`{"model":"m","system":"x-a-b: c\nHi","messages":[{"role":"user","content":"x"}],"u":[1.0,null]}`))
	f.Add([]byte(`{"system":[{"type":"text","text":"x-a-b: c"}],"messages":[{"role":"assistant","content":[{"type":"thinking","signature":"drey1.x"}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		own := bytes.Contains(body, []byte(`"drey1.`))
		b, err := codec.Rewrite(body, wire.Edits{})
		if err != nil {
			return
		}
		var before map[string]json.RawMessage
		if err := json.Unmarshal(body, &before); err != nil {
			t.Fatalf("took what is no JSON: %v", err)
		}
		if _, ok := before["profile"]; !ok && !own && !bytes.Equal(b.Bytes(), body) {
			t.Fatalf("without an edit %q became %q", body, b.Bytes())
		}
		b, err = codec.Rewrite(body, wire.Edits{Model: "new", AppendSystem: "End.", StripLines: true})
		if err != nil {
			t.Fatal(err)
		}
		var after map[string]json.RawMessage
		if err := json.Unmarshal(b.Bytes(), &after); err != nil {
			t.Fatalf("%q became %q: %v", body, b.Bytes(), err)
		}
		if string(after["model"]) != `"new"` {
			t.Fatalf("model is %s", after["model"])
		}
		if s := string(after["system"]); (before["system"] == nil || before["system"][0] == '"') && !strings.HasSuffix(s, `End."`) {
			t.Fatalf("%s became %s", before["system"], s)
		}
		for key, v := range before {
			if key == "model" || key == "system" || key == "profile" || key == "messages" && own {
				continue
			}
			if !bytes.Equal(after[key], v) {
				t.Fatalf("%s was %s and is %s", key, v, after[key])
			}
		}
	})
}
