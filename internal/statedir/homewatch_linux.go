package statedir

import (
	"cmp"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// notifyHome is inotify by its own calls and not by fsnotify: that one asks
// for writes as well, and the store, which writes in the same directory all
// the time, would keep a sleeping daemon busy with events about nothing.
func notifyHome(h Home) (func(context.Context, func()), error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	n := &inotify{home: h, file: os.NewFile(uintptr(fd), "inotify"), dirs: map[int32]string{}}
	for _, dir := range []string{h.root, h.Wrappers()} {
		if err := n.add(dir); err != nil {
			_ = n.file.Close() // only read
			return nil, err
		}
	}
	return n.serve, nil
}

// inotify belongs to the goroutine of serve.
type inotify struct {
	home Home
	file *os.File
	dirs map[int32]string // by watch
}

func (n *inotify) add(dir string) error {
	conn, err := n.file.SyscallConn()
	if err != nil {
		return err
	}
	var wd int
	var watchErr error
	// By Control, since the file may be closed at any time.
	err = conn.Control(func(fd uintptr) {
		wd, watchErr = unix.InotifyAddWatch(int(fd), dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR)
	})
	if err = cmp.Or(err, watchErr); err != nil {
		return &os.PathError{Op: "watch", Path: dir, Err: err}
	}
	n.dirs[int32(wd)] = dir
	return nil
}

func (n *inotify) serve(ctx context.Context, changed func()) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() {
		<-ctx.Done()
		_ = n.file.Close() // ends the reading
	})
	buf := make([]byte, 16<<10)
	for {
		k, err := n.file.Read(buf)
		if err != nil {
			return
		}
		if n.read(buf[:k]) {
			changed()
		}
	}
}

// read goes through events as the system has packed them and reports whether
// one of them is worth a hint.
func (n *inotify) read(events []byte) (hint bool) {
	for len(events) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		size := binary.NativeEndian.Uint32(events[12:])
		name := strings.TrimRight(string(events[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+size]), "\x00")
		events = events[unix.SizeofInotifyEvent+size:]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			hint = true // something was lost: let them look
			continue
		}
		if mask&unix.IN_IGNORED != 0 {
			delete(n.dirs, wd) // the directory has gone
			continue
		}
		path := filepath.Join(n.dirs[wd], name)
		if path == n.home.Wrappers() {
			_ = n.add(path) // made anew; without a watch its leases are seen when something else happens
			hint = true
		}
		hint = hint || n.home.told(path)
	}
	return hint
}
