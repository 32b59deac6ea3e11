package orchestrator

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/dreyhq/drey/internal/operation"
)

// asked and said are the two halves of a call in a concurrent history.
type asked struct {
	call string
	id   int
}

type said struct {
	code    operation.Code
	status  operation.Status
	version int64
	n       int // of a list: how many are live
}

// registryModel is one registry with a limit of three: the status and version
// of each of its operations.
var registryModel = porcupine.Model{
	Init: func() any { return [4][2]int64{} },
	Step: func(state, in, out any) (bool, any) {
		s, call, got := state.([4][2]int64), in.(asked), out.(said)
		if got.code == operation.CodeStoreUnavailable {
			return true, state // it did not happen
		}
		active := 0
		for _, op := range s {
			if operation.Status(op[0]).Live() {
				active++
			}
		}
		status, version := operation.Status(s[call.id][0]), s[call.id][1]
		refuse := func(code operation.Code) (bool, any) { return got.code == code, state }
		to := operation.Absent
		switch call.call {
		case "list":
			return got.n == active, state
		case "get":
			if status == operation.Absent {
				return refuse(operation.CodeNotFound)
			}
			return got.code == operation.NoCode && got.status == status && got.version == version, state
		case "register":
			switch {
			case status != operation.Absent:
				return refuse(operation.CodeAlreadyRegistered)
			case active >= 3:
				return refuse(operation.CodeMaxConcurrentExceeded)
			}
			to = operation.Provisioning
		case "provisioned":
			if status == operation.Provisioning {
				to = operation.Running
			}
		case "progress":
			if status == operation.Running {
				to = operation.Running
			}
		case "fail":
			if status.Live() {
				to = operation.Failed
			}
		}
		switch {
		case status == operation.Absent && call.call != "register":
			return refuse(operation.CodeNotFound)
		case to == operation.Absent:
			return refuse(operation.CodeInvalidTransition)
		}
		s[call.id] = [2]int64{int64(to), version + 1}
		return got.code == operation.NoCode, s
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
}

// TestLinearizable: concurrent histories over one registry, on a journal some of
// whose commits fail and on each store, have an order in which each call sees
// what those before it did.
func TestLinearizable(t *testing.T) { linearizable(t, linear) }

// linearizable checks histories on a journal some of whose commits fail, many
// times, and on each store.
func linearizable(t *testing.T, check func(t *testing.T, start func(Config) *house, seed uint64)) {
	t.Run("failing", func(t *testing.T) {
		t.Parallel()
		rounds := 15
		if soak() {
			rounds = 300
		}
		for round := range rounds {
			j := &flaky{journal: newJournal(), rnd: rand.New(rand.NewPCG(uint64(round), 1)), wake: make(chan struct{}, 1), quit: make(chan struct{})}
			var wg sync.WaitGroup
			wg.Go(j.commit)
			check(t, func(cfg Config) *house { cfg.Journal = j; return open(t, cfg) }, uint64(round))
			close(j.quit)
			wg.Wait()
		}
	})
	everywhere(t, func(t *testing.T, at *place) {
		rounds := 2
		if soak() {
			rounds = 50
		}
		for round := range rounds {
			check(t, newPlace(t, backend{open: at.open}).start, 99+uint64(round))
		}
	})
}

func linear(t *testing.T, start func(Config) *house, seed uint64) {
	t.Helper()
	limit := 3
	p := operation.DefaultPolicy()
	p.MaxConcurrent = &limit
	h := start(Config{Policy: p})
	defer h.stop()
	calls := []string{"register", "provisioned", "progress", "fail", "get", "list"}
	converse(t, registryModel, seed, func(rnd *rand.Rand) (any, any) {
		in := asked{calls[rnd.IntN(len(calls))], rnd.IntN(4)}
		return in, h.perform(t, in)
	})
}

// converse has 4 to 16 clients make calls at the same time, and checks that an
// order explains what they were answered.
func converse(t *testing.T, model porcupine.Model, seed uint64, call func(*rand.Rand) (in, out any)) {
	t.Helper()
	clients := 4 + int(seed%13)
	var mu sync.Mutex
	var history []porcupine.Operation
	var wg sync.WaitGroup
	began := time.Now()
	for c := range clients {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(c)))
			for range 12 {
				from := time.Since(began).Nanoseconds()
				in, out := call(rnd)
				to := time.Since(began).Nanoseconds()
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: c, Input: in, Call: from, Output: out, Return: to})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if porcupine.CheckOperationsTimeout(model, history, 10*time.Second) == porcupine.Illegal {
		t.Errorf("seed %d: no order explains the history of %d calls", seed, len(history))
	}
}

func (h *house) perform(t *testing.T, in asked) said {
	id := operation.ID{15: byte(in.id + 1)}
	var s operation.Snapshot
	var err error
	switch in.call {
	case "register":
		spec := tool("o", "n")
		spec.ID = id
		s, err = h.Registry(red).Register(t.Context(), spec, operation.Meta{})
	case "provisioned":
		s, err = h.Do(t.Context(), operation.Provisioned{Meta: meta(id)})
	case "progress":
		s, err = h.Do(t.Context(), operation.ReportProgress{Meta: meta(id)})
	case "fail":
		s, err = h.Do(t.Context(), operation.Fail{Meta: meta(id)})
	case "get":
		s, err = h.Get(t.Context(), id)
	case "list":
		yes := true
		page, err := h.List(t.Context(), ListQuery{Filter: operation.Filter{Active: &yes}})
		return said{code: codeOf(err), n: len(page.Operations)}
	}
	return said{code: codeOf(err), status: s.Status, version: s.Version}
}
