package gateway

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"sync/atomic"
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
// for its own bookkeeping.
type Ledger struct {
	cfg     LedgerConfig
	metrics *Metrics
	records chan *Record
	dropped atomic.Uint64
}

// backlog is how many requests may wait to be written down. Beyond it rows are
// dropped and counted: a burst must not hold its answers back.
const backlog = 8192

// NewLedger returns a ledger. Serve must run for anything to be written.
func NewLedger(cfg LedgerConfig, m *Metrics) *Ledger {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Ledger{cfg: cfg, metrics: m, records: make(chan *Record, backlog)}
}

// Record takes a request that has ended.
func (l *Ledger) Record(r *Record) {
	select {
	case l.records <- r:
	default:
		l.dropped.Add(1)
	}
}

// Emit takes an event that is journaled and audited.
func (l *Ledger) Emit(ev drey.Event) { l.cfg.Bus.Emit(ev) }

// Dropped returns how many rows were dropped because too many waited.
func (l *Ledger) Dropped() uint64 { return l.dropped.Load() }

// Serve writes down what comes until ctx ends and everything that came before
// has been written.
func (l *Ledger) Serve(ctx context.Context) error {
	flush := time.NewTicker(time.Second)
	defer flush.Stop()
	for {
		select {
		case r := <-l.records:
			l.write(ctx, r)
		case <-flush.C:
			l.flush()
		case <-ctx.Done():
			for {
				select {
				case r := <-l.records:
					l.write(ctx, r)
				default:
					l.flush()
					return nil
				}
			}
		}
	}
}

func (l *Ledger) write(ctx context.Context, r *Record) {
	l.metrics.observe(r)
	if l.cfg.Requests != nil {
		if line, err := json.Marshal(r.row()); err == nil { // strings and numbers: it cannot fail
			l.cfg.Requests.Append(l.cfg.Redact(line))
		}
	}
	if l.cfg.Rows != nil {
		if stored, err := r.stored(); err == nil {
			stored.Row = l.cfg.Redact(stored.Row)
			l.cfg.Rows.PutRequest(stored)
		}
	}
	l.cfg.Bus.Publish(r.Events...)
	l.cfg.Bus.Publish(r.summary())
	level := slog.LevelInfo
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

// flush saves what was counted since the last time.
func (l *Ledger) flush() {
	if l.cfg.Counters == nil {
		return
	}
	if delta := l.metrics.takeDelta(); len(delta) > 0 {
		l.cfg.Counters.AddCounters(delta)
	}
}

// millis writes a span in milliseconds, to the microsecond.
func millis(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}
