package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"time"

	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/client"
	"github.com/dreyhq/drey/internal/statedir"
)

// daemon is a drey that was started by hand, so that it never hibernates.
type daemon struct {
	home statedir.Home
	addr string
	cmd  *exec.Cmd
	said *bytes.Buffer
	ctl  *client.Client
}

// serve makes a home with a past of some rows, and starts a drey in it. conf is
// the configuration's section lifecycle.
func (l *lab) serve(ctx context.Context, name string, rows int, conf string) (_ *daemon, err error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	h, err := l.newHome(name, addr, conf)
	if err != nil {
		return nil, err
	}
	if err := fill(ctx, h, rows); err != nil {
		return nil, err
	}
	socket, err := h.Socket()
	if err != nil {
		return nil, err
	}
	d := &daemon{home: h, addr: addr, said: &bytes.Buffer{}, ctl: client.New(socket)}
	d.cmd = exec.CommandContext(ctx, l.drey, "serve", "--home", h.Root())
	d.cmd.Stderr = d.said
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	err = until(ctx, func() (bool, error) {
		_, err := post(ctx, addr)
		return err == nil, nil
	})
	if err != nil {
		_ = d.cmd.Process.Kill()
		_ = d.cmd.Wait() // killed
		return nil, fmt.Errorf("start drey in %s: %w\n%s", h.Root(), err, d.said)
	}
	return d, nil
}

func (d *daemon) close() error {
	d.ctl.Close()
	if err := end(d.cmd); err != nil {
		return fmt.Errorf("%w\n%s", err, d.said)
	}
	return nil
}

// reach waits until the daemon's lifecycle is as asked.
func (d *daemon) reach(ctx context.Context, what string, there func(api.Lifecycle) bool) error {
	var last api.Lifecycle
	err := until(ctx, func() (_ bool, err error) {
		last, err = d.ctl.Lifecycle(ctx)
		return err == nil && there(last), err
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w (it is in %s, step %q)\n%s", what, err, last.State, last.Step, d.said)
	}
	return nil
}

func isDrowsy(l api.Lifecycle) bool { return l.State == "DROWSY" }

// isClean says that nothing is left to do until somebody comes.
func isClean(l api.Lifecycle) bool {
	return l.State == "SLEEP" && l.Step == "" && l.Progress == nil && l.LastCycle != nil && l.LastCycle.Seq == l.Seq
}

func verifies(l api.Lifecycle) bool { return l.State == "SLEEP" && l.Step == "verify" }

// until looks again and again, for a minute at most.
func until(ctx context.Context, there func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("it takes more than a minute"))
	defer cancel()
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	for {
		if ok, err := there(); ok || err != nil {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// freeAddr is an address that nobody listens at.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// wait waits, unless ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
