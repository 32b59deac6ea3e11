package waker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/activation"
)

// door is a listening socket from which nothing is ever accepted. It is kept as
// a file and not as a net.Listener, because a file can be waited for.
type door struct {
	file *os.File
	name string // its address
}

func listenTCP(addr string) (*door, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, &drey.Error{Class: drey.Internal, Op: "listen on " + addr, Err: err, Hint: listenHint(err)}
	}
	return doorOf(l)
}

// listenUnix binds a socket, 0600, in place of one that nobody answers at.
func listenUnix(path string) (*door, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("replace the old control socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on the control socket: %w", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close() // the first error is the one to tell
		return nil, fmt.Errorf("protect the control socket: %w", err)
	}
	return doorOf(l)
}

// doorOf keeps the socket of a listener, and closes the listener.
func doorOf(l net.Listener) (*door, error) {
	defer l.Close()
	f, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return nil, fmt.Errorf("keep the listener of %s: %w", l.Addr(), err)
	}
	return &door{file: f, name: l.Addr().String()}, nil
}

func (d *door) addr() string { return d.name }

func (d *door) close() { _ = d.file.Close() } // a socket that is only listened at has nothing to flush

// ring waits until a connection is in the backlog, or ctx ends. It reports
// whether there is one.
func (d *door) ring(ctx context.Context) bool {
	raw, err := d.file.SyscallConn()
	if err != nil {
		return false
	}
	_ = d.file.SetReadDeadline(time.Time{})
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(done); _ = d.file.SetReadDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() {
			<-done // a deadline that is set late would end the next wait
		}
	}()
	waits := false
	err = raw.Read(func(fd uintptr) bool {
		waits = activation.Waits(fd)
		return waits
	})
	return err == nil && waits
}

// answers reports whether somebody listens at a socket.
func answers(ctx context.Context, socket string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second) // a full backlog is an answer of no use
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was said on it
	return true
}
