package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/client"
	"github.com/dreyhq/drey/internal/statedir"
)

// startPatience is how long a daemon that is being started is waited for.
// Source: the lifecycle contract §7.11.
const startPatience = 10 * time.Second

// noStartEnv keeps commands from starting a daemon: scripts that only want to
// know can set it, and get exit 3 instead.
const noStartEnv = "DREY_NO_START"

// ensureDaemon returns a client of the home's daemon, and has one started if
// there is none. For commands that need a daemon; those that only look use
// dial. Three ways, in this order:
//
//  1. somebody listens at the control socket: the daemon, or an owner of the
//     socket that starts it with our connection.
//  2. somebody listens at the gateway's address, an owner that has that door
//     only: a bare connection wakes its daemon.
//  3. nobody does: `drey up` is started in the background.
//
// Where all of it fails the error's code is client.CodeNoDaemon, and its text
// ends with the last lines of the background daemon's log.
func (c *cli) ensureDaemon(ctx context.Context) (*client.Client, error) {
	cl, err := c.dial(ctx)
	if codeOf(err) != client.CodeNoDaemon || c.getenv(noStartEnv) != "" { // 1
		return cl, err
	}
	home, err := c.openHome()
	if err != nil {
		return nil, err
	}
	addr, err := c.listenAddr(home)
	if err != nil {
		return nil, err
	}
	if knock(ctx, addr) { // 2
		ctx, cancel := context.WithTimeout(ctx, startPatience)
		defer cancel()
		if err := c.answered(ctx, home, nil); err != nil {
			if e, ok := errors.AsType[*drey.Error](err); ok && e.Status != 0 {
				return nil, err
			}
			return nil, &drey.Error{Class: drey.Transport, Code: client.CodeNoDaemon,
				Err:  fmt.Errorf("somebody listens on %s, and no drey of the home %s answers", addr, home.Root()),
				Hint: "stop what listens there, choose another listen.addr, or set the DREY_HOME of the drey that does"}
		}
		return c.dial(ctx)
	}
	if _, err := c.startDaemon(ctx, home); err != nil { // 3
		return nil, err
	}
	return c.dial(ctx)
}

// knock makes a bare connection, and reports whether somebody took it.
func knock(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was said on it
	return true
}

// startDaemon has `drey up` run in the background, with its output in
// logs/drey.log, and returns when the daemon answers. already says that it was
// up. Of many callers at once one starts it and all see it answer.
func (c *cli) startDaemon(ctx context.Context, home statedir.Home) (already bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, errSlowStart)
	defer cancel()
	socket, err := home.Socket()
	if err != nil {
		return false, err
	}
	if _, err := c.listenAddr(home); err != nil {
		return false, err // said here, where somebody reads it
	}
	lock, err := statedir.WaitLock(ctx, home.StartLock(), startPatience)
	if err != nil {
		return false, err
	}
	defer lock.Release()
	if cl, err := client.Dial(ctx, socket); err == nil {
		cl.Close()
		return true, c.answered(ctx, home, nil)
	}
	program, err := c.program()
	if err != nil {
		return false, err
	}
	out, err := openDaemonLog(home.DaemonLog())
	if err != nil {
		return false, err
	}
	defer out.Close()
	begin, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	cmd := exec.Command(program, append([]string{"up", "--locked"}, c.sameHome(home)...)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives us and our terminal
	if err := cmd.Start(); err != nil {
		return false, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // it ends with the waker, or with us
	if err := c.answered(ctx, home, ended); err != nil {
		return false, noStart(home, begin, err)
	}
	return false, nil
}

var errSlowStart = fmt.Errorf("it does not answer after %s", startPatience)

// answered waits until the daemon of the home answers, ctx ends, or the waker
// fails. A daemon that cannot start answers too, with an error that says why.
// ended tells of the waker's end; nil = it is not ours.
func (c *cli) answered(ctx context.Context, home statedir.Home, ended <-chan error) error {
	socket, err := home.Socket()
	if err != nil {
		return err
	}
	again := time.NewTicker(dialAgain)
	defer again.Stop()
	for {
		cl := client.New(socket)
		_, err := cl.Status(ctx)
		cl.Close()
		if e, ok := errors.AsType[*drey.Error](err); !ok || e.Status != 0 {
			return err // it answers; and if it refuses, it cannot start and says why
		}
		select {
		case err := <-ended:
			if err != nil {
				return fmt.Errorf("drey up: %w", err)
			}
			ended = nil // another one was faster: it is that one's daemon
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-again.C:
		}
	}
}

// noStart is the error of a start that failed, with what the log says of it
// from begin on.
func noStart(home statedir.Home, begin int64, cause error) error {
	if errors.Is(cause, context.Canceled) {
		return cause
	}
	e := &drey.Error{Class: drey.Transport, Code: client.CodeNoDaemon, Op: "start drey", Err: cause, Hint: "see " + home.DaemonLog()}
	if said := lastLines(home.DaemonLog(), begin); said != "" {
		e.Err = fmt.Errorf("%w; the last lines of %s:\n%s", cause, home.DaemonLog(), said)
		e.Hint = "mend what they say, and try again"
	}
	return e
}

// lastLines are the last lines of a log, of those that begin at an offset.
func lastLines(path string, begin int64) string {
	const most, lines = 16 << 10, 10
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	begin = max(begin, size-most)
	b, err := io.ReadAll(io.NewSectionReader(f, begin, size-begin))
	if err != nil {
		return ""
	}
	all := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	all = all[max(0, len(all)-lines):]
	var out []string
	for _, line := range all {
		out = append(out, "  "+printable(string(line)))
	}
	if len(out) == 1 && strings.TrimSpace(out[0]) == "" {
		return ""
	}
	return strings.Join(out, "\n")
}
