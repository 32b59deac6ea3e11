package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// Load implements store.Journal.
func (s *Store) Load(ctx context.Context, machine, id string) (store.State, error) {
	states, err := s.states(ctx, machine, ` AND m.id = $2`, id)
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
	return s.states(ctx, machine, ``)
}

// SnapshotsAfter implements store.Journal.
func (s *Store) SnapshotsAfter(ctx context.Context, machine, after string, limit int) ([]store.State, error) {
	// Those that are buried are not in the page: it must not seem shorter by
	// them than what is left. The order is that of bytes, and not that of the
	// server's locale.
	return s.states(ctx, machine, ` AND m.id IN (
		SELECT p.id FROM machines p
		WHERE p.machine = $1 AND p.id COLLATE "C" > $2 AND (p.snapshot IS NOT NULL OR EXISTS (
			SELECT 1 FROM journal t WHERE t.id = p.id AND t.machine = p.machine AND t.seq > p.born AND t.version > 0))
		ORDER BY p.id COLLATE "C" LIMIT $3)`, after, store.PageLimit(limit))
}

// states reads the states of a machine's ids, by a condition on machines m
// whose first argument is $2.
func (s *Store) states(ctx context.Context, machine, which string, with ...any) ([]store.State, error) {
	args := append([]any{machine}, with...)
	var out []store.State
	err := s.read(ctx, "load", func(ctx context.Context, tx pgx.Tx) error {
		all := map[string]*store.State{}
		rows, err := tx.Query(ctx, `SELECT m.id, m.at, m.version, m.snapshot FROM machines m WHERE m.machine = $1`+which, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			st := &store.State{Machine: machine}
			var at int64
			var data *string
			if err := rows.Scan(&st.ID, &at, &st.Version, &data); err != nil {
				return err
			}
			st.At = drey.Seq(at)
			if data != nil {
				st.Snapshot = json.RawMessage(*data)
			}
			all[st.ID] = st
		}
		if err := rows.Err(); err != nil {
			return err
		}
		rows, err = tx.Query(ctx, `
			SELECT j.version, `+eventColumns+` FROM machines m
			JOIN journal j ON j.id = m.id AND j.machine = m.machine AND j.seq > greatest(m.born, m.at) AND j.version > 0
			WHERE m.machine = $1`+which+` ORDER BY j.seq`, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var version int64
			e, err := scanEvent(rows, &version)
			if err != nil {
				return err
			}
			st := all[e.ID]
			st.Tail, st.Version = append(st.Tail, e), version
		}
		if err := rows.Err(); err != nil {
			return err
		}
		out = nil
		for _, st := range all {
			if st.Snapshot != nil || st.Version > 0 {
				out = append(out, *st) // the others are buried
			}
		}
		return nil
	})
	// Here and not there: the server's order of texts is that of its locale.
	slices.SortFunc(out, func(a, b store.State) int { return strings.Compare(a.ID, b.ID) })
	return out, err
}
