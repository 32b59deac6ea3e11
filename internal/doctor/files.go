package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
)

// private are the files of the home that nobody else may read.
var private = []string{"lifecycle_state.json", ".lifecycle.lock", "drey.db", "telemetry.db", "audit.jsonl", "requests.jsonl", "drey.sock"}

// lookAtHome sees that the home is the user's alone.
func lookAtHome(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	root := v.Home.Root()
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		return warn(root+" is not there yet", "the first `drey serve` or `drey up` makes it")
	}
	var open []string
	look := func(path string, allowed fs.FileMode) {
		if info, err := os.Lstat(path); err == nil && info.Mode().Perm()&^allowed != 0 {
			open = append(open, path)
		}
	}
	look(root, 0o700)
	for _, dir := range []string{v.Home.Logs(), v.Home.Wrappers(), v.Home.Backups()} {
		look(dir, 0o700)
	}
	for _, name := range private {
		look(filepath.Join(root, name), 0o600)
	}
	if len(open) == 0 {
		return pass(root + " can be read by its owner alone")
	}
	f, _ := fail("others of this machine can read "+strings.Join(open, ", "), "`drey doctor --fix`, or chmod go-rwx them")
	return f, func(context.Context) error {
		var errs []error
		for _, path := range open {
			info, err := os.Lstat(path)
			if err == nil {
				err = os.Chmod(path, info.Mode().Perm()&0o700)
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
}

// lookAtFilesystem sees that locks hold.
func lookAtFilesystem(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	dir := v.Home.Root()
	for parent := filepath.Dir(dir); parent != dir; dir, parent = parent, filepath.Dir(parent) {
		if _, err := os.Stat(dir); err == nil {
			break // or where the home will be
		}
	}
	if err := v.Filesystem(dir); err != nil {
		return warn(err.Error(), drey.HintOf(err))
	}
	return pass(dir + " is on a local file system")
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
	case isCorrupt(v.corrupt):
		f, _ := fail(v.corrupt.Error(), "`drey doctor --fix` keeps the file aside and starts a new record; so does the next start of the daemon")
		if v.locked { // its owner has a good one in memory, and writes it at the next change
			return f, nil
		}
		return f, func(context.Context) error { return renew(v.Home, v.now) }
	case v.corrupt != nil:
		return fail("cannot read "+path+": "+v.corrupt.Error(), "check who owns the file and its directory")
	}
	info, err := os.Lstat(path)
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
		if _, err := os.Stat(path + ".gz"); err == nil {
			twice = append(twice, filepath.Base(path))
		}
	}
	if len(twice) > 0 {
		return warn("both plain and compressed, with different lines: "+strings.Join(twice, ", "), "look at both, append what is missing, and remove one")
	}
	return pass(fmt.Sprintf("%d days of the lifecycle's log are plain, none is there twice", len(plain)))
}
