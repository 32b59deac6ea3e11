package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// The bounds of the pool of readers.
const (
	readersMost = 4 // connections at a time; whoever comes later waits
	readersIdle = 2 // kept while nobody reads
	readFor     = time.Minute
)

// pool is the connections that read. They are made when they are needed.
type pool struct {
	at    *address
	slots chan struct{} // holds one for each reader at work

	mu     sync.Mutex
	idle   []*pgx.Conn
	closed bool
}

func newPool(at *address) *pool {
	return &pool{at: at, slots: make(chan struct{}, readersMost)}
}

// read runs f in a transaction that sees one moment and cannot write. When the
// connection dies, or has since it was last used, or others are in the way, the
// read begins again, for up to a second: f must not keep what it saw before.
func (p *pool) read(ctx context.Context, f func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var again pause
	for {
		err := p.once(ctx, f)
		if err == nil || ctx.Err() != nil || !unavailable(err) || again.waited >= raceFor {
			return err
		}
		if again.wait(ctx, nil) != nil {
			return err
		}
	}
}

func (p *pool) once(ctx context.Context, f func(ctx context.Context, tx pgx.Tx) error) error {
	c, err := p.take(ctx)
	if err != nil {
		return err
	}
	defer p.put(c)
	return pgx.BeginTxFunc(ctx, c, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return f(ctx, tx)
	})
}

// take returns a connection.
func (p *pool) take(ctx context.Context) (c *pgx.Conn, err error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		c, p.idle = p.idle[n-1], p.idle[:n-1]
	}
	p.mu.Unlock()
	if c != nil {
		return c, nil
	}
	return p.at.connect(ctx)
}

// put gives a connection back.
func (p *pool) put(c *pgx.Conn) {
	p.mu.Lock()
	keep := !p.closed && len(p.idle) < readersIdle && !c.IsClosed() && c.PgConn().TxStatus() == 'I'
	if keep {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !keep {
		closeConn(c)
	}
}

// relax closes the connections that nobody uses.
func (p *pool) relax() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		closeConn(c)
	}
}

// close waits for who reads and closes everything. Nobody may begin to read
// after it has begun.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	for range readersMost {
		p.slots <- struct{}{}
	}
	p.relax()
	for range readersMost {
		<-p.slots
	}
}
