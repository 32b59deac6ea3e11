// Package sqlite keeps the house in SQLite, without cgo. It is the store of one
// machine: who opens it holds the lock of the home.
//
// # Two files
//
// drey.db holds the journal and the snapshots. telemetry.db beside it holds
// the rows of requests and the counters, and has a writer of its own. SQLite
// locks a file for one writer at a time, through the sync at the end of its
// transaction; in one file a row of telemetry would therefore wait for the
// journal's sync, and a transition for the row. With two neither waits for the
// other, the rows that are many, large and soon deleted do not fragment the
// file that matters, and a damaged telemetry.db keeps nobody from starting: it
// is set aside. Whoever copies drey.db alone has everything that a machine
// needs to go on; what is missing then are old requests and sums.
//
// Both are in WAL mode with synchronous=FULL. For the journal that is the
// promise of Append. Telemetry commits twice a second at most, so there it
// costs nothing, and holds the loss to the last half second even without power.
//
// # One writer
//
// One goroutine, the committer, writes drey.db. It takes all appends that wait
// into one transaction, so that sixty-four writers share one sync. Every
// transaction begins with a look at the epoch, under the write lock, and ends
// with the counter of seq in the same commit. Readers have connections of
// their own, which can only read and hold nobody up.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// Held is the proof that this process holds the lock of the home.
type Held interface {
	// Held reports whether the lock is held now. It is cheap, as it is asked
	// before each transaction, and safe for concurrent use.
	Held() bool
}

// Options says where the store is and what it needs of its surroundings.
type Options struct {
	// Path is the journal's database, drey.db; telemetry.db lies beside it.
	// The directory must exist. Missing files are made, 0600.
	Path string

	// Lock is the lock of the home. It must be held from before Open until
	// after Close; without it nothing is opened and nothing is written.
	Lock Held

	// Now gives the time for the name of a file that is set aside; nil is
	// time.Now. Events and rows bring their own times.
	Now func() time.Time

	// Log takes what nobody is waiting to hear: telemetry that could not be
	// written, a file set aside. nil is silence.
	Log *slog.Logger

	// Fatal is called once, from the committer's goroutine, when the result
	// of a commit could not be found out within 30 s (store.ErrUnsettled).
	// The process must then stop. It must not block; nil is nothing.
	Fatal func(error)

	test seams
}

// seams are where tests reach in; the zero value is the real thing.
type seams struct {
	filesystem func(dir string) (string, error)
	begin      func(*writer)       // before each transaction, in the committer's goroutine
	commit     func(*writer) error // instead of COMMIT
	settleFor  time.Duration       // instead of 30 s
}

// Store is the open store. It implements store.Store; all methods are safe for
// concurrent use.
type Store struct {
	path      string
	epoch     uint64
	journal   *committer
	telemetry *telemetry
	readers   *pool // of drey.db

	closed   atomic.Bool
	once     sync.Once
	closeErr error
}

var _ store.Store = (*Store)(nil)

// Open opens the store, makes or migrates its files where needed, and raises
// the epoch by one: from then on the writes of a process that had it open
// before are refused. Every error is a *drey.Error with a hint, except that of
// ctx; store.ErrNetworkFilesystem is among them.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.test.filesystem == nil {
		o.test.filesystem = filesystem
	}
	s, err := open(ctx, o)
	if err != nil {
		return nil, explain("open store", o.Path, err)
	}
	return s, nil
}

func open(ctx context.Context, o Options) (_ *Store, err error) {
	if err := held(o.Lock); err != nil {
		return nil, err
	}
	dir := filepath.Dir(o.Path)
	if err := checkFilesystem(dir, o.test.filesystem); err != nil {
		return nil, err
	}
	s := &Store{path: o.Path}
	defer func() {
		if err != nil {
			_ = s.Close() // the first error is the one to tell
		}
	}()
	c, err := openFile(ctx, o.Path, "journal", journalID)
	if err != nil {
		return nil, err
	}
	w, err := newWriter(c, o)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	s.epoch = w.epoch
	s.journal = newCommitter(w, o)
	if s.readers, err = openReaders(o.Path); err != nil {
		return nil, err
	}
	if s.telemetry, err = openTelemetry(ctx, filepath.Join(dir, "telemetry.db"), w.epoch, o); err != nil {
		return nil, err
	}
	return s, nil
}

