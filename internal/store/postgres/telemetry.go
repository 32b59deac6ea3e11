package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/backlog"
)

// telemetry is the writer of request rows and counters. The queue's goroutine
// owns c, and before the first row there is no connection.
type telemetry struct {
	*backlog.Queue
	at    *address
	lease *lease
	c     *pgx.Conn // nil: to be opened
}

func newTelemetry(at *address, l *lease, log *slog.Logger) *telemetry {
	t := &telemetry{at: at, lease: l}
	t.Queue = backlog.Start(backlog.Config{Write: t.write, Log: log})
	return t
}

// again runs a transaction once more if others were in its way, or if the
// connection that it was to use had died.
func (t *telemetry) again(try func() error) error {
	var p pause
	for {
		used := t.c != nil
		err := try()
		dead := used && t.c == nil
		if err == nil || errors.Is(err, errUncertain) || !dead && !conflict(err) || p.waited >= raceFor {
			return err
		}
		if p.wait(context.Background(), nil) != nil {
			return err
		}
	}
}

// errUncertain: the connection was lost in COMMIT. Nothing is tried again that
// would then be counted twice: that is the loss that telemetry may have.
var errUncertain = errors.New("the result of a commit of telemetry is unknown")

// within runs f in one transaction that has compared the epoch, and commits
// what f returns.
func (t *telemetry) within(f task) (err error) {
	ctx, cancel := call()
	defer cancel()
	if t.c == nil || t.c.IsClosed() {
		if t.c, err = t.at.connect(ctx); err != nil {
			t.c = nil
			return err
		}
	}
	defer func() {
		if err != nil || t.c.PgConn().TxStatus() != 'I' {
			t.abandon()
		}
	}()
	var b pgx.Batch
	var epoch, taken int64
	b.Queue(`BEGIN`)
	b.Queue(`SELECT taken FROM telemetry WHERE one = 1 FOR UPDATE`).QueryRow(scanInto(&taken))
	b.Queue(`SELECT epoch FROM leases WHERE name = $1`, t.lease.name).QueryRow(scanInto(&epoch))
	if err := t.c.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	if uint64(epoch) != t.lease.epoch {
		return t.lease.lost()
	}
	out, err := f(ctx, t.c)
	if err != nil || out == nil {
		return err
	}
	if err := t.c.SendBatch(ctx, out).Close(); err != nil {
		return err
	}
	if _, err := t.c.Exec(ctx, `COMMIT`); err != nil {
		if answered(err) {
			return err
		}
		return fmt.Errorf("%w: %w", errUncertain, err)
	}
	return nil
}

// abandon rolls back, or drops a connection that cannot.
func (t *telemetry) abandon() {
	if !t.c.IsClosed() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := t.c.Exec(ctx, `ROLLBACK`); err == nil {
			return
		}
	}
	closeConn(t.c)
	t.c = nil
}

// write commits b in one transaction.
func (t *telemetry) write(b *backlog.Batch) (later bool, err error) {
	err = t.at.explain("write telemetry", t.again(func() error { return t.fill(b) }))
	if errors.Is(err, errUncertain) {
		b.Counters = nil // rows may be written twice, sums may not
	}
	return unavailable(err), err
}

func (t *telemetry) fill(b *backlog.Batch) error {
	return t.within(func(ctx context.Context, c *pgx.Conn) (*pgx.Batch, error) {
		out := &pgx.Batch{}
		putRows(out, b.Rows)
		if err := putCaptures(ctx, c, out, b.Captured); err != nil {
			return nil, err
		}
		if len(b.Counters) > 0 {
			names, values := make([]string, 0, len(b.Counters)), make([]float64, 0, len(b.Counters))
			for name, d := range b.Counters {
				names, values = append(names, mended(name)), append(values, d)
			}
			out.Queue(`
				INSERT INTO counters (name, value)
				SELECT name, sum(value) FROM unnest($1::TEXT[], $2::DOUBLE PRECISION[]) AS d (name, value) GROUP BY name
				ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value`, names, values)
		}
		return out, nil
	})
}

// putRows queues the statements for rows. A row keeps the number that it was
// given first, so that the rollup counts it once.
func putRows(out *pgx.Batch, rows []store.RequestRow) {
	if len(rows) == 0 {
		return
	}
	last := make(map[string]int, len(rows)) // one statement cannot replace a row twice
	for i, r := range rows {
		last[mended(string(r.ID))] = i
	}
	var ids, profiles, providers, outcomes, wholes []string
	var ats, statuses, nos []int64
	for i, r := range rows {
		id := mended(string(r.ID))
		if last[id] != i {
			continue
		}
		ids = append(ids, id)
		nos = append(nos, int64(len(ids)))
		ats = append(ats, r.At.UnixMicro())
		profiles = append(profiles, mended(r.Profile))
		providers = append(providers, mended(r.Provider))
		outcomes = append(outcomes, mended(r.Outcome))
		statuses = append(statuses, int64(r.Status))
		wholes = append(wholes, mended(string(r.Row)))
	}
	out.Queue(`
		INSERT INTO requests (id, no, at, profile, provider, outcome, status, whole)
		SELECT d.id, t.taken + d.no, d.at, d.profile, d.provider, d.outcome, d.status, d.whole
		FROM unnest($1::TEXT[], $2::BIGINT[], $3::BIGINT[], $4::TEXT[], $5::TEXT[], $6::TEXT[], $7::BIGINT[], $8::TEXT[])
			AS d (id, no, at, profile, provider, outcome, status, whole)
		CROSS JOIN telemetry t
		ON CONFLICT (id) DO UPDATE SET at = excluded.at, profile = excluded.profile, provider = excluded.provider,
			outcome = excluded.outcome, status = excluded.status, whole = excluded.whole`,
		ids, nos, ats, profiles, providers, outcomes, statuses, wholes)
	out.Queue(`UPDATE telemetry SET taken = taken + $1 WHERE one = 1`, int64(len(ids)))
}

// close writes what is queued and ends the goroutine.
func (t *telemetry) close() error {
	err := t.Close()
	closeConn(t.c) // nobody owns it any more
	if errors.Is(err, store.ErrEpoch) {
		return nil // another process writes here; there is nothing to mend
	}
	return err
}
