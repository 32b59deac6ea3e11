package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey/internal/store"
)

// The bounds of telemetry. A row waits flushEvery at most, so that a crash
// loses less than the last second; what does not fit into the queue while the
// server is slow or away is dropped and counted.
const (
	flushEvery   = 500 * time.Millisecond
	flushRows    = 512 // written at once without waiting
	queueRows    = 8192
	queueBytes   = 32 << 20
	retryAtMost  = 30 * time.Second
	countersMost = 1 << 16 // names; a counter per day and provider fills it in decades
)

// telemetry is the writer of request rows and counters. Callers queue and go
// on; its one goroutine, which owns c, writes what is there in one transaction.
// With nothing queued it has no timer, and before the first row no connection.
type telemetry struct {
	at    *address
	lease *lease
	log   *slog.Logger

	c      *pgx.Conn     // nil: to be opened
	wake   chan struct{} // holds one: there may be something to do
	ended  chan struct{} // closed when the goroutine has ended
	endErr error         // of the last write; read after ended

	mu      sync.Mutex
	queued  backlog
	waiters []chan error // of Flush; their turn comes with the next write
	jobs    []telemetryJob
	dropped uint64
	closed  bool
}

type telemetryJob struct {
	*job
	answer chan<- error // holds one
}

// backlog is what waits to be written.
type backlog struct {
	rows     []store.RequestRow
	bytes    int
	counters map[string]float64
}

func (b *backlog) empty() bool { return len(b.rows) == 0 && len(b.counters) == 0 }

