package statedir

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Rotation says what a rotation of the lifecycle's event log did: names of
// files in its directory.
type Rotation struct {
	Compressed []string // plain files of which only the compressed one is left
	Removed    []string // compressed files that were too old
	Unmerged   []string // plain files beside a compressed one of other content; both stay, for a person to see
}

// rotatePrefix begins the temporary files of a rotation.
const rotatePrefix = "." + eventLogPrefix

// RotateLifecycleLogs compresses the event log's files that are dated
// compressAfter ago or earlier, and removes compressed ones dated longer than
// keep ago (0 = never). Days are UTC; today's file is never touched, nor is a
// file of another name. A second run does nothing. It may run beside any
// number of appenders and readers, and stops between two files at any time
// without harm.
//
// Trouble with one file does not keep the others.
func RotateLifecycleLogs(h Home, now time.Time, compressAfter, keep time.Duration) (Rotation, error) {
	return realDisk.rotateEventLogs(h, now, compressAfter, keep)
}

func (d disk) rotateEventLogs(h Home, now time.Time, compressAfter, keep time.Duration) (Rotation, error) {
	files, err := h.eventFiles()
	if err != nil {
		return Rotation{}, err
	}
	var done Rotation
	var troubles []error
	today := day(now)
	for _, f := range files {
		age, name := today.Sub(f.day), filepath.Base(f.path)
		if f.plain && age > 0 && age >= compressAfter {
			merged, err := d.compress(f.path)
			switch {
			case err != nil:
				troubles = append(troubles, fmt.Errorf("compress %s: %w", name, err))
			case merged:
				done.Compressed = append(done.Compressed, name)
				f.gz = true
			default:
				done.Unmerged = append(done.Unmerged, name)
				continue // neither of the two may go
			}
		}
		if f.gz && keep > 0 && age > keep {
			switch err := os.Remove(f.path + gzSuffix); {
			case err == nil:
				done.Removed = append(done.Removed, name+gzSuffix)
			case !errors.Is(err, os.ErrNotExist):
				troubles = append(troubles, err)
			}
		}
	}
	return done, errors.Join(troubles...)
}

// compress replaces a plain file by a compressed one. merged is false when
// there is a compressed one of other content already. The plain file is
// locked meanwhile: an appender that waits for it sees afterwards that it has
// gone.
func (d disk) compress(path string) (merged bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false, err
	}
	defer f.Close() // only read
	if err := waitFlock(f, time.Now().Add(logPatience)); err != nil {
		return false, err
	}
	if _, err := os.Lstat(path + gzSuffix); err == nil {
		if same, _ := sameContent(path); !same {
			return false, nil
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return false, err
	} else if err := d.writeGzip(path+gzSuffix, f); err != nil {
		return false, err
	}
	return true, os.Remove(path)
}

// writeGzip writes the compressed file, durable before it returns.
func (d disk) writeGzip(path string, from io.Reader) error {
	return d.replaceWith(path, "."+filepath.Base(path)+".*"+tempSuffix, true, func(f *os.File) error {
		out := bufio.NewWriter(writerFunc(func(b []byte) (int, error) { return d.write(f, b) }))
		z := gzip.NewWriter(out)
		if _, err := io.Copy(z, from); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		return out.Flush()
	})
}

// writerFunc is a function as an io.Writer.
type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(b []byte) (int, error) { return w(b) }
