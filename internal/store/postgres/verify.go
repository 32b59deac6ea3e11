package postgres

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// The rows of one chunk of a check; each is one read transaction.
const (
	verifyRows      = 512
	verifySnapshots = 64 // a snapshot may be large
)

// Verify implements store.Upkeeper. The structure of tables and indexes is the
// server's business; what this checks is what drey wrote, all of it each time,
// so that every check is full.
func (s *Store) Verify(ctx context.Context, _ store.Check, pace store.Pace) (store.Verified, error) {
	out := store.Verified{Full: true}
	err := s.checkJournal(ctx, pace, &out)
	if err == nil {
		err = s.checkSnapshots(ctx, pace, &out)
	}
	return out, err
}

// checkJournal reads every row. After the floor each seq follows the one before
// it, to the head; and each machine's versions do, in each of its lives.
func (s *Store) checkJournal(ctx context.Context, pace store.Pace, out *store.Verified) error {
	versions := map[key]int64{}
	for at, n := drey.Seq(0), verifyRows; n == verifyRows; {
		if err := pace.Next(ctx); err != nil {
			return err
		}
		last, seen := at, map[key]int64{} // of this chunk: the read may be begun again
		err := s.read(ctx, "verify the journal", func(ctx context.Context, tx pgx.Tx) error {
			last, n = at, 0
			clear(seen)
			head, floor, err := readHead(ctx, tx)
			if err != nil {
				return err
			}
			rows, err := tx.Query(ctx, `SELECT j.version, `+eventColumns+` FROM journal j WHERE j.seq > $1 ORDER BY j.seq LIMIT $2`, int64(at), verifyRows)
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
				if want := max(last, floor) + 1; e.Seq > floor && e.Seq != want {
					return damaged("rows %d to %d of the journal are missing", want, e.Seq-1)
				}
				k := key{e.Machine, e.ID}
				was, here := seen[k]
				if !here {
					was = versions[k]
				}
				if version > 1 && was > 0 && version != was+1 {
					return damaged("row %d is version %d of %s %q, and the one before is %d", e.Seq, version, e.Machine, e.ID, was)
				}
				if version > 0 {
					seen[k] = version
				}
				n, last = n+1, e.Seq
			}
			if err := rows.Err(); err != nil {
				return err
			}
			if n < verifyRows && max(last, floor) != head {
				return damaged("the last row of the journal is %d, and the head says %d", max(last, floor), head)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for k, v := range seen {
			versions[k] = v
		}
		at, out.Events = last, out.Events+int64(n)
	}
	return nil
}

// checkSnapshots reads every snapshot, and looks whether its tail begins where
// it ends.
func (s *Store) checkSnapshots(ctx context.Context, pace store.Pace, out *store.Verified) error {
	var at key
	for n, first := verifySnapshots, true; n == verifySnapshots; first = false {
		if err := pace.Next(ctx); err != nil {
			return err
		}
		from := at
		err := s.read(ctx, "verify snapshots", func(ctx context.Context, tx pgx.Tx) error {
			n = 0
			head, _, err := readHead(ctx, tx)
			if err != nil {
				return err
			}
			rows, err := tx.Query(ctx, `
				SELECT m.machine, m.id, m.at, m.version, m.snapshot, COALESCE((
					SELECT j.version FROM journal j
					WHERE j.machine = m.machine AND j.id = m.id AND j.seq > greatest(m.born, m.at) AND j.version > 0
					ORDER BY j.seq LIMIT 1), 0)
				FROM machines m WHERE m.snapshot IS NOT NULL AND ($1 OR (m.machine, m.id) > ($2, $3))
				ORDER BY m.machine, m.id LIMIT $4`, first, from.machine, from.id, verifySnapshots)
			if err != nil {
				return err
			}
			var seq, version, next int64
			var data string
			_, err = pgx.ForEachRow(rows, []any{&at.machine, &at.id, &seq, &version, &data, &next}, func() error {
				n++
				switch {
				case !json.Valid([]byte(data)):
					return damaged("the snapshot of %s %q is no JSON", at.machine, at.id)
				case drey.Seq(seq) > head:
					return damaged("the snapshot of %s %q is of row %d, and the head says %d", at.machine, at.id, seq, head)
				case next != 0 && next != version+1:
					return damaged("the snapshot of %s %q is version %d, and its tail begins with %d", at.machine, at.id, version, next)
				}
				return nil
			})
			return err
		})
		if err != nil {
			return err
		}
		out.Snapshots += int64(n)
	}
	return nil
}
