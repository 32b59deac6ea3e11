package affinity

import (
	"time"

	"github.com/dreyhq/drey"
)

// What a Table holds at most, and for how long. Source: contract §14.
const (
	Entries = 4096
	Life    = time.Hour
)

// most is how many borders of one conversation are remembered at once: a single
// long one that nobody has seen before must not drive out all others. The
// longest prefixes are those that its next turn asks for.
const most = Entries / 8

// Pool is one pool of a profile. Each remembers for itself: the member of
// another pool is no answer to the question who of this one is to be asked.
type Pool struct {
	Profile drey.ProfileID
	N       int // route.Member.Pool
}

// Match says who served a conversation last.
type Match struct {
	Provider drey.ProviderID
	// Messages is how many messages the longest common prefix has; 0 = it was
	// found by its session alone.
	Messages int
}

// Table remembers who served what last: at most Entries borders and sessions,
// each for Life, the longest unused forgotten first. The zero value is empty.
// It is not safe for concurrent use.
type Table struct {
	index map[uint64]int32 // where a key's entry is
	// entries form a ring by use. The first is no entry but its seam: behind it
	// stands the newest, before it the oldest.
	entries []entry
}

type entry struct {
	key          uint64
	by           drey.ProviderID
	at           time.Time
	newer, older int32
}

// Len returns how many borders and sessions are remembered.
func (t *Table) Len() int { return len(t.index) }

// Find returns who of the pool served the conversation last: by its longest
// prefix that is remembered, else by its session. ok is false if nobody did.
func (t *Table) Find(at time.Time, p Pool, c Conversation) (m Match, ok bool) {
	if len(t.index) == 0 {
		return Match{}, false
	}
	scope := p.digest()
	for i := len(c.Prefixes) - 1; i >= 0; i-- {
		if e := t.live(at, scope.key(c.Prefixes[i])); e != nil {
			return Match{e.by, i + 1}, true
		}
	}
	if c.Session != 0 {
		if e := t.live(at, scope.key(c.Session)); e != nil {
			return Match{Provider: e.by}, true
		}
	}
	return Match{}, false
}

// Served remembers that a member of the pool served the conversation. Borders
// that are remembered already are this member's from now on. Of those that are
// not, only the ones behind them are added: a conversation that grows takes up
// what its new turns need, and its old borders grow old.
func (t *Table) Served(at time.Time, p Pool, c Conversation, by drey.ProviderID) {
	scope := p.digest()
	known := -1
	for i, h := range c.Prefixes {
		if n, ok := t.index[scope.key(h)]; ok {
			e := &t.entries[n]
			e.by, e.at = by, at
			known = i
		}
	}
	last := len(c.Prefixes) - 1
	if known == last && last >= 0 {
		t.put(at, scope.key(c.Prefixes[last]), by)
	}
	for i := max(known+1, last+1-most); i <= last; i++ {
		t.put(at, scope.key(c.Prefixes[i]), by)
	}
	if c.Session != 0 {
		t.put(at, scope.key(c.Session), by)
	}
}

// digest is the pool's, with which its keys are made.
func (p Pool) digest() digest { return seed.bytes([]byte(p.Profile)).word(uint64(p.N)) }

// key is a hash of a conversation within the pool of d.
func (d digest) key(hash uint64) uint64 { return uint64(d.word(hash)) }

// live returns the entry of a key, or nil if there is none that still counts.
func (t *Table) live(at time.Time, key uint64) *entry {
	n, ok := t.index[key]
	if !ok || at.Sub(t.entries[n].at) >= Life {
		return nil
	}
	return &t.entries[n]
}

// put makes a key's entry the newest, in a place of its own or in that of the
// oldest.
func (t *Table) put(at time.Time, key uint64, by drey.ProviderID) {
	if t.index == nil {
		t.index = map[uint64]int32{}
		t.entries = make([]entry, 1, 64)
	}
	n, ok := t.index[key]
	switch {
	case ok:
		t.unlink(n)
	case len(t.index) == Entries:
		n = t.entries[0].newer // around the seam: the oldest
		t.unlink(n)
		delete(t.index, t.entries[n].key)
	default:
		n = int32(len(t.entries))
		t.entries = append(t.entries, entry{})
	}
	newest := t.entries[0].older
	t.entries[n] = entry{key: key, by: by, at: at, newer: 0, older: newest}
	t.entries[newest].newer = n
	t.entries[0].older = n
	t.index[key] = n
}

// unlink takes an entry out of the ring.
func (t *Table) unlink(n int32) {
	e := &t.entries[n]
	t.entries[e.newer].older = e.older
	t.entries[e.older].newer = e.newer
}
