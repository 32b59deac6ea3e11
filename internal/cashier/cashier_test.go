package cashier

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/spend"
	"github.com/dreyhq/drey/internal/store"
)

func TestAnAttemptWaitsForItsReservation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &memory{held: true}
		c := open(t, j, &bus{}, perDay(100))
		left := false
		var ticket spend.Ticket
		var wg sync.WaitGroup
		wg.Go(func() {
			ticket, _ = c.Reserve(t.Context(), asks(60))
			left = true
		})
		synctest.Wait()
		if left {
			t.Fatal("the attempt left before its row was committed")
		}
		c.stands(t, "while it waits", 0, 60)
		j.commit(1)
		wg.Wait()
		c.Settle(settles(ticket, 25))
		c.stands(t, "at its end", 25, 0)
		c.Settle(settles(ticket, 25))
		c.stands(t, "settled twice", 25, 0)
	})
}

func TestNobodyWaitsWithoutABudget(t *testing.T) {
	j := &memory{held: true}
	c := open(t, j, &bus{}, spend.Policy{Providers: map[drey.ProviderID]spend.Limit{"other": {Day: spend.CapAt(1)}}})
	ticket, err := c.Reserve(t.Context(), asks(60))
	if err != nil || len(j.waiting) != 0 {
		t.Fatalf("%v, and %d rows", err, len(j.waiting))
	}
	c.Settle(settles(ticket, 7))
	c.stands(t, "at its end", 7, 0)
	c.Apply(perDay(10)) // a budget that is set later knows what was spent before
	if _, err := c.Reserve(t.Context(), asks(4)); !isRefusal(err) {
		t.Errorf("4 of the 3 that are left: %v", err)
	}
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*spend.Refusal](err)
	return ok
}

func TestAReservationThatIsNotWrittenHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &memory{broken: errDisk}
		c := open(t, j, &bus{}, perDay(100))
		if _, err := c.Reserve(t.Context(), asks(60)); !errors.Is(err, ErrNotWritten) || !errors.Is(err, errDisk) {
			t.Errorf("a broken journal: %v", err)
		}
		c.stands(t, "refused by the journal", 0, 0)

		j.broken, j.held = nil, true
		ctx, cancel := context.WithCancelCause(t.Context())
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { _, err = c.Reserve(ctx, asks(60)) })
		synctest.Wait()
		gone := errors.New("the caller has gone")
		cancel(gone)
		wg.Wait()
		if err != gone {
			t.Errorf("a caller that has gone: %v", err)
		}
		c.stands(t, "left by its caller", 0, 0)
		j.commit(2)
		j.held = false
		after := open(t, j, &bus{}, perDay(100))
		after.stands(t, "in the next process", 0, 0)
	})
}

