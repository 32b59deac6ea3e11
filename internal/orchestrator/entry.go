package orchestrator

import (
	"container/list"
	"slices"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
)

// entry is one operation: as it is decided and, behind that by what the journal
// has not answered yet, as everybody sees it.
type entry struct {
	id    operation.ID
	scope *scope

	// Owned by the owner.
	decided *operation.Machine // nil = its registration was taken back
	draft   *operation.Machine // within a turn: what that makes of it
	pending []pending          // rows in flight, oldest first
	tail    int                // rows since the last snapshot in the journal
	leaving *operation.Machine // its ending, while that is in flight
	given   []string           // the owners that it was taken from, while that is in flight
	endWork func()             // what Config.Work has returned; nil = it is no work

	// Guarded by Operations.mu.
	traits  traits             // set when it is listed
	seen    *operation.Machine // nil = not published yet
	history operation.History
	lastSeq drey.Seq
	watches map[*Watch]struct{}
	waits   []*wait // those that its ending has to answer
	pins    int     // waits that need the record
	ending  *list.Element
	parent  operation.ID // cached; see parentOf
}

// pending is a row in flight.
type pending struct {
	t   *ticket
	row *operation.Row
}

// endings are the ended operations that a registry retains, in the order of
// their endings: *entry.
type endings struct{ list.List }

func (e *entry) key() operation.Key { return e.machine().Key() }

// machine is the operation for what never changes of it.
func (e *entry) machine() *operation.Machine {
	if e.seen != nil {
		return e.seen
	}
	return e.decided
}

// last is the newest row in flight's ticket; nil if there is none.
func (e *entry) last() *ticket {
	if len(e.pending) == 0 {
		return nil
	}
	return e.pending[len(e.pending)-1].t
}

// decide makes m what is decided of e, nil if it never was, and keeps the
// owner's indexes by it.
func (o *Operations) decide(e *entry, m *operation.Machine) {
	was := e.decided
	if was != nil && m != nil && was.Live() && m.Live() && was.Owner == m.Owner { // as most rows leave it
		e.decided = m
		return
	}
	if was != nil && was.Live() {
		e.scope.live--
		o.liveByOwner.remove(was.Owner, e)
		if was.Child != "" {
			o.liveByChild.remove(was.Child, e)
		}
	}
	if was != nil && m != nil && was.Owner != m.Owner {
		e.given = append(e.given, was.Owner)
		o.goesByOwner.add(was.Owner, e)
	}
	e.decided = m
	if m == nil {
		o.mu.Lock()
		delete(o.entries, e.id)
		o.mu.Unlock()
		return
	}
	if m.Live() {
		e.scope.live++
		o.liveByOwner.add(m.Owner, e)
		if m.Child != "" {
			o.liveByChild.add(m.Child, e)
		}
	}
}

// leave notes that the ending of e, which is decided, is in flight.
func (o *Operations) leave(e *entry) {
	e.leaving = e.decided
	e.scope.leaving = append(e.scope.leaving, e)
	o.goesByOwner.add(e.leaving.Owner, e)
	o.goesByChild.add(e.leaving.Child, e)
}

// left notes that nothing of e is in flight any more.
func (o *Operations) left(e *entry) {
	for _, owner := range e.given {
		o.goesByOwner.remove(owner, e)
	}
	e.given = nil
	if e.leaving == nil {
		return
	}
	if at := slices.Index(e.scope.leaving, e); at >= 0 {
		e.scope.leaving = slices.Delete(e.scope.leaving, at, at+1)
	}
	o.goesByOwner.remove(e.leaving.Owner, e)
	o.goesByChild.remove(e.leaving.Child, e)
	e.leaving = nil
}

// scopeOf returns a registry, which there is from its first operation on.
func (o *Operations) scopeOf(id operation.RegistryID) *scope {
	s := o.scopes[id]
	if s == nil {
		s = &scope{id: id}
		o.mu.Lock()
		o.scopes[id] = s
		o.mu.Unlock()
	}
	return s
}

// The machines in the journal beside operation.MachineName.
const (
	machineArchive = "operation_archive" // by their place in lists: operations that are not retained any more
	machinePlace   = "operation_place"   // by id: where in the archive an operation is
	machineChild   = "operation_child"   // by session: that it was an operation's child once
	machineOwner   = "operation_owner"   // by session: fences
	machineBinding = "member_binding"    // by session: bindings of members
)

// snapshotEvery is how many rows of an operation are replayed at most. A
// snapshot with each row would write everything twice; one now and then keeps a
// restart short.
const snapshotEvery = 64

// appendOf returns what a turn writes about one operation.
func (e *entry) appendOf(rows []*operation.Row, events []drey.Event, progressHistory int) store.Append {
	a := store.Append{Machine: operation.MachineName, ID: e.id.String(), Expect: rows[0].Expect(), Events: events}
	if e.tail += len(rows); e.tail >= snapshotEvery {
		if snapshot, err := e.record(progressHistory).MarshalJSON(); err == nil { // a machine is JSON by its checks
			a.Snapshot, e.tail = snapshot, 0
		}
	}
	return a
}

// record is the operation as it is decided, rows in flight included.
func (e *entry) record(progressHistory int) operation.Record {
	r := operation.Record{Machine: *e.decided}
	for _, p := range e.history.Updates() {
		r.History.Add(p, progressHistory)
	}
	for _, p := range e.pending {
		if u, ok := p.row.Progress(); ok {
			r.History.Add(u, progressHistory)
		}
	}
	return r
}
