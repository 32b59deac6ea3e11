package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/jackc/pgx/v5"
)

// migrations holds one script per step, numbered from 0001 without a gap. A
// script that has been released is never changed; what follows is a new one.
//
//go:embed migrations
var migrations embed.FS

// migrate makes the schema where it is missing and brings it to the newest
// step, each step in a transaction of its own. Dreys that start together find
// each other at the lock of the row that counts the steps.
func (a *address) migrate(ctx context.Context, c *pgx.Conn) error {
	scripts, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	slices.Sort(scripts)
	at, err := a.found(ctx, c)
	if err != nil {
		return err
	}
	if at > len(scripts) {
		return fmt.Errorf("%w: it has step %d, this one knows %d", errNewer, at, len(scripts))
	}
	for i := at; i < len(scripts); i++ {
		script, err := migrations.ReadFile(scripts[i])
		if err != nil {
			return err
		}
		err = patiently(ctx, func() error { return step(ctx, c, i+1, string(script)) })
		if state(err) == stateDuplicateObject {
			err = fmt.Errorf("%w: %w", errForeign, err)
		}
		if err != nil {
			return fmt.Errorf("schema step %d: %w", i+1, err)
		}
	}
	return nil
}

// found returns the step that the schema is at. It reads before it makes
// anything, so that a user without the right to create can open a schema that
// is there.
func (a *address) found(ctx context.Context, c *pgx.Conn) (at int, err error) {
	var encoding string
	if err := c.QueryRow(ctx, `SHOW server_encoding`).Scan(&encoding); err != nil {
		return 0, err
	}
	if encoding != "UTF8" {
		return 0, fmt.Errorf("the database has the encoding %s; drey needs one that was made with UTF8", encoding)
	}
	const count = `SELECT count(*) FROM information_schema.tables WHERE table_schema = $1 AND table_name = 'migrated'`
	err = patiently(ctx, func() error {
		var tables int
		if err := c.QueryRow(ctx, count, a.schema).Scan(&tables); err != nil || tables > 0 {
			return err
		}
		for _, text := range []string{
			`CREATE SCHEMA IF NOT EXISTS ` + a.schema, // a plain name, see parse
			`CREATE TABLE IF NOT EXISTS migrated (one INT PRIMARY KEY CHECK (one = 1), step INT NOT NULL)`,
		} {
			if _, err := c.Exec(ctx, text); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	err = c.QueryRow(ctx, `SELECT step FROM migrated WHERE one = 1`).Scan(&at)
	if !errors.Is(err, pgx.ErrNoRows) {
		return at, err
	}
	return 0, patiently(ctx, func() error {
		_, err := c.Exec(ctx, `INSERT INTO migrated (one, step) VALUES (1, 0) ON CONFLICT (one) DO NOTHING`)
		return err
	})
}

// step runs one script unless another process has.
func step(ctx context.Context, c *pgx.Conn, n int, script string) error {
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		var at int
		if err := tx.QueryRow(ctx, `SELECT step FROM migrated WHERE one = 1 FOR UPDATE`).Scan(&at); err != nil {
			return err
		}
		if at >= n {
			return nil
		}
		if _, err := tx.Exec(ctx, `UPDATE migrated SET step = $1 WHERE one = 1`, n); err != nil {
			return err
		}
		// The simple protocol takes a script of several statements.
		_, err := tx.Conn().PgConn().Exec(ctx, script).ReadAll()
		return err
	})
}

// raced reports whether err may come of two that did the same at once.
func raced(err error) bool {
	switch state(err) {
	case stateUnique, stateDuplicateSchema, stateDuplicateType, stateDuplicateObject:
		return true
	default:
		return conflict(err)
	}
}

// patiently runs f again while others are in its way. CREATE … IF NOT EXISTS
// looks first and acts later: of two that come at the same time, one may be
// told that what it wanted to make has a name that is taken.
func patiently(ctx context.Context, f func() error) error {
	var p pause
	for {
		err := f()
		if err == nil || !raced(err) || p.waited >= raceFor {
			return err
		}
		if err := p.wait(ctx, nil); err != nil {
			return err
		}
	}
}
