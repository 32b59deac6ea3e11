package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// Rollup implements store.Upkeeper. The sums and the number of the last row in
// them are committed together, so that no row is counted twice or left out.
func (s *Store) Rollup(ctx context.Context, pace store.Pace) (store.RolledUp, error) {
	var out store.RolledUp
	if err := s.Flush(ctx); err != nil {
		return out, err
	}
	for n := requestsRows; n == requestsRows; {
		if err := pace.Next(ctx); err != nil {
			return out, err
		}
		err := s.inTelemetry(ctx, "roll requests up", func(ctx context.Context, c *pgx.Conn) (b *pgx.Batch, err error) {
			n, b, err = rollup(ctx, c)
			return b, err
		})
		if err != nil {
			return out, err
		}
		out.Requests += int64(n)
	}
	return out, nil
}

const usageColumns = `day, provider, model, requests, failed, input, output, cache_read, cache_write, reasoning, estimated`

// rollup counts one chunk and returns how many rows it had.
func rollup(ctx context.Context, c *pgx.Conn) (n int, b *pgx.Batch, err error) {
	rows, err := c.Query(ctx, `
		SELECT no, at, provider, outcome, whole FROM requests
		WHERE no > (SELECT rolled FROM telemetry WHERE one = 1) ORDER BY no LIMIT $1`, requestsRows)
	if err != nil {
		return 0, nil, err
	}
	var sums store.Rollup
	var last, at int64
	var provider, outcome, whole string
	_, err = pgx.ForEachRow(rows, []any{&last, &at, &provider, &outcome, &whole}, func() error {
		n++
		sums.Add(store.RequestRow{At: time.UnixMicro(at), Provider: provider, Outcome: outcome, Row: json.RawMessage(whole)})
		return nil
	})
	if err != nil || n == 0 {
		return n, nil, err
	}
	b = &pgx.Batch{}
	for _, u := range sums.Usage {
		b.Queue(`
			INSERT INTO usage (`+usageColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
			ON CONFLICT (day, provider, model) DO UPDATE SET
				requests = usage.requests + excluded.requests, failed = usage.failed + excluded.failed,
				input = usage.input + excluded.input, output = usage.output + excluded.output,
				cache_read = usage.cache_read + excluded.cache_read, cache_write = usage.cache_write + excluded.cache_write,
				reasoning = usage.reasoning + excluded.reasoning, estimated = usage.estimated + excluded.estimated`,
			u.Day, string(u.Provider), mended(u.Model), u.Requests, u.Failed,
			u.Input, u.Output, u.CacheRead, u.CacheWrite, u.Reasoning, u.Estimated)
	}
	for k, count := range sums.Attempts {
		b.Queue(`INSERT INTO attempts (day, provider, class, attempts) VALUES ($1, $2, $3, $4)
			ON CONFLICT (day, provider, class) DO UPDATE SET attempts = attempts.attempts + excluded.attempts`,
			k.Day, mended(string(k.Provider)), mended(k.Class), count)
	}
	for k, count := range sums.Latency {
		b.Queue(`INSERT INTO latency (day, provider, kind, bucket, attempts) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (day, provider, kind, bucket) DO UPDATE SET attempts = latency.attempts + excluded.attempts`,
			k.Day, mended(string(k.Provider)), k.Kind, int64(k.Bucket), count)
	}
	b.Queue(`UPDATE telemetry SET rolled = $1 WHERE one = 1`, last)
	return n, b, nil
}

// Usage implements store.Statistics.
func (s *Store) Usage(ctx context.Context, since, until time.Time) ([]store.Usage, error) {
	var c conditions
	if !since.IsZero() {
		c.add(`day >= $`, store.Day(since))
	}
	if !until.IsZero() {
		c.add(`day < $`, store.Day(until))
	}
	var out []store.Usage
	err := s.read(ctx, "read usage", func(ctx context.Context, tx pgx.Tx) error {
		out = nil
		rows, err := tx.Query(ctx, `SELECT `+usageColumns+` FROM usage WHERE `+c.String(), c.args...)
		if err != nil {
			return err
		}
		var u store.Usage
		_, err = pgx.ForEachRow(rows, []any{&u.Day, &u.Provider, &u.Model, &u.Requests, &u.Failed,
			&u.Input, &u.Output, &u.CacheRead, &u.CacheWrite, &u.Reasoning, &u.Estimated}, func() error {
			out = append(out, u)
			return nil
		})
		return err
	})
	// Here and not there: the server's order of texts is that of its locale.
	slices.SortFunc(out, func(a, b store.Usage) int {
		return cmp.Or(strings.Compare(a.Day, b.Day), strings.Compare(string(a.Provider), string(b.Provider)), strings.Compare(a.Model, b.Model))
	})
	return out, err
}

// ProviderStats implements store.Statistics.
func (s *Store) ProviderStats(ctx context.Context, since time.Time) ([]store.ProviderStats, error) {
	first := ""
	if !since.IsZero() {
		first = store.Day(since)
	}
	var out []store.ProviderStats
	err := s.read(ctx, "read statistics", func(ctx context.Context, tx pgx.Tx) error {
		bars, err := readLatency(ctx, tx, first)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT provider, class, sum(attempts)::BIGINT FROM attempts WHERE day >= $1 GROUP BY provider, class`, first)
		if err != nil {
			return err
		}
		at := map[drey.ProviderID]int{} // where a provider is in out
		out = nil
		var provider drey.ProviderID
		var class string
		var n int64
		_, err = pgx.ForEachRow(rows, []any{&provider, &class, &n}, func() error {
			i, known := at[provider]
			if !known {
				i = len(out)
				at[provider] = i
				out = append(out, store.ProviderStats{
					Provider: provider, Classes: map[string]int64{},
					TTFT:  store.LatencyOf(bars[histogram{provider, store.LatencyTTFT}]),
					Total: store.LatencyOf(bars[histogram{provider, store.LatencyTotal}]),
				})
			}
			out[i].Attempts += n
			out[i].Classes[class] = n
			return nil
		})
		return err
	})
	slices.SortFunc(out, func(a, b store.ProviderStats) int { return strings.Compare(string(a.Provider), string(b.Provider)) })
	return out, err
}

// histogram names one.
type histogram struct {
	provider drey.ProviderID
	kind     string
}

func readLatency(ctx context.Context, tx pgx.Tx, first string) (map[histogram]map[int]int64, error) {
	rows, err := tx.Query(ctx, `
		SELECT provider, kind, bucket, sum(attempts)::BIGINT FROM latency WHERE day >= $1 GROUP BY provider, kind, bucket`, first)
	if err != nil {
		return nil, err
	}
	out := map[histogram]map[int]int64{}
	var k histogram
	var bucket int
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&k.provider, &k.kind, &bucket, &n}, func() error {
		if out[k] == nil {
			out[k] = map[int]int64{}
		}
		out[k][bucket] = n
		return nil
	})
	return out, err
}
