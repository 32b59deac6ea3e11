package doctor

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
)

// ward is a real home in a directory of its own, and all that a doctor asks
// beside it.
type ward struct {
	t         *testing.T
	home      statedir.Home
	now       time.Time
	lifecycle api.Lifecycle // what the daemon tells
	status    api.Status
	answers   error // of the daemon; nil = it answers
	asked     int
	addr      string // that of the gateway
	taken     bool   // somebody listens there
	started   int
	c         Config
}

func newWard(t *testing.T) *ward {
	home, err := statedir.Open(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	w := &ward{t: t, home: home, now: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC), addr: "127.0.0.1:3739", answers: &drey.Error{Err: errors.New("nobody there")}}
	w.c = Config{
		Home: home, Patience: time.Minute, Now: func() time.Time { return w.now },
		Dial: func(context.Context) (Daemon, error) {
			w.asked++
			if w.answers != nil {
				return nil, w.answers
			}
			return w, nil
		},
		Listens:       func() (string, bool, error) { return w.addr, w.taken, nil },
		Configuration: func() (string, error) { return "drey.yaml", nil },
		Filesystem:    func(string) error { return nil },
		Free:          func(string) (uint64, error) { return 100 << 30, nil },
		Start:         func(context.Context) error { w.started++; w.wakes(); return nil },
	}
	return w
}

// Lifecycle implements Daemon.
func (w *ward) Lifecycle(context.Context) (api.Lifecycle, error) { return w.lifecycle, nil }

// Status implements Daemon.
func (w *ward) Status(context.Context) (api.Status, error) { return w.status, nil }

func (w *ward) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// holds has somebody hold the home until the test ends.
func (w *ward) holds() {
	w.t.Helper()
	lock, err := statedir.TryLock(w.home.Lock())
	w.must(err)
	w.t.Cleanup(lock.Release)
}

// wakes has a daemon run that answers.
func (w *ward) wakes() {
	w.holds()
	w.answers, w.taken = nil, true
	w.lifecycle.State = "WAKE"
	w.lifecycle.MayHibernate = &api.MayHibernate{By: "waker (pid 12)", Because: []string{"idle for 3s of 30m"}}
	w.status = api.Status{Version: "1.2.0", PID: 4711, UptimeS: 3600, Listen: []string{w.addr}}
}

// record writes the record through its owner, as a daemon does.
func (w *ward) record(change func(r *lifecycle.Record)) {
	w.t.Helper()
	w.must(statedir.Offline(statedir.LifecycleConfig{Home: w.home, Now: w.c.Now}, func(l *statedir.Lifecycle) error {
		_, err := l.Update(func(r lifecycle.Record) (lifecycle.Record, []lifecycle.Line) {
			change(&r)
			return r, nil
		})
		return err
	}))
}

// says writes lines into the lifecycle's log.
func (w *ward) says(lines ...lifecycle.Line) {
	w.t.Helper()
	w.must(statedir.Offline(statedir.LifecycleConfig{Home: w.home, Now: w.c.Now}, func(l *statedir.Lifecycle) error { return l.Append(lines...) }))
}

func (w *ward) write(path, text string, mode os.FileMode) {
	w.t.Helper()
	w.must(os.WriteFile(path, []byte(text), 0o600))
	w.must(os.Chmod(path, mode))
}

func (w *ward) backup(age time.Duration) {
	path := filepath.Join(w.home.Backups(), "drey-20260430T080000Z.db")
	w.write(path, "a copy", 0o600)
	w.must(os.Chtimes(path, w.now.Add(-age), w.now.Add(-age)))
}

func (w *ward) store() { w.write(w.home.DB(), "SQLite format 3\x00and pages", 0o600) }

// look looks, and returns what one check found.
func (w *ward) look(check string) Finding {
	w.t.Helper()
	for _, f := range Look(w.t.Context(), w.c) {
		if f.Check == check {
			return f
		}
	}
	w.t.Fatalf("there is no check %q", check)
	return Finding{}
}

