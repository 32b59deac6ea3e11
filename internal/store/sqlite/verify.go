package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	lib "modernc.org/sqlite/lib"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// codeDamaged is the code of what Verify finds.
const codeDamaged = "store_damaged"

// fullCheck is the name of the mark of the last full check that found nothing.
const fullCheck = "verify_full"

// The rows of one chunk of a check; each is one read transaction.
const (
	verifyRows      = 512
	verifySnapshots = 64 // a snapshot may be large
)

// Verify implements store.Upkeeper. A quick check reads the trees of one table
// after the other; a full one leaves nothing out and is one statement per file,
// which ctx interrupts.
func (s *Store) Verify(ctx context.Context, c store.Check, pace store.Pace) (store.Verified, error) {
	var out store.Verified
	err := s.verify(ctx, c, pace, &out)
	return out, asDamage("verify store", s.path, err)
}

func (s *Store) verify(ctx context.Context, c store.Check, pace store.Pace, out *store.Verified) error {
	last, err := s.mark(ctx, fullCheck)
	if err != nil {
		return err
	}
	now := c.Now.UnixMicro()
	out.Full = last == 0 || last > now || now-last >= c.FullEvery.Microseconds()
	for _, p := range []*pool{s.readers, s.telemetry.readers} {
		if err := s.checkFile(ctx, p, out.Full, pace); err != nil {
			return err
		}
	}
	if err := s.checkJournal(ctx, pace, out); err != nil {
		return err
	}
	if err := s.checkSnapshots(ctx, pace, out); err != nil {
		return err
	}
	if out.Full {
		return s.setMark(ctx, fullCheck, now)
	}
	return nil
}

// damaged is the error for what is wrong with the file at path.
func damaged(op, path string, format string, args ...any) error {
	hint := "Stop drey, move " + path + " and the -wal and -shm files beside it away, and restore the newest copy from " +
		filepath.Join(filepath.Dir(path), "backups") + "."
	if filepath.Base(path) == "telemetry.db" {
		hint = "Stop drey and move " + path + " and the -wal and -shm files beside it away; it holds old requests and sums, and is made anew."
	}
	return &drey.Error{
		Class: drey.Resource, Code: codeDamaged, Op: op, Hint: hint,
		Err: fmt.Errorf("%s: %w: %w", path, store.ErrDamaged, fmt.Errorf(format, args...)),
	}
}

// asDamage turns SQLite's own finding of damage into ours; other errors pass.
func asDamage(op, path string, err error) error {
	if errors.Is(err, store.ErrDamaged) {
		return err
	}
	switch code := result(err); code {
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return damaged(op, path, "%w", err)
	default:
		return err
	}
}

