package gateway

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// LedgerConfig says where a ledger writes. Bus and Redact are required, the
// rest may be nil.
type LedgerConfig struct {
	Bus interface {
		Emit(drey.Event)
		Publish(...drey.Event)
	}
	Rows     store.Telemetry
	Counters store.Counters
	// Log of requests, one JSON line each. It must not fail: what it cannot
	// write it counts.
	Requests interface{ Append(row []byte) bool }
	Redact   func([]byte) []byte
	Log      *slog.Logger
}

// Ledger is the gateway's Recorder: it turns records into rows, log lines,
// metrics and live events, in a goroutine of its own, so that no request waits
// for its own bookkeeping. It takes them in batches: waking somebody for each
// request would cost the request more than the bookkeeping does.
type Ledger struct {
	cfg     LedgerConfig
	metrics *Metrics
	first   chan struct{} // there is something, where there was nothing

	mu      sync.Mutex
	waiting []*Record
	dropped uint64
}

const (
	// backlog is how many requests may wait to be written down. Beyond it rows
	// are dropped and counted: a burst must not hold its answers back.
	backlog = 8192
	// gather is how long the first of a batch waits for company.
	gather = 20 * time.Millisecond
)

// NewLedger returns a ledger. Serve must run for anything to be written.
func NewLedger(cfg LedgerConfig, m *Metrics) *Ledger {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Ledger{cfg: cfg, metrics: m, first: make(chan struct{}, 1)}
}

// Record takes a request that has ended.
func (l *Ledger) Record(r *Record) {
	l.mu.Lock()
	n := len(l.waiting)
	if n >= backlog {
		l.dropped++
		l.mu.Unlock()
		return
	}
	l.waiting = append(l.waiting, r)
	l.mu.Unlock()
	if n == 0 {
		select {
		case l.first <- struct{}{}:
		default: // Serve is about to look anyway
		}
	}
}

// Emit takes an event that is journaled and audited.
func (l *Ledger) Emit(ev drey.Event) { l.cfg.Bus.Emit(ev) }

// Dropped returns how many rows were dropped because too many waited.
func (l *Ledger) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Serve writes down what comes until ctx ends and everything that came before
// has been written.
func (l *Ledger) Serve(ctx context.Context) error {
	pause := time.NewTimer(gather)
	defer pause.Stop()
	for {
		select {
		case <-l.first:
		case <-ctx.Done():
			l.drain(ctx)
			return nil
		}
		pause.Reset(gather)
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		l.drain(ctx)
	}
}

// drain writes down what waits.
func (l *Ledger) drain(ctx context.Context) {
	l.mu.Lock()
	batch := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for _, r := range batch {
		l.write(ctx, r)
	}
	if l.cfg.Counters != nil {
		if delta := l.metrics.takeDelta(); len(delta) > 0 {
			l.cfg.Counters.AddCounters(delta)
		}
	}
}

func (l *Ledger) write(ctx context.Context, r *Record) {
	if r.ReplayOf == "" { // what a person tries out is no traffic
		l.metrics.observe(r)
	}
	line, err := json.Marshal(r.row())
	if err != nil {
		l.cfg.Log.ErrorContext(ctx, "row-not-written", "id", r.ID, "error", err) // a bug of ours
		return
	}
	full := l.cfg.Redact(r.withEvents(line))
	if l.cfg.Rows != nil {
		l.cfg.Rows.PutRequest(r.stored(full))
	}
	if l.cfg.Requests != nil {
		l.cfg.Requests.Append(l.cfg.Redact(line))
	}
	l.cfg.Bus.Publish(r.Events...)
	l.cfg.Bus.Publish(r.summary())
	// A request that went well is in requests.jsonl; the log is for what a
	// person should look at.
	level := slog.LevelDebug
	if r.Outcome == OutcomeFailed || r.Outcome == OutcomeFailedMidstream {
		level = slog.LevelWarn
	}
	if !l.cfg.Log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("id", string(r.ID)), slog.String("wire", r.Wire.String()), slog.String("profile", string(r.Profile)),
		slog.String("provider", string(r.Provider)), slog.Int("attempts", len(r.Attempts)), slog.Int("status", r.Status),
		slog.String("outcome", string(r.Outcome)), slog.Float64("ms", millis(r.Total)),
	}
	if r.Error != "" {
		attrs = append(attrs, slog.String("error", r.Error))
	}
	l.cfg.Log.LogAttrs(ctx, level, "request", attrs...)
}

// summary is the request's last event, for those who watch live.
func (r *Record) summary() drey.Event {
	return drey.Event{
		At: r.At.Add(r.Total), Name: "request-ended", RequestID: r.ID,
		Fields: []drey.Field{
			drey.F("profile", r.Profile), drey.F("provider", r.Provider), drey.F("status", r.Status),
			drey.F("outcome", r.Outcome), drey.F("attempts", len(r.Attempts)), drey.F("duration_ms", millis(r.Total)),
		},
	}
}

// millis writes a span in milliseconds, to the microsecond.
func millis(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}