func TestWhoIsToldWhat(t *testing.T) {
	j, b := &memory{}, &bus{}
	c := open(t, j, b, perDay(100))
	ticket, err := c.Reserve(t.Context(), asks(80))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if c.Check(asks(40)) == nil {
			t.Error("40 are let through where 20 are left")
		}
		if _, err := c.Reserve(t.Context(), asks(40)); !isRefusal(err) {
			t.Errorf("40 are reserved where 20 are left: %v", err)
		}
	}
	c.Settle(settles(ticket, 10))
	if c.Check(asks(40)) != nil {
		t.Error("40 are refused where 90 are left")
	}
	if c.Check(asks(91)) == nil {
		t.Error("91 are let through where 90 are left")
	}
	after := open(t, j, b, perDay(100))
	if after.Check(asks(91)) == nil {
		t.Error("91 are let through after a restart")
	}
	if d := cmp.Diff([]string{"budget-exceeded"}, b.told); d != "" {
		t.Errorf("the audit log (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"budget-reserved", "budget-settled"}, b.live); d != "" {
		t.Errorf("live readers (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"budget-reserved", "budget-exceeded", "budget-settled"}, j.names()); d != "" {
		t.Errorf("the journal (-want +got):\n%s", d)
	}
}

func TestARestartTakesUpWhatThereWas(t *testing.T) {
	j := &memory{}
	c := open(t, j, &bus{}, perDay(1_000_000))
	for range snapshotEvery {
		ticket, err := c.Reserve(t.Context(), asks(20))
		if err != nil {
			t.Fatal(err)
		}
		c.Settle(settles(ticket, 3))
	}
	if j.taken != 2 || len(j.tail) != 0 {
		t.Errorf("after %d rows there are %d snapshots and a tail of %d", 2*snapshotEvery, j.taken, len(j.tail))
	}
	if _, err := c.Reserve(t.Context(), asks(500)); err != nil {
		t.Fatal(err)
	}
	c.stands(t, "before the kill", 3*snapshotEvery, 500)

	b := &bus{}
	after := open(t, j, b, perDay(1_000_000))
	after.stands(t, "after it", 3*snapshotEvery+500, 0)
	last := j.all[len(j.all)-1]
	if last.Name != "budget-settled" || last.RequestID != "req_x" || !slices.ContainsFunc(last.Fields, func(f drey.Field) bool { return f.Key == "estimated" && f.Value == true }) {
		t.Errorf("the attempt that was under way is settled by %+v", last)
	}
	if len(j.tail) != 0 {
		t.Errorf("the start left a tail of %d to the next one", len(j.tail))
	}
}

func TestTheLastSnapshot(t *testing.T) {
	j := &memory{}
	idle := open(t, j, &bus{}, perDay(100))
	serveToTheEnd(t, idle)
	if j.taken != 0 {
		t.Error("a process that has counted nothing has written a snapshot")
	}
	c := open(t, j, &bus{}, perDay(100))
	c.Settle(settles(spend.Ticket{Payer: asks(0).Payer}, 9))
	serveToTheEnd(t, c)
	if j.taken != 1 || len(j.tail) != 0 {
		t.Errorf("%d snapshots, and a tail of %d", j.taken, len(j.tail))
	}
	open(t, j, &bus{}, perDay(100)).stands(t, "in the next process", 9, 0)
}

func serveToTheEnd(t *testing.T, c *Cashier) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Serve(ctx); err != nil {
		t.Error(err)
	}
}

// The last snapshot that cannot be written costs the next start a replay, and
// nothing else.
func TestTheLastSnapshotThatIsNotWritten(t *testing.T) {
	j := &memory{}
	c := open(t, j, &bus{}, perDay(100))
	c.Settle(settles(spend.Ticket{Payer: asks(0).Payer}, 9))
	j.broken = errDisk
	serveToTheEnd(t, c)
	j.broken = nil
	open(t, j, &bus{}, perDay(100)).stands(t, "in the next process", 9, 0)
}

func TestWhatCannotBeReadIsDropped(t *testing.T) {
	strange := drey.Event{Name: "budget-settled", Machine: spend.MachineName, ID: spend.MachineID, Seq: 7}
	for name, j := range map[string]*memory{
		"a snapshot": {snapshot: json.RawMessage(`{"today":"some day"}`)},
		"a row":      {tail: []drey.Event{strange}},
	} {
		b := &bus{}
		c := open(t, j, b, perDay(100))
		c.stands(t, name, 0, 0)
		if !slices.Equal(b.told, []string{"state-dropped"}) {
			t.Errorf("%s: %v was told", name, b.told)
		}
		again := &bus{}
		open(t, j, again, perDay(100))
		if len(again.told) != 0 {
			t.Errorf("%s: the next start tells %v again", name, again.told)
		}
	}
}

// broken is a store that cannot be asked.
type broken struct{ *memory }

func (broken) Load(context.Context, string, string) (store.State, error) {
	return store.State{}, errDisk
}

func TestAStoreThatCannotBeAskedStopsTheStart(t *testing.T) {
	_, err := New(t.Context(), Config{Journal: broken{&memory{}}, Bus: &bus{}}, spend.Policy{})
	if !errors.Is(err, errDisk) || !strings.Contains(err.Error(), "budgets") {
		t.Errorf("%v", err)
	}
	// Nor does a daemon serve whose last one has left reservations open that it
	// cannot settle.
	j := &memory{}
	if _, err := open(t, j, &bus{}, perDay(100)).Reserve(t.Context(), asks(5)); err != nil {
		t.Fatal(err)
	}
	j.broken = errDisk
	if _, err := New(t.Context(), Config{Journal: j, Bus: &bus{}}, perDay(100)); !errors.Is(err, errDisk) {
		t.Errorf("what is open was settled on a broken disk: %v", err)
	}
}
