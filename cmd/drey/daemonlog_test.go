package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dreyhq/drey/internal/discover"
	"github.com/dreyhq/drey/internal/statedir"
)

func appendTo(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestCappedLogRotates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "drey.log")
	waker := appendTo(t, path) // who has the same file open
	daemon := appendTo(t, path)
	say := func(w interface{ Write([]byte) (int, error) }, s string) {
		t.Helper()
		if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	say(waker, "waker 1\n")
	l := newCappedLog(path, 19, daemon)
	if l == nil {
		t.Fatal("it is the log, open for appending")
	}
	say(l, "one\n")      // 12 bytes
	say(waker, "wk\n")   // which the daemon does not count
	say(l, "two two\n")  // 20 that it knows of: full
	say(waker, "wk 2\n") // behind the cut, and no hole before it
	say(l, "three three three three\n")
	say(l, "four four four four four\n")
	say(l, "five five five five five\n")
	say(l, "six\n")
	for name, want := range map[string]string{
		"": "six\n", ".1": "five five five five five\n", ".2": "four four four four four\n", ".3": "wk 2\nthree three three three\n",
	} {
		if got, err := os.ReadFile(path + name); string(got) != want || err != nil {
			t.Errorf("%q holds %q, %v; want %q", name, got, err, want)
		}
		if info, err := os.Stat(path + name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%q: %v, %v", name, info.Mode(), err)
		}
	}
	if files, _ := filepath.Glob(path + "*"); len(files) != 1+daemonLogKeep {
		t.Error(files)
	}
}

func TestCappedLogLeavesOtherFilesAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "drey.log")
	if newCappedLog(path, 20, appendTo(t, filepath.Join(dir, "elsewhere"))) != nil {
		t.Error("another file was taken for the log, and there is none")
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if newCappedLog(path, 20, f) != nil {
		t.Error("a file that is not open for appending was taken: a cut would leave a hole")
	}
	if newCappedLog(path, 20, appendTo(t, filepath.Join(dir, "elsewhere"))) != nil {
		t.Error("another file was taken for the log")
	}
	// Somebody else rotates it: what he keeps is not cut.
	l := newCappedLog(path, 20, appendTo(t, path))
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := l.Write([]byte("a line of more than twenty bytes\n")); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path + ".old"); strings.Count(string(got), "\n") != 3 || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCappedLogOutlivesTrouble(t *testing.T) {
	path := filepath.Join(t.TempDir(), "drey.log")
	for _, name := range []string{".1", ".2", ".3"} { // nothing can be moved there
		if err := os.MkdirAll(path+name+"/x", 0o700); err != nil {
			t.Fatal(err)
		}
	}
	l := newCappedLog(path, 20, appendTo(t, path))
	for _, s := range []string{"a line of more than twenty bytes\n", "kept\n"} {
		if _, err := l.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); string(got) != "kept\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestOpenDaemonLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "drey.log")
	for _, tt := range []struct {
		size int
		want int64 // of the log that is opened
	}{{0, 0}, {daemonLogBytes, daemonLogBytes}, {daemonLogBytes + 1, 0}} {
		if err := os.WriteFile(path, bytes.Repeat([]byte("x"), tt.size), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := openDaemonLog(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		f.Close()
		if err != nil || info.Size() != tt.want || info.Mode().Perm() != 0o600 {
			t.Errorf("%d: %v, %v", tt.size, info, err)
		}
	}
	if info, err := os.Stat(path + ".1"); err != nil || info.Size() != daemonLogBytes+1 {
		t.Errorf("the full one is kept as .1: %v, %v", info, err)
	}
}

// A daemon whose standard error is the log of its home keeps it small.
func TestServeCapsItsLog(t *testing.T) {
	root, err := os.MkdirTemp("", "drey") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	home, err := statedir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(home.Config(), []byte("version: 1\nlisten: {addr: \"127.0.0.1:0\"}\nproviders:\n  a: {wire: openai, url: \"demo:echo\"}\nprofiles:\n  default: {chain: [a]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(home.DaemonLog(), bytes.Repeat([]byte("x"), daemonLogBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out bytes.Buffer
	c := newCLI(strings.NewReader(""), &out, appendTo(t, home.DaemonLog()))
	c.base.Look = func(context.Context) []discover.Found { return nil }
	c.base.Ready = func(string) { stop() }
	if code := c.run(ctx, []string{"serve", "--home", root}); code != exitOK {
		t.Fatalf("exit %d", code)
	}
	if info, err := os.Stat(home.DaemonLog()); err != nil || info.Size() > daemonLogBytes/2 {
		t.Errorf("%v, %v", info.Size(), err)
	}
	if info, err := os.Stat(home.DaemonLog() + ".1"); err != nil || info.Size() <= daemonLogBytes {
		t.Errorf("%v, %v", info, err)
	}
}
