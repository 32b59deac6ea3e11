package statedir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Prefixes and suffix of the temporary files beside the store. The suffix
// keeps them from ever being taken for what they become.
const (
	recordPrefix = ".lifecycle_state."
	wakePrefix   = ".wake.signal."
	leasePrefix  = ".heartbeat-"
	tempSuffix   = ".tmp"
)

const (
	tempAge    = time.Hour           // no write takes that long: whoever began it is gone
	corruptAge = 30 * 24 * time.Hour // a person has had time to look at it
)

// SweepRemains removes what crashes have left behind in the home: temporary
// files older than an hour, and records that were kept aside as corrupt longer
// than 30 days ago. Files of other names, and what is no plain file, are never
// touched.
func (h Home) SweepRemains(now time.Time) (removed int, err error) {
	removed, err = h.sweepTemps(now)
	n, cerr := removeKept(h, now.Add(-corruptAge))
	return removed + n, errors.Join(err, cerr)
}

// sweepTemps removes temporary files that nobody can still be writing.
func (h Home) sweepTemps(now time.Time) (removed int, err error) {
	for _, place := range []struct{ dir, prefix string }{
		{h.root, recordPrefix}, {h.root, wakePrefix}, {h.Logs(), rotatePrefix},
	} {
		n, e := removeOlder(place.dir, place.prefix, tempSuffix, now.Add(-tempAge))
		removed, err = removed+n, errors.Join(err, e)
	}
	return removed, err
}

// removeKept removes the records that were kept aside before a time, by the
// time in their names: a rename leaves a file's own times as they were.
func removeKept(h Home, before time.Time) (removed int, err error) {
	entries, err := os.ReadDir(h.root)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	prefix := filepath.Base(h.Lifecycle()) + keptInfix
	for _, e := range entries {
		stamp, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok {
			continue
		}
		if at, ok := parseStamp(stamp); !ok || !at.Before(before) || !e.Type().IsRegular() {
			continue
		}
		switch e := os.Remove(h.join(e.Name())); {
		case e == nil:
			removed++
		case !errors.Is(e, os.ErrNotExist):
			err = errors.Join(err, e)
		}
	}
	return removed, err
}

// removeOlder removes the files of dir whose name fits prefix*suffix and that
// were last written before a time. Missing files and directories are no error;
// one that cannot be removed does not keep the others.
func removeOlder(dir, prefix, suffix string, before time.Time) (removed int, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	var troubles []error
	for _, e := range entries {
		name := e.Name()
		if len(name) < len(prefix)+len(suffix) || !strings.HasPrefix(name, prefix) || !strings.HasSuffix(name, suffix) {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !info.ModTime().Before(before) {
			continue // gone meanwhile, not ours, or still in use
		}
		if err := os.Remove(filepath.Join(dir, name)); err == nil {
			removed++
		} else if !errors.Is(err, os.ErrNotExist) {
			troubles = append(troubles, err)
		}
	}
	return removed, errors.Join(append(troubles, err)...)
}
