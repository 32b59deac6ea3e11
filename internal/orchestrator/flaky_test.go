package orchestrator

import (
	"math/rand/v2"
	"sync"

	"github.com/dreyhq/drey/internal/store"
)

// flaky is a journal whose commits come in batches from a goroutine of their
// own, as a store's do, and of which one in ten fails.
type flaky struct {
	*journal
	rnd  *rand.Rand // of commit
	wake chan struct{}
	quit chan struct{}

	queueMu sync.Mutex
	queue   []heldBack
}

func (f *flaky) Submit(done func(store.Commit, error), appends ...store.Append) {
	f.queueMu.Lock()
	f.queue = append(f.queue, heldBack{done: done, appends: append([]store.Append(nil), appends...)})
	f.queueMu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *flaky) commit() {
	for {
		select {
		case <-f.wake:
		case <-f.quit:
			return
		}
		f.queueMu.Lock()
		batch := f.queue
		f.queue = nil
		f.queueMu.Unlock()
		for _, h := range batch {
			if f.rnd.IntN(10) == 0 {
				h.done(store.Commit{}, errDisk)
				continue
			}
			f.mu.Lock()
			c, err := f.commitLocked(h)
			f.mu.Unlock()
			h.done(c, err)
		}
	}
}
