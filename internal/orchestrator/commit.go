package orchestrator

import (
	"errors"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
)

// note is one thing that the owner has to see to: a call, or the end of a
// commit.
type note struct {
	do func()

	t      *ticket
	commit store.Commit
	err    error
}

// spareNotes is the largest inbox that is kept for the next notes.
const spareNotes = 1 << 13

// post hands the owner a note. It reports false for a call that comes when the
// owner takes none any more.
func (o *Operations) post(n note) bool {
	o.inboxMu.Lock()
	if o.closing && n.do != nil {
		o.inboxMu.Unlock()
		return false
	}
	o.inbox = append(o.inbox, n)
	first := len(o.inbox) == 1
	o.inboxMu.Unlock()
	if first {
		select {
		case o.wake <- struct{}{}:
		default: // it is about to look
		}
	}
	return true
}

// read takes in everything that has come so far, in order.
func (o *Operations) read() {
	o.inboxMu.Lock()
	notes := o.inbox
	o.inbox, o.spare = o.spare[:0], nil
	o.inboxMu.Unlock()
	for i := 0; i < len(notes); i++ {
		if notes[i].do != nil {
			notes[i].do()
			continue
		}
		n := i + 1
		for n < len(notes) && notes[n].do == nil {
			n++
		}
		o.settle(notes[i:n])
		i = n - 1
	}
	if cap(notes) <= spareNotes {
		clear(notes)
		o.inboxMu.Lock()
		o.spare = notes[:0]
		o.inboxMu.Unlock()
	}
}

// submit makes what a turn has drafted the decided state, and hands the rows to
// the journal. What the decision was made by and does not change itself is
// asserted in the same commit while it is in flight: if that is taken back, so
// is this.
func (o *Operations) submit(tk *ticket) {
	t := tk.turn
	o.drafted = o.drafted[:0]
	rows := 0
	for _, e := range t.entries {
		rows += len(t.rowsOf(e))
	}
	for i := range t.appends {
		rows += len(t.appends[i].Events)
	}
	tk.events = make([]drey.Event, 0, rows)
	appends := make([]store.Append, 0, len(t.asserts)+len(t.entries)+len(t.appends))
	appends = append(appends, t.asserts...)
	for _, e := range t.entries {
		from := len(tk.events)
		rows := t.rowsOf(e)
		for _, row := range rows {
			e.pending = append(e.pending, pending{tk, row})
			tk.events = append(tk.events, row.Event())
		}
		o.decide(e, e.draft)
		e.draft = nil
		appends = append(appends, e.appendOf(rows, tk.events[from:len(tk.events):len(tk.events)], o.policy.ProgressHistory))
		if e.decided.Ended() {
			o.leave(e)
		}
		if rows[0].Action == operation.ActRegister {
			e.scope.registering = append(e.scope.registering, tk)
		}
	}
	for _, e := range t.looked {
		if last := e.last(); last != nil && last != tk {
			appends = append(appends, store.Append{Machine: operation.MachineName, ID: e.id.String(), Expect: e.decided.Version})
		}
	}
	for _, s := range t.sets {
		s.submitted(tk)
	}
	for _, a := range t.appends {
		tk.events = append(tk.events, a.Events...)
		appends = append(appends, a)
	}
	o.inFlight++
	o.cfg.Journal.Submit(func(c store.Commit, err error) {
		if err == nil && len(tk.events) > 0 {
			for i := range tk.events {
				tk.events[i].Seq = c.First + drey.Seq(i)
			}
			if o.cfg.Bus != nil {
				o.cfg.Bus.Committed(tk.events...)
			}
		}
		o.post(note{t: tk, commit: c, err: err})
	}, appends...)
}

