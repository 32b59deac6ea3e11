// Package spend counts money: what usage costs, what a budget still allows, and
// how often a key may ask. It is pure; the daemon owns one Machine under one
// lock, commits its rows, and asks it before a paid attempt leaves.
//
// An attempt that some budget reaches over is reserved first, with all that it
// may cost, on every account at once or on none; it is settled at its end with
// what it did cost. So no burst of requests passes a limit together, and at any
// moment, on every account, what is spent and what is reserved are within its
// caps, but for attempts that cost more than their reservation foresaw.
//
// The Machine is the state machine of the house in all but one thing: it holds
// an account for each scope and a reservation for each attempt in flight, and is
// changed in place instead of being returned. Deciding (Reserve, Settle,
// Recover) makes rows and applies them; a restart applies the same rows again
// (Replay).
package spend

import (
	"fmt"
	"slices"
	"time"

	"github.com/dreyhq/drey"
)

// Machine is every account and every reservation of a home. The zero value has
// spent nothing. It is not safe for concurrent use.
//
// A restart reads the snapshot, replays the rows since, and settles what was
// open (Recover): whatever the attempts in flight did, their provider may have
// charged for it.
type Machine struct {
	today    Date   // the latest day in which something was counted
	last     uint64 // the latest reservation's id
	reserved MicroUSD
	accounts map[Scope]*account
	open     map[uint64]*reservation
}

// account is what a scope has spent. It counts whether or not a budget is in
// force, so that one that is set later counts from the window's start.
type account struct{ windows [periods]window }

// window is an account's sums of one day or month.
type window struct {
	index           int32 // see Date.index
	told            Cap   // that had no room, and of which that was told; none = nothing was
	spent, reserved MicroUSD
}

// reservation is an attempt under way. It counts in the windows of its day to
// its end, also when that comes after midnight.
type reservation struct {
	id       uint64
	payer    Payer
	amount   MicroUSD
	day      Date
	request  drey.RequestID
	accounts [4]*account
	n        int // of accounts
}

// Meta is what every call carries.
type Meta struct {
	At        time.Time
	RequestID drey.RequestID
	Cause     drey.Seq
}

// Reserve asks for room for an attempt.
type Reserve struct {
	Meta
	Payer  Payer
	Amount MicroUSD // Prices.Reservation
}

// Ticket is what Reserve gives and Settle takes. It is a value; the machine
// keeps nothing of one whose ID is 0.
type Ticket struct {
	ID    uint64 // 0 = no budget is in force, and nothing is reserved
	Payer Payer
}

// Settle tells how an attempt ended.
type Settle struct {
	Meta
	Ticket    Ticket
	Cost      MicroUSD // Prices.Cost of Meter.Usage
	Estimated bool     // the cost rests on an estimate
	Ending    Ending
}

// Refusal says which budget has no room for an attempt. Of several it is the one
// that has none for the longest; of equals the narrower.
type Refusal struct {
	Scope  Scope
	Period Period
	Cap    MicroUSD
	Left   MicroUSD // what may still be reserved in the window; never negative
	Want   MicroUSD
	// Until is when the window ends, and there is room again at the latest;
	// zero if the attempt is too dear for the budget at any time.
	Until time.Time
	// Rows of what is to be told: once for each budget, window and limit, so
	// that a limit which is changed is told of again; nil for most refusals.
	// Nobody waits for their commit.
	Rows []Row
}

// Error says it in one line.
func (r *Refusal) Error() string {
	return fmt.Sprintf("the %s budget of %s (%s) has %s left, and the attempt may cost %s", r.Period, r.Scope, r.Cap, r.Left, r.Want)
}

// Check returns why the budgets have no room for an attempt, nil if they have. It
// holds nothing and promises nothing: Reserve decides. A budget that is exceeded
// is told of by either, once.
func (m *Machine) Check(r Reserve, p Policy) *Refusal {
	budgets, inForce := p.reach(r.Payer)
	if !inForce {
		return nil
	}
	return m.refuse(&budgets, &r)
}