// checkFile lets SQLite look at the structure of a file.
func (s *Store) checkFile(ctx context.Context, p *pool, full bool, pace store.Pace) error {
	const op = "verify store"
	queries := []string{`PRAGMA integrity_check(10)`}
	if !full {
		queries = nil
		err := s.read(ctx, op, p, func(tx *sql.Tx) error {
			tables, err := column(ctx, tx, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name`)
			for _, name := range tables {
				queries = append(queries, `PRAGMA quick_check('`+strings.ReplaceAll(name, `'`, `''`)+`')`)
			}
			return err
		})
		if err != nil {
			return asDamage(op, p.path, err)
		}
	}
	for _, q := range queries {
		if err := pace.Next(ctx); err != nil {
			return err
		}
		err := s.read(ctx, op, p, func(tx *sql.Tx) error {
			found, err := column(ctx, tx, q)
			if err == nil && (len(found) != 1 || found[0] != "ok") {
				err = damaged(op, p.path, "%s", strings.Join(found, "; "))
			}
			return err
		})
		if err != nil {
			return asDamage(op, p.path, err)
		}
	}
	return nil
}

// column returns the first column of a query's rows.
func column(ctx context.Context, tx *sql.Tx, query string) ([]string, error) {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// checkJournal reads every row. After the floor each seq follows the one before
// it, to the head; and each machine's versions do, in each of its lives.
func (s *Store) checkJournal(ctx context.Context, pace store.Pace, out *store.Verified) error {
	const op = "verify the journal"
	versions := map[int64]int64{}
	for at := drey.Seq(0); ; {
		if err := pace.Next(ctx); err != nil {
			return err
		}
		rows, last := 0, at
		err := s.read(ctx, op, s.readers, func(tx *sql.Tx) error {
			floor, err := readFloor(ctx, tx)
			if err != nil {
				return err
			}
			head, err := readSeq(ctx, tx)
			if err != nil {
				return err
			}
			found, err := tx.QueryContext(ctx, `SELECT j.subject, j.version, `+eventColumns+` FROM journal j NOT INDEXED `+eventNames+
				` WHERE j.seq > ? ORDER BY j.seq LIMIT ?`, int64(at), verifyRows)
			if err != nil {
				return err
			}
			defer found.Close()
			for found.Next() {
				var subject, version int64
				e, err := scanEvent(found, &subject, &version)
				if err != nil {
					return damaged(op, s.path, "%w", err)
				}
				if want := max(last, floor) + 1; e.Seq > floor && e.Seq != want {
					return damaged(op, s.path, "rows %d to %d are missing", want, e.Seq-1)
				}
				if was := versions[subject]; version > 1 && was > 0 && version != was+1 {
					return damaged(op, s.path, "row %d is version %d of %s %q, and the one before is %d", e.Seq, version, e.Machine, e.ID, was)
				}
				if version > 0 {
					versions[subject] = version
				}
				rows, last = rows+1, e.Seq
			}
			if err := found.Err(); err != nil {
				return err
			}
			if rows < verifyRows && max(last, floor) != head {
				return damaged(op, s.path, "the last row is %d, and the head says %d", max(last, floor), head)
			}
			return nil
		})
		if err != nil {
			return asDamage(op, s.path, err)
		}
		at, out.Events = last, out.Events+int64(rows)
		if rows < verifyRows {
			return nil
		}
	}
}

// checkSnapshots reads every snapshot, and looks whether its tail begins where
// it ends.
func (s *Store) checkSnapshots(ctx context.Context, pace store.Pace, out *store.Verified) error {
	const op = "verify snapshots"
	for at, more := int64(0), true; more; {
		if err := pace.Next(ctx); err != nil {
			return err
		}
		err := s.read(ctx, op, s.readers, func(tx *sql.Tx) error {
			head, err := readSeq(ctx, tx)
			if err != nil {
				return err
			}
			rows, err := tx.QueryContext(ctx, `
				SELECT n.subject, m.name, s.id, n.at, n.version, n.data, (
					SELECT version FROM journal WHERE subject = n.subject AND seq > max(s.born, n.at) AND version > 0 ORDER BY seq LIMIT 1)
				FROM snapshots n JOIN subjects s ON s.no = n.subject JOIN machines m ON m.no = s.machine
				WHERE n.subject > ? ORDER BY n.subject LIMIT ?`, at, verifySnapshots)
			if err != nil {
				return err
			}
			defer rows.Close()
			n := 0
			for ; rows.Next(); n++ {
				var machine, id, data string
				var seq, version int64
				var next sql.NullInt64
				if err := rows.Scan(&at, &machine, &id, &seq, &version, &data, &next); err != nil {
					return err
				}
				switch {
				case !json.Valid([]byte(data)):
					return damaged(op, s.path, "the snapshot of %s %q is no JSON", machine, id)
				case drey.Seq(seq) > head:
					return damaged(op, s.path, "the snapshot of %s %q is of row %d, and the head says %d", machine, id, seq, head)
				case next.Valid && next.Int64 != version+1:
					return damaged(op, s.path, "the snapshot of %s %q is version %d, and its tail begins with %d", machine, id, version, next.Int64)
				}
			}
			out.Snapshots += int64(n)
			more = n == verifySnapshots
			return rows.Err()
		})
		if err != nil {
			return asDamage(op, s.path, err)
		}
	}
	return nil
}

// mark returns when a piece of upkeep was last done; 0 for never.
func (s *Store) mark(ctx context.Context, name string) (at int64, err error) {
	err = s.read(ctx, "read upkeep", s.readers, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT at FROM upkeep WHERE name = ?`, name).Scan(&at)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return at, err
}

func (s *Store) setMark(ctx context.Context, name string, at int64) error {
	return s.inJournal(ctx, "mark upkeep", func(c *conn) (bool, error) {
		_, err := c.change(`INSERT INTO upkeep (name, at) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET at = excluded.at`, name, at)
		return true, err
	})
}
