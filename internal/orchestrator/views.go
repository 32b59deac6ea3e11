package orchestrator

import (
	"hash/maphash"
	"iter"
	"slices"

	"github.com/dreyhq/drey/internal/operation"
)

// state is what an operation is listed under as it moves: byState has at most
// some twenty of them.
type state struct {
	kind   operation.Kind
	status operation.Status
}

// label is one label of an operation.
type label struct{ key, value string }

// traits is a set of what never changes of an operation, with two bits for each:
// a filter that wants one that is not in it passes over the operation without a
// look at the rest, which is elsewhere in memory.
type traits uint64

var seed = maphash.MakeSeed()

func trait[T comparable](of T) traits {
	h := maphash.Comparable(seed, of)
	return 1<<(h&63) | 1<<(h>>6&63)
}

func traitsOf(m *operation.Machine) traits {
	t := trait(m.Kind) | trait(m.Registry)
	for k, v := range m.Labels {
		t |= trait(label{k, v})
	}
	return t
}

// wanted returns the traits that every operation has that f selects.
func wanted(f *operation.Filter) (t traits) {
	if f.Kind != operation.NoKind {
		t |= trait(f.Kind)
	}
	if f.Registry != "" {
		t |= trait(f.Registry)
	}
	for k, v := range f.Labels {
		t |= trait(label{k, v})
	}
	return t
}

func stateOf(m *operation.Machine) state { return state{m.Kind, m.Status} }

// list adds an operation to the indexes of readers. Who calls holds o.mu, here
// and below.
func (o *Operations) list(e *entry) {
	m := e.seen
	e.traits = traitsOf(m)
	o.all.insert(e)
	e.scope.all.insert(e)
	reindex(o.byState, stateOf(m), e)
	reindex(o.byOwner, m.Owner, e)
	if m.Child != "" {
		reindex(o.byChild, m.Child, e)
	}
	for k, v := range m.Labels {
		reindex(o.byLabel, label{k, v}, e)
	}
}

// relist moves an operation that is listed as was. Its key never changes, nor do
// its child and its labels.
func (o *Operations) relist(e *entry, was *operation.Machine) {
	m := e.seen
	if stateOf(was) != stateOf(m) {
		unindex(o.byState, stateOf(was), e)
		reindex(o.byState, stateOf(m), e)
	}
	if was.Owner != m.Owner {
		unindex(o.byOwner, was.Owner, e)
		reindex(o.byOwner, m.Owner, e)
	}
}

// unlist takes an operation out of the indexes.
func (o *Operations) unlist(e *entry) {
	m := e.seen
	o.all.remove(e)
	e.scope.all.remove(e)
	unindex(o.byState, stateOf(m), e)
	unindex(o.byOwner, m.Owner, e)
	if m.Child != "" {
		unindex(o.byChild, m.Child, e)
	}
	for k, v := range m.Labels {
		unindex(o.byLabel, label{k, v}, e)
	}
	o.count(m, -1)
	delete(o.entries, e.id)
}

func reindex[K comparable](in map[K]*index, key K, e *entry) {
	x := in[key]
	if x == nil {
		x = &index{}
		in[key] = x
	}
	x.insert(e)
}

func unindex[K comparable](in map[K]*index, key K, e *entry) {
	if x := in[key]; x != nil {
		if x.remove(e); x.len() == 0 {
			delete(in, key)
		}
	}
}

// narrowest returns the smallest of the indexes that hold all that f selects.
func (o *Operations) narrowest(f *operation.Filter) union {
	best := union{&o.all}
	narrow := func(to union) {
		if to.len() < best.len() {
			best = to
		}
	}
	one := func(x *index) {
		if x == nil {
			narrow(nil)
		} else {
			narrow(union{x})
		}
	}
	if f.Owner != "" {
		one(o.byOwner[f.Owner])
	}
	if f.Child != "" {
		one(o.byChild[f.Child])
	}
	if f.Registry != "" {
		if s := o.scopes[f.Registry]; s != nil {
			one(&s.all)
		} else {
			one(nil)
		}
	}
	for k, v := range f.Labels {
		one(o.byLabel[label{k, v}])
	}
	if f.Kind != operation.NoKind || len(f.Statuses) > 0 || f.Active != nil {
		var states union
		for at, x := range o.byState {
			if (f.Kind == operation.NoKind || f.Kind == at.kind) &&
				(len(f.Statuses) == 0 || slices.Contains(f.Statuses, at.status)) &&
				(f.Active == nil || *f.Active == at.status.Live()) {
				states = append(states, x)
			}
		}
		narrow(states)
	}
	return best
}

// union is some indexes, none of which shares an entry with another, as one.
type union []*index

func (u union) len() int {
	n := 0
	for _, x := range u {
		n += x.len()
	}
	return n
}

// ascend yields the entries at or behind a place, in order.
func (u union) ascend(from operation.Key) iter.Seq[*entry] {
	if len(u) == 1 {
		return u[0].ascend(from)
	}
	return func(yield func(*entry) bool) {
		var at []cursor
		for _, x := range u {
			if c := x.cursor(from); c.e != nil {
				at = append(at, c)
			}
		}
		for len(at) > 0 {
			first := 0
			for i := 1; i < len(at); i++ {
				if at[i].key.Compare(at[first].key) < 0 {
					first = i
				}
			}
			if !yield(at[first].e) {
				return
			}
			if at[first].next(); at[first].e == nil {
				at = slices.Delete(at, first, first+1)
			}
		}
	}
}

// cursor is a place in an index.
type cursor struct {
	x            *index
	chunk, place int
	e            *entry // there; nil = it is behind the last one
	key          operation.Key
}

// cursor returns the place of the first entry at or behind a key.
func (x *index) cursor(from operation.Key) cursor {
	c := cursor{x: x}
	c.chunk, c.place = x.find(from)
	c.read()
	return c
}

func (c *cursor) next() {
	c.place++
	c.read()
}

func (c *cursor) read() {
	if c.chunk < len(c.x.chunks) && c.place == len(c.x.chunks[c.chunk]) {
		c.chunk, c.place = c.chunk+1, 0
	}
	if c.e = nil; c.chunk < len(c.x.chunks) {
		c.e = c.x.chunks[c.chunk][c.place]
		c.key = c.e.key()
	}
}
