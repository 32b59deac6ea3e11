package statedir

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dreyhq/drey"
)

// logPatience is how long an appender waits for another one. Each of them
// holds the file for one write and one sync, so that this is far more than it
// takes, and a process that was stopped in between cannot hold up the daemon.
const (
	logPatience = 5 * time.Second
	logRetry    = time.Millisecond
)

// appendLines appends lines to the event log at path, each with one write, and
// returns when they are durable. Any number of processes and goroutines may do
// this at the same time. With an error any part of the lines may be in the
// file: whoever tries again says how many of the first lines are doubtful, and
// those of them that the file has already are not written a second time.
func (d disk) appendLines(path string, lines [][]byte, doubtful int) error {
	f, err := lockEventLog(path, time.Now().Add(logPatience))
	if err != nil {
		return err
	}
	defer f.Close() // which unlocks; the sync has told what there is to tell
	info, err := f.Stat()
	if err != nil {
		return err
	}
	fresh := info.Size() == 0
	if fresh {
		err = f.Chmod(0o600) // a umask may have taken our own rights
	} else {
		err = d.endLine(f, info.Size())
	}
	if err != nil {
		return err
	}
	if doubtful > 0 {
		again, err := without(lines[:doubtful], f)
		if err != nil {
			return err
		}
		lines = append(again, lines[doubtful:]...)
	}
	for _, line := range lines {
		if _, err := d.write(f, append(slices.Clip(line), '\n')); err != nil {
			return err
		}
	}
	if err := d.sync(f); err != nil {
		return err
	}
	if !fresh {
		return nil
	}
	return d.syncDir(filepath.Dir(path)) // a new name is durable only with its directory
}

// lockEventLog opens the log for appending and locks it against other
// appenders and the rotation.
func lockEventLog(path string, deadline time.Time) (*os.File, error) {
	for {
		f, err := openEventLog(path)
		if errors.Is(err, os.ErrNotExist) {
			if err := makeDir(filepath.Dir(path)); err != nil {
				return nil, err
			}
			f, err = openEventLog(path)
		}
		if err != nil {
			return nil, err
		}
		if err := waitFlock(f, deadline); err != nil {
			_ = f.Close() // nothing was written
			return nil, err
		}
		// The rotation may have removed the file while we waited for it: a
		// line that is written now would be lost with it.
		ours, err := f.Stat()
		if err != nil {
			_ = f.Close() // nothing was written
			return nil, err
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(there, ours) {
			return f, nil
		}
		_ = f.Close() // nothing was written
	}
}

func openEventLog(path string) (*os.File, error) {
	// O_NONBLOCK is for what is no file: a pipe would wait for its other end.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// waitFlock takes the lock of an open file, trying until a deadline. It does
// not block in the system, since nothing could call it back from there.
func waitFlock(f *os.File, deadline time.Time) error {
	for {
		err := flock(f, unix.LOCK_EX)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK):
			return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		case time.Until(deadline) <= 0:
			return &LockedError{Path: f.Name(), Err: err}
		}
		time.Sleep(logRetry)
	}
}

// endLine ends a torn last line, which a crash or a full disk has left, so
// that it does not swallow the next one.
func (d disk) endLine(f *os.File, size int64) error {
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, size-1); err != nil {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	_, err := d.write(f, []byte{'\n'})
	return err
}

// logLine is what must be known of a line to file it.
type logLine struct {
	ts    time.Time
	event string
	json  json.RawMessage // compact, as it stands in the log
}

// parseLogLine checks that a line may stand in the event log: an object with a
// time and the name of its event.
func parseLogLine(raw json.RawMessage) (logLine, error) {
	var head struct{ TS, Event string }
	if err := json.Unmarshal(raw, &head); err != nil {
		return logLine{}, fmt.Errorf("event log line: %w", err)
	}
	if head.Event == "" {
		return logLine{}, errors.New("event log line: without an event")
	}
	ts, err := drey.ParseTime(head.TS)
	if err != nil {
		return logLine{}, fmt.Errorf("event log line: %w", err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return logLine{}, fmt.Errorf("event log line: %w", err)
	}
	return logLine{ts, head.Event, compact.Bytes()}, nil
}

// recoveredMark begins what a recovered line carries behind its own content.
// Inside of a string the quotes would be escaped, so it is found nowhere else.
const recoveredMark = `,"recovered":true,"recovered_at":`

// recovered is the line as it is appended by a later process.
func (l logLine) recovered(at time.Time) []byte {
	b := append([]byte(nil), l.json[:len(l.json)-1]...)
	return append(b, recoveredMark+`"`+drey.FormatTime(at)+`"}`...)
}

// contentOf is the line without what a recovery has added. Of a torn line it
// is nothing that a whole one could be.
func contentOf(line []byte) string {
	line = bytes.TrimSpace(line)
	if i := bytes.Index(line, []byte(recoveredMark)); i >= 0 && bytes.HasSuffix(line, []byte("}")) {
		return string(line[:i]) + "}"
	}
	return string(line)
}

// without returns the lines that the file does not hold yet.
func without(lines [][]byte, f *os.File) ([][]byte, error) {
	want := map[string]int{}
	for _, line := range lines {
		want[contentOf(line)]++
	}
	if err := strike(io.NewSectionReader(f, 0, math.MaxInt64), want); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(lines), func(line []byte) bool {
		key := contentOf(line)
		want[key]--
		return want[key] < 0
	}), nil
}

