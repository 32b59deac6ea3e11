package upkeep

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// copies of the store are named drey-<when>.db.
const (
	copyPrefix = "drey-"
	copySuffix = ".db"
)

// backup makes a copy if the newest is old enough, and then lets the oldest go.
// One that is dated in the future was made while the clock was wrong: it is a
// copy like any other, but it keeps no new one from being made.
func (k *keeper) backup(ctx context.Context, pace store.Pace) (Result, error) {
	set, now, dir := k.c.Settings(), k.c.Now(), k.c.Home.Backups()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Result{}, err
	}
	copies, err := listCopies(dir)
	if err != nil {
		return Result{}, err
	}
	for _, c := range copies {
		if age := now.Sub(c.at); age >= 0 && age < set.BackupEvery {
			return Result{Skipped: fmt.Sprintf("%s is %s old, and a copy is made every %s",
				c.name, drey.Duration(age.Truncate(time.Second)), drey.Duration(set.BackupEvery))}, nil
		}
	}
	name := copyName(now)
	for slices.ContainsFunc(copies, func(c backupCopy) bool { return c.name == name }) {
		now = now.Add(time.Microsecond)
		name = copyName(now)
	}
	made, err := k.c.Store.Backup(ctx, filepath.Join(dir, name), pace)
	if err != nil {
		return Result{}, err
	}
	removed, err := removeCopies(dir, copies, max(set.BackupKeep, 1)-1)
	return Result{Metrics: []drey.Field{
		drey.F("file", name), drey.F("bytes", made.Bytes), drey.F("as_of_seq", made.Seq), drey.F("copies_removed", removed),
	}}, err
}

// backupCopy is one copy in the directory of backups.
type backupCopy struct {
	name string
	at   time.Time
}

func copyName(at time.Time) string { return copyPrefix + stamp(at) + copySuffix }

// listCopies returns the copies, the newest first. On its way it removes what a
// process that died has left of one; nobody else makes copies here, since the
// home is locked.
func listCopies(dir string) ([]backupCopy, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []backupCopy
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		name := e.Name()
		if strings.HasPrefix(name, "."+copyPrefix) && strings.Contains(name, copySuffix+".tmp") {
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
			continue
		}
		text, ok := strings.CutPrefix(name, copyPrefix)
		if text, found := strings.CutSuffix(text, copySuffix); ok && found {
			if at, ok := parseStamp(text); ok {
				out = append(out, backupCopy{name, at})
			}
		}
	}
	slices.SortFunc(out, func(a, b backupCopy) int { return b.at.Compare(a.at) })
	return out, nil
}

// removeCopies removes all but the first keep of the older copies.
func removeCopies(dir string, older []backupCopy, keep int) (removed int, err error) {
	var troubles []error
	for _, c := range older[min(keep, len(older)):] {
		switch err := os.Remove(filepath.Join(dir, c.name)); {
		case err == nil:
			removed++
		case !errors.Is(err, os.ErrNotExist):
			troubles = append(troubles, err)
		}
	}
	return removed, errors.Join(troubles...)
}