// cycle is a sleep cycle that was completed so long ago.
func (w *ward) cycle(ago time.Duration) {
	w.record(func(r *lifecycle.Record) {
		r.LastCycle = &lifecycle.Cycle{CompletedAt: w.now.Add(-ago), Mode: lifecycle.ModeSleep}
	})
}

func step(at time.Time, name, err string) lifecycle.Line {
	l := lifecycle.Line{TS: at, Event: lifecycle.EventStepCompleted, Fields: []drey.Field{drey.F("step", name), drey.F("step_num", 4)}}
	if err != "" {
		l.Fields = append(l.Fields, drey.F("error", err))
	}
	return l
}

// Every check is seen to pass, to warn and to fail where it can.
func TestChecks(t *testing.T) {
	for _, tt := range []struct {
		check, name string
		arrange     func(w *ward)
		verdict     Verdict
		text, mend  string // parts of them
	}{
		{"home", "private", func(*ward) {}, Pass, "can be read by you alone", ""},
		{"home", "not there yet", func(w *ward) { w.must(os.RemoveAll(w.home.Root())) }, Warn, "is not there yet", "drey up"},
		{"home", "open to others", func(w *ward) { w.must(os.Chmod(w.home.Root(), 0o755)) }, Fail, "others of this machine can read", "--fix"},
		{"home", "an open file", func(w *ward) { w.write(w.home.Audit(), "", 0o640) }, Fail, "audit.jsonl", "chmod go-rwx"},
		{"home", "an open directory", func(w *ward) { w.must(os.Chmod(w.home.Backups(), 0o701)) }, Fail, "backups", "--fix"},
		{"home", "a link", func(w *ward) {
			link := filepath.Join(w.t.TempDir(), "link")
			w.must(os.Symlink(w.home.Root(), link))
			w.c.Home = statedir.At(link)
		}, Pass, "link can be read by you alone", ""},
		{"home", "somebody else's", func(w *ward) {
			if os.Geteuid() != 0 {
				w.t.Skip("only root can give a file away")
			}
			w.store()
			w.must(os.Chown(w.home.DB(), 12345, -1))
		}, Fail, "belong to another user: ", "chown"},

		{"filesystem", "local", func(*ward) {}, Pass, "is on a local file system", ""},
		{"filesystem", "remote", func(w *ward) {
			w.c.Filesystem = func(string) error {
				return &drey.Error{Err: errors.New("it is on NFS"), Hint: "move it"}
			}
		}, Warn, "it is on NFS", "move it"},
		{"filesystem", "of a home that will be", func(w *ward) {
			w.must(os.RemoveAll(w.home.Root()))
			w.c.Filesystem = func(dir string) error {
				_, err := os.Stat(dir)
				return err
			}
		}, Pass, "local file system", ""},

		{"disk", "roomy", func(*ward) {}, Pass, "102400 MiB are free", ""},
		{"disk", "tight", func(w *ward) { w.c.Free = func(string) (uint64, error) { return 100 << 20, nil } }, Warn, "only 100 MiB", "free some"},
		{"disk", "full", func(w *ward) { w.c.Free = func(string) (uint64, error) { return 1 << 20, nil } }, Fail, "only 1 MiB", "free some"},
		{"disk", "unknown", func(w *ward) { w.c.Free = func(string) (uint64, error) { return 0, errors.New("no idea") } }, Warn, "no idea", ""},
		{"disk", "as the system says", func(w *ward) { w.c.Free = nil }, "", " MiB are free below ", ""},

		{"configuration", "sound", func(*ward) {}, Pass, "drey.yaml is sound", ""},
		{"configuration", "bad", func(w *ward) { w.c.Configuration = func() (string, error) { return "", errors.New("line 3") } }, Fail, "line 3", "drey config check"},

		{"record", "none yet", func(*ward) {}, Pass, "no record yet", ""},
		{"record", "good", func(w *ward) { w.cycle(0) }, Pass, "WAKE since 2026-05-01T08:00", ""},
		{"record", "corrupt", func(w *ward) { w.write(w.home.Lifecycle(), "{", 0o600) }, Fail, "is corrupt", "--fix"},
		{"record", "corrupt under a daemon", func(w *ward) { w.write(w.home.Lifecycle(), "{", 0o600); w.wakes() }, Fail, "is corrupt", "drey lifecycle wake"},
		{"record", "open to others", func(w *ward) { w.cycle(0); w.must(os.Chmod(w.home.Lifecycle(), 0o644)) }, Fail, "has mode 0644", "chmod 600"},
		{"record", "no file", func(w *ward) { w.must(os.Mkdir(w.home.Lifecycle(), 0o700)) }, Fail, "not a regular file", "--fix"},

		{"daemon", "none", func(*ward) {}, Pass, "none runs, and nobody holds the home", ""},
		{"daemon", "runs", (*ward).wakes, Pass, "drey 1.2.0 runs, pid 4711, for 1h", ""},
		{"daemon", "is silent", func(w *ward) { w.holds() }, Fail, fmt.Sprintf("process %d holds the home, and the control socket was silent 3 times: nobody there", os.Getpid()), "kill -9"},
		{"daemon", "cannot be told", func(w *ward) {
			w.must(os.Symlink("/nowhere", w.home.Lock()))
		}, Fail, "cannot be told whether a daemon runs", "who owns"},

		{"hibernation", "awake", func(*ward) {}, Pass, "the record says WAKE", ""},
		{"hibernation", "with a waker", func(w *ward) {
			w.record(func(r *lifecycle.Record) { r.State = lifecycle.Hibernation })
			w.taken = true
		}, Pass, "somebody listens on 127.0.0.1:3739 to wake it", ""},
		{"hibernation", "without a waker", func(w *ward) { w.record(func(r *lifecycle.Record) { r.State = lifecycle.Hibernation }) },
			Fail, "nobody listens on 127.0.0.1:3739", "drey up"},
		{"hibernation", "on the way", func(w *ward) {
			w.record(func(r *lifecycle.Record) { r.State = lifecycle.Hibernation })
			w.wakes()
		}, Pass, "a process holds the home", ""},
		{"hibernation", "unknown address", func(w *ward) {
			w.record(func(r *lifecycle.Record) { r.State = lifecycle.Hibernation })
			w.c.Listens = func() (string, bool, error) { return "", false, errors.New("bad address") }
		}, Warn, "bad address", ""},
		{"hibernation", "unknown record", func(w *ward) { w.write(w.home.Lifecycle(), "{", 0o600) }, Warn, "cannot be told", ""},

		{"address", "free", func(*ward) {}, Pass, "127.0.0.1:3739 is free", ""},
		{"address", "the daemon's", (*ward).wakes, Pass, "the daemon listens on 127.0.0.1:3739", ""},
		{"address", "the waker's", func(w *ward) {
			w.record(func(r *lifecycle.Record) { r.State = lifecycle.Hibernation })
			w.taken = true
		}, Pass, "is kept for the daemon", ""},
		{"address", "a silent daemon's", func(w *ward) { w.holds(); w.taken = true }, Pass, "and a process holds the home", ""},
		{"address", "somebody else's", func(w *ward) { w.taken = true }, Warn, "somebody listens on 127.0.0.1:3739", "listen.addr"},
		{"address", "unknown", func(w *ward) {
			w.c.Listens = func() (string, bool, error) { return "", false, errors.New("bad address") }
		}, Warn, "bad address", ""},

		{"waker", "none needed", func(*ward) {}, Pass, "no daemon answers", ""},
		{"waker", "there", (*ward).wakes, Pass, "can be woken by waker (pid 12)", ""},
		{"waker", "not there", func(w *ward) { w.wakes(); w.lifecycle.MayHibernate.By = "" }, Warn, "stays in SLEEP", "drey service install"},
		{"waker", "not there, and a shadow run before", func(w *ward) { // the record says so until the next move
			w.wakes()
			w.lifecycle.MayHibernate.By, w.lifecycle.ShadowRun = "", true
		}, Warn, "stays in SLEEP", "drey up"},
		{"waker", "told to stay", func(w *ward) {
			w.wakes()
			w.lifecycle.MayHibernate = &api.MayHibernate{Because: []string{"idle for 3s of 30m", "lifecycle.hibernate is never", "it listens by itself"}}
		}, Pass, "told to stay", ""},

		{"event log", "can be made", func(*ward) {}, Pass, "lifecycle-events-2026-05-01.jsonl can be written", ""},
		{"event log", "is there", func(w *ward) { w.says(lifecycle.OwnerLost(w.now)) }, Pass, "can be written", ""},
		{"event log", "no directory", func(w *ward) { w.must(os.RemoveAll(w.home.Logs())) }, Pass, "the daemon makes its directory", ""},
		{"event log", "cannot be written", func(w *ward) { w.must(os.Mkdir(w.home.LifecycleLog(w.now), 0o700)) }, Fail, "cannot be written", "free the disk"},

		{"log archives", "none", func(*ward) {}, Pass, "0 days", ""},
		{"log archives", "one day", func(w *ward) { w.says(lifecycle.OwnerLost(w.now)) }, Pass, "1 days", ""},
		{"log archives", "twice and the same", func(w *ward) { w.twice("a\n", "a\n") }, Pass, "none is there twice", ""},
		{"log archives", "twice and not the same", func(w *ward) { w.twice("a\n", "b\n") }, Warn, "lifecycle-events-2026-03-01.jsonl", "append what is missing"},
		{"log archives", "twice and broken", func(w *ward) {
			w.twice("a\n", "a\n")
			w.write(w.home.LifecycleLog(w.now.AddDate(0, -2, 0))+".gz", "no gzip", 0o600)
		}, Warn, "with different lines", "remove one"},

		{"store", "none", func(*ward) {}, Pass, "there is none yet", ""},
		{"store", "not checked yet", (*ward).store, Pass, "begins as a SQLite database does", ""},
		{"store", "empty", func(w *ward) { w.write(w.home.DB(), "", 0o600) }, Pass, "begins as a SQLite database does", ""},
		{"store", "something else", func(w *ward) { w.write(w.home.DB(), "<html>and so on</html>", 0o600); w.backup(time.Hour) },
			Fail, "is no SQLite database", "drey-20260430T080000Z.db in its place"},
		{"store", "torn", func(w *ward) { w.write(w.home.DB(), "SQL", 0o600) }, Fail, "is no SQLite database", "a copy that you have"},
		{"store", "sound", func(w *ward) { w.store(); w.says(step(w.now, "verify", ""), step(w.now, "backup", "")) }, Pass, "checked at 2026-05-01T08:00:00.000000+00:00, and sound", ""},
		{"store", "damaged", func(w *ward) {
			w.store()
			w.says(step(w.now, "verify", ""), step(w.now, "verify", "page 7"), lifecycle.Line{TS: w.now, Event: lifecycle.EventStoreDamaged, Fields: []drey.Field{drey.F("error", "page 7")}})
		}, Fail, "found damaged at 2026-05-01T08:00:00.000000+00:00: page 7", "-wal and -shm aside"},
		{"store", "damaged, and sound again", func(w *ward) {
			w.says(lifecycle.Line{TS: w.now, Event: lifecycle.EventStoreDamaged, Fields: []drey.Field{drey.F("error", "page 7")}}, step(w.now, "verify", ""))
		}, Pass, "and sound", ""},

		{"sleep cycle", "never, and no daemon", func(*ward) {}, Pass, "none has been completed yet; no daemon answers", ""},
		{"sleep cycle", "lately", func(w *ward) { w.cycle(3 * time.Hour) }, Pass, "completed 3h ago", ""},
		{"sleep cycle", "long ago, and a daemon that has just begun", func(w *ward) { w.cycle(72 * time.Hour); w.wakes() }, Pass, "completed 3d ago, and the daemon has not run long enough", ""},
		{"sleep cycle", "long ago, and a daemon that has had time", func(w *ward) {
			w.cycle(72 * time.Hour)
			w.record(func(r *lifecycle.Record) {
				said := "deferred:step=verify:chunk_idx=3"
				r.Progress = &lifecycle.Progress{LastCompletedStep: 3, LastError: &said, StartedAt: w.now}
			})
			w.wakes()
			w.status.UptimeS = 13 * 3600
		}, Fail, "stopped behind step 3: deferred:step=verify:chunk_idx=3", "drey lifecycle sleep --force"},

		{"quarantine", "none", func(*ward) {}, Pass, "not paused (nothing of it is left undone)", ""},
		{"quarantine", "none, and a cycle under way", func(w *ward) {
			w.record(func(r *lifecycle.Record) { r.Progress = &lifecycle.Progress{LastCompletedStep: 2, StartedAt: w.now} })
		}, Pass, "step 2 is done", ""},
		{"quarantine", "there", func(w *ward) {
			w.record(func(r *lifecycle.Record) {
				r.Quarantine = &lifecycle.Quarantine{Until: "2026-05-02T08:00:00.000000+00:00", Reason: "sleep step 4 (verify) failed 3x", Since: "2026-05-01T08:00:00.000000+00:00"}
			})
		}, Warn, "pauses until 2026-05-02T08:00:00.000000+00:00: sleep step 4 (verify) failed 3x", "drey lifecycle quarantine reset"},

		{"backup", "nothing to copy", func(*ward) {}, Pass, "no store yet", ""},
		{"backup", "not yet", (*ward).store, Pass, "the first sleep cycle makes one", ""},
		{"backup", "new", func(w *ward) { w.store(); w.backup(20 * time.Hour) }, Pass, "drey-20260430T080000Z.db is 20h old", ""},
		{"backup", "from the future", func(w *ward) { w.store(); w.backup(-20 * time.Hour) }, Pass, "is 0s old", ""},
		{"backup", "old", func(w *ward) { w.store(); w.backup(50 * time.Hour) }, Warn, "is 2d2h old", "drey lifecycle sleep --force"},
		{"backup", "gone", func(w *ward) { w.store(); w.cycle(time.Hour) }, Warn, "there is no copy of the store", "drey lifecycle sleep --force"},
		{"backup", "never made", func(w *ward) {
			w.store()
			w.record(func(r *lifecycle.Record) { r.Since = w.now.Add(-72 * time.Hour) })
		}, Warn, "there is no copy of the store", "drey lifecycle sleep --force"},
		{"backup", "no directory to list", func(w *ward) {
			w.must(os.Remove(w.home.Backups()))
			w.write(w.home.Backups(), "", 0o600)
		}, Warn, "cannot be listed", "who owns"},

		{"clock", "nothing recorded", func(*ward) {}, Pass, "no activity is recorded yet", ""},
		{"clock", "right", func(w *ward) { w.cycle(0) }, Pass, "the last activity was at 2026-05-01T08:00", ""},
		{"clock", "set back", func(w *ward) { w.record(func(r *lifecycle.Record) { r.LastActivity = w.now.Add(time.Hour) }) }, Warn, "is 1h in the future", "nothing"},

		{"wakes", "none in vain", func(*ward) {}, Pass, "0 wakes in a row", ""},
		{"wakes", "two in vain", func(w *ward) { w.record(func(r *lifecycle.Record) { r.WorklessWakes = 2 }) }, Pass, "2 wakes in a row", ""},
		{"wakes", "many in vain", func(w *ward) {
			w.record(func(r *lifecycle.Record) { r.WorklessWakes = 3 })
			w.wakes()
			w.lifecycle.Visitor = "GET /metrics from 10.0.0.7"
		}, Warn, "3 times in a row without work; the last to come was GET /metrics from 10.0.0.7", "telemetry.metrics_listen"},

		{"notification", "nobody waits", func(*ward) {}, Pass, "no daemon answers", ""},
		{"notification", "there", (*ward).wakes, Pass, "tells the daemon of wake.signal", ""},
		{"notification", "polling", func(w *ward) { w.wakes(); w.lifecycle.Polling = true }, Warn, "looks every 10 s", "inotify"},
	} {
		t.Run(tt.check+"/"+tt.name, func(t *testing.T) {
			w := newWard(t)
			tt.arrange(w)
			f := w.look(tt.check)
			if tt.verdict != "" && f.Verdict != tt.verdict || !strings.Contains(f.Text, tt.text) || !strings.Contains(f.Mend, tt.mend) || f.Fixed {
				t.Errorf("%+v, want %s %q -> %q", f, tt.verdict, tt.text, tt.mend)
			}
			if f.Verdict == Pass && f.Mend != "" {
				t.Errorf("it passes, and says what to do: %+v", f)
			}
		})
	}
}

