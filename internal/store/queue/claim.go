package queue

import (
	"context"
	"sync/atomic"
)

// Claim decides who has a piece of upkeep that waits in a queue: its caller,
// who may give up, or the writer, who then finishes it. The zero value is
// unclaimed. Its methods may be called concurrently.
type Claim struct{ taken atomic.Bool }

// Take claims it, and reports whether nobody had done so before.
func (c *Claim) Take() bool { return c.taken.CompareAndSwap(false, true) }

// Await returns the answer to a piece of upkeep, or the error of ctx if that
// ends while it still waits for its turn: it is not run then. One that runs is
// waited for, since it shares memory with its caller, and it is short.
func (c *Claim) Await(ctx context.Context, answer <-chan error) error {
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		if c.Take() {
			return ctx.Err()
		}
		return <-answer
	}
}