func newTelemetry(at *address, l *lease, log *slog.Logger) *telemetry {
	t := &telemetry{at: at, lease: l, log: log, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go t.serve()
	return t
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
	t.mergeLocked(delta)
	t.signal()
}

// mergeLocked adds sums to the backlog.
func (t *telemetry) mergeLocked(delta map[string]float64) {
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

// submit queues a job. Its answer comes when it has run, or was not wanted any
// more.
func (t *telemetry) submit(j *job, answer chan<- error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return store.ErrClosed
	}
	t.jobs = append(t.jobs, telemetryJob{j, answer})
	t.signal()
	return nil
}

// serve writes: half a second after the first row of a batch, at once when the
// batch is large or somebody waits for it, and for the last time at the end.
func (t *telemetry) serve() {
	defer close(t.ended)
	defer func() { closeConn(t.c) }()
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

// runJobs runs the jobs that wait; the last call refuses them.
func (t *telemetry) runJobs(last bool) {
	t.mu.Lock()
	jobs := t.jobs
	t.jobs = nil
	t.mu.Unlock()
	for _, j := range jobs {
		switch {
		case last:
			j.answer <- store.ErrClosed
		case !j.take():
			j.answer <- nil // nobody listens
		default:
			j.answer <- t.again(func() error { return t.within(j.task) })
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
		if err = t.at.explain("write telemetry", t.again(func() error { return t.write(b) })); err != nil {
			if errors.Is(err, errUncertain) {
				b.counters = nil // rows may be written twice, sums may not
			}
			t.mu.Lock()
			if unavailable(err) && !t.closed {
				later := t.queued
				t.queued = b
				t.queued.rows = append(t.queued.rows, later.rows...)
				t.queued.bytes += later.bytes
				t.mergeLocked(later.counters)
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

// again runs a transaction once more if others were in its way, or if the
// connection that it was to use had died.
func (t *telemetry) again(try func() error) error {
	var p pause
	for {
		used := t.c != nil
		err := try()
		dead := used && t.c == nil
		if err == nil || errors.Is(err, errUncertain) || !dead && !conflict(err) || p.waited >= raceFor {
			return err
		}
		if p.wait(context.Background(), nil) != nil {
			return err
		}
	}
}

// errUncertain: the connection was lost in COMMIT. Nothing is tried again that
// would then be counted twice: that is the loss that telemetry may have.
var errUncertain = errors.New("the result of a commit of telemetry is unknown")

// within runs f in one transaction that has compared the epoch, and commits
// what f returns.
func (t *telemetry) within(f task) (err error) {
	ctx, cancel := call()
	defer cancel()
	if t.c == nil || t.c.IsClosed() {
		if t.c, err = t.at.connect(ctx); err != nil {
			t.c = nil
			return err
		}
	}
	defer func() {
		if err != nil || t.c.PgConn().TxStatus() != 'I' {
			t.abandon()
		}
	}()
	var b pgx.Batch
	var epoch, taken int64
	b.Queue(`BEGIN`)
	b.Queue(`SELECT taken FROM telemetry WHERE one = 1 FOR UPDATE`).QueryRow(scanInto(&taken))
	b.Queue(`SELECT epoch FROM leases WHERE name = $1`, t.lease.name).QueryRow(scanInto(&epoch))
	if err := t.c.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	if uint64(epoch) != t.lease.epoch {
		return t.lease.lost()
	}
	out, err := f(ctx, t.c)
	if err != nil || out == nil {
		return err
	}
	if err := t.c.SendBatch(ctx, out).Close(); err != nil {
		return err
	}
	if _, err := t.c.Exec(ctx, `COMMIT`); err != nil {
		if answered(err) {
			return err
		}
		return fmt.Errorf("%w: %w", errUncertain, err)
	}
	return nil
}

// abandon rolls back, or drops a connection that cannot.
func (t *telemetry) abandon() {
	if !t.c.IsClosed() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := t.c.Exec(ctx, `ROLLBACK`); err == nil {
			return
		}
	}
	closeConn(t.c)
	t.c = nil
}

// write commits b in one transaction.
func (t *telemetry) write(b backlog) error {
	return t.within(func(ctx context.Context, c *pgx.Conn) (*pgx.Batch, error) {
		out := &pgx.Batch{}
		putRows(out, b.rows)
		if len(b.counters) > 0 {
			names, values := make([]string, 0, len(b.counters)), make([]float64, 0, len(b.counters))
			for name, d := range b.counters {
				names, values = append(names, mended(name)), append(values, d)
			}
			out.Queue(`
				INSERT INTO counters (name, value)
				SELECT name, sum(value) FROM unnest($1::TEXT[], $2::DOUBLE PRECISION[]) AS d (name, value) GROUP BY name
				ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value`, names, values)
		}
		return out, nil
	})
}

// putRows queues the statements for rows. A row keeps the number that it was
// given first, so that the rollup counts it once.
func putRows(out *pgx.Batch, rows []store.RequestRow) {
	if len(rows) == 0 {
		return
	}
	last := make(map[string]int, len(rows)) // one statement cannot replace a row twice
	for i, r := range rows {
		last[mended(string(r.ID))] = i
	}
	var ids, profiles, providers, outcomes, wholes []string
	var ats, statuses, nos []int64
	for i, r := range rows {
		id := mended(string(r.ID))
		if last[id] != i {
			continue
		}
		ids = append(ids, id)
		nos = append(nos, int64(len(ids)))
		ats = append(ats, r.At.UnixMicro())
		profiles = append(profiles, mended(r.Profile))
		providers = append(providers, mended(r.Provider))
		outcomes = append(outcomes, mended(r.Outcome))
		statuses = append(statuses, int64(r.Status))
		wholes = append(wholes, mended(string(r.Row)))
	}
	out.Queue(`
		INSERT INTO requests (id, no, at, profile, provider, outcome, status, whole)
		SELECT d.id, t.taken + d.no, d.at, d.profile, d.provider, d.outcome, d.status, d.whole
		FROM unnest($1::TEXT[], $2::BIGINT[], $3::BIGINT[], $4::TEXT[], $5::TEXT[], $6::TEXT[], $7::BIGINT[], $8::TEXT[])
			AS d (id, no, at, profile, provider, outcome, status, whole)
		CROSS JOIN telemetry t
		ON CONFLICT (id) DO UPDATE SET at = excluded.at, profile = excluded.profile, provider = excluded.provider,
			outcome = excluded.outcome, status = excluded.status, whole = excluded.whole`,
		ids, nos, ats, profiles, providers, outcomes, statuses, wholes)
	out.Queue(`UPDATE telemetry SET taken = taken + $1 WHERE one = 1`, int64(len(ids)))
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

// close writes what is queued and ends the goroutine.
func (t *telemetry) close() error {
	t.mu.Lock()
	t.closed = true
	t.signal()
	t.mu.Unlock()
	<-t.ended
	if errors.Is(t.endErr, store.ErrEpoch) {
		return nil // another process writes here; there is nothing to mend
	}
	return t.endErr
}