// twice has a day of the log plain and compressed.
func (w *ward) twice(plain, packed string) {
	path := w.home.LifecycleLog(w.now.AddDate(0, -2, 0))
	w.write(path, plain, 0o600)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(packed))
	w.must(errors.Join(err, z.Close()))
	w.write(path+".gz", b.String(), 0o600)
}

// A record that cannot be read makes no other check pass for what it says.
func TestNothingPassesOnACorruptRecord(t *testing.T) {
	w := newWard(t)
	w.write(w.home.Lifecycle(), `{"current_state":"ASLEEP"}`, 0o600)
	for _, f := range Look(t.Context(), w.c) {
		switch f.Check {
		case "record", "hibernation", "sleep cycle", "quarantine", "clock", "wakes":
			if f.Verdict == Pass {
				t.Errorf("%+v", f)
			}
		default:
			if f.Verdict != Pass {
				t.Errorf("%+v", f)
			}
		}
	}
}

// All checks pass on a home that is well, with a daemon and without.
func TestAHomeThatIsWell(t *testing.T) {
	for _, runs := range []bool{false, true} {
		w := newWard(t)
		w.store()
		w.backup(time.Hour)
		w.cycle(time.Hour)
		w.says(step(w.now, "verify", ""))
		if runs {
			w.wakes()
		}
		all := Look(t.Context(), w.c)
		if len(all) != len(checks) || Worst(all) != Pass {
			t.Errorf("daemon %t: %+v", runs, all)
		}
		if w.started != 0 {
			t.Error("looking started a daemon")
		}
		want := 1
		if w.asked != want {
			t.Errorf("the daemon was asked %d times", w.asked)
		}
	}
}

