package orchestrator

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
)

var errDisk = errors.New("the disk is full")

const red = operation.RegistryID("mob:red")

func TestAnswersComeWithTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		h := open(t, Config{Journal: j})
		id := h.must(t, red, tool("s", "a"))
		j.hold()
		answered := false
		go func() {
			h.do(t, operation.Provisioned{Meta: meta(id)})
			answered = true
		}()
		synctest.Wait()
		if answered || h.status(t, id) != operation.Provisioning {
			t.Fatalf("before the commit: answered %v, %v", answered, h.status(t, id))
		}
		j.release(0, nil)
		synctest.Wait()
		if !answered || h.status(t, id) != operation.Running {
			t.Fatalf("after the commit: answered %v, %v", answered, h.status(t, id))
		}
		h.stop()
	})
}

func TestFailedCommitTakesBackWhatRestsOnIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		h := open(t, Config{Journal: j})
		id := h.running(t, red, member("o", "s"))
		j.hold()
		errs := make([]error, 4)
		calls := []func() error{
			func() error { _, err := h.Do(t.Context(), operation.Complete{Meta: meta(id)}); return err },
			// A refusal, a repeatable nothing and a registration that rest on it:
			func() error { _, err := h.Do(t.Context(), operation.Complete{Meta: meta(id)}); return err },
			func() error {
				_, err := h.Registry(red).TerminateOwner(t.Context(), "o", "x", operation.Meta{})
				return err
			},
			func() error { _, err := h.Registry(red).Ensure(t.Context(), member("o", "s")); return err },
		}
		for i, call := range calls {
			go func() { errs[i] = call() }()
			synctest.Wait()
		}
		j.release(1, errDisk)
		synctest.Wait()
		for i, err := range errs {
			if !errors.Is(err, operation.ErrStoreUnavailable) {
				t.Errorf("call %d: %v, want store_unavailable", i, err)
			}
		}
		if got := h.status(t, id); got != operation.Running {
			t.Errorf("the operation is %v, want running", got)
		}
		page, err := h.List(t.Context(), ListQuery{})
		if err != nil || len(page.Operations) != 1 {
			t.Errorf("list: %d operations, %v; want the one", len(page.Operations), err)
		}
		h.do(t, operation.Complete{Meta: meta(id)}) // and everything works again
		h.stop()
	})
}

func TestRegistrationTakenBackFreesItsSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		one := 1
		p := operation.DefaultPolicy()
		p.MaxConcurrent = &one
		h := open(t, Config{Journal: j, Policy: p})
		j.hold()
		errs := make([]error, 2)
		for i := range errs {
			go func() { _, errs[i] = h.Registry(red).Register(t.Context(), tool("s", "a"), operation.Meta{}) }()
			synctest.Wait()
		}
		j.release(1, errDisk)
		synctest.Wait()
		for i, err := range errs { // the refusal rests on a registration that did not happen
			if codeOf(err) != operation.CodeStoreUnavailable {
				t.Errorf("call %d: %v", i, err)
			}
		}
		h.must(t, red, tool("s", "a"))
		if _, err := h.Registry(red).Register(t.Context(), tool("s", "a"), operation.Meta{}); codeOf(err) != operation.CodeMaxConcurrentExceeded {
			t.Errorf("above the limit: %v", err)
		}
		h.stop()
	})
}

// TestEndingTakenBackLeavesOneLive: what is decided behind an ending that is
// taken back is taken back too, also where the operation was not published yet:
// a session never has two live operations (§9).
func TestEndingTakenBackLeavesOneLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		h := open(t, Config{Journal: j})
		m := h.Members(operation.Fallback)
		j.hold()
		errs := make([]error, 3)
		for i, call := range []func() error{
			func() error { _, err := m.Ensure(t.Context(), "s", "n"); return err },
			func() error { return m.MarkRetired(t.Context(), SessionRef("s")) },
			func() error { _, err := m.Ensure(t.Context(), "s", "n"); return err },
		} {
			go func() { errs[i] = call() }()
			synctest.Wait()
		}
		n := 0
		j.fail = func(int, []store.Append) error {
			if n++; n == 2 { // the retirement
				return errDisk
			}
			return nil
		}
		j.release(0, nil)
		synctest.Wait()
		if errs[0] != nil || codeOf(errs[1]) != operation.CodeStoreUnavailable || codeOf(errs[2]) != operation.CodeStoreUnavailable {
			t.Errorf("answered %v; want the last two refused", errs)
		}
		live, err := h.List(t.Context(), ListQuery{Filter: operation.Filter{Child: "s"}})
		if err != nil || len(live.Operations) != 1 {
			t.Errorf("%d operations, %v; want the one", len(live.Operations), err)
		}
		h.stop()
	})
}

