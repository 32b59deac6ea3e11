package redact

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestPieces(t *testing.T) {
	r := New("correct horse battery").With("another secret", "correct horse battery")
	for _, tt := range []struct {
		name     string
		in, want []string
		cut      bool
	}{
		{"none", nil, nil, false},
		{"no secret", []string{"a", "", "b"}, []string{"a", "", "b"}, false},
		{"in one piece", []string{"x", "a correct horse battery.", "y"}, []string{"x", "a [redacted].", "y"}, false},
		{"over two", []string{"a correct ho", "rse battery b"}, []string{"a [redacted]", " b"}, false},
		{"over many", []string{"a cor", "rect", "", " horse bat", "tery"}, []string{"a [redacted]", "", "", "", ""}, false},
		{"two, and one begins where the other ended", []string{"correct horse batteryano", "ther secret!"}, []string{"[redacted][redacted]", "!"}, false},
		{"by its form", []string{"key sk-abcdef", "ghijklmnop done"}, []string{"key [redacted]", " done"}, false},
		{"a beginning in the middle is none", []string{"a correct horse", " mare"}, []string{"a correct horse", " mare"}, true},
		{"a beginning at the end", []string{"a correct", " hor"}, []string{"a [redacted]", ""}, true},
		{"a beginning at the end of what is whole", []string{"a correct", " hor"}, []string{"a correct", " hor"}, false},
		{"a short beginning", []string{"a corre"}, []string{"a corre"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, r.Pieces(tt.in, tt.cut)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	var nobody *Redactor
	if got := nobody.Pieces([]string{"Bearer abc", "123def"}, true); got[0] != "Bearer [redacted]" || got[1] != "" {
		t.Errorf("%q", got)
	}
	if got := nobody.With("another secret").String("another secret"); got != Mask {
		t.Errorf("%q", got)
	}
}

// TestPiecesAreTheWhole: however a text is cut, its pieces come to what String
// makes of it.
func TestPiecesAreTheWhole(t *testing.T) {
	r := New("correct horse battery", "another secret")
	part := rapid.SampledFrom([]string{"correct horse battery", "another secret", "sk-abcdefghijklmn", "Bearer x1234567", "text ", "\n", "[", "redacted", "]", "é", `\u0063orrect horse battery`})
	rapid.Check(t, func(t *rapid.T) {
		whole := strings.Join(rapid.SliceOfN(part, 0, 6).Draw(t, "parts"), "")
		var pieces []string
		for rest := whole; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		if got, want := strings.Join(r.Pieces(pieces, false), ""), r.String(whole); got != want {
			t.Fatalf("%q in %q\n got %q\nwant %q", whole, pieces, got, want)
		}
	})
}
