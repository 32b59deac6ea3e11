package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/dreyhq/drey/internal/statedir"
)

// The size at which the log of a background daemon is rotated, and how many
// older ones stay beside it (.1 is the newest): as those of local backends.
const (
	daemonLogBytes = 10 << 20
	daemonLogKeep  = 3
)

// openDaemonLog opens the log for a waker that is about to be started, and
// begins a new one if it is full. Who writes into the old one still goes on
// there.
func openDaemonLog(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > daemonLogBytes {
		shiftLogs(path)
		if err := os.Rename(path, path+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

// shiftLogs makes room at .1. What cannot be moved is written over.
func shiftLogs(path string) {
	for i := daemonLogKeep; i > 1; i-- {
		_ = os.Rename(path+"."+strconv.Itoa(i-1), path+"."+strconv.Itoa(i))
	}
}

// cappedLog is the log that this process has inherited as its standard error.
// The waker has the same file open, and the next daemon will inherit it too, so
// it is not replaced when it is full: it is copied to .1 and cut, which is
// sound since all of them append. What another process writes in between is
// lost; that is a line of the waker at most.
type cappedLog struct {
	path string
	max  int64 // rotated when it has become larger

	mu   sync.Mutex
	file *os.File
	size int64 // as this process knows it
}

// capDaemonLog has what this process says of itself keep the log of the home
// small, if its standard error is that log. Then it is a service or a child of
// `drey up --detach`, and nobody else would.
func (c *cli) capDaemonLog(home statedir.Home) {
	if f, ok := c.stderr.(*os.File); ok {
		if l := newCappedLog(home.DaemonLog(), daemonLogBytes, f); l != nil {
			c.stderr = l
		}
	}
}

// newCappedLog returns nil if f is not open for appending to the file at path.
func newCappedLog(path string, limit int64, f *os.File) *cappedLog {
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_APPEND == 0 {
		return nil // after a cut it would leave a hole
	}
	l := &cappedLog{path: path, max: limit, file: f}
	if l.size = l.length(); l.size < 0 {
		return nil
	}
	return l
}

// length is how long the log is; -1 if the file at path is another one by now,
// or none.
func (l *cappedLog) length() int64 {
	ours, err := l.file.Stat()
	named, nerr := os.Stat(l.path)
	if err != nil || nerr != nil || !ours.Mode().IsRegular() || !os.SameFile(ours, named) {
		return -1
	}
	return ours.Size()
}

// Write appends b, which is whole lines. It may be called concurrently.
func (l *cappedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.file.Write(b)
	if l.size += int64(n); l.size > l.max {
		l.rotate()
	}
	return n, err
}

// rotate copies the log to .1 and cuts it. If it cannot be copied it is cut all
// the same: a full disk is worse than a lost log.
func (l *cappedLog) rotate() {
	if l.size = l.length(); l.size <= l.max {
		l.size = max(l.size, 0) // somebody else has moved or cut it
		return
	}
	shiftLogs(l.path)
	_ = copyLog(l.path, l.path+".1")
	if l.file.Truncate(0) == nil {
		l.size = 0
	}
}

func copyLog(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