// A silent daemon is asked three times and no more; one that does not hold the
// home is asked once.
func TestAsksThreeTimes(t *testing.T) {
	w := newWard(t)
	w.holds()
	Look(t.Context(), w.c)
	if w.asked != tries {
		t.Errorf("asked %d times", w.asked)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.asked = 0
	Look(ctx, w.c)
	if w.asked != 1 {
		t.Errorf("asked %d times although nobody waits any more", w.asked)
	}
}

// What --fix says that it has mended is well when it is looked at again.
func TestFixMends(t *testing.T) {
	for _, tt := range []struct {
		check   string
		name    string
		arrange func(w *ward)
		after   func(w *ward)
	}{
		{"home", "modes", func(w *ward) {
			w.must(os.Chmod(w.home.Root(), 0o755))
			w.must(os.Chmod(w.home.Logs(), 0o777))
			w.write(w.home.Audit(), "x", 0o644)
		}, func(w *ward) {
			for path, want := range map[string]os.FileMode{w.home.Root(): 0o700, w.home.Logs(): 0o700, w.home.Audit(): 0o600} {
				if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
					w.t.Errorf("%s: %v, %v", path, info.Mode(), err)
				}
			}
		}},
		{"record", "its mode", func(w *ward) { w.cycle(0); w.must(os.Chmod(w.home.Lifecycle(), 0o400)) }, func(w *ward) {
			if info, err := os.Stat(w.home.Lifecycle()); err != nil || info.Mode().Perm() != 0o600 {
				w.t.Error(info.Mode(), err)
			}
		}},
		{"record", "corrupt", func(w *ward) { w.write(w.home.Lifecycle(), "{", 0o600) }, func(w *ward) {
			kept, err := filepath.Glob(w.home.Lifecycle() + ".corrupt-*")
			if b, rerr := os.ReadFile(strings.Join(kept, "")); err != nil || rerr != nil || string(b) != "{" {
				w.t.Errorf("kept %q as %v: %v, %v", b, kept, err, rerr)
			}
			if r, err := statedir.ReadLifecycle(w.home, w.now); err != nil || r.State != lifecycle.Wake {
				w.t.Error(r.State, err)
			}
			if _, held, err := statedir.Locked(w.home.Lock()); held || err != nil {
				w.t.Error("the lock is still held", err)
			}
		}},
		{"hibernation", "nobody listens", func(w *ward) { w.record(func(r *lifecycle.Record) { r.State = lifecycle.Hibernation }) }, func(w *ward) {
			if w.started != 1 {
				w.t.Errorf("started %d times", w.started)
			}
		}},
	} {
		t.Run(tt.check+"/"+tt.name, func(t *testing.T) {
			w := newWard(t)
			tt.arrange(w)
			if f := w.look(tt.check); f.Verdict != Fail || f.Fixed {
				t.Fatalf("before: %+v", f)
			}
			w.c.Fix = true
			if f := w.look(tt.check); f.Verdict != Pass || !f.Fixed || f.Mend != "" {
				t.Errorf("%+v", f)
			}
			tt.after(w)
			w.c.Fix = false
			if all := Look(t.Context(), w.c); Worst(all) != Pass {
				t.Errorf("after: %+v", all)
			}
		})
	}
}

