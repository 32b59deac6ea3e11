package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// cachedMachines bounds what the writer remembers of machines: at about 200
// bytes each, 25 MB. Above it everything is forgotten and read again.
const cachedMachines = 1 << 17

// callFor bounds one round trip of the writer. A lock of somebody who stands
// still is given up by the server sooner, see parse.
const callFor = 30 * time.Second

// writer writes the journal. It belongs to the committer's goroutine, with the
// connection and all it remembers.
type writer struct {
	at    *address
	lease *lease
	test  seams

	c       *pgx.Conn // nil: to be opened
	renewed time.Time // when the lease was last renewed, by our clock

	// What the database says, kept so that a row costs no look. It is true as
	// long as nobody else moves head.txn; forget drops it.
	seq, txn int64
	machines map[key]*machine

	broken error // ErrEpoch or ErrUnsettled: nothing is written any more
}

type key struct{ machine, id string }

// machine is what the writer knows of one.
type machine struct {
	stored        bool  // it has its row
	born          int64 // where its earlier life ended
	at, covered   int64 // of its snapshot: the last row in it, and the version
	version, last int64 // last is the seq of its last own row
}

func newWriter(at *address, c *pgx.Conn, l *lease, test seams) *writer {
	if test.settleFor == 0 {
		test.settleFor = 30 * time.Second
	}
	if test.retryFor == 0 {
		test.retryFor = retryFor
	}
	return &writer{at: at, c: c, lease: l, test: test, renewed: time.Now(), machines: map[key]*machine{}, txn: -1}
}

// call gives one round trip, or a few, its time.
func call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), callFor)
}

// transaction commits the batch, sets the result of each request, and says
// whether there was a commit and of how many rows. An error means that nothing
// of the batch was written; store.ErrUnsettled, that nobody knows.
func (w *writer) transaction(batch []*request) (committed bool, rows int, err error) {
	first := int64(0)
	committed, err = w.within(func(ctx context.Context) (*pgx.Batch, error) {
		first = w.seq
		changes, err := w.fill(ctx, batch)
		if err != nil || changes == nil {
			return nil, err
		}
		return changes.statements(), nil
	})
	if !committed {
		return false, 0, err
	}
	rows = int(w.seq - first)
	for _, r := range batch {
		if r.err == nil {
			r.commit.Rows = rows
		}
	}
	return true, rows, nil
}

// within runs f in a transaction that has asserted the lease, and commits what
// f returns together with the numbers. Without anything to commit, nothing is
// written. After an error the writer remembers nothing.
func (w *writer) within(f func(ctx context.Context) (*pgx.Batch, error)) (committed bool, err error) {
	if w.broken != nil {
		return false, w.broken
	}
	if w.test.begin != nil {
		w.test.begin(w)
	}
	ctx, cancel := call()
	defer cancel()
	if err := w.enter(ctx); err != nil {
		w.abandon()
		return false, err
	}
	b, err := f(ctx)
	if err != nil || b == nil {
		w.abandon()
		return false, err
	}
	w.txn++
	if err := w.finish(ctx, b); err != nil {
		if answered(err) {
			w.abandon()
			return false, err
		}
		return w.settle(w.seq, w.txn, err)
	}
	w.renewed = time.Now()
	return true, nil
}

// enter begins a transaction: it locks the lease and the head, and looks whether
// this process may still write and whether what is remembered is still true.
func (w *writer) enter(ctx context.Context) error {
	if w.c == nil || w.c.IsClosed() {
		c, err := w.at.connect(ctx)
		if err != nil {
			return err
		}
		w.c = c
	}
	var epoch, seq, txn int64
	var b pgx.Batch
	b.Queue(`BEGIN`)
	b.Queue(`SELECT epoch FROM leases WHERE name = $1 FOR UPDATE`, w.lease.name).QueryRow(scanInto(&epoch))
	b.Queue(`SELECT seq, txn FROM head WHERE one = 1 FOR UPDATE`).QueryRow(scanInto(&seq, &txn))
	if err := w.c.SendBatch(ctx, &b).Close(); err != nil {
		if errors.Is(err, pgx.ErrNoRows) {
			err = damaged("the head of the journal or the row of lease %q is missing", w.lease.name)
		}
		return err
	}
	if uint64(epoch) != w.lease.epoch {
		w.broken = w.lease.lost()
		return w.broken
	}
	if txn != w.txn || len(w.machines) > cachedMachines {
		clear(w.machines)
	}
	w.seq, w.txn = seq, txn
	return nil
}

func scanInto(dst ...any) func(pgx.Row) error {
	return func(r pgx.Row) error { return r.Scan(dst...) }
}

// finish writes b and the numbers, and commits. The epoch needs no second look:
// the row of the lease is locked.
func (w *writer) finish(ctx context.Context, b *pgx.Batch) error {
	do := func() error {
		b.Queue(`UPDATE head SET seq = $1, txn = $2 WHERE one = 1`, w.seq, w.txn)
		b.Queue(`UPDATE leases SET txn = $2, expires_at = clock_timestamp() + $3::INTERVAL WHERE name = $1`, w.lease.name, w.txn, w.lease.ttl)
		b.Queue(`COMMIT`)
		return w.c.SendBatch(ctx, b).Close()
	}
	if w.test.commit != nil {
		return w.test.commit(w, do)
	}
	return do()
}

