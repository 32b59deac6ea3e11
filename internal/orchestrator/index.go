package orchestrator

import (
	"iter"
	"slices"

	"github.com/dreyhq/drey/internal/operation"
)

// chunkSize bounds what an insertion moves. With 100,000 operations there are
// a few hundred chunks, and finding one's place reads some twenty keys.
const chunkSize = 512

// index holds entries in the order of their keys. The zero value is empty. A
// small one is one slice; large ones are cut into chunks, none of them empty.
type index struct {
	chunks [][]*entry
	n      int
}

func (x *index) len() int { return x.n }

// find returns the chunk and the place in it where key is or would be.
func (x *index) find(key operation.Key) (chunk, place int) {
	chunk, found := slices.BinarySearchFunc(x.chunks, key, func(c []*entry, k operation.Key) int { return c[0].key().Compare(k) })
	if !found && chunk > 0 {
		chunk--
	}
	if chunk == len(x.chunks) {
		return chunk, 0
	}
	place, _ = slices.BinarySearchFunc(x.chunks[chunk], key, func(e *entry, k operation.Key) int { return e.key().Compare(k) })
	return chunk, place
}

// insert adds an entry that is not in it.
func (x *index) insert(e *entry) {
	x.n++
	n := len(x.chunks)
	if n == 0 {
		x.chunks = [][]*entry{{e}}
		return
	}
	if last := x.chunks[n-1]; last[len(last)-1].key().Compare(e.key()) < 0 { // as all of a start come
		if len(last) < chunkSize {
			x.chunks[n-1] = append(last, e)
		} else {
			x.chunks = append(x.chunks, []*entry{e})
		}
		return
	}
	at, place := x.find(e.key())
	c := slices.Insert(x.chunks[at], place, e)
	x.chunks[at] = c
	if len(c) > chunkSize {
		half := len(c) / 2
		x.chunks = slices.Insert(x.chunks, at+1, slices.Clone(c[half:]))
		clear(c[half:])
		x.chunks[at] = c[:half]
	}
}

// remove takes an entry out; one that is not in it changes nothing.
func (x *index) remove(e *entry) {
	at, place := x.find(e.key())
	if at == len(x.chunks) || place == len(x.chunks[at]) || x.chunks[at][place] != e {
		return
	}
	x.n--
	if x.chunks[at] = slices.Delete(x.chunks[at], place, place+1); len(x.chunks[at]) == 0 {
		x.chunks = slices.Delete(x.chunks, at, at+1)
	}
}

// ascend yields the entries at or behind a place, in order.
func (x *index) ascend(from operation.Key) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		at, place := x.find(from)
		for ; at < len(x.chunks); at, place = at+1, 0 {
			for _, e := range x.chunks[at][place:] {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// family holds live operations by a session that they have to do with.
type family map[string]map[*entry]struct{}

func (f family) add(session string, e *entry) {
	set := f[session]
	if set == nil {
		set = map[*entry]struct{}{}
		f[session] = set
	}
	set[e] = struct{}{}
}

func (f family) remove(session string, e *entry) {
	if delete(f[session], e); len(f[session]) == 0 {
		delete(f, session)
	}
}
