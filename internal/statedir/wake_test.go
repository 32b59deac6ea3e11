package statedir

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
)

func TestWakeSignal(t *testing.T) {
	h := At(filepath.Join(t.TempDir(), "home")) // made with the signal
	if _, found, err := h.ConsumeWake(); found || err != nil || h.WakePending() {
		t.Errorf("a signal in a home that is not there: %v, %v", found, err)
	}
	for _, reason := range []string{"first", "a <person>", ""} {
		if err := h.SignalWake("replaced"); err != nil {
			t.Fatal(err)
		}
		if err := h.SignalWake(reason); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if !h.WakePending() {
				t.Error("it does not wait, or looking has consumed it")
			}
		}
		content, found, err := h.ConsumeWake()
		if !found || err != nil || h.WakePending() {
			t.Fatal(found, err)
		}
		var got map[string]any
		if err := json.Unmarshal(content, &got); err != nil {
			t.Fatal(err)
		}
		if _, err := drey.ParseTime(got["requested_at"].(string)); err != nil {
			t.Error(err)
		}
		uuid, _ := got["wrapper_uuid"].(string)
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(uuid) {
			t.Errorf("uuid %q", uuid)
		}
		if got["wrapper_pid"] != float64(os.Getpid()) || got["reason"] != any(reason) && (reason != "" || got["reason"] != nil) {
			t.Errorf("%s", content)
		}
	}
	entries, err := os.ReadDir(h.Root())
	if err != nil || len(entries) != 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}

func TestAnyPresenceIsASignal(t *testing.T) {
	h, err := Open(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]struct {
		put  func() error
		want string
	}{
		"touched":     {func() error { return os.WriteFile(h.WakeSignal(), nil, 0o600) }, ""},
		"broken":      {func() error { return os.WriteFile(h.WakeSignal(), []byte("{"), 0o600) }, "{"},
		"long":        {func() error { return os.WriteFile(h.WakeSignal(), make([]byte, 9000), 0o600) }, string(make([]byte, 4096))},
		"a dead link": {func() error { return os.Symlink("/nowhere", h.WakeSignal()) }, ""},
		"a pipe":      {func() error { return unix.Mkfifo(h.WakeSignal(), 0o600) }, ""},
	}
	for name, row := range rows {
		if err := row.put(); err != nil {
			t.Fatal(err)
		}
		content, found, err := h.ConsumeWake()
		if !found || err != nil || string(content) != row.want || h.WakePending() {
			t.Errorf("%s: %q, %v, %v", name, content, found, err)
		}
	}
	if err := os.Mkdir(h.WakeSignal(), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, found, err := h.ConsumeWake(); found || !errors.Is(err, syscall.EISDIR) || !h.WakePending() {
			t.Errorf("a directory: %v, %v", found, err)
		}
	}
}