// What could not be mended stays what it was, and says why.
func TestFixThatFails(t *testing.T) {
	w := newWard(t)
	w.record(func(r *lifecycle.Record) { r.State = lifecycle.Hibernation })
	w.c.Fix = true
	w.c.Start = func(context.Context) error { return errors.New("no such program") }
	if f := w.look("hibernation"); f.Verdict != Fail || f.Fixed || f.Mend == "" || !strings.HasSuffix(f.Text, "it could not be mended: no such program") {
		t.Errorf("%+v", f)
	}
	// A daemon has the good record in memory: its file is not ours to replace.
	w = newWard(t)
	w.write(w.home.Lifecycle(), "{", 0o600)
	w.wakes()
	w.c.Fix = true
	if f := w.look("record"); f.Verdict != Fail || f.Fixed {
		t.Errorf("%+v", f)
	}
	if b, err := os.ReadFile(w.home.Lifecycle()); string(b) != "{" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// Looking changes no byte of the home.
func TestLookingChangesNothing(t *testing.T) {
	w := newWard(t)
	w.store()
	w.says(step(w.now, "verify", "page 7"))
	w.write(w.home.Lifecycle(), "{", 0o644)
	snapshot := func() string {
		var b strings.Builder
		w.must(filepath.WalkDir(w.home.Root(), func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			w.must(err)
			fmt.Fprintf(&b, "%s %v ", path, info.Mode())
			if !d.IsDir() {
				data, err := os.ReadFile(path)
				w.must(err)
				fmt.Fprintf(&b, "%q", data)
			}
			b.WriteByte('\n')
			return nil
		}))
		return b.String()
	}
	before := snapshot()
	Look(t.Context(), w.c)
	if after := snapshot(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestWorst(t *testing.T) {
	for want, all := range map[Verdict][]Finding{
		Pass: {{Verdict: Pass}}, Warn: {{Verdict: Pass}, {Verdict: Warn}, {Verdict: Pass}}, Fail: {{Verdict: Fail}, {Verdict: Warn}},
	} {
		if got := Worst(all); got != want {
			t.Errorf("%v: %s", all, got)
		}
	}
	if Worst(nil) != Pass {
		t.Error("nothing is wrong where nothing was found")
	}
}
