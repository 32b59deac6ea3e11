package doctor

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
)

// private are the files of the home that nobody else may read.
var private = []string{
	"lifecycle_state.json", ".lifecycle.lock", "audit.jsonl", "requests.jsonl", "drey.sock",
	"drey.db", "drey.db-wal", "drey.db-shm", "telemetry.db", "telemetry.db-wal", "telemetry.db-shm",
}

// lookAtHome sees that the home is the user's, and the user's alone. A home may
// be a link to somewhere else, so what counts is where it leads.
func lookAtHome(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	root := v.Home.Root()
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		return warn(root+" is not there yet", "the first `drey serve` or `drey up` makes it")
	}
	var open, foreign []string
	look := func(path string, allowed fs.FileMode) {
		info, err := os.Stat(path)
		if err != nil {
			return // not there yet; what cannot be used is told by who needs it
		}
		if info.Mode().Perm()&^allowed != 0 {
			open = append(open, path)
		}
		if sys, ok := info.Sys().(*syscall.Stat_t); ok && int(sys.Uid) != os.Geteuid() {
			foreign = append(foreign, path)
		}
	}
	look(root, 0o700)
	for _, dir := range []string{v.Home.Logs(), v.Home.Wrappers(), v.Home.Backups()} {
		look(dir, 0o700)
	}
	for _, name := range private {
		look(filepath.Join(root, name), 0o600)
	}
	if len(foreign) > 0 { // a drey that once ran as another user, such as by sudo
		return fail("these belong to another user: "+strings.Join(foreign, ", "), "chown -R them to you; drey must not be run as another user on the same home")
	}
	if len(open) == 0 {
		return pass(root + " can be read by you alone")
	}
	f, _ := fail("others of this machine can read "+strings.Join(open, ", "), "`drey doctor --fix`, or chmod go-rwx them")
	return f, func(context.Context) error {
		var errs []error
		for _, path := range open {
			info, err := os.Stat(path)
			if err == nil {
				err = os.Chmod(path, info.Mode().Perm()&0o700)
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
}

// place is the directory of the home, or where it will be.
func (v *visit) place() string {
	dir := v.Home.Root()
	for parent := filepath.Dir(dir); parent != dir; dir, parent = parent, filepath.Dir(parent) {
		if _, err := os.Stat(dir); err == nil {
			break
		}
	}
	return dir
}

// lookAtFilesystem sees that locks hold.
func lookAtFilesystem(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	dir := v.place()
	if err := v.Filesystem(dir); err != nil {
		return warn(err.Error(), drey.HintOf(err))
	}
	return pass(dir + " is on a local file system")
}

// How little room on the disk is worth a word, and how little stops the daemon
// from writing what it has to: a checkpoint, a copy of the store.
const (
	littleRoom = 256 << 20
	noRoom     = 32 << 20
)

// lookAtDisk sees that there is room to write.
func lookAtDisk(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	dir := v.place()
	left, err := v.Free(dir)
	room := fmt.Sprintf("%d MiB are free below %s", left>>20, dir)
	switch {
	case err != nil:
		return warn("it cannot be told how much room is left: "+err.Error(), "")
	case left < noRoom:
		return fail("only "+room, "free some; what cannot be written is not done")
	case left < littleRoom:
		return warn("only "+room, "free some before the copies of the store need it")
	}
	return pass(room)
}

func free(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// lookAtConfiguration sees that a start would find nothing wrong with it.
func lookAtConfiguration(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	source, err := v.Configuration()
	if err != nil {
		return fail("the configuration is bad: "+err.Error(), "`drey config check` lists every fault with its place")
	}
	return pass(source + " is sound")
}

// lookAtRecord sees that the record of the lifecycle can be read, and by its
// owner alone.
func lookAtRecord(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	path := v.Home.Lifecycle()
	switch {
	case isCorrupt(v.corrupt) && v.locked:
		return fail(v.corrupt.Error(), "`drey lifecycle wake`: the daemon has a good one in memory, and writes it at the next change")
	case isCorrupt(v.corrupt):
		f, _ := fail(v.corrupt.Error(), "`drey doctor --fix` keeps the file aside and starts a new record; so does the next start of the daemon")
		return f, func(context.Context) error { return renew(v.Home, v.now) }
	case v.corrupt != nil:
		return fail("cannot read "+path+": "+v.corrupt.Error(), "check who owns the file and its directory")
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return pass("no record yet: the daemon begins in WAKE")
	}
	if err != nil {
		return fail(err.Error(), "check who owns the file and its directory")
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		f, _ := fail(fmt.Sprintf("%s has mode %04o", path, mode), "`drey doctor --fix`, or chmod 600 it")
		return f, func(context.Context) error { return os.Chmod(path, 0o600) }
	}
	return pass(fmt.Sprintf("%s since %s", v.record.State, drey.FormatTime(v.record.Since)))
}

// renew does what a starting daemon does about a corrupt record, under the lock.
func renew(home statedir.Home, now time.Time) error {
	lock, err := statedir.TryLock(home.Lock())
	if err != nil {
		return err
	}
	defer lock.Release()
	l, err := statedir.OpenLifecycle(statedir.LifecycleConfig{Home: home, Lock: lock, Now: func() time.Time { return now }})
	if err != nil {
		return err
	}
	_, err = l.Update(func(r lifecycle.Record) (lifecycle.Record, []lifecycle.Line) { return r, nil })
	return err
}

// lookAtEventLog sees that the lifecycle's log can be written. It writes
// nothing into it.
func lookAtEventLog(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	path := v.Home.LifecycleLog(v.now)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if errors.Is(err, fs.ErrNotExist) {
		// The day's file is not there yet: can it be made?
		var probe *os.File
		if probe, err = os.CreateTemp(v.Home.Logs(), ".doctor-*.tmp"); err == nil {
			_ = probe.Close() // it was empty
			err = os.Remove(probe.Name())
		}
		if errors.Is(err, fs.ErrNotExist) {
			return pass("no log yet: the daemon makes its directory")
		}
	} else if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fail("the lifecycle's log cannot be written: "+err.Error(), "free the disk, or give "+v.Home.Logs()+" back to its owner; until then its lines wait in the record")
	}
	return pass(path + " can be written")
}

// lookAtArchives finds days of the log that are there twice, with different
// content: both were kept, and a person has to say which is true.
func lookAtArchives(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	plain, err := filepath.Glob(filepath.Join(v.Home.Logs(), "lifecycle-events-*.jsonl"))
	if err != nil {
		return warn(err.Error(), "")
	}
	var twice []string
	for _, path := range plain {
		if differ(path, path+".gz") {
			twice = append(twice, filepath.Base(path))
		}
	}
	if len(twice) > 0 {
		return warn("both plain and compressed, with different lines: "+strings.Join(twice, ", "), "look at both, append what is missing, and remove one")
	}
	return pass(fmt.Sprintf("%d days of the lifecycle's log are plain, none is there twice", len(plain)))
}

// differ reports whether a compressed file is there that does not hold what the
// plain one does. Where both are equal, the next sleep cycle removes the plain
// one.
func differ(plain, compressed string) bool {
	packed, err := os.Open(compressed)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer packed.Close()
	z, err := gzip.NewReader(packed)
	if err != nil {
		return true
	}
	kept, err := io.ReadAll(z)
	if err != nil {
		return true
	}
	lines, err := os.ReadFile(plain)
	return err != nil || !bytes.Equal(lines, kept)
}
