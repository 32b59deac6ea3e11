package statedir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestOfManyProcessesOneHoldsAndItsDeathFrees(t *testing.T) {
	path := filepath.Join(t.TempDir(), "home", ".lifecycle.lock")
	var all []*process
	for range 32 {
		all = append(all, startContender(t, path))
	}
	defer func() {
		for _, p := range all {
			p.end()
		}
	}()
	var holder *process
	for _, p := range all {
		switch said := p.answer(t); said {
		case "held":
			if holder != nil {
				t.Fatal("two hold the lock")
			}
			holder = p
		case "locked":
		default:
			t.Fatal(said)
		}
	}
	if holder == nil {
		t.Fatal("nobody holds the lock")
	}
	_, err := TryLock(path)
	want := fmt.Sprintf("another process holds %s (pid %d)", path, holder.cmd.Process.Pid)
	if !errors.Is(err, ErrLocked) || !errors.Is(err, syscall.EWOULDBLOCK) || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	if h, locked, err := Locked(path); err != nil || !locked || h.PID != holder.cmd.Process.Pid || h.StartedAt.IsZero() {
		t.Errorf("Locked says %+v, %v, %v", h, locked, err)
	}
	if err := holder.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.cmd.Wait()
	// The dead one's pid is still in the file, and blocks nobody.
	l, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
}

func TestLockIsHeldUntilRelease(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".lifecycle.lock")
	var none *Lock
	none.Release()
	if none.Held() {
		t.Error("a nil lock is held")
	}
	l, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if !l.Held() || l.Path() != path {
		t.Error("a fresh lock is not held")
	}
	before, _ := os.Stat(path)
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("another descriptor of this process gets it: %v", err)
	}
	if flags, err := unix.FcntlInt(l.file.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Error("children inherit the lock")
	}
	l.Release()
	l.Release()
	if l.Held() {
		t.Error("a released lock is held")
	}
	if h, locked, err := Locked(path); err != nil || locked || h.PID != 0 {
		t.Errorf("a released lock: %+v, %v, %v", h, locked, err)
	}
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) {
		t.Error("the lock's file was replaced")
	}
	if _, locked, err := Locked(path + ".none"); locked || err != nil {
		t.Error("a missing lock is held", err)
	}
}

func TestForeignLocks(t *testing.T) {
	for content, want := range map[string]string{
		"":                          "",
		"not JSON":                  "",
		`{"pid":-1}`:                "",
		`{"pid":"5"}`:               "",
		`{"pid":5}`:                 " (pid 5)",
		`{"pid":7,"started_at":1}`:  "",
		`{"pid":8,"started_at":""}`: " (pid 8)",
	} {
		path := filepath.Join(t.TempDir(), "l")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			t.Fatal(err)
		}
		_, err = TryLock(path)
		if !errors.Is(err, ErrLocked) || err.Error() != "another process holds "+path+want {
			t.Errorf("%s: %v", content, err)
		}
		if b, _ := os.ReadFile(path); string(b) != content {
			t.Errorf("a refusal has written %q", b)
		}
		f.Close()
	}
}

func TestOtherFailuresAreThemselves(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	write := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("target")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	rows := map[string]error{
		link:                                  syscall.ELOOP,
		dir:                                   syscall.EISDIR,
		filepath.Join(write("file"), "lock"):  syscall.ENOTDIR,
		filepath.Join(target, "deep", "lock"): syscall.ENOTDIR,
		fifo:                                  nil,
	}
	for path, want := range rows {
		l, err := TryLock(path)
		if err == nil || errors.Is(err, ErrLocked) || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		l.Release()
	}
	if os.Geteuid() != 0 { // root may write everywhere
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(dir, 0o700)
		if _, err := TryLock(filepath.Join(dir, "new")); !errors.Is(err, os.ErrPermission) {
			t.Errorf("in a read-only directory: %v", err)
		}
	}
}

func TestModesWhateverTheUmask(t *testing.T) {
	for _, mask := range []int{0o000, 0o077, 0o777} {
		old := syscall.Umask(mask)
		defer syscall.Umask(old) // should the test end early
		root := filepath.Join(t.TempDir(), "a", "home")
		h, err := Open(root)
		if err != nil {
			t.Fatal(err)
		}
		if mask != 0o777 { // files are made with the umask that they find
			l, err := TryLock(h.Lock())
			if err != nil {
				t.Fatal(err)
			}
			log := OpenLog(LogConfig{Path: h.Audit()})
			log.Close()
			l.Release()
			for _, f := range []string{h.Lock(), h.Audit()} {
				if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("umask %03o: %s is %v, %v", mask, f, info.Mode(), err)
				}
			}
		}
		for _, d := range []string{filepath.Dir(root), root, h.Logs(), h.Wrappers(), h.Backups(), h.artifacts()} {
			if info, err := os.Stat(d); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("umask %03o: %s is %v, %v", mask, d, info.Mode(), err)
			}
		}
		syscall.Umask(old)
	}
}

func TestWaitLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	synctest.Test(t, func(t *testing.T) {
		l, err := TryLock(path)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := WaitLock(t.Context(), path, 2*time.Second); !errors.Is(err, ErrLocked) || time.Since(start) != 2*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if _, err := WaitLock(t.Context(), path, 0); !errors.Is(err, ErrLocked) {
			t.Errorf("without patience: %v", err)
		}
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		if _, err := WaitLock(ctx, path, time.Hour); !errors.Is(err, gone) {
			t.Errorf("cancelled: %v", err)
		}
		time.AfterFunc(time.Second, l.Release)
		next, err := WaitLock(t.Context(), path, 2*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		next.Release()
	})
	if _, err := WaitLock(t.Context(), filepath.Dir(path), time.Hour); err == nil || errors.Is(err, ErrLocked) {
		t.Errorf("it waits for what no waiting mends: %v", err)
	}
}
