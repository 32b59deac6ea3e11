package waker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dreyhq/drey/internal/statedir"
)

func TestStartsAtOnceAndWaitsAfterExitZero(t *testing.T) {
	r := start(t, nil)
	if line := r.tells("daemon-started"); field(line, "reason") != "start" {
		t.Error(line)
	}
	first := r.says("hello")
	if again := r.says("exit 0"); again != first {
		t.Errorf("two daemons: %s and %s", first, again)
	}
	if line := r.tells("daemon-ended"); field(line, "code") != "0" || field(line, "pause") != "0s" {
		t.Error(line)
	}
	second := r.says("hello")
	if second == first {
		t.Error("the daemon that has ended has answered")
	}
	if line := r.tells("daemon-started"); field(line, "reason") != "connection" {
		t.Error(line)
	}
	// The control socket is a door like the other.
	r.says("exit 0")
	r.tells("daemon-ended")
	socket, err := r.home.Socket()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the control socket: %v, %v", info, err)
	}
	if third, err := call("unix", socket, "hello"); err != nil || third == second {
		t.Errorf("%s, %v", third, err)
	}
	r.signals <- syscall.SIGTERM
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	if got, want := r.life(), "start start start terminated"; got != want {
		t.Errorf("the daemons' lives: %s, want %s", got, want)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestNoConnectionIsLost(t *testing.T) {
	r := start(t, nil)
	go func() { // nobody reads the story here
		for range r.story { //nolint:revive // drained so that the waker never blocks
		}
	}()
	defer func() {
		r.signals <- syscall.SIGTERM
		if err := r.ended(); err != nil {
			t.Error(err)
		}
		close(r.story)
	}()
	var wg sync.WaitGroup
	var ends atomic.Int32
	for client := range 4 {
		wg.Go(func() {
			for i := range 25 {
				line := "hello"
				if i%5 == client {
					line = "exit 0"
					ends.Add(1)
				}
				if _, err := call("tcp", r.addr, line); err != nil {
					t.Errorf("client %d, call %d: %v", client, i, err)
				}
			}
		})
	}
	wg.Wait()
	if n := strings.Count(r.life(), "start"); n < int(ends.Load()) {
		t.Errorf("%d daemons for %d ends", n, ends.Load())
	}
}

func TestHibernationIsLeftByEachOfItsReasons(t *testing.T) {
	asleep := func(o *Options, _ *rig) { o.Rest = func() (bool, time.Time) { return true, time.Time{} } }
	for reason, row := range map[string]struct {
		change func(*Options, *rig)
		act    func(*rig)
	}{
		"connection":  {asleep, func(r *rig) { r.says("hello") }},
		"wake.signal": {asleep, func(r *rig) { r.write("wake.signal", "not JSON") }},
		"alarm": {func(o *Options, _ *rig) {
			at := time.Now().Add(50 * time.Millisecond)
			o.Rest = func() (bool, time.Time) { return true, at }
		}, func(*rig) {}},
	} {
		t.Run(reason, func(t *testing.T) {
			r := start(t, row.change)
			if got := r.life(); got != "" && reason != "alarm" {
				t.Errorf("it was not left alone: %s", got)
			}
			row.act(r)
			if line := r.tells("daemon-started"); field(line, "reason") != reason {
				t.Error(line)
			}
		})
	}
	t.Run("signal before the start", func(t *testing.T) {
		r := start(t, func(o *Options, r *rig) { asleep(o, r); r.write("wake.signal", "") })
		if line := r.tells("daemon-started"); field(line, "reason") != "wake.signal" {
			t.Error(line)
		}
	})
}

func TestCrashIsMendedWithGrowingPauses(t *testing.T) {
	r := start(t, func(_ *Options, r *rig) { r.write("exit", "1") })
	for _, want := range []string{"100ms", "200ms", "400ms"} {
		line := r.tells("daemon-ended")
		if field(line, "code") != "1" || field(line, "pause") != want {
			t.Errorf("%s, want pause %s", line, want)
		}
		if next := r.tells("daemon-started"); field(next, "reason") != "crash" {
			t.Error(next)
		}
	}
	if err := os.Remove(filepath.Join(r.home.Root(), "exit")); err != nil {
		t.Fatal(err)
	}
	r.says("hello") // waits in the backlog until it is up
}

func TestKilledDaemonIsStartedAgain(t *testing.T) {
	r := start(t, nil)
	first := r.says("hello")
	var pid int
	if _, err := fmt.Sscan(first, &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if line := r.tells("daemon-ended"); field(line, "code") != "-1" {
		t.Error(line)
	}
	if second := r.says("hello"); second == first {
		t.Error("the dead answers")
	}
}

func TestRefusalWaitsForTheConfigurationOrAConnection(t *testing.T) {
	for _, code := range []string{"2", "4"} {
		t.Run(code, func(t *testing.T) {
			r := start(t, func(_ *Options, r *rig) { r.write("exit", code) })
			r.tells("daemon-ended")
			if err := os.Remove(filepath.Join(r.home.Root(), "exit")); err != nil {
				t.Fatal(err)
			}
			// The file moves the door, too.
			free, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := free.Addr().String()
			free.Close()
			r.write("drey.yaml", addr)
			if line := r.tells("doors-moved"); field(line, "addr") != addr {
				t.Error(line)
			}
			if line := r.tells("daemon-started"); field(line, "reason") != "config" {
				t.Error(line)
			}
			if _, err := net.Dial("tcp", r.addr); err == nil {
				t.Error("the old address still answers")
			}
			r.addr = addr
			r.says("hello")

			r.write("exit", code)
			r.says("exit " + code)
			r.tells("daemon-ended")
			if err := os.Remove(filepath.Join(r.home.Root(), "exit")); err != nil {
				t.Fatal(err)
			}
			r.says("hello")
			if line := r.tells("daemon-started"); field(line, "reason") != "connection" {
				t.Error(line)
			}
		})
	}
}

func TestBadAddressKeepsTheDoors(t *testing.T) {
	r := start(t, func(o *Options, _ *rig) { o.Rest = func() (bool, time.Time) { return true, time.Time{} } })
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r.write("drey.yaml", taken.Addr().String())
	if line := r.tells("listen-addr-kept"); field(line, "addr") != r.addr {
		t.Error(line)
	}
	r.says("hello")
}

func TestSignalsArePassedOn(t *testing.T) {
	r := start(t, nil)
	r.says("hello")
	r.signals <- syscall.SIGHUP
	r.lives("start hangup") // two signals that are pending at once may come in any order
	r.signals <- syscall.SIGTERM
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	if got, want := r.life(), "start hangup terminated"; got != want {
		t.Errorf("the daemon's life: %s, want %s", got, want)
	}
}

func TestStopEndsAWaitingWaker(t *testing.T) {
	r := start(t, func(o *Options, _ *rig) { o.Rest = func() (bool, time.Time) { return true, time.Time{} } })
	r.signals <- syscall.SIGTERM
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	if got := r.life(); got != "" {
		t.Errorf("a stop has started a daemon: %s", got)
	}
}

func TestOneWakerPerHome(t *testing.T) {
	r := start(t, nil)
	r.says("hello")
	if err := Run(t.Context(), options(r.home)); !errors.Is(err, ErrRunning) {
		t.Errorf("a second waker: %v", err)
	}
	// A home that is held, and whose socket is silent.
	home, err := statedir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	lock, err := statedir.TryLock(home.Lock())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 2*again)
	defer cancel()
	if err := Run(ctx, options(home)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside a daemon that starts: %v", err)
	}
}

func TestAddressOfAnotherIsAnError(t *testing.T) {
	home, err := statedir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	o := options(home)
	o.Addr = func() (string, error) { return taken.Addr().String(), nil }
	if err := Run(t.Context(), o); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v", err)
	}
	o.Addr = func() (string, error) { return "", os.ErrInvalid }
	if err := Run(t.Context(), o); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("%v", err)
	}
}

func TestDaemonSeesItsWakersDeath(t *testing.T) {
	root, err := os.MkdirTemp("", "drey")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	home, err := statedir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, home: home}
	r.write("drey.yaml", "127.0.0.1:0")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asWaker+"="+root, "GORACE=atexit_sleep_ms=0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	socket, err := home.Socket()
	if err != nil {
		t.Fatal(err)
	}
	soon(t, "the doors are bound", func() bool { return answers(t.Context(), socket) })
	if _, err := call("unix", socket, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	soon(t, "the daemon says that its owner is lost", func() bool { return strings.Contains(r.life(), "lost") })
	// It lives on, and its doors with it.
	if _, err := call("unix", socket, "exit 0"); err != nil {
		t.Error(err)
	}
}

// soon waits for what another process does, which nothing here can tell of.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(testPatience); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}
