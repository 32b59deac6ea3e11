package orchestrator

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/postgres"
	"github.com/dreyhq/drey/internal/store/postgres/pgtest"
)

// leaseURL tells the child of TestStopped where its store is.
const leaseURL = "DREY_ORCHESTRATOR_LEASE_URL"

// leaseTTL is how long a lease lasts in TestStopped.
const leaseTTL = time.Second

// leaseWriters is how many goroutines of the child make calls at once.
const leaseWriters = 16

// leaseChild is the other half of TestStopped: in the process that it starts,
// it owns the operations of a store until another has taken over, says how each
// writer was refused, and what it is told after that.
func leaseChild() {
	url := os.Getenv(leaseURL)
	if url == "" {
		return
	}
	ctx := context.Background()
	st, err := postgres.Open(ctx, postgres.Options{URL: url, Holder: "first", TTL: leaseTTL})
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	o, err := New(ctx, Config{Journal: st, Policy: operation.DefaultPolicy()})
	if err != nil {
		fmt.Println("new:", err)
		os.Exit(1)
	}
	go func() { _ = o.Serve(ctx) }() // it ends with the process
	var wg sync.WaitGroup
	for range leaseWriters {
		wg.Go(func() { fmt.Println("refused", codeOf(crashLives(ctx, o))) })
	}
	wg.Wait()
	_, err = o.Registry(red).Register(ctx, tool("o", "late"), operation.Meta{})
	fmt.Println("refused", codeOf(err))
	fmt.Println("refused", codeOf(o.Members(operation.Fallback).Bind(ctx, "s", "late", red)))
	_, err = o.List(ctx, ListQuery{})
	fmt.Println("refused", codeOf(err))
	os.Exit(0)
}

// TestStopped: a process that owns operations is stopped in the middle of its
// work. Its lease expires, another takes over and goes on with them. The first
// one wakes: everything that it had under way is refused, nothing of it is
// written, and it answers nothing but not_owner from then on (§8, epochs).
func TestStopped(t *testing.T) {
	t.Parallel()
	pgtest.Need(t)
	dir := t.TempDir()
	url, err := pgtest.For(dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), leaseURL+"="+url)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acked := map[string]ack{}
	refused := []string{}
	lines := bufio.NewScanner(out)
	next := func() bool {
		if !lines.Scan() {
			return false
		}
		if code, ok := strings.CutPrefix(lines.Text(), "refused "); ok {
			refused = append(refused, code)
			return true
		}
		var id string
		var a ack
		if _, err := fmt.Sscan(lines.Text(), &id, &a.version, &a.status); err != nil || a.version != acked[id].version+1 {
			t.Errorf("the first one says %q after version %d", lines.Text(), acked[id].version)
		}
		acked[id] = a
		return true
	}
	for n := 0; n < 300 && next(); n++ {
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	second := func(ctx context.Context, _ string) (store.Store, error) {
		return postgres.Open(ctx, postgres.Options{URL: url, Holder: "second", TTL: leaseTTL, Wait: time.Minute})
	}
	st, err := second(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	head, err := st.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h := open(t, Config{Journal: st, Runtime: &runtimeFake{left: true}})
	yes := true
	live, err := h.List(t.Context(), ListQuery{Filter: operation.Filter{Active: &yes}})
	if err != nil || len(live.Operations) == 0 {
		t.Fatalf("%d operations to go on with, %v", len(live.Operations), err)
	}
	t.Logf("taken over after %v, with %d live operations at seq %d", time.Since(began).Round(time.Millisecond), len(live.Operations), head)
	goOn := func() {
		for _, op := range live.Operations {
			h.do(t, operation.ReportProgress{Meta: meta(op.ID), Update: operation.ProgressUpdate{Message: "here now"}})
		}
	}
	goOn()
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	goOn() // while it wakes
	for next() {
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the first one: %v", err)
	}
	goOn()

	if len(refused) != leaseWriters+3 {
		t.Errorf("%d calls were refused, want %d", len(refused), leaseWriters+3)
	}
	for _, code := range refused {
		if code != operation.CodeNotOwner.String() {
			t.Errorf("refused as %s, want %s", code, operation.CodeNotOwner)
		}
	}
	for _, e := range rowsAfter(t, st, head) {
		if got := number(e, "epoch"); got != int64(h.Epoch()) {
			t.Errorf("seq %d, %s of %s, is of epoch %d; the second one's is %d", e.Seq, e.Name, e.ID, got, h.Epoch())
		}
	}
	h.stop()
	if err := st.Close(); err != nil {
		t.Error(err)
	}
	crashCheck(t, second, dir, acked)
}