// Reserve holds the amount on every account of the payer, or on none: then it
// returns a Refusal, and the ticket means nothing. The row is to be committed
// before the attempt leaves; where no budget is in force there is none (NoRow),
// nothing is held, and the attempt leaves at once. A row that could not be
// committed is settled with 0.
//
// An attempt counts in the day and the month in which it was reserved. A clock
// that was set back by up to a day stands still until it has caught up, since
// requests reach the machine a little out of order; one that was set back
// further takes the windows with it and empties none.
func (m *Machine) Reserve(r Reserve, p Policy) (Ticket, Row, *Refusal) {
	budgets, inForce := p.reach(r.Payer)
	if !inForce {
		return Ticket{Payer: r.Payer}, Row{}, nil
	}
	if refusal := m.refuse(&budgets, &r); refusal != nil {
		return Ticket{}, Row{}, refusal
	}
	row := Row{Kind: RowReserved, Meta: r.Meta, ID: m.last + 1, Payer: r.Payer, Amount: amount(r.Amount), Day: m.dayOf(r.At)}
	m.apply(&row)
	return Ticket{row.ID, r.Payer}, row, nil
}

// Settle charges an attempt that has ended, and gives back what was reserved
// for it. The row is committed and nobody waits for it: lost in a crash, it
// leaves the reservation open, which is then settled in full. There is none
// (NoRow) where nothing was reserved and nothing is charged, and for a
// reservation that is settled already.
//
// A ticket without a reservation is charged as often as it is settled, in the
// day and month of that.
func (m *Machine) Settle(s Settle) Row {
	row := Row{
		Kind: RowSettled, Meta: s.Meta, ID: s.Ticket.ID, Payer: s.Ticket.Payer,
		Cost: amount(s.Cost), Estimated: s.Estimated, Ending: s.Ending,
	}
	switch r := m.open[row.ID]; {
	case r != nil:
		row.Payer, row.Amount, row.Day = r.payer, r.amount, r.day
	case row.ID == 0 && row.Cost > 0:
		row.Day = m.dayOf(s.At)
	default:
		return Row{}
	}
	m.apply(&row)
	return row
}

// Recover settles, after a restart, what the end of the process left open: in
// full, and marked as estimated. The rows are committed before the first
// attempt leaves.
func (m *Machine) Recover(meta Meta) []Row {
	var rows []Row
	for _, r := range m.inOrder() {
		meta.RequestID = r.request
		rows = append(rows, m.Settle(Settle{
			Meta: meta, Ticket: Ticket{r.id, r.payer}, Cost: r.amount, Estimated: true, Ending: Recovered,
		}))
	}
	return rows
}

// inOrder returns the open reservations by their ids.
func (m *Machine) inOrder() []*reservation {
	list := make([]*reservation, 0, len(m.open))
	for _, r := range m.open {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *reservation) int { return int(int64(a.id - b.id)) })
	return list
}

// budget is a scope and its caps.
type budget struct {
	scope Scope
	limit Limit
}

// reach returns the budgets that reach over a payer; those that hold nothing
// back are zero. inForce is whether any does.
func (p Policy) reach(payer Payer) (b [4]budget, inForce bool) {
	scopes, n := payer.scopes()
	for i, s := range scopes[:n] {
		if l := p.limit(s); l.inForce() {
			b[i], inForce = budget{s, l}, true
		}
	}
	return b, inForce
}

// refuse returns why there is no room, nil if there is, and tells of budgets
// that are exceeded and were not told of.
func (m *Machine) refuse(budgets *[4]budget, ask *Reserve) *Refusal {
	var worst *Refusal
	var rows []Row
	want, day := amount(ask.Amount), m.dayOf(ask.At)
	for i := range budgets {
		b := &budgets[i]
		if !b.limit.inForce() {
			continue
		}
		a := m.accounts[b.scope]
		for p := range periods {
			limit, ok := b.limit.cap(p).Value()
			if !ok {
				continue
			}
			w := a.at(p, day)
			held := w.spent.plus(w.reserved)
			if held.plus(want) <= limit {
				continue
			}
			r := &Refusal{Scope: b.scope, Period: p, Cap: limit, Left: max(limit-held, 0), Want: want}
			if want <= limit {
				r.Until = day.end(p)
			}
			if worst == nil || r.outlasts(worst) {
				worst = r
			}
			if w.told != b.limit.cap(p) {
				rows = append(rows, Row{
					Kind: RowExceeded, Meta: ask.Meta, Amount: want, Day: day,
					Scope: b.scope, Period: p, Cap: limit,
				})
			}
		}
	}
	if worst != nil {
		worst.Rows = rows
		for i := range rows {
			m.apply(&rows[i])
		}
	}
	return worst
}

