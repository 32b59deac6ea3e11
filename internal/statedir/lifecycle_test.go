package statedir

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/lifecycle"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 123456000, time.UTC)

// owner is a home whose lock the test holds.
type owner struct {
	t    *testing.T
	home Home
	lock *Lock
	now  time.Time
	said []string // what Warn was told
	disk disk
	*Lifecycle
}

// newOwner takes a home; open loads its record.
func newOwner(t *testing.T) *owner {
	t.Helper()
	h, err := Open(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	lock, err := TryLock(h.Lock())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lock.Release)
	return &owner{t: t, home: h, lock: lock, now: noon, disk: realDisk}
}

func (o *owner) open() *owner {
	o.t.Helper()
	l, err := openLifecycle(LifecycleConfig{
		Home: o.home, Lock: o.lock, Now: func() time.Time { return o.now },
		Warn: func(err error) { o.said = append(o.said, fmt.Sprint(err)) },
	}, o.disk)
	if err != nil {
		o.t.Fatal(err)
	}
	o.Lifecycle = l
	return o
}

// happens dispatches an event that must succeed, a second after the last one.
func (o *owner) happens(name lifecycle.EventName) Dispatched {
	o.t.Helper()
	o.now = o.now.Add(time.Second)
	d, err := o.Dispatch(lifecycle.Event{Name: name, At: o.now}, lifecycle.DefaultPolicy())
	if err != nil {
		o.t.Fatal(err)
	}
	return d
}

// logged returns the event log's lines as they stand, by file.
func (o *owner) logged() map[string][]string {
	o.t.Helper()
	files, err := filepath.Glob(filepath.Join(o.home.Logs(), "*"))
	if err != nil {
		o.t.Fatal(err)
	}
	out := map[string][]string{}
	for _, f := range files {
		out[filepath.Base(f)] = strings.Split(strings.TrimSuffix(read(o.t, f), "\n"), "\n")
	}
	return out
}

