package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/operation"
)

// runtimeFake runs nothing and remembers what it was asked.
type runtimeFake struct {
	mu      sync.Mutex
	left    bool
	err     error
	takenUp []operation.ID
	stopped []operation.ID
}

func (r *runtimeFake) ChildLeft(operation.Snapshot) bool { return r.left }

func (r *runtimeFake) TakeUp(_ context.Context, op operation.Snapshot) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.takenUp = append(r.takenUp, op.ID)
	return r.err
}

func (r *runtimeFake) StopWork(op operation.Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = append(r.stopped, op.ID)
}

// TestRestart: what a restart makes of each status (§8).
func TestRestart(t *testing.T) {
	type row struct {
		name    string
		spec    operation.Spec
		make    func(t *testing.T, h *house, id operation.ID)
		runtime *runtimeFake
		want    operation.Status
		reason  string // the outcome's reason or error
		takenUp bool
		rows    int // that the restart adds
	}
	run := func(t *testing.T, h *house, id operation.ID) { h.do(t, operation.Provisioned{Meta: meta(id)}) }
	retire := func(t *testing.T, h *house, id operation.ID) {
		run(t, h, id)
		h.do(t, operation.RequestRetire{Meta: meta(id)})
	}
	rows := []row{
		{"provisioning is aborted", member("o", "s"), func(*testing.T, *house, operation.ID) {}, &runtimeFake{}, operation.Aborted, "drey restarted while provisioning", false, 1},
		{"running is taken up", member("o", "s"), run, &runtimeFake{}, operation.Running, "", true, 0},
		{"running that cannot be taken up fails", member("o", "s"), run, &runtimeFake{err: errors.New("no transcript")}, operation.Failed, "cannot take up session 's': no transcript", true, 1},
		{"running without a runtime fails", member("o", "s"), run, nil, operation.Failed, "cannot take up session 's': nothing runs children here", false, 1},
		{"a running tool is lost", tool("o", "t"), run, &runtimeFake{}, operation.Failed, "lost: drey restarted while it ran; its effects are unknown", false, 1},
		{"retiring is disposed of again", member("o", "s"), retire, &runtimeFake{left: true}, operation.Retiring, "", true, 0},
		{"retiring whose disposal fails stays", member("o", "s"), retire, &runtimeFake{left: true, err: errDisk}, operation.Retiring, "", true, 0},
		{"retiring without a child is retired", member("o", "s"), retire, &runtimeFake{}, operation.Retired, "", false, 1},
		{"ended stays", tool("o", "t"), func(t *testing.T, h *house, id operation.ID) {
			run(t, h, id)
			h.do(t, operation.Complete{Meta: meta(id)})
		}, &runtimeFake{}, operation.Completed, "", false, 0},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := newJournal()
				h := open(t, Config{Journal: j})
				id := h.must(t, red, r.spec)
				r.make(t, h, id)
				before, err := h.Get(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				h.stop()
				n := len(j.events)
				j.epoch++
				cfg := Config{Journal: j, Cause: func(context.Context) (drey.Seq, error) { return 1, nil }}
				if r.runtime != nil {
					cfg.Runtime = r.runtime
				}
				h = open(t, cfg)
				synctest.Wait()
				s, err := h.Get(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				if s.Status != r.want || s.Outcome.Reason+s.Outcome.Error != r.reason {
					t.Errorf("%v %+v, want %v %q", s.Status, s.Outcome, r.want, r.reason)
				}
				if got := r.runtime != nil && len(r.runtime.takenUp) > 0; got != r.takenUp {
					t.Errorf("taken up: %v", got)
				}
				if len(j.events)-n != r.rows {
					t.Errorf("the restart wrote %v", j.events[n:])
				}
				for _, e := range j.events[n:] {
					if e.Cause != 1 {
						t.Errorf("%s has cause %d", e.Name, e.Cause)
					}
				}
				if s.CreatedAtMS != before.CreatedAtMS || s.UpdatedAtMS < before.UpdatedAtMS {
					t.Errorf("times went back: %+v after %+v", s, before)
				}
				h.stop()
			})
		})
	}
}

// telling is a runtime that says what it takes up.
type telling struct {
	runtimeFake
	took chan operation.ID
}

func (r *telling) TakeUp(ctx context.Context, op operation.Snapshot) error {
	r.took <- op.ID
	return r.runtimeFake.TakeUp(ctx, op)
}

// whole compares operations with all that they hold.
var whole = cmp.Options{cmp.Exporter(func(reflect.Type) bool { return true }), cmpopts.EquateEmpty()}

