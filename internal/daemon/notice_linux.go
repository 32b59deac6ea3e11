package daemon

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// notice tells of files in directories that are made, replaced, or closed by
// somebody who wrote to them; "" stands for any of them, when events were lost.
// serve does it until ctx ends. What becomes true after notice has returned is
// told. It is inotify by its own calls and not by fsnotify: that one asks for
// every write as well, and where the configuration lies in the home it would
// run at each of the store's.
func notice(dirs []string, changed func(path string)) (serve func(ctx context.Context), err error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	file := os.NewFile(uintptr(fd), "inotify")
	watched := map[int32]string{}
	var troubles []error
	for _, dir := range dirs {
		wd, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_CLOSE_WRITE|unix.IN_ONLYDIR)
		if err != nil {
			troubles = append(troubles, &os.PathError{Op: "watch", Path: dir, Err: err})
			continue
		}
		watched[int32(wd)] = dir
	}
	if len(watched) == 0 {
		_ = file.Close() // only read
		return nil, errors.Join(troubles...)
	}
	return func(ctx context.Context) {
		var wg sync.WaitGroup
		defer wg.Wait()
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		wg.Go(func() {
			<-ctx.Done()
			_ = file.Close() // ends the reading
		})
		buf := make([]byte, 16<<10)
		for {
			n, err := file.Read(buf)
			if err != nil {
				return
			}
			for _, path := range noticed(buf[:n], watched) {
				changed(path)
			}
		}
	}, errors.Join(troubles...)
}

// noticed unpacks events as the system has packed them. What is not about a file
// of a watched directory (the directory itself has gone) is left out.
func noticed(events []byte, watched map[int32]string) (paths []string) {
	for len(events) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		name := strings.TrimRight(string(events[unix.SizeofInotifyEvent:end]), "\x00")
		events = events[end:]
		switch dir, ok := watched[wd]; {
		case mask&unix.IN_Q_OVERFLOW != 0:
			paths = append(paths, "")
		case ok && name != "":
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths
}
