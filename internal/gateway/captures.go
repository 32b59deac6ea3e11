package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/dreyhq/drey/internal/redact"
	"github.com/dreyhq/drey/internal/store"
)

// CapturesConfig says where captures go. Log may be nil.
type CapturesConfig struct {
	Store interface {
		PutCapture(c store.Capture, most int64)
	}
	// Redactor is asked for each capture; what it knows is masked before
	// anything reaches the store.
	Redactor func() *redact.Redactor
	Log      *slog.Logger
}

// Captures takes in what is captured of requests, takes the secrets out and
// hands it to the store, in a goroutine of its own: no request waits for that.
type Captures struct {
	cfg    CapturesConfig
	first  chan struct{} // there is something, where there was nothing
	memory memory

	mu      sync.Mutex
	waiting []captured
}

// captured is a capture on its way to the store, with the record of its request.
type captured struct {
	capture
	record *Record
}

// captureMemory bounds the bytes of all captures that run or wait to be written.
// Beyond it answers are cut, and a request is not captured; its row says so.
const captureMemory = 48 << 20

// NewCaptures returns a Captures. Serve must run for anything to be kept.
func NewCaptures(cfg CapturesConfig) *Captures {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Captures{cfg: cfg, first: make(chan struct{}, 1)}
}

// add takes a capture.
func (c *Captures) add(one captured) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, one)
	if len(c.waiting) == 1 {
		select {
		case c.first <- struct{}{}:
		default: // Serve is about to look anyway
		}
	}
}

// Serve hands on what comes until ctx ends and everything that came before has
// been handed on.
func (c *Captures) Serve(ctx context.Context) error {
	for {
		select {
		case <-c.first:
			c.drain()
		case <-ctx.Done():
			c.drain()
			return nil
		}
	}
}

func (c *Captures) drain() {
	c.mu.Lock()
	batch := c.waiting
	c.waiting = nil
	c.mu.Unlock()
	for i := range batch {
		c.write(&batch[i])
		batch[i].release()
		batch[i] = captured{} // the next one may be large, too
	}
}

func (c *Captures) write(one *captured) {
	var whole bytes.Buffer
	enc := json.NewEncoder(&whole)
	enc.SetEscapeHTML(false) // code is full of what that makes longer
	if err := enc.Encode(one.document(c.cfg.Redactor(), one.record)); err != nil {
		c.cfg.Log.Error("capture-not-written", "id", one.req.ID, "error", err) // a bug of ours
		return
	}
	r := one.record
	c.cfg.Store.PutCapture(store.Capture{
		ID: r.ID, At: r.At, Profile: string(r.Profile), Provider: string(r.Provider), Outcome: string(r.Outcome), Whole: bytes.TrimSpace(whole.Bytes()),
	}, one.set.Most)
}

// memory counts bytes up to captureMemory.
type memory struct{ used atomic.Int64 }

func (m *memory) take(n int) bool {
	if m.used.Add(int64(n)) > captureMemory {
		m.used.Add(-int64(n))
		return false
	}
	return true
}

func (m *memory) give(n int) { m.used.Add(-int64(n)) }
