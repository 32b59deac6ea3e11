package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"sync"
	"time"

	lib "modernc.org/sqlite/lib"

	"github.com/dreyhq/drey/internal/store"
)

// The bounds of telemetry. A row waits flushEvery at most, so that a crash
// loses less than the last second; what does not fit into the queue while the
// disk is slow or full is dropped and counted.
const (
	flushEvery   = 500 * time.Millisecond
	flushRows    = 512 // written at once without waiting
	queueRows    = 8192
	queueBytes   = 32 << 20
	retryAtMost  = 30 * time.Second
	countersMost = 1 << 16 // names; a counter per day and provider fills it in decades
)

// telemetry is the writer of telemetry.db. Callers queue and go on; its one
// goroutine, which owns c and the statements, writes what is there in one
// transaction. With nothing queued it has no timer.
type telemetry struct {
	path  string
	epoch uint64
	lock  Held
	log   *slog.Logger

	c                            *conn
	begin, commit, rollback      *stmt
	head, putRequest, addCounter *stmt
	readers                      *pool
	wake                         chan struct{} // holds one: there may be something to do
	ended                        chan struct{} // closed when the goroutine has ended
	endErr                       error         // of the last write; read after ended

	mu      sync.Mutex
	queued  backlog
	waiters []chan error  // of Flush; their turn comes with the next write
	jobs    []func(error) // of upkeep
	dropped uint64
	closed  bool
}

// backlog is what waits to be written.
type backlog struct {
	rows     []store.RequestRow
	bytes    int
	counters map[string]float64
}

func (b *backlog) empty() bool { return len(b.rows) == 0 && len(b.counters) == 0 }

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
	t := &telemetry{
		path: path, epoch: epoch, lock: o.Lock, log: o.Log, c: c,
		wake:  make(chan struct{}, 1),
		ended: make(chan struct{}),
	}
	if err := t.prepare(); err != nil {
		return nil, explain("open store", path, errors.Join(err, c.close()))
	}
	if t.readers, err = openReaders(path); err != nil {
		return nil, errors.Join(err, c.close())
	}
	go t.serve()
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

func (t *telemetry) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// put queues a row, or drops and counts it.
func (t *telemetry) put(r store.RequestRow) {
	size := len(r.Row) + len(r.ID) + 128
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.queued.rows) >= queueRows || t.queued.bytes+size > queueBytes {
		t.dropped++
		return
	}
	t.queued.rows = append(t.queued.rows, r)
	t.queued.bytes += size
	t.signal()
}

// add queues sums.
func (t *telemetry) add(delta map[string]float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.merge(delta)
	t.signal()
}

// merge adds sums to the backlog; mu is held.
func (t *telemetry) merge(delta map[string]float64) {
	if t.queued.counters == nil && len(delta) > 0 {
		t.queued.counters = make(map[string]float64, len(delta))
	}
	for name, d := range delta {
		if _, known := t.queued.counters[name]; !known && len(t.queued.counters) >= countersMost {
			continue
		}
		if sum := t.queued.counters[name] + d; !math.IsNaN(sum) && !math.IsInf(sum, 0) {
			t.queued.counters[name] = sum
		}
	}
}

// serve writes: half a second after the first row of a batch, at once when the
// batch is large or somebody waits for it, and for the last time at the end.
func (t *telemetry) serve() {
	defer close(t.ended)
	timer := time.NewTimer(0)
	if !timer.Stop() {
		<-timer.C
	}
	armed, wait := false, flushEvery
	for {
		due := false
		select {
		case <-t.wake:
		case <-timer.C:
			armed, due = false, true
		}
		t.mu.Lock()
		last := t.closed
		t.mu.Unlock()
		t.runJobs(last)
		t.mu.Lock()
		idle := t.queued.empty() && len(t.waiters) == 0
		// After a failure a full queue alone is no reason to try again.
		due = due || last || len(t.waiters) > 0 || wait == flushEvery && len(t.queued.rows) >= flushRows
		t.mu.Unlock()
		if due && (!idle || last) {
			err := t.writeQueued()
			if last {
				t.endErr = err
				return
			}
			if err != nil {
				wait = min(2*wait, retryAtMost)
			} else {
				wait = flushEvery
			}
		}
		t.mu.Lock()
		idle = t.queued.empty()
		t.mu.Unlock()
		if !idle && !armed {
			timer.Reset(wait)
			armed = true
		}
	}
}

// writeQueued writes all that is queued and answers those who wait for it. What
// cannot be written for a reason that may pass is queued again, at the front.
func (t *telemetry) writeQueued() error {
	t.mu.Lock()
	b, waiters := t.queued, t.waiters
	t.queued, t.waiters = backlog{}, nil
	t.mu.Unlock()

	var err error
	if !b.empty() {
		if err = explain("write telemetry", t.path, t.write(b)); err != nil {
			t.mu.Lock()
			if environment(err) && !t.closed {
				later := t.queued
				t.queued = b
				t.queued.rows = append(t.queued.rows, later.rows...)
				t.queued.bytes += later.bytes
				t.merge(later.counters)
			} else {
				t.dropped += uint64(len(b.rows))
			}
			dropped := t.dropped
			t.mu.Unlock()
			t.log.Warn("telemetry-not-written", "rows", len(b.rows), "dropped", dropped, "error", err.Error())
		}
	}
	for _, w := range waiters {
		w <- err
	}
	return err
}

// write commits b in one transaction.
func (t *telemetry) write(b backlog) error {
	return t.within(func() (bool, error) { return true, t.fill(b) })
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

func (t *telemetry) fill(b backlog) error {
	for _, r := range b.rows {
		_, _, err := t.putRequest.run(string(r.ID), r.At.UnixMicro(), r.Profile, r.Provider, r.Outcome, int64(r.Status), null(string(r.Row)))
		if err != nil {
			return err
		}
	}
	for name, d := range b.counters {
		if _, _, err := t.addCounter.run(name, d); err != nil {
			return err
		}
	}
	return nil
}

// flush writes what was queued before the call.
func (t *telemetry) flush(ctx context.Context) error {
	done := make(chan error, 1)
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return fmt.Errorf("flush: %w", store.ErrClosed)
	}
	t.waiters = append(t.waiters, done)
	t.signal()
	t.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close writes what is queued and closes the file.
func (t *telemetry) close() error {
	t.mu.Lock()
	t.closed = true
	t.signal()
	t.mu.Unlock()
	<-t.ended
	err := t.endErr
	if errors.Is(err, store.ErrEpoch) {
		err = nil // a newer process writes here; there is nothing to mend
	}
	return errors.Join(err, t.readers.Close(), t.c.close())
}

// PutRequest implements store.Telemetry.
func (s *Store) PutRequest(r store.RequestRow) { s.telemetry.put(r) }

// Dropped implements store.Telemetry.
func (s *Store) Dropped() uint64 {
	s.telemetry.mu.Lock()
	defer s.telemetry.mu.Unlock()
	return s.telemetry.dropped
}

// Flush implements store.Telemetry.
func (s *Store) Flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.telemetry.flush(ctx)
}

// AddCounters implements store.Counters.
func (s *Store) AddCounters(delta map[string]float64) { s.telemetry.add(delta) }

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
