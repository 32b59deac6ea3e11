package backlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// disk remembers what was written, and fails as it is told.
type disk struct {
	mu      sync.Mutex
	written []string
	fail    error
	later   bool
}

// tell says how the next writes fail; nil = they do not.
func (d *disk) tell(err error, later bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail, d.later = err, later
}

func (d *disk) said() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.written
}

func (d *disk) write(b *Batch) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return d.later, d.fail
	}
	text := ""
	for _, r := range b.Rows {
		text += string(r.ID)
	}
	for _, c := range b.Captures {
		text += fmt.Sprintf("<%s of %d>", c.ID, b.Most)
	}
	d.written = append(d.written, fmt.Sprint(text, b.Counters))
	return false, nil
}

func (d *disk) start() *Queue {
	return Start(Config{Write: d.write, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
}

func row(id string) store.RequestRow { return store.RequestRow{ID: drey.RequestID(id)} }

func TestABatchWaitsAndIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		q := d.start()
		q.Put(row("a"))
		q.Add(map[string]float64{"n": 1, "bad": math.NaN()})
		q.Put(row("b"))
		q.Add(map[string]float64{"n": 2})
		synctest.Wait()
		if got := d.said(); len(got) != 0 {
			t.Errorf("at once: %q", got)
		}
		time.Sleep(FlushEvery) // of the bubble
		synctest.Wait()
		q.Put(row("c"))
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"abmap[n:3]", "cmap[]"}, d.said()); diff != "" {
			t.Error(diff)
		}
		q.Put(row("d"))
		if q.Dropped() != 1 || !errors.Is(q.Flush(t.Context()), store.ErrClosed) || !errors.Is(q.Do(nil), store.ErrClosed) {
			t.Error("a queue that is closed takes things")
		}
	})
}

func TestWhatFailsForAWhileComesFirstLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{fail: io.ErrShortWrite, later: true}
		q := d.start()
		q.Put(row("a"))
		q.Add(map[string]float64{"n": 1})
		if err := q.Flush(t.Context()); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("Flush: %v", err)
		}
		q.Put(row("b"))
		q.Add(map[string]float64{"n": 1})
		d.tell(nil, false)
		if err := q.Flush(t.Context()); err != nil || q.Dropped() != 0 {
			t.Errorf("Flush: %v, %d dropped", err, q.Dropped())
		}
		d.tell(io.ErrUnexpectedEOF, false)
		q.Put(row("c"))
		_ = q.Flush(t.Context())
		d.tell(nil, false)
		_ = q.Close()
		if diff := cmp.Diff([]string{"abmap[n:2]"}, d.said()); diff != "" || q.Dropped() != 1 {
			t.Errorf("%s, %d dropped", diff, q.Dropped())
		}
	})
}

func TestAFullQueueDropsAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{fail: io.ErrShortWrite, later: true}
		q := d.start()
		for range MaxRows + 3 {
			q.Put(row("x"))
		}
		synctest.Wait()
		if n := q.Dropped(); n != 3 {
			t.Errorf("%d dropped", n)
		}
		if err := q.Close(); !errors.Is(err, io.ErrShortWrite) || q.Dropped() != MaxRows+3 {
			t.Errorf("Close: %v, %d dropped", err, q.Dropped())
		}
	})
}

// TestWhatIsBeingWrittenKeepsItsPlace: a batch that may come back leaves no room
// for others, so that the bounds hold whatever a write takes.
func TestWhatIsBeingWrittenKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		writing, outcome := make(chan struct{}), make(chan error)
		q := Start(Config{
			Write: func(*Batch) (bool, error) {
				writing <- struct{}{}
				return true, <-outcome
			},
			Log: slog.New(slog.DiscardHandler),
		})
		for range FlushRows {
			q.Put(row("x"))
		}
		<-writing
		for range MaxRows - FlushRows + 3 {
			q.Put(row("x"))
		}
		if n := q.Dropped(); n != 3 {
			t.Errorf("%d rows dropped, want 3", n)
		}
		outcome <- io.ErrShortWrite
		synctest.Wait() // it is back in the queue
		go func() {
			<-writing
			outcome <- nil
		}()
		if err := q.Close(); err != nil || q.Dropped() != 3 {
			t.Errorf("Close: %v, %d dropped", err, q.Dropped())
		}
	})
}

func TestJobsRunInTheGoroutineOfTheQueueOrAreRefused(t *testing.T) {
	d := &disk{}
	q := d.start()
	done := make(chan error, 1)
	if err := q.Do(func(err error) { done <- err }); err != nil || <-done != nil {
		t.Error("a job was refused")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush: %v", err)
	}
	_ = q.Close()
}
