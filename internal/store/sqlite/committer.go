package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/queue"
)

// committer is the group committer. Callers queue; its one goroutine, which
// owns w, takes what is there into one transaction and answers in order. While
// one batch is synced, the next one gathers; see gather for what comes after.
type committer struct {
	w     *writer
	fatal func(error)
	last  struct { // the batch before
		requests int
		took     time.Duration
	}

	queue *queue.Queue[*request]
	ended chan struct{} // closed when the goroutine has ended
	stats counts
}

// counts is Stats while they grow.
type counts struct {
	transactions, rows, retries atomic.Uint64
}

// Stats are sums since the store was opened, for the metrics of group commit.
type Stats struct {
	Transactions uint64 // commits of the journal; each is one sync of its log
	Rows         uint64 // events in them
	Retries      uint64 // batches that failed and were taken apart
}

// Stats returns the committer's sums.
func (s *Store) Stats() Stats {
	c := &s.journal.stats
	return Stats{c.transactions.Load(), c.rows.Load(), c.retries.Load()}
}

// request is one call of Submit.
type request struct {
	appends []appending
	rows    int
	bytes   int
	done    func(store.Commit, error)
	invalid error               // it could not be encoded; appends is then empty
	job     func(*writer) error // upkeep in a transaction of its own, in place of appends

	// The result, once it is decided.
	commit store.Commit
	err    error
}

// The four that a queue asks for.

func (r *request) Size() (rows, bytes int) { return r.rows, r.bytes }
func (r *request) Alone() bool             { return r.job != nil }
func (r *request) Refuse()                 { *r = request{done: r.done, invalid: errClosed, err: errClosed} }
func (r *request) Answer()                 { r.done(r.commit, r.err) }

var errClosed = fmt.Errorf("append to the journal: %w", store.ErrClosed)

func newCommitter(w *writer, o Options) *committer {
	c := &committer{
		w:     w,
		fatal: o.Fatal,
		queue: queue.New[*request](),
		ended: make(chan struct{}),
	}
	go c.serve()
	return c
}

// drain refuses what comes from now on and waits until everything that was
// taken is answered.
func (c *committer) drain() {
	c.queue.Close()
	<-c.ended
}

func (c *committer) serve() {
	defer close(c.ended)
	for {
		batch, more := c.queue.Take(&queue.Extent{})
		switch {
		case len(batch) > 0:
			began := time.Now()
			if batch[0].job != nil {
				c.run(batch[0])
			} else {
				batch = c.write(batch)
			}
			c.last.requests, c.last.took = len(batch), time.Since(began)
			for _, r := range batch {
				r.Answer()
			}
		case !more: // gone
			return
		default:
			<-c.queue.Wake()
		}
	}
}

// gather returns a function that gives what has come since for the transaction
// of a batch, nothing if that is to be committed now.
//
// Those who were just answered are about to queue again. A batch that did not
// wait for them would leave two camps that take turns, each with a sync of its
// own for half of the rows. So it grows while they come, which costs nothing as
// long as there are rows to write, until it is as large as the one before; and
// it waits for them no longer than half of what that one took, so that who has
// nothing more to say holds nobody up. A lone writer is not waited for at all.
func (c *committer) gather(batch []*request) func() []*request {
	var x queue.Extent
	for _, r := range batch {
		x.Add(r)
	}
	waited := time.Duration(0)
	return func() []*request {
		for began := time.Now(); ; runtime.Gosched() {
			next, _ := c.queue.Take(&x)
			if len(next) > 0 {
				waited += time.Since(began)
				return next
			}
			if x.Whole || x.Calls >= c.last.requests || waited+time.Since(began) > c.last.took/2 {
				return nil
			}
		}
	}
}

// write commits the batch, with what comes while it is written, sets each
// request's result and returns them all. When the transaction fails for what one
// of them wanted to write, the batch is taken apart, so that a bad row fails
// alone.
func (c *committer) write(batch []*request) []*request {
	batch, err := c.transaction(batch, c.gather(batch))
	if err == nil || stops(err) {
		return batch
	}
	if len(batch) > 1 {
		c.stats.retries.Add(1)
		for i := range batch {
			_, _ = c.transaction(batch[i:i+1], nothing) // its result is on the request
		}
	}
	return batch
}

func nothing() []*request { return nil }

// transaction runs the batch and what more gives as one, and keeps the sums.
func (c *committer) transaction(batch []*request, more func() []*request) ([]*request, error) {
	batch, committed, rows, err := c.w.transaction(batch, more)
	if committed {
		c.stats.transactions.Add(1)
		c.stats.rows.Add(uint64(rows))
	}
	if err != nil {
		err = explain("append to the journal", c.w.path, err)
		for _, r := range batch {
			if r.invalid == nil {
				r.commit, r.err = store.Commit{}, err
			}
		}
	}
	c.stop(err)
	return batch, err
}

// stop tells the process once that nobody knows what was committed.
func (c *committer) stop(err error) {
	if errors.Is(err, store.ErrUnsettled) && c.fatal != nil {
		c.fatal(err)
		c.fatal = nil
	}
}

// stops reports whether err is one that every single request would meet too.
func stops(err error) bool {
	return errors.Is(err, store.ErrEpoch) || errors.Is(err, store.ErrUnsettled)
}

// Submit implements store.Journal. The queue has no bound: whoever submits
// without waiting bounds himself.
func (s *Store) Submit(done func(store.Commit, error), appends ...store.Append) {
	r := encode(appends)
	r.done = done
	s.journal.queue.Put(r)
}

// Append implements store.Journal.
func (s *Store) Append(ctx context.Context, appends ...store.Append) (store.Commit, error) {
	return store.AppendAndWait(ctx, s.Submit, appends...)
}

// encode turns appends into what the writer binds, in the caller's goroutine:
// the committer's time is everybody's. What cannot be encoded fails in its
// place in the order, with nothing written.
func encode(appends []store.Append) *request {
	r := &request{appends: make([]appending, len(appends))}
	for i, a := range appends {
		if err := r.appends[i].encode(a); err != nil {
			return &request{invalid: err, err: err}
		}
		r.rows += len(a.Events)
		r.bytes += r.appends[i].bytes
	}
	return r
}

// appending is one store.Append as it is bound.
type appending struct {
	machine, id string
	expect      int64
	rows        []queue.Row
	snapshot    string // "" = none
	delete      bool
	bytes       int

	// Set when it is decided: the machine after it.
	last, version int64
}

func (a *appending) encode(in store.Append) (err error) {
	a.machine, a.id, a.expect, a.delete, a.snapshot = in.Machine, in.ID, in.Expect, in.Delete, string(in.Snapshot)
	a.rows, a.bytes, err = queue.Rows(in)
	return err
}
