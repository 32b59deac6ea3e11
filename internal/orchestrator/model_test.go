package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/postgres/pgtest"
)

// plain is a registry as simple as it can be: what the contract says, over a
// map, one call at a time.
type plain struct {
	policy  operation.Policy
	ops     map[operation.ID]*plainOp
	endings []operation.ID
	fenced  map[string]bool
}

type plainOp struct {
	status operation.Status
	owner  string
	child  string
	gone   bool
	rows   int64
}

func (p *plain) active() (n int) {
	for _, op := range p.ops {
		if op.status.Live() {
			n++
		}
	}
	return n
}

func (p *plain) end(id operation.ID, status operation.Status) {
	p.ops[id].status = status
	p.ops[id].rows++
	p.endings = append(p.endings, id)
}

func (p *plain) retain() {
	for len(p.endings) > p.policy.MaxCompleted {
		p.ops[p.endings[0]].gone = true
		p.endings = p.endings[1:]
	}
}

// lines show what is live or retained, as the model and the registry have it.
func (p *plain) lines() []string {
	out := []string{}
	for id, op := range p.ops {
		if !op.gone {
			out = append(out, fmt.Sprintf("%s %s %s %d", id, op.status, op.owner, op.rows))
		}
	}
	slices.Sort(out)
	return out
}

// world is one history in several registries and in the plain one.
type world struct {
	t      *testing.T
	rt     *rapid.T
	p      *plain
	ms     atomic.Int64 // the clock of all of them: their times are equal too
	houses []*modelHouse
}

// modelHouse is one of the registries.
type modelHouse struct {
	*house
	name  string
	start func(Config) *house // starts it; again, as the next process does
	keeps bool                // its operations outlive the process
	fail  func(error)         // makes commits fail; nil = they cannot
}

// TestModel runs random histories on registries and on the plain one, and
// compares every answer and every list: in memory with restarts and failing
// commits, and one and the same history on SQLite, on PostgreSQL and without a
// store. That last one drops out with the first restart.
func TestModel(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		rapid.Check(t, func(rt *rapid.T) {
			j := newJournal()
			j.epoch = 0
			h := &modelHouse{name: "memory", keeps: true, fail: func(err error) {
				j.fail = nil
				if err != nil {
					j.fail = func(int, []store.Append) error { return err }
				}
			}}
			h.start = func(cfg Config) *house {
				if h.house != nil {
					h.stop()
				}
				j.epoch++
				cfg.Journal = j
				return open(t, cfg)
			}
			testModel(t, rt, h)
			h.stop()
		})
	})
	t.Run("stores", func(t *testing.T) {
		t.Parallel()
		backends := []backend{onSQLite, onNothing}
		t.Run("with PostgreSQL", func(t *testing.T) {
			pgtest.Need(t)
			backends = append(backends, onPostgres)
		})
		rounds, failed := 3, false
		if soak() {
			rounds = 100
		}
		rapid.Check(t, func(rt *rapid.T) {
			if rounds--; rounds < 0 && !failed {
				return // each takes some hundred real syncs
			}
			ok := false
			defer func() { failed = failed || !ok }() // from then on rapid looks for the shortest history that fails
			var houses []*modelHouse
			for _, b := range backends {
				at := newPlace(t, b)
				defer at.close()
				houses = append(houses, &modelHouse{name: b.name, start: at.start, keeps: at.keeps()})
			}
			testModel(t, rt, houses...)
			ok = true
		})
	})
}

// start starts the registries that are left, each for the first time or again.
func (w *world) start() {
	for _, h := range w.houses {
		h.house = h.start(Config{
			Policy: w.p.policy, Runtime: &runtimeFake{left: true}, Now: func() time.Time { return time.UnixMilli(w.ms.Load()) },
		})
	}
}

// each makes a call in all registries. They must answer as the model does, and
// all the same. It returns the answer.
func (w *world) each(what string, want operation.Code, call func(h *house) (any, error)) any {
	var first any
	for i, h := range w.houses {
		got, err := call(h.house)
		if code := codeOf(err); code != want || want == operation.NoCode && err != nil {
			w.rt.Fatalf("%s: %s: %v, want %q", h.name, what, err, want)
		}
		if i == 0 {
			first = got
			continue
		}
		if diff := cmp.Diff(first, got, whole); diff != "" {
			w.rt.Fatalf("%s: not what %s answers (-%[2]s +%s):\n%s", what, w.houses[0].name, h.name, diff)
		}
	}
	return first
}

