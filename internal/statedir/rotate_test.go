package statedir

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey/internal/lifecycle"
)

const days = 24 * time.Hour

// names lists what is in the directory of logs.
func names(t *testing.T, h Home) []string {
	t.Helper()
	entries, err := os.ReadDir(h.Logs())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func gunzip(t *testing.T, path string) string {
	t.Helper()
	var b []byte
	if err := readGzip(path, func(r io.Reader) (err error) {
		b, err = io.ReadAll(r)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func writeGz(t *testing.T, path, content string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	if _, err := io.WriteString(z, content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRotationByAge(t *testing.T) {
	o := newOwner(t)
	// 04:00 of the 23rd in the east is still the 22nd in UTC, by which files
	// are named and aged.
	now := time.Date(2026, 11, 23, 4, 0, 0, 0, time.FixedZone("east", 5*3600))
	age := func(n int) string { return o.home.LifecycleLog(noon.AddDate(0, 0, -n)) }
	for _, n := range []int{0, 1, 29, 30, 31} {
		write(t, age(n), "line\n")
	}
	for _, n := range []int{364, 365, 366} {
		writeGz(t, age(n)+gzSuffix, "old\n")
	}
	foreign := []string{
		"lifecycle-events-2020-1-01.jsonl", "lifecycle-events-2020-01-01.jsonl.bak", "xlifecycle-events-2020-01-01.jsonl",
		"lifecycle-events-2020-02-30.jsonl", "lifecycle-events-2020-01-01.jsonl.gz.gz", "drey.log",
	}
	for _, name := range foreign {
		write(t, filepath.Join(o.home.Logs(), name), "foreign")
	}
	got, err := RotateLifecycleLogs(o.home, now, 30*days, 365*days)
	if err != nil {
		t.Fatal(err)
	}
	want := Rotation{
		Compressed: []string{filepath.Base(age(31)), filepath.Base(age(30))},
		Removed:    []string{filepath.Base(age(366)) + gzSuffix},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	left := append(slices.Clone(foreign), filepath.Base(age(0)), filepath.Base(age(1)), filepath.Base(age(29)))
	for _, n := range []int{30, 31, 364, 365} {
		left = append(left, filepath.Base(age(n))+gzSuffix)
	}
	slices.Sort(left)
	if d := cmp.Diff(left, names(t, o.home)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got := gunzip(t, age(30)+gzSuffix); got != "line\n" {
		t.Errorf("%q", got)
	}
	if info, err := os.Stat(age(30) + gzSuffix); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	if got, err := RotateLifecycleLogs(o.home, now, 30*days, 365*days); err != nil || !cmp.Equal(got, Rotation{}) {
		t.Errorf("a second run: %+v, %v", got, err)
	}
	// An hour later it is the 23rd in UTC as well.
	if got, err := RotateLifecycleLogs(o.home, now.Add(time.Hour), 30*days, 0); err != nil || !cmp.Equal(got, Rotation{Compressed: []string{filepath.Base(age(29))}}) {
		t.Errorf("after midnight, for ever: %+v, %v", got, err)
	}
	// However short the wait, a day that is not over is left alone.
	if got, err := RotateLifecycleLogs(o.home, now, 0, 0); err != nil || !cmp.Equal(got, Rotation{Compressed: []string{filepath.Base(age(1))}}) {
		t.Errorf("at once: %+v, %v", got, err)
	}
	if got, err := RotateLifecycleLogs(At(t.TempDir()), now, 0, 0); err != nil || !cmp.Equal(got, Rotation{}) {
		t.Errorf("without logs: %+v, %v", got, err)
	}
}

func TestRotationBesideACompressedFile(t *testing.T) {
	rows := []struct {
		name   string
		gz     func(t *testing.T, path string)
		merged bool
	}{
		{"of the same content", func(t *testing.T, p string) { writeGz(t, p, "content\n") }, true},
		{"of other content", func(t *testing.T, p string) { writeGz(t, p, "contest\n") }, false},
		{"of less content", func(t *testing.T, p string) { writeGz(t, p, "cont") }, false},
		{"of more content", func(t *testing.T, p string) { writeGz(t, p, "content\nand more\n") }, false},
		{"that is none", func(t *testing.T, p string) { write(t, p, "content\n") }, false},
		{"that was cut at its end", func(t *testing.T, p string) {
			writeGz(t, p, "content\n")
			whole := read(t, p)
			write(t, p, whole[:len(whole)-3])
		}, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			o := newOwner(t)
			path := o.home.LifecycleLog(noon)
			write(t, path, "content\n")
			row.gz(t, path+gzSuffix)
			before := read(t, path+gzSuffix)
			for range 2 {
				got, err := RotateLifecycleLogs(o.home, noon.AddDate(2, 0, 0), days, 10*365*days)
				_, gone := os.Stat(path)
				if err != nil || row.merged != os.IsNotExist(gone) || !row.merged && !slices.Equal(got.Unmerged, []string{filepath.Base(path)}) {
					t.Errorf("%+v, %v, %v", got, err, gone)
				}
			}
			if read(t, path+gzSuffix) != before {
				t.Error("the compressed file has changed")
			}
			// Old as they may be: while they differ, neither goes.
			got, err := RotateLifecycleLogs(o.home, noon.AddDate(2, 0, 0), days, days)
			if err != nil || row.merged != (len(got.Removed) == 1) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// TestRotationIsKilledAnywhere stops a rotation at each of its operations.
func TestRotationIsKilledAnywhere(t *testing.T) {
	for at := range 8 {
		for _, partial := range []bool{false, true} {
			o := newOwner(t)
			path := o.home.LifecycleLog(noon)
			write(t, path, strings.Repeat("a line of the log\n", 5000))
			want := read(t, path)
			trap := &trap{n: at, partial: partial, spring: func() error { panic(errTrap) }}
			later := noon.AddDate(0, 0, 40)
			func() {
				defer func() { _ = recover() }()
				_, _ = trap.disk().rotateEventLogs(o.home, later, 30*days, 365*days)
			}()
			if _, err := RotateLifecycleLogs(o.home, later, 30*days, 365*days); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(path); !os.IsNotExist(err) || gunzip(t, path+gzSuffix) != want {
				t.Fatalf("operation %d: %v", at, err)
			}
		}
	}
}

// TestAppenderSeesARotation: the file goes while an appender waits for it.
func TestAppenderSeesARotation(t *testing.T) {
	o := newOwner(t)
	path := o.home.LifecycleLog(noon)
	write(t, path, "{}\n")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := waitFlock(f, time.Now()); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		done := make(chan error)
		go func() { done <- realDisk.appendLines(path, [][]byte{[]byte(`{"late":1}`)}, 0) }()
		synctest.Wait() // it has opened the file and waits for its lock
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
	if got := read(t, path); got != "{\"late\":1}\n" {
		t.Errorf("%q", got)
	}
}

func TestSweepRemains(t *testing.T) {
	o := newOwner(t).open()
	o.happens(lifecycle.Idle5Min)
	now := time.Now()
	file := func(name string, age time.Duration) string {
		path := o.home.join(name)
		write(t, path, "x")
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	record := filepath.Base(o.home.Lifecycle())
	kept := func(age time.Duration) string { return record + ".corrupt-" + stamp(now.Add(-age)) }
	gone := []string{
		file(".lifecycle_state.123.tmp", 61*time.Minute), file(".wake.signal.9-X.tmp", 61*time.Minute),
		file("logs/.lifecycle-events-2026-01-01.jsonl.gz.7.tmp", 61*time.Minute), file(kept(31*days), 0),
	}
	stay := []string{
		file(".lifecycle_state.124.tmp", 59*time.Minute), file(kept(29*days), 99*days), file(record+".corrupt-", 99*days),
		file(record+".corrupt-20200101T000000Z", 99*days), file("other.tmp", 99*days), o.home.Lifecycle(), o.home.Lock(), o.home.LifecycleLog(noon),
	}
	n, err := o.home.SweepRemains(now)
	if n != len(gone) || err != nil {
		t.Errorf("%d removed, %v", n, err)
	}
	for _, path := range gone {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
	for _, path := range stay {
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
	if n, err := At(filepath.Join(o.home.Root(), "none")).SweepRemains(now); n != 0 || err != nil {
		t.Error(n, err)
	}
	// The owner's boot takes the temporary files and no more.
	file(".lifecycle_state.125.tmp", 61*time.Minute)
	old := file(kept(40*days), 0)
	o.now = now
	o.open()
	if _, err := os.Lstat(o.home.join(".lifecycle_state.125.tmp")); err == nil {
		t.Error("a boot leaves old temporary files")
	}
	if _, err := os.Lstat(old); err != nil {
		t.Error(err)
	}
}
