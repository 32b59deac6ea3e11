package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// Load implements store.Journal.
func (s *Store) Load(ctx context.Context, machine, id string) (store.State, error) {
	states, err := s.states(ctx, machine, &id)
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
	return s.states(ctx, machine, nil)
}

// states reads the state of one id of a machine, or of all of them. The tails
// are read in the order of the machines, each through the index of its rows, so
// that what a snapshot covers costs nothing.
func (s *Store) states(ctx context.Context, machine string, id *string) ([]store.State, error) {
	which, args := ``, []any{machine}
	if id != nil {
		which, args = ` AND s.id = ?`, append(args, *id)
	}
	subjects := ` FROM machines m CROSS JOIN subjects s ON s.machine = m.no LEFT JOIN snapshots n ON n.subject = s.no `
	where := ` WHERE m.name = ?` + which + ` `
	var out []store.State
	err := s.read(ctx, "load", s.readers, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT s.no, s.id, n.at, n.version, n.data`+subjects+where+`ORDER BY s.id`, args...)
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
		if err := readTails(ctx, tx, subjects, where, args, func(no, version int64, e drey.Event) {
			st := &all[at[no]]
			st.Tail, st.Version = append(st.Tail, e), version
		}); err != nil {
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

func readTails(ctx context.Context, tx *sql.Tx, subjects, where string, args []any, each func(no, version int64, e drey.Event)) error {
	rows, err := tx.QueryContext(ctx, `SELECT s.no, j.version, `+eventColumns+subjects+
		`CROSS JOIN journal j INDEXED BY journal_by_subject ON j.subject = s.no AND j.seq > max(s.born, coalesce(n.at, 0)) AND j.version > 0`+
		where+`ORDER BY s.id, j.seq`, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var no, version int64
		e, err := scanEvent(rows, &no, &version)
		if err != nil {
			return err
		}
		each(no, version, e)
	}
	return rows.Err()
}
