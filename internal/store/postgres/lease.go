package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey/internal/store"
)

// MainLease is the lease of a drey that says nothing else.
const MainLease = "main"

// DefaultTTL is how long a lease lasts without a sign of life. It is renewed
// three times in it, and with every transaction.
const DefaultTTL = 15 * time.Second

// A lease is the right to write. All times are the database's own: the clocks
// of the dreys may differ by anything.
//
// Its expiry only says when another may take it; whether this process may still
// write is decided by the epoch alone, which every transaction compares under
// the lock of the row. A holder whose lease expired and was not taken goes on.
type lease struct {
	name   string
	holder string
	ttl    time.Duration
	epoch  uint64
}

// acquire takes the lease and raises its epoch. One that another holder has not
// renewed in time is taken, and one under the same holder's name at once: the
// process that had it is gone, as there is one lock for each home. If another
// holds it, acquire waits for up to patience, and then returns ErrHeld.
func (a *address) acquire(ctx context.Context, c *pgx.Conn, l *lease, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	var p pause
	for {
		other, left, err := l.take(ctx, c)
		switch {
		case conflict(err), state(err) == stateUnique:
			// Others were in the way: as many as there are have had their turn
			// before it is given up.
			if p.waited >= retryFor {
				return err
			}
			if err := p.wait(ctx, nil); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		case other == "":
			return nil
		}
		rest := time.Until(deadline)
		if rest <= 0 {
			return a.held(l.name, other, left)
		}
		// It may be released sooner than it expires; polling finds that out.
		timer := time.NewTimer(min(rest, max(left, time.Millisecond), l.ttl/3, time.Second))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// take is one attempt; it returns who holds the lease and for how long, or ""
// when it is ours.
func (l *lease) take(ctx context.Context, c *pgx.Conn) (other string, left time.Duration, err error) {
	err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		var holder string
		var epoch int64
		err := tx.QueryRow(ctx, `
			SELECT holder, epoch, expires_at - clock_timestamp() FROM leases WHERE name = $1 FOR UPDATE`, l.name).
			Scan(&holder, &epoch, &left)
		if errors.Is(err, pgx.ErrNoRows) {
			l.epoch = 1
			_, err = tx.Exec(ctx, `
				INSERT INTO leases (name, holder, epoch, expires_at, txn, fenced)
				VALUES ($1, $2, 1, clock_timestamp() + $3::INTERVAL, 0, 0)`, l.name, l.holder, l.ttl)
			return err
		}
		if err != nil {
			return err
		}
		if holder != l.holder && left > 0 {
			other = holder
			return nil
		}
		// Telemetry compares the epoch under the lock of its own row: holding
		// that here lets no transaction of the earlier holder end after this.
		if _, err := tx.Exec(ctx, `SELECT taken FROM telemetry WHERE one = 1 FOR UPDATE`); err != nil {
			return err
		}
		l.epoch = uint64(epoch) + 1
		_, err = tx.Exec(ctx, `
			UPDATE leases SET holder = $2, epoch = $3, expires_at = clock_timestamp() + $4::INTERVAL, fenced = txn
			WHERE name = $1`, l.name, l.holder, int64(l.epoch), l.ttl)
		return err
	})
	return other, left, err
}

// renew puts the expiry off. It returns store.ErrEpoch when the lease is
// somebody else's.
func (l *lease) renew(ctx context.Context, c *pgx.Conn) error {
	tag, err := c.Exec(ctx, `UPDATE leases SET expires_at = clock_timestamp() + $3::INTERVAL WHERE name = $1 AND epoch = $2`,
		l.name, int64(l.epoch), l.ttl)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return l.lost()
	}
	return nil
}

// release lets the lease expire now, so that the next one need not wait.
func (l *lease) release(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, `UPDATE leases SET expires_at = clock_timestamp() WHERE name = $1 AND epoch = $2`, l.name, int64(l.epoch))
	return err
}

func (l *lease) lost() error {
	return fmt.Errorf("lease %q, epoch %d is over: %w", l.name, l.epoch, store.ErrEpoch)
}
