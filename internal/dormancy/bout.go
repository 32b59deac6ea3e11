package dormancy

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/dreyhq/drey"
)

// How a step that does not give way shares the machine with work in flight.
// Source: the lifecycle contract, §6.7.
const (
	slice = 100 * time.Millisecond
	rest  = 900 * time.Millisecond
)

// defaultTimeout is how long one run of a step may work. Source: the lifecycle
// contract, §8.4.
const defaultTimeout = 10 * time.Minute

// bout is one run of one step. It belongs to the goroutine that runs it, apart
// from what is atomic.
type bout struct {
	step   Step
	work   *ledger
	ctx    context.Context // of the step
	cancel context.CancelCauseFunc
	steady *atomic.Bool // of its cycle: it does not give way, but goes in slices
	chunk  atomic.Int64 // the last one that it came to

	limit *time.Timer // ends ctx when the step has worked for too long
	left  time.Duration
	since int64  // when the slice began
	begun uint64 // the activity seen then
}

// boutEnd is what became of it.
type boutEnd struct {
	bout    *bout
	skipped string
	metrics []drey.Field
	err     error
	stack   []byte // of a panic
	took    time.Duration
}

// newBout prepares a run; ctx is that of the owner's effects.
func newBout(ctx context.Context, s Step, work *ledger, steady *atomic.Bool) *bout {
	b := &bout{step: s, work: work, steady: steady, left: s.Timeout}
	if b.left <= 0 {
		b.left = defaultTimeout
	}
	b.ctx, b.cancel = context.WithCancelCause(ctx)
	return b
}

// run does the step and returns what it came to. A panic is a failure: upkeep
// never ends the process.
func (b *bout) run() (end boutEnd) {
	began := b.work.now()
	end.bout = b
	b.mark()
	b.limit = time.AfterFunc(b.left, func() { b.cancel(errTimeout) })
	defer func() {
		if p := recover(); p != nil {
			end.err, end.stack = fmt.Errorf("panic: %v", p), debug.Stack()
		}
		b.limit.Stop()
		end.took = time.Duration(b.work.now() - began)
	}()
	end.skipped, end.metrics, end.err = b.step.Run(b.ctx, b.pace)
	return end
}

// pace is called by the step between two chunks. It says that the step must end,
// or has it rest where it shares the machine with work. A rest does not count
// as the step's own time.
func (b *bout) pace(chunk int) error {
	b.chunk.Store(int64(chunk))
	if b.ctx.Err() != nil {
		return context.Cause(b.ctx)
	}
	worked := time.Duration(b.work.now() - b.since)
	if worked < slice {
		return nil
	}
	b.left -= worked
	if begun, inFlight := b.work.look(); !b.steady.Load() || inFlight == 0 && begun == b.begun {
		b.mark()
		return nil
	}
	if !b.limit.Stop() {
		<-b.ctx.Done()
		return context.Cause(b.ctx)
	}
	pause := time.NewTimer(rest)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	}
	b.limit.Reset(b.left)
	b.mark()
	return nil
}

// mark begins a slice.
func (b *bout) mark() {
	b.since = b.work.now()
	b.begun, _ = b.work.look()
}
