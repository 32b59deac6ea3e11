package cashier

import (
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dreyhq/drey/internal/spend"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/postgres"
	"github.com/dreyhq/drey/internal/store/postgres/pgtest"
	"github.com/dreyhq/drey/internal/store/sqlite"
)

// locked is the lock of a home that a test has to itself.
type locked struct{}

func (locked) Held() bool { return true }

// A burst on a real store never passes the limit together, and the next process
// finds what it came to, with what was under way in full.
func TestOnBothStores(t *testing.T) {
	stores := map[string]func(t *testing.T) func() (store.Store, error){
		"sqlite": func(t *testing.T) func() (store.Store, error) {
			path := filepath.Join(t.TempDir(), "drey.db")
			return func() (store.Store, error) {
				return sqlite.Open(t.Context(), sqlite.Options{Path: path, Lock: locked{}})
			}
		},
		"postgres": func(t *testing.T) func() (store.Store, error) {
			url := pgtest.URL(t)
			return func() (store.Store, error) {
				return postgres.Open(t.Context(), postgres.Options{URL: url, Holder: "test"})
			}
		},
	}
	for name, opener := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open := opener(t)
			burst(t, open)
		})
	}
}

func burst(t *testing.T, reopen func() (store.Store, error)) {
	const limit, most = 10_000, 100
	st, err := reopen()
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, st, &bus{}, perDay(limit))
	var charged, refused atomic.Int64
	var mu sync.Mutex
	var flying []spend.Ticket
	var wg sync.WaitGroup
	for i := range 400 {
		wg.Go(func() {
			ticket, err := c.Reserve(t.Context(), asks(most))
			switch {
			case isRefusal(err):
				refused.Add(1)
			case err != nil:
				t.Error(err)
			case i%20 == 0:
				mu.Lock()
				defer mu.Unlock()
				flying = append(flying, ticket)
			default:
				cost := rand.Int64N(most)
				charged.Add(cost)
				c.Settle(settles(ticket, spend.MicroUSD(cost)))
			}
		})
	}
	wg.Wait()
	spent, reserved := c.today()
	if spent != spend.MicroUSD(charged.Load()) || reserved != spend.MicroUSD(most*len(flying)) || spent+reserved > limit {
		t.Errorf("spent %d, held %d; %d was charged and %d are under way", spent, reserved, charged.Load(), len(flying))
	}
	if refused.Load() == 0 {
		t.Error("nobody was refused: the burst shows nothing")
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if st, err = reopen(); err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	open(t, st, &bus{}, perDay(limit)).stands(t, "in the next process", spent+reserved, 0)
}
