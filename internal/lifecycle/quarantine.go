package lifecycle

import (
	"time"

	"github.com/dreyhq/drey"
)

// The reasons of quarantine_lifted (§8.8).
const (
	LiftTTL       = "auto_recovery_after_ttl"
	LiftMalformed = "auto_recovery_malformed_ts"
	LiftManual    = "manual_reset"
)

func quarantine(r Record, now time.Time, reason string, p Policy) (Record, Line) {
	until := drey.FormatTime(now.Add(p.QuarantineTTL))
	r.Quarantine = &Quarantine{Until: until, Reason: reason, Since: drey.FormatTime(now)}
	return r, line(now, EventQuarantined,
		drey.F("reason", reason), drey.F("until_ts", until), drey.F("ttl_hours", seconds(p.QuarantineTTL)/3600))
}

// LiftAt returns when the quarantine is to be looked at again (Recheck), and
// false if there is none: at its end, and at once if that is no time or
// further ahead than a quarantine lasts.
func LiftAt(r Record, now time.Time, p Policy) (time.Time, bool) {
	if r.Quarantine == nil {
		return time.Time{}, false
	}
	until, err := parseTime(r.Quarantine.Until)
	if err != nil || until.After(horizon(now, p)) {
		return now, true
	}
	return until, true
}

// horizon is how far ahead the end of a quarantine may be.
func horizon(now time.Time, p Policy) time.Time { return instant(now.Add(p.QuarantineTTL)) }

// Recheck returns the record with its quarantine as it must be now: lifted if
// it is over or its end is no time, and ending within its TTL if the end is
// further ahead, which happens when the clock was set back. That end is
// written down, since one that moves with the clock would never come.
// Unchanged it returns no lines; with lines or not, save what differs.
func Recheck(r Record, now time.Time, p Policy) (Record, []Line) {
	if r.Quarantine == nil {
		return r, nil
	}
	until, err := parseTime(r.Quarantine.Until)
	switch {
	case err != nil:
		return LiftQuarantine(r, now, LiftMalformed)
	case !until.After(now):
		return LiftQuarantine(r, now, LiftTTL)
	}
	if end := horizon(now, p); until.After(end) {
		q := *r.Quarantine
		q.Until = drey.FormatTime(end)
		r.Quarantine = &q
	}
	return r, nil
}

// LiftQuarantine ends a quarantine: the step that failed has all its tries again, and
// the completed ones stay completed. Without a quarantine it changes nothing.
func LiftQuarantine(r Record, now time.Time, reason string) (Record, []Line) {
	if r.Quarantine == nil {
		return r, nil
	}
	prior := r.Quarantine.Until
	r.Quarantine = nil
	if r.Progress != nil {
		p := *r.Progress
		p.Attempt = 0
		r.Progress = &p
	}
	return r, []Line{line(now, EventQuarantineLifted, drey.F("reason", reason), drey.F("prior_until_ts", prior))}
}
