package lifecycle

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"
)

// Limits of a record.
const (
	// MaxRecord is the size in bytes over which a record is invalid.
	MaxRecord = 1 << 20
	// MaxOutbox is how many lines the outbox holds: the newest.
	MaxOutbox = 256
	// maxOutboxBytes bounds their size, so that lines whose append fails for
	// days never make a record too large to save.
	maxOutboxBytes = MaxRecord / 4
)

// Record is lifecycle_state.json: the machine, the progress of its cycle and
// the little that must survive the process. Keys that this version does not
// know survive inside it. It is a value: functions of this package return
// changed copies and never write through the pointers and slices of the one
// they were given; whoever changes one by hand works on a Clone.
//
// The zero value is not valid; see Default.
type Record struct {
	State        State     // a restart reads it; see the states
	Since        time.Time // of the last transition
	LastActivity time.Time
	Seq          int64 // wrapper_event_seq: how often activity was recorded

	Progress   *Progress   // a cycle that is not complete; nil = none
	Quarantine *Quarantine // nil = none
	ShadowRun  bool        // of the process that wrote the record last
	LastCycle  *Cycle      // the last complete cycle; nil = none yet
	WakeAt     time.Time   // the next durable timer for an owner with an alarm; zero = none

	WorklessWakes int               // boots from HIBERNATION since the last activity (§7.8)
	Outbox        []json.RawMessage // lines whose append is not known to have succeeded, compact, oldest first

	extra members
}

// Progress is how far a cycle that is not complete has come.
type Progress struct {
	LastCompletedStep int       // its number; 0 = none
	Attempt           int       // failures of the next step in a row
	LastError         *string   // of the next step; nil = none
	StartedAt         time.Time // of the cycle

	extra members
}

// Quarantine says that a step has failed too often: no cycle runs until it is
// lifted. The times are kept as they were found; Until alone may be no time,
// and is lifted at once then.
type Quarantine struct {
	Until  string
	Reason string
	Since  string

	extra members
}

// Cycle is the last complete cycle.
type Cycle struct {
	CompletedAt time.Time
	DurationSec float64 // of the run that completed it
	Mode        string  // ModeSleep, ModeBackstop or ModeForced
	Seq         int64   // Record.Seq at its end

	extra members
}

// members are keys that this version does not know, with their bytes.
type members []member

type member struct {
	name string // decoded
	key  json.RawMessage
	val  json.RawMessage
}

// Default returns the record of a home that has none: WAKE since now.
func Default(now time.Time) Record {
	at := instant(now)
	return Record{State: Wake, Since: at, LastActivity: at}
}

// Clone returns a copy that shares nothing which may be written.
func (r Record) Clone() Record {
	if r.Progress != nil {
		p := *r.Progress
		if p.LastError != nil {
			e := *p.LastError
			p.LastError = &e
		}
		r.Progress = &p
	}
	if r.Quarantine != nil {
		q := *r.Quarantine
		r.Quarantine = &q
	}
	if r.LastCycle != nil {
		c := *r.LastCycle
		r.LastCycle = &c
	}
	r.Outbox = slices.Clone(r.Outbox) // the lines themselves and the unknown keys are never written in place
	return r
}

// Equal reports whether both records are written with the same bytes.
func (r Record) Equal(o Record) bool {
	return bytes.Equal(r.appendJSON(nil), o.appendJSON(nil))
}

// Queue returns the record as it is saved with lines that will be appended to
// the log after the save: its outbox is pending, the older lines whose append
// is not known to have succeeded, and then lines. The newest MaxOutbox stay.
func (r Record) Queue(pending []json.RawMessage, lines ...Line) Record {
	all := slices.Grow(slices.Clone(pending), len(lines))
	for _, l := range lines {
		all = append(all, l.JSON())
	}
	size, keep := 0, 0
	for keep < min(len(all), MaxOutbox) {
		if size += len(all[len(all)-1-keep]); size > maxOutboxBytes {
			break
		}
		keep++
	}
	r.Outbox = all[len(all)-keep:]
	return r
}
