package orchestrator

import (
	"context"
	"slices"

	"github.com/dreyhq/drey/internal/operation"
)

// Watch tells of the ending of one operation, once. All watches of an operation
// see the same outcome. Its methods may be called concurrently.
type Watch struct {
	o    *Operations
	e    *entry
	done chan struct{}
	stop func() bool // ends the watch over the context

	outcome operation.Outcome // set before done is closed
	err     error
}

// Watch watches an operation until it ends, Close is called or ctx ends. Of one
// that has ended already it is resolved at once.
func (o *Operations) Watch(ctx context.Context, id operation.ID) (*Watch, error) {
	o.mu.Lock()
	if o.refusal != nil {
		defer o.mu.Unlock()
		return nil, unavailable(operation.ActRegisterWatcher, id, o.refusal)
	}
	e := o.entries[id]
	if e == nil || e.seen == nil {
		o.mu.Unlock()
		return nil, o.missing(ctx, operation.ActRegisterWatcher, id)
	}
	defer o.mu.Unlock()
	w := &Watch{o: o, e: e, done: make(chan struct{}), stop: func() bool { return true }}
	if e.seen.Ended() {
		w.outcome = e.seen.Outcome
		close(w.done)
		return w, nil
	}
	if e.watches == nil {
		e.watches = map[*Watch]struct{}{}
	}
	e.watches[w] = struct{}{}
	o.watches++
	w.stop = context.AfterFunc(ctx, func() { w.end(ctx.Err()) })
	return w, nil
}

// Done is closed when the watch has come to its end, whichever that is.
func (w *Watch) Done() <-chan struct{} { return w.done }

// Outcome returns how the operation ended; valid once Done is closed. The error
// says that the watch ended before: closed by its holder, by the end of its
// context, or with the registry.
func (w *Watch) Outcome() (operation.Outcome, error) {
	<-w.done
	return w.outcome, w.err
}

// Close takes the watch off its operation at once. What it has seen stays.
func (w *Watch) Close() {
	w.end(&operation.Error{Code: operation.CodeClosed, Action: operation.ActRegisterWatcher, ID: w.e.id})
}

func (w *Watch) end(err error) {
	w.o.mu.Lock()
	defer w.o.mu.Unlock()
	if _, ok := w.e.watches[w]; ok {
		w.err = err
		w.finishLocked()
	}
}

// finishLocked ends the watch with what it holds.
func (w *Watch) finishLocked() {
	delete(w.e.watches, w)
	w.o.watches--
	w.stop()
	close(w.done)
}

// resolve gives an ending to those who watch and then to those who wait. Who
// calls holds o.mu.
func (o *Operations) resolve(e *entry) {
	for w := range e.watches {
		w.outcome = e.seen.Outcome
		w.finishLocked()
	}
	e.watches = nil
	for _, w := range e.waits {
		w.outcomes[slices.Index(w.ids, e.id)] = e.seen.Outcome
		if w.left--; w.left == 0 {
			close(w.done)
		}
	}
	e.waits = nil
}

// closeReaders ends every watch and wait: the registry closes, and nothing that
// did not happen is told.
func (o *Operations) closeReaders() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refusal == nil {
		o.refusal = closed(operation.NoAction, operation.ID{})
	}
	for _, e := range o.entries {
		for w := range e.watches {
			w.err = closed(operation.ActRegisterWatcher, e.id)
			w.finishLocked()
		}
		for _, w := range e.waits {
			if w.err == nil {
				w.err = closed(operation.ActWait, operation.ID{})
				close(w.done)
			}
		}
		e.waits = nil
	}
}
