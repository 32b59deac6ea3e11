// Package backlog is the queue before a store's telemetry: request rows and sums
// that are written in batches of their own, may lose their last second in a
// crash, and never wait on the journal. Every store has one; how a batch is
// written is the store's.
package backlog

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/dreyhq/drey/internal/store"
)

// The bounds of telemetry. A row waits FlushEvery at most, so that a crash loses
// less than the last second; what does not fit into the queue while the disk or
// the server is slow or away is dropped and counted.
const (
	FlushEvery   = 500 * time.Millisecond
	FlushRows    = 512  // written at once without waiting
	MaxRows      = 8192 // that wait or are being written
	maxBytes     = 32 << 20
	retryAtMost  = 30 * time.Second
	countersMost = 1 << 16 // names; a counter per day and provider fills it in decades
)

// Batch is what is written in one transaction.
type Batch struct {
	Rows     []store.RequestRow
	Counters map[string]float64 // what to add, by name
	Captured
	bytes int
}

func (b *Batch) empty() bool {
	return len(b.Rows) == 0 && len(b.Counters) == 0 && len(b.Captures) == 0
}

// merge adds sums. What is not a finite number is passed over.
func (b *Batch) merge(delta map[string]float64) {
	if b.Counters == nil && len(delta) > 0 {
		b.Counters = make(map[string]float64, len(delta))
	}
	for name, d := range delta {
		if _, known := b.Counters[name]; !known && len(b.Counters) >= countersMost {
			continue
		}
		if sum := b.Counters[name] + d; !math.IsNaN(sum) && !math.IsInf(sum, 0) {
			b.Counters[name] = sum
		}
	}
}

// extent is what of a batch counts against the bounds.
type extent struct{ rows, bytes, held int }

func (b *Batch) extent() extent { return extent{len(b.Rows), b.bytes, b.held} }

// Config says how a store writes.
type Config struct {
	// Write commits a batch in one transaction. It is called by the queue's
	// goroutine alone, as jobs are. later says of a failed one that the same may
	// succeed some time on: what Write has left of the batch is queued again, at
	// the front.
	Write func(b *Batch) (later bool, err error)
	Log   *slog.Logger
}

// Queue is a backlog and the goroutine that writes it. With nothing queued it
// has no timer. Its methods may be called concurrently.
type Queue struct {
	cfg    Config
	wake   chan struct{} // holds one: there may be something to do
	ended  chan struct{} // closed when the goroutine has ended
	endErr error         // of the last write; read after ended

	mu      sync.Mutex
	queued  Batch
	writing extent        // of the batch that Write has: it may come back
	waiters []chan error  // of Flush; their turn comes with the next write
	jobs    []func(error) // of upkeep
	dropped uint64
	closed  bool
}

// Start returns a queue that writes. Close ends it.
func Start(cfg Config) *Queue {
	q := &Queue{cfg: cfg, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go q.serve()
	return q
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Put queues a row, or drops and counts it.
func (q *Queue) Put(r store.RequestRow) {
	size := len(r.Row) + len(r.ID) + 128
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.writing.rows+len(q.queued.Rows) >= MaxRows || q.writing.bytes+q.queued.bytes+size > maxBytes {
		q.dropped++
		return
	}
	q.queued.Rows = append(q.queued.Rows, r)
	q.queued.bytes += size
	q.signal()
}

// Add queues sums.
func (q *Queue) Add(delta map[string]float64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.queued.merge(delta)
	q.signal()
}

// Dropped returns how many rows were dropped so far.
func (q *Queue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// Do queues a job for the queue's goroutine, which calls it with nil, or with an
// error if it will not come to it any more. After Close it is store.ErrClosed.
func (q *Queue) Do(job func(error)) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return store.ErrClosed
	}
	q.jobs = append(q.jobs, job)
	q.signal()
	return nil
}

// Flush writes what was queued before the call.
func (q *Queue) Flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return fmt.Errorf("flush: %w", store.ErrClosed)
	}
	q.waiters = append(q.waiters, done)
	q.signal()
	q.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close writes what is queued, refuses what comes after, and returns the error of
// that last write when the goroutine has ended.
func (q *Queue) Close() error {
	q.mu.Lock()
	q.closed = true
	q.signal()
	q.mu.Unlock()
	<-q.ended
	return q.endErr
}

// serve writes: FlushEvery after the first row of a batch, at once when the
// batch is large or somebody waits for it, and for the last time at the end.
func (q *Queue) serve() {
	defer close(q.ended)
	timer := time.NewTimer(0)
	if !timer.Stop() {
		<-timer.C
	}
	armed, wait := false, FlushEvery
	for {
		due := false
		select {
		case <-q.wake:
		case <-timer.C:
			armed, due = false, true
		}
		q.mu.Lock()
		last := q.closed
		q.mu.Unlock()
		q.runJobs(last)
		q.mu.Lock()
		idle := q.queued.empty() && len(q.waiters) == 0
		// After a failure a full queue alone is no reason to try again.
		due = due || last || len(q.waiters) > 0 || wait == FlushEvery && (len(q.queued.Rows) >= FlushRows || q.queued.heavy())
		q.mu.Unlock()
		if due && (!idle || last) {
			err := q.write()
			if last {
				q.endErr = err
				return
			}
			if err != nil {
				wait = min(2*wait, retryAtMost)
			} else {
				wait = FlushEvery
			}
		}
		q.mu.Lock()
		idle = q.queued.empty()
		q.mu.Unlock()
		if !idle && !armed {
			timer.Reset(wait)
			armed = true
		}
	}
}

// runJobs runs the jobs that wait; the last call refuses them.
func (q *Queue) runJobs(last bool) {
	q.mu.Lock()
	jobs := q.jobs
	q.jobs = nil
	q.mu.Unlock()
	var refusal error
	if last {
		refusal = store.ErrClosed
	}
	for _, job := range jobs {
		job(refusal)
	}
}

// write writes all that is queued and answers those who wait for it.
func (q *Queue) write() error {
	q.mu.Lock()
	b, waiters := q.queued, q.waiters
	q.queued, q.waiters = Batch{}, nil
	q.writing = b.extent()
	q.mu.Unlock()

	var err error
	if !b.empty() {
		var later bool
		later, err = q.cfg.Write(&b)
		dropped := q.wrote(b, later, err)
		if err != nil {
			q.cfg.Log.Warn("telemetry-not-written", "rows", len(b.Rows), "dropped", dropped, "error", err.Error())
		}
	}
	for _, w := range waiters {
		w <- err
	}
	return err
}

// wrote ends the write of a batch: one that failed and may succeed later waits
// again, at the front. It returns how much was dropped so far.
func (q *Queue) wrote(b Batch, later bool, err error) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writing = extent{}
	switch {
	case err == nil:
	case later && !q.closed:
		come := q.queued
		q.queued = b
		q.queued.Rows = append(q.queued.Rows, come.Rows...)
		q.queued.bytes += come.bytes
		q.queued.merge(come.Counters)
		q.queued.follow(come.Captured)
	default:
		q.dropped += uint64(len(b.Rows) + len(b.Captures))
	}
	return q.dropped
}
