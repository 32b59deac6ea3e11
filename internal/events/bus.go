// Package events carries every event of the house from where it happens to its
// readers: the journal, the audit log, the log for people and the live streams.
// All of them read the same value, so they cannot disagree.
package events

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// Config says where events go. Journal is required, the rest may be nil.
type Config struct {
	Journal store.Journal
	// Audit takes the journaled events as one JSON line each. It must not
	// fail: what it cannot write it counts.
	Audit interface{ Append(row []byte) bool }
	// Redact takes secrets out of a line.
	Redact func([]byte) []byte
	Log    *slog.Logger
	// Unlogged are events that Log is not told of, because who emits them does
	// that at another moment.
	Unlogged []string
}

// Bus is the one way of an event. Its methods may be called concurrently and
// return at once; readers that fall behind lose their place and not the
// writer's time.
//
// queue and subs are guarded by mu. One goroutine, that of Serve, reads the
// queue; so every reader sees the same order, and for journaled events that is
// the order of seq.
type Bus struct {
	cfg Config

	mu      sync.Mutex
	wake    *sync.Cond
	queue   []delivery
	subs    map[*Subscription]struct{}
	pending int // submitted to the journal and not yet delivered
	closed  bool
	lost    uint64 // journaled events that could not be journaled
}

// delivery is an event on its way from the journal to its readers.
type delivery struct {
	ev        drey.Event
	journaled bool
}

// New returns a bus. Serve must run for anything to be delivered.
func New(cfg Config) *Bus {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Redact == nil {
		cfg.Redact = func(b []byte) []byte { return b }
	}
	b := &Bus{cfg: cfg, subs: map[*Subscription]struct{}{}}
	b.wake = sync.NewCond(&b.mu)
	return b
}

// Emit journals an event and then shows it to every reader. Nobody waits for
// it; who relies on a transition appends to the journal itself and calls
// Committed.
func (b *Bus) Emit(ev drey.Event) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.pending++
	b.mu.Unlock()
	b.cfg.Journal.Submit(func(c store.Commit, err error) {
		if err == nil {
			ev.Seq = c.First
		}
		b.deliver(ev, err)
	}, store.Append{Machine: ev.Machine, ID: ev.ID, Expect: store.AnyVersion, Events: []drey.Event{ev}})
}

// Committed shows events that somebody else has journaled; their Seq is set. It
// is called from the callback of that Submit, where the order of seq is given.
func (b *Bus) Committed(evs ...drey.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ev := range evs {
		b.queue = append(b.queue, delivery{ev, true})
	}
	b.wake.Signal()
}

// Publish shows an event of telemetry: it is not journaled, has no seq and is
// not repeated to a reader that comes later.
func (b *Bus) Publish(evs ...drey.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || len(b.subs) == 0 {
		return // the request's row keeps them; only live readers would see them here
	}
	for _, ev := range evs {
		b.queue = append(b.queue, delivery{ev, false})
	}
	b.wake.Signal()
}

func (b *Bus) deliver(ev drey.Event, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending--
	if err != nil {
		// The event is shown all the same: an unwritable store is when people
		// need their log most.
		b.lost++
		if b.lost == 1 || !errors.Is(err, store.ErrClosed) {
			b.cfg.Log.Error("event-not-journaled", "event", ev.Name, "error", err)
		}
	}
	b.queue = append(b.queue, delivery{ev, true})
	b.wake.Broadcast()
}

// Serve delivers until ctx ends and everything that was emitted before has
// been delivered.
func (b *Bus) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.closed = true
		b.wake.Broadcast()
	})
	defer stop()
	for {
		b.mu.Lock()
		for len(b.queue) == 0 && !(b.closed && b.pending == 0) {
			b.wake.Wait()
		}
		batch := b.queue
		b.queue = nil
		if len(batch) == 0 {
			for s := range b.subs {
				s.endLocked(ErrEnded)
			}
			clear(b.subs)
			b.mu.Unlock()
			return nil
		}
		for s := range b.subs {
			for _, d := range batch {
				s.offerLocked(d.ev)
			}
		}
		b.mu.Unlock()
		for _, d := range batch {
			if d.journaled {
				b.tell(ctx, d.ev)
			}
		}
	}
}

// tell writes an event to the audit log and to the log for people.
func (b *Bus) tell(ctx context.Context, ev drey.Event) {
	if b.cfg.Audit != nil {
		line, err := ev.MarshalJSON()
		if err != nil {
			b.cfg.Log.Error("event-not-written", "event", ev.Name, "error", err)
		} else {
			b.cfg.Audit.Append(b.cfg.Redact(line))
		}
	}
	level := map[drey.Level]slog.Level{drey.Debug: slog.LevelDebug, drey.Warn: slog.LevelWarn, drey.ErrorLevel: slog.LevelError}[ev.Level]
	if !b.cfg.Log.Enabled(ctx, level) || slices.Contains(b.cfg.Unlogged, ev.Name) {
		return
	}
	attrs := make([]slog.Attr, 0, len(ev.Fields)+4)
	if ev.ID != "" {
		attrs = append(attrs, slog.String(ev.Machine, ev.ID))
	}
	if ev.From != "" || ev.To != "" {
		attrs = append(attrs, slog.String("from", ev.From), slog.String("to", ev.To))
	}
	if ev.RequestID != "" {
		attrs = append(attrs, slog.String("request_id", string(ev.RequestID)))
	}
	for _, f := range ev.Fields {
		if f.Key == ev.Machine {
			continue // the id above says it already
		}
		attrs = append(attrs, slog.Any(f.Key, f.Value))
	}
	b.cfg.Log.LogAttrs(ctx, level, ev.Name, attrs...)
}
