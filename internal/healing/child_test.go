package healing

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/process"
	"github.com/dreyhq/drey/internal/store"
)

// child makes the provider a real process with these habits.
func child(change func(*Process), habits ...string) option {
	return func(_ *Config, s *Settings) {
		p := &s.Providers[0]
		p.Transport, p.URL = nil, "http://127.0.0.1:1/v1"
		p.Probe.Initial = time.Second
		m := health.DefaultMemberPolicy("local")
		m.BackoffFirst = 10 * time.Millisecond
		p.Process = &Process{
			Spec: process.Spec{
				Command: self(append([]string{"${PORT}"}, habits...)...),
				Ready:   process.Readiness{Interval: 10 * time.Millisecond, Timeout: 20 * time.Second},
			},
			Policy: m, Grace: 5 * time.Second,
		}
		if change != nil {
			change(p.Process)
		}
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func waits(d *health.Departure) { d.SlotWait = time.Minute }

// pgid is the process group that the journal knows of; 0 if it knows none.
func (l *lab) pgid() int {
	states, _ := l.journal.Snapshots(context.Background(), "process")
	var id process.Identity
	if len(states) == 1 {
		_ = json.Unmarshal(states[0].Snapshot, &id)
	}
	return id.PGID
}

// dead reports whether a process group is gone.
func dead(pgid int) bool { return syscall.Kill(-pgid, 0) == syscall.ESRCH }

// A request wakes the process, and nothing of it is left at the end, whatever
// its habits.
func TestRealChildren(t *testing.T) {
	for _, habits := range [][]string{{"plain"}, {"slow"}, {"stubborn"}, {"parent"}, {"flood"}} {
		t.Run(habits[0], func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil, child(func(p *Process) { p.Grace = 200 * time.Millisecond }, habits...))
			pass, err := l.leave(waits)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/v1/models", pass.Port))
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			http.DefaultClient.CloseIdleConnections()
			l.Ended(pass, well)
			pgid := l.pgid()
			if pgid <= 1 || dead(pgid) {
				t.Fatalf("the journal knows process group %d", pgid)
			}
			if r, _, _, err := l.Probe(t.Context(), "local", health.DepthGeneration, false); err != nil || !r.OK {
				t.Errorf("probe: %+v %v", r, err)
			}
			l.stop()
			eventually(t, "its orphans are reaped by init, being dead", func() bool { return dead(pgid) })
			if l.pgid() != 0 {
				t.Error("the journal still knows it")
			}
			if got := l.names(); !slices.Equal(got, []string{"process-started", "process-ready", "operator-action", "process-unloaded"}) {
				t.Errorf("%v", got)
			}
		})
	}
}

// A crash takes the provider out, starts it again, and a probe brings it back.
func TestARealChildCrashes(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil, child(nil, "plain"))
	pass, err := l.leave(waits)
	if err != nil {
		t.Fatal(err)
	}
	_, err = http.Get(fmt.Sprintf("http://127.0.0.1:%d/crash", pass.Port))
	if err == nil {
		t.Fatal("it did not crash")
	}
	l.Ended(pass, health.Ending{Class: drey.Transport, Counts: true, Error: "EOF"})
	eventually(t, "it is back", func() bool { return slices.Contains(l.names(), "self-healing-recovery-probe") })
	got := l.names()
	want := []string{
		"process-started", "process-ready", "process-exited", "backend-health-changed", "self-healing-exclude",
		"process-started", "process-ready", "self-healing-restart", "self-healing-restore", "backend-health-changed", "self-healing-recovery-probe",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
	if again, err := l.leave(waits); err != nil || again.Port == 0 {
		t.Error(again, err)
	} else {
		l.Ended(again, well)
	}
}

// One that always dies is given up, and says so to who waits.
func TestARealChildLoops(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil, child(func(p *Process) { p.Policy.BackoffCap = 2 }, "dies"))
	if _, err := l.leave(waits); refusedFor(err) != "crash-loop" {
		t.Errorf("%v", err)
	}
	eventually(t, "its end is told", func() bool { return slices.Contains(l.names(), "self-healing-restart") })
	eventually(t, "the view shows it", func() bool {
		v := l.view()
		return v.Process.State == health.CrashLoop && v.Queued == 0
	})
}

// One that never gets ready is killed.
func TestARealChildHangs(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil, child(func(p *Process) {
		p.Spec.Ready.Timeout, p.Grace, p.Policy.BackoffCap = 200*time.Millisecond, 100*time.Millisecond, 1
	}, "hangs", "stubborn"))
	if _, err := l.leave(waits); refusedFor(err) != "crash-loop" {
		t.Errorf("%v", err)
	}
	if l.pgid() != 0 {
		t.Error("the journal still knows it")
	}
}

// What a killed daemon has left is ended before anything starts.
func TestSurvivorsAreEnded(t *testing.T) {
	t.Parallel()
	j := &journal{}
	left, err := process.Start(process.Spec{Name: "local", Command: self("0", "linger")})
	if err != nil {
		t.Fatal(err)
	}
	row, _ := json.Marshal(left.Identity())
	j.Submit(func(store.Commit, error) {}, store.Append{Machine: "process", ID: "local", Snapshot: row})
	l := newLab(t, j, child(nil, "plain"))
	pass, err := l.leave(waits)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-left.Done():
	default:
		t.Error("a new one runs beside the old one")
		_ = left.Stop(context.Background(), 0)
	}
	l.Ended(pass, well)
	if l.pgid() == left.Identity().PGID {
		t.Error("the journal still knows the old one")
	}
}
