package orchestrator

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
)

// archived is an operation in the archive.
type archived struct {
	Record  operation.Record `json:"record"`
	LastSeq uint64           `json:"last_seq"`
	Parent  operation.ID     `json:"parent,omitzero"`
}

// archivePlace is where an operation with a key is in the archive: the order of these
// texts, by their bytes as in any locale, is the order of lists. It is in hex
// digits: the name, each byte one higher so that 00 ends it, the time of
// creation, and the id.
func archivePlace(k operation.Key) string {
	b := make([]byte, 0, len(k.Name)+1+8+len(k.ID))
	for _, c := range []byte(k.Name) {
		b = append(b, c+1) // a name is UTF-8: no byte of it is ff
	}
	b = append(b, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(k.CreatedAtMS)^1<<63)
	b = append(b, k.ID[:]...)
	return hex.EncodeToString(b)
}

// archive moves evicted operations to where they are no part of a restart, with
// those that an earlier commit has failed to move. Until that is durable they
// are read from memory; a crash before it finds them retained, and evicts them
// again. What fails is tried again with the next ones.
func (o *Operations) archive(gone []*entry) {
	if len(gone) == 0 {
		return
	}
	gone = append(gone, o.unarchived...)
	o.unarchived = nil
	for _, e := range gone {
		o.inFlight++
		appends := archiveOf(e)
		o.cfg.Journal.Submit(func(_ store.Commit, err error) {
			o.post(note{t: &ticket{turn: &turn{}, answer: func(_ *ticket, err error) { o.archivedNow(e, err) }}, err: err})
		}, appends...)
	}
}

// archiveOf returns what moves an operation to the archive.
func archiveOf(e *entry) []store.Append {
	row, err := json.Marshal(archived{operation.Record{Machine: *e.seen, History: e.history}, uint64(e.lastSeq), e.parent})
	if err != nil { // a machine is JSON by its checks
		row = nil
	}
	id, at := e.id.String(), archivePlace(e.key())
	appends := []store.Append{
		{Machine: operation.MachineName, ID: id, Expect: e.seen.Version, Delete: true},
		{Machine: machineArchive, ID: at, Expect: store.AnyVersion, Snapshot: row},
		{Machine: machinePlace, ID: id, Expect: store.AnyVersion, Snapshot: json.RawMessage(`"` + at + `"`)},
	}
	if e.seen.Kind == operation.MemberChild {
		appends = append(appends, store.Append{Machine: machineChild, ID: e.seen.Child, Expect: store.AnyVersion, Snapshot: markOf(id)})
	}
	return appends
}

// markOf is what is kept of a member's session: whose child it was last.
func markOf(id string) json.RawMessage { return json.RawMessage(`{"operation":"` + id + `"}`) }

// archivedNow hears how a move to the archive ended.
func (o *Operations) archivedNow(e *entry, err error) {
	if err != nil {
		o.cfg.Log.Warn("operation-not-archived", "id", e.id.String(), "error", err)
		o.unarchived = append(o.unarchived, e)
		return
	}
	o.mu.Lock()
	delete(o.archiving, e.id)
	o.mu.Unlock()
}

// fromArchive reads an archived operation; evicted is the refusal of one whose
// record is deleted and whose rows are still there.
func (o *Operations) fromArchive(ctx context.Context, action operation.Action, id operation.ID) (archived, error) {
	var at string
	st, err := o.cfg.Journal.Load(ctx, machinePlace, id.String())
	if err == nil {
		err = json.Unmarshal(st.Snapshot, &at)
	}
	if err == nil {
		st, err = o.cfg.Journal.Load(ctx, machineArchive, at)
	}
	if errors.Is(err, store.ErrNotFound) {
		return archived{}, o.missing(ctx, action, id)
	}
	if err != nil {
		return archived{}, unavailable(action, id, err)
	}
	a, err := readArchived(st)
	if err != nil {
		return archived{}, unavailable(action, id, err)
	}
	return a, nil
}

func readArchived(st store.State) (archived, error) {
	var a archived
	err := json.Unmarshal(st.Snapshot, &a)
	return a, err
}

func (a *archived) snapshot() operation.Snapshot {
	return a.Record.Machine.Snapshot(operation.Around{LastSeq: drey.Seq(a.LastSeq), Parent: a.Parent, Archived: true})
}

