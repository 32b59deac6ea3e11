package statedir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// LogConfig describes a log of JSON lines.
type LogConfig struct {
	Path     string
	MaxBytes int64 // rotated before a row would make it larger; 0 = never
	Keep     int   // how many rotated files stay: .1 (the newest) … .Keep; at least 1
	// Warn is called once when the log cannot be written, with the cause, and
	// once when it can be again, with nil and how many rows were lost in
	// between. It is called from OpenLog, Serve, Flush and Close, never from
	// Append, and must call none of them. nil = nobody is told.
	Warn func(err error, dropped uint64)
}

const (
	flushEvery = time.Second
	flushAt    = 256 << 10 // rows that wait are written at once beyond this
	maxWaiting = 8 << 20   // and are dropped beyond this
)

// Log appends rows to a file of JSON lines and rotates it. It is the file's
// only writer. Rows wait in memory for at most a second; no trouble with the
// disk ever reaches who appends: rows that cannot be written are dropped and
// counted, and writing goes on as soon as it can.
//
// Serve writes what waits; Append may be called by anybody at any time.
type Log struct {
	cfg  LogConfig
	open func(path string) (logFile, error) // a test's disk; openLogFile otherwise
	kick chan struct{}                      // there is much to write

	write   sync.Mutex // one writes; guards what follows
	file    logFile    // nil if it must be opened
	size    int64
	failing bool
	lost    uint64 // rows since the trouble began

	mu      sync.Mutex // guards what follows; never held while writing
	waiting []byte     // whole rows
	dropped uint64
	closed  bool
}

// logFile is what a Log needs of a file.
type logFile interface {
	io.Writer
	io.Closer
	Stat() (os.FileInfo, error)
}

// OpenLog returns the log and opens its file, so that trouble is told at the
// start. It never fails: the trouble goes to Warn, and the log tries again.
func OpenLog(cfg LogConfig) *Log { return openLog(cfg, openLogFile) }

func openLog(cfg LogConfig, open func(string) (logFile, error)) *Log {
	cfg.Keep = max(cfg.Keep, 1)
	l := &Log{cfg: cfg, open: open, kick: make(chan struct{}, 1)}
	l.write.Lock()
	defer l.write.Unlock()
	l.told(l.readyLocked(), 0)
	return l
}

// Append queues a row: one JSON object without a newline in it. It copies the
// row, does not block on the disk, and reports whether the row was taken.
func (l *Log) Append(row []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.waiting)+len(row) >= maxWaiting || bytes.IndexByte(row, '\n') >= 0 {
		l.dropped++
		return false
	}
	l.waiting = append(append(l.waiting, row...), '\n')
	if len(l.waiting) >= flushAt {
		select {
		case l.kick <- struct{}{}:
		default: // it knows already
		}
	}
	return true
}

// Dropped returns how many rows were dropped so far.
func (l *Log) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Serve writes what was appended, at least each second, until ctx ends. Then
// it writes what is left and returns ctx's error; rows that are appended later
// wait for Flush or Close.
func (l *Log) Serve(ctx context.Context) error {
	t := time.NewTicker(flushEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-l.kick:
		case <-ctx.Done():
			l.Flush()
			return context.Cause(ctx)
		}
		l.Flush()
	}
}

// Flush writes what waits, now.
func (l *Log) Flush() {
	l.write.Lock()
	defer l.write.Unlock()
	l.flushLocked()
}

// Close writes what waits and closes the file. Rows that are appended later
// are dropped and counted. A second Close does nothing.
func (l *Log) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.write.Lock()
	defer l.write.Unlock()
	l.flushLocked()
	l.closeLocked()
}

func (l *Log) flushLocked() {
	l.mu.Lock()
	rows := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	if len(rows) == 0 {
		return
	}
	rest, err := l.writeLocked(rows)
	n := uint64(bytes.Count(rest, []byte{'\n'}))
	if n > 0 {
		l.mu.Lock()
		l.dropped += n
		l.mu.Unlock()
	}
	l.told(err, n)
}

// told counts the trouble and tells it where it begins and where it ends.
func (l *Log) told(err error, dropped uint64) {
	l.lost += dropped
	if (err != nil) == l.failing {
		return
	}
	l.failing = err != nil
	if l.cfg.Warn != nil {
		l.cfg.Warn(err, l.lost)
	}
	if err == nil {
		l.lost = 0
	}
}

// writeLocked writes whole rows, rotating where the next would not fit. With
// an error it returns what was not written, from the row that was cut.
func (l *Log) writeLocked(rows []byte) (rest []byte, err error) {
	for len(rows) > 0 {
		if err := l.readyLocked(); err != nil {
			return rows, err
		}
		n := l.fitting(rows)
		if n == 0 {
			if err := l.rotateLocked(); err != nil {
				return rows, err
			}
			continue
		}
		written, err := l.file.Write(rows[:n])
		l.size += int64(written)
		if err != nil {
			// The next to write opens the file anew and mends its torn tail.
			l.closeLocked()
			return rows[bytes.LastIndexByte(rows[:written], '\n')+1:], err
		}
		rows = rows[n:]
	}
	return nil, nil
}

// fitting returns the length of the whole rows that fit into the file. An
// empty file takes one row of any size.
func (l *Log) fitting(rows []byte) int {
	if l.cfg.MaxBytes <= 0 || l.size+int64(len(rows)) <= l.cfg.MaxBytes {
		return len(rows)
	}
	room := max(l.cfg.MaxBytes-l.size, 0)
	n := bytes.LastIndexByte(rows[:min(room, int64(len(rows)))], '\n') + 1
	if n == 0 && l.size == 0 {
		n = bytes.IndexByte(rows, '\n') + 1
	}
	return n
}

// readyLocked opens the file if it is not open, or is no longer the one at
// its path: somebody may have moved or deleted it.
func (l *Log) readyLocked() error {
	if l.file != nil {
		there, err := os.Stat(l.cfg.Path)
		if ours, oerr := l.file.Stat(); err == nil && oerr == nil && os.SameFile(there, ours) {
			return nil
		}
		l.closeLocked()
	}
	f, err := l.open(l.cfg.Path)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close() // nothing was written
		return err
	}
	l.file, l.size = f, info.Size()
	return nil
}

// rotateLocked renames the files, the oldest first, and begins a new one.
// Rotated files beyond Keep, left by a larger one, go.
func (l *Log) rotateLocked() error {
	l.closeLocked()
	for n := l.cfg.Keep + 1; os.Remove(rotated(l.cfg.Path, n)) == nil; n++ {
	}
	for n := l.cfg.Keep; n >= 1; n-- {
		from := l.cfg.Path
		if n > 1 {
			from = rotated(l.cfg.Path, n-1)
		}
		if err := os.Rename(from, rotated(l.cfg.Path, n)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("rotate %s: %w", filepath.Base(l.cfg.Path), err)
		}
	}
	return l.readyLocked()
}

func (l *Log) closeLocked() {
	if l.file != nil {
		_ = l.file.Close() // every write has told its own error
		l.file = nil
	}
}

// rotated names the n-th rotated file; 1 is the newest.
func rotated(path string, n int) string { return path + "." + strconv.Itoa(n) }

// openLogFile opens a log for appending, 0600 if it is new, and ends the torn
// line that a crash or a full disk has left, so that it does not swallow the
// next one.
func openLogFile(path string) (logFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := mendTail(f); err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

func mendTail(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &os.PathError{Op: "open", Path: f.Name(), Err: errors.New("not a regular file")}
	}
	if info.Size() == 0 {
		return nil
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	_, err = f.Write([]byte{'\n'})
	return err
}