// move makes a call on one operation that leads from some statuses to another.
func (w *world) move(ev operation.Event, id operation.ID, to operation.Status, from ...operation.Status) {
	op := w.p.ops[id]
	want := operation.NoCode
	switch {
	case op == nil:
		want = operation.CodeNotFound
	case op.gone:
		want = operation.CodeEvicted
	case !slices.Contains(from, op.status):
		want = operation.CodeInvalidTransition
	}
	w.each(fmt.Sprintf("%T %s", ev, id), want, func(h *house) (any, error) { return h.Do(w.t.Context(), ev) })
	switch {
	case want != operation.NoCode:
	case to.Ended():
		w.p.end(id, to)
		w.p.retain()
	default:
		op.status = to
		op.rows++
	}
}

// subtree returns, in the plain registry, what ends with an owner, by id.
func (p *plain) subtree(owner string) []operation.ID {
	out := []operation.ID{}
	for sessions := []string{owner}; len(sessions) > 0; sessions = sessions[1:] {
		for id, op := range p.ops {
			if op.owner == sessions[0] && op.status.Live() && !slices.Contains(out, id) {
				out = append(out, id)
				sessions = append(sessions, op.child)
			}
		}
	}
	slices.SortFunc(out, operation.ID.Compare)
	return out
}

// listAll reads a whole list, page by page.
func listAll(ctx context.Context, h *house, f operation.Filter) ([]operation.Snapshot, error) {
	out := []operation.Snapshot{}
	for cursor := ""; ; {
		page, err := h.List(ctx, ListQuery{Filter: f, Cursor: cursor, Limit: 3})
		if err != nil {
			return nil, err
		}
		out = append(out, page.Operations...)
		if cursor = page.Next; cursor == "" {
			return out, nil
		}
	}
}

