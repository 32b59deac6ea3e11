package statedir

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey/internal/lifecycle"
)

// trap is a disk on which something happens at its n-th operation.
type trap struct {
	n       int // counts down; the operation that finds 0 is the one
	partial bool
	spring  func() error // returns what the operation fails with, or does not return
}

func (p *trap) here() bool { p.n--; return p.n == -1 }

func (p *trap) disk() disk {
	return disk{
		write: func(f *os.File, b []byte) (int, error) {
			if !p.here() {
				return f.Write(b)
			}
			n := 0
			if p.partial {
				n, _ = f.Write(b[:max(len(b)-1-len(b)%3, 0)]) // with or without all but the newline
			}
			return n, p.spring()
		},
		sync: func(f *os.File) error {
			// A process that dies leaves to the system what it has written, so
			// nothing is synced here for the sake of speed.
			if !p.here() {
				return nil
			}
			return p.spring()
		},
		rename: func(from, to string) error {
			if !p.here() {
				return os.Rename(from, to)
			}
			if p.partial {
				_ = os.Rename(from, to)
			}
			return p.spring()
		},
	}
}

// numbered are the events of the crash tests: each is a transition, and has
// its number as its reason, so that the log tells which of them it holds.
func numbered(n int64, at time.Time) lifecycle.Event {
	return lifecycle.Event{Name: lifecycle.RequestArrived, At: at, Reason: strconv.FormatInt(n, 10)}
}

// checkWhole loads the home as the next owner does and checks that every
// transition that the record has seen is in the log exactly once.
func checkWhole(t interface {
	Helper()
	Fatalf(string, ...any)
}, h Home, lock *Lock, now time.Time) lifecycle.Record {
	t.Helper()
	if _, err := ReadLifecycle(h, now); err != nil {
		t.Fatalf("not the old record and not the new one: %v", err)
	}
	l, err := OpenLifecycle(LifecycleConfig{Home: h, Lock: lock, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatalf("%v", err)
	}
	lines, _, err := History(h, HistoryQuery{Kind: "state_transition"})
	if err != nil {
		t.Fatalf("%v", err)
	}
	seen := map[int64]int{}
	for _, line := range lines {
		var v struct{ Reason string }
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		n, err := strconv.ParseInt(v.Reason, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		seen[n]++
	}
	r := l.Record()
	for n := int64(1); n <= r.Seq; n++ {
		if seen[n] != 1 {
			t.Fatalf("transition %d of %d is in the log %d times", n, r.Seq, seen[n])
		}
	}
	if len(seen) != int(r.Seq) {
		t.Fatalf("%d transitions in the log, %d in the record", len(seen), r.Seq)
	}
	return r
}

// errTrap is the trouble that a trap makes.
var errTrap = errors.New("trap")

// TestFaultAtEveryOperation lets one operation of the disk fail, each in turn,
// in the middle of a row of dispatches that are tried again as an owner does.
func TestFaultAtEveryOperation(t *testing.T) {
	for _, partial := range []bool{false, true} {
		for at := range 25 { // of 31: the last dispatch finds the log well again
			o := newOwner(t)
			p := &trap{n: at, partial: partial, spring: func() error { return errTrap }}
			o.disk = p.disk()
			o.open()
			failed := 0
			for n := int64(1); n <= 5; {
				o.now = o.now.Add(time.Second)
				before := o.Record()
				d, err := o.Dispatch(numbered(n, o.now), lifecycle.DefaultPolicy())
				if err == nil {
					n++
					continue
				}
				failed++
				if !errors.Is(err, errTrap) || !o.Record().Equal(before) || !d.After.Equal(before) {
					t.Fatalf("operation %d: %v, %+v", at, err, d)
				}
				if left, _ := filepath.Glob(o.home.join(recordPrefix + "*")); len(left) != 0 {
					t.Fatalf("operation %d has left %q", at, left)
				}
			}
			if told := len(o.said); failed+told/2 != 1 || told%2 != 0 {
				t.Fatalf("operation %d: %d failed, told %q", at, failed, o.said)
			}
			if r := checkWhole(t, o.home, o.lock, o.now); r.Seq != 5 {
				t.Fatalf("operation %d: seq %d", at, r.Seq)
			}
		}
	}
}

// TestCrashesInARow ends the owner at any operation, again and again, also
// while it recovers.
func TestCrashesInARow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		root, err := os.MkdirTemp("", "drey")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(root)
		h := At(root)
		lock, err := TryLock(h.Lock())
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Release()
		now, done := noon, int64(0)
		for range rapid.IntRange(1, 4).Draw(t, "lives") {
			p := &trap{
				n:       rapid.IntRange(0, 20).Draw(t, "operation"),
				partial: rapid.Bool().Draw(t, "partial"),
				spring:  func() error { panic(errTrap) },
			}
			func() {
				defer func() {
					if r := recover(); r != nil && r != any(errTrap) {
						panic(r)
					}
				}()
				l, err := openLifecycle(LifecycleConfig{Home: h, Lock: lock, Now: func() time.Time { return now }}, p.disk())
				if err != nil {
					t.Fatal(err)
				}
				if got := l.Record().Seq; got != done && got != done+1 {
					t.Fatalf("loaded %d after %d", got, done)
				}
				done = l.Record().Seq
				for {
					now = now.Add(7 * time.Hour) // over several days
					if _, err := l.Dispatch(numbered(done+1, now), lifecycle.DefaultPolicy()); err != nil {
						t.Fatal(err)
					}
					done++
				}
			}()
		}
		if r := checkWhole(t, h, lock, now); r.Seq != done && r.Seq != done+1 {
			t.Fatalf("%d in the record, %d were acknowledged", r.Seq, done)
		}
		checkWhole(t, h, lock, now) // a second load repeats nothing
	})
}

