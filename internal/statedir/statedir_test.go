package statedir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
)

func env(vars map[string]string) func(string) string {
	return func(key string) string { return vars[key] }
}

func TestRoot(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"HOME": "/u/me"}, "/u/me/.drey"},
		{map[string]string{"HOME": "/u/me", "DREY_HOME": "~/d"}, "/u/me/d"},
		{map[string]string{"HOME": "/u/me", "DREY_HOME": "~"}, "/u/me"},
		{map[string]string{"HOME": "/u/me", "DREY_HOME": "~other/d"}, filepath.Join(wd, "~other/d")},
		{map[string]string{"DREY_HOME": "/srv/drey/"}, "/srv/drey"},
		{map[string]string{"DREY_HOME": "/srv/$HOME/~/d"}, "/srv/$HOME/~/d"},
		{map[string]string{"DREY_HOME": "d"}, filepath.Join(wd, "d")},
	}
	for _, row := range rows {
		if got, err := Root(env(row.env)); err != nil || got != row.want {
			t.Errorf("%v: %q, %v; want %q", row.env, got, err, row.want)
		}
	}
	if _, err := Root(env(nil)); drey.ClassOf(err) != drey.Caller || drey.HintOf(err) == "" {
		t.Errorf("without HOME: %v", err)
	}
}

func TestPaths(t *testing.T) {
	h := At("/h")
	sock, err := h.Socket()
	if err != nil {
		t.Fatal(err)
	}
	art, err := h.Artifacts("mob_1", "lead")
	if err != nil {
		t.Fatal(err)
	}
	got := []string{
		h.Root(), h.Config(), h.DB(), h.Lifecycle(), h.Lock(), h.LifecycleLog(time.Date(2026, 11, 22, 23, 30, 0, 0, time.FixedZone("", -3600))),
		h.DaemonLog(), h.ProcessLog("q/x"), h.Audit(), h.Requests(), h.WakeSignal(), h.Wrappers(), h.StartLock(), h.WakerLock(), h.Backups(), art, sock,
	}
	want := []string{
		"/h", "/h/drey.yaml", "/h/drey.db", "/h/lifecycle_state.json", "/h/.lifecycle.lock", "/h/logs/lifecycle-events-2026-11-23.jsonl",
		"/h/logs/drey.log", "/h/logs/process-q_x.log", "/h/audit.jsonl", "/h/requests.jsonl", "/h/wake.signal", "/h/wrappers", "/h/.start.lock", "/h/.waker.lock", "/h/backups", "/h/artifacts/mob_1/lead", "/h/drey.sock",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, bad := range []string{"", ".", "..", "a/b", "/", "a\x00"} {
		if p, err := h.Artifacts("m", bad); err == nil {
			t.Errorf("%q leads to %s", bad, p)
		}
	}
}

func TestSocketPathLimit(t *testing.T) {
	fit := At("/" + strings.Repeat("d", maxSocketPath-len("//drey.sock")))
	path, err := fit.Socket()
	if err != nil || len(path) != maxSocketPath {
		t.Errorf("%d bytes: %v", len(path), err)
	}
	_, err = At(fit.Root() + "d").Socket()
	e, ok := errors.AsType[*drey.Error](err)
	if !ok || e.Class != drey.Caller || e.Code != "socket_path_too_long" || !strings.Contains(e.Hint, "DREY_HOME") {
		t.Errorf("one more: %#v", err)
	}
}

func TestOpenKeepsWhatIsThereAndTellsWhatIsNot(t *testing.T) {
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := Open(root); err != nil {
			t.Fatal(err)
		}
	}
	if info, _ := os.Stat(root); info.Mode().Perm() != 0o755 {
		t.Errorf("the mode of a home that was there is now %v", info.Mode())
	}
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{file, filepath.Join(file, "home")} {
		if _, err := Open(bad); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
