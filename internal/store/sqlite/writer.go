package sqlite

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/queue"
)

// cachedSubjects bounds what the writer remembers of machines: at about 200
// bytes each, 25 MB. Above it everything is forgotten and read again.
const cachedSubjects = 1 << 17

// writer writes drey.db. It belongs to the committer's goroutine, with the
// connection and all it remembers.
type writer struct {
	c     *conn
	path  string
	epoch uint64
	lock  Held
	test  seams

	begin, rollback, commit, head, move              *stmt
	findMachine, addMachine, findSubject, addSubject *stmt
	insert, putSnapshot, dropSnapshot, bury          *stmt

	// What the database says, kept so that a row costs one statement. It is
	// true while a transaction that began with it holds the write lock;
	// forget drops it whenever that may have ended otherwise.
	seq, txn int64
	machines map[string]int64
	subjects map[key]*subject

	broken error // ErrEpoch or ErrUnsettled: nothing is written any more
}

type key struct{ machine, id string }

// subject is a machine as the writer knows it.
type subject struct {
	machine, no   int64 // 0: not in the database yet
	version, last int64 // last is the seq of its last own event
}

// newWriter prepares the statements and raises the epoch.
func newWriter(c *conn, o Options) (*writer, error) {
	w := &writer{c: c, path: o.Path, lock: o.Lock, test: o.test, machines: map[string]int64{}, subjects: map[key]*subject{}}
	if w.test.settleFor == 0 {
		w.test.settleFor = 30 * time.Second
	}
	for _, p := range []struct {
		s   **stmt
		sql string
	}{
		{&w.begin, `BEGIN IMMEDIATE`},
		{&w.rollback, `ROLLBACK`},
		{&w.commit, `COMMIT`},
		{&w.head, `SELECT epoch, seq, txn FROM head`},
		{&w.move, `UPDATE head SET seq = ?, txn = ? WHERE epoch = ?`},
		{&w.findMachine, `SELECT no FROM machines WHERE name = ?`},
		{&w.addMachine, `INSERT INTO machines (name) VALUES (?)`},
		{&w.findSubject, `
			SELECT s.no, coalesce(j.version, n.version, 0), coalesce(j.seq, n.at, 0)
			FROM subjects s
			LEFT JOIN snapshots n ON n.subject = s.no
			LEFT JOIN journal j ON j.seq = (
				SELECT seq FROM journal
				WHERE subject = s.no AND seq > s.born AND version > 0
				ORDER BY seq DESC LIMIT 1)
			WHERE s.machine = ? AND s.id = ?`},
		{&w.addSubject, `INSERT INTO subjects (machine, id) VALUES (?, ?)`},
		{&w.insert, `
			INSERT INTO journal (seq, subject, machine, version, at, event, level,
				from_state, to_state, trigger, cause, request_id, fields)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&w.putSnapshot, `
			INSERT INTO snapshots (subject, at, version, data) VALUES (?, ?, ?, ?)
			ON CONFLICT (subject) DO UPDATE SET at = excluded.at, version = excluded.version, data = excluded.data`},
		{&w.dropSnapshot, `DELETE FROM snapshots WHERE subject = ?`},
		{&w.bury, `UPDATE subjects SET born = ? WHERE no = ?`},
	} {
		var err error
		if *p.s, err = c.prepare(p.sql); err != nil {
			return nil, err
		}
	}
	epoch, err := c.int(`UPDATE head SET epoch = epoch + 1, txn = txn + 1 RETURNING epoch`)
	w.epoch = uint64(epoch)
	return w, err
}

// transaction commits the batch and what more gives after it, until that is
// nothing; sets the result of each request, returns them all, and says whether
// there was a commit and of how many rows. An error means that nothing of them
// was written; store.ErrUnsettled, that nobody knows.
func (w *writer) transaction(batch []*request, more func() []*request) (all []*request, committed bool, rows int, err error) {
	if err := w.ready(); err != nil {
		return batch, false, 0, err
	}
	if _, _, err := w.begin.run(); err != nil {
		return batch, false, 0, err
	}
	writes := false
	if err = w.enter(); err != nil {
		w.abandon()
		return batch, false, 0, err
	}
	first := w.seq
	for next := batch; len(next) > 0 && err == nil; {
		var wrote bool
		wrote, err = w.fill(next)
		writes = writes || wrote
		if err == nil {
			next = more()
			batch = append(batch, next...)
		}
	}
	if err != nil || !writes {
		w.abandon()
		return batch, false, 0, err
	}
	if _, _, err := w.move.run(w.seq, w.txn+1, int64(w.epoch)); err != nil {
		w.abandon()
		return batch, false, 0, err
	}
	w.txn++
	if err := w.finish(); err != nil {
		if settled, cause := w.settle(w.txn, err); !settled {
			return batch, false, 0, cause
		}
	}
	rows = int(w.seq - first)
	for _, r := range batch {
		if r.err == nil {
			r.commit.Rows = rows
		}
	}
	return batch, true, rows, nil
}

// ready reports whether a transaction may begin.
func (w *writer) ready() error {
	if w.broken != nil {
		return w.broken
	}
	if err := held(w.lock); err != nil {
		return err
	}
	if w.test.begin != nil {
		w.test.begin(w)
	}
	return nil
}

// enter looks at the head in a transaction that has just begun: whether this
// process may still write, and whether what is remembered is still true.
func (w *writer) enter() error {
	epoch, seq, txn, err := w.readHead()
	switch {
	case err != nil:
		return err
	case epoch != w.epoch:
		w.broken = fmt.Errorf("epoch %d is over, the store is at %d: %w", w.epoch, epoch, store.ErrEpoch)
		return w.broken
	case seq != w.seq || txn != w.txn, len(w.subjects) > cachedSubjects:
		w.forget()
	}
	w.seq, w.txn = seq, txn
	return nil
}

// fill decides and writes each of the requests in the open transaction, and says
// whether there is something to commit.
func (w *writer) fill(batch []*request) (writes bool, err error) {
	for _, r := range batch {
		if r.commit, r.err = (store.Commit{}), r.invalid; len(r.appends) == 0 {
			continue
		}
		before := w.seq
		refusal, err := w.decide(r)
		if err != nil {
			return writes, err
		}
		if refusal != nil {
			r.err = refusal
			continue
		}
		if err := w.write(r); err != nil {
			return writes, err
		}
		writes = true
		if w.seq > before {
			r.commit.First, r.commit.Last = drey.Seq(before+1), drey.Seq(w.seq)
		}
	}
	return writes, nil
}

func (w *writer) readHead() (epoch uint64, seq, txn int64, err error) {
	var v [3]driver.Value
	ok, err := w.head.row(v[:])
	if err == nil && !ok {
		err = errors.New("the head of the journal is missing")
	}
	if err != nil {
		return 0, 0, 0, err
	}
	e, _ := v[0].(int64)
	seq, _ = v[1].(int64)
	txn, _ = v[2].(int64)
	return uint64(e), seq, txn, nil
}

// abandon rolls back. Whatever was remembered of the transaction is not true.
func (w *writer) abandon() {
	_, _, _ = w.rollback.run() // fails where SQLite has rolled back by itself
	w.forget()
}

func (w *writer) forget() {
	clear(w.machines)
	clear(w.subjects)
}

// decide gives the rows of r their places and checks the versions that r
// expects, on the machines as the requests before it in the batch leave them.
// A refusal leaves the machines as they were.
func (w *writer) decide(r *request) (refusal, err error) {
	type change struct {
		s   *subject
		was subject
	}
	seq := w.seq
	undo := make([]change, 0, 4)
	for i := range r.appends {
		a := &r.appends[i]
		s, err := w.subject(a.machine, a.id)
		if err != nil {
			return nil, err
		}
		if a.expect != store.AnyVersion && a.expect != s.version {
			refusal = fmt.Errorf("append to %s %q: at version %d, not %d: %w", a.machine, a.id, s.version, a.expect, store.ErrVersion)
			for j := len(undo) - 1; j >= 0; j-- {
				*undo[j].s = undo[j].was
			}
			w.seq = seq
			return refusal, nil
		}
		undo = append(undo, change{s, *s})
		for j := range a.rows {
			row := &a.rows[j]
			w.seq++
			row.Seq, row.Version = w.seq, 0
			if row.Own {
				s.version++
				s.last = w.seq
				row.Version = s.version
			}
		}
		a.version, a.last = s.version, s.last
		if a.delete {
			a.last = w.seq // the grave: what comes after it is another life
			s.version, s.last = 0, 0
		}
	}
	return nil, nil
}

// write puts what was decided for r into the open transaction.
func (w *writer) write(r *request) error {
	for i := range r.appends {
		a := &r.appends[i]
		for j := range a.rows {
			if err := w.writeRow(&a.rows[j]); err != nil {
				return err
			}
		}
		if a.snapshot == "" && !a.delete {
			continue
		}
		s, err := w.stored(a.machine, a.id)
		if err != nil {
			return err
		}
		if a.delete {
			if _, _, err := w.dropSnapshot.run(s.no); err != nil {
				return err
			}
			_, _, err = w.bury.run(a.last, s.no)
		} else {
			_, _, err = w.putSnapshot.run(s.no, a.last, a.version, a.snapshot)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) writeRow(r *queue.Row) error {
	s, err := w.stored(r.Machine, r.ID)
	if err != nil {
		return err
	}
	var cause driver.Value
	if r.Cause != 0 {
		cause = r.Cause
	}
	_, _, err = w.insert.run(r.Seq, s.no, s.machine, r.Version, r.At, r.Event, null(r.Level),
		null(r.From), null(r.To), null(r.Trigger), cause, null(r.RequestID), null(r.Fields))
	return err
}

// subject returns what the journal knows of a machine; it writes nothing.
func (w *writer) subject(machine, id string) (*subject, error) {
	k := key{machine, id}
	if s := w.subjects[k]; s != nil {
		return s, nil
	}
	s := &subject{machine: w.machines[machine]}
	var v [3]driver.Value
	if s.machine == 0 {
		ok, err := w.findMachine.row(v[:1], machine)
		if err != nil {
			return nil, err
		}
		if ok {
			s.machine, _ = v[0].(int64)
			w.machines[machine] = s.machine
		}
	}
	if s.machine != 0 {
		ok, err := w.findSubject.row(v[:], s.machine, id)
		if err != nil {
			return nil, err
		}
		if ok {
			s.no, _ = v[0].(int64)
			s.version, _ = v[1].(int64)
			s.last, _ = v[2].(int64)
		}
	}
	w.subjects[k] = s
	return s, nil
}

// stored returns the machine with the numbers that rows carry, which it is
// given in the open transaction if it is new.
func (w *writer) stored(machine, id string) (*subject, error) {
	s, err := w.subject(machine, id)
	if err != nil || s.no != 0 {
		return s, err
	}
	if s.machine = w.machines[machine]; s.machine == 0 {
		if _, s.machine, err = w.addMachine.run(machine); err != nil {
			return nil, err
		}
		w.machines[machine] = s.machine
	}
	_, s.no, err = w.addSubject.run(s.machine, id)
	return s, err
}
