package upkeep

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/statedir"
	"github.com/dreyhq/drey/internal/store"
)

// asideAge is how long a file that was set aside stays for a person to look at.
const asideAge = 30 * 24 * time.Hour

// asides are the beginnings of the names of files that are set aside beside the
// store, up to the time that ends them. Records that were set aside as corrupt
// are statedir's own.
var asides = []string{"telemetry.db.corrupt-", "lifecycle_state.json.foreign-"}

// retention removes what is old, in the store and beside it. Files that cannot
// be removed fail the step after everything else has been tried.
func (k *keeper) retention(ctx context.Context, pace store.Pace) (Result, error) {
	set, now := k.c.Settings(), k.c.Now()
	r := store.Retention{Now: now, Logs: k.c.Logs, Captures: set.Captures}
	if set.JournalKeep > 0 {
		r.Before = now.Add(-set.JournalKeep)
	}
	pruned, err := k.c.Store.Prune(ctx, r, pace)
	if err != nil {
		return Result{}, err
	}
	var logs statedir.Rotation
	var leases, files int
	var troubles []error
	for _, part := range []func() error{
		func() (err error) {
			logs, err = statedir.RotateLifecycleLogs(k.c.Home, now, set.LogCompressAfter, set.LogKeep)
			return err
		},
		func() (err error) {
			leases, err = k.c.Home.SweepLeases(now)
			return err
		},
		func() error {
			n, err := k.c.Home.SweepRemains(now)
			files += n
			return err
		},
		func() error {
			n, err := sweepAsides(k.c.Home.Root(), now.Add(-asideAge))
			files += n
			return err
		},
	} {
		if err := pace.Next(ctx); err != nil {
			return Result{}, err
		}
		if err := part(); err != nil {
			troubles = append(troubles, err)
		}
	}
	return Result{Metrics: []drey.Field{
		drey.F("events_removed", pruned.Events), drey.F("events_kept", pruned.Kept), drey.F("requests_removed", pruned.Requests),
		drey.F("captures_removed", pruned.Captures),
		drey.F("logs_compressed", len(logs.Compressed)), drey.F("logs_removed", len(logs.Removed)),
		drey.F("leases_removed", leases), drey.F("files_removed", files),
	}}, errors.Join(troubles...)
}

// sweepAsides removes the files of dir that were set aside before a time, by
// the time in their names: a rename leaves a file's own times as they were.
func sweepAsides(dir string, before time.Time) (removed int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var troubles []error
	for _, e := range entries {
		if at, ok := asideAt(e.Name()); !ok || !at.Before(before) || !e.Type().IsRegular() {
			continue
		}
		switch err := os.Remove(filepath.Join(dir, e.Name())); {
		case err == nil:
			removed++
		case !errors.Is(err, os.ErrNotExist):
			troubles = append(troubles, err)
		}
	}
	return removed, errors.Join(troubles...)
}

// asideAt returns when a file was set aside; ok is false for any other file.
func asideAt(name string) (at time.Time, ok bool) {
	for _, prefix := range asides {
		if text, found := strings.CutPrefix(name, prefix); found {
			return parseStamp(text)
		}
	}
	return time.Time{}, false
}

// stampLayout is a time in the name of a file, with a dot that is left out
// there: YYYYMMDDTHHMMSSffffffZ (the lifecycle contract, §3.3).
const stampLayout = "20060102T150405.000000Z"

func stamp(t time.Time) string {
	return strings.Replace(t.UTC().Format(stampLayout), ".", "", 1)
}

// parseStamp reads what stamp wrote, and the store's own form of it, which has
// the dot and no Z.
func parseStamp(s string) (time.Time, bool) {
	const seconds = len("20060102T150405")
	s = strings.TrimSuffix(strings.Replace(s, ".", "", 1), "Z")
	if len(s) != seconds+6 {
		return time.Time{}, false
	}
	at, err := time.Parse(stampLayout, s[:seconds]+"."+s[seconds:]+"Z")
	return at, err == nil
}
