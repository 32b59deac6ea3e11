package statedir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLogIsFlushedEachSecondAndAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	synctest.Test(t, func(t *testing.T) {
		l := OpenLog(LogConfig{Path: path, MaxBytes: 1 << 20, Keep: 3})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Serve(ctx) }()
		l.Append([]byte(`{"n":1}`))
		if got := content(t, path); got != "" {
			t.Errorf("written at once: %q", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := content(t, path); got != "{\"n\":1}\n" {
			t.Errorf("after a second: %q", got)
		}
		l.Append([]byte(strings.Repeat("x", flushAt)))
		synctest.Wait()
		if got := content(t, path); len(got) < flushAt {
			t.Errorf("much waits for the second: %d bytes", len(got))
		}
		l.Append([]byte(`{"n":2}`))
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if got := content(t, path); !strings.HasSuffix(got, "{\"n\":2}\n") {
			t.Error("the end of Serve does not flush")
		}
		l.Append([]byte(`{"event":"drey-shutdown"}`))
		l.Close()
		l.Close()
		if got := content(t, path); !strings.HasSuffix(got, "{\"event\":\"drey-shutdown\"}\n") {
			t.Error("Close does not flush")
		}
		if l.Append([]byte(`{}`)) || l.Dropped() != 1 {
			t.Error("a closed log takes rows")
		}
	})
}

func TestRotationExactlyAtTheSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	row := []byte(`{"n":1234}`) // 11 bytes with its newline
	l := OpenLog(LogConfig{Path: path, MaxBytes: 33, Keep: 2})
	defer l.Close()
	count := func(name string) int {
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			return -1
		}
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(b), "\n")
	}
	for n, want := range [][4]int{{1, -1, -1, -1}, {2, -1, -1, -1}, {3, -1, -1, -1}, {1, 3, -1, -1}, {2, 3, -1, -1}, {3, 3, -1, -1}, {1, 3, 3, -1},
		{2, 3, 3, -1}, {3, 3, 3, -1}, {1, 3, 3, -1}} {
		l.Append(row)
		l.Flush()
		if got := [4]int{count(path), count(path + ".1"), count(path + ".2"), count(path + ".3")}; got != want {
			t.Fatalf("after %d rows: %v, want %v", n+1, got, want)
		}
	}
	l.Append([]byte(strings.Repeat("y", 100)))
	l.Flush()
	if got := content(t, path); len(got) != 101 {
		t.Errorf("a row larger than a file: %d bytes", len(got))
	}
	if l.Dropped() != 0 {
		t.Error("rows were dropped")
	}
}

func TestRotationTakesFilesBeyondKeepAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	for n := 1; n <= 5; n++ {
		if err := os.WriteFile(rotated(path, n), []byte("old\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := OpenLog(LogConfig{Path: path, MaxBytes: 4, Keep: 1})
	for range 2 {
		l.Append([]byte("new"))
	}
	l.Close()
	left, _ := filepath.Glob(path + "*")
	if want := []string{path, path + ".1"}; !cmp.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
}

func TestTornTailIsMended(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	if err := os.WriteFile(path, []byte("{\"ts\":\"2026-01-01T00:00:00Z\"}\n{\"ts\":\"20"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := OpenLog(LogConfig{Path: path})
	l.Append([]byte(`{"ts":"2026-01-02T00:00:00Z"}`))
	l.Close()
	r := ReadLog(path)
	n := 0
	for range r.Rows(LogQuery{}) {
		n++
	}
	if n != 2 || r.Broken != 1 || r.Err() != nil {
		t.Errorf("%d rows, %d broken, %v", n, r.Broken, r.Err())
	}
}

func TestVanishedFileIsMadeAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	l := OpenLog(LogConfig{Path: path})
	defer l.Close()
	l.Append([]byte("1"))
	l.Flush()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l.Append([]byte("2"))
	l.Flush()
	if got := content(t, path); got != "2\n" {
		t.Errorf("after a removal: %q", got)
	}
	if err := os.Rename(path, path+".mine"); err != nil {
		t.Fatal(err)
	}
	l.Append([]byte("3"))
	l.Flush()
	if got := content(t, path) + content(t, path+".mine"); got != "3\n2\n" {
		t.Errorf("after a rename: %q", got)
	}
}

// smallDisk is a file on a disk with so many bytes left.
type smallDisk struct {
	*os.File
	left *int
}

func (d smallDisk) Write(b []byte) (int, error) {
	n := min(len(b), *d.left)
	*d.left -= n
	if _, err := d.File.Write(b[:n]); err != nil {
		return 0, err
	}
	if n < len(b) {
		return n, &os.PathError{Op: "write", Path: d.Name(), Err: syscall.ENOSPC}
	}
	return n, nil
}

// warnings collects what a log tells.
type warnings struct {
	mu   sync.Mutex
	said []string
}

func (w *warnings) warn(err error, dropped uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case errors.Is(err, syscall.ENOSPC):
		w.said = append(w.said, "full")
	case err != nil:
		w.said = append(w.said, "trouble")
	default:
		w.said = append(w.said, fmt.Sprintf("well again, %d lost", dropped))
	}
}

func TestFullDiskDropsAndRecovers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	left := 10
	var w warnings
	l := openLog(LogConfig{Path: path, Warn: w.warn}, func(p string) (logFile, error) {
		f, err := openLogFile(p)
		if err != nil {
			return nil, err
		}
		return smallDisk{f.(*os.File), &left}, nil
	})
	add := func(s string) {
		if !l.Append([]byte(s)) {
			t.Errorf("%s is not taken", s)
		}
	}
	add("aaa")
	add("bbb")
	add("ccc") // the disk takes "aaa\nbbb\ncc"
	add("ddd")
	l.Flush()
	if l.Dropped() != 2 {
		t.Errorf("%d dropped, want ccc and ddd", l.Dropped())
	}
	add("eee")
	l.Flush()
	left = 1000
	add("fff")
	l.Close()
	if got := content(t, path); got != "aaa\nbbb\ncc\nfff\n" {
		t.Errorf("%q", got)
	}
	if want := []string{"full", "well again, 3 lost"}; !cmp.Equal(w.said, want) || l.Dropped() != 3 {
		t.Errorf("told %q, want %q; %d dropped", w.said, want, l.Dropped())
	}
}

func TestUnwritableFileDropsAndRecovers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	if err := os.Mkdir(path, 0o700); err != nil { // stands for every reason; root may write most else
		t.Fatal(err)
	}
	var w warnings
	l := OpenLog(LogConfig{Path: path, Warn: w.warn})
	for range 3 {
		l.Append([]byte("x"))
		l.Flush()
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l.Append([]byte("y"))
	l.Close()
	if want := []string{"trouble", "well again, 3 lost"}; !cmp.Equal(w.said, want) || content(t, path) != "y\n" {
		t.Errorf("told %q, wrote %q", w.said, content(t, path))
	}
}

func TestFailedRotationKeepsTheSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	block := rotated(path, 1)
	if err := os.MkdirAll(filepath.Join(block, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	var w warnings
	l := OpenLog(LogConfig{Path: path, MaxBytes: 4, Keep: 1, Warn: w.warn})
	for range 3 {
		l.Append([]byte("one"))
		l.Flush()
	}
	if content(t, path) != "one\n" || l.Dropped() != 2 {
		t.Errorf("%q, %d dropped", content(t, path), l.Dropped())
	}
	if err := os.RemoveAll(block); err != nil {
		t.Fatal(err)
	}
	l.Append([]byte("two"))
	l.Close()
	if want := []string{"trouble", "well again, 2 lost"}; !cmp.Equal(w.said, want) || content(t, path)+content(t, block) != "two\none\n" {
		t.Errorf("told %q; %q, %q", w.said, content(t, path), content(t, block))
	}
}

func TestAppendRefuses(t *testing.T) {
	l := OpenLog(LogConfig{Path: filepath.Join(t.TempDir(), "a.jsonl")})
	defer l.Close()
	if l.Append([]byte("a\nb")) || l.Append(make([]byte, maxWaiting)) || l.Dropped() != 2 {
		t.Errorf("two lines or an endless one are taken; %d dropped", l.Dropped())
	}
}

func TestAppendIsSafeAndKeepsRowsWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	l := OpenLog(LogConfig{Path: path, MaxBytes: 1000, Keep: 20})
	ctx, cancel := context.WithCancel(t.Context())
	var serve, wg sync.WaitGroup
	serve.Go(func() { _ = l.Serve(ctx) })
	for g := range 8 {
		wg.Go(func() {
			for i := range 40 {
				l.Append(fmt.Appendf(nil, `{"ts":"2026-01-01T00:00:00Z","g":%d,"i":%d}`, g, i))
				if i%10 == 0 {
					l.Flush()
				}
			}
		})
	}
	wg.Wait()
	cancel()
	serve.Wait()
	l.Close()
	r := ReadLog(path)
	n := 0
	for range r.Rows(LogQuery{}) {
		n++
	}
	if n != 320 || r.Broken != 0 {
		t.Errorf("%d rows, %d broken", n, r.Broken)
	}
}

// TestRotationProperty: whatever is written, no file is larger than it may be,
// there are no more than Keep, and what is left is the end of what was
// written, in order.
func TestRotationProperty(t *testing.T) {
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		path := filepath.Join(dir, fmt.Sprint(run))
		limit := rapid.IntRange(1, 120).Draw(t, "max")
		keep := rapid.IntRange(1, 4).Draw(t, "keep")
		l := OpenLog(LogConfig{Path: path, MaxBytes: int64(limit), Keep: keep})
		var wrote strings.Builder
		for i := range rapid.IntRange(0, 40).Draw(t, "rows") {
			row := fmt.Sprintf("%d%s", i, strings.Repeat("z", rapid.IntRange(0, 50).Draw(t, "length")))
			l.Append([]byte(row))
			wrote.WriteString(row + "\n")
			switch rapid.IntRange(0, 5).Draw(t, "then") {
			case 0:
				l.Flush()
			case 1:
				l.Close()
				l = OpenLog(LogConfig{Path: path, MaxBytes: int64(limit), Keep: keep})
			}
		}
		l.Close()
		left := ""
		for n := 0; ; n++ {
			name := path
			if n > 0 {
				name = rotated(path, n)
			}
			b, err := os.ReadFile(name)
			if err != nil {
				break
			}
			if n > keep {
				t.Fatalf("%d rotated files, %d may be", n, keep)
			}
			if len(b) > limit && strings.Count(string(b), "\n") != 1 {
				t.Fatalf("%s has %d bytes of %d", name, len(b), limit)
			}
			left = string(b) + left
		}
		if !strings.HasSuffix(wrote.String(), left) || left == "" && wrote.Len() > 0 {
			t.Fatalf("left %q of %q", left, wrote.String())
		}
	})
}
