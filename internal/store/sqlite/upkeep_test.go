package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// fillStore journals n events of ten machines, every other of which has a
// snapshot of all of them.
func fillStore(t testing.TB, s *Store, n int) {
	t.Helper()
	const each = 500
	for from := 0; from < n; from += each {
		a := store.Append{Machine: "m", ID: fmt.Sprint(from / each % 10), Expect: store.AnyVersion}
		for i := from; i < min(from+each, n); i++ {
			e := moved(a.Machine, a.ID)
			e.At = e.At.Add(time.Duration(i) * time.Second)
			e.Fields = []drey.Field{drey.F("text", strings.Repeat("x", 100))}
			a.Events = append(a.Events, e)
		}
		if from/each%2 == 0 {
			a.Snapshot = json.RawMessage(`{"n":1}`)
		}
		if _, err := s.Append(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
}

func size(t testing.TB, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

// TestCheckpoint: the logs are cut to nothing, and one that is being read stays
// and is counted.
func TestCheckpoint(t *testing.T) {
	t.Parallel()
	s := open1(t, options(t.TempDir()))
	fillStore(t, s, 1000)
	s.PutRequest(store.RequestRow{ID: "req_1"})
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	reader, err := openWith(s.path, "ro", readerPragmas()...)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.close()
	if err := errors.Join(reader.exec(`BEGIN`), reader.exec(`SELECT * FROM head`)); err != nil {
		t.Fatal(err)
	}
	if err := add(s, "m", "1"); err != nil { // behind the reader's moment
		t.Fatal(err)
	}
	got, err := s.Checkpoint(t.Context(), nil)
	if err != nil || got.Busy != 1 || got.Pages == 0 || size(t, s.path+"-wal") == 0 {
		t.Errorf("while somebody reads: %+v, %v; the log has %d bytes", got, err, size(t, s.path+"-wal"))
	}
	if err := reader.exec(`COMMIT`); err != nil {
		t.Fatal(err)
	}
	got, err = s.Checkpoint(t.Context(), nil)
	if err != nil || got.Busy != 0 || size(t, s.path+"-wal") != 0 || size(t, s.telemetry.path+"-wal") != 0 {
		t.Errorf("while nobody does: %+v, %v; the logs have %d and %d bytes", got, err, size(t, s.path+"-wal"), size(t, s.telemetry.path+"-wal"))
	}
	if err := add(s, "m", "1"); err != nil {
		t.Error(err)
	}
}

// TestOptimize: what was pruned goes back to the file system.
func TestOptimize(t *testing.T) {
	t.Parallel()
	s := open1(t, options(t.TempDir()))
	fillStore(t, s, 1500)
	for id := range 10 {
		if _, err := s.Append(t.Context(), store.Append{Machine: "m", ID: fmt.Sprint(id), Expect: store.AnyVersion, Snapshot: json.RawMessage(`1`)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Prune(t.Context(), store.Retention{Before: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Checkpoint(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	before := size(t, s.path)
	got, err := s.Optimize(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Checkpoint(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if after := size(t, s.path); got.Freed < before/2 || before-after != got.Freed {
		t.Errorf("freed %d, and the file went from %d to %d bytes", got.Freed, before, after)
	}
	if free := ask(t, s.path, `PRAGMA freelist_count`); free != int64(0) {
		t.Errorf("%v pages are free still", free)
	}
	if n := ask(t, s.path, `SELECT count(*) FROM sqlite_stat1`); n == int64(0) {
		t.Error("there are no statistics for the planner")
	}
}

// TestBackup restores a copy that was made beside writers into another home.
func TestBackup(t *testing.T) {
	t.Parallel()
	s := open1(t, options(t.TempDir()))
	fillStore(t, s, 3000)
	want, err := s.Snapshots(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "drey.db")
	chunks := 0
	got, err := s.Backup(t.Context(), path, func() error {
		chunks++
		return add(s, "other", fmt.Sprint(chunks)) // committed after the copy's moment, but for the first
	})
	if err != nil {
		t.Fatal(err)
	}
	if chunks < 3 || got.Seq != 3001 || got.Bytes != size(t, path) {
		t.Errorf("%+v in %d chunks, of a file of %d bytes", got, chunks, size(t, path))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files beside the copy: %v, %v", len(entries), entries, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want 0600", st.Mode(), err)
	}
	if _, err := s.Backup(t.Context(), path, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over another copy: %v", err)
	}

	restored := open1(t, options(dir))
	if head, err := restored.Head(t.Context()); err != nil || head != 3001 {
		t.Errorf("head %d, %v", head, err)
	}
	if v, err := restored.Verify(t.Context(), store.Check{}, nil); err != nil || !v.Full || v.Events != 3001 {
		t.Errorf("%+v, %v", v, err)
	}
	states, err := restored.Snapshots(t.Context(), "m")
	if err != nil || len(states) != len(want) {
		t.Fatalf("%d machines, %v; want %d", len(states), err, len(want))
	}
	for i, st := range states {
		if st.Version != want[i].Version || string(st.Snapshot) != string(want[i].Snapshot) || len(st.Tail) != len(want[i].Tail) {
			t.Errorf("%s: version %d, want %d", st.ID, st.Version, want[i].Version)
		}
	}
	if c, err := restored.Append(t.Context(), store.Append{Machine: "m", ID: "0", Expect: want[0].Version, Events: []drey.Event{moved("m", "0")}}); err != nil || c.First != 3002 {
		t.Errorf("going on: %+v, %v", c, err)
	}
}

// TestBackupLeavesNothing: not when it fails, nor when its caller panics.
func TestBackupLeavesNothing(t *testing.T) {
	t.Parallel()
	s := open1(t, options(t.TempDir()))
	fillStore(t, s, 500)
	dir := t.TempDir()
	path := filepath.Join(dir, "copy.db")
	stop := errors.New("stop")
	for chunk := range 3 {
		for _, panics := range []bool{false, true} {
			func() {
				defer func() {
					if v := recover(); panics != (v != nil) {
						t.Errorf("chunk %d: recovered %v", chunk, v)
					}
				}()
				n := 0
				_, err := s.Backup(t.Context(), path, func() error {
					if n++; n <= chunk {
						return nil
					}
					if panics {
						panic("stop")
					}
					return stop
				})
				if !errors.Is(err, stop) {
					t.Errorf("chunk %d: %v", chunk, err)
				}
			}()
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
				t.Errorf("chunk %d: %v is left, %v", chunk, entries, err)
			}
		}
	}
	if _, err := s.Backup(t.Context(), filepath.Join(dir, "none", "copy.db"), nil); err == nil || drey.HintOf(err) == "" {
		t.Errorf("into no directory: %v, hint %q", err, drey.HintOf(err))
	}
}

// TestVerifyFinds breaks the store in every way that Verify is there for.
func TestVerifyFinds(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"a row is missing", `DELETE FROM journal WHERE seq = 550`, "rows 550 to 550 are missing"},
		{"the first row is missing", `DELETE FROM journal WHERE seq = 1`, "rows 1 to 1 are missing"},
		{"the last row is missing", `DELETE FROM journal WHERE seq = 600`, "the last row is 599"},
		{"a row after the head", `UPDATE head SET seq = 599`, "the head says 599"},
		{"a row that belongs to nobody", `UPDATE journal SET subject = 999 WHERE seq = 560`, "rows 560 to 560 are missing"},
		{"fields that are none", `UPDATE journal SET fields = '{"torn":' WHERE seq = 560`, "no JSON"},
		{"a level that is none", `UPDATE journal SET level = 'loud' WHERE seq = 560`, "loud"},
		{"a version is missing", `UPDATE journal SET version = 9999 WHERE seq = 560`, "version 9999"},
		{"a snapshot that is none", `UPDATE snapshots SET data = 'torn' WHERE subject = 1`, "is no JSON"},
		{"a snapshot of the future", `UPDATE snapshots SET at = 9999`, "is of row 9999"},
		{"a tail that does not fit", `UPDATE snapshots SET at = 100, version = 7 WHERE subject = 1`, "its tail begins with 101"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := open1(t, options(t.TempDir()))
			fillStore(t, s, 600)
			if _, err := s.Verify(t.Context(), store.Check{}, nil); err != nil {
				t.Fatalf("before: %v", err)
			}
			other, err := openConn(s.path)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(other.exec(tt.script), other.close()); err != nil {
				t.Fatal(err)
			}
			_, err = s.Verify(t.Context(), store.Check{}, nil)
			if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(drey.HintOf(err), "backups") {
				t.Errorf("%v, hint %q; want %q", err, drey.HintOf(err), tt.want)
			}
		})
	}
}

// TestVerifyDamagedPages: a disk that gives back other bytes than it was given.
func TestVerifyDamagedPages(t *testing.T) {
	for name, hint := range map[string]string{"drey.db": "restore", "telemetry.db": "made anew"} {
		for _, full := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s full=%v", name, full), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				s, err := Open(t.Context(), options(dir))
				if err != nil {
					t.Fatal(err)
				}
				fillStore(t, s, 1500)
				for n := range 500 {
					s.PutRequest(store.RequestRow{ID: drey.RequestID(fmt.Sprint(n)), Row: json.RawMessage(`"` + strings.Repeat("x", 200) + `"`)})
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				// Pages in the middle, which nobody needs to open the file.
				if _, err := f.WriteAt([]byte(strings.Repeat("\xff", 4*4096)), size(t, f.Name())/2/4096*4096); err != nil {
					t.Fatal(err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				s = open1(t, options(dir))
				c := store.Check{Now: time.Now()}
				if !full {
					c.FullEvery = time.Hour
					if err := s.setMark(t.Context(), fullCheck, c.Now.UnixMicro()-1); err != nil {
						t.Fatal(err)
					}
				}
				got, err := s.Verify(t.Context(), c, nil)
				if !errors.Is(err, store.ErrDamaged) || got.Full != full || !strings.Contains(drey.HintOf(err), hint) {
					t.Errorf("%+v, %v, hint %q", got, err, drey.HintOf(err))
				}
				if name == "drey.db" {
					if _, err := s.Backup(t.Context(), filepath.Join(dir, "copy.db"), nil); !errors.Is(err, store.ErrDamaged) {
						t.Errorf("a copy of it: %v", err)
					}
				}
			})
		}
	}
}

// TestVerifyFullOnceADay: the day is kept over restarts.
func TestVerifyFullOnceADay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i, step := range []struct {
		after time.Duration
		full  bool
	}{
		{0, true}, {time.Hour, false}, {22*time.Hour + 59*time.Minute, false}, {time.Minute, true}, {-48 * time.Hour, true}, {time.Hour, false},
	} {
		now = now.Add(step.after)
		s, err := Open(t.Context(), options(dir))
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Verify(t.Context(), store.Check{Now: now, FullEvery: 24 * time.Hour}, nil)
		if err != nil || got.Full != step.full {
			t.Errorf("step %d: full %v, %v; want %v", i, got.Full, err, step.full)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUpkeepIsRefused: without the lock, and by a newer process.
func TestUpkeepIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open1(t, options(dir))
	fillStore(t, s, 100)
	open1(t, options(dir))
	r := store.Retention{Before: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	if _, err := s.Prune(t.Context(), r, nil); !errors.Is(err, store.ErrEpoch) {
		t.Errorf("prune: %v, want ErrEpoch", err)
	}
	if _, err := s.Rollup(t.Context(), nil); err != nil && !errors.Is(err, store.ErrEpoch) {
		t.Errorf("rollup: %v", err)
	}
	if n := ask(t, filepath.Join(dir, "drey.db"), `SELECT count(*) FROM journal`); n != int64(100) {
		t.Errorf("%v rows are left of 100", n)
	}
}

// TestJobSettles: the result of a chunk's commit is found out as that of any
// other, and the writer goes on.
func TestJobSettles(t *testing.T) {
	for _, committed := range []bool{false, true} {
		t.Run(fmt.Sprintf("committed=%v", committed), func(t *testing.T) {
			o := options(t.TempDir())
			lost := errors.New("the answer is lost")
			broken := false
			o.test.commit = func(w *writer) error {
				if !broken {
					_, _, err := w.commit.run()
					return err
				}
				broken = false
				if committed {
					if _, _, err := w.commit.run(); err != nil {
						return err
					}
				}
				return lost
			}
			o.test.begin = func(w *writer) { broken = w.seq >= 100 && broken }
			s := open1(t, o)
			fillStore(t, s, 100)
			err := s.inJournal(t.Context(), "test", func(c *conn) (bool, error) {
				broken = true
				_, err := c.change(`UPDATE head SET floor = 50`)
				return true, err
			})
			if committed != (err == nil) || err != nil && !errors.Is(err, lost) {
				t.Errorf("the job: %v", err)
			}
			want := int64(0)
			if committed {
				want = 50
			}
			if floor := ask(t, s.path, `SELECT floor FROM head`); floor != want {
				t.Errorf("floor %v, want %d", floor, want)
			}
			if err := add(s, "m", "1"); err != nil {
				t.Errorf("the writer after it: %v", err)
			}
		})
	}
}

// TestUpkeepLarge is about time: 200,000 rows, writers beside every call, and
// the end of ctx in the middle of the longest statements.
func TestUpkeepLarge(t *testing.T) {
	if testing.Short() || os.Getenv("DREY_SOAK") != "1" {
		t.Skip("takes a minute; set DREY_SOAK=1 to run it")
	}
	s := open1(t, options(t.TempDir()))
	fillStore(t, s, 200_000)
	dir := t.TempDir()
	r := store.Retention{Before: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, call := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"verify", func(ctx context.Context) error { _, err := s.Verify(ctx, store.Check{}, nil); return err }},
		{"backup", func(ctx context.Context) error {
			_, err := s.Backup(ctx, filepath.Join(dir, "copy.db"), nil)
			return err
		}},
		{"prune", func(ctx context.Context) error { _, err := s.Prune(ctx, r, nil); return err }},
		{"optimize", func(ctx context.Context) error { _, err := s.Optimize(ctx, nil); return err }},
		{"checkpoint", func(ctx context.Context) error { _, err := s.Checkpoint(ctx, nil); return err }},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		var cancelled time.Time
		time.AfterFunc(50*time.Millisecond, func() { cancelled = time.Now(); cancel() })
		if err := call.run(ctx); err != nil {
			t.Logf("%s gave way after %v: %v", call.name, time.Since(cancelled), err)
			if late := time.Since(cancelled); late > 100*time.Millisecond {
				t.Errorf("%s gave way after %v", call.name, late)
			}
		}
		<-ctx.Done()
		ended := make(chan time.Duration, 1)
		go func() {
			start := time.Now()
			if err := call.run(t.Context()); err != nil {
				t.Errorf("%s: %v", call.name, err)
			}
			ended <- time.Since(start)
		}()
		var waits []time.Duration
		for done := false; !done; {
			start := time.Now()
			if err := add(s, "writer", "1"); err != nil {
				t.Fatal(err)
			}
			waits = append(waits, time.Since(start))
			select {
			case took := <-ended:
				done = true
				slices.Sort(waits)
				t.Logf("%s took %v; of %d appends beside it the middle one took %v, p99 %v, the slowest %v",
					call.name, took, len(waits), waits[len(waits)/2], waits[len(waits)*99/100], waits[len(waits)-1])
			default:
			}
		}
	}
}

// TestUpkeepOfAnOlderStore: files of the first schema are taken along, with all
// that is in them.
func TestUpkeepOfAnOlderStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, application := range map[string]int{"journal": journalID, "telemetry": telemetryID} {
		script, err := migrations.ReadFile("migrations/" + name + "/0001.sql")
		if err != nil {
			t.Fatal(err)
		}
		rows := map[string]string{
			"journal": `UPDATE head SET seq = 1, txn = 1, epoch = 1; INSERT INTO machines VALUES (1, 'm'); INSERT INTO subjects VALUES (1, 1, 'a', 0);
				INSERT INTO journal (seq, subject, machine, version, at, event) VALUES (1, 1, 1, 1, 0, 'old'); INSERT INTO snapshots VALUES (1, 1, 1, '{}')`,
			"telemetry": `INSERT INTO requests (id, at, profile, provider, outcome, status) VALUES ('req_1', 0, '', 'p', 'ok', 200)`,
		}[name]
		path := filepath.Join(dir, map[string]string{"journal": "drey.db", "telemetry": "telemetry.db"}[name])
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := openConn(path)
		if err != nil {
			t.Fatal(err)
		}
		err = c.exec(fmt.Sprintf("%s;\nPRAGMA application_id = %d; PRAGMA user_version = 1; %s", script, application, rows))
		if err := errors.Join(err, c.close()); err != nil {
			t.Fatal(err)
		}
	}
	s := open1(t, options(dir))
	if r, err := s.Rollup(t.Context(), nil); err != nil || r.Requests != 1 {
		t.Errorf("rollup: %+v, %v", r, err)
	}
	if v, err := s.Verify(t.Context(), store.Check{}, nil); err != nil || v.Events != 1 || v.Snapshots != 1 {
		t.Errorf("verify: %+v, %v", v, err)
	}
	want := store.Pruned{Events: 1, Requests: 1, Oldest: 2}
	if p, err := s.Prune(t.Context(), store.Retention{Before: time.Now()}, nil); err != nil || p != want {
		t.Errorf("prune: %+v, %v; want %+v", p, err, want)
	}
	if st, err := s.Load(t.Context(), "m", "a"); err != nil || st.Version != 1 || string(st.Snapshot) != `{}` {
		t.Errorf("the machine after it: %+v, %v", st, err)
	}
}
