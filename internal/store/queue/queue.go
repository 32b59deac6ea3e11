// Package queue is the line before a store's group committer, the same for
// every store: calls wait in the order in which they came, the committer takes
// as many as one transaction holds, and after the end each that still comes is
// refused in its place. How a batch is written, and how long the next one is
// let grow, is the store's.
package queue

import "sync"

// A batch ends at these bounds, so that the first in a long queue does not wait
// for the last; 1,024 rows take SQLite about 5 ms to write.
const (
	batchRows  = 1024
	batchBytes = 8 << 20
)

// A Call is one call of a store's Submit while it waits.
type Call interface {
	// Size is how many rows it writes and about how many bytes they take.
	Size() (rows, bytes int)
	// Alone reports whether it is a batch by itself, as a piece of upkeep is.
	Alone() bool
	// Refuse makes it one that writes nothing and is answered with
	// store.ErrClosed.
	Refuse()
	// Answer tells its caller how it went.
	Answer()
}

// Queue holds the calls. Put and Close may be called concurrently; Take and Len
// belong to the committer's goroutine. Use New.
type Queue[C Call] struct {
	wake chan struct{} // holds one

	mu     sync.Mutex
	calls  []C
	closed bool // what comes now is refused, in its place in the order
	gone   bool // nobody answers any more
}

// New returns an empty queue.
func New[C Call]() *Queue[C] {
	return &Queue[C]{wake: make(chan struct{}, 1)}
}

// Wake has a value when there may be something to take.
func (q *Queue[C]) Wake() <-chan struct{} { return q.wake }

// Put queues a call. After Close it queues a refusal, so that the answers keep
// their order and their goroutine for as long as that runs.
func (q *Queue[C]) Put(c C) {
	q.mu.Lock()
	gone := q.gone
	if q.closed {
		c.Refuse()
	}
	if !gone {
		q.calls = append(q.calls, c)
	}
	q.mu.Unlock()
	if gone {
		c.Answer() // everything before it has been answered
		return
	}
	q.signal()
}

// Close refuses what comes from now on. What is queued is still taken.
func (q *Queue[C]) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

func (q *Queue[C]) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Len returns how many calls wait.
func (q *Queue[C]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.calls)
}

// Extent is how much is in a batch. The zero value is an empty one.
type Extent struct {
	Calls int
	// Whole says that nothing is added: there is no room for what comes next, or
	// nothing comes.
	Whole       bool
	rows, bytes int
}

// admits reports whether c has room behind what is there.
func (x *Extent) admits(c Call) bool {
	rows, bytes := c.Size()
	return x.Calls == 0 || !c.Alone() && x.rows+rows <= batchRows && x.bytes+bytes <= batchBytes
}

// Add counts a call in.
func (x *Extent) Add(c Call) {
	rows, bytes := c.Size()
	x.Calls++
	x.rows += rows
	x.bytes += bytes
}

// Take returns what the queue has for a batch of the extent x, which grows by
// it, and whether there may be more later. A call that is alone comes alone.
func (q *Queue[C]) Take(x *Extent) (batch []C, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < len(q.calls) && x.admits(q.calls[n]) {
		x.Add(q.calls[n])
		if n++; q.calls[n-1].Alone() {
			break
		}
	}
	x.Whole = n < len(q.calls) || q.closed
	q.gone = x.Calls == 0 && q.closed
	batch = q.calls[:n:n]
	if q.calls = q.calls[n:]; len(q.calls) == 0 {
		q.calls = nil
	}
	return batch, !q.gone
}
