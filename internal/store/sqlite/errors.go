package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	driversqlite "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// The codes of the errors of this package; each comes with a hint.
const (
	codeNetwork     = "network_filesystem"
	codeUnavailable = "store_unavailable"
	codeCorrupt     = "store_corrupt"
	codeNewer       = "store_newer"
	codeForeign     = "store_foreign"
	codeFull        = "store_full"
	codeLock        = "lock_not_held"
)

// result returns SQLite's primary result code of err; 0 if it has none.
func result(err error) int {
	if e, ok := errors.AsType[*driversqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

// explain says what went wrong with the file at path in one drey.Error, with a
// hint that says what to do. Errors that callers branch on, and those that are
// explained already, pass.
func explain(op, path string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, ok := errors.AsType[*drey.Error](err); ok {
		return err
	}
	for _, known := range []error{store.ErrNotFound, store.ErrVersion, store.ErrEpoch, store.ErrClosed, store.ErrCursor} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	e := &drey.Error{Class: drey.Resource, Code: codeUnavailable, Op: op, Err: fmt.Errorf("%s: %w", path, err)}
	dir := filepath.Dir(path)
	switch {
	case errors.Is(err, errNewer):
		e.Class, e.Code = drey.Caller, codeNewer
		e.Hint = "Start the newer drey again, or restore a copy from " + filepath.Join(dir, "backups") + " that this version has written."
	case errors.Is(err, errForeign):
		e.Class, e.Code = drey.Caller, codeForeign
		e.Hint = "Move " + path + " away, or choose another DREY_HOME; drey changes no file that is not its own."
	case errors.Is(err, fs.ErrPermission):
		e.Hint = "Make " + dir + " and the files in it belong to the user that runs drey, with permission to write."
	default:
		switch result(err) {
		case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
			e.Code = codeCorrupt
			e.Hint = "Stop drey, move " + path + " and the -wal and -shm files beside it away, and restore the newest copy from " + filepath.Join(dir, "backups") + "."
		case lib.SQLITE_FULL:
			e.Code = codeFull
			e.Hint = "Free space on the file system of " + dir + "; drey goes on by itself when there is some."
		case lib.SQLITE_READONLY, lib.SQLITE_PERM, lib.SQLITE_CANTOPEN, lib.SQLITE_AUTH:
			e.Hint = "Make " + dir + " and the files in it belong to the user that runs drey, with permission to write, on a file system that is mounted for writing."
		case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
			e.Hint = "Another program holds " + path + " open for writing (a shell of sqlite3, a backup); close it."
		case lib.SQLITE_NOMEM:
			e.Hint = "The system is out of memory; close something."
		default:
			e.Hint = "Check the disk under " + dir + " (free space, kernel log); if it is sound, this is a bug of drey."
		}
	}
	return e
}

// environment reports whether err lies in the machine and not in what was to
// be written, so that the same may succeed later.
func environment(err error) bool {
	switch result(err) {
	case lib.SQLITE_FULL, lib.SQLITE_IOERR, lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_READONLY,
		lib.SQLITE_CANTOPEN, lib.SQLITE_NOMEM, lib.SQLITE_PERM, lib.SQLITE_PROTOCOL:
		return true
	default:
		return false
	}
}
