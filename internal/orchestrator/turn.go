package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
)

// turn is one decision of the owner: any number of steps on any number of
// operations and facts, of which all happen or none. It sees what is decided,
// and its own steps; nobody sees it before it is concluded.
type turn struct {
	o  *Operations
	at time.Time

	action operation.Action // what was called, and of which operation: for refusals that are the store's
	id     operation.ID

	entries []*entry // that have rows, in the order of their first one
	rows    map[*entry][]*operation.Row
	single  *operation.Row          // the one row of a turn that has one, without the map
	made    []*entry                // registered by this turn
	sets    []settling              // facts that change
	appends []store.Append          // what the facts and the caller write beside
	looked  []*entry                // what the decision was made by
	asserts []store.Append          // that facts in flight, which it was made by too, are so
	rests   []*ticket               // decisions in flight that a refusal rests on
	gone    func(operation.ID) bool // the store knows it as evicted; nil = nobody has asked
	cause   drey.Seq
}

// settling is a fact's change within a ticket.
type settling interface {
	publish(t *ticket)
	takeBack(t *ticket)
	submitted(t *ticket)
}

// errPanicked is the answer to a call that has met a bug of ours.
var errPanicked = errors.New("drey has met a bug of its own; the log says more")

// ask has the owner decide something and returns when the answer is durable:
// nil, or why not. answer, which may be nil, runs in the owner's goroutine
// right before a nil is returned, when what was decided is published.
func (o *Operations) ask(ctx context.Context, action operation.Action, id operation.ID, decide func(*turn) error, answer func(*ticket)) error {
	done := make(chan error, 1)
	ok := o.post(note{do: func() {
		t := &turn{o: o, at: o.now(), action: action, id: id}
		o.conclude(t, t.run(decide), func(tk *ticket, err error) {
			if err == nil && answer != nil {
				answer(tk)
			}
			if err != nil {
				o.cfg.Metrics.refused(action, err)
			}
			done <- err
		})
	}})
	if !ok {
		return closed(action, id)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-o.ended:
		select {
		case err := <-done:
			return err
		default:
			return closed(action, id)
		}
	}
}

// run decides. A panic is a bug in what decides: it is answered, and what the
// turn had drafted is forgotten.
func (t *turn) run(decide func(*turn) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			t.o.cfg.Log.Error("operation-call-panicked", "action", t.action.String(), "id", t.id.String(), "panic", fmt.Sprint(p))
			err = errPanicked
		}
	}()
	if t.o.refusal != nil {
		return unavailable(t.action, t.id, t.o.refusal)
	}
	return decide(t)
}

// machine returns an operation as the turn has left it so far: the zero machine
// where there is none. To have looked at it makes the decision rest on it.
func (t *turn) machine(id operation.ID) (*entry, operation.Machine) {
	e := t.o.entries[id]
	switch {
	case e != nil && e.draft != nil:
		return e, *e.draft
	case e != nil && e.decided != nil:
		t.look(e)
		return e, *e.decided
	case t.o.evicted.has(id) || t.gone != nil && t.gone(id):
		return nil, operation.Evicted(id, operation.Absent)
	}
	return nil, operation.Machine{}
}

// look notes that the decision is made by what is decided of e.
func (t *turn) look(e *entry) {
	if last := e.last(); last != nil {
		t.rests = append(t.rests, last)
		t.looked = append(t.looked, e)
	}
}

// step makes a call. It returns the row; nil where the call changes nothing,
// with the version of a repeat.
func (t *turn) step(ev operation.Event) (*operation.Row, error) {
	ev, id := t.stamp(ev)
	e, m := t.machine(id)
	policy := t.o.policy
	if reg, ok := ev.(operation.Register); ok {
		policy = t.o.policyOf(reg.Registry)
	}
	_, out := operation.Step(m, ev, policy)
	if refused := operation.Refusal(out); refused != nil {
		t.restOn(ev, refused)
		return nil, refused
	}
	row := operation.RowOf(out)
	if row == nil {
		return nil, nil
	}
	if e == nil {
		e = &entry{id: id, scope: t.o.scopeOf(row.After.Registry)}
		t.o.mu.Lock()
		t.o.entries[id] = e
		t.o.mu.Unlock()
		t.made = append(t.made, e)
	}
	if reg, ok := ev.(operation.Register); ok {
		t.claim(e.scope, policy.MaxConcurrent, reg.Active)
	}
	if e.draft == nil {
		t.entries = append(t.entries, e)
		t.o.drafted = append(t.o.drafted, e)
	}
	e.draft = &row.After
	t.add(e, row)
	return row, nil
}

func (t *turn) add(e *entry, row *operation.Row) {
	if t.single == nil && t.rows == nil {
		t.single = row
		return
	}
	if t.rows == nil {
		t.rows = map[*entry][]*operation.Row{t.entries[0]: {t.single}}
	}
	t.rows[e] = append(t.rows[e], row)
}

// rowsOf returns the turn's rows of an operation.
func (t *turn) rowsOf(e *entry) []*operation.Row {
	if t.rows == nil {
		return []*operation.Row{t.single}
	}
	return t.rows[e]
}

