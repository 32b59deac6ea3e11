package wire_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

func TestEditor(t *testing.T) {
	yes := true
	common := func(x wire.Edits) func(*wire.Editor) { return func(e *wire.Editor) { e.Common(x) } }
	for _, tt := range []struct {
		name, in string
		edit     func(*wire.Editor)
		want     string
	}{
		{"nothing", ` { "a" : 1.0 , "a":null } `, common(wire.Edits{}), ` { "a" : 1.0 , "a":null } `},
		{"model", `{"x":1,"model": "old" ,"y":2}`, common(wire.Edits{Model: `n"w`}), `{"x":1,"model": "n\"w" ,"y":2}`},
		{"no model yet", `{"x":1}`, common(wire.Edits{Model: "m"}), `{"x":1,"model":"m"}`},
		{"an empty object", ` { } `, common(wire.Edits{Model: "m"}), ` {"model":"m" } `},
		{"profile goes, with its comma", `{"profile":"p", "x":1}`, common(wire.Edits{}), `{"x":1}`},
		{"profile in the middle", `{"x":1 , "profile":"p" , "y":2}`, common(wire.Edits{}), `{"x":1 , "y":2}`},
		{"profile at the end", "{\"x\":1,\n \"profile\":\"p\"\n}", common(wire.Edits{}), "{\"x\":1\n}"},
		{"profile alone", `{ "profile":"p" }`, common(wire.Edits{}), `{  }`},
		{"profile alone and an addition", `{ "profile":"p" }`, common(wire.Edits{Model: "m"}), `{"model":"m"  }`},
		{"several go", `{"a":1,"b":2,"c":3,"d":4}`, common(wire.Edits{Drop: []string{"a", "b", "d"}}), `{"c":3}`},
		{"the last two go and one comes", `{"a":1,"b":2,"c":3}`, common(wire.Edits{Drop: []string{"b", "c"}, Model: "m"}), `{"a":1,"model":"m"}`},
		{"an escaped key", `{"pro\u0066ile" : "p","x":1}`, common(wire.Edits{}), `{"x":1}`},
		{"extra fields stand under the request's own", `{"a":1}`, common(wire.Edits{Extra: []wire.ExtraField{{Key: "a", Value: []byte("2")}, {Key: "b", Value: []byte(`{"c":1}`)}}}), `{"a":1,"b":{"c":1}}`},
		{"dropped and extra", `{"t":1,"x":2}`, common(wire.Edits{Drop: []string{"t"}, Extra: []wire.ExtraField{{Key: "t", Value: []byte("0")}}}), `{"x":2,"t":0}`},
		{"stream", `{"stream":false,"x":1}`, common(wire.Edits{Stream: &yes}), `{"stream":true,"x":1}`},
		{"a field that is set and dropped", `{"model":"m","x":1}`, common(wire.Edits{Model: "n", Drop: []string{"model"}}), `{"x":1}`},
		{"rename", `{"max_\u0074okens" : 5,"x":1}`, func(e *wire.Editor) { e.Rename("max_tokens", "max_completion_tokens") }, `{"max_completion_tokens" : 5,"x":1}`},
		{"rename to what is there", `{"a":5,"b":6}`, func(e *wire.Editor) { e.Rename("a", "b") }, `{"b":6}`},
		{"duplicates", `{"a":1,"b":2,"a":3}`, func(e *wire.Editor) { e.Set("a", []byte("0")) }, `{"a":0,"b":2,"a":0}`},
		{"a cut item", `{"l":[1, 2 ,3]}`, func(e *wire.Editor) {
			m := e.Find("l")
			s := scan.New(m.Value)
			var spans [][2]int
			for range s.Items() {
				from, to := s.Span()
				spans = append(spans, [2]int{m.At + from, m.At + to})
			}
			e.CutItem(spans, 2)
		}, `{"l":[1, 2]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := wire.Edit([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			tt.edit(e)
			b := e.Body()
			if got := string(b.Bytes()); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if b.Len() != int64(len(tt.want)) {
				t.Errorf("length %d, want %d", b.Len(), len(tt.want))
			}
			if err := iotest.TestReader(b.Reader(), []byte(tt.want)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEditRefuses(t *testing.T) {
	for in, want := range map[string]string{
		`[1]`:    "the body is a list; send one JSON object",
		`{"a":1`: "the body is no JSON: unexpected end at byte 6; send one JSON object",
		``:       "the body is no JSON: unexpected end at byte 0; send one JSON object",
		`{"a":` + strings.Repeat("[", 512) + strings.Repeat("]", 512) + "}": "the body is nested deeper than 512; flatten it",
	} {
		_, err := wire.Edit([]byte(in))
		if e, ok := err.(*wire.BodyError); !ok || e.Error() != want {
			t.Errorf("%.20s: %v, want %s", in, err, want)
		}
	}
}

// FuzzEditor says that what is not edited stays as it is.
func FuzzEditor(f *testing.F) {
	f.Add([]byte(` {"model":"m", "profile":null,"x":[1,{"model":2}],"seed" : 1e5 ,"stream":true} `), "x", "seed")
	f.Add([]byte(`{"a":1,"a":2,"b":{}}`), "a", "c")
	f.Fuzz(func(t *testing.T, body []byte, drop, extra string) {
		e, err := wire.Edit(body)
		if err != nil {
			if json.Valid(body) && len(bytes.TrimSpace(body)) > 0 && bytes.TrimSpace(body)[0] == '{' && bytes.Count(body, []byte("["))+bytes.Count(body, []byte("{")) <= 512 {
				t.Fatalf("refused: %v", err)
			}
			return
		}
		if got := e.Body().Bytes(); !bytes.Equal(got, body) {
			t.Fatalf("without an edit %q became %q", body, got)
		}
		e, _ = wire.Edit(body)
		e.Common(wire.Edits{Model: "new", Drop: []string{drop}, Extra: []wire.ExtraField{{Key: extra, Value: []byte("[1]")}}})
		got := e.Body().Bytes()
		if !json.Valid(got) {
			t.Fatalf("%q became %q", body, got)
		}
		before, after := members(body), members(got)
		var want [][2]string
		hadModel := false
		for _, m := range before {
			switch {
			case m[0] == "profile", m[0] == drop:
			case m[0] == "model":
				hadModel = true
				want = append(want, [2]string{"model", `"new"`})
			default:
				want = append(want, m)
			}
		}
		for i, m := range want {
			if i >= len(after) || after[i] != m {
				t.Fatalf("%q became %q: field %d", body, got, i)
			}
		}
		if !hadModel && drop != "model" && !strings.Contains(string(got), `"model":"new"`) {
			t.Fatalf("no model in %q", got)
		}
	})
}

func members(body []byte) (out [][2]string) {
	s := scan.New(body)
	for key := range s.Fields() {
		k := string(key)
		out = append(out, [2]string{k, string(s.Raw())})
	}
	return out
}

// TestBodyIsNotCopied holds the gateway contract §19: for a prompt of 1 MB the bytes
// allocated, reading it included, stay below one and a half times its size.
func TestBodyIsNotCopied(t *testing.T) {
	in := []byte(`{"model":"m","profile":"p","messages":[{"role":"user","content":"` + strings.Repeat("word ", 1<<18) + `"}],"seed":1}`)
	res := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			body := make([]byte, len(in)) // as read by Content-Length
			copy(body, in)
			e, err := wire.Edit(body)
			if err != nil {
				b.Fatal(err)
			}
			e.Common(wire.Edits{Model: "other", Drop: []string{"seed"}, Extra: []wire.ExtraField{{Key: "k", Value: []byte("1")}}})
			if _, err := io.Copy(io.Discard, e.Body().Reader()); err != nil {
				b.Fatal(err)
			}
		}
	})
	if got := res.AllocedBytesPerOp(); got > int64(len(in))*3/2 {
		t.Errorf("%d bytes allocated for a body of %d", got, len(in))
	}
}

func TestBodyReaders(t *testing.T) {
	b := wire.NewBody([]byte("ab"), nil, []byte("cde"), []byte("f"))
	var out bytes.Buffer
	if n, err := b.Reader().(io.WriterTo).WriteTo(&out); n != 6 || err != nil || out.String() != "abcdef" {
		t.Errorf("wrote %d, %v: %q", n, err, out.String())
	}
	if err := iotest.TestReader(b.Reader(), []byte("abcdef")); err != nil {
		t.Error(err)
	}
	var zero wire.Body
	if got, err := io.ReadAll(zero.Reader()); len(got) > 0 || err != nil || zero.Len() != 0 || len(zero.Bytes()) > 0 {
		t.Errorf("the zero body reads %q, %v", got, err)
	}
	one := []byte("whole")
	if got := wire.NewBody(one).Bytes(); &got[0] != &one[0] {
		t.Error("a body of one part is copied")
	}
}

func TestChangingLine(t *testing.T) {
	for _, tt := range []struct {
		text  string
		left  string
		whole bool
	}{
		{"x-anthropic-billing-header: cc_version=2.1; cch=1", "", true},
		{"x-anthropic-billing-header: a\\b\nYou are", "You are", false},
		{"x-anthropic-billing-header: a\n", "", true},
		{"X-ray: see below\nmore", "X-ray: see below\nmore", false},
		{"x-ray: see below\nmore", "x-ray: see below\nmore", false},
		{"You are x-a-b: no", "You are x-a-b: no", false},
		{"", "", false},
	} {
		if got := tt.text[wire.ChangingLine(tt.text):]; got != tt.left {
			t.Errorf("%q leaves %q, want %q", tt.text, got, tt.left)
		}
		quoted := scan.AppendString(nil, tt.text)
		n, whole := wire.ChangingLineQuoted(quoted)
		got := string(scan.Unquote(append([]byte{'"'}, quoted[1+n:]...)))
		if got != tt.left || whole != tt.whole {
			t.Errorf("%s leaves %q (whole %v), want %q (%v)", quoted, got, whole, tt.left, tt.whole)
		}
	}
}

func TestEstimator(t *testing.T) {
	for _, tt := range []struct {
		name   string
		blocks []wire.Block
		want   int
	}{
		{"nothing", nil, 0},
		{"four characters are a token", []wire.Block{{Text: "abcd"}}, 1},
		{"rounded up", []wire.Block{{Text: "abcde"}}, 2},
		{"beyond ASCII", []wire.Block{{Text: "日本語日本"}}, 4},
		{"rounded once, over all", []wire.Block{{Text: "a"}, {Kind: wire.Reasoning, Text: "b"}, {Text: "é"}}, 2},
		{"flat", []wire.Block{{Kind: wire.Image, Data: strings.Repeat("A", 9999)}, {Kind: wire.Document, Text: "long"}}, 3500},
		{"a call", []wire.Block{{Kind: wire.ToolUse, Name: "Bash", Input: json.RawMessage(`{"a": "\u0041b"}`)}}, 4},
		{"a result", []wire.Block{{Kind: wire.ToolResult, Content: []wire.Block{{Text: "abcd"}, {Kind: wire.Image}}}}, 1501},
	} {
		var e wire.Estimator
		e.Blocks(tt.blocks)
		if got := e.Tokens(); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
