package repair

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample is one case of the corpus: a text as a model printed it, and what is
// in it.
type sample struct {
	name, text, rest string
	calls            []string // NAME ARGUMENTS
	shape            string   // of all of them; "" = not said
}

// The corpus is written to be read:
//
//	=== a name
//	-> Bash {"command":"ls"}
//	the text, with ⟦what is taken out⟧ in brackets
//
// A case without calls is one that must be left alone. "~> " names the shape.
// "\CR", at the end of a line, stands for a carriage return.
func corpus(t testing.TB) []sample {
	t.Helper()
	files, err := filepath.Glob("testdata/corpus/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	var out []sample
	seen := map[string]bool{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, body, _ := strings.Cut("\n"+string(b), "\n=== ")
		if strings.TrimSpace(head) != "" {
			t.Fatalf("%s begins with something that is no case", file)
		}
		for chunk := range strings.SplitSeq(body, "\n=== ") {
			var c sample
			c.name, chunk, _ = strings.Cut(chunk, "\n")
			c.name = strings.TrimSuffix(filepath.Base(file), ".txt") + "/" + c.name
			if seen[c.name] {
				t.Fatalf("%s stands twice", c.name)
			}
			seen[c.name] = true
			for {
				line, rest, _ := strings.Cut(chunk, "\n")
				if call, ok := strings.CutPrefix(line, "-> "); ok {
					c.calls = append(c.calls, call)
				} else if shape, ok := strings.CutPrefix(line, "~> "); ok {
					c.shape = shape
				} else {
					break
				}
				chunk = rest
			}
			chunk = strings.ReplaceAll(strings.TrimSuffix(chunk, "\n"), "\\CR\n", "\r\n")
			c.text = strings.NewReplacer("⟦", "", "⟧", "").Replace(chunk)
			for chunk != "" {
				keep, taken, ok := strings.Cut(chunk, "⟦")
				c.rest += keep
				_, chunk, _ = strings.Cut(taken, "⟧")
				if !ok {
					break
				}
			}
			out = append(out, c)
		}
	}
	return out
}

// agentTools are the tools that the corpus may call.
func agentTools() *Tools {
	object := func(required string, props string) []byte {
		return []byte(`{"type":"object","properties":{` + props + `},"required":[` + required + `],"additionalProperties":false}`)
	}
	return NewTools([]Tool{
		{"Bash", object(`"command"`, `"command":{"type":"string"},"timeout":{"type":"number"},"run_in_background":{"type":"boolean"}`)},
		{"Read", object(`"file_path"`, `"file_path":{"type":"string"},"limit":{"type":"integer"}`)},
		{"Write", object(`"file_path","content"`, `"file_path":{"type":"string"},"content":{"type":"string"}`)},
		{"Grep", object(`"pattern"`, `"pattern":{"type":"string"},"path":{"type":"string"},"-i":{"type":"boolean"}`)},
		{"TodoWrite", object(`"todos"`, `"todos":{"type":"array","items":{"type":"object"}}`)},
		{"TodoRead", object(``, ``)},
		{"search", object(`"query"`, `"query":{"type":"string"},"max_results":{"type":["integer","null"]}`)},
		{"mcp__ev__echo", object(`"text"`, `"text":{"type":"string"}`)},
		{"anything", nil},
		{"Twin", nil},
		{"TWIN", nil},
	})
}

// scanned runs a text through a scanner in pieces of the sizes given, the rest in one.
func scanned(t *Tools, text string, sizes ...int) (string, []Call) {
	s := NewScanner(t)
	var pieces []Piece
	var rest strings.Builder
	var calls []Call
	for _, n := range sizes {
		n = min(n, len(text))
		pieces = s.Feed(pieces, text[:n])
		text = text[n:]
	}
	pieces = s.Close(s.Feed(pieces, text))
	for _, p := range pieces {
		if p.Call != nil {
			calls = append(calls, *p.Call)
		} else {
			rest.WriteString(p.Text)
		}
	}
	return rest.String(), calls
}

func same(a, b []Call) bool {
	return slices.EqualFunc(a, b, func(x, y Call) bool {
		return x.Name == y.Name && x.Shape == y.Shape && bytes.Equal(x.Arguments, y.Arguments)
	})
}

func shown(calls []Call) []string {
	var out []string
	for _, c := range calls {
		var b bytes.Buffer
		if json.Compact(&b, c.Arguments) != nil {
			b.WriteString("NO JSON: " + string(c.Arguments))
		}
		out = append(out, c.Name+" "+b.String())
	}
	return out
}

func TestCorpus(t *testing.T) {
	tools := agentTools()
	positive, negative := 0, 0
	for _, c := range corpus(t) {
		if len(c.calls) > 0 {
			positive++
		} else {
			negative++
		}
		t.Run(c.name, func(t *testing.T) {
			rest, calls := Text(tools, c.text)
			if d := cmp.Diff(c.calls, shown(calls)); d != "" {
				t.Errorf("calls (-want +got):\n%s", d)
			}
			if d := cmp.Diff(c.rest, rest); d != "" {
				t.Errorf("text (-want +got):\n%s", d)
			}
			for _, call := range calls {
				if c.shape != "" && call.Shape.String() != c.shape {
					t.Errorf("shape %s, want %s", call.Shape, c.shape)
				}
			}
			if again, more := Text(tools, rest); again != rest || more != nil {
				t.Errorf("repairing the repaired found %q and left %q", shown(more), again)
			}
			for cut := 1; cut < len(c.text); cut++ {
				r, cs := scanned(tools, c.text, cut)
				if r != rest || !same(cs, calls) {
					t.Fatalf("cut at %d: text %q calls %q", cut, r, shown(cs))
				}
			}
			ones := make([]int, len(c.text))
			for i := range ones {
				ones[i] = 1
			}
			if r, cs := scanned(tools, c.text, ones...); r != rest || !same(cs, calls) {
				t.Fatalf("byte by byte: text %q calls %q", r, shown(cs))
			}
		})
	}
	if positive < 80 || negative < 70 {
		t.Errorf("the corpus has %d texts with calls and %d without; it is to have 80 and 70 at least", positive, negative)
	}
}