// settle publishes what was committed and takes back what was not, then
// answers. A run of commits is published under one lock.
func (o *Operations) settle(notes []note) {
	o.mu.Lock()
	for i := range notes {
		n := &notes[i]
		o.inFlight--
		n.t.over, n.t.err, n.t.commit = true, n.err, n.commit
		if n.err == nil {
			o.publish(n.t)
		}
	}
	o.mu.Unlock()
	for i := range notes {
		t := notes[i].t
		o.cfg.Metrics.committed(o.cfg.Now().Sub(t.at), t)
		if t.err != nil {
			o.takeBack(t)
		}
		o.afterwards(t)
		if t.err != nil {
			t.answer(t, unavailable(t.turn.action, t.turn.id, t.err))
		} else {
			t.answer(t, nil)
		}
		for _, ride := range t.riders {
			ride()
		}
		t.riders = nil
	}
}

// publish shows a commit to readers: the machines, then the outcomes of those
// that ended, to watches before waits (§5). Who calls holds o.mu.
func (o *Operations) publish(t *ticket) {
	if t.commit.Last > o.head {
		o.head = t.commit.Last
	}
	seq := t.commit.First
	for _, e := range t.turn.entries {
		for _, row := range t.turn.rowsOf(e) {
			if len(e.pending) == 0 || e.pending[0].row != row {
				o.cfg.Log.Error("operation-published-out-of-order", "id", e.id.String(), "version", row.After.Version)
			} else {
				e.pending = e.pending[1:]
			}
			e.lastSeq = seq
			seq++
			o.show(e, row)
		}
		if len(e.pending) == 0 {
			e.pending = nil
		}
	}
	for _, s := range t.turn.sets {
		s.publish(t)
	}
}

// show publishes one row. Who calls holds o.mu.
func (o *Operations) show(e *entry, row *operation.Row) {
	was, m := e.seen, &row.After
	o.count(was, -1)
	o.count(m, +1)
	if p, ok := row.Progress(); ok {
		e.history.Add(p, o.policy.ProgressHistory)
	}
	e.seen = m
	if was == nil {
		o.list(e)
	} else {
		o.relist(e, was)
	}
	o.cfg.Metrics.moved(row)
	if m.Status.Ended() {
		e.ending = e.scope.endings.PushBack(e)
		o.resolve(e)
	}
}

// takeBack returns the operations of a failed commit to what is published. The
// rows behind it rest on it and fail too, by the versions that they expect:
// they are dropped here and answered when their turn comes.
func (o *Operations) takeBack(t *ticket) {
	if errors.Is(t.err, store.ErrEpoch) && o.refusal == nil {
		o.mu.Lock()
		o.refusal = t.err
		o.mu.Unlock()
		o.cfg.Log.Error("operations-not-owner", "error", t.err)
	}
	for _, e := range t.turn.entries {
		doomed := false
		for _, p := range e.pending {
			doomed = doomed || p.t == t
		}
		if doomed {
			e.pending = nil
			e.tail = 0 // counted anew: how many rows are behind the last snapshot is not known
			o.decide(e, e.seen)
		}
	}
	for _, s := range t.turn.sets {
		s.takeBack(t)
	}
}

// afterwards does what an ending brings with it, when it is published.
func (o *Operations) afterwards(t *ticket) {
	for _, e := range t.turn.entries {
		if len(e.pending) == 0 {
			o.left(e)
		}
		if r := e.scope.registering; len(r) > 0 && r[0] == t { // once for each operation that it has registered
			e.scope.registering = r[1:]
		}
		if t.err != nil {
			continue
		}
		o.work(e)
		rows := t.turn.rowsOf(e)
		row := rows[len(rows)-1]
		if !row.After.Status.Ended() {
			continue
		}
		if o.cfg.Runtime != nil && (row.Action == operation.ActCancel || row.Action == operation.ActTerminateOwner) {
			o.mu.RLock()
			s := o.snapshot(e)
			o.mu.RUnlock()
			o.cfg.Runtime.StopWork(s)
		}
		o.retain(e.scope)
	}
}

// count keeps the gauge of operations.
func (o *Operations) count(m *operation.Machine, by int) {
	if m == nil {
		return
	}
	p := population{m.Registry.Kind(), m.Kind.String(), m.Status.String()}
	if o.census[p] += by; o.census[p] == 0 {
		delete(o.census, p)
	}
}
