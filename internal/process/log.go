package process

import (
	"os"
	"strconv"
)

// The size at which a process's log is rotated (the healing contract §7), and how many
// older ones stay beside it (.1 is the newest).
const (
	logBytes = 10 << 20
	logKeep  = 3
)

// outputLog appends the output of a process to a file and rotates it by size.
// No trouble with the disk reaches the process: what cannot be written is
// dropped, and the next write tries again. It has one writer at a time. An
// empty path keeps nothing.
type outputLog struct {
	path string
	max  int64 // rotated before a write would make it larger
	file *os.File
	size int64
}

func (l *outputLog) Write(b []byte) (int, error) {
	if l.path == "" {
		return len(b), nil
	}
	if l.file == nil && l.open() != nil {
		return len(b), nil
	}
	if l.size > 0 && l.size+int64(len(b)) > l.max {
		l.rotate()
	}
	if l.file == nil {
		return len(b), nil
	}
	n, err := l.file.Write(b)
	l.size += int64(n)
	if err != nil {
		l.Close()
	}
	return len(b), nil
}

func (l *outputLog) open() error {
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return err
	}
	l.file, l.size = f, info.Size()
	return nil
}

// rotate moves the file to .1 and begins a new one. If the file cannot be
// moved it is cut instead: a full disk is worse than a lost log.
func (l *outputLog) rotate() {
	for i := logKeep; i > 1; i-- {
		_ = os.Rename(l.path+"."+strconv.Itoa(i-1), l.path+"."+strconv.Itoa(i))
	}
	if os.Rename(l.path, l.path+".1") != nil {
		if l.file.Truncate(0) == nil {
			l.size = 0
		}
		return
	}
	l.Close()
	_ = l.open()
}

// Close closes the file; a later Write opens it again.
func (l *outputLog) Close() {
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}