// TestRestartOnStores: a real store gives back what was left in it, retained and
// archived, with its history, and the journal's numbers go on.
func TestRestartOnStores(t *testing.T) {
	everywhere(t, func(t *testing.T, at *place) {
		if !at.keeps() {
			t.Skip("nothing outlives the process")
		}
		p := operation.DefaultPolicy()
		p.MaxCompleted = 1
		h := at.start(Config{Policy: p})
		provisioning := h.must(t, red, member("o", "a"))
		running := h.running(t, red, member("o", "b"))
		for _, n := range []int{snapshotEvery, 10} { // there is a snapshot, and a tail behind it
			var calls []operation.Event
			for i := range n {
				calls = append(calls, operation.ReportProgress{Meta: meta(running), Update: operation.ProgressUpdate{Message: fmt.Sprint("step ", i)}})
			}
			if _, err := h.DoAll(t.Context(), Batch{Calls: calls}); err != nil {
				t.Fatal(err)
			}
		}
		lost := h.running(t, red, tool("o", "t"))
		retiring := h.running(t, red, member("o", "c"))
		h.do(t, operation.RequestRetire{Meta: meta(retiring)})
		archived := h.running(t, red, member("o", "d"))
		h.do(t, operation.Complete{Meta: meta(archived), Result: operation.Result{Content: "d"}})
		completed := h.running(t, red, member("o", "e"))
		h.do(t, operation.Complete{Meta: meta(completed), Result: operation.Result{Content: "e"}})
		h.settled(t)
		before := map[operation.ID]operation.Snapshot{}
		for _, id := range []operation.ID{running, retiring, archived, completed} {
			s, err := h.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			before[id] = s
		}
		said, err := h.Progress(t.Context(), running)
		if err != nil || len(said) != p.ProgressHistory {
			t.Fatalf("%d updates, %v", len(said), err)
		}
		head := h.lastSeq()

		p.MaxCompleted = 256
		r := &telling{runtimeFake{left: true}, make(chan operation.ID, 8)}
		h = at.start(Config{Policy: p, Runtime: r})
		took := []operation.ID{<-r.took, <-r.took}
		if !slices.Contains(took, running) || !slices.Contains(took, retiring) {
			t.Errorf("taken up: %v, want %v and %v", took, running, retiring)
		}
		for id, want := range before {
			s, err := h.Get(t.Context(), id)
			if diff := cmp.Diff(want, s, whole); err != nil || diff != "" {
				t.Errorf("%s after the restart, %v (-before +after):\n%s", want.Name, err, diff)
			}
		}
		if again, err := h.Progress(t.Context(), running); err != nil || !slices.Equal(again, said) {
			t.Errorf("its progress: %v, %v; want %v", again, err, said)
		}
		if got := h.status(t, provisioning); got != operation.Aborted {
			t.Errorf("the one that was provisioning is %v", got)
		}
		if got := h.status(t, lost); got != operation.Failed {
			t.Errorf("the running tool is %v", got)
		}
		if got := h.lastSeq(); got != head+2 {
			t.Errorf("the restart ended at seq %d, want %d", got, head+2)
		}
	})
}

func TestRestartFinishesAFence(t *testing.T) {
	everywhere(t, func(t *testing.T, at *place) {
		h := at.start(Config{})
		blue := operation.RegistryID("mob:blue")
		other := h.running(t, blue, member("o", "s"))
		if _, err := h.Registry(red).RetireOwner(t.Context(), "o", "archived", operation.Meta{}); err != nil {
			t.Fatal(err)
		}
		if got := h.status(t, other); got != operation.Running {
			t.Fatalf("another registry's operation is %v", got)
		}
		if at.keeps() {
			h = at.start(Config{Runtime: &runtimeFake{}})
			if s, _ := h.Get(t.Context(), other); s.Status != operation.Terminated || s.Outcome.Reason != "archived" {
				t.Errorf("after the restart: %v %+v", s.Status, s.Outcome)
			}
		}
		for _, r := range []operation.RegistryID{red, blue} {
			if _, err := h.Registry(r).Register(t.Context(), tool("o", "x"), operation.Meta{}); codeOf(err) != operation.CodeOwnerRetired {
				t.Errorf("a retired owner registers in %s: %v", r, err)
			}
		}
	})
}

func TestUnreadableOperationLeavesTheOthers(t *testing.T) {
	j := newJournal()
	h := open(t, Config{Journal: j})
	bad, good := h.running(t, red, member("o", "a")), h.running(t, red, member("o", "b"))
	h.stop()
	k := j.machines[[2]string{operation.MachineName, bad.String()}]
	k.tail = k.tail[1:] // a row is missing
	j.epoch++
	h = open(t, Config{Journal: j, Runtime: &runtimeFake{}})
	if got := h.status(t, good); got != operation.Running {
		t.Errorf("the other is %v", got)
	}
	spec := member("o", "c")
	spec.ID = bad
	if _, err := h.Registry(red).Register(t.Context(), spec, operation.Meta{}); codeOf(err) != operation.CodeAlreadyRegistered {
		t.Errorf("its id: %v", err)
	}
}
