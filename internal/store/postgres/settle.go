package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey/internal/store"
)

// settle finds out what became of transaction txn, whose COMMIT ended with
// cause and not with an answer. It returns true if the transaction is
// committed, and otherwise the error to give: cause, if nothing of it was
// written, store.ErrEpoch, if besides the lease is somebody else's now, or
// store.ErrUnsettled, if it could not be found out in time; the writer is
// broken for good then.
func (w *writer) settle(seq, txn int64, cause error) (committed bool, err error) {
	closeConn(w.c)
	w.c = nil
	w.forget()
	deadline := time.Now().Add(w.test.settleFor)
	var p pause
	for {
		was, err := w.look(txn)
		switch {
		case err == nil && was == committedThen:
			w.seq, w.txn = seq, txn
			return true, nil
		case err == nil && was == neverWritten:
			if w.broken != nil {
				return false, w.broken
			}
			return false, fmt.Errorf("not committed: %w", cause)
		case err == nil:
			err = fmt.Errorf("the lease has changed hands more than once since")
		case time.Now().Before(deadline):
			_ = p.wait(context.Background(), nil) // the background never ends
			continue
		}
		w.broken = fmt.Errorf("%w: %w, and then %w", store.ErrUnsettled, cause, err)
		return false, w.broken
	}
}

// fate is what became of a transaction.
type fate int

const (
	committedThen fate = iota
	neverWritten
	unknowable
)

// look reads the fate of transaction txn. It waits for the lock of the lease's
// row, which the transaction held: whoever gets it knows that the transaction
// has ended, even if the server has not yet noticed that the connection is
// gone. As a further bar, a transaction that is found not committed is buried
// under a higher number in the same row.
//
// The row names the last transaction that was committed under this lease. If
// another process has raised the epoch since, it has kept the number as it was
// (fenced); after two of them nobody knows.
func (w *writer) look(txn int64) (was fate, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), min(callFor, max(w.test.settleFor, connectFor)))
	defer cancel()
	c, err := w.at.connect(ctx)
	if err != nil {
		return unknowable, err
	}
	err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		var epoch, at, fenced int64
		err := tx.QueryRow(ctx, `SELECT epoch, txn, fenced FROM leases WHERE name = $1 FOR UPDATE`, w.lease.name).Scan(&epoch, &at, &fenced)
		if err != nil {
			return err
		}
		switch uint64(epoch) {
		case w.lease.epoch:
		case w.lease.epoch + 1:
			w.broken = w.lease.lost()
			at = fenced
		default:
			was = unknowable
			return nil
		}
		if at == txn {
			was = committedThen
			return nil
		}
		was = neverWritten
		if w.broken != nil {
			return nil
		}
		var buried int64
		if err := tx.QueryRow(ctx, `
			UPDATE head SET txn = greatest(txn, $1::BIGINT) + 1 WHERE one = 1 RETURNING txn`, txn).Scan(&buried); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE leases SET txn = $2 WHERE name = $1`, w.lease.name, buried)
		return err
	})
	if err != nil {
		closeConn(c)
		return unknowable, err
	}
	w.c = c
	return was, nil
}