// dispatcher is the child of TestKilledDispatcher: it dispatches and says the
// number of each, until it is killed. STATEDIR_TEST_TRAP kills it at that
// operation, and after it where it ends in +.
func dispatcher(root string) int {
	at, after := strings.CutSuffix(os.Getenv("STATEDIR_TEST_TRAP"), "+")
	n, err := strconv.Atoi(cmp.Or(at, "-1"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	p := &trap{n: n, partial: after, spring: func() error {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}}
	h := At(root)
	lock, err := TryLock(h.Lock())
	if err != nil {
		fmt.Println(err)
		return 1
	}
	l, err := openLifecycle(LifecycleConfig{Home: h, Lock: lock}, p.disk())
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for {
		next := l.Record().Seq + 1
		if _, err := l.Dispatch(numbered(next, time.Now()), lifecycle.DefaultPolicy()); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(next)
	}
}

// TestKilledDispatcher kills a process that dispatches in a loop: at the
// operations of its first dispatches, then at random instants. DREY_SOAK=1
// makes it 1,000 rounds.
func TestKilledDispatcher(t *testing.T) {
	t.Parallel()
	rounds := 40
	switch {
	case os.Getenv("DREY_SOAK") == "1":
		rounds = 1000
	case testing.Short():
		rounds = 12
	}
	const operations = 8 // of the disk in a first dispatch: more than there are
	var h Home
	fresh, torn := true, 0
	for round := range rounds {
		if fresh { // a short log keeps the rounds short
			var err error
			if h, err = Open(filepath.Join(t.TempDir(), "home")); err != nil {
				t.Fatal(err)
			}
		}
		env := []string{dispatches + "=" + h.Root()}
		kill := time.Hour
		switch {
		case round < operations:
			env = append(env, fmt.Sprintf("STATEDIR_TEST_TRAP=%d", round))
		case round < 2*operations:
			env = append(env, fmt.Sprintf("STATEDIR_TEST_TRAP=%d+", round-operations))
		default:
			kill = rand.N(10 * time.Millisecond)
		}
		p := startCopy(t, env...)
		acked := int64(0)
		var timer *time.Timer
		for {
			line, err := p.said.ReadString('\n')
			if errors.Is(err, io.EOF) {
				break // killed
			}
			n, perr := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
			if err != nil || perr != nil {
				t.Fatalf("%q, %v", line, err)
			}
			if acked = n; timer == nil {
				timer = time.AfterFunc(kill, func() { _ = p.cmd.Process.Kill() })
			}
		}
		if timer != nil {
			timer.Stop()
		}
		p.end()
		lock, err := TryLock(h.Lock()) // free at once
		if err != nil {
			t.Fatal(err)
		}
		r := checkWhole(t, h, lock, time.Now())
		lock.Release()
		if acked != 0 && r.Seq != acked && r.Seq != acked+1 {
			t.Fatalf("%d in the record, %d were acknowledged", r.Seq, acked)
		}
		removed, err := h.SweepRemains(time.Now().Add(2 * time.Hour))
		if left, _ := filepath.Glob(h.join(recordPrefix + "*")); err != nil || len(left) != 0 {
			t.Errorf("swept %d, %v; left %q", removed, err, left)
		}
		torn += removed
		fresh = r.Seq > 100
	}
	if torn == 0 {
		t.Error("no kill has hit a save")
	}
}

func TestOutboxIsRecoveredIntoTodaysFile(t *testing.T) {
	o := newOwner(t).open()
	for range 3 {
		o.happens(lifecycle.Idle5Min)
		o.happens(lifecycle.RequestArrived)
	}
	// The last append is lost, and the owner comes back two days later.
	file := o.home.LifecycleLog(noon)
	lines := strings.SplitAfter(strings.TrimSuffix(read(t, file), "\n"), "\n")
	lost := lines[len(lines)-1]
	write(t, file, strings.Join(lines[:len(lines)-1], ""))
	o.now = noon.AddDate(0, 0, 2)
	o.open()
	want := strings.TrimSuffix(lost, "}") + `,"recovered":true,"recovered_at":"2026-11-24T12:00:00.123456+00:00"}`
	if got := o.logged()["lifecycle-events-2026-11-24.jsonl"]; !slices.Equal(got, []string{want}) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if r, _ := o.stored(); len(r.Outbox) != 0 {
		t.Errorf("the outbox still has %s", r.Outbox)
	}
	o.now = noon.AddDate(0, 0, 3)
	o.open()
	if got := o.logged(); len(got) != 2 {
		t.Errorf("recovered twice: %v", got)
	}
}

// TestRecoveredLineIsFoundByItsContent is a crash between the append of a
// recovered line and the save that empties the outbox.
func TestRecoveredLineIsFoundByItsContent(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		o := newOwner(t).open()
		o.happens(lifecycle.Idle5Min)
		record := read(t, o.home.Lifecycle())
		if err := os.Remove(o.home.LifecycleLog(noon)); err != nil {
			t.Fatal(err)
		}
		o.now = noon.AddDate(0, 0, 40)
		o.open()
		write(t, o.home.Lifecycle(), record)
		o.now = noon.AddDate(0, 0, 80)
		if compressed {
			if _, err := RotateLifecycleLogs(o.home, o.now, 30*24*time.Hour, 0); err != nil {
				t.Fatal(err)
			}
		}
		o.open()
		if lines, _, err := History(o.home, HistoryQuery{}); err != nil || len(lines) != 1 {
			t.Errorf("%s, %v", lines, err)
		}
	}
	// A crash in the middle of that append: a part of the line is not the line.
	o := newOwner(t)
	o.disk.sync = func(*os.File) error { return nil } // for the sake of speed
	o.open().happens(lifecycle.Idle5Min)
	record := read(t, o.home.Lifecycle())
	write(t, o.home.LifecycleLog(noon), "")
	o.open()
	whole := read(t, o.home.LifecycleLog(noon))
	for cut := range len(whole) {
		write(t, o.home.LifecycleLog(noon), whole[:cut])
		write(t, o.home.Lifecycle(), record)
		o.open()
		if lines, _, err := History(o.home, HistoryQuery{}); err != nil || len(lines) != 1 {
			t.Fatalf("cut at %d: %s, %v", cut, lines, err)
		}
	}
	// A file that is dated earlier than the line cannot hold it.
	o = newOwner(t).open()
	o.happens(lifecycle.Idle5Min)
	if err := os.Rename(o.home.LifecycleLog(noon), o.home.LifecycleLog(noon.AddDate(0, 0, -1))); err != nil {
		t.Fatal(err)
	}
	o.open()
	if got := o.logged()["lifecycle-events-2026-11-22.jsonl"]; len(got) != 1 || !strings.Contains(got[0], `"recovered":true`) {
		t.Errorf("%v", o.logged())
	}
}

func TestLogThatCannotBeWrittenStopsNothing(t *testing.T) {
	o := newOwner(t)
	file := o.home.LifecycleLog(noon)
	if err := os.Mkdir(file, 0o700); err != nil { // in the place of the log: root cannot write it either
		t.Fatal(err)
	}
	o.open()
	const more = lifecycle.MaxOutbox + 10
	var lines []lifecycle.Line
	for n := range more - 5 {
		lines = append(lines, lifecycle.Line{TS: noon, Event: "state_transition", Reason: strconv.Itoa(n + 1)})
	}
	if _, err := o.Update(func(r lifecycle.Record) (lifecycle.Record, []lifecycle.Line) { return r, lines }); err != nil {
		t.Fatal(err)
	}
	for n := range int64(5) {
		o.now = o.now.Add(time.Second)
		if _, err := o.Dispatch(numbered(more-4+n, o.now), lifecycle.DefaultPolicy()); err != nil {
			t.Fatal(err)
		}
	}
	r, _ := o.stored()
	if len(r.Outbox) != lifecycle.MaxOutbox || r.Seq != 5 {
		t.Errorf("%d lines wait, seq %d", len(r.Outbox), r.Seq)
	}
	if len(o.said) != 1 || !strings.Contains(o.said[0], "directory") {
		t.Errorf("told %q", o.said)
	}
	if err := o.Append(lifecycle.OwnerLost(o.now)); err == nil {
		t.Error("Append has lost a line and does not say so")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	o.happens(lifecycle.Tick) // the next dispatch tries again, even one that changes nothing
	got, skipped, err := History(o.home, HistoryQuery{})
	if err != nil || skipped != 0 || len(got) != lifecycle.MaxOutbox {
		t.Fatalf("%d lines, %d skipped, %v", len(got), skipped, err)
	}
	if first, last := string(got[0]), string(got[len(got)-1]); !strings.Contains(first, `"reason":"11"`) || !strings.Contains(last, fmt.Sprintf(`"reason":"%d"`, more)) {
		t.Errorf("from %s to %s", first, last)
	}
	if len(o.said) != 2 || o.said[1] != "<nil>" {
		t.Errorf("told %q", o.said)
	}
	o.open() // the outbox on disk still has them, and the log as well
	if again, _, _ := History(o.home, HistoryQuery{}); len(again) != len(got) {
		t.Errorf("%d lines after the next load", len(again))
	}
	o.happens(lifecycle.HeartbeatRefresh)
	if r, _ := o.stored(); len(r.Outbox) != 0 {
		t.Errorf("%d lines still wait", len(r.Outbox))
	}
}