// outlasts reports whether r leaves no room for longer than s.
func (r *Refusal) outlasts(s *Refusal) bool {
	if r.Until.IsZero() || s.Until.IsZero() {
		return r.Until.IsZero() && !s.Until.IsZero()
	}
	return r.Until.After(s.Until)
}

// at returns the sums of the window that a day lies in; nil has spent nothing.
func (a *account) at(p Period, day Date) window {
	if index := day.index(p); a != nil && a.windows[p].index == index {
		return a.windows[p]
	}
	return window{}
}

// dayOf is the day in which something that happens now counts.
func (m *Machine) dayOf(at time.Time) Date {
	if d := dateOf(at); d != m.today-1 {
		return d
	}
	return m.today
}

// apply makes a row true. It takes rows of the journal as they are: each was
// decided when it was written.
func (m *Machine) apply(row *Row) {
	m.last = max(m.last, row.ID)
	switch row.Kind {
	case RowReserved:
		if m.open[row.ID] != nil {
			return
		}
		m.advance(row.Day)
		r := &reservation{id: row.ID, payer: row.Payer, amount: row.Amount, day: row.Day, request: row.RequestID}
		m.hold(r)
		for _, a := range r.accounts[:r.n] {
			for p := range periods {
				w := a.roll(p, r.day)
				w.reserved = w.reserved.plus(r.amount)
			}
		}
	case RowSettled:
		r := m.open[row.ID]
		if r == nil && row.ID != 0 {
			return
		}
		if r == nil {
			m.advance(row.Day)
			scopes, n := row.Payer.scopes()
			for _, s := range scopes[:n] {
				for p := range periods {
					w := m.account(s).roll(p, row.Day)
					w.spent = w.spent.plus(row.Cost)
				}
			}
			return
		}
		for p := range periods {
			index := r.day.index(p)
			for _, a := range r.accounts[:r.n] {
				if w := &a.windows[p]; w.index == index {
					w.reserved, w.spent = max(w.reserved-r.amount, 0), w.spent.plus(row.Cost)
				}
			}
		}
		m.reserved = max(m.reserved-r.amount, 0)
		delete(m.open, r.id)
	case RowExceeded:
		m.advance(row.Day)
		m.account(row.Scope).roll(row.Period, row.Day).told = CapAt(row.Cap)
	}
}

// hold puts a reservation among the open ones, with its accounts.
func (m *Machine) hold(r *reservation) {
	if m.open == nil {
		m.open = map[uint64]*reservation{}
	}
	scopes, n := r.payer.scopes()
	for _, s := range scopes[:n] {
		r.accounts[r.n] = m.account(s)
		r.n++
	}
	m.open[r.id] = r
	m.reserved = m.reserved.plus(r.amount)
}

func (m *Machine) account(s Scope) *account {
	a := m.accounts[s]
	if a == nil {
		if m.accounts == nil {
			m.accounts = map[Scope]*account{}
		}
		a = &account{}
		m.accounts[s] = a
	}
	return a
}

// roll returns the window that a day lies in, a new one if the last was another.
func (a *account) roll(p Period, day Date) *window {
	w := &a.windows[p]
	if index := day.index(p); w.index != index {
		*w = window{index: index}
	}
	return w
}

// advance moves to a day. Back it takes the windows and the reservations of
// later days along, so that what they hold still counts.
func (m *Machine) advance(day Date) {
	if day >= m.today {
		m.today = day
		return
	}
	m.today = day
	for _, a := range m.accounts {
		for p := range periods {
			a.windows[p].index = min(a.windows[p].index, day.index(p))
		}
	}
	for _, r := range m.open {
		r.day = min(r.day, day)
	}
	m.recount()
}

// recount sums up what is reserved in each window from the reservations.
func (m *Machine) recount() {
	for _, a := range m.accounts {
		for p := range periods {
			a.windows[p].reserved = 0
		}
	}
	for _, r := range m.open {
		for p := range periods {
			index := r.day.index(p)
			for _, a := range r.accounts[:r.n] {
				if w := &a.windows[p]; w.index == index {
					w.reserved = w.reserved.plus(r.amount)
				}
			}
		}
	}
}
