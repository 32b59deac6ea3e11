package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	lib "modernc.org/sqlite/lib"

	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/backlog"
)

// telemetry is the writer of telemetry.db. The queue's goroutine owns c and the
// statements.
type telemetry struct {
	*backlog.Queue
	path  string
	epoch uint64
	lock  Held

	c                            *conn
	begin, commit, rollback      *stmt
	head, putRequest, addCounter *stmt
	readers                      *pool
	captured                     captured
}

// openTelemetry opens the file at path and gives it the epoch. A damaged file
// is set aside under a name that upkeep removes in time.
func openTelemetry(ctx context.Context, path string, epoch uint64, o Options) (*telemetry, error) {
	c, err := openFile(ctx, path, "telemetry", telemetryID)
	if code := result(err); code == lib.SQLITE_CORRUPT || code == lib.SQLITE_NOTADB {
		aside := path + ".corrupt-" + o.Now().UTC().Format("20060102T150405.000000")
		o.Log.WarnContext(ctx, "telemetry-set-aside", "path", path, "aside", aside, "error", err.Error())
		if err := os.Rename(path, aside); err != nil {
			return nil, err
		}
		// The log of the damaged file is nothing to the new one.
		for _, p := range []string{path + "-wal", path + "-shm"} {
			if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
		}
		c, err = openFile(ctx, path, "telemetry", telemetryID)
	}
	if err != nil {
		return nil, explain("open store", path, err)
	}
	t := &telemetry{path: path, epoch: epoch, lock: o.Lock, c: c}
	if err := t.prepare(); err != nil {
		return nil, explain("open store", path, errors.Join(err, c.close()))
	}
	if t.readers, err = openReaders(path); err != nil {
		return nil, errors.Join(err, c.close())
	}
	t.Queue = backlog.Start(backlog.Config{Write: t.write, Log: o.Log})
	return t, nil
}

func (t *telemetry) prepare() error {
	for _, p := range []struct {
		s   **stmt
		sql string
	}{
		{&t.begin, `BEGIN IMMEDIATE`},
		{&t.commit, `COMMIT`},
		{&t.rollback, `ROLLBACK`},
		{&t.head, `UPDATE head SET epoch = ?1 WHERE epoch = ?1`},
		{&t.putRequest, `
			INSERT INTO requests (id, at, profile, provider, outcome, status, row) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET at = excluded.at, profile = excluded.profile, provider = excluded.provider,
				outcome = excluded.outcome, status = excluded.status, row = excluded.row`},
		{&t.addCounter, `INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value`},
	} {
		var err error
		if *p.s, err = t.c.prepare(p.sql); err != nil {
			return err
		}
	}
	return t.c.exec(fmt.Sprintf(`UPDATE head SET epoch = %d`, t.epoch))
}

// write commits b in one transaction.
func (t *telemetry) write(b *backlog.Batch) (later bool, err error) {
	err = explain("write telemetry", t.path, t.captured.counting(t.within(func() (bool, error) { return true, t.fill(b) })))
	return environment(err), err
}

// within runs f in one transaction, which is committed if f says that it wrote.
func (t *telemetry) within(f func() (writes bool, err error)) error {
	if err := held(t.lock); err != nil {
		return err
	}
	if _, _, err := t.begin.run(); err != nil {
		return err
	}
	changed, _, err := t.head.run(int64(t.epoch))
	if err == nil && changed == 0 {
		err = fmt.Errorf("epoch %d is over: %w", t.epoch, store.ErrEpoch)
	}
	writes := false
	if err == nil {
		writes, err = f()
	}
	if err == nil && writes {
		_, _, err = t.commit.run()
	}
	if err != nil || !writes {
		_, _, _ = t.rollback.run() // fails where SQLite has rolled back by itself
	}
	return err
}

func (t *telemetry) fill(b *backlog.Batch) error {
	for _, r := range b.Rows {
		_, _, err := t.putRequest.run(string(r.ID), r.At.UnixMicro(), r.Profile, r.Provider, r.Outcome, int64(r.Status), null(string(r.Row)))
		if err != nil {
			return err
		}
	}
	for name, d := range b.Counters {
		if _, _, err := t.addCounter.run(name, d); err != nil {
			return err
		}
	}
	return t.captured.write(t.c, b.Captured)
}

// close writes what is queued and closes the file.
func (t *telemetry) close() error {
	err := t.Close()
	if errors.Is(err, store.ErrEpoch) {
		err = nil // a newer process writes here; there is nothing to mend
	}
	return errors.Join(err, t.readers.Close(), t.c.close())
}

// PutRequest implements store.Telemetry.
func (s *Store) PutRequest(r store.RequestRow) { s.telemetry.Put(r) }

// Dropped implements store.Telemetry.
func (s *Store) Dropped() uint64 { return s.telemetry.Dropped() }

// Flush implements store.Telemetry.
func (s *Store) Flush(ctx context.Context) error { return s.telemetry.Flush(ctx) }

// AddCounters implements store.Counters.
func (s *Store) AddCounters(delta map[string]float64) { s.telemetry.Add(delta) }

// LoadCounters implements store.Counters. It writes what is queued first, so
// that there is one place that sums.
func (s *Store) LoadCounters(ctx context.Context) (map[string]float64, error) {
	if err := s.Flush(ctx); err != nil {
		return nil, err
	}
	out := map[string]float64{}
	err := s.read(ctx, "load counters", s.telemetry.readers, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT name, value FROM counters`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			var value float64
			if err := rows.Scan(&name, &value); err != nil {
				return err
			}
			out[name] = value
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
