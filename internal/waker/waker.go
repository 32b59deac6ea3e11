// Package waker is `drey up`: a small process that owns the listening sockets
// and starts the daemon when somebody needs it. It waits without accepting, so
// it can neither lose nor delay a request: what comes while no daemon runs
// stays in the backlog and is served by the next one. It holds no state, and no
// lock but the one that tells `drey down` who it is. The rules are the lifecycle contract's, §7.9.
package waker

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/dreyhq/drey/internal/activation"
	"github.com/dreyhq/drey/internal/statedir"
)

// Options say whom to wake, and where to wait. Home, Addr and Command are
// needed; the zero value of the others is their default.
type Options struct {
	Home statedir.Home // its directories exist
	// Addr reads listen.addr. It is asked at the start and whenever Config has
	// changed while no daemon runs. An error keeps the address that is bound;
	// at the start it is Run's.
	Addr func() (string, error)
	// Config is the path of the configuration, which need not exist.
	Config string
	// Command is the daemon's argv. It is started again and again, with the
	// listeners as activation.Take expects them, in a process group of its
	// own, so that Ctrl-C in a terminal asks it to stop once and not twice.
	Command []string
	// Rest reads the lifecycle record: whether it says HIBERNATION, and when
	// the daemon wants to be woken (zero = never). nil = it never rests.
	Rest func() (hibernating bool, wakeAt time.Time)
	// Signals are what the process is told. SIGHUP is passed on; any other one
	// is passed on and ends Run with the daemon's end. nil = none.
	Signals <-chan os.Signal
	// Locked says that the caller holds the home's start lock already.
	Locked bool
	// Output takes the daemon's output; nil = where ours goes.
	Output *os.File
	Log    *slog.Logger // nil = nothing is said
}

// Run binds the doors, starts the daemon and starts it again, until it is told
// to stop by a signal or by the end of ctx, which counts as SIGTERM. It returns
// when the daemon has ended: nil then. ErrRunning says that the home has a
// daemon or a waker already; a *statedir.LockedError, that somebody holds the
// home and does not answer; context.Canceled, that it was stopped while it
// waited for that one. Other errors are about the doors or the
// configuration. Once the doors are bound nothing but a stop ends it.
func Run(ctx context.Context, o Options) error {
	w := &waker{Options: o, log: o.Log, ctx: ctx}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if err := w.open(ctx); err != nil {
		return err
	}
	defer w.close()
	reason, stop := "start", false
	if hibernating, _ := w.rest(); hibernating {
		reason, stop = w.wait(plan{})
	}
	for !stop {
		var end ended
		if end, stop = w.serve(reason); !stop {
			next := w.pace.after(end)
			w.log.Info("daemon-ended", "code", end.code, "up", end.up.String(), "pause", next.pause.String())
			reason, stop = w.wait(next)
		}
	}
	return nil
}

// waker is one Run. All of it belongs to Run's goroutine.
type waker struct {
	Options
	log *slog.Logger
	ctx context.Context // Run's; its end asks to stop

	addr     string // as the configuration spells it
	gateway  *door
	control  *door
	pipe     [2]*os.File    // reading and writing end: the daemon's sign that we live
	sign     *statedir.Lock // says who we are; nil where it could not be had
	pace     pace
	seen     mark // the configuration as it was when Addr was asked last
	complain string
}

func (w *waker) rest() (bool, time.Time) {
	if w.Rest == nil {
		return false, time.Time{}
	}
	return w.Rest()
}

// serve starts the daemon and waits for its end. It reports true if we were
// told to stop meanwhile.
func (w *waker) serve(reason string) (ended, bool) {
	w.rebind()
	cmd := exec.Command(w.Command[0], w.Command[1:]...)
	cmd.Stdout, cmd.Stderr = cmp.Or(w.Output, os.Stdout), cmp.Or(w.Output, os.Stderr)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	activation.Handover{Gateway: w.gateway.file, Control: w.control.file, Owner: w.pipe[0]}.Give(cmd)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		w.log.Error("daemon-not-started", "reason", reason, "error", err)
		return ended{code: -1}, false
	}
	w.log.Info("daemon-started", "pid", cmd.Process.Pid, "reason", reason)
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }() // it ends with the daemon, which is waited for below
	Slim()

	stop, asked := w.ctx.Done(), false
	tell := func(sig os.Signal) {
		if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			w.log.Error("signal-not-passed", "signal", sig.String(), "error", err)
		}
	}
	for {
		select {
		case err := <-done:
			return ended{code: exitCode(err), up: time.Since(began)}, asked
		case sig := <-w.Signals:
			asked = asked || sig != syscall.SIGHUP
			tell(sig)
		case <-stop:
			stop, asked = nil, true
			tell(syscall.SIGTERM)
		}
	}
}

