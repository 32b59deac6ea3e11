package process

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestOutputLogRotates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "process-x.log")
	l := outputLog{path: path, max: 10}
	for _, s := range []string{"aaaaaa", "bbbb", "c", "dddddddddddddddd", "e", "f"} {
		if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	l.Close()
	l = outputLog{path: path, max: 10}
	for _, s := range []string{"gggggggg", "hh", "iiiiiiiiii"} {
		_, _ = l.Write([]byte(s))
	}
	l.Close()
	for name, want := range map[string]string{"": "iiiiiiiiii", ".1": "hh", ".2": "efgggggggg", ".3": "dddddddddddddddd"} {
		if got, err := os.ReadFile(path + name); string(got) != want || err != nil {
			t.Errorf("%q holds %q, %v; want %q", name, got, err, want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if files, _ := filepath.Glob(path + "*"); len(files) != 1+logKeep {
		t.Error(files)
	}
}

func TestOutputLogOutlivesTrouble(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	l := outputLog{path: filepath.Join(dir, "x.log"), max: 10}
	if n, err := l.Write([]byte("lost")); n != 4 || err != nil {
		t.Error("the trouble reached the process:", n, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	_, _ = l.Write([]byte("kept"))
	// What is in the way cannot be moved: a directory that holds something.
	if err := os.MkdirAll(l.path+".1/x", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(l.path+".2/x", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(l.path+".3/x", 0o700); err != nil {
		t.Fatal(err)
	}
	_, _ = l.Write([]byte("a new one"))
	l.Close()
	if got, _ := os.ReadFile(l.path); string(got) != "a new one" {
		t.Errorf("%q", got)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tl tail
		var all bytes.Buffer
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 3*keptOutput), 1, 8).Draw(t, "writes") {
			b := bytes.Repeat([]byte{byte('a' + n%26)}, n)
			all.Write(b)
			if m, err := tl.Write(b); m != n || err != nil {
				t.Fatal(m, err)
			}
		}
		if want := all.Bytes()[max(0, all.Len()-keptOutput):]; tl.String() != string(want) {
			t.Fatalf("%d bytes kept of %d", len(tl.String()), all.Len())
		}
	})
}

func TestLastBytesCutsNoCharacter(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"abc", 5, "abc"}, {"abc", 2, "bc"}, {"aäb", 2, "b"}, {"a€b", 3, "b"}, {"a€b", 4, "€b"}, {"\xff\xffa", 4, "\uFFFDa"}, {"", 3, ""},
	} {
		if got := lastBytes(c.in, c.n); got != c.want {
			t.Errorf("%q, %d: %q", c.in, c.n, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s, n := string(rapid.SliceOf(rapid.Byte()).Draw(t, "s")), rapid.IntRange(0, 20).Draw(t, "n")
		if got := lastBytes(s, n); len(got) > n || !utf8.ValidString(got) {
			t.Fatalf("%q, %d: %q", s, n, got)
		}
	})
	if got := lastBytes(strings.Repeat("\x80", 9), 4); len(got) > 4 {
		t.Errorf("%q", got)
	}
}
