package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	driversqlite "modernc.org/sqlite"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// A copy is written in chunks of 1 MiB, and handed to the disk every 16 of
// them, so that no sync takes long.
const (
	copyPages     = 256
	copySyncAfter = 16
)

// Backup implements store.Upkeeper. The pages are copied under one read
// transaction, which nobody waits for: what is committed meanwhile stays in the
// log and is not in the copy.
func (s *Store) Backup(ctx context.Context, path string, pace store.Pace) (out store.Copied, err error) {
	const op = "back up the journal"
	switch _, err := os.Lstat(path); {
	case err == nil:
		return out, explain(op, path, fmt.Errorf("copy: %w", fs.ErrExist))
	case !errors.Is(err, fs.ErrNotExist):
		return out, explain(op, path, err)
	}
	if s.closed.Load() {
		return out, fmt.Errorf("%s: %w", op, store.ErrClosed)
	}
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
	whole := false
	defer func() { // also when pace panics
		if !whole {
			_ = removeCopy(temp) // the first error is the one to tell
		}
	}()
	if err := removeCopy(temp); err != nil {
		return out, explain(op, temp, err)
	}
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return out, explain(op, temp, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	k := &copier{store: s, temp: temp, f: f, pace: pace}
	for _, part := range []func(context.Context) error{k.copy, k.check} {
		if err := part(ctx); err != nil {
			return out, k.explain(ctx, op, err)
		}
	}
	st, err := f.Stat()
	if err == nil {
		err = k.publish(path)
	}
	if err != nil {
		return out, explain(op, path, err)
	}
	whole = true
	return store.Copied{Bytes: st.Size(), Seq: drey.Seq(k.seq)}, nil
}

// removeCopy removes a copy that was not finished, and what SQLite may have put
// beside it.
func removeCopy(temp string) error {
	for _, p := range []string{temp, temp + "-journal", temp + "-wal", temp + "-shm"} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// copier makes one copy.
type copier struct {
	store *Store
	temp  string
	f     *os.File // temp, for its syncs
	pace  store.Pace

	seq, floor, events, snapshots int64 // of the source when the copy began
	own                           error // the pace's, or that of ctx
}

// explain returns the error of whoever interrupted the copy as it is. What
// cannot be read of the copy is what was read of the original.
func (k *copier) explain(ctx context.Context, op string, err error) error {
	switch {
	case k.own != nil:
		return k.own
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return explain(op, k.temp, asDamage(op, k.store.path, err))
	}
}

func (k *copier) next(ctx context.Context) error {
	k.own = k.pace.Next(ctx)
	return k.own
}

// copy writes the pages.
func (k *copier) copy(ctx context.Context) (err error) {
	if err := k.next(ctx); err != nil {
		return err
	}
	src, err := openWith(k.store.path, "ro", readerPragmas()...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.close()) }()
	if err := src.exec(`BEGIN`); err != nil { // ended by close
		return err
	}
	if err := k.sums(ctx, src, &k.seq, &k.floor, &k.events, &k.snapshots); err != nil {
		return err
	}
	// The copy needs no log of its own: one that is not finished is removed,
	// and a finished one is synced here.
	name, err := dsn(k.temp, "rw", "journal_mode(off)", "synchronous(off)", "cache_size(-4096)")
	if err != nil {
		return err
	}
	from, ok := src.c.(interface {
		NewBackup(uri string) (*driversqlite.Backup, error)
	})
	if !ok {
		return errors.New("the driver has no backup")
	}
	b, err := from.NewBackup(name)
	if err != nil {
		return err
	}
	defer func() {
		if ferr := b.Finish(); err == nil {
			err = ferr
		}
	}()
	for n, more := 1, true; more && err == nil; n++ {
		if more, err = b.Step(copyPages); err == nil && more {
			if n%copySyncAfter == 0 {
				err = k.f.Sync()
			}
			if err == nil {
				err = k.next(ctx)
			}
		}
	}
	return err
}

// sums reads what source and copy have in common.
func (k *copier) sums(ctx context.Context, c *conn, dst ...*int64) error {
	return c.each(ctx, `SELECT seq, floor, (SELECT count(*) FROM journal), (SELECT count(*) FROM snapshots) FROM head`, func(v []driver.Value) error {
		for i, d := range dst {
			*d, _ = v[i].(int64)
		}
		return nil
	})
}

// check reads the copy as a file that nobody else has ever opened.
func (k *copier) check(ctx context.Context) (err error) {
	const op = "check the copy"
	if err := k.next(ctx); err != nil {
		return err
	}
	if err := k.f.Sync(); err != nil {
		return err
	}
	c, err := openWith(k.temp, "immutable", readerPragmas()...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	var found []string
	err = c.each(ctx, `PRAGMA quick_check(10)`, func(v []driver.Value) error {
		found = append(found, fmt.Sprint(v[0]))
		return nil
	})
	if err != nil {
		return err
	}
	if len(found) != 1 || found[0] != "ok" {
		return damaged(op, k.store.path, "%s", strings.Join(found, "; "))
	}
	if err := k.next(ctx); err != nil {
		return err
	}
	var seq, floor, events, snapshots int64
	if err := k.sums(ctx, c, &seq, &floor, &events, &snapshots); err != nil {
		return err
	}
	if seq != k.seq || floor != k.floor || events != k.events || snapshots != k.snapshots {
		return damaged(op, k.store.path, "the copy has row %d, floor %d, %d rows and %d snapshots; the original %d, %d, %d and %d",
			seq, floor, events, snapshots, k.seq, k.floor, k.events, k.snapshots)
	}
	return nil
}

// publish gives the copy its name, for good.
func (k *copier) publish(path string) error {
	if err := os.Rename(k.temp, path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
