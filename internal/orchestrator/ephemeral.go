package orchestrator

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// ephemeral stands in for a store where there is none: it numbers events and
// keeps nothing but what has been evicted. The owner's decisions carry the right
// versions, so it has nothing to check.
type ephemeral struct {
	kept memoryArchive
	mu   sync.Mutex
	seq  drey.Seq
}

// Submit numbers the events and answers at once.
func (j *ephemeral) Submit(done func(store.Commit, error), appends ...store.Append) {
	j.mu.Lock()
	c := store.Commit{First: j.seq + 1}
	for _, a := range appends {
		c.Rows += len(a.Events)
		switch a.Machine {
		case machineArchive, machinePlace, machineChild:
			j.kept.put(a)
		}
	}
	if c.Rows == 0 {
		c.First = 0
	} else {
		j.seq += drey.Seq(c.Rows)
		c.Last = j.seq
	}
	j.mu.Unlock()
	done(c, nil)
}

// Load returns what has been archived.
func (j *ephemeral) Load(_ context.Context, machine, id string) (store.State, error) {
	return j.kept.load(machine, id)
}

// Snapshots returns what has been archived.
func (j *ephemeral) Snapshots(_ context.Context, machine string) ([]store.State, error) {
	return j.kept.states(machine), nil
}

// SnapshotsAfter returns a page of what has been archived.
func (j *ephemeral) SnapshotsAfter(_ context.Context, machine, after string, limit int) ([]store.State, error) {
	states := j.kept.states(machine)
	at, there := slices.BinarySearchFunc(states, after, func(st store.State, id string) int { return strings.Compare(st.ID, id) })
	if there {
		at++
	}
	return states[at:min(at+store.PageLimit(limit), len(states))], nil
}

// Query finds nothing: no event is kept.
func (j *ephemeral) Query(context.Context, store.Query) (store.Page, error) {
	return store.Page{}, nil
}

// Head is 0: nothing is there at the start.
func (j *ephemeral) Head(context.Context) (drey.Seq, error) { return 0, nil }

// Epoch is 1: nothing outlives the process.
func (j *ephemeral) Epoch() uint64 { return 1 }

// memoryArchive holds the snapshots of machines, in memory and with a bound: the
// oldest go first.
type memoryArchive struct {
	mu    sync.Mutex
	rows  map[[2]string]store.State
	order [][2]string
}

func (m *memoryArchive) put(a store.Append) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := [2]string{a.Machine, a.ID}
	if a.Delete {
		delete(m.rows, k)
		return
	}
	if m.rows == nil {
		m.rows = map[[2]string]store.State{}
	}
	if _, again := m.rows[k]; !again {
		m.order = append(m.order, k)
	}
	m.rows[k] = store.State{Machine: a.Machine, ID: a.ID, Snapshot: a.Snapshot}
	for len(m.order) > remembered {
		delete(m.rows, m.order[0])
		m.order = m.order[1:]
	}
}

func (m *memoryArchive) load(machine, id string) (store.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	st, ok := m.rows[[2]string{machine, id}]
	if !ok {
		return store.State{}, store.ErrNotFound
	}
	return st, nil
}

func (m *memoryArchive) states(machine string) []store.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := slices.DeleteFunc(slices.Collect(maps.Keys(m.rows)), func(k [2]string) bool { return k[0] != machine })
	slices.SortFunc(keys, func(a, b [2]string) int { return strings.Compare(a[1], b[1]) })
	out := make([]store.State, 0, len(keys))
	for _, k := range keys {
		out = append(out, m.rows[k])
	}
	return out
}
