package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey/internal/store"
)

// PutRequest implements store.Telemetry.
func (s *Store) PutRequest(r store.RequestRow) { s.telemetry.Put(r) }

// Dropped implements store.Telemetry.
func (s *Store) Dropped() uint64 { return s.telemetry.Dropped() }

// Flush implements store.Telemetry.
func (s *Store) Flush(ctx context.Context) error { return s.telemetry.Flush(ctx) }

// AddCounters implements store.Counters.
func (s *Store) AddCounters(delta map[string]float64) { s.telemetry.Add(delta) }

// LoadCounters implements store.Counters. It writes what is queued first, so
// that there is one place that sums.
func (s *Store) LoadCounters(ctx context.Context) (map[string]float64, error) {
	if err := s.Flush(ctx); err != nil {
		return nil, err
	}
	var out map[string]float64
	err := s.read(ctx, "load counters", func(ctx context.Context, tx pgx.Tx) error {
		out = map[string]float64{}
		rows, err := tx.Query(ctx, `SELECT name, value FROM counters`)
		if err != nil {
			return err
		}
		var name string
		var value float64
		_, err = pgx.ForEachRow(rows, []any{&name, &value}, func() error {
			out[name] = value
			return nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