// active is how many operations of a registry live, as the turn leaves it so
// far.
func (t *turn) active(r operation.RegistryID) int {
	s := t.o.scopes[r]
	if s == nil {
		return 0
	}
	n := s.live
	for _, e := range t.entries {
		if e.scope != s {
			continue
		}
		if e.draft.Live() {
			n++
		}
		if e.decided != nil && e.decided.Live() {
			n--
		}
	}
	return n
}

// claim makes a registration rest on the endings in flight that it needs to
// have happened for its slot.
func (t *turn) claim(s *scope, limit *int, active int) {
	if limit == nil || active+len(s.leaving) < *limit {
		return
	}
	for _, e := range s.leaving {
		t.look(e)
	}
}

// restOn notes what a refusal rests on beside the operation itself.
func (t *turn) restOn(ev operation.Event, refused *operation.Error) {
	switch refused.Code {
	case operation.CodeOwnerRetired:
		if f := t.o.fences[refused.Owner]; f != nil {
			t.rests = append(t.rests, f.flight...)
		}
	case operation.CodeMaxConcurrentExceeded:
		if reg, ok := ev.(operation.Register); ok {
			if s := t.o.scopes[reg.Registry]; s != nil {
				t.rests = append(t.rests, s.registering...) // each of them holds a slot
			}
		}
	}
}

// stamp fills in what the registry knows of a call.
func (t *turn) stamp(ev operation.Event) (operation.Event, operation.ID) {
	fill := func(m *operation.Meta) operation.ID {
		m.At, m.Epoch = t.at, t.o.epoch
		return m.ID
	}
	switch e := ev.(type) {
	case operation.Register:
		e.ID = e.Spec.ID
		fill(&e.Meta)
		e.Active = t.active(e.Registry)
		e.Fenced = t.o.fenced(e.Spec.Owner)
		return e, e.Spec.ID
	case operation.Provisioned:
		fill(&e.Meta)
		return e, e.ID
	case operation.ProvisioningFailed:
		fill(&e.Meta)
		return e, e.ID
	case operation.AbortProvisioning:
		fill(&e.Meta)
		return e, e.ID
	case operation.PeerBecameReady:
		fill(&e.Meta)
		return e, e.ID
	case operation.ReportProgress:
		fill(&e.Meta)
		return e, e.ID
	case operation.Complete:
		id := fill(&e.Meta)
		return e, id // Result has an ID of its own
	case operation.Fail:
		fill(&e.Meta)
		return e, e.ID
	case operation.Cancel:
		fill(&e.Meta)
		return e, e.ID
	case operation.RequestRetire:
		fill(&e.Meta)
		return e, e.ID
	case operation.MarkRetired:
		fill(&e.Meta)
		return e, e.ID
	case operation.TerminateOwner:
		fill(&e.Meta)
		return e, e.ID
	case operation.AdoptOwner:
		fill(&e.Meta)
		return e, e.ID
	case operation.RegisterWatcher:
		fill(&e.Meta)
		return e, e.ID
	case operation.Recover:
		fill(&e.Meta)
		return e, e.ID
	}
	return ev, operation.ID{}
}

// ticket is a decision in flight: from its submission until the journal has
// answered.
type ticket struct {
	turn   *turn
	n      uint64 // tickets are numbered, and answered, in the order of submission
	events []drey.Event
	at     time.Time // when it was submitted
	commit store.Commit

	answer func(*ticket, error)
	riders []func() // answers that rest on it
	over   bool
	err    error // why nothing of it was written
}

// conclude ends a turn. A refusal, and an answer that changes nothing, waits
// for the decisions in flight that it rests on; with one of them it is taken
// back. Anything else goes to the journal.
func (o *Operations) conclude(t *turn, err error, answer func(*ticket, error)) {
	if err != nil || len(t.entries) == 0 && len(t.sets) == 0 && len(t.appends) == 0 {
		o.forget(t)
		o.whenSettled(t, func(taken error) {
			if taken != nil {
				err = unavailable(t.action, t.id, taken)
			}
			answer(nil, err)
		})
		return
	}
	o.tickets++
	tk := &ticket{n: o.tickets, turn: t, answer: answer, at: o.cfg.Now()}
	o.submit(tk)
}

// forget drops what a refused turn had drafted.
func (o *Operations) forget(t *turn) {
	for _, e := range o.drafted {
		e.draft = nil
	}
	o.drafted = o.drafted[:0]
	if len(t.made) > 0 {
		o.mu.Lock()
		for _, e := range t.made {
			delete(o.entries, e.id)
		}
		o.mu.Unlock()
	}
	t.entries, t.sets, t.appends, t.made = nil, nil, nil, nil
}

// whenSettled calls then when everything in flight that the turn rests on has
// been answered, with the error of what failed.
func (o *Operations) whenSettled(t *turn, then func(error)) {
	var last *ticket // tickets are answered in order
	for _, r := range t.rests {
		if !r.over && (last == nil || r.n > last.n) {
			last = r
		}
	}
	rests := t.rests
	settled := func() {
		for _, r := range rests {
			if r.err != nil {
				then(r.err)
				return
			}
		}
		then(nil)
	}
	if last == nil {
		settled()
		return
	}
	last.riders = append(last.riders, settled)
}
