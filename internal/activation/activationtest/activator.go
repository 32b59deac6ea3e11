// Package activationtest is a service manager for tests: it holds the two
// listeners of a drey open and starts a daemon when a connection waits, as
// systemd does it.
package activationtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// Activator holds the listeners. Its fields may be changed between starts.
type Activator struct {
	Addr   string // of the gateway
	Socket string // the control socket's path
	// Living has the daemon see an owner that lives on, as systemd lets it see.
	// Without it the daemon cannot tell us from an activator that is gone.
	Living bool
	files  []*os.File // gateway and control, until Close
}

// Listen binds a free port of 127.0.0.1 and the socket.
func Listen(socket string) (*Activator, error) {
	a := &Activator{Socket: socket, Living: true}
	for _, at := range [][2]string{{"tcp", "127.0.0.1:0"}, {"unix", socket}} {
		l, err := net.Listen(at[0], at[1])
		if err != nil {
			return nil, errors.Join(err, a.Close())
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		} else {
			a.Addr = l.Addr().String()
		}
		f, err := l.(interface{ File() (*os.File, error) }).File()
		_ = l.Close() // the file is a copy of it
		if err != nil {
			return nil, errors.Join(err, a.Close())
		}
		a.files = append(a.files, f)
	}
	return a, nil
}

// Close gives the listeners up.
func (a *Activator) Close() error {
	var errs []error
	for _, f := range a.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Command prepares a daemon that inherits the listeners. LISTEN_PID is the
// daemon's own number, which a shell in between knows. env comes on top of our
// own variables.
func (a *Activator) Command(ctx context.Context, env []string, argv ...string) *exec.Cmd {
	script := `export LISTEN_PID=$$; exec "$@"`
	if a.Living {
		script = `export SYSTEMD_EXEC_PID=$$; ` + script
		env = append(env, "INVOCATION_ID=00000000000000000000000000000001")
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", script, "sh"}, argv...)...)
	cmd.Env = append(append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(a.files)), "LISTEN_FDNAMES=gateway:control"), env...)
	cmd.ExtraFiles = a.files
	return cmd
}

// Wait returns when a connection waits at one of the listeners, or ctx ends.
func (a *Activator) Wait(ctx context.Context) error {
	fds := make([]unix.PollFd, len(a.files))
	for ctx.Err() == nil {
		for i, f := range a.files {
			fds[i] = unix.PollFd{Fd: int32(f.Fd()), Events: unix.POLLIN}
		}
		const most = 20 // ms until ctx is looked at again
		if n, err := unix.Poll(fds, most); err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		} else if n > 0 {
			return nil
		}
	}
	return context.Cause(ctx)
}
