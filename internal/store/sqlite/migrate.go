package sqlite

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// migrations holds one directory per database file, and in it one script per
// step, numbered from 0001 without a gap. A script that has been released is
// never changed; what follows is a new one.
//
//go:embed migrations
var migrations embed.FS

// The application ids mark the files as ours ("drey" and "dret" in ASCII), so
// that no other program's database is migrated by mistake.
const (
	journalID   = 0x64726579
	telemetryID = 0x64726574
)

var (
	errNewer   = errors.New("the database was written by a newer drey")
	errForeign = errors.New("the database belongs to another program")
)

// migrate brings the database to the newest step, each step in a transaction
// of its own, so that a process that dies in between goes on at the next start.
func migrate(ctx context.Context, c *conn, name string, application int64) error {
	scripts, err := fs.Glob(migrations, "migrations/"+name+"/*.sql")
	if err != nil {
		return err
	}
	slices.Sort(scripts)
	id, err := c.int("PRAGMA application_id")
	if err != nil {
		return err
	}
	at, err := c.int("PRAGMA user_version")
	if err != nil {
		return err
	}
	tables, err := c.int("SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return err
	}
	switch {
	case id != application && (id != 0 || at != 0 || tables != 0):
		return errForeign
	case at > int64(len(scripts)):
		return fmt.Errorf("%w: it has schema %d, this one knows %d", errNewer, at, len(scripts))
	}
	for i, file := range scripts[at:] {
		if err := ctx.Err(); err != nil {
			return err
		}
		script, err := migrations.ReadFile(file)
		if err != nil {
			return err
		}
		step := int(at) + i + 1
		err = c.exec(fmt.Sprintf("BEGIN IMMEDIATE;\n%s;\nPRAGMA application_id = %d;\nPRAGMA user_version = %d;\nCOMMIT", script, application, step))
		if err != nil {
			_ = c.exec("ROLLBACK") // the script's error says more than a second one could
			return fmt.Errorf("schema step %d: %w", step, err)
		}
	}
	return nil
}