// held refuses to go on without the home's lock.
func held(lock Held) error {
	if lock != nil && lock.Held() {
		return nil
	}
	return &drey.Error{
		Class: drey.Internal,
		Code:  codeLock,
		Op:    "write store",
		Hint:  "Another drey may be using this home; stop it, or report this as a bug if there is none.",
		Err:   errors.New("the lock of the home is not held"),
	}
}

// openFile opens a database for writing, made and migrated where needed.
func openFile(ctx context.Context, path, schema string, application int64) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := createPrivate(path); err != nil {
		return nil, err
	}
	c, err := openConn(path)
	if err != nil {
		return nil, err
	}
	if err := checkWriter(c); err != nil {
		return nil, errors.Join(err, c.close())
	}
	if err := migrate(ctx, c, schema, application); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// checkWriter asks what SQLite made of the pragmas that durability rests on: it
// passes over one that it cannot grant without a word.
func checkWriter(c *conn) error {
	mode, err := c.value("PRAGMA journal_mode")
	if err != nil {
		return err
	}
	level, err := c.int("PRAGMA synchronous")
	if err != nil {
		return err
	}
	const full = 2
	if mode != "wal" || level != full {
		return fmt.Errorf("journal_mode is %v and synchronous is %d, not wal and %d", mode, level, full)
	}
	return nil
}

// createPrivate makes the file 0600 if it is missing, and takes the rights of
// others from it if it is not. An existing file is not opened: the close at the
// end would drop the locks that SQLite holds on it in this process. SQLite
// gives the log and the shared memory the rights of the database.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, p := range []string{path, path + "-wal", path + "-shm"} {
		st, err := os.Stat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist) && p != path:
			continue
		case err != nil:
			return err
		case !st.Mode().IsRegular():
			return fmt.Errorf("%s is not a file", p)
		}
		if st.Mode().Perm()&0o077 != 0 {
			if err := os.Chmod(p, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// pool is the connections that read a file.
type pool struct {
	*sql.DB
	path string
}

// openReaders opens the pool of a file. Connections are made when they are
// needed, and few are kept.
func openReaders(path string) (*pool, error) {
	name, err := dsn(path, "ro", readerPragmas()...)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(idleReaders)
	return &pool{db, path}, nil
}

// Epoch returns the number of this opening.
func (s *Store) Epoch() uint64 { return s.epoch }

// Close commits what was submitted, writes what is queued, and closes both
// files. A second call waits for the first and returns what it returned.
func (s *Store) Close() error {
	s.once.Do(func() {
		s.closed.Store(true)
		var errs []error
		if s.journal != nil {
			s.journal.drain()
		}
		if s.telemetry != nil {
			errs = append(errs, s.telemetry.close())
		}
		if s.readers != nil {
			errs = append(errs, s.readers.Close())
		}
		if s.journal != nil { // last, so that its close can move the whole log into the database
			errs = append(errs, s.journal.w.c.close())
		}
		s.closeErr = explain("close store", s.path, errors.Join(errs...))
	})
	return s.closeErr
}

// read runs f in one read transaction, so that all it sees is of one moment.
func (s *Store) read(ctx context.Context, op string, p *pool, f func(*sql.Tx) error) error {
	if s.closed.Load() {
		return fmt.Errorf("%s: %w", op, store.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	tx, err := p.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err == nil {
		err = f(tx)
		_ = tx.Rollback() // nothing to keep
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case s.closed.Load():
		return fmt.Errorf("%s: %w", op, store.ErrClosed)
	default:
		return explain(op, p.path, err)
	}
}
