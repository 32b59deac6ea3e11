package sqlite

import (
	"errors"
	"fmt"
	"time"

	lib "modernc.org/sqlite/lib"

	"github.com/dreyhq/drey/internal/store"
)

// finish commits the open transaction.
func (w *writer) finish() error {
	if w.test.commit != nil {
		return w.test.commit(w)
	}
	_, _, err := w.commit.run()
	return err
}

// settle finds out what became of transaction txn, whose COMMIT returned cause.
// It answers true if the transaction is committed, and otherwise the error to
// give: cause, if nothing of it was written, or store.ErrUnsettled if that
// could not be found out in time; the writer is then broken for good.
//
// A COMMIT that fails while it syncs may leave its pages in the log. SQLite
// does not count them, but if the machine went down now, the next process
// would. So a transaction that is found not committed is first buried under
// another one, txn+1, which overwrites those pages; a full disk needs none, as
// there the last page was never written.
func (w *writer) settle(txn int64, cause error) (committed bool, err error) {
	seq := w.seq
	w.abandon()
	w.seq, w.txn = 0, 0 // read again when the next transaction begins
	deadline := time.NewTimer(w.test.settleFor)
	defer deadline.Stop()
	for wait := time.Millisecond; ; wait = min(2*wait, time.Second) {
		epoch, at, err := w.look(txn, result(cause) != lib.SQLITE_FULL)
		switch {
		case err != nil:
		case epoch == w.epoch && (at == txn-1 || at == txn+1):
			return false, cause
		case epoch == w.epoch && at == txn:
			w.seq, w.txn = seq, txn
			return true, nil
		default:
			// Somebody else has written since, and only with an epoch of his
			// own. What became of ours is his to see, not ours to guess.
			w.broken = fmt.Errorf("%w: %w, and epoch %d, transaction %d followed", store.ErrUnsettled, cause, epoch, at)
			return false, w.broken
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-deadline.C:
			pause.Stop()
			w.broken = fmt.Errorf("%w: %w, and then %w", store.ErrUnsettled, cause, err)
			return false, w.broken
		}
	}
}

// look returns the head as it is on disk, through a connection of its own: what
// the writer's sees may be its own transaction, should the rollback have failed
// too. If transaction txn is missing there, bury commits txn+1 in its place
// first, which changes nothing but that number.
func (w *writer) look(txn int64, bury bool) (epoch uint64, at int64, err error) {
	c, err := openConn(w.path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if bury {
		if err := c.exec(fmt.Sprintf(`UPDATE head SET txn = %d WHERE epoch = %d AND txn = %d`, txn+1, w.epoch, txn-1)); err != nil {
			return 0, 0, err
		}
	}
	n, err := c.int(`SELECT epoch FROM head`)
	if err != nil {
		return 0, 0, err
	}
	at, err = c.int(`SELECT txn FROM head`)
	return uint64(n), at, err
}
