package statedir

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey/internal/lifecycle"
)

// TestTornTails cuts the log at every byte of its last line.
func TestTornTails(t *testing.T) {
	o := newOwner(t)
	o.disk.sync = func(*os.File) error { return nil } // for the sake of speed
	o.open()
	o.happens(lifecycle.Idle5Min)
	o.happens(lifecycle.RequestArrived)
	file := o.home.LifecycleLog(noon)
	whole, record := read(t, file), read(t, o.home.Lifecycle())
	first := strings.IndexByte(whole, '\n') + 1
	start := o.now
	for cut := first; cut <= len(whole); cut++ {
		write(t, file, whole[:cut])
		write(t, o.home.Lifecycle(), record)
		o.now = start
		o.open()
		o.happens(lifecycle.Idle5Min)
		lines, skipped, err := History(o.home, HistoryQuery{})
		torn := 0
		if cut > first && cut < len(whole)-1 {
			torn = 1
		}
		if err != nil || len(lines) != 3 || skipped != torn {
			t.Fatalf("cut at %d: %d lines, %d skipped, %v\n%s", cut-first, len(lines), skipped, err, read(t, file))
		}
		if got := contentOf(lines[1]); got != strings.TrimSpace(whole[first:]) {
			t.Fatalf("cut at %d: %s", cut-first, got)
		}
	}
}

