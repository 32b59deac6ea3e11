package orchestrator

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/operation"
)

// crashDir tells the child of TestCrash where its store is, and crashStore
// which one that is: sqlite or postgres.
const (
	crashDir   = "DREY_ORCHESTRATOR_CRASH_DIR"
	crashStore = "DREY_ORCHESTRATOR_CRASH_STORE"
)

// crashWriters is how many goroutines of the child make calls at once.
const crashWriters = 64

func soak() bool { return os.Getenv("DREY_SOAK") == "1" }

// crashChild is the other half of TestCrash: in the process that it starts, it
// makes calls until it is killed, and never returns; in any other it does
// nothing.
func crashChild() {
	dir := os.Getenv(crashDir)
	if dir == "" {
		return
	}
	at := onSQLite
	if os.Getenv(crashStore) == onPostgres.name {
		at = onPostgres
	}
	if err := crashCalls(at.open, dir); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

func crashCalls(open opener, dir string) error {
	ctx := context.Background()
	st, err := open(ctx, dir)
	if err != nil {
		return err
	}
	p := operation.DefaultPolicy()
	p.MaxCompleted = 20 // so that the archive is killed at its work too
	o, err := New(ctx, Config{Journal: st, Policy: p, Runtime: &runtimeFake{left: true}})
	if err != nil {
		return err
	}
	failed := make(chan error, crashWriters+1)
	go func() { failed <- o.Serve(ctx) }()
	for range crashWriters {
		go func() { failed <- crashLives(ctx, o) }()
	}
	return <-failed
}

// crashLives leads one operation after another through its life, and says each
// acknowledged transition before it makes the next.
func crashLives(ctx context.Context, o *Operations) error {
	for {
		s, err := o.Registry(red).Register(ctx, operation.Spec{Kind: operation.MemberChild, Owner: "o", Child: fmt.Sprint("s", rand.Uint64()), Name: "n"}, operation.Meta{})
		for n := 0; ; n++ {
			if err != nil {
				return err
			}
			if _, err := fmt.Printf("%s %d %s\n", s.ID, s.Version, s.Status); err != nil {
				return err
			}
			if s.Ended() {
				break
			}
			m := operation.Meta{ID: s.ID}
			switch {
			case s.Status == operation.Provisioning:
				s, err = o.Do(ctx, operation.Provisioned{Meta: m})
			case s.Status == operation.Retiring:
				s, err = o.Do(ctx, operation.MarkRetired{Meta: m})
			case n < 3+rand.IntN(100):
				s, err = o.Do(ctx, operation.ReportProgress{Meta: m, Update: operation.ProgressUpdate{Message: "on it"}})
			case n%2 == 0:
				s, err = o.Do(ctx, operation.RequestRetire{Meta: m})
			default:
				s, err = o.Do(ctx, operation.Complete{Meta: m, Result: operation.Result{Content: "done"}})
			}
		}
	}
}

// TestCrash kills a process that leads operations, again and again, and checks
// after each time that nothing acknowledged is missing, that every history
// replays without a gap, and that no operation lives on that a restart ends: 5
// times, or 200 with DREY_SOAK=1.
func TestCrash(t *testing.T) {
	for _, b := range []backend{onSQLite, onPostgres} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			testCrash(t, b)
		})
	}
}

func testCrash(t *testing.T, b backend) {
	if b.need != nil {
		b.need(t)
	}
	rounds, most := 5, 1000
	if soak() {
		rounds, most = 200, 3000
	}
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	dir := t.TempDir()
	acked := map[string]ack{}
	for round := range rounds {
		crashKill(t, b.name, dir, rnd.IntN(most), acked)
		crashCheck(t, b.open, dir, acked)
		if t.Failed() {
			t.Fatalf("in round %d", round+1)
		}
	}
	said := int64(0)
	for _, a := range acked {
		said += a.version
	}
	t.Logf("%d kills: %d transitions of %d operations were acknowledged, and all are there", rounds, said, len(acked))
}

// ack is the last that was said of an operation.
type ack struct {
	version int64
	status  string
}

// crashKill starts the child and kills it after so many acknowledgements.
func crashKill(t *testing.T, backend, dir string, after int, acked map[string]ack) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), crashDir+"="+dir, crashStore+"="+backend)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	killed := false
	for n := 0; ; n++ {
		if n == after {
			killed = true
			if err := cmd.Process.Kill(); err != nil {
				t.Errorf("kill: %v", err)
			}
		}
		line, err := lines.ReadString('\n')
		if err != nil { // what follows the last newline was not said
			if !errors.Is(err, io.EOF) {
				t.Errorf("read the child: %v", err)
			}
			break
		}
		var id string
		var a ack
		if _, err := fmt.Sscan(line, &id, &a.version, &a.status); err != nil || a.version != acked[id].version+1 {
			t.Errorf("the child says %q after version %d", strings.TrimSpace(line), acked[id].version)
		}
		acked[id] = a
	}
	_ = cmd.Wait() // killed
	if !killed {
		t.Fatal("the child ended by itself")
	}
}

// crashCheck opens the store as the next process does.
func crashCheck(t *testing.T, open opener, dir string, acked map[string]ack) {
	t.Helper()
	st, err := open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var log logged
	p := operation.DefaultPolicy()
	p.MaxCompleted = 20
	o, err := New(t.Context(), Config{Journal: st, Policy: p, Runtime: &runtimeFake{left: true}, Log: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	if log.lines() != 0 {
		t.Errorf("the restart complains: %s", log.String())
	}
	versions := map[string]int64{}
	for _, e := range rowsAfter(t, st, 0) {
		if versions[e.ID]++; versions[e.ID] != number(e, "version") {
			t.Errorf("operation %s has version %d in its row %d", e.ID, number(e, "version"), versions[e.ID])
		}
	}
	for text, a := range acked {
		if versions[text] < a.version {
			t.Errorf("operation %s: version %d was acknowledged, the journal has %d", text, a.version, versions[text])
		}
		id, err := operation.ParseID(text)
		if err != nil {
			t.Fatal(err)
		}
		o.mu.RLock()
		e := o.entries[id]
		o.mu.RUnlock()
		if e == nil {
			continue // archived: its rows have been counted
		}
		if s := e.seen; s.Version < a.version || s.Status == operation.Provisioning {
			t.Errorf("operation %s is %s at %d after the restart; %s at %d was acknowledged", id, s.Status, s.Version, a.status, a.version)
		}
	}
}

// number is a number among the fields of an event; 0 if there is none.
func number(e drey.Event, key string) (n int64) {
	for _, f := range e.Fields {
		if f.Key == key {
			_, _ = fmt.Sscan(fmt.Sprintf("%s", f.Value), &n)
		}
	}
	return n
}