// listArchived is List over what no registry retains. It reads from the store
// what the page needs, and what the filter passes over on the way.
func (o *Operations) listArchived(ctx context.Context, f operation.Filter, after operation.Key, limit int) (List, error) {
	moving, out, err := o.moving()
	if err != nil {
		return List{}, err
	}
	found := map[operation.ID]operation.Snapshot{}
	var failed error
	items, next := operation.Page(func(from operation.Key) iter.Seq[operation.Item] {
		return func(yield func(operation.Item) bool) {
			for s, err := range merge(moving, o.stored(ctx, from, limit+1)) {
				if failed = err; err != nil {
					return
				}
				if s.Key().Compare(from) < 0 {
					continue
				}
				found[s.ID] = s
				if !yield(operation.Item{Machine: &s.Machine, Archived: true}) {
					return
				}
			}
		}
	}, f, after, limit)
	if failed != nil {
		return List{}, unavailable(operation.ActList, operation.ID{}, failed)
	}
	for _, it := range items {
		out.Operations = append(out.Operations, found[it.Machine.ID])
	}
	out.Next = next.Cursor()
	return out, nil
}

// moving returns the operations on their way to the archive, in order, and a
// list that is as of now. Who reads the archive after that misses none.
func (o *Operations) moving() ([]operation.Snapshot, List, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.refusal != nil {
		return nil, List{}, unavailable(operation.ActList, operation.ID{}, o.refusal)
	}
	var out []operation.Snapshot
	for _, e := range o.archiving {
		out = append(out, o.snapshot(e))
	}
	slices.SortFunc(out, func(a, b operation.Snapshot) int { return a.Key().Compare(b.Key()) })
	return out, List{AsOf: o.head}, nil
}

// stored yields the operations in the archive behind a place, in order, reading
// so many at once.
func (o *Operations) stored(ctx context.Context, after operation.Key, atOnce int) iter.Seq2[operation.Snapshot, error] {
	return func(yield func(operation.Snapshot, error) bool) {
		for last := archivePlace(after); ; {
			states, err := o.cfg.Journal.SnapshotsAfter(ctx, machineArchive, last, atOnce)
			for i := 0; err == nil && i < len(states); i++ {
				var a archived
				if a, err = readArchived(states[i]); err == nil && !yield(a.snapshot(), nil) {
					return
				}
			}
			if err != nil {
				yield(operation.Snapshot{}, err)
				return
			}
			if len(states) == 0 {
				return
			}
			last = states[len(states)-1].ID
		}
	}
}

// merge yields what is in either, in order; what is in both, once.
func merge(moving []operation.Snapshot, stored iter.Seq2[operation.Snapshot, error]) iter.Seq2[operation.Snapshot, error] {
	return func(yield func(operation.Snapshot, error) bool) {
		for s, err := range stored {
			if err != nil {
				yield(s, err)
				return
			}
			for len(moving) > 0 {
				order := moving[0].Key().Compare(s.Key())
				if order > 0 {
					break
				}
				if order < 0 && !yield(moving[0], nil) {
					return
				}
				moving = moving[1:]
			}
			if !yield(s, nil) {
				return
			}
		}
		for _, s := range moving {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// pruneAtOnce is how many archived operations one commit deletes: it takes a few
// milliseconds, which is what everybody else waits for it.
const pruneAtOnce = 100

// Prune deletes archived operations that ended longer ago than keep_history,
// and returns how many. Upkeep calls it; it works beside everything else.
func (o *Operations) Prune(ctx context.Context, keep time.Duration) (int, error) {
	before := o.now().Add(-keep).UnixMilli()
	n := 0
	for last := ""; ; {
		states, err := o.cfg.Journal.SnapshotsAfter(ctx, machineArchive, last, pruneAtOnce)
		if err != nil {
			return n, unavailable(operation.ActList, operation.ID{}, err)
		}
		if len(states) == 0 {
			return n, nil
		}
		last = states[len(states)-1].ID
		var appends []store.Append
		found := 0
		for _, st := range states {
			a, err := readArchived(st)
			if err != nil || a.Record.Machine.CompletedAtMS >= before {
				continue
			}
			found++
			appends = append(appends, o.pruned(ctx, st.ID, &a.Record.Machine)...)
		}
		if found == 0 {
			continue
		}
		done := make(chan error, 1)
		o.cfg.Journal.Submit(func(_ store.Commit, err error) { done <- err }, appends...)
		select {
		case err := <-done:
			if err != nil {
				return n, unavailable(operation.ActList, operation.ID{}, err)
			}
			n += found
		case <-ctx.Done():
			return n, ctx.Err()
		}
	}
}

// pruned returns what deletes an operation from the archive, and the mark of its
// child, unless that has been another one's child since.
func (o *Operations) pruned(ctx context.Context, at string, m *operation.Machine) []store.Append {
	id := m.ID.String()
	appends := []store.Append{
		{Machine: machineArchive, ID: at, Expect: store.AnyVersion, Delete: true},
		{Machine: machinePlace, ID: id, Expect: store.AnyVersion, Delete: true},
	}
	if m.Child != "" {
		mark, err := o.cfg.Journal.Load(ctx, machineChild, m.Child)
		if err == nil && string(mark.Snapshot) == string(markOf(id)) {
			appends = append(appends, store.Append{Machine: machineChild, ID: m.Child, Expect: store.AnyVersion, Delete: true})
		}
	}
	return appends
}
