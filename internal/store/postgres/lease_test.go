package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/postgres/pgtest"
)

func moved(machine, id string) drey.Event {
	return drey.Event{At: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Name: "test.moved", Machine: machine, ID: id}
}

func add(s *Store, machine, id string) error {
	_, err := s.Append(context.Background(), store.Append{Machine: machine, ID: id, Expect: store.AnyVersion, Events: []drey.Event{moved(machine, id)}})
	return err
}

// script runs SQL in the store's schema as another program could.
func script(t testing.TB, url, text string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(c)
	if _, err := c.PgConn().Exec(t.Context(), text).ReadAll(); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// TestHeld: another holder is refused by name while the lease lives, and waits
// no longer than until it is released.
func TestHeld(t *testing.T) {
	t.Parallel()
	o := options(t)
	first, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	other := o
	other.Holder = "there"
	_, err = Open(t.Context(), other)
	e, ok := errors.AsType[*drey.Error](err)
	if !errors.Is(err, ErrHeld) || !ok || e.Code != codeHeld || !strings.Contains(err.Error(), `held by "here"`) || !strings.Contains(e.Hint, "here") {
		t.Fatalf("%v, hint %q", err, drey.HintOf(err))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, other); !errors.Is(err, context.Canceled) {
		t.Errorf("under an ended context: %v", err)
	}

	other.Wait = time.Minute
	opened := make(chan *Store, 1)
	go func() {
		s, err := Open(t.Context(), other)
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	if err := add(first, "m", "1"); err != nil {
		t.Error(err)
	}
	if err := first.Close(); err != nil { // releases it, long before it expires
		t.Fatal(err)
	}
	second := <-opened
	if second == nil {
		t.FailNow()
	}
	defer second.Close()
	if second.Epoch() != first.Epoch()+1 {
		t.Errorf("epoch %d after %d", second.Epoch(), first.Epoch())
	}
	if err := add(second, "m", "1"); err != nil {
		t.Error(err)
	}
}

// TestExpiry: a lease that has expired is the holder's until another takes it.
func TestExpiry(t *testing.T) {
	t.Parallel()
	o := options(t)
	lost := make(chan error, 2)
	o.Lost = func(err error) { lost <- err }
	s := open1(t, o)
	expire := `UPDATE leases SET expires_at = clock_timestamp() - INTERVAL '1 hour'`
	script(t, o.URL, expire)
	if err := add(s, "m", "1"); err != nil {
		t.Fatalf("expired and not taken: %v", err)
	}
	other := o
	other.Holder, other.Lost = "there", nil
	if _, err := Open(t.Context(), other); !errors.Is(err, ErrHeld) {
		t.Errorf("after a write, which renews it: %v", err)
	}
	script(t, o.URL, expire)
	young := open1(t, other)
	for range 2 {
		if err := add(s, "m", "1"); !errors.Is(err, store.ErrEpoch) {
			t.Errorf("taken: %v, want ErrEpoch", err)
		}
	}
	if err := <-lost; !errors.Is(err, store.ErrEpoch) || len(lost) != 0 {
		t.Errorf("lost: %v, and %d more", err, len(lost))
	}
	if err := add(young, "m", "1"); err != nil {
		t.Error(err)
	}
}

// TestRenewal: an idle store keeps its lease, and an idle store that has lost
// it finds out.
func TestRenewal(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.TTL = 600 * time.Millisecond
	lost := make(chan error, 1)
	o.Lost = func(err error) { lost <- err }
	s := open1(t, o)
	other := o
	other.Holder, other.Wait, other.Lost = "there", 2*o.TTL, nil
	if _, err := Open(t.Context(), other); !errors.Is(err, ErrHeld) {
		t.Fatalf("the lease of an idle store, after twice its time: %v", err)
	}
	open1(t, o) // the successor on the same home
	if err := <-lost; !errors.Is(err, store.ErrEpoch) {
		t.Errorf("lost: %v", err)
	}
	if err := add(s, "m", "1"); !errors.Is(err, store.ErrEpoch) {
		t.Errorf("%v", err)
	}
}

// TestTwoLeases: two handles write one journal at the same time, each under a
// lease of its own, and each is fenced by itself.
func TestTwoLeases(t *testing.T) {
	t.Parallel()
	o := options(t)
	const each = 100
	var handles [2]*Store
	var wg sync.WaitGroup
	for i := range handles {
		o := o
		o.Lease = fmt.Sprintf("registry:%d", i)
		handles[i] = open1(t, o)
		wg.Go(func() {
			for n := range each {
				id := fmt.Sprint(i)
				_, err := handles[i].Append(t.Context(), store.Append{Machine: "m", ID: id, Expect: int64(n), Events: []drey.Event{moved("m", id), moved("x", id)}})
				if err != nil {
					t.Errorf("handle %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if v, err := handles[0].Verify(t.Context(), store.Check{}, nil); err != nil || v.Events != 4*each {
		t.Errorf("%+v, %v; want %d rows without a gap", v, err, 4*each)
	}
	o.Lease = "registry:0"
	open1(t, o)
	if err := add(handles[0], "m", "0"); !errors.Is(err, store.ErrEpoch) {
		t.Errorf("the lease that was taken: %v", err)
	}
	if err := add(handles[1], "m", "1"); err != nil {
		t.Errorf("the other lease: %v", err)
	}
}

// childURL tells the child of TestStopped which store to write.
const childURL = "DREY_TEST_LEASE_URL"

// stoppedTTL is the lease of that child alone: a session that stands still in a
// transaction for longer is ended, which on a busy machine would hit any of its
// transactions, were it short, and those of its successor.
const stoppedTTL = 3 * time.Second

// leaseChild is the process that TestStopped stops: it appends one row after
// the other and says so, until it is refused.
func leaseChild() {
	url := os.Getenv(childURL)
	if url == "" {
		return
	}
	ctx := context.Background()
	s, err := Open(ctx, Options{URL: url, Holder: "child", TTL: stoppedTTL})
	if err != nil {
		fmt.Println("open", err)
		os.Exit(1)
	}
	for n := int64(0); ; n++ {
		_, err := s.Append(ctx, store.Append{Machine: "m", ID: "1", Expect: n, Events: []drey.Event{moved("m", "1")}})
		if err != nil {
			fmt.Println("refused", errors.Is(err, store.ErrEpoch), err)
			os.Exit(0)
		}
		fmt.Println("append", n+1)
	}
}

// TestStopped stops the holder of the lease in the middle of its work. When the
// lease expires, another takes over; the first one wakes, and its late write is
// refused by the fence.
func TestStopped(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childURL+"="+url)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	acked := int64(0)
	for acked < 25 && lines.Scan() {
		if _, err := fmt.Sscanf(lines.Text(), "append %d", &acked); err != nil {
			t.Fatalf("the child says %q", lines.Text())
		}
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s := open1(t, Options{URL: url, Holder: "parent", Wait: time.Minute})
	t.Logf("the lease was taken over after %v", time.Since(began))
	st, err := s.Load(t.Context(), "m", "1")
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Append(t.Context(), store.Append{Machine: "m", ID: "1", Expect: st.Version, Events: []drey.Event{moved("m", "1")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	refused := ""
	for lines.Scan() {
		if refused = lines.Text(); strings.HasPrefix(refused, "append") {
			if _, err := fmt.Sscanf(refused, "append %d", &acked); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(refused, "refused true") {
		t.Errorf("the late write: %q, want ErrEpoch", refused)
	}
	if acked > st.Version {
		t.Errorf("%d appends were acknowledged, and the successor found %d", acked, st.Version)
	}
	if head, err := s.Head(t.Context()); err != nil || head != c.Last || int64(head) != st.Version+1 {
		t.Errorf("head %d, %v; want %d, that of the successor", head, err, c.Last)
	}
}

// TestStalled: a transaction that stands still, locks in hand, holds the next
// holder up no longer than the lease would have, and is then refused.
func TestStalled(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.TTL = 300 * time.Millisecond
	var stall atomic.Bool
	entered, leave := make(chan struct{}), make(chan struct{})
	o.test.commit = func(_ *writer, do func() error) error {
		if stall.Swap(false) {
			entered <- struct{}{}
			<-leave
		}
		return do()
	}
	s := open1(t, o)
	if err := add(s, "m", "1"); err != nil {
		t.Fatal(err)
	}
	stall.Store(true)
	late := make(chan error, 1)
	go func() { late <- add(s, "m", "1") }()
	<-entered
	young := open1(t, Options{URL: o.URL, Holder: "there", Wait: time.Minute})
	if err := add(young, "m", "1"); err != nil {
		t.Error(err)
	}
	leave <- struct{}{}
	if err := <-late; !errors.Is(err, store.ErrEpoch) {
		t.Errorf("the late write: %v, want ErrEpoch", err)
	}
	if head, err := young.Head(t.Context()); err != nil || head != 2 {
		t.Errorf("head %d, %v; want 2", head, err)
	}
}
