package config

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
)

func splitWords(line string) ([]string, error) { return Command{Line: line}.Words() }

func TestWords(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string // nil: refused
	}{
		{"systemctl --user restart llama", []string{"systemctl", "--user", "restart", "llama"}},
		{"  a \t b  ", []string{"a", "b"}},
		{"a\n", []string{"a"}},
		{`sh -c 'a && b | c > d; e $F'`, []string{"sh", "-c", "a && b | c > d; e $F"}},
		{`a "b c" d' 'e f\ g`, []string{"a", "b c", "d e", "f g"}},
		{`a '' ""`, []string{"a", "", ""}},
		{`a "\$x \" \\ \n \'"`, []string{"a", `$x " \ \n \'`}},
		{`a \$x \; \&`, []string{"a", "$x", ";", "&"}},
		{`a b#c x=y \#`, []string{"a", "b#c", "x=y", "#"}},
		{`"A=b" c`, []string{"A=b", "c"}},
		{`./a=b`, []string{"./a=b"}},
		{"a \xff", []string{"a", "\xff"}},
		{"ä 'ö'", []string{"ä", "ö"}},
		{"curl -X POST http://127.0.0.1:1/x", []string{"curl", "-X", "POST", "http://127.0.0.1:1/x"}},

		{"a && b", nil}, {"a || b", nil}, {"a | b", nil}, {"a; b", nil}, {"a > b", nil}, {"a < b", nil}, {"a 2>&1", nil},
		{"a $(b)", nil}, {"a `b`", nil}, {"a $B", nil}, {`a "$B"`, nil}, {`a "$(b)"`, nil}, {"a \"`b`\"", nil},
		{"~/a", nil}, {"a *", nil}, {"a?", nil}, {"a &", nil}, {"a\nb", nil}, {"a 'b\nc'", nil}, {"a \\\nb", nil},
		{"(a)", nil}, {"a # b", nil}, {"A=b c", nil}, {`A="b c" d`, nil},
		{"", nil}, {"  ", nil}, {"''", nil}, {"a 'b", nil}, {`a "b`, nil}, {`a \`, nil}, {"a \x00", nil},
	} {
		got, err := splitWords(c.line)
		if (err == nil) != (c.want != nil) || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, %v; want %q", c.line, got, err, c.want)
		}
		if err != nil && !strings.Contains(drey.HintOf(err), "restart_shell") {
			t.Errorf("%q: the hint %q does not name restart_shell", c.line, drey.HintOf(err))
		}
		if err != nil && drey.ClassOf(err) != drey.Caller {
			t.Errorf("%q: class %v", c.line, drey.ClassOf(err))
		}
	}
}

func TestWordsErrorsDoNotRepeatTheLine(t *testing.T) {
	for _, line := range []string{"curl -H hunter2 | sh", "a 'hunter2", `a "hunter2 $X"`, "KEY=hunter2 a"} {
		if _, err := splitWords(line); err == nil || strings.Contains(err.Error()+drey.HintOf(err), "hunter2") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// TestWordsIsWhatAShellDoes holds every accepted line against /bin/sh. The
// alphabet can say nothing that harms.
func TestWordsIsWhatAShellDoes(t *testing.T) {
	line := rapid.StringOfN(rapid.SampledFrom([]rune("aab  \t'\"\\;$~*>&#=|()é")), 1, 12, -1)
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		s := line.Draw(t, "line")
		got, err := splitWords("printf %s\\\\n " + s)
		if err != nil {
			return
		}
		cmd := exec.Command("/bin/sh", "-c", "f() { for w; do printf '<%s>' \"$w\"; done; }; f "+s)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v: %s", s, err, out)
		}
		var want strings.Builder
		for _, w := range got[2:] {
			want.WriteString("<" + w + ">")
		}
		if d := cmp.Diff(want.String(), string(out)); d != "" {
			t.Fatalf("%q (-ours +the shell's):\n%s", s, d)
		}
	})
}

func FuzzWords(f *testing.F) {
	for _, s := range []string{"a b", `a 'b c' "d\"e" \f`, "a && b", "'", "\\", "a\x00", "A=b c", "# a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := splitWords(line)
		if err != nil {
			return
		}
		if len(words) == 0 || words[0] == "" {
			t.Fatalf("%q: no command in %q", line, words)
		}
		quoted := make([]string, len(words))
		for i, w := range words {
			if strings.ContainsAny(w, "\n\x00") {
				t.Fatalf("%q: %q is no word of one line", line, w)
			}
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		again, err := splitWords(strings.Join(quoted, " "))
		if err != nil || !slices.Equal(again, words) {
			t.Fatalf("%q: %q became %q, %v", line, words, again, err)
		}
	})
}
