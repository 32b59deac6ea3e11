package spend

import (
	"cmp"
	"slices"
	"time"
)

// View is what status and metrics read of a Machine. It is a value of its own.
type View struct {
	Reserved MicroUSD // by all attempts in flight that a budget reaches over
	Open     int      // how many they are
	Budgets  []Budget // by scope, the global one first, then by name; day before month
}

// Budget is an account's window as it is now, with its cap if there is one.
type Budget struct {
	Scope    Scope
	Period   Period
	Spent    MicroUSD
	Reserved MicroUSD
	Cap      Cap
	Left     MicroUSD  // what may still be reserved; 0 without a cap
	Resets   time.Time // when the window ends
}

// View returns the windows of a time: of every scope that the policy limits, and
// of every other one that has spent something in it.
func (m *Machine) View(at time.Time, p Policy) View {
	v := View{Reserved: m.reserved, Open: len(m.open)}
	day := m.dayOf(at)
	scopes := append(p.scopes(), m.scopes()...)
	sortScopes(scopes)
	for _, s := range slices.Compact(scopes) {
		for period := range periods {
			w := m.accounts[s].at(period, day)
			b := Budget{Scope: s, Period: period, Spent: w.spent, Reserved: w.reserved, Cap: p.limit(s).cap(period), Resets: day.end(period)}
			limit, ok := b.Cap.Value()
			if !ok && w.spent == 0 && w.reserved == 0 {
				continue
			}
			b.Left = max(limit-w.spent.plus(w.reserved), 0)
			v.Budgets = append(v.Budgets, b)
		}
	}
	return v
}

// Exhausted reports whether a budget over a payer is spent to its end, so that
// not even the cheapest attempt has room, and when there is money again; zero
// if there never is. What is only reserved may come back at any moment.
func (v View) Exhausted(p Payer) (until time.Time, ok bool) {
	scopes, n := p.scopes()
	never := false
	for _, b := range v.Budgets {
		limit, capped := b.Cap.Value()
		if !capped || b.Spent < limit || !slices.Contains(scopes[:n], b.Scope) {
			continue
		}
		ok, never = true, never || limit == 0
		if b.Resets.After(until) {
			until = b.Resets
		}
	}
	if never {
		until = time.Time{}
	}
	return until, ok
}

// scopes returns those that have an account, in order.
func (m *Machine) scopes() []Scope {
	list := make([]Scope, 0, len(m.accounts))
	for s := range m.accounts {
		list = append(list, s)
	}
	sortScopes(list)
	return list
}

// scopes returns those with a cap.
func (p Policy) scopes() []Scope {
	var list []Scope
	if p.Global.inForce() {
		list = append(list, Scope{Kind: Global})
	}
	for name, l := range p.Providers {
		if l.inForce() {
			list = append(list, Scope{ByProvider, string(name)})
		}
	}
	for name, l := range p.Profiles {
		if l.inForce() {
			list = append(list, Scope{ByProfile, string(name)})
		}
	}
	for name, l := range p.Keys {
		if l.inForce() {
			list = append(list, Scope{ByKey, name})
		}
	}
	return list
}

func sortScopes(list []Scope) {
	slices.SortFunc(list, func(a, b Scope) int {
		return cmp.Or((int(a.Kind)+1)%len(scopeNames)-(int(b.Kind)+1)%len(scopeNames), cmp.Compare(a.Name, b.Name))
	})
}
