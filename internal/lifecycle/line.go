package lifecycle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/dreyhq/drey"
)

// The names of the lines that the lifecycle writes (§4.2, §8.10).
const (
	EventTransition       = "state_transition"
	EventShadowRun        = "shadow_run_warning"
	EventDaemonStarted    = "daemon_started"
	EventDaemonStopped    = "daemon_stopped"
	EventFileCorrupt      = "state_file_corrupt"
	EventSignalConsumed   = "wake_signal_consumed"
	EventOwnerLost        = "owner_lost"
	EventCycleStarted     = "sleep_cycle_started"
	EventStepStarted      = "sleep_step_started"
	EventStepCompleted    = "sleep_step_completed"
	EventCycleDeferred    = "sleep_cycle_deferred"
	EventCycleCompleted   = "sleep_cycle_completed"
	EventQuarantined      = "quarantine_entered"
	EventQuarantineLifted = "quarantine_lifted"
	EventStoreDamaged     = "store_damaged"
)

// Line is one line of the lifecycle's event log. It is a value; whoever
// receives one must not change Fields.
type Line struct {
	TS     time.Time
	Event  string
	Fields []drey.Field // flat, in the contract's order
	Reason string       // left out if ""
	Cause  drey.Seq     // left out if 0
}

// AppendJSON appends the line to b as one compact JSON object without a
// newline: ts, event, the fields in their order, reason, cause. There is no
// HTML escaping. A value that JSON cannot hold is written as its text, since
// no line is lost for a field.
func (l Line) AppendJSON(b []byte) []byte {
	b = append(b, `{"ts":"`...)
	b = append(b, drey.FormatTime(l.TS)...)
	b = appendValue(append(b, `","event":`...), l.Event)
	for _, f := range l.Fields {
		b = append(appendValue(append(b, ','), f.Key), ':')
		b = appendValue(b, f.Value)
	}
	if l.Reason != "" {
		b = appendValue(append(b, `,"reason":`...), l.Reason)
	}
	if l.Cause != 0 {
		b = strconv.AppendUint(append(b, `,"cause":`...), uint64(l.Cause), 10)
	}
	return append(b, '}')
}

// JSON returns AppendJSON's object.
func (l Line) JSON() json.RawMessage { return l.AppendJSON(nil) }

// MarshalJSON writes the line as the log has it.
func (l Line) MarshalJSON() ([]byte, error) { return l.AppendJSON(nil), nil }

// Field returns the value of the first field of that key, nil without one.
func (l Line) Field(key string) any {
	for _, f := range l.Fields {
		if f.Key == key {
			return f.Value
		}
	}
	return nil
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case bool:
		return strconv.AppendBool(b, v)
	}
	buf := bytes.NewBuffer(b)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return appendValue(b, fmt.Sprint(v))
	}
	return buf.Bytes()[:buf.Len()-1] // Encode ends with a newline
}

// shadowNote is fixed: readers compare it.
const shadowNote = "shadow_run=True is a test-only guard kept for transition tests; " +
	"production daemons run with shadow_run=False, where this never fires."

// shadowWarning says that a shadow run has entered HIBERNATION and lives on.
func shadowWarning(at time.Time) Line {
	return Line{TS: at, Event: EventShadowRun, Fields: shadowFields}
}

var shadowFields = []drey.Field{
	drey.F("would_action", "hibernate_kill_process"), drey.F("blocked_by", "shadow_run=True"), drey.F("note", shadowNote),
}

// DaemonStarted says that a daemon runs, in which state it goes on and who
// started it.
func DaemonStarted(at time.Time, pid int, version string, s State, startedBy string) Line {
	return Line{TS: at, Event: EventDaemonStarted, Fields: []drey.Field{
		drey.F("pid", pid), drey.F("version", version), drey.F("state", s.String()), drey.F("started_by", startedBy),
	}}
}

// The reasons of DaemonStopped.
const (
	StoppedBySignal      = "signal"
	StoppedByHibernation = "hibernation"
	StoppedByError       = "error"
)

// DaemonStopped says that a daemon has closed its store and ends, and why.
func DaemonStopped(at time.Time, pid int, reason string) Line {
	return Line{TS: at, Event: EventDaemonStopped, Fields: []drey.Field{drey.F("pid", pid), drey.F("reason", reason)}}
}

// FileCorrupt says that a record was not valid and where it was kept.
func FileCorrupt(at time.Time, keptAs string, err error) Line {
	return Line{TS: at, Event: EventFileCorrupt, Fields: []drey.Field{drey.F("kept_as", keptAs), drey.F("error", err.Error())}}
}

// SignalConsumed says that a wake.signal was taken, and what it held.
func SignalConsumed(at time.Time, content []byte) Line {
	return Line{TS: at, Event: EventSignalConsumed, Fields: []drey.Field{drey.F("content", string(content))}}
}

// OwnerLost says that the owner of the listeners has gone: from now on nobody
// could wake us, so there is no HIBERNATION.
func OwnerLost(at time.Time) Line { return Line{TS: at, Event: EventOwnerLost} }

// seconds is a duration as the log and the record have it: to three places,
// never negative.
func seconds(d time.Duration) float64 {
	return math.Round(max(d, 0).Seconds()*1000) / 1000
}
