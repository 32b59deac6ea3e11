package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// The control socket asks for no key: its mode keeps others out, and where a
// mode is not enough (a home on a share, a umask gone wrong) the kernel's word
// on who connects is. Processes that the daemon has started, and theirs, are
// the same user's and refused all the same: what a backend or a member runs
// must not decide about the daemon that runs it.

// ownedConn is a connection to the control socket, with what the kernel says of
// its other end.
type ownedConn struct {
	net.Conn
	refused error // why its requests are refused; nil = it is the owner's
}

// peerListener gives its connections the verdict on who is there.
type peerListener struct {
	net.Listener
	owner int
}

// ownedListener lets only the owner of the socket's file in; that is whoever
// runs the daemon, or for whom the system made the socket.
func ownedListener(l net.Listener) net.Listener {
	owner := os.Getuid()
	if info, err := os.Stat(l.Addr().String()); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			owner = int(st.Uid)
		}
	}
	return &peerListener{l, owner}
}

func (l *peerListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &ownedConn{c, admit(c, l.owner)}, nil
}

// admit returns nil if the other end of c belongs to owner.
func admit(c net.Conn, owner int) error {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return errors.New("it cannot be told who is at the other end")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	uid, pid := -1, 0
	var perr error
	if err := raw.Control(func(fd uintptr) { uid, pid, perr = peerOf(int(fd)) }); err != nil {
		return err
	}
	if perr != nil {
		return fmt.Errorf("it cannot be told who is at the other end: %w", perr)
	}
	if uid != owner {
		return fmt.Errorf("this socket belongs to user %d, and you are user %d", owner, uid)
	}
	if below(pid, os.Getpid(), parentOf) {
		return fmt.Errorf("process %d was started by this daemon, and such may not control it", pid)
	}
	return nil
}

// below reports whether pid is a descendant of top. A process that is gone, or
// whose parents are, is none: its line of descent ends at the system's first
// process.
func below(pid, top int, parent func(int) (int, error)) bool {
	const longest = 1000 // generations; processes that come and go could make a circle
	for range longest {
		next, err := parent(pid)
		if err != nil || next <= 1 {
			return false
		}
		if next == top {
			return true
		}
		pid = next
	}
	return false
}

type peerKey struct{}

// withPeer puts the verdict where handlers find it.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if oc, ok := c.(*ownedConn); ok && oc.refused != nil {
		return context.WithValue(ctx, peerKey{}, oc.refused)
	}
	return ctx
}

// peerRefused returns why a request of the control socket is refused, or nil.
func peerRefused(ctx context.Context) error {
	err, _ := ctx.Value(peerKey{}).(error)
	return err
}
