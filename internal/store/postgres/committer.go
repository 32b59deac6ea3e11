package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/queue"
)

// committer is the group committer. Callers queue; its one goroutine, which
// owns w, takes what is there into one transaction and answers in order. There
// is no delay to gather more: while one batch is synced, the next one gathers.
// The same goroutine renews the lease, so that a writer that cannot write does
// not look alive.
type committer struct {
	w           *writer
	log         *slog.Logger
	lost, fatal func(error) // nil once called
	queue       *queue.Queue[*request]
	draining    chan struct{} // closed when the store closes: pauses end
	ended       chan struct{} // closed when the goroutine has ended
	stats       counts
}

// counts is Stats while they grow.
type counts struct {
	transactions, rows, retries, conflicts atomic.Uint64
}

// Stats are sums since the store was opened, for the metrics of group commit.
type Stats struct {
	Transactions uint64 // commits of the journal; each is one sync of the server's log
	Rows         uint64 // events in them
	Retries      uint64 // batches that failed and were taken apart
	Conflicts    uint64 // transactions that were begun again: conflicts and lost connections
}

// Stats returns the committer's sums.
func (s *Store) Stats() Stats {
	c := &s.journal.stats
	return Stats{c.transactions.Load(), c.rows.Load(), c.retries.Load(), c.conflicts.Load()}
}

// request is one call of Submit.
type request struct {
	appends []appending
	rows    int
	bytes   int
	done    func(store.Commit, error)
	invalid error // it could not be encoded; appends is then empty
	job     *job  // upkeep in a transaction of its own, in place of appends

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
		w:        w,
		log:      o.Log,
		lost:     o.Lost,
		fatal:    o.Fatal,
		queue:    queue.New[*request](),
		draining: make(chan struct{}),
		ended:    make(chan struct{}),
	}
	go c.serve()
	return c
}

// drain refuses what comes from now on and waits until everything that was
// taken is answered.
func (c *committer) drain() {
	c.queue.Close()
	close(c.draining)
	<-c.ended
}

func (c *committer) serve() {
	defer close(c.ended)
	renew := time.NewTimer(c.w.lease.ttl / 3)
	defer renew.Stop()
	for {
		batch, more := c.queue.Take(&queue.Extent{})
		switch {
		case len(batch) > 0:
			if batch[0].job != nil {
				c.run(batch[0])
			} else {
				c.write(batch)
			}
			for _, r := range batch {
				r.Answer()
			}
			c.gather(len(batch))
		case !more: // gone
			return
		default:
			select {
			case <-c.queue.Wake():
			case <-renew.C:
				renew.Reset(c.renew())
			}
		}
	}
}

// renew renews the lease if no transaction has done it lately, and returns when
// to come again.
func (c *committer) renew() time.Duration {
	l := c.w.lease
	third := l.ttl / 3
	if since := time.Since(c.w.renewed); since < third {
		return third - since
	}
	if c.w.broken != nil {
		return l.ttl // there is nothing to renew any more
	}
	err := c.w.renew()
	c.stop(err)
	if err == nil || c.w.broken != nil {
		return third
	}
	c.log.Warn("store-lease-not-renewed", "lease", l.name, "error", c.w.at.explain("renew the lease", err).Error())
	return min(third, time.Second)
}

// gather lets those who were just answered queue again before the next batch
// is taken. Without it the answered and the queued form two camps that take
// turns, each with a sync of its own for half of the rows. It gives up the
// processor while the queue grows, at most until as many wait as were answered;
// four turns without growth end it, which take microseconds, so that who has
// nothing more to say holds nobody up. A lone writer is not waited for at all.
func (c *committer) gather(answered int) {
	for before, still := 0, 0; answered > 1 && still < 4; {
		runtime.Gosched()
		n := c.queue.Len()
		if n >= answered {
			return
		}
		if still++; n > before {
			before, still = n, 0
		}
	}
}

// write commits the batch and sets each request's result. When the transaction
// fails for what one of them wanted to write, the batch is taken apart, so that
// a bad row fails alone.
func (c *committer) write(batch []*request) {
	err := c.transaction(batch)
	if err == nil || stops(err) || len(batch) == 1 {
		return
	}
	c.stats.retries.Add(1)
	for i := range batch {
		_ = c.transaction(batch[i : i+1]) // its result is on the request
	}
}

// transaction runs the batch as one, again while others are in its way, and
// keeps the sums.
func (c *committer) transaction(batch []*request) error {
	var committed bool
	var rows int
	err := c.again(func() (err error) {
		committed, rows, err = c.w.transaction(batch)
		return err
	})
	if committed {
		c.stats.transactions.Add(1)
		c.stats.rows.Add(uint64(rows))
	}
	if err != nil {
		told := c.w.at.explain("append to the journal", err)
		for _, r := range batch {
			if r.invalid == nil {
				r.commit, r.err = store.Commit{}, told
			}
		}
	}
	c.stop(err)
	return err
}

// again runs a transaction until it is through, or fails for a reason that does
// not pass, or has been tried for retryFor. A store that closes does not wait.
func (c *committer) again(try func() error) error {
	var p pause
	for {
		err := try()
		if err == nil || !unavailable(err) || p.waited >= c.w.test.retryFor {
			return err
		}
		select {
		case <-c.draining:
			if !conflict(err) {
				return err
			}
		default:
		}
		c.stats.conflicts.Add(1)
		if p.wait(context.Background(), c.draining) != nil {
			return err
		}
	}
}

// stop tells the process, once for each, that the lease is lost, and that nobody
// knows what was committed.
func (c *committer) stop(err error) {
	if errors.Is(err, store.ErrUnsettled) && c.fatal != nil {
		c.fatal(err)
		c.fatal = nil
	}
	if errors.Is(err, store.ErrEpoch) && c.lost != nil {
		c.lost(err)
		c.lost = nil
	}
}

// stops reports whether err is one that every single request would meet too.
func stops(err error) bool {
	return errors.Is(err, store.ErrEpoch) || errors.Is(err, store.ErrUnsettled) || unavailable(err)
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
