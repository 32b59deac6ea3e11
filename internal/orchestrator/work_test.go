package orchestrator

import (
	"sync"
	"testing"

	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
)

// awake counts what is work.
type awake struct {
	mu         sync.Mutex
	now, begun int
}

func (a *awake) begin() func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now++
	a.begun++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.now--
	}
}

func (a *awake) expect(t *testing.T, what string, now, begun int) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.now != now || a.begun != begun {
		t.Errorf("%s: %d operations are work and %d have been, want %d and %d", what, a.now, a.begun, now, begun)
	}
}

// TestWork follows what the lifecycle is told: before each answer, it is true.
func TestWork(t *testing.T) {
	t.Parallel()
	var a awake
	j := newJournal()
	cfg := Config{Journal: j, Work: a.begin, Runtime: &runtimeFake{left: true}, Policy: operation.DefaultPolicy()}
	cfg.Policy.MaxCompleted = 0 // what has ended is gone at once
	h := open(t, cfg)
	m := h.must(t, red, member("o", "s"))
	a.expect(t, "a member that is provisioned", 1, 1)
	h.do(t, operation.Provisioned{Meta: meta(m)})
	a.expect(t, "a member that runs", 0, 1)
	h.do(t, operation.ReportProgress{Meta: meta(m), Update: operation.ProgressUpdate{Message: "on it"}})
	a.expect(t, "a member that reports", 0, 1)
	spec := tool("o", "build")
	spec.OnRestart = operation.Resume
	b := h.must(t, red, spec)
	h.do(t, operation.Provisioned{Meta: meta(b)})
	h.do(t, operation.ReportProgress{Meta: meta(b), Update: operation.ProgressUpdate{Message: "on it"}})
	a.expect(t, "a tool that runs", 1, 2)
	if _, err := h.Registry(red).Register(t.Context(), operation.Spec{}, operation.Meta{}); err == nil {
		t.Error("an empty spec was taken")
	}
	c := h.must(t, red, tool("o", "test"))
	h.do(t, operation.Fail{Meta: meta(c), Error: "no compiler"})
	a.expect(t, "a tool that has failed", 1, 3)
	j.fail = func(int, []store.Append) error { return errDisk }
	if _, err := h.Registry(red).Register(t.Context(), tool("o", "lint"), operation.Meta{}); err == nil {
		t.Error("a registration without a store was taken")
	}
	j.fail = nil
	a.expect(t, "a registration that was taken back", 1, 3)
	h.stop()
	a.expect(t, "after the end", 0, 3)

	h = open(t, cfg)
	a.expect(t, "the tool that a restart takes up", 1, 4)
	h.do(t, operation.Complete{Meta: meta(b)})
	h.do(t, operation.RequestRetire{Meta: meta(m)})
	a.expect(t, "after the tool", 0, 4)
}