// exitCode returns what a daemon ended with; -1 = a signal killed it.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return -1
}

// rebind moves the gateway's door if the configuration has another address by
// now. The old door stays where the new one cannot be had.
func (w *waker) rebind() {
	now := markOf(w.Config)
	if now == w.seen {
		return
	}
	w.seen = now
	addr, err := w.Addr()
	if err == nil && addr == w.addr {
		return
	}
	var moved *door
	if err == nil {
		moved, err = listenTCP(addr)
	}
	if err != nil {
		w.log.Warn("listen-addr-kept", "addr", w.gateway.addr(), "error", err)
		return
	}
	w.gateway.close()
	w.gateway, w.addr = moved, addr
	w.log.Info("doors-moved", "addr", moved.addr())
}

// ErrRunning says that the home has a daemon, or a waker that will start one.
var ErrRunning = errors.New("drey is up already")

// The waits for somebody who holds the home and whose socket is silent: it
// starts or stops. Source: the lifecycle contract §7.11, "wait at most 10 s".
const (
	patience = 10 * time.Second
	again    = 50 * time.Millisecond
)

// open takes the doors of the home, one starter at a time.
func (w *waker) open(ctx context.Context) error {
	if !w.Locked {
		lock, err := statedir.WaitLock(ctx, w.Home.StartLock(), patience)
		if err != nil {
			return err
		}
		defer lock.Release()
	}
	socket, err := w.Home.Socket()
	if err != nil {
		return err
	}
	if err := w.vacant(ctx, socket); err != nil {
		return err
	}
	w.seen = markOf(w.Config)
	if w.addr, err = w.Addr(); err != nil {
		return err
	}
	// The address first: of two homes or two starters with one address the
	// second one must not touch a socket.
	if w.gateway, err = listenTCP(w.addr); err != nil {
		return err
	}
	if w.control, err = listenUnix(socket); err != nil {
		w.gateway.close()
		return err
	}
	if w.pipe[0], w.pipe[1], err = os.Pipe(); err != nil {
		w.gateway.close()
		w.control.close()
		return err
	}
	if w.sign, err = statedir.TryLock(w.Home.WakerLock()); err != nil {
		w.log.Warn("waker-not-signed", "error", err) // it works; it is only harder to find
	}
	w.log.Info("doors-bound", "addr", w.gateway.addr(), "socket", socket, "pid", os.Getpid())
	return nil
}

// vacant returns nil when nobody serves the home: nobody answers at its socket
// and nobody holds its lock.
func (w *waker) vacant(ctx context.Context, socket string) error {
	deadline := time.Now().Add(patience)
	for {
		if answers(ctx, socket) {
			return ErrRunning
		}
		holder, held, err := statedir.Locked(w.Home.Lock())
		switch {
		case err != nil:
			return err
		case !held:
			return nil
		case time.Now().After(deadline):
			return &statedir.LockedError{Path: w.Home.Lock(), Holder: holder, Err: syscall.EWOULDBLOCK}
		}
		t := time.NewTimer(again)
		select {
		case <-t.C:
		case sig := <-w.Signals:
			if sig != syscall.SIGHUP {
				return context.Canceled
			}
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
	}
}

// close gives the doors back. The daemon has ended: nobody else uses the
// socket's file.
func (w *waker) close() {
	w.gateway.close()
	w.control.close()
	if socket, err := w.Home.Socket(); err == nil {
		_ = os.Remove(socket) // one that stays is replaced by the next start
	}
	for _, end := range w.pipe {
		_ = end.Close()
	}
	w.sign.Release() // last: whoever waits for it finds the doors gone
}

// listenHint tells what to do about an address that cannot be had.
func listenHint(err error) string {
	hint := "choose another listen.addr in the configuration"
	if errors.Is(err, syscall.EADDRINUSE) {
		hint = "another program has this address; stop it, or " + hint
	}
	return hint
}
