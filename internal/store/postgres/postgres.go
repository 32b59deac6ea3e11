// Package postgres keeps the house in a database that speaks the PostgreSQL
// wire protocol, for many dreys on one state. It is built on what PostgreSQL,
// CockroachDB and YugabyteDB share, and tested on PostgreSQL: rows as locks
// instead of advisory locks, counter rows instead of sequences, polling instead
// of LISTEN, and every transaction ready to be told 40001 and to begin again.
//
// # Leases
//
// A Store is the holder of one lease, a row of the database with a holder, an
// epoch and a time of expiry by the database's clock. Opening it takes the lease
// and raises the epoch; every transaction compares the epoch under the lock of
// the row. So a process that was stopped for longer than its lease lasts, and
// whose place another has taken, finds its late write refused (store.ErrEpoch).
//
// Options.Lease names the lease. Dreys that share one state share MainLease:
// one of them has the store open, the others wait to take over. Where several are to write at
// the same time, each to machines of its own (a lease per registry), each opens
// a Store of its own lease on the same schema: the journal is one, its numbers
// have no gap, and each handle is fenced by itself. Nobody may write a machine
// under two leases.
//
// # One writer for each lease
//
// One goroutine, the committer, writes the journal. It takes all appends that
// wait into one transaction, so that sixty-four writers share one sync. A
// transaction takes two round trips: one locks the lease and the head and says
// what they are, one writes everything and commits.
//
// Telemetry has a connection and a row lock of its own, so that neither waits
// for the other. Readers see one moment and hold nobody up.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// Options says where the store is and what it needs of its surroundings.
type Options struct {
	// URL is the database, postgres://user:password@host:port/database. Its
	// parameter search_path names the schema (DefaultSchema if it is missing),
	// which is made where it does not exist; the others are libpq's. The
	// password is in no error and no log.
	URL string

	// Holder names this drey in the lease, for people and for itself: a lease
	// that is held under the same name is taken at once, since the process that
	// had it is gone. So it stays the same over restarts and is no other
	// drey's: the host's name with the home's path. It is required.
	Holder string

	// Lease is the lease to hold; "" is MainLease.
	Lease string

	// TTL is how long the lease lasts without a sign of life; 0 is DefaultTTL.
	// It is also how long a transaction may stand still before the server ends
	// it.
	TTL time.Duration

	// Wait is how long Open waits while another drey holds the lease before it
	// returns ErrHeld; 0 is not at all.
	Wait time.Duration

	// Log takes what nobody is waiting to hear: a lease that could not be
	// renewed, telemetry that could not be written. nil is silence.
	Log *slog.Logger

	// Lost is called once, from the committer's goroutine, when the lease turns
	// out to be another's: from then on everything that writes answers
	// store.ErrEpoch. It must not block; nil is nothing.
	Lost func(error)

	// Fatal is called once, from the committer's goroutine, when the result of
	// a commit could not be found out within 30 s (store.ErrUnsettled). The
	// process must then stop. It must not block; nil is nothing.
	Fatal func(error)

	test seams
}

// seams are where tests reach in; the zero value is the real thing.
type seams struct {
	begin     func(*writer)                          // before each transaction, in the committer's goroutine
	commit    func(w *writer, do func() error) error // around the round trip that commits
	settleFor time.Duration                          // instead of 30 s
	retryFor  time.Duration                          // instead of 5 s
}

// Store is the open store. It implements store.Store; all methods are safe for
// concurrent use.
type Store struct {
	at        *address
	lease     *lease // fixed once it is taken
	journal   *committer
	telemetry *telemetry
	readers   *pool

	closed   atomic.Bool
	once     sync.Once
	closeErr error
}

var _ store.Store = (*Store)(nil)

// Open opens the store, makes or migrates its schema where needed, and takes
// the lease. Every error is a *drey.Error with a hint, except that of ctx;
// ErrHeld is among them.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Lease == "" {
		o.Lease = MainLease
	}
	if o.TTL <= 0 {
		o.TTL = DefaultTTL
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	at, err := parse(o.URL, o.TTL)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, at, o)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, at.explain("open store", err)
	}
	return s, nil
}

func open(ctx context.Context, at *address, o Options) (*Store, error) {
	if o.Holder == "" {
		return nil, &drey.Error{
			Class: drey.Internal, Code: codeHolder, Op: "open store",
			Hint: "This is a bug of drey.", Err: errors.New("the holder of the lease has no name"),
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err := at.connect(ctx)
	if err != nil {
		return nil, err
	}
	l := &lease{name: o.Lease, holder: o.Holder, ttl: o.TTL}
	if err := at.migrate(ctx, c); err != nil {
		closeConn(c)
		return nil, err
	}
	if err := at.acquire(ctx, c, l, o.Wait); err != nil {
		closeConn(c)
		return nil, err
	}
	return &Store{
		at: at, lease: l,
		journal:   newCommitter(newWriter(at, c, l, o.test), o),
		telemetry: newTelemetry(at, l, o.Log),
		readers:   newPool(at),
	}, nil
}

// Epoch returns the number of this holding of the lease.
func (s *Store) Epoch() uint64 { return s.lease.epoch }

// Close commits what was submitted, writes what is queued, releases the lease
// and closes every connection. A second call waits for the first and returns
// what it returned.
func (s *Store) Close() error {
	s.once.Do(func() {
		s.closed.Store(true)
		s.journal.drain()
		err := s.telemetry.close()
		s.journal.w.leave()
		s.readers.close()
		s.closeErr = s.at.explain("close store", err)
	})
	return s.closeErr
}

// Relax gives back what is only kept for speed: the idle connections of
// readers. They are made again when they are needed.
func (s *Store) Relax() { s.readers.relax() }

// read runs f in one read transaction, so that all it sees is of one moment.
func (s *Store) read(ctx context.Context, op string, f func(ctx context.Context, tx pgx.Tx) error) error {
	if s.closed.Load() {
		return fmt.Errorf("%s: %w", op, store.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := ended(ctx, s.readers.read(ctx, f))
	if err == nil || ctx.Err() != nil {
		return err
	}
	return s.at.explain(op, err)
}

// Holder returns the name of a drey for Options.Holder: the host's name and the
// home's path.
func Holder(home string) string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unknown-host"
	}
	return host + ":" + home
}
