package postgres

import (
	"context"
	"fmt"
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

// load appends from many writers while harm is done to the server, round for
// round, and checks that each append was written once, none without its
// acknowledgement.
func load(t *testing.T, s *Store, rounds int, harm func(round int)) {
	t.Helper()
	const writers = 16
	var acked [writers]int64
	var total atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			id := fmt.Sprint(w)
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, err := s.Append(context.Background(), store.Append{Machine: "m", ID: id, Expect: acked[w], Events: []drey.Event{moved("m", id)}, Snapshot: []byte(`{}`)})
				if err != nil {
					t.Errorf("writer %d at %d: %v", w, acked[w], err)
					return
				}
				acked[w]++
				total.Add(1)
			}
		})
	}
	for round := range rounds {
		for before := total.Load(); total.Load() < before+50 && !t.Failed(); {
			// Readers see nothing of it, unless the server is away for long.
			if _, err := s.Head(context.Background()); err != nil && !unavailable(err) {
				t.Errorf("head: %v", err)
			}
		}
		harm(round)
	}
	close(stop)
	wg.Wait()
	for w := range writers {
		if got, err := s.Load(t.Context(), "m", fmt.Sprint(w)); err != nil || got.Version != acked[w] {
			t.Errorf("writer %d: %d are acknowledged, and %d are there, %v", w, acked[w], got.Version, err)
		}
	}
	if v, err := s.Verify(t.Context(), store.Check{}, nil); err != nil || v.Events != total.Load() {
		t.Errorf("%+v, %v; want %d rows", v, err, total.Load())
	}
	t.Logf("%d appends, %+v", total.Load(), s.Stats())
}

// backends returns the processes of the server that serve the store with this
// application_name.
func backends(t *testing.T, url, name, what string) []int32 {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(c)
	rows, err := c.Query(t.Context(), `SELECT `+what+` FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()`, name)
	if err != nil {
		t.Fatal(err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		t.Fatal(err)
	}
	return pids
}

// TestBackendsTerminated ends the server's side of every connection, again and
// again, wherever it stands: nobody notices.
func TestBackendsTerminated(t *testing.T) {
	t.Parallel()
	o := options(t)
	name := t.Name() + o.URL[len(o.URL)-16:]
	plain := o.URL
	o.URL += "&application_name=" + name
	o.test.retryFor = time.Minute
	s := open1(t, o)
	ended := 0
	load(t, s, 10, func(int) {
		ended += len(backends(t, plain, name, `CASE WHEN pg_terminate_backend(pid) THEN pid ELSE 0 END`))
	})
	if ended < 10 {
		t.Errorf("%d connections were ended: was there any harm?", ended)
	}
}

// TestServerCrashes ends the server itself: kill -9 of one of its processes,
// upon which it ends all others and recovers, and an immediate shutdown with a
// new start. What was acknowledged is there, and everything goes on by itself.
func TestServerCrashes(t *testing.T) {
	t.Parallel()
	pgtest.Need(t)
	server, err := pgtest.Start()
	if err != nil {
		t.Skipf("only a server of our own can be killed: %v", err)
	}
	defer server.Close()
	s, err := Open(t.Context(), Options{URL: server.URL(), Holder: "here", test: seams{retryFor: time.Minute, settleFor: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	load(t, s, 3, func(round int) {
		if round == 1 {
			pids := backends(t, server.URL(), "drey", "pid")
			if len(pids) == 0 {
				t.Fatal("the store has no connection")
			}
			if err := syscall.Kill(int(pids[0]), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			return
		}
		server.Crash()
		if err := server.Up(); err != nil {
			t.Fatal(err)
		}
	})

	// Telemetry waits for the server, too.
	server.Crash()
	s.PutRequest(store.RequestRow{ID: "req_1", At: time.Now()})
	s.AddCounters(map[string]float64{"a": 1})
	if err := s.Flush(t.Context()); err == nil {
		t.Error("flushed without a server")
	}
	if err := server.Up(); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.Request(t.Context(), "req_1"); err != nil || s.Dropped() != 0 {
		t.Errorf("%v, %d dropped", err, s.Dropped())
	}
	if sums, err := s.LoadCounters(t.Context()); err != nil || sums["a"] != 1 {
		t.Errorf("%v, %v", sums, err)
	}
}