// appender is a child of TestManyAppenders.
func appender(root string) int {
	who, count, _ := strings.Cut(os.Getenv("STATEDIR_TEST_SHARE"), " ")
	n, err := strconv.Atoi(count)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	d := realDisk
	if os.Getenv("DREY_SOAK") != "1" {
		d.sync = func(*os.File) error { return nil } // lines are whole by the lock, and not by the disk
	}
	for i := range n {
		text := fmt.Sprintf(`{"ts":%q,"event":"append","who":%q,"n":%d,"filler":%q}`, "2026-11-22T12:00:00.000000+00:00", who, i, strings.Repeat("x", i%997))
		err := d.appendLines(At(root).LifecycleLog(noon), [][]byte{[]byte(text)}, 0)
		for errors.Is(err, ErrLocked) { // a slow disk: others were before us for 5 s
			err = d.appendLines(At(root).LifecycleLog(noon), [][]byte{[]byte(text)}, 0)
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
	}
	fmt.Println("done")
	return 0
}

func TestManyAppenders(t *testing.T) {
	t.Parallel()
	const processes = 16
	share := 500
	if testing.Short() {
		share = 50
	}
	h, err := Open(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	var all []*process
	for i := range processes {
		all = append(all, startCopy(t, appends+"="+h.Root(), fmt.Sprintf("STATEDIR_TEST_SHARE=%d %d", i, share)))
	}
	for _, p := range all {
		if said := p.answer(t); said != "done" {
			t.Error(said)
		}
		p.end()
	}
	lines, skipped, err := History(h, HistoryQuery{})
	if err != nil || skipped != 0 || len(lines) != processes*share {
		t.Fatalf("%d lines, %d skipped, %v", len(lines), skipped, err)
	}
	next := map[string]int{}
	for _, line := range lines {
		var v struct {
			Who    string
			N      int
			Filler string
		}
		if err := json.Unmarshal(line, &v); err != nil || v.N != next[v.Who] || len(v.Filler) != v.N%997 {
			t.Fatalf("%s, %v; expected number %d", line, err, next[v.Who])
		}
		next[v.Who]++
	}
}

// TestForeignFlock locks the files with the system's own program.
func TestForeignFlock(t *testing.T) {
	flock, err := exec.LookPath("flock")
	if err != nil {
		t.Skip("this system has no flock program")
	}
	h, err := Open(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{h.Lock(), h.LifecycleLog(noon)} {
		write(t, path, "")
		cmd := exec.Command(flock, path, "sh", "-c", "echo held; cat")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if said, err := bufio.NewReader(out).ReadString('\n'); said != "held\n" {
			t.Fatal(said, err)
		}
		try := func() error {
			if path == h.Lock() {
				l, err := TryLock(path)
				l.Release()
				return err
			}
			return realDisk.appendLines(path, [][]byte{[]byte(`{}`)}, 0)
		}
		synctest.Test(t, func(t *testing.T) { // the patience of an appender takes no time here
			if err := try(); !errors.Is(err, ErrLocked) || !errors.Is(err, syscall.EWOULDBLOCK) {
				t.Errorf("%s: %v", path, err)
			}
		})
		if got := read(t, path); got != "" {
			t.Errorf("%s: a refusal has written %q", path, got)
		}
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		if err := try(); err != nil {
			t.Errorf("%s is still locked: %v", path, err)
		}
	}
}

// TestKilledOwnerWhoseChildLives: the lock must not have been inherited.
func TestKilledOwnerWhoseChildLives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "home", ".lifecycle.lock")
	p := startCopy(t, contend+"="+path, "STATEDIR_TEST_CHILD=1")
	if said := p.answer(t); said != "held" {
		t.Fatal(said)
	}
	child, err := strconv.Atoi(p.answer(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(child, syscall.SIGKILL) }()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = p.cmd.Process.Wait() // not cmd.Wait: the child keeps the pipe
	if err := syscall.Kill(child, 0); err != nil {
		t.Fatalf("the child is gone: %v", err)
	}
	l, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	_ = p.stdin.Close()
}

func TestRecordAndLogWhateverTheUmask(t *testing.T) {
	for _, mask := range []int{0o000, 0o077, 0o777} {
		o := newOwner(t)
		old := syscall.Umask(mask)
		defer syscall.Umask(old) // should the test end early
		o.open().happens(lifecycle.Idle5Min)
		if err := o.home.SignalWake(""); err != nil {
			t.Error(err)
		}
		lease, err := HoldLease(o.home, "", false)
		if err != nil {
			t.Fatal(err)
		}
		files := []string{o.home.Lifecycle(), o.home.LifecycleLog(noon), o.home.WakeSignal(), lease.Path()}
		if _, err := RotateLifecycleLogs(o.home, noon.AddDate(1, 0, 0), time.Hour, 0); err != nil {
			t.Error(err)
		}
		files[1] += gzSuffix
		syscall.Umask(old)
		for _, f := range files {
			if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("umask %03o: %s: %v, %v", mask, f, info, err)
			}
		}
		if err := lease.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestHomeThatCannotBeWritten(t *testing.T) {
	o := newOwner(t).open()
	o.happens(lifecycle.Idle5Min)
	want := read(t, o.home.Lifecycle())
	if os.Geteuid() == 0 {
		// Root ignores modes, but it renames no file over a directory either.
		if err := os.Remove(o.home.Lifecycle()); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(o.home.Lifecycle(), 0o700); err != nil {
			t.Fatal(err)
		}
	} else {
		if err := os.Chmod(o.home.Root(), 0o500); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(o.home.Root(), 0o700)
	}
	before, log := o.Record(), o.logged()
	d, err := o.Dispatch(lifecycle.Event{Name: lifecycle.RequestArrived, At: o.now}, lifecycle.DefaultPolicy())
	if err == nil || !d.After.Equal(before) || !o.Record().Equal(before) {
		t.Errorf("%+v, %v", d.After, err)
	}
	if diff := cmp.Diff(log, o.logged()); diff != "" {
		t.Errorf("a dispatch that failed was logged (-want +got):\n%s", diff)
	}
	if left, _ := filepath.Glob(o.home.join(recordPrefix + "*")); len(left) != 0 {
		t.Errorf("left %q", left)
	}
	// It can be written again, and the same dispatch succeeds.
	if os.Geteuid() == 0 {
		if err := os.Remove(o.home.Lifecycle()); err != nil {
			t.Fatal(err)
		}
		write(t, o.home.Lifecycle(), want)
	} else if err := os.Chmod(o.home.Root(), 0o700); err != nil {
		t.Fatal(err)
	}
	if d := o.happens(lifecycle.RequestArrived); d.After.State != lifecycle.Wake {
		t.Errorf("%+v", d.After)
	}
}

func TestHistory(t *testing.T) {
	o := newOwner(t).open()
	line := func(day, n int, kind string) string {
		return fmt.Sprintf(`{"ts":"2026-11-%02dT10:00:%02d.000000+00:00","event":%q}`, day, n, kind)
	}
	for _, day := range []int{1, 2, 3} {
		at := time.Date(2026, 11, day, 0, 0, 0, 0, time.UTC)
		text := line(day, 1, "a") + "\n\nnot JSON\n" + line(day, 2, "b") + "\n" +
			`{"ts":"2026-11-01T00:00:00Z"}` + "\n" + strings.Repeat("x", maxRow+10) + "\n" + line(day, 3, "a")
		if day < 3 {
			text += "\n"
		}
		write(t, o.home.LifecycleLog(at), text)
	}
	if _, err := RotateLifecycleLogs(o.home, time.Date(2026, 11, 3, 1, 0, 0, 0, time.UTC), 48*time.Hour, 0); err != nil {
		t.Fatal(err)
	}
	// A rotation that was killed before it removed the plain file.
	twice := o.home.LifecycleLog(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
	if err := readGzip(twice+gzSuffix, func(r io.Reader) error {
		b, err := io.ReadAll(r)
		write(t, twice, string(b))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(o.home.Logs(), "lifecycle-events-2026-11-1.jsonl"), line(1, 9, "foreign"))
	write(t, filepath.Join(o.home.Logs(), "lifecycle-events-2026-13-01.jsonl"), line(1, 9, "foreign"))
	rows := []struct {
		name    string
		q       HistoryQuery
		want    []string
		skipped int
	}{
		{"all, oldest first", HistoryQuery{}, []string{line(1, 1, "a"), line(1, 2, "b"), line(1, 3, "a"), line(2, 1, "a"), line(2, 2, "b"), line(2, 3, "a"), line(3, 1, "a"), line(3, 2, "b"), line(3, 3, "a")}, 9},
		{"the newest", HistoryQuery{Limit: 2}, []string{line(3, 2, "b"), line(3, 3, "a")}, 3},
		{"the newest over two files", HistoryQuery{Limit: 4}, []string{line(2, 3, "a"), line(3, 1, "a"), line(3, 2, "b"), line(3, 3, "a")}, 6},
		{"of a kind", HistoryQuery{Kind: "b", Limit: 2}, []string{line(2, 2, "b"), line(3, 2, "b")}, 6},
		{"since, inclusive", HistoryQuery{Since: time.Date(2026, 11, 2, 10, 0, 3, 0, time.UTC)}, []string{line(2, 3, "a"), line(3, 1, "a"), line(3, 2, "b"), line(3, 3, "a")}, 6},
		{"nothing", HistoryQuery{Kind: "c"}, nil, 9},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			lines, skipped, err := History(o.home, row.q)
			var got []string
			for _, l := range lines {
				got = append(got, string(l))
			}
			if diff := cmp.Diff(row.want, got); diff != "" || skipped != row.skipped || err != nil {
				t.Errorf("%d skipped, %v (-want +got):\n%s", skipped, err, diff)
			}
		})
	}
	// A damaged file does not hide the others.
	write(t, twice+gzSuffix, "no gzip")
	if err := os.Remove(twice); err != nil {
		t.Fatal(err)
	}
	if lines, _, err := History(o.home, HistoryQuery{}); err == nil || len(lines) != 6 {
		t.Errorf("%d lines, %v", len(lines), err)
	}
	if lines, skipped, err := History(At(t.TempDir()), HistoryQuery{}); err != nil || len(lines) != 0 || skipped != 0 {
		t.Errorf("without logs: %s, %d, %v", lines, skipped, err)
	}
}
