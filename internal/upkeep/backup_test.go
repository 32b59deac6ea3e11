package upkeep_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey/internal/statedir"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/upkeep"
)

// TestBackups goes through a week of nights.
func TestBackups(t *testing.T) {
	h := newHouse(t)
	// Of another kind, or somebody else's: never touched.
	h.touch("backups", "drey-before-upgrade.db")
	h.touch("backups", "drey-20200101.db")
	h.touch("backups", "notes.txt")
	for _, night := range []struct {
		name    string
		after   time.Duration
		skipped bool
		want    string
	}{
		{"the first", 0, false, "0331T12"},
		{"a minute early", 24*time.Hour - time.Minute, true, "0331T12"},
		{"a day old", time.Minute, false, "0331T12 0401T12"},
		{"the oldest goes", 24 * time.Hour, false, "0401T12 0402T12"},
		{"the clock was set back: those of the future keep nothing from being made", -100 * time.Hour, false, "0329T08 0402T12"},
		{"and then", time.Hour, true, "0329T08 0402T12"},
	} {
		h.now = h.now.Add(night.after)
		r, err := h.run("backup", nil)
		if err != nil || night.skipped != (r.Skipped != "") {
			t.Errorf("%s: %+v, %v", night.name, r, err)
		}
		if night.skipped && (!strings.Contains(r.Skipped, "old") || !strings.Contains(r.Skipped, "1d")) {
			t.Errorf("%s: the reason is %q", night.name, r.Skipped)
		}
		var got []string
		for _, name := range h.list(h.home.Backups(), "drey-2026") {
			got = append(got, name[len("drey-2026"):len("drey-20260331T12")])
		}
		if diff := cmp.Diff(night.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", night.name, diff)
		}
	}
	if got := h.list(h.home.Backups(), ""); len(got) != 5 {
		t.Errorf("backups: %v", got)
	}
}

// TestBackupsOfOneInstant: two copies never share a name.
func TestBackupsOfOneInstant(t *testing.T) {
	h := newHouse(t)
	h.set.BackupEvery = 0
	for range 3 {
		if r, err := h.run("backup", nil); err != nil || r.Skipped != "" {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	want := []string{"drey-20260331T120000000001Z.db", "drey-20260331T120000000002Z.db"}
	if diff := cmp.Diff(want, h.list(h.home.Backups(), "")); diff != "" {
		t.Errorf("backups (-want +got):\n%s", diff)
	}
}

// TestBackupRestored: the newest copy is a whole house.
func TestBackupRestored(t *testing.T) {
	h := newHouse(t)
	// What a process that was killed has left.
	h.touch("backups", ".drey-20260330T120000000000Z.db.tmp")
	h.touch("backups", ".drey-20260330T120000000000Z.db.tmp-journal")
	h.fill()
	for _, s := range h.steps(nil) {
		if _, err := s.Run(t.Context(), nil); err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
	}
	names := h.list(h.home.Backups(), "")
	if len(names) != 1 {
		t.Fatalf("backups: %v", names)
	}
	copied := filepath.Join(h.home.Backups(), names[0])
	if st, err := os.Stat(copied); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want 0600", st.Mode(), err)
	}
	b, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	home, err := statedir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(home.DB(), b, 0o600); err != nil {
		t.Fatal(err)
	}
	restored := open(t, home.DB())
	if got, err := restored.Verify(t.Context(), store.Check{}, nil); err != nil || !got.Full {
		t.Errorf("%+v, %v", got, err)
	}
	for _, m := range []string{"m", "log"} {
		want, err1 := h.store.Snapshots(t.Context(), m)
		got, err2 := restored.Snapshots(t.Context(), m)
		if diff := cmp.Diff(want, got); diff != "" || err1 != nil || err2 != nil || m == "m" && len(got) != 4 {
			t.Errorf("%v, %v, the states of %s (-original +restored):\n%s", err1, err2, m, diff)
		}
	}
}

// TestDamage: a store whose pages are not what was written fails verify in a
// way that can be told apart, and no copy of it replaces a good one.
func TestDamage(t *testing.T) {
	h := newHouse(t)
	h.fill()
	if _, err := h.run("backup", nil); err != nil {
		t.Fatal(err)
	}
	good := h.list(h.home.Backups(), "")
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(h.home.DB(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(strings.Repeat("\xff", 8*4096)), st.Size()/2/4096*4096); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	h.store = open(t, h.home.DB())
	h.now = h.now.Add(48 * time.Hour)
	h.set.BackupKeep = 1
	for _, name := range []string{"verify", "backup"} {
		if _, err := h.run(name, nil); !errors.Is(err, upkeep.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
	if diff := cmp.Diff(good, h.list(h.home.Backups(), "")); diff != "" {
		t.Errorf("backups (-before +after):\n%s", diff)
	}
}
