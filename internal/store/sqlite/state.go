package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// Load implements store.Journal.
func (s *Store) Load(ctx context.Context, machine, id string) (store.State, error) {
	states, err := s.states(ctx, machine, ` AND s.id = ?`, 1, id)
	if err != nil {
		return store.State{}, err
	}
	if len(states) == 0 {
		return store.State{}, fmt.Errorf("load %s %q: %w", machine, id, store.ErrNotFound)
	}
	return states[0], nil
}

// Snapshots implements store.Journal.
func (s *Store) Snapshots(ctx context.Context, machine string) ([]store.State, error) {
	return s.states(ctx, machine, ``, -1)
}

// SnapshotsAfter implements store.Journal.
func (s *Store) SnapshotsAfter(ctx context.Context, machine, after string, limit int) ([]store.State, error) {
	// Those that are buried, or known by companion rows alone, are not in the
	// page: it must not seem shorter by them than what is left.
	const alive = ` AND s.id > ? AND (n.subject IS NOT NULL OR EXISTS (
		SELECT 1 FROM journal j INDEXED BY journal_by_subject WHERE j.subject = s.no AND j.seq > s.born AND j.version > 0))`
	return s.states(ctx, machine, alive, store.PageLimit(limit), after)
}

// states reads the states of a machine's ids, by a condition on subjects s and
// snapshots n, at most limit of them (-1 = all). The tails are read in the order
// of the machines, each through the index of its rows, so that what a snapshot
// covers costs nothing.
func (s *Store) states(ctx context.Context, machine, which string, limit int, with ...any) ([]store.State, error) {
	subjects := ` FROM machines m CROSS JOIN subjects s ON s.machine = m.no LEFT JOIN snapshots n ON n.subject = s.no `
	where := ` WHERE m.name = ?` + which + ` `
	args := append([]any{machine}, with...)
	var out []store.State
	err := s.read(ctx, "load", s.readers, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT s.no, s.id, n.at, n.version, n.data`+subjects+where+`ORDER BY s.id LIMIT ?`, append(slices.Clip(args), limit)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		at := map[int64]int{} // where a subject is in all
		var all []store.State
		for rows.Next() {
			st := store.State{Machine: machine}
			var no int64
			var seq, version sql.NullInt64
			var data sql.NullString
			if err := rows.Scan(&no, &st.ID, &seq, &version, &data); err != nil {
				return err
			}
			st.At, st.Version = drey.Seq(seq.Int64), version.Int64
			if data.Valid {
				st.Snapshot = json.RawMessage(data.String)
			}
			at[no] = len(all)
			all = append(all, st)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if len(all) == 0 {
			return nil
		}
		// The tails of a page end with its last id.
		args := append(slices.Clip(args), all[len(all)-1].ID)
		fields := make([][]string, len(all)) // of the events in each tail
		if err := readTails(ctx, tx, subjects, where+`AND s.id <= ? `, args, func(no, version int64, e drey.Event, raw string) {
			i := at[no]
			all[i].Tail, all[i].Version = append(all[i].Tail, e), version
			fields[i] = append(fields[i], raw)
		}); err != nil {
			return err
		}
		if err := decodeTails(all, fields); err != nil {
			return err
		}
		for _, st := range all {
			if st.Snapshot != nil || st.Version > 0 {
				out = append(out, st) // the others are buried, or known by companion rows alone
			}
		}
		return nil
	})
	return out, err
}

func readTails(ctx context.Context, tx *sql.Tx, subjects, where string, args []any, each func(no, version int64, e drey.Event, fields string)) error {
	rows, err := tx.QueryContext(ctx, `SELECT s.no, j.version, `+eventColumns+subjects+
		`CROSS JOIN journal j INDEXED BY journal_by_subject ON j.subject = s.no AND j.seq > max(s.born, coalesce(n.at, 0)) AND j.version > 0`+
		where+`ORDER BY s.id, j.seq`, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var no, version int64
		e, fields, err := scanRow(rows, &no, &version)
		if err != nil {
			return err
		}
		each(no, version, e, fields)
	}
	return rows.Err()
}

// decodeTails decodes the fields of the events in tails, on every processor: of
// what a restart reads, it is a quarter of the work.
func decodeTails(all []store.State, fields [][]string) error {
	workers := min(runtime.GOMAXPROCS(0), len(all))
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(all) && errs[w] == nil; i += workers {
				for k, raw := range fields[i] {
					if err := decodeFields(&all[i].Tail[k], raw); err != nil {
						errs[w] = err
						break
					}
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