// testModel leads one random history.
func testModel(t *testing.T, rt *rapid.T, houses ...*modelHouse) {
	limit := rapid.IntRange(1, 6).Draw(rt, "max_concurrent")
	p := &plain{ops: map[operation.ID]*plainOp{}, fenced: map[string]bool{}}
	p.policy = operation.DefaultPolicy()
	p.policy.MaxConcurrent, p.policy.MaxCompleted = &limit, rapid.IntRange(0, 3).Draw(rt, "max_completed")
	w := &world{t: t, rt: rt, p: p, houses: houses}
	w.ms.Store(1)
	w.start()
	owners := rapid.SampledFrom([]string{"a", "b", "c"})
	drawID := func() operation.ID { return operation.ID{15: byte(rapid.IntRange(1, 12).Draw(rt, "id"))} }
	ctx := t.Context()
	const prov, run, ret = operation.Provisioning, operation.Running, operation.Retiring
	actions := map[string]func(*rapid.T){
		"": func(*rapid.T) {
			w.ms.Add(1)
			got := w.each("list", operation.NoCode, func(h *house) (any, error) { return listAll(ctx, h, operation.Filter{}) })
			lines := []string{}
			for _, s := range got.([]operation.Snapshot) {
				lines = append(lines, fmt.Sprintf("%s %s %s %d", s.ID, s.Status, s.Owner, s.Version))
			}
			slices.Sort(lines)
			if diff := cmp.Diff(p.lines(), lines); diff != "" {
				rt.Fatalf("the registries differ from the model (-model +registry):\n%s", diff)
			}
		},
		"register": func(*rapid.T) {
			spec := operation.Spec{ID: drawID(), Kind: operation.MemberChild, Owner: owners.Draw(rt, "owner"), Child: owners.Draw(rt, "child"), Name: owners.Draw(rt, "name")}
			want := operation.NoCode
			switch {
			case p.ops[spec.ID] != nil:
				want = operation.CodeAlreadyRegistered
			case p.fenced[spec.Owner]:
				want = operation.CodeOwnerRetired
			case p.active() >= limit:
				want = operation.CodeMaxConcurrentExceeded
			}
			w.each("register "+spec.ID.String(), want, func(h *house) (any, error) { return h.Registry(red).Register(ctx, spec, operation.Meta{}) })
			if want == operation.NoCode {
				p.ops[spec.ID] = &plainOp{status: prov, owner: spec.Owner, child: spec.Child, rows: 1}
			}
		},
		"provisioned": func(*rapid.T) {
			id := drawID()
			w.move(operation.Provisioned{Meta: meta(id)}, id, run, prov)
		},
		"progress": func(*rapid.T) {
			id := drawID()
			to := run
			if op := p.ops[id]; op != nil {
				to = op.status
			}
			w.move(operation.ReportProgress{Meta: meta(id), Update: operation.ProgressUpdate{Message: "m"}}, id, to, run, ret)
		},
		"complete": func(*rapid.T) {
			id := drawID()
			w.move(operation.Complete{Meta: meta(id)}, id, operation.Completed, run, ret)
		},
		"cancel": func(*rapid.T) {
			id := drawID()
			w.move(operation.Cancel{Meta: meta(id)}, id, operation.Cancelled, prov, run, ret)
		},
		"retire": func(*rapid.T) {
			id := drawID()
			w.move(operation.RequestRetire{Meta: meta(id)}, id, ret, run)
		},
		"owner": func(*rapid.T) {
			owner, retire := owners.Draw(rt, "owner"), rapid.Bool().Draw(rt, "retire")
			got := w.each("terminate "+owner, operation.NoCode, func(h *house) (any, error) {
				if retire {
					return h.Registry(red).RetireOwner(ctx, owner, "x", operation.Meta{})
				}
				return h.Registry(red).TerminateOwner(ctx, owner, "x", operation.Meta{})
			}).([]operation.ID)
			p.fenced[owner] = p.fenced[owner] || retire
			want := p.subtree(owner)
			for _, id := range got { // in the order of the registry, which retention goes by
				p.end(id, operation.Terminated)
			}
			if sorted := slices.SortedFunc(slices.Values(got), operation.ID.Compare); !slices.Equal(sorted, want) {
				rt.Fatalf("terminated %v, want %v", sorted, want)
			}
			p.retain()
		},
		"collect": func(*rapid.T) {
			got := w.each("collect", operation.NoCode, func(h *house) (any, error) { return h.Registry(red).CollectCompleted(ctx) })
			ids := []operation.ID{}
			for _, s := range got.([]operation.Snapshot) {
				ids = append(ids, s.ID)
			}
			if !slices.Equal(ids, p.endings) {
				rt.Fatalf("collected %v, want %v", ids, p.endings)
			}
			for _, id := range p.endings {
				p.ops[id].gone = true
			}
			p.endings = nil
		},
		"get": func(*rapid.T) {
			id := drawID()
			want := operation.NoCode
			op := p.ops[id]
			if op == nil {
				want = operation.CodeNotFound
			}
			s := w.each("get "+id.String(), want, func(h *house) (any, error) { return h.Get(ctx, id) }).(operation.Snapshot)
			if op != nil && (s.Status != op.status || s.Archived != op.gone || s.Version != op.rows) {
				rt.Fatalf("get %s: %v %v archived=%v; want %+v", id, s.Status, s.Version, s.Archived, *op)
			}
		},
		"archived": func(*rapid.T) {
			got := w.each("list archived", operation.NoCode, func(h *house) (any, error) { return listAll(ctx, h, operation.Filter{Archived: true}) })
			want := 0
			for _, op := range p.ops {
				if op.gone {
					want++
				}
			}
			if n := len(got.([]operation.Snapshot)); n != want {
				rt.Fatalf("%d are archived, want %d", n, want)
			}
		},
		"restart": func(*rapid.T) {
			left := slices.DeleteFunc(slices.Clone(w.houses), func(h *modelHouse) bool { return !h.keeps })
			w.houses = left
			w.start()
			for n := byte(1); n <= 12; n++ { // it ends them in the order of their ids
				if op := p.ops[operation.ID{15: n}]; op != nil && op.status == prov {
					p.end(operation.ID{15: n}, operation.Aborted)
				}
			}
			p.retain()
		},
	}
	if fail := houses[0].fail; fail != nil {
		actions["failing"] = func(*rapid.T) {
			fail(errDisk)
			defer fail(nil)
			id := drawID()
			_, err := w.houses[0].Do(ctx, operation.Cancel{Meta: meta(id)})
			if op := p.ops[id]; op != nil && op.status.Live() && !errors.Is(err, operation.ErrStoreUnavailable) {
				rt.Fatalf("cancel without a store: %v", err)
			}
		}
	}
	rt.Repeat(actions)
}