// abandon rolls back. Whatever was remembered of the transaction is not true.
func (w *writer) abandon() {
	w.forget()
	if w.c == nil {
		return
	}
	if !w.c.IsClosed() && w.c.PgConn().TxStatus() != 'I' {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := w.c.Exec(ctx, `ROLLBACK`); err == nil {
			return
		}
		closeConn(w.c)
	}
	if w.c.IsClosed() {
		w.c = nil
	}
}

func (w *writer) forget() {
	clear(w.machines)
	w.txn = -1
}

// renew renews the lease outside of any transaction.
func (w *writer) renew() error {
	ctx, cancel := context.WithTimeout(context.Background(), connectFor)
	defer cancel()
	if w.c == nil || w.c.IsClosed() {
		c, err := w.at.connect(ctx)
		if err != nil {
			return err
		}
		w.c = c
	}
	err := w.lease.renew(ctx, w.c)
	switch {
	case err == nil:
		w.renewed = time.Now()
	case errors.Is(err, store.ErrEpoch):
		w.broken = err
	}
	return err
}

// leave releases the lease and closes the connection, after the last
// transaction. A lease that cannot be released expires.
func (w *writer) leave() {
	if w.c == nil || w.c.IsClosed() {
		return
	}
	if w.broken == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = w.lease.release(ctx, w.c)
	}
	closeConn(w.c)
}

// fill decides each request of the batch and gathers what is to be written; nil
// if that is nothing.
func (w *writer) fill(ctx context.Context, batch []*request) (*changes, error) {
	if err := w.learn(ctx, batch); err != nil {
		return nil, err
	}
	out := &changes{machines: map[key]*change{}}
	writes := false
	for _, r := range batch {
		if r.commit, r.err = (store.Commit{}), r.invalid; len(r.appends) == 0 {
			continue
		}
		before := w.seq
		if r.err = w.decide(r); r.err != nil {
			continue
		}
		w.gather(out, r)
		writes = true
		if w.seq > before {
			r.commit.First, r.commit.Last = drey.Seq(before+1), drey.Seq(w.seq)
		}
	}
	if !writes {
		return nil, nil
	}
	return out, nil
}

// learn reads what the journal knows of the machines of a batch that are not
// remembered, in one round trip.
func (w *writer) learn(ctx context.Context, batch []*request) error {
	var machines, ids []string
	for _, r := range batch {
		for i := range r.appends {
			k := r.appends[i].key
			if w.machines[k] == nil {
				w.machines[k] = &machine{}
				machines, ids = append(machines, k.machine), append(ids, k.id)
			}
		}
	}
	if len(machines) == 0 {
		return nil
	}
	rows, err := w.c.Query(ctx, `
		SELECT m.machine, m.id, m.born, m.at, m.version, COALESCE(j.version, m.version), COALESCE(j.seq, m.at)
		FROM unnest($1::TEXT[], $2::TEXT[]) AS k (machine, id)
		JOIN machines m ON m.machine = k.machine AND m.id = k.id
		LEFT JOIN LATERAL (
			SELECT version, seq FROM journal
			WHERE machine = m.machine AND id = m.id AND seq > m.born AND version > 0
			ORDER BY seq DESC LIMIT 1) j ON TRUE`, machines, ids)
	if err != nil {
		return err
	}
	var k key
	var m machine
	_, err = pgx.ForEachRow(rows, []any{&k.machine, &k.id, &m.born, &m.at, &m.covered, &m.version, &m.last}, func() error {
		m.stored = true
		*w.machines[k] = m
		return nil
	})
	return err
}

// decide gives the rows of r their places and checks the versions that r
// expects, on the machines as the requests before it in the batch leave them.
// A refusal leaves the machines as they were.
func (w *writer) decide(r *request) (refusal error) {
	type undo struct {
		m   *machine
		was machine
	}
	seq := w.seq
	done := make([]undo, 0, 4)
	for i := range r.appends {
		a := &r.appends[i]
		m := w.machines[a.key]
		if a.expect != store.AnyVersion && a.expect != m.version {
			refusal = fmt.Errorf("append to %s %q: at version %d, not %d: %w", a.key.machine, a.key.id, m.version, a.expect, store.ErrVersion)
			for j := len(done) - 1; j >= 0; j-- {
				*done[j].m = done[j].was
			}
			w.seq = seq
			return refusal
		}
		done = append(done, undo{m, *m})
		for j := range a.rows {
			row := &a.rows[j]
			w.seq++
			row.Seq, row.Version = w.seq, 0
			if row.Own {
				m.version++
				m.last = w.seq
				row.Version = m.version
			}
		}
		switch {
		case a.delete: // the grave: what comes after it is another life
			*m = machine{stored: m.stored, born: w.seq}
		case a.snapshot != "":
			m.at, m.covered = m.last, m.version
		}
		a.after = *m
	}
	return nil
}
