package queue

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// call is a Call that notes what became of it.
type call struct {
	no          int
	rows, bytes int
	alone       bool
	refused     bool
	answered    func(*call)
}

func (c *call) Size() (rows, bytes int) { return c.rows, c.bytes }
func (c *call) Alone() bool             { return c.alone }
func (c *call) Refuse()                 { c.rows, c.bytes, c.alone, c.refused = 0, 0, false, true }
func (c *call) Answer()                 { c.answered(c) }

func TestBatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := New[*call]()
		var all, taken []*call
		for range rapid.IntRange(0, 40).Draw(t, "calls") {
			c := &call{no: len(all), rows: rapid.IntRange(0, batchRows+10).Draw(t, "rows"), bytes: rapid.IntRange(0, batchBytes+10).Draw(t, "bytes"), alone: rapid.IntRange(0, 5).Draw(t, "alone") == 0}
			all = append(all, c)
			q.Put(c)
		}
		for q.Len() > 0 {
			var x Extent
			batch, more := q.Take(&x)
			if !more || len(batch) == 0 || x.Calls != len(batch) || x.Whole != (q.Len() > 0) {
				t.Fatalf("took %d of %d, more %v, extent %+v", len(batch), q.Len(), more, x)
			}
			rows, bytes := 0, 0
			for _, c := range batch {
				rows, bytes = rows+c.rows, bytes+c.bytes
				if c.alone && len(batch) > 1 {
					t.Fatal("one that is alone has company")
				}
			}
			if len(batch) > 1 && (rows > batchRows || bytes > batchBytes) {
				t.Fatalf("a batch of %d has %d rows and %d bytes", len(batch), rows, bytes)
			}
			taken = append(taken, batch...)
		}
		if !slices.Equal(all, taken) {
			t.Fatal("the order has changed")
		}
	})
}

func TestABatchGrows(t *testing.T) {
	q := New[*call]()
	var x Extent
	q.Put(&call{rows: batchRows - 1})
	if batch, _ := q.Take(&x); len(batch) != 1 || x.Whole {
		t.Fatalf("%d calls, %+v", len(batch), x)
	}
	q.Put(&call{rows: 1})
	q.Put(&call{rows: 1})
	if batch, _ := q.Take(&x); len(batch) != 1 || !x.Whole {
		t.Fatalf("%d calls, %+v", len(batch), x)
	}
	if batch, _ := q.Take(&Extent{}); len(batch) != 1 {
		t.Fatalf("%d calls", len(batch))
	}
}

// TestNobodyIsForgottenAtTheEnd has callers come while the queue closes: each
// is answered exactly once, and who is refused comes after all who are not.
func TestNobodyIsForgottenAtTheEnd(t *testing.T) {
	for range 50 {
		q := New[*call]()
		const callers = 32
		answered := make(chan *call, callers)
		var wg sync.WaitGroup
		for n := range callers {
			wg.Go(func() { q.Put(&call{no: n, rows: 1, answered: func(c *call) { answered <- c }}) })
		}
		wg.Go(q.Close)
		wg.Go(func() {
			late := false
			for {
				batch, more := q.Take(&Extent{})
				for _, c := range batch {
					if late && !c.refused {
						t.Error("one was taken after one was refused")
					}
					late = late || c.refused
					c.Answer()
				}
				if !more {
					return
				}
				if len(batch) == 0 {
					<-q.Wake()
				}
			}
		})
		wg.Wait()
		seen := map[int]bool{}
		for range callers {
			c := <-answered
			if seen[c.no] {
				t.Fatalf("caller %d was answered twice", c.no)
			}
			seen[c.no] = true
		}
	}
}

func TestClaim(t *testing.T) {
	want := errors.New("the answer")
	answer := make(chan error, 1)
	var c Claim
	answer <- want
	if err := c.Await(t.Context(), answer); err != want {
		t.Errorf("it was answered with %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Await(ctx, answer); err != context.Canceled {
		t.Errorf("who gives up in time gets %v", err)
	}
	if c.Take() {
		t.Error("it is run after its caller gave up")
	}
	var runs Claim
	runs.Take()
	time.AfterFunc(time.Millisecond, func() { answer <- want })
	if err := runs.Await(ctx, answer); err != want {
		t.Errorf("one that runs is not waited for: %v", err)
	}
}
