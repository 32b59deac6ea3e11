package healing

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
)

// started are the process groups that were started so far, oldest first.
func (l *lab) started() (pgids []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ev := range l.events {
		if ev.Name != "process-started" {
			continue
		}
		for _, f := range ev.Fields {
			if pid, ok := f.Value.(int); ok && f.Key == "pid" {
				pgids = append(pgids, pid) // each leads its own
			}
		}
	}
	return pgids
}

// ended waits until nothing is left of a process group. The dead of it may
// wait for init a while.
func ended(t *testing.T, pgid int) {
	t.Helper()
	eventually(t, fmt.Sprintf("process group %d is gone", pgid), func() bool { return dead(pgid) })
}

// A hung backend, which hears nothing any more, is killed by its restart, and
// its successor is probed and takes the traffic.
func TestARealChildHangsInService(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil, child(func(p *Process) { p.Grace, p.Drain = 100*time.Millisecond, time.Second }, "plain"))
	pass, err := l.leave(waits)
	if err != nil {
		t.Fatal(err)
	}
	l.Ended(pass, well)
	first := l.pgid()
	if err := syscall.Kill(-first, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		p, err := l.leave(waits)
		if err != nil {
			t.Fatal(err)
		}
		l.Ended(p, health.Ending{Class: drey.Silence, Counts: true, Error: "no first token in time"})
	}
	eventually(t, "it is back", func() bool { return l.view().State == health.Healthy })
	ended(t, first)
	if v := l.view(); v.Process.PID == first || v.Process.State != health.Ready {
		t.Errorf("%+v", v.Process)
	}
	l.stop()
	for _, pgid := range l.started() {
		ended(t, pgid)
	}
}

// What a crash leaves behind is ended before the next one starts.
func TestARealParentCrashes(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil, child(func(p *Process) { p.Grace = 100 * time.Millisecond }, "parent"))
	pass, err := l.leave(waits)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/crash", pass.Port)); err == nil {
		t.Fatal("it did not crash")
	}
	l.Ended(pass, health.Ending{Class: drey.Transport, Counts: true, Error: "EOF"})
	eventually(t, "its successor runs", func() bool { return len(l.started()) == 2 })
	ended(t, l.started()[0])
	eventually(t, "it is back", func() bool { return l.view().State == health.Healthy })
	l.stop()
	ended(t, l.started()[1])
}

// One that dies at each start and leaves children: given up, and nothing is left.
func TestARealParentLoops(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil, child(func(p *Process) { p.Policy.BackoffCap = 1 }, "parent", "dies"))
	if _, err := l.leave(waits); refusedFor(err) != "crash-loop" {
		t.Errorf("%v", err)
	}
	for _, pgid := range l.started() {
		ended(t, pgid)
	}
}

// All who come while it loads wait for the same one start.
func TestARealChildIsSlow(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil, child(nil, "slow"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			p, err := l.leave(waits)
			if err != nil {
				t.Error(err)
				return
			}
			l.Ended(p, well)
		})
	}
	wg.Wait()
	if n := len(l.started()); n != 1 {
		t.Errorf("%d starts", n)
	}
}

// A stop in the middle of a start, of one that hears nothing.
func TestARealChildIsStoppedOnItsWayUp(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil, child(func(p *Process) { p.Grace = 50 * time.Millisecond }, "hangs", "stubborn", "parent"))
	refused := make(chan error, 1)
	go func() {
		_, err := l.leave(waits)
		refused <- err
	}()
	eventually(t, "it runs", func() bool { return l.pgid() > 1 })
	pgid := l.pgid()
	l.stop()
	if err := <-refused; refusedFor(err) != "shutdown" {
		t.Errorf("who waits is told %v", err)
	}
	ended(t, pgid)
}

// Before HIBERNATION a real process stops, and after it was called off the next
// request starts another.
func TestARealChildSettles(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil, child(func(p *Process) { p.Grace = 50 * time.Millisecond }, "stubborn"))
	for i := range 2 {
		p, err := l.leave(waits)
		if err != nil {
			t.Fatal(err)
		}
		l.Ended(p, well)
		if err := l.Settle(context.Background()); err != nil {
			t.Fatal(err)
		}
		if l.pgid() != 0 {
			t.Error("the journal still knows it")
		}
		ended(t, l.started()[i])
		l.Resume()
	}
}

// A flood of output fills no disk and stops nobody.
func TestARealChildFloods(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "process-local.log")
	l := newLab(t, nil, child(func(p *Process) { p.Spec.Log, p.Grace = path, 100*time.Millisecond }, "flood"))
	p, err := l.leave(waits)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "its log is rotated twice", func() bool { _, err := os.Stat(path + ".2"); return err == nil })
	if r, _, _, err := l.Probe(t.Context(), "local", health.DepthGeneration, false); err != nil || !r.OK {
		t.Errorf("it does not answer any more: %+v %v", r, err)
	}
	l.Ended(p, well)
	l.stop()
	logs, _ := filepath.Glob(path + "*")
	for _, f := range logs {
		if info, err := os.Stat(f); err != nil || info.Size() > 10<<20 {
			t.Errorf("%s: %d bytes, %v", f, info.Size(), err)
		}
	}
	if len(logs) < 3 || len(logs) > 4 {
		t.Errorf("%d files", len(logs))
	}
}
