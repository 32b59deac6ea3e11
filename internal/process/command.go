// Package process runs the programs of other people: the restart commands that
// mend a backend, and the backends that drey itself keeps. It performs and
// decides nothing: when to start, stop, swap or give up is the business of
// internal/health.
//
// Each program is the first process of its own process group, gets a clean
// environment (no key that the configuration does not name), reads from
// nowhere, and never waits for its output to be read. Signals go to the whole
// group, and only while the group's number cannot have become somebody else's.
// A process that leaves its group (setsid) is out of reach.
package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dreyhq/drey"
)

// errorBytes is how much of stderr an error text holds (the healing contract §6).
const errorBytes = 1 << 10

// Command is one run of a provider's restart command.
type Command struct {
	// Argv is the program with its arguments; a name without a slash is looked
	// for in drey's PATH. One that is written as a line is split by
	// config.Command.Words.
	Argv []string
	// Shell is a line that /bin/sh runs instead (restart_shell); "" = Argv.
	Shell string
	// Provider and Reason are told to the command: DREY_PROVIDER, DREY_REASON.
	Provider drey.ProviderID
	Reason   string
	// Env are further variables, NAME=value (restart_env).
	Env []string
	// Dir is the working directory; "" = drey's own.
	Dir string
	// Timeout is how long it may run; 0 = 30 s. Then SIGTERM goes to the whole
	// group, and SIGKILL 2 s later.
	Timeout time.Duration

	grace time.Duration // a test's instead of killGrace
}

// Result is how a command ended.
type Result struct {
	OK bool // exit 0 of the first process, in time
	// Error says what went wrong: the trimmed end of stderr (at most 1 KiB),
	// else "exit status N" or the signal; the operating system's words if it
	// did not start; "timeout after 30s". "" if OK. It is the command's own
	// text: who shows it redacts it.
	Error string
	// Output is the end (8 KiB) of stdout and stderr, in the order in which
	// they were read, until the first process ended. It is not redacted.
	Output string
	// Duration is from the start to the return, monotonic.
	Duration time.Duration
}

// Run runs a command to the end of its first process. When ctx ends, the group
// is killed at once. It blocks as long as the command takes, at most the
// timeout and the 2 s (and 10 s more if the kernel is stuck with a process that
// it was asked to kill: the error then says so). Nothing of it is left when it
// returns, with one exception:
//
// After a success the group is not touched, so that a command may leave a
// server running behind it (`serve &`). If that server still has our pipes,
// they are handed to a cat of its own session that reads them until their end:
// no goroutine stays behind, and the server does not die of a broken pipe when
// drey hibernates or ends. Where there is no /bin/sh with cat, the pipes are
// closed.
func Run(ctx context.Context, c Command) Result {
	began := time.Now()
	var all, stderr tail
	err := c.run(ctx, &all, &stderr)
	r := Result{OK: err == nil, Output: all.String(), Duration: time.Since(began)}
	if err != nil {
		r.Error = err.Error()
		if _, ended := errors.AsType[*exec.ExitError](err); ended {
			if text := strings.TrimSpace(stderr.String()); text != "" {
				r.Error = strings.TrimSpace(lastBytes(text, errorBytes))
			}
		}
	}
	return r
}

func (c Command) run(ctx context.Context, all, stderr *tail) error {
	if err := ctx.Err(); err != nil {
		return stopped(ctx)
	}
	cmd, err := c.build()
	if err != nil {
		return err
	}
	out, outW, err := openTap(all)
	if err != nil {
		return err
	}
	defer out.close()
	errs, errW, err := openTap(io.MultiWriter(all, stderr))
	if err != nil {
		_ = outW.Close()
		<-out.done
		return err
	}
	defer errs.close()
	cmd.Stdout, cmd.Stderr = outW, errW
	g, err := start(cmd, syscall.SysProcAttr{})
	_, _ = outW.Close(), errW.Close()
	if err != nil {
		<-out.done
		<-errs.done
		return err
	}

	err = c.await(ctx, g)
	var open []*os.File // the pipes that somebody still writes into
	for _, t := range []*tap{out, errs} {
		if !t.finish() {
			open = append(open, t.r)
		}
	}
	if err == nil {
		handOver(open)
	}
	return err
}

// build returns the command as the operating system gets it.
func (c Command) build() (*exec.Cmd, error) {
	argv := c.Argv
	if c.Shell != "" {
		argv = []string{"/bin/sh", "-c", c.Shell}
	}
	if len(argv) == 0 {
		return nil, errors.New("an empty command")
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = cleanEnv([]string{"DREY_PROVIDER=" + string(c.Provider), "DREY_REASON=" + c.Reason}, c.Env)
	return cmd, nil
}

// await waits for the end of the first process and ends the group unless that
// was a success. The first process is reaped when it returns.
func (c Command) await(ctx context.Context, g *group) error {
	timeout, grace := cmp.Or(c.Timeout, 30*time.Second), cmp.Or(c.grace, killGrace)
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		awaitChild(g.pid)
	}()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	var cut error
	gone := true
	select {
	case <-exited:
	case <-timer.C:
		cut = timedOut(timeout)
		gone = g.end(grace)
	case <-ctx.Done():
		cut = stopped(ctx)
		gone = g.kill()
	}
	if !gone {
		go func() { // it ends when the kernel lets the process go
			<-exited
			g.reap()
		}()
		return fmt.Errorf("%w; %w", cut, ErrImmortal)
	}
	<-exited

	g.reap() // only then its exit code is known
	switch state := g.cmd.ProcessState; {
	case cut != nil:
		return cut
	case !state.Success():
		g.end(grace) // whom it left behind
		return &exec.ExitError{ProcessState: state}
	}
	return nil
}

// timedOut says so in seconds, however long it was: the contract's words.
func timedOut(d time.Duration) error {
	return fmt.Errorf("timeout after %ss", strconv.FormatFloat(d.Seconds(), 'f', -1, 64))
}

func stopped(ctx context.Context) error {
	return fmt.Errorf("stopped: %w", context.Cause(ctx))
}

// handOver gives the pipes to a process that reads them until their end, and
// waits for nothing. See Run.
func handOver(pipes []*os.File) {
	if len(pipes) == 0 {
		return
	}
	// The line ends at once; init takes over the readers. An asynchronous
	// command reads from nowhere unless told otherwise, hence <&.
	var line strings.Builder
	for i := range pipes {
		fmt.Fprintf(&line, "cat <&%d & ", 3+i)
	}
	cmd := exec.Command("/bin/sh", "-c", line.String())
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.ExtraFiles = pipes
	for _, p := range pipes {
		// The mode is the pipe's, not the descriptor's: cat must be able to wait.
		if raw, err := p.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = unix.SetNonblock(int(fd), false) })
		}
	}
	_ = cmd.Run()
}