// TestClearedBindingTakenBackIsNotMistaken: a binding that is being cleared, and
// is not after all, is the old one: what was to be bound behind it must not be
// taken for it.
func TestClearedBindingTakenBackIsNotMistaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		h := open(t, Config{Journal: j})
		m := h.Members(operation.Fallback)
		if err := m.Bind(t.Context(), "s", "boss", red); err != nil {
			t.Fatal(err)
		}
		id, err := m.MarkProvisioned(t.Context(), "s", "n")
		if err != nil {
			t.Fatal(err)
		}
		j.hold()
		for _, call := range []func(){
			func() { _ = m.MarkRetired(t.Context(), SessionRef("s")) }, // this one fails; what becomes of the others shows below
			func() { _ = m.Bind(t.Context(), "s", "other", "mob:blue") },
			func() { _, _ = m.Ensure(t.Context(), "s", "n") },
		} {
			go call()
			synctest.Wait()
		}
		j.release(1, errDisk)
		synctest.Wait()
		if b := m.RegistryFor("s"); b != (Binding{red, "boss"}) {
			t.Errorf("bound to %+v", b)
		}
		yes := true
		live, err := h.List(t.Context(), ListQuery{Filter: operation.Filter{Child: "s", Active: &yes}})
		if err != nil || len(live.Operations) != 1 || live.Operations[0].ID != id {
			t.Errorf("live: %+v, %v; want %s alone", live.Operations, err, id)
		}
		h.stop()
	})
}

func TestSupersededProcessAnswersNotOwner(t *testing.T) {
	j := newJournal()
	h := open(t, Config{Journal: j})
	id := h.must(t, red, tool("s", "a"))
	j.fail = func(int, []store.Append) error { return store.ErrEpoch }
	if _, err := h.Do(t.Context(), operation.Provisioned{Meta: meta(id)}); codeOf(err) != operation.CodeNotOwner {
		t.Errorf("write: %v", err)
	}
	j.fail = nil
	if _, err := h.Do(t.Context(), operation.Provisioned{Meta: meta(id)}); codeOf(err) != operation.CodeNotOwner {
		t.Errorf("the next write: %v", err)
	}
	if _, err := h.Get(t.Context(), id); codeOf(err) != operation.CodeNotOwner {
		t.Errorf("read: %v", err)
	}
	if _, err := h.List(t.Context(), ListQuery{}); codeOf(err) != operation.CodeNotOwner {
		t.Errorf("list: %v", err)
	}
}

func TestRequestIDAnswersAgain(t *testing.T) {
	everywhere(t, func(t *testing.T, at *place) {
		h := at.start(Config{})
		id := h.running(t, red, tool("s", "a"))
		call := operation.Complete{Meta: operation.Meta{ID: id, RequestID: "r1"}, Result: operation.Result{Content: "x"}}
		first := h.do(t, call)
		head := h.lastSeq()
		if at.keeps() {
			h = at.start(Config{})
		}
		if again := h.do(t, call); again.Version != first.Version || h.lastSeq() != head {
			t.Errorf("version %d at seq %d, want %d at %d", again.Version, h.lastSeq(), first.Version, head)
		}
		call.Result.Content = "y"
		if _, err := h.Do(t.Context(), call); codeOf(err) != operation.CodeIdempotencyMismatch {
			t.Errorf("another payload: %v", err)
		}
	})
}

func TestLateResultOfAnotherEpoch(t *testing.T) {
	everywhere(t, func(t *testing.T, at *place) {
		if !at.keeps() {
			t.Skip("nothing outlives the process")
		}
		h := at.start(Config{})
		spec := tool("s", "a")
		spec.OnRestart = operation.Resume
		id := h.running(t, red, spec)
		epoch := h.Epoch()
		h = at.start(Config{Runtime: &runtimeFake{}})
		if _, err := h.Do(t.Context(), operation.Complete{Meta: operation.Meta{ID: id, Handle: epoch}}); codeOf(err) != operation.CodeStaleEpoch {
			t.Errorf("late result: %v", err)
		}
	})
}

func TestBatchIsAllOrNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, at *place) {
		bus := &busFake{}
		h := at.start(Config{Bus: bus})
		a, b := h.running(t, red, member("o", "a")), h.must(t, red, member("o", "b"))
		with := []store.Append{{Machine: "mob", ID: "red", Expect: store.AnyVersion, Events: []drey.Event{{
			At: time.UnixMilli(1), Name: "member.retired", Machine: "mob", ID: "red",
		}}}}
		head := h.lastSeq()
		_, err := h.DoAll(t.Context(), Batch{Calls: []operation.Event{
			operation.RequestRetire{Meta: meta(a)}, operation.MarkRetired{Meta: meta(a)}, operation.RequestRetire{Meta: meta(b)},
		}, With: with})
		if codeOf(err) != operation.CodeInvalidTransition || h.status(t, a) != operation.Running || h.lastSeq() != head {
			t.Fatalf("refused batch: %v, %v", err, h.status(t, a))
		}
		after, err := h.DoAll(t.Context(), Batch{Calls: []operation.Event{
			operation.RequestRetire{Meta: meta(a)}, operation.MarkRetired{Meta: meta(a)}, operation.Provisioned{Meta: meta(b)},
		}, With: with})
		if err != nil || after[0].Status != operation.Retired || after[2].Status != operation.Running {
			t.Fatalf("batch: %v, %v", after, err)
		}
		names := []string{}
		for i, e := range bus.events[len(bus.events)-4:] {
			if e.Seq != head+1+drey.Seq(i) {
				t.Errorf("event %s has seq %d, want %d", e.Name, e.Seq, head+1+drey.Seq(i))
			}
			names = append(names, e.Name)
		}
		if want := []string{"operation.retiring", "operation.retired", "operation.running", "member.retired"}; !slices.Equal(names, want) {
			t.Errorf("events %v, want %v", names, want)
		}
		if after[2].LastSeq != head+3 {
			t.Errorf("last_seq %d, want %d", after[2].LastSeq, head+3)
		}
		if at.keeps() {
			if rows := rowsAfter(t, at.st, head); len(rows) != 3 {
				t.Errorf("the journal has %d rows of the batch, want 3", len(rows))
			}
		}
	})
}

type busFake struct{ events []drey.Event }

func (b *busFake) Committed(evs ...drey.Event) { b.events = append(b.events, evs...) }

// TestLateReportBehindAnUnpublishedLife: a session whose operation was
// registered and has ended, neither of it published yet, is known: a late report
// must not bring it to life again.
func TestLateReportBehindAnUnpublishedLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		h := open(t, Config{Journal: j})
		m := h.Members(operation.Fallback)
		j.hold()
		errs := make([]error, 3)
		for i, call := range []func() error{
			func() error { _, err := m.Ensure(t.Context(), "s", "n"); return err },
			func() error { return m.MarkRetired(t.Context(), SessionRef("s")) },
			func() error {
				return m.ReportProgress(t.Context(), SessionRef("s"), operation.ProgressUpdate{Message: "late"})
			},
		} {
			go func() { errs[i] = call() }()
			synctest.Wait()
		}
		j.release(0, nil)
		synctest.Wait()
		for i, err := range errs {
			if err != nil {
				t.Errorf("call %d: %v", i, err)
			}
		}
		all, err := h.List(t.Context(), ListQuery{Filter: operation.Filter{Child: "s"}})
		if err != nil || len(all.Operations) != 1 || !all.Operations[0].Status.Ended() {
			t.Errorf("%+v, %v; want the one, ended", all.Operations, err)
		}
		h.stop()
	})
}

// TestTerminationBehindAnAdoptionRestsOnIt: an operation that is being given away
// is no longer its owner's; if that is taken back, whoever was told that all of
// the owner's had ended would have been told wrong.
func TestTerminationBehindAnAdoptionRestsOnIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		h := open(t, Config{Journal: j})
		r := h.Registry(operation.Fallback)
		op, err := r.Register(t.Context(), operation.Spec{Kind: operation.BackgroundTool, Owner: "old", Name: "n"}, operation.Meta{})
		if err != nil {
			t.Fatal(err)
		}
		j.hold()
		errs := make([]error, 2)
		for i, call := range []func() error{
			func() error {
				_, err := r.AdoptOwner(t.Context(), "old", "new", operation.NoKind, operation.Meta{})
				return err
			},
			func() error { _, err := r.TerminateOwner(t.Context(), "old", "over", operation.Meta{}); return err },
		} {
			go func() { errs[i] = call() }()
			synctest.Wait()
		}
		n := 0
		j.fail = func(int, []store.Append) error {
			if n++; n == 1 { // the adoption
				return errDisk
			}
			return nil
		}
		j.release(0, nil)
		synctest.Wait()
		if codeOf(errs[0]) != operation.CodeStoreUnavailable || codeOf(errs[1]) != operation.CodeStoreUnavailable {
			t.Errorf("answered %v; want both refused", errs)
		}
		j.fail = nil
		if ids, err := r.TerminateOwner(t.Context(), "old", "over", operation.Meta{}); err != nil || len(ids) != 1 || ids[0] != op.ID {
			t.Errorf("ended %v, %v; want the one", ids, err)
		}
		h.stop()
	})
}
