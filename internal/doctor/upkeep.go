package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
)

// The ages at which upkeep is late. Source: the lifecycle contract §9.
const (
	cycleLate  = 48 * time.Hour
	upLong     = 12 * time.Hour
	backupLate = 48 * time.Hour
)

// lookAtStore tells what the last check of the store said.
func lookAtStore(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	lines, _, err := statedir.History(v.Home, statedir.HistoryQuery{})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return warn("the lifecycle's log cannot be read: "+err.Error(), "")
	}
	for i := len(lines) - 1; i >= 0; i-- {
		get := func(key string) string { return gjson.GetBytes(lines[i], key).String() }
		switch {
		case get("event") == "store_damaged":
			return fail("the store was found damaged at "+get("ts")+": "+get("error"),
				"stop drey, move drey.db and its -wal and -shm aside, and put "+v.newest()+" in its place")
		case get("event") == "sleep_step_completed" && get("step") == "verify" && get("error") == "":
			return pass("checked at " + get("ts") + ", and sound")
		}
	}
	return lookAtHeader(v)
}

// lookAtHeader looks at a store that no sleep cycle has checked yet: that it is
// one at all.
func lookAtHeader(v *visit) (Finding, func(context.Context) error) {
	f, err := os.Open(v.Home.DB())
	if errors.Is(err, fs.ErrNotExist) {
		return pass("there is none yet")
	}
	if err != nil {
		return fail(err.Error(), "check who owns the file and its directory")
	}
	defer f.Close()
	const magic = "SQLite format 3\x00"
	head := make([]byte, len(magic))
	switch n, err := io.ReadFull(f, head); {
	case err != nil && err != io.EOF && err != io.ErrUnexpectedEOF:
		return fail("the store cannot be read: "+err.Error(), "check the disk, and put "+v.newest()+" in its place")
	case n > 0 && string(head) != magic:
		return fail(v.Home.DB()+" is no SQLite database", "stop drey, move drey.db and its -wal and -shm aside, and put "+v.newest()+" in its place")
	}
	return pass("it begins as a SQLite database does; the first sleep cycle checks the rest")
}

// newest names the newest copy of the store, for a mend.
func (v *visit) newest() string {
	name, _, _ := v.copies()
	if name == "" {
		return "a copy that you have (" + v.Home.Backups() + " has none)"
	}
	return "a copy of " + filepath.Join(v.Home.Backups(), name)
}

// copies returns the newest copy of the store and when it was made.
func (v *visit) copies() (name string, made time.Time, err error) {
	entries, err := os.ReadDir(v.Home.Backups())
	if errors.Is(err, fs.ErrNotExist) {
		return "", made, nil
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "drey-") || !strings.HasSuffix(e.Name(), ".db") {
			continue
		}
		if info, err := e.Info(); err == nil && info.ModTime().After(made) {
			name, made = e.Name(), info.ModTime()
		}
	}
	return name, made, err
}

// lookAtCycle sees whether upkeep gets its turn.
func lookAtCycle(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	c := v.record.LastCycle
	if v.corrupt != nil {
		return warn("it cannot be told while the record cannot be read", "")
	}
	if c != nil && v.now.Sub(c.CompletedAt) <= cycleLate {
		return pass("the last one was completed " + span(v.now.Sub(c.CompletedAt)) + " ago")
	}
	text := "none has been completed yet"
	if c != nil {
		text = "the last one was completed " + span(v.now.Sub(c.CompletedAt)) + " ago"
	}
	if v.daemon == nil {
		return pass(text + "; no daemon answers, and it is done when one has run for a while")
	}
	if time.Duration(v.status.UptimeS)*time.Second <= upLong {
		return pass(text + ", and the daemon has not run long enough to be late")
	}
	if p := v.record.Progress; p != nil && p.LastError != nil {
		text += "; it stopped behind step " + fmt.Sprint(p.LastCompletedStep) + ": " + *p.LastError
	}
	return fail(text, "`drey lifecycle history` tells why; `drey lifecycle sleep --force` runs one now")
}

// lookAtQuarantine tells of a cycle that pauses.
func lookAtQuarantine(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	if v.corrupt != nil {
		return warn("it cannot be told while the record cannot be read", "")
	}
	if q := v.record.Quarantine; q != nil {
		return warn("the sleep cycle pauses until "+q.Until+": "+q.Reason, "mend the cause (`drey lifecycle history` tells it), then `drey lifecycle quarantine reset`")
	}
	return pass("the sleep cycle is not paused (" + stateOf(v.record) + ")")
}

func stateOf(r lifecycle.Record) string {
	if r.Progress == nil {
		return "nothing of it is left undone"
	}
	return fmt.Sprintf("step %d is done", r.Progress.LastCompletedStep)
}

// lookAtBackup sees how old the newest copy is.
func lookAtBackup(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	const now = "`drey lifecycle sleep --force` makes one now"
	name, made, err := v.copies()
	age := max(v.now.Sub(made), 0) // one from the future is new
	if err != nil {
		return warn("the copies cannot be listed: "+err.Error(), "check who owns the directory")
	}
	switch db, err := os.Stat(v.Home.DB()); {
	case name != "" && age <= backupLate:
		return pass(name + " is " + span(age) + " old")
	case name != "":
		return warn("the newest copy, "+name+", is "+span(age)+" old", now)
	case err != nil:
		return pass("there is no store yet that could be copied")
	case v.record.LastCycle != nil || v.now.Sub(v.record.Since) > backupLate:
		return warn(fmt.Sprintf("there is no copy of the store (%d bytes)", db.Size()), now)
	default:
		return pass(fmt.Sprintf("there is no copy of the store (%d bytes) yet; the first sleep cycle makes one", db.Size()))
	}
}
