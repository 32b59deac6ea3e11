package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"slices"
	"strings"
	"time"

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
		err := s.inTelemetry(ctx, "roll requests up", func(c *conn) (_ bool, err error) {
			n, err = rollup(c)
			return n > 0, err
		})
		if err != nil {
			return out, err
		}
		out.Requests += int64(n)
	}
	return out, nil
}

// rollup counts one chunk and returns how many rows it had.
func rollup(c *conn) (rows int, err error) {
	var sums store.Rollup
	var last int64
	err = c.each(context.Background(), `
		SELECT no, at, provider, outcome, row FROM requests
		WHERE no > (SELECT rolled FROM head) ORDER BY no LIMIT ?`, func(v []driver.Value) error {
		rows++
		last = v[0].(int64)
		r := store.RequestRow{At: time.UnixMicro(v[1].(int64)), Provider: v[2].(string), Outcome: v[3].(string)}
		if whole, ok := v[4].(string); ok {
			r.Row = json.RawMessage(whole)
		}
		sums.Add(r)
		return nil
	}, int64(requestsRows))
	if err != nil || rows == 0 {
		return rows, err
	}
	for _, u := range sums.Usage {
		_, err := c.change(`
			INSERT INTO usage (`+usageColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (day, provider, model) DO UPDATE SET
				requests = requests + excluded.requests, failed = failed + excluded.failed,
				input = input + excluded.input, output = output + excluded.output,
				cache_read = cache_read + excluded.cache_read, cache_write = cache_write + excluded.cache_write,
				reasoning = reasoning + excluded.reasoning, estimated = estimated + excluded.estimated`,
			u.Day, string(u.Provider), u.Model, u.Requests, u.Failed,
			u.Input, u.Output, u.CacheRead, u.CacheWrite, u.Reasoning, u.Estimated)
		if err != nil {
			return 0, err
		}
	}
	for k, n := range sums.Attempts {
		_, err := c.change(`INSERT INTO attempts (day, provider, class, attempts) VALUES (?, ?, ?, ?)
			ON CONFLICT (day, provider, class) DO UPDATE SET attempts = attempts + excluded.attempts`,
			k.Day, string(k.Provider), k.Class, n)
		if err != nil {
			return 0, err
		}
	}
	for k, n := range sums.Latency {
		_, err := c.change(`INSERT INTO latency (day, provider, kind, bucket, attempts) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (day, provider, kind, bucket) DO UPDATE SET attempts = attempts + excluded.attempts`,
			k.Day, string(k.Provider), k.Kind, int64(k.Bucket), n)
		if err != nil {
			return 0, err
		}
	}
	_, err = c.change(`UPDATE head SET rolled = ?`, last)
	return rows, err
}

const usageColumns = `day, provider, model, requests, failed, input, output, cache_read, cache_write, reasoning, estimated`

// Usage implements store.Statistics.
func (s *Store) Usage(ctx context.Context, since, until time.Time) ([]store.Usage, error) {
	where, args := []string{`TRUE`}, []any(nil)
	if !since.IsZero() {
		where, args = append(where, `day >= ?`), append(args, store.Day(since))
	}
	if !until.IsZero() {
		where, args = append(where, `day < ?`), append(args, store.Day(until))
	}
	var out []store.Usage
	err := s.read(ctx, "read usage", s.telemetry.readers, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT `+usageColumns+` FROM usage WHERE `+strings.Join(where, ` AND `)+` ORDER BY day, provider, model`, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var u store.Usage
			err := rows.Scan(&u.Day, &u.Provider, &u.Model, &u.Requests, &u.Failed,
				&u.Input, &u.Output, &u.CacheRead, &u.CacheWrite, &u.Reasoning, &u.Estimated)
			if err != nil {
				return err
			}
			out = append(out, u)
		}
		return rows.Err()
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
	err := s.read(ctx, "read statistics", s.telemetry.readers, func(tx *sql.Tx) error {
		bars, err := readLatency(ctx, tx, first)
		if err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, `SELECT provider, class, sum(attempts) FROM attempts WHERE day >= ? GROUP BY provider, class`, first)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var provider drey.ProviderID
			var class string
			var n int64
			if err := rows.Scan(&provider, &class, &n); err != nil {
				return err
			}
			i, found := slices.BinarySearchFunc(out, provider, func(p store.ProviderStats, id drey.ProviderID) int {
				return strings.Compare(string(p.Provider), string(id))
			})
			if !found {
				out = slices.Insert(out, i, store.ProviderStats{
					Provider: provider, Classes: map[string]int64{},
					TTFT:  store.LatencyOf(bars[latencyOf{provider, store.LatencyTTFT}]),
					Total: store.LatencyOf(bars[latencyOf{provider, store.LatencyTotal}]),
				})
			}
			out[i].Attempts += n
			out[i].Classes[class] = n
		}
		return rows.Err()
	})
	return out, err
}

// latencyOf names a histogram.
type latencyOf struct {
	provider drey.ProviderID
	kind     string
}

func readLatency(ctx context.Context, tx *sql.Tx, first string) (map[latencyOf]map[int]int64, error) {
	rows, err := tx.QueryContext(ctx, `SELECT provider, kind, bucket, sum(attempts) FROM latency WHERE day >= ? GROUP BY provider, kind, bucket`, first)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[latencyOf]map[int]int64{}
	for rows.Next() {
		var k latencyOf
		var bucket int
		var n int64
		if err := rows.Scan(&k.provider, &k.kind, &bucket, &n); err != nil {
			return nil, err
		}
		if out[k] == nil {
			out[k] = map[int]int64{}
		}
		out[k][bucket] = n
	}
	return out, rows.Err()
}
