package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

func open1(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func moved(machine, id string) drey.Event {
	return drey.Event{At: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Name: "test.moved", Machine: machine, ID: id}
}

func add(s *Store, machine, id string) error {
	_, err := s.Append(context.Background(), store.Append{Machine: machine, ID: id, Expect: store.AnyVersion, Events: []drey.Event{moved(machine, id)}})
	return err
}

// TestOpenRefuses goes through what can be wrong with a home, and what each
// says to a person.
func TestOpenRefuses(t *testing.T) {
	write := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sql := func(t *testing.T, path, script string) {
		t.Helper()
		write(t, path, "")
		c, err := openConn(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.exec(script), c.close()); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, o *Options)
		code   string
		is     error
		hint   string
	}{
		{"no lock", func(_ *testing.T, o *Options) { o.Lock = nil }, codeLock, nil, "Another drey"},
		{"the lock is not held", func(_ *testing.T, o *Options) { o.Lock = locked(false) }, codeLock, nil, "Another drey"},
		{"a network file system", func(_ *testing.T, o *Options) {
			o.test.filesystem = func(string) (string, error) { return "nfs", nil }
		}, codeNetwork, store.ErrNetworkFilesystem, "local disk"},
		{"sshfs", func(_ *testing.T, o *Options) {
			o.test.filesystem = func(string) (string, error) { return "fuse.sshfs", nil }
		}, codeNetwork, store.ErrNetworkFilesystem, "DREY_HOME"},
		{"no directory", func(_ *testing.T, o *Options) { o.Path = filepath.Join(filepath.Dir(o.Path), "none", "drey.db") }, codeUnavailable, fs.ErrNotExist, "disk"},
		{"a directory in its place", func(t *testing.T, o *Options) {
			if err := os.Mkdir(o.Path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, codeUnavailable, nil, "disk"},
		{"not a database", func(t *testing.T, o *Options) { write(t, o.Path, strings.Repeat("not a database. ", 100)) }, codeCorrupt, nil, "restore"},
		{"another program's database", func(t *testing.T, o *Options) { sql(t, o.Path, "CREATE TABLE theirs (x)") }, codeForeign, errForeign, "Move"},
		{"a newer drey's", func(t *testing.T, o *Options) {
			sql(t, o.Path, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = 99", journalID))
		}, codeNewer, errNewer, "newer drey"},
		{"a newer drey's telemetry", func(t *testing.T, o *Options) {
			sql(t, filepath.Join(filepath.Dir(o.Path), "telemetry.db"), fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = 99", telemetryID))
		}, codeNewer, errNewer, "newer drey"},
		{"pages overwritten", func(t *testing.T, o *Options) {
			s, err := Open(t.Context(), *o)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(o.Path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte(strings.Repeat("\xff", 3000)), 100); err != nil {
				t.Fatal(err)
			}
		}, codeCorrupt, nil, "restore"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := options(t.TempDir())
			tt.damage(t, &o)
			s, err := Open(t.Context(), o)
			if err == nil {
				s.Close()
				t.Fatal("it opened")
			}
			e, ok := errors.AsType[*drey.Error](err)
			if !ok || e.Code != tt.code || !strings.Contains(drey.HintOf(err), tt.hint) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v (%+v), hint %q; want code %s", err, e, drey.HintOf(err), tt.code)
			}
		})
	}
	t.Run("an unwritable home", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("nothing is unwritable for root")
		}
		o := options(t.TempDir())
		if err := os.Chmod(filepath.Dir(o.Path), 0o500); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), o); !errors.Is(err, fs.ErrPermission) || drey.HintOf(err) == "" {
			t.Errorf("%v, hint %q", err, drey.HintOf(err))
		}
	})
	t.Run("an ended context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Open(ctx, options(t.TempDir())); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// TestFiles holds the rights of the files, also of those that were there, in a
// directory whose name means something in a URI.
func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a ?b#c%20d&mode=memory")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "drey.db"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := open1(t, options(dir))
	if err := add(s, "m", "1"); err != nil {
		t.Fatal(err)
	}
	var names []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Name())
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s is %v, want 0600", e.Name(), got)
		}
	}
	if got, want := strings.Join(names, " "), "drey.db drey.db-shm drey.db-wal telemetry.db telemetry.db-shm telemetry.db-wal"; got != want {
		t.Errorf("files %q, want %q", got, want)
	}
	if got := ask(t, filepath.Join(dir, "drey.db"), "PRAGMA auto_vacuum"); got != int64(2) {
		t.Errorf("auto_vacuum is %v, want 2 (incremental)", got)
	}
}

// TestDamagedTelemetry: it keeps nobody from starting, and nothing is deleted.
func TestDamagedTelemetry(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "telemetry.db"), []byte(strings.Repeat("damaged ", 600)), 0o600); err != nil {
		t.Fatal(err)
	}
	o := options(dir)
	o.Now = func() time.Time { return time.Date(2026, 3, 1, 4, 5, 6, 0, time.UTC) }
	s := open1(t, o)
	s.PutRequest(store.RequestRow{ID: "req_1"})
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "telemetry.db.corrupt-20260301T040506.000000")); err != nil {
		t.Error(err)
	}
}

// TestMigrationsContinue opens a store that died between two steps: the first
// is not run again.
func TestMigrationsContinue(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		s, err := Open(t.Context(), options(dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "drey.db")
	if id, v := ask(t, path, "PRAGMA application_id"), ask(t, path, "PRAGMA user_version"); id != int64(journalID) || v != int64(2) {
		t.Errorf("application %v, version %v", id, v)
	}
	if epoch := ask(t, path, "SELECT epoch FROM head"); epoch != int64(2) {
		t.Errorf("epoch %v after two openings", epoch)
	}
}

// TestQueriesUseIndexes asks SQLite for its plan: no filter walks the journal.
func TestQueriesUseIndexes(t *testing.T) {
	s := open1(t, options(t.TempDir()))
	now := time.Now()
	for _, tt := range []struct {
		name string
		q    store.Query
		want string
	}{
		{"seq", store.Query{After: 5}, "SEARCH j USING INTEGER PRIMARY KEY (rowid>?)"},
		{"machine", store.Query{After: 5, Machine: "m"}, "SEARCH j USING INDEX journal_by_machine (machine=? AND rowid>?)"},
		{"machine and id", store.Query{After: 5, Machine: "m", ID: "1", Event: "x*"}, "SEARCH j USING INDEX journal_by_subject (subject=? AND rowid>?)"},
		{"id", store.Query{ID: "1"}, "SEARCH j USING INDEX journal_by_subject (subject=? AND rowid>?)"},
		{"request", store.Query{After: 5, Machine: "m", RequestID: "r"}, "SEARCH j USING INDEX journal_by_request (request_id=? AND rowid>?)"},
		{"time", store.Query{Since: now, Until: now}, "SEARCH j USING INDEX journal_by_time (at>? AND at<?)"},
	} {
		for _, newest := range []bool{false, true} {
			tt.q.Newest = newest
			text, args := querySQL(tt.q, 100)
			var plan []string
			rows, err := s.readers.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, args...)
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			for rows.Next() {
				var a, b, c int
				var detail string
				if err := rows.Scan(&a, &b, &c, &detail); err != nil {
					t.Fatal(err)
				}
				plan = append(plan, detail)
			}
			rows.Close()
			if got := strings.Join(plan, "\n"); !strings.Contains(got, tt.want) || strings.Contains(got, "SCAN") {
				t.Errorf("%s, newest %v:\n%s\nwant %s", tt.name, newest, got, tt.want)
			}
		}
	}
}
