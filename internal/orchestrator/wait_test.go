package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dreyhq/drey/internal/operation"
)

func TestWaitCountsFromItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := operation.DefaultPolicy()
		p.MaxCompleted = 0
		h := open(t, Config{Policy: p})
		a, b := h.running(t, red, tool("s", "a")), h.running(t, red, tool("s", "b"))
		var got Waited
		var err error
		go func() { got, err = h.WaitAll(t.Context(), []operation.ID{b, a}) }()
		synctest.Wait()
		h.do(t, operation.Complete{Meta: meta(a), Result: operation.Result{Content: "A"}})
		if s, err := h.Get(t.Context(), a); err != nil || s.Archived {
			t.Errorf("an awaited record is %+v, %v; want it retained", s.Archived, err)
		}
		if out, err := h.Registry(red).CollectCompleted(t.Context()); err != nil || len(out) != 0 {
			t.Errorf("collect took %d pinned records, %v", len(out), err)
		}
		h.do(t, operation.Fail{Meta: meta(b), Error: "B"})
		synctest.Wait()
		if err != nil || len(got.Outcomes) != 2 || got.Outcomes[0].Error != "B" || got.Outcomes[1].Result.Content != "A" {
			t.Fatalf("outcomes %+v, %v", got.Outcomes, err)
		}
		synctest.Wait()
		for _, id := range []operation.ID{a, b} {
			if _, err := h.Registry(red).Get(t.Context(), id); codeOf(err) != operation.CodeEvicted {
				t.Errorf("after the wait: %v, want evicted", err)
			}
		}
		h.stop()
	})
}

func TestWaitGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Config{})
		a, b := h.running(t, red, tool("s", "a")), h.running(t, red, tool("s", "b"))
		h.do(t, operation.Complete{Meta: meta(a)})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		got, err := h.WaitAll(ctx, []operation.ID{a, b})
		e, ok := errors.AsType[*WaitError](err)
		if !ok || len(e.Live) != 1 || e.Live[0] != b || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v", err)
		}
		if got.Outcomes[0].Type != operation.Completed || !got.Outcomes[1].IsZero() {
			t.Errorf("outcomes %+v", got.Outcomes)
		}
		if s, _ := h.Get(t.Context(), b); s.Waiters != 0 {
			t.Errorf("waiter_count %d after the wait", s.Waiters)
		}
		// A finished answer beats a cancelled question.
		if _, err := h.WaitAll(ctx, []operation.ID{a}); err != nil {
			t.Errorf("all ended, under an ended context: %v", err)
		}
		if _, err := h.WaitAll(ctx, nil); err != nil {
			t.Errorf("nothing, under an ended context: %v", err)
		}
		if _, err := h.WaitAll(t.Context(), []operation.ID{a, b, a}); codeOf(err) != operation.CodeDuplicateWait {
			t.Errorf("named twice: %v", err)
		}
		if _, err := h.WaitAll(t.Context(), []operation.ID{a, {1}}); codeOf(err) != operation.CodeNotFound {
			t.Errorf("unknown: %v", err)
		}
		h.stop()
	})
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Config{})
		id := h.running(t, red, tool("s", "a"))
		ctx, cancel := context.WithCancel(t.Context())
		watches := make([]*Watch, 4)
		for i := range watches {
			c := t.Context()
			if i == 1 {
				c = ctx
			}
			w, err := h.Watch(c, id)
			if err != nil {
				t.Fatal(err)
			}
			watches[i] = w
		}
		watches[0].Close()
		cancel()
		synctest.Wait()
		if s, _ := h.Get(t.Context(), id); s.Watchers != 2 {
			t.Errorf("watcher_count %d, want 2", s.Watchers)
		}
		h.do(t, operation.Cancel{Meta: meta(id), Reason: "enough"})
		for i, w := range watches {
			out, err := w.Outcome()
			switch i {
			case 0:
				if codeOf(err) != operation.CodeClosed {
					t.Errorf("closed: %v", err)
				}
			case 1:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("cancelled: %v", err)
				}
			default:
				if err != nil || out.Reason != "enough" {
					t.Errorf("watch %d: %+v, %v", i, out, err)
				}
			}
		}
		late, err := h.Watch(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := late.Outcome(); err != nil || out.Type != operation.Cancelled {
			t.Errorf("late: %+v, %v", out, err)
		}
		other := h.running(t, red, tool("s", "b"))
		w, err := h.Watch(t.Context(), other)
		if err != nil {
			t.Fatal(err)
		}
		var waitErr error
		go func() { _, waitErr = h.WaitAll(t.Context(), []operation.ID{other}) }()
		synctest.Wait()
		h.stop()
		if out, err := w.Outcome(); codeOf(err) != operation.CodeClosed || !out.IsZero() {
			t.Errorf("the registry closed: %+v, %v", out, err)
		}
		synctest.Wait()
		if codeOf(waitErr) != operation.CodeClosed {
			t.Errorf("a wait when the registry closed: %v", waitErr)
		}
	})
}

