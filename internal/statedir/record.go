package statedir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dreyhq/drey/internal/lifecycle"
)

// ErrCorrupt says that the lifecycle record is there and is not valid. What is
// used in its place is the whole default record: WAKE is the safe side, and a
// half-believed record is worse than a fresh one.
var ErrCorrupt = errors.New("lifecycle record corrupt")

// corruptError is ErrCorrupt with what is wrong.
type corruptError struct {
	path string
	err  error
}

func (e *corruptError) Error() string   { return fmt.Sprintf("%s is corrupt: %v", e.path, e.err) }
func (e *corruptError) Is(t error) bool { return t == ErrCorrupt }
func (e *corruptError) Unwrap() error   { return e.err }

// ReadLifecycle looks at the record without a lock, for whoever only reports:
// a save never shows a part of itself. It changes nothing. A missing record is
// the default one. A corrupt one is an error that is ErrCorrupt, beside the
// default record that an owner would use; any other error is the system's.
func ReadLifecycle(h Home, now time.Time) (lifecycle.Record, error) {
	b, err := readRecord(h.Lifecycle())
	switch {
	case errors.Is(err, os.ErrNotExist):
		return lifecycle.Default(now), nil
	case err != nil:
		return lifecycle.Default(now), err
	}
	r, err := lifecycle.Decode(b, now)
	if err != nil {
		return lifecycle.Default(now), &corruptError{h.Lifecycle(), err}
	}
	return r, nil
}

// readRecord reads the record's bytes, at most one more than may be valid.
// What is there and is no file is corrupt; that the system refuses to read
// (EACCES, EIO) says nothing about what is there.
func readRecord(path string) ([]byte, error) {
	// O_NONBLOCK is for what is no file: a pipe would wait for its other end.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, unix.ENXIO) { // a socket
			return nil, &corruptError{path, err}
		}
		return nil, err
	}
	defer f.Close() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &corruptError{path, errors.New("not a regular file")}
	}
	return io.ReadAll(io.LimitReader(f, lifecycle.MaxRecord+1))
}

// saveRecord writes the record so that a crash at any instruction leaves the
// old one or the new one. An invalid record is an error, and is not written.
func (d disk) saveRecord(h Home, r lifecycle.Record) error {
	b, err := r.Encode()
	if err != nil {
		return fmt.Errorf("save lifecycle record: %w", err)
	}
	err = d.replace(h.Lifecycle(), recordPrefix+"*"+tempSuffix, b, true)
	if errors.Is(err, os.ErrNotExist) { // the home itself: somebody has cleaned up
		if err = makeDir(h.root); err == nil {
			err = d.replace(h.Lifecycle(), recordPrefix+"*"+tempSuffix, b, true)
		}
	}
	if err != nil {
		return fmt.Errorf("save lifecycle record: %w", err)
	}
	return nil
}

// keptInfix stands between the record's name and the time at which it was kept
// aside.
const keptInfix = ".corrupt-"

// keepAside renames a record that is corrupt and returns its new path. No
// record that was kept earlier is replaced.
func (d disk) keepAside(h Home, now time.Time) (string, error) {
	for {
		kept := h.Lifecycle() + keptInfix + stamp(now)
		if _, err := os.Lstat(kept); errors.Is(err, os.ErrNotExist) {
			return kept, d.rename(h.Lifecycle(), kept)
		} else if err != nil {
			return "", err
		}
		now = now.Add(time.Microsecond)
	}
}

// stampLayout is a time in the name of a file, with a dot that is left out there.
const stampLayout = "20060102T150405.000000Z"

// stamp writes a time as the name of a kept file has it:
// YYYYMMDDTHHMMSSffffffZ.
func stamp(t time.Time) string {
	return strings.Replace(t.UTC().Format(stampLayout), ".", "", 1)
}

func parseStamp(s string) (time.Time, bool) {
	const dot = len("20060102T150405")
	if len(s) != len(stampLayout)-1 {
		return time.Time{}, false
	}
	t, err := time.Parse(stampLayout, s[:dot]+"."+s[dot:])
	return t, err == nil
}
