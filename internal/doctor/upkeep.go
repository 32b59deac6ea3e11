package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
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
				"stop drey, and put the newest copy of "+v.Home.Backups()+" in its place")
		case get("event") == "sleep_step_completed" && get("step") == "verify" && get("error") == "":
			return pass("checked at " + get("ts") + ", and sound")
		}
	}
	return pass("no sleep cycle has checked it yet")
}

// lookAtCycle sees whether upkeep gets its turn.
func lookAtCycle(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	c := v.record.LastCycle
	if c != nil && v.now.Sub(c.CompletedAt) <= cycleLate {
		return pass("the last one was completed " + span(v.now.Sub(c.CompletedAt)) + " ago")
	}
	text := "none has been completed yet"
	if c != nil {
		text = "the last one was completed " + span(v.now.Sub(c.CompletedAt)) + " ago"
	}
	if v.daemon == nil || time.Duration(v.status.UptimeS)*time.Second <= upLong {
		return pass(text + ", and the daemon has not run long enough to be late")
	}
	if p := v.record.Progress; p != nil && p.LastError != nil {
		text += "; it stopped behind step " + fmt.Sprint(p.LastCompletedStep) + ": " + *p.LastError
	}
	return fail(text, "`drey lifecycle history` tells why; `drey lifecycle sleep --force` runs one now")
}

// lookAtQuarantine tells of a cycle that pauses.
func lookAtQuarantine(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	if q := v.record.Quarantine; q != nil {
		return warn("the sleep cycle pauses until "+q.Until+": "+q.Reason, "mend the cause, then `drey lifecycle quarantine reset`")
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
	entries, err := os.ReadDir(v.Home.Backups())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return warn("the copies cannot be listed: "+err.Error(), "")
	}
	var newest time.Time
	var name string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "drey-") || !strings.HasSuffix(e.Name(), ".db") {
			continue
		}
		if info, err := e.Info(); err == nil && info.ModTime().After(newest) {
			newest, name = info.ModTime(), e.Name()
		}
	}
	db, err := os.Stat(v.Home.DB())
	switch {
	case name != "" && v.now.Sub(newest) <= backupLate:
		return pass(name + " is " + span(v.now.Sub(newest)) + " old")
	case name != "":
		return warn("the newest copy, "+name+", is "+span(v.now.Sub(newest))+" old", "`drey lifecycle sleep --force` makes one now")
	case err == nil && v.now.Sub(v.record.Since) > backupLate && v.record.LastCycle == nil:
		return warn(fmt.Sprintf("there is no copy of the store (%d bytes)", db.Size()), "`drey lifecycle sleep --force` makes one now")
	default:
		return pass("no copy yet; the first sleep cycle makes one (record since " + drey.FormatTime(v.record.Since) + ")")
	}
}