// strike removes from want (a number of lines by content) what r holds of it.
func strike(r io.Reader, want map[string]int) error {
	for line, err := range rawLines(r) {
		if err != nil {
			return err
		}
		if key := contentOf(line); want[key] > 0 {
			want[key]--
		}
	}
	return nil
}

// rawLines yields the lines of r as they stand; nil for one that is longer than
// any that is written. The slice is good until the next one.
func rawLines(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		in := bufio.NewReaderSize(r, maxRow)
		for {
			line, err := in.ReadSlice('\n')
			tooLong := errors.Is(err, bufio.ErrBufferFull)
			if tooLong {
				line = nil
				for errors.Is(err, bufio.ErrBufferFull) {
					_, err = in.ReadSlice('\n')
				}
			}
			if err != nil && !errors.Is(err, io.EOF) {
				yield(nil, err)
				return
			}
			if (len(line) > 0 || tooLong) && !yield(line, nil) || err != nil {
				return
			}
		}
	}
}

// eventFile is one file of the event log.
type eventFile struct {
	path string // of the plain file, also where only the compressed one is there
	day  time.Time
	// Which of the two are there. Both are, for a moment, while the rotation
	// is at work, and for good where it was interrupted or they differ.
	plain, gz bool
}

const (
	eventLogPrefix = "lifecycle-events-"
	eventLogSuffix = ".jsonl"
	gzSuffix       = ".gz"
)

// eventFiles lists the event log's files, the oldest first. Names that do not
// match exactly are not its.
func (h Home) eventFiles() ([]eventFile, error) {
	entries, err := os.ReadDir(h.Logs())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var files []eventFile
	for _, e := range entries { // in the order of names, so x.jsonl comes right before x.jsonl.gz
		name, isGz := strings.CutSuffix(e.Name(), gzSuffix)
		date, ok := strings.CutSuffix(name, eventLogSuffix)
		if !ok {
			continue
		}
		date, ok = strings.CutPrefix(date, eventLogPrefix)
		day, err := time.Parse(time.DateOnly, date)
		if !ok || err != nil {
			continue
		}
		path := filepath.Join(h.Logs(), name)
		if n := len(files); n == 0 || files[n-1].path != path {
			files = append(files, eventFile{path: path, day: day})
		}
		last := &files[len(files)-1]
		last.gz, last.plain = last.gz || isGz, last.plain || !isGz
	}
	return files, nil
}

// each reads the file's content with read, as often as it is there: usually
// once. Where a compressed file and a plain one differ, both are read.
func (f eventFile) each(read func(io.Reader) error) error {
	if f.gz && f.plain {
		same, err := sameContent(f.path)
		if err == nil && same {
			f.plain = false
		}
	}
	if f.gz {
		if err := readGzip(f.path+gzSuffix, read); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if !f.plain {
		return nil
	}
	in, err := os.Open(f.path)
	if errors.Is(err, os.ErrNotExist) {
		if f.gz {
			return nil
		}
		// The rotation was faster than we.
		if err := readGzip(f.path+gzSuffix, read); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close() // only read
	return read(in)
}

func readGzip(path string, read func(io.Reader) error) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close() // only read
	z, err := gzip.NewReader(bufio.NewReader(in))
	if err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	if err := read(z); err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	return nil
}

// sameContent reports whether the compressed file beside a plain one holds the
// same. One that cannot be read to its end holds something else.
func sameContent(path string) (bool, error) {
	plain, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer plain.Close() // only read
	ours, theirs := sha256.New(), sha256.New()
	if _, err := io.Copy(ours, plain); err != nil {
		return false, err
	}
	err = readGzip(path+gzSuffix, func(z io.Reader) error {
		_, err := io.Copy(theirs, z)
		return err
	})
	return err == nil && bytes.Equal(ours.Sum(nil), theirs.Sum(nil)), err
}