// TestManyWaits: 10,000 waits at once over 1,000 operations of which one is
// retained (on stores a tenth of that, or all with DREY_SOAK=1). Each returns
// the true outcomes, and nothing stays behind.
func TestManyWaits(t *testing.T) {
	everywhere(t, func(t *testing.T, at *place) {
		operations, waits := 1000, 10_000
		if at.keeps() && !soak() {
			operations, waits = 100, 1000
		}
		p := operation.DefaultPolicy()
		p.MaxCompleted = 1
		h := at.start(Config{Policy: p})
		ids := make([]operation.ID, operations)
		beside := func(n int, do func(i int)) { // the committer takes them in batches
			var wg sync.WaitGroup
			for w := range 64 {
				wg.Go(func() {
					for i := w; i < n && !t.Failed(); i += 64 {
						do(i)
					}
				})
			}
			wg.Wait()
		}
		beside(operations, func(i int) {
			s, err := h.Registry(red).Register(t.Context(), tool("s", fmt.Sprint("t", i)), operation.Meta{})
			if err == nil {
				_, err = h.Do(t.Context(), operation.Provisioned{Meta: meta(s.ID)})
			}
			if err != nil {
				t.Errorf("operation %d: %v", i, err)
			}
			ids[i] = s.ID
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		for n := range waits {
			wg.Go(func() {
				mine := []operation.ID{ids[n%operations], ids[(n*7+1)%operations], ids[(n*13+2)%operations]}
				if mine[0] == mine[1] || mine[1] == mine[2] || mine[0] == mine[2] {
					mine = mine[:1]
				}
				got, err := h.WaitAll(ctx, mine)
				if err != nil {
					t.Errorf("wait: %v", err)
					return
				}
				for i, id := range mine {
					if got.Outcomes[i].Result.Content != id.String() {
						t.Errorf("outcome of %s: %+v", id, got.Outcomes[i])
					}
				}
			})
		}
		count := func() (retained, waiting, pinned int) {
			h.mu.RLock()
			defer h.mu.RUnlock()
			return h.all.len(), h.waits, h.pinned
		}
		for _, n, _ := count(); n < waits && !t.Failed(); _, n, _ = count() {
			runtime.Gosched()
		}
		beside(operations, func(i int) {
			if _, err := h.Do(t.Context(), operation.Complete{Meta: meta(ids[i]), Result: operation.Result{Content: ids[i].String()}}); err != nil {
				t.Errorf("complete: %v", err)
				cancel()
			}
		})
		wg.Wait()
		h.settled(t)
		if retained, waiting, pinned := count(); retained != 1 || waiting != 0 || pinned != 0 {
			t.Errorf("%d retained, %d waits, %d pinned; want 1, 0, 0", retained, waiting, pinned)
		}
	})
}