// stored is the record on disk; ok is false without one.
func (o *owner) stored() (r lifecycle.Record, ok bool) {
	o.t.Helper()
	b, err := os.ReadFile(o.home.Lifecycle())
	if errors.Is(err, os.ErrNotExist) {
		return r, false
	}
	if err == nil {
		r, err = lifecycle.Decode(b, o.now)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return r, true
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDispatchSavesThenLogs(t *testing.T) {
	o := newOwner(t).open()
	d := o.happens(lifecycle.Idle5Min)
	if !d.Moved || d.Before.State != lifecycle.Wake || d.After.State != lifecycle.Drowsy || len(d.Lines) != 1 || len(d.Effects) == 0 {
		t.Errorf("%+v", d)
	}
	line := `{"ts":"2026-11-22T12:00:01.123456+00:00","event":"state_transition","from":"WAKE","to":"DROWSY","trigger":"idle_5min"}`
	if diff := cmp.Diff(map[string][]string{"lifecycle-events-2026-11-22.jsonl": {line}}, o.logged()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r, _ := o.stored()
	if r.State != lifecycle.Drowsy || !r.Since.Equal(o.now) || len(r.Outbox) != 1 || string(r.Outbox[0]) != line {
		t.Errorf("stored: %+v", r)
	}
	for _, f := range []string{o.home.Lifecycle(), o.home.LifecycleLog(o.now)} {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
	}
	// The next save drops the line: its append was synced.
	if d := o.happens(lifecycle.RequestArrived); !d.Moved || len(d.After.Outbox) != 1 || d.After.Seq != 1 {
		t.Errorf("%+v", d)
	}
	if d := o.happens(lifecycle.HeartbeatRefresh); d.Moved || len(d.Lines) != 0 || len(d.After.Outbox) != 0 || d.After.Seq != 2 {
		t.Errorf("%+v", d)
	}
	if n := len(o.logged()["lifecycle-events-2026-11-22.jsonl"]); n != 2 {
		t.Errorf("%d lines", n)
	}
}

func TestNoOpWritesNothing(t *testing.T) {
	o := newOwner(t).open()
	for _, e := range []lifecycle.EventName{lifecycle.Tick, lifecycle.Idle30Min, lifecycle.SleepEligible, lifecycle.SleepCycleDone, lifecycle.NoEvent} {
		if d := o.happens(e); d.Moved || len(d.Effects) != 0 || !d.After.Equal(lifecycle.Default(noon)) {
			t.Errorf("%v: %+v", e, d)
		}
	}
	if _, err := o.Update(func(r lifecycle.Record) (lifecycle.Record, []lifecycle.Line) { return r, nil }); err != nil {
		t.Error(err)
	}
	if _, there := o.stored(); there || len(o.logged()) != 0 {
		t.Error("a no-op has written")
	}
	o.happens(lifecycle.RequestArrived)
	before, err := os.Stat(o.home.Lifecycle())
	if err != nil {
		t.Fatal(err)
	}
	o.happens(lifecycle.Tick)
	if after, err := os.Stat(o.home.Lifecycle()); err != nil || !os.SameFile(before, after) {
		t.Error("a no-op has saved the record again", err)
	}

	// A shadow run differs from the default, and so it is written.
	o = newOwner(t)
	o.Lifecycle, _ = OpenLifecycle(LifecycleConfig{Home: o.home, Lock: o.lock, ShadowRun: true})
	if d := o.happens(lifecycle.Tick); !d.After.ShadowRun || d.Moved {
		t.Errorf("%+v", d)
	}
	if r, there := o.stored(); !there || !r.ShadowRun {
		t.Errorf("a shadow run has left %+v", r)
	}
}

func TestUpdateIsSavedAndLogged(t *testing.T) {
	o := newOwner(t).open()
	line := lifecycle.Line{TS: noon, Event: "sleep_step_started", Fields: []drey.Field{drey.F("step", "verify"), drey.F("step_num", 4)}}
	d, err := o.Update(func(r lifecycle.Record) (lifecycle.Record, []lifecycle.Line) {
		r.WorklessWakes = 2
		return r, []lifecycle.Line{line}
	})
	if err != nil || d.After.WorklessWakes != 2 || d.Before.WorklessWakes != 0 || len(d.Lines) != 1 || d.Moved {
		t.Errorf("%+v, %v", d, err)
	}
	want := `{"ts":"2026-11-22T12:00:00.123456+00:00","event":"sleep_step_started","step":"verify","step_num":4}`
	if got := o.logged()["lifecycle-events-2026-11-22.jsonl"]; !slices.Equal(got, []string{want}) {
		t.Errorf("%q", got)
	}
	if r, _ := o.stored(); r.WorklessWakes != 2 {
		t.Errorf("%+v", r)
	}
}

func TestLinesOfOtherDaysAndEmptyOnes(t *testing.T) {
	o := newOwner(t).open()
	east := time.FixedZone("east", 5*3600) // where it is the 23rd already
	lines := []lifecycle.Line{
		{TS: time.Date(2026, 11, 22, 23, 59, 59, 999999999, time.UTC), Event: "daemon_started"},
		{TS: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), Event: "daemon_stopped"},
		{TS: time.Date(2026, 11, 23, 4, 59, 0, 0, east), Event: "a_kind_of_tomorrow", Fields: []drey.Field{drey.F("text", "<&>\n")}},
	}
	if err := o.Append(lines...); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"lifecycle-events-2026-11-22.jsonl": {
			`{"ts":"2026-11-22T23:59:59.999999+00:00","event":"daemon_started"}`,
			`{"ts":"2026-11-22T23:59:00.000000+00:00","event":"a_kind_of_tomorrow","text":"<&>\n"}`,
		},
		"lifecycle-events-2026-11-23.jsonl": {`{"ts":"2026-11-23T00:00:00.000000+00:00","event":"daemon_stopped"}`},
	}
	if d := cmp.Diff(want, o.logged()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if err := o.Append(lines[0], lifecycle.Line{TS: noon}); err == nil {
		t.Error("a line without an event was taken")
	}
	if d := cmp.Diff(want, o.logged()); d != "" {
		t.Errorf("a refusal has written (-want +got):\n%s", d)
	}
	if _, there := o.stored(); there {
		t.Error("lines alone have written a record")
	}
}

// breakages are records that are not valid.
var breakages = map[string]string{
	"empty":         "",
	"torn":          `{"current_state":"SLEEP","since_ts":"2026-01-01T00:00`,
	"no object":     `[]`,
	"unknown state": `{"current_state":"NAP","since_ts":"2026-01-01T00:00:00Z","last_activity_ts":"2026-01-01T00:00:00Z"}`,
	"a bad counter": `{"current_state":"SLEEP","since_ts":"2026-01-01T00:00:00Z","last_activity_ts":"2026-01-01T00:00:00Z","wrapper_event_seq":"3"}`,
	"too large":     `{"x":"` + strings.Repeat("x", lifecycle.MaxRecord) + `"}`,
}

func TestCorruptRecordIsKeptByItsOwner(t *testing.T) {
	for name, content := range breakages {
		t.Run(name, func(t *testing.T) {
			o := newOwner(t)
			write(t, o.home.Lifecycle(), content)
			r, err := ReadLifecycle(o.home, noon)
			if !errors.Is(err, ErrCorrupt) || !r.Equal(lifecycle.Default(noon)) {
				t.Errorf("a reader sees %+v, %v", r, err)
			}
			if got := read(t, o.home.Lifecycle()); got != content {
				t.Error("a reader has changed it")
			}
			o.open()
			if !o.Record().Equal(lifecycle.Default(noon)) {
				t.Errorf("the owner has %+v", o.Record())
			}
			kept := o.home.Lifecycle() + ".corrupt-20261122T120000123456Z"
			if got := read(t, kept); got != content {
				t.Error("it was not kept as it was")
			}
			if _, there := o.stored(); there {
				t.Error("the broken record is still in its place")
			}
			lines, _, err := History(o.home, HistoryQuery{})
			if err != nil || len(lines) != 1 {
				t.Fatalf("%s, %v", lines, err)
			}
			var got struct {
				Event, Error string
				KeptAs       string `json:"kept_as"`
			}
			if err := json.Unmarshal(lines[0], &got); err != nil || got.Event != "state_file_corrupt" || got.KeptAs != filepath.Base(kept) || got.Error == "" {
				t.Errorf("%s, %v", lines[0], err)
			}
			// A second broken one in the same microsecond replaces nothing.
			write(t, o.home.Lifecycle(), "again")
			o.open()
			if read(t, kept) != content || read(t, o.home.Lifecycle()+".corrupt-20261122T120000123457Z") != "again" {
				t.Error("the second one is not beside the first")
			}
		})
	}
}

func TestWhatIsNoFileIsKept(t *testing.T) {
	o := newOwner(t)
	if err := os.MkdirAll(filepath.Join(o.home.Lifecycle(), "inside"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadLifecycle(o.home, noon); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	o.open().happens(lifecycle.Idle5Min)
	if r, there := o.stored(); !there || r.State != lifecycle.Drowsy {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(o.home.Lifecycle() + ".corrupt-20261122T120000123456Z/inside"); err != nil {
		t.Error(err)
	}
}

func TestRefusalToReadIsNotCorruption(t *testing.T) {
	o := newOwner(t)
	// A link to itself is one that root cannot read either.
	if err := os.Symlink(o.home.Lifecycle(), o.home.Lifecycle()); err != nil {
		t.Fatal(err)
	}
	_, err := OpenLifecycle(LifecycleConfig{Home: o.home, Lock: o.lock})
	if !errors.Is(err, syscall.ELOOP) || errors.Is(err, ErrCorrupt) {
		t.Errorf("the owner: %v", err)
	}
	if _, err := ReadLifecycle(o.home, noon); !errors.Is(err, syscall.ELOOP) || errors.Is(err, ErrCorrupt) {
		t.Errorf("a reader: %v", err)
	}
	if kept, _ := filepath.Glob(o.home.Lifecycle() + ".*"); len(kept) != 0 {
		t.Errorf("kept %q", kept)
	}

	if os.Geteuid() == 0 {
		t.Skip("root reads every file, whatever its mode")
	}
	o = newOwner(t)
	o.open().happens(lifecycle.Idle5Min)
	if err := os.Chmod(o.home.Lifecycle(), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLifecycle(LifecycleConfig{Home: o.home, Lock: o.lock}); !errors.Is(err, os.ErrPermission) {
		t.Errorf("without permission: %v", err)
	}
	if err := os.Chmod(o.home.Lifecycle(), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, there := o.stored(); !there || r.State != lifecycle.Drowsy {
		t.Error("it was touched")
	}
}

func TestOwnerNeedsTheLock(t *testing.T) {
	o := newOwner(t).open()
	o.lock.Release()
	if _, err := o.Dispatch(lifecycle.Event{Name: lifecycle.RequestArrived, At: noon}, lifecycle.DefaultPolicy()); err == nil {
		t.Error("saved without the lock")
	}
	if _, err := OpenLifecycle(LifecycleConfig{Home: o.home, Lock: o.lock}); err == nil {
		t.Error("opened with a lock that was given back")
	}
	if _, err := OpenLifecycle(LifecycleConfig{Home: o.home}); err == nil {
		t.Error("opened without a lock")
	}
}

func TestOwnCopyWinsOverAForeignFile(t *testing.T) {
	o := newOwner(t).open()
	o.happens(lifecycle.Idle5Min)
	write(t, o.home.Lifecycle(), `{"current_state":"HIBERNATION","since_ts":"2026-01-01T00:00:00Z","last_activity_ts":"2026-01-01T00:00:00Z"}`)
	o.happens(lifecycle.RequestArrived)
	if r, _ := o.stored(); r.State != lifecycle.Wake || r.Seq != 1 {
		t.Errorf("%+v", r)
	}
}

func TestHomeThatIsCleanedUpComesBack(t *testing.T) {
	o := newOwner(t).open()
	if err := os.RemoveAll(o.home.Root()); err != nil {
		t.Fatal(err)
	}
	o.happens(lifecycle.Idle5Min)
	if r, there := o.stored(); !there || r.State != lifecycle.Drowsy || len(o.logged()) != 1 {
		t.Errorf("%+v, %v", r, o.logged())
	}
}

func TestOffline(t *testing.T) {
	h := At(filepath.Join(t.TempDir(), "home"))
	c := LifecycleConfig{Home: h, Now: func() time.Time { return noon }}
	ev := lifecycle.Event{Name: lifecycle.Idle5Min, At: noon}
	if s, err := DispatchOffline(c, ev, lifecycle.DefaultPolicy()); err != nil || s != lifecycle.Drowsy {
		t.Errorf("%v, %v", s, err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = Offline(c, func(*Lifecycle) error { panic("in the middle") })
	}()
	boom := errors.New("boom")
	if err := Offline(c, func(*Lifecycle) error { return boom }); !errors.Is(err, boom) {
		t.Error(err)
	}
	lock, err := TryLock(h.Lock())
	if err != nil {
		t.Fatalf("the lock was not given back: %v", err)
	}
	before := read(t, h.Lifecycle())
	_, err = DispatchOffline(c, lifecycle.Event{Name: lifecycle.RequestArrived, At: noon}, lifecycle.DefaultPolicy())
	want := fmt.Sprintf("locked by pid %d; use 'drey lifecycle wake' or touch wake.signal", os.Getpid())
	if !errors.Is(err, ErrLocked) || !errors.Is(err, syscall.EWOULDBLOCK) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if read(t, h.Lifecycle()) != before {
		t.Error("a refusal has written")
	}
	write(t, h.Lock(), "") // tells nobody; the flock stays
	if err := Offline(c, nil); !errors.Is(err, ErrLocked) || err.Error() != "locked; use 'drey lifecycle wake' or touch wake.signal" {
		t.Error(err)
	}
	lock.Release()

	// What cannot be logged is told, and the state is right all the same.
	if err := os.Mkdir(h.LifecycleLog(noon.AddDate(0, 0, 1)), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := DispatchOffline(c, lifecycle.Event{Name: lifecycle.RequestArrived, At: noon.AddDate(0, 0, 1)}, lifecycle.DefaultPolicy())
	if s != lifecycle.Wake || !errors.Is(err, syscall.EISDIR) {
		t.Errorf("%v, %v", s, err)
	}
}
