package upkeep_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/statedir"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/sqlite"
	"github.com/dreyhq/drey/internal/upkeep"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// now is when the tests happen, unless a test moves it.
var now = time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)

type held struct{}

func (held) Held() bool { return true }

// house is a home with a real store in it.
type house struct {
	t     *testing.T
	home  statedir.Home
	store *sqlite.Store
	now   time.Time
	set   upkeep.Settings
}

func newHouse(t *testing.T) *house {
	t.Helper()
	home, err := statedir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, home: home, now: now, set: upkeep.Settings{
		JournalKeep: 24 * time.Hour, BackupKeep: 2, BackupEvery: 24 * time.Hour,
		LogCompressAfter: 30 * 24 * time.Hour, LogKeep: 365 * 24 * time.Hour,
	}}
	h.store = open(t, home.DB())
	return h
}

func open(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, Lock: held{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// steps returns the steps over the house's store, or over another one.
func (h *house) steps(other upkeep.Store) []upkeep.Step {
	if other == nil {
		other = h.store
	}
	return upkeep.Steps(upkeep.Config{
		Store: other, Home: h.home, Settings: func() upkeep.Settings { return h.set },
		Logs: []string{"log"}, Now: func() time.Time { return h.now },
	})
}

func (h *house) run(name string, other upkeep.Store) (upkeep.Result, error) {
	h.t.Helper()
	return step(h.t, h.steps(other), name).Run(h.t.Context(), nil)
}

func step(t *testing.T, steps []upkeep.Step, name string) upkeep.Step {
	t.Helper()
	i := slices.IndexFunc(steps, func(s upkeep.Step) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("there is no step %s", name)
	}
	return steps[i]
}

// fill puts old and young rows into the store: 600 events of four machines and
// one log, a second apart, and 300 requests.
func (h *house) fill() {
	h.t.Helper()
	for n := range 6 {
		a := store.Append{Machine: "m", ID: fmt.Sprint(n % 4), Expect: store.AnyVersion}
		if n == 5 {
			a.Machine = "log"
		}
		for i := range 100 {
			at := h.now.Add(-48*time.Hour + time.Duration(n*100+i)*time.Second)
			a.Events = append(a.Events, drey.Event{At: at, Name: "moved", Machine: a.Machine, ID: a.ID})
		}
		if n%2 == 0 {
			a.Snapshot = json.RawMessage(`{}`)
		}
		if _, err := h.store.Append(h.t.Context(), a); err != nil {
			h.t.Fatal(err)
		}
	}
	for n := range 300 {
		h.store.PutRequest(store.RequestRow{ID: drey.RequestID(fmt.Sprint(n)), At: h.now.Add(-48 * time.Hour), Outcome: "ok", Provider: "p"})
	}
	if err := h.store.Flush(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// metric returns one of a step's figures as text.
func metric(r upkeep.Result, key string) string {
	for _, f := range r.Metrics {
		if f.Key == key {
			return fmt.Sprint(f.Value)
		}
	}
	return "none"
}

// touch makes a file in the house.
func (h *house) touch(parts ...string) {
	h.t.Helper()
	path := filepath.Join(append([]string{h.home.Root()}, parts...)...)
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// list returns the names in a directory of the house that contain text.
func (h *house) list(dir, text string) []string {
	h.t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		h.t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if strings.Contains(e.Name(), text) {
			out = append(out, e.Name())
		}
	}
	return out
}

// broken is a store whose calls do what a test says.
type broken struct {
	*sqlite.Store
	do func(ctx context.Context) error
}

func (b broken) Checkpoint(ctx context.Context, p store.Pace) (store.Checkpointed, error) {
	return store.Checkpointed{}, b.do(ctx)
}

func (b broken) Prune(ctx context.Context, r store.Retention, p store.Pace) (store.Pruned, error) {
	return store.Pruned{}, b.do(ctx)
}

func (b broken) Rollup(ctx context.Context, p store.Pace) (store.RolledUp, error) {
	return store.RolledUp{}, b.do(ctx)
}

func (b broken) Verify(ctx context.Context, c store.Check, p store.Pace) (store.Verified, error) {
	return store.Verified{}, b.do(ctx)
}

func (b broken) Backup(ctx context.Context, path string, p store.Pace) (store.Copied, error) {
	return store.Copied{}, b.do(ctx)
}

func (b broken) Optimize(ctx context.Context, p store.Pace) (store.Optimized, error) {
	return store.Optimized{}, b.do(ctx)
}

var errBroken = errors.New("broken")