func TestOfManyConsumersOneWins(t *testing.T) {
	h, err := Open(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if err := h.SignalWake(""); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var won atomic.Int32
		for range 8 {
			wg.Go(func() {
				_, found, err := h.ConsumeWake()
				if err != nil {
					t.Error(err)
				}
				if found {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d have won", won.Load())
		}
	}
}

// deadPID is the id of a process that has ended.
func deadPID(t *testing.T) int {
	t.Helper()
	p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	if err != nil {
		t.Skip(err)
	}
	if _, err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	return p.Pid
}

func TestLeases(t *testing.T) {
	h, err := Open(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	dead := deadPID(t)
	put := func(name, content string, mtime time.Duration) {
		path := filepath.Join(h.Wrappers(), name)
		write(t, path, content)
		if err := os.Chtimes(path, now, now.Add(-mtime)); err != nil {
			t.Fatal(err)
		}
	}
	lease := func(pid int, age time.Duration, more string) string {
		b, err := json.Marshal(map[string]any{
			"pid": pid, "uuid": "u", "started_at": drey.FormatTime(now.Add(-time.Hour)), "last_refresh": drey.FormatTime(now.Add(-age)),
			"wrapper_version": "1.2", "schema_version": 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(string(b), "}") + more + "}"
	}
	me := os.Getpid()
	put("heartbeat-1-a.json", lease(1, 0, `,"active":true,"client":"editor"`), 0) // EPERM, or we are root
	put("heartbeat-2-b.json", lease(me, 90*time.Second, ""), 0)
	put("heartbeat-3-c.json", lease(me, 91*time.Second, ""), 0)
	put("heartbeat-4-d.json", lease(dead, time.Second, ""), 0)
	put("heartbeat-5-e.json", lease(dead, time.Hour, ""), 0) // stale wins
	put("heartbeat-6-f.json", lease(0, 0, ""), 0)
	put("heartbeat-7-g.json", lease(-1, 0, ""), 0)
	put("heartbeat-8-h.json", lease(me, -time.Hour, ""), 20*time.Second) // of the future
	put("heartbeat-9999999999-i.json", "{", 5*time.Second)
	put("heartbeat-1-j.json", lease(me, 0, `,"active":"yes"`), 30*time.Second)
	put("heartbeat-1-k.json", strings.Replace(lease(me, 0, `,"active":true`), `"schema_version":1`, `"schema_version":2`, 1), 100*time.Second)
	for _, foreign := range []string{"heartbeat-1.json", "heartbeat-x-y.json", "heartbeat-1-a.json.bak", ".heartbeat-1-z.json.1.tmp", "notes"} {
		put(foreign, lease(me, 0, ""), 11*time.Minute)
	}
	put(".heartbeat-1-z.json.2.tmp", "", 9*time.Minute)
	got, err := h.Leases(now)
	if err != nil {
		t.Fatal(err)
	}
	started := now.Add(-time.Hour)
	at := func(age time.Duration) time.Time { return now.Add(-age) }
	want := []Lease{
		{PID: 1, UUID: "u", StartedAt: started, LastRefresh: now, Active: true, Client: "editor", Version: "1.2", State: Fresh, Path: "heartbeat-1-a.json"},
		{PID: 1, UUID: "j", LastRefresh: at(30 * time.Second), State: Fresh, Path: "heartbeat-1-j.json"},
		{PID: 1, UUID: "k", LastRefresh: at(100 * time.Second), State: Stale, Path: "heartbeat-1-k.json"},
		{PID: me, UUID: "u", StartedAt: started, LastRefresh: at(90 * time.Second), Version: "1.2", State: Fresh, Path: "heartbeat-2-b.json"},
		{PID: me, UUID: "u", StartedAt: started, LastRefresh: at(91 * time.Second), Version: "1.2", State: Stale, Path: "heartbeat-3-c.json"},
		{PID: dead, UUID: "u", StartedAt: started, LastRefresh: at(time.Second), Version: "1.2", State: Orphan, Path: "heartbeat-4-d.json"},
		{PID: dead, UUID: "u", StartedAt: started, LastRefresh: at(time.Hour), Version: "1.2", State: Stale, Path: "heartbeat-5-e.json"},
		{PID: 0, UUID: "u", StartedAt: started, LastRefresh: now, Version: "1.2", State: Orphan, Path: "heartbeat-6-f.json"},
		{PID: -1, UUID: "u", StartedAt: started, LastRefresh: now, Version: "1.2", State: Orphan, Path: "heartbeat-7-g.json"},
		{PID: me, UUID: "u", StartedAt: started, LastRefresh: at(20 * time.Second), Version: "1.2", State: Fresh, Path: "heartbeat-8-h.json"},
		{PID: 9999999999, UUID: "i", LastRefresh: at(5 * time.Second), State: Orphan, Path: "heartbeat-9999999999-i.json"},
	}
	for i := range want {
		want[i].Path = filepath.Join(h.Wrappers(), want[i].Path)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	removed, err := h.SweepLeases(now)
	if err != nil || removed != 8 { // 3 stale, 4 orphans, 1 temporary file
		t.Errorf("%d removed, %v", removed, err)
	}
	left, err := h.Leases(now)
	if err != nil || len(left) != 4 {
		t.Errorf("%d leases left, %v", len(left), err)
	}
	if entries, _ := os.ReadDir(h.Wrappers()); len(entries) != 4+5 {
		t.Errorf("left %v", entries)
	}
	if l, err := At(filepath.Join(h.Root(), "none")).Leases(now); err != nil || len(l) != 0 {
		t.Errorf("without a directory: %v, %v", l, err)
	}
}

func TestHoldLease(t *testing.T) {
	h, err := Open(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		l, err := HoldLease(h, "worker", true)
		if err != nil {
			t.Fatal(err)
		}
		other, err := HoldLease(h, "other", false)
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
		started := time.Now()
		for _, after := range []time.Duration{0, 29 * time.Second, 61 * time.Second, time.Hour} {
			time.Sleep(time.Until(started.Add(after))) // of the bubble: no time passes
			synctest.Wait()
			if after == 61*time.Second {
				// Somebody has cleaned up; the next refresh makes it anew.
				if err := os.RemoveAll(h.Wrappers()); err != nil {
					t.Fatal(err)
				}
				continue
			}
			got, err := h.Leases(time.Now())
			if err != nil || len(got) != 1 {
				t.Fatal(got, err)
			}
			g := got[0]
			age := time.Since(g.LastRefresh)
			if g.PID != os.Getpid() || !g.Active || g.Client != "worker" || g.Version == "" || g.State != Fresh || age > 30*time.Second ||
				g.Path != l.Path() || !g.StartedAt.Equal(started.Truncate(time.Microsecond)) {
				t.Errorf("after %v: %+v", after, g)
			}
		}
		for range 2 {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		if entries, err := os.ReadDir(h.Wrappers()); err != nil || len(entries) != 0 {
			t.Errorf("left %v, %v", entries, err)
		}
	})
	file := filepath.Join(h.Root(), "file")
	write(t, file, "")
	if _, err := HoldLease(At(file), "", false); !errors.Is(err, syscall.ENOTDIR) {
		t.Error(err)
	}
}
