package statedir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dreyhq/drey"
)

// ErrLocked says that somebody else holds the lock, another descriptor of this
// process included (exit 4).
var ErrLocked = errors.New("lock held")

// LockedError is the refusal of a lock that somebody else holds.
type LockedError struct {
	Path   string
	Holder Holder // as the file tells it; for messages only
	Err    error  // the system's
}

// Error names the file, and the holder's process where the file tells one.
func (e *LockedError) Error() string {
	msg := "another process holds " + e.Path
	if e.Holder.PID > 0 {
		msg += fmt.Sprintf(" (pid %d)", e.Holder.PID)
	}
	return msg
}

// Is reports ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// Unwrap returns the system's error.
func (e *LockedError) Unwrap() error { return e.Err }

// Holder is what the holder of a lock has written into it. It is for messages
// only: the flock alone decides, so a pid that is dead, or is another
// program's by now, blocks nobody and is never signalled.
type Holder struct {
	PID       int
	StartedAt time.Time // zero where the file tells none
}

// Lock is a lock that is held. It ends with Release or with the process,
// however that ends. It is safe for concurrent use.
//
// It is a plain flock and not that of gofrs/flock, because that one cannot
// tell the system's error, hides the descriptor into which the holder writes
// its pid, and reopens the file on its own in some failures, where this file
// must stay the one that was opened with O_NOFOLLOW.
type Lock struct {
	path string
	file *os.File
	held atomic.Bool
}

// TryLock takes the lock at path, or returns at once with an error: one that
// is ErrLocked if somebody else holds it, and the system's own otherwise.
// Nothing is written then. The file is made if it is missing (0600), its
// directory too (0700); it is never renamed and never deleted.
func TryLock(path string) (*Lock, error) {
	f, err := openLock(path, unix.O_RDWR|unix.O_CREAT)
	if errors.Is(err, os.ErrNotExist) {
		if err := makeDir(filepath.Dir(path)); err != nil {
			return nil, err
		}
		f, err = openLock(path, unix.O_RDWR|unix.O_CREAT)
	}
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_EX); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &LockedError{path, readHolder(f), err}
		}
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	l := &Lock{path: path, file: f}
	l.held.Store(true)
	l.sign()
	return l, nil
}

// lockRetry is how often a lock that is held is tried again.
const lockRetry = 25 * time.Millisecond

// WaitLock is TryLock for somebody whose predecessor may be leaving: while the
// lock is held it tries again for up to wait, at least once, and then returns
// the last refusal. When ctx ends first, its error is returned.
func WaitLock(ctx context.Context, path string, wait time.Duration) (*Lock, error) {
	deadline := time.Now().Add(wait)
	for {
		l, err := TryLock(path)
		left := time.Until(deadline)
		if !errors.Is(err, ErrLocked) || left <= 0 {
			return l, err
		}
		t := time.NewTimer(min(lockRetry, left))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// Locked asks, without taking anything, whether somebody holds the lock at
// path, and who it says it is. A missing file is a free lock.
func Locked(path string) (Holder, bool, error) {
	f, err := openLock(path, unix.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return Holder{}, false, nil
	}
	if err != nil {
		return Holder{}, false, err
	}
	defer f.Close()
	// A shared lock is enough to see an exclusive one, and two who ask at the
	// same time do not see each other.
	switch err := flock(f, unix.LOCK_SH); {
	case err == nil:
		return Holder{}, false, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		return readHolder(f), true, nil
	default:
		return Holder{}, false, &os.PathError{Op: "flock", Path: path, Err: err}
	}
}

// Path returns the lock's file.
func (l *Lock) Path() string { return l.path }

// Held reports whether the lock is held: from TryLock until Release. A nil
// lock is not held.
func (l *Lock) Held() bool { return l != nil && l.held.Load() }

// Release gives the lock back. A second one does nothing.
func (l *Lock) Release() {
	if l == nil || !l.held.CompareAndSwap(true, false) {
		return
	}
	// Unlocked by name and not only closed, since a child that was forked and
	// has not yet called exec shares the descriptor. Neither can fail in a way
	// that leaves the lock held beyond the process.
	_ = unix.Flock(int(l.file.Fd()), unix.LOCK_UN)
	_ = l.file.Close()
}

// signature is what the holder writes.
type signature struct {
	PID       int    `json:"pid"`
	StartedAt string `json:"started_at"`
}

// sign writes who holds the lock. It is for messages only, so that a full disk
// is no reason to be without a lock.
func (l *Lock) sign() {
	b, err := json.Marshal(signature{os.Getpid(), drey.FormatTime(time.Now())})
	if err != nil || l.file.Truncate(0) != nil {
		return
	}
	_, _ = l.file.WriteAt(append(b, '\n'), 0)
}

// readHolder reads what sign wrote, leniently.
func readHolder(f *os.File) Holder {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 4096))
	if err != nil {
		return Holder{}
	}
	var s signature
	if json.Unmarshal(b, &s) != nil || s.PID <= 0 {
		return Holder{}
	}
	at, err := drey.ParseTime(s.StartedAt)
	if err != nil {
		return Holder{PID: s.PID}
	}
	return Holder{s.PID, at}
}

// openLock opens a lock's file: not through a link, not for our children, and
// not if it is something else than a file (a pipe would block the opening but
// for O_NONBLOCK, and a device is not ours).
func openLock(path string, flags int) (*os.File, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = unix.Close(fd)
		if err == nil {
			err = errors.New("not a regular file")
		}
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func flock(f *os.File, how int) error {
	return retry(func() error { return unix.Flock(int(f.Fd()), how|unix.LOCK_NB) })
}

// retry repeats a system call that a signal has interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
