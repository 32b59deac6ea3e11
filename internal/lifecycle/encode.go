package lifecycle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/dreyhq/drey"
)

// The keys of the record, in their order (§3.1).
const (
	keyState      = "current_state"
	keySince      = "since_ts"
	keyActivity   = "last_activity_ts"
	keySeq        = "wrapper_event_seq"
	keyProgress   = "sleep_cycle_progress"
	keyQuarantine = "quarantine"
	keyShadowRun  = "shadow_run"
	keyLastCycle  = "last_cycle"
	keyWakeAt     = "wake_at"
	keyWorkless   = "workless_wakes"
	keyOutbox     = "log_outbox"
)

// Encode returns the bytes of the file: one JSON object with an indent of 2
// and a newline at its end, the known keys in their order, then the unknown
// ones as found. It refuses a record that Decode would refuse, so that nobody
// writes what nobody can read.
func (r Record) Encode() ([]byte, error) {
	if err := r.validate(); err != nil {
		return nil, fmt.Errorf("lifecycle record: %w", err)
	}
	b := r.appendJSON(nil)
	if len(b) > MaxRecord {
		return nil, fmt.Errorf("lifecycle record: %w", errTooLarge)
	}
	return b, nil
}

var errTooLarge = fmt.Errorf("larger than %d bytes", MaxRecord)

// appendJSON writes whatever the record holds, valid or not.
func (r Record) appendJSON(b []byte) []byte {
	o := openObject(b, "  ")
	o.value(keyState, r.State.String())
	o.time(keySince, r.Since)
	o.time(keyActivity, r.LastActivity)
	o.integer(keySeq, r.Seq)
	if p := r.Progress; o.orNull(keyProgress, p == nil) {
		in := openObject(o.b, "    ")
		in.integer("last_completed_step", int64(p.LastCompletedStep))
		in.integer("attempt", int64(p.Attempt))
		if in.orNull("last_error", p.LastError == nil) {
			in.b = appendValue(in.b, *p.LastError)
		}
		in.time("started_at", p.StartedAt)
		o.b = in.close(p.extra)
	}
	if q := r.Quarantine; o.orNull(keyQuarantine, q == nil) {
		in := openObject(o.b, "    ")
		in.value("until_ts", q.Until)
		in.value("reason", q.Reason)
		in.value("since_ts", q.Since)
		o.b = in.close(q.extra)
	}
	o.value(keyShadowRun, r.ShadowRun)
	if c := r.LastCycle; o.orNull(keyLastCycle, c == nil) {
		in := openObject(o.b, "    ")
		in.time("completed_at", c.CompletedAt)
		in.value("duration_sec", c.DurationSec)
		in.value("mode", c.Mode)
		in.integer("seq", c.Seq)
		o.b = in.close(c.extra)
	}
	if o.orNull(keyWakeAt, r.WakeAt.IsZero()) {
		o.b = append(append(append(o.b, '"'), drey.FormatTime(r.WakeAt)...), '"')
	}
	o.integer(keyWorkless, int64(r.WorklessWakes))
	o.lines(keyOutbox, r.Outbox)
	return append(o.close(r.extra), '\n')
}

// object writes the members of one JSON object, each on its own line.
type object struct {
	b      []byte
	indent string // of a member
}

func openObject(b []byte, indent string) *object { return &object{append(b, '{'), indent} }

// member begins one; its value follows.
func (o *object) member(key []byte) {
	if o.b[len(o.b)-1] != '{' { // no value ends with one
		o.b = append(o.b, ',')
	}
	o.b = append(append(o.b, '\n'), o.indent...)
	o.b = append(append(o.b, key...), ": "...)
}

// key begins the member of a key that needs no escaping.
func (o *object) key(k string) { o.member([]byte(`"` + k + `"`)) }

func (o *object) value(k string, v any) {
	o.key(k)
	o.b = appendValue(o.b, v)
}

func (o *object) integer(k string, v int64) {
	o.key(k)
	o.b = strconv.AppendInt(o.b, v, 10)
}

func (o *object) time(k string, t time.Time) {
	o.key(k)
	o.b = append(append(append(o.b, '"'), drey.FormatTime(t)...), '"')
}

// orNull begins a member and reports whether its value is still to be written.
func (o *object) orNull(k string, null bool) bool {
	o.key(k)
	if null {
		o.b = append(o.b, "null"...)
	}
	return !null
}

func (o *object) lines(k string, lines []json.RawMessage) {
	o.key(k)
	if len(lines) == 0 {
		o.b = append(o.b, "[]"...)
		return
	}
	inner := o.indent + "  "
	buf := bytes.NewBuffer(append(o.b, '['))
	for i, l := range lines {
		if i > 0 {
			buf.WriteByte(',')
		}
		buf.WriteString("\n" + inner)
		if json.Indent(buf, l, inner, "  ") != nil {
			buf.WriteString("null") // validate has refused it; Equal sees no line
		}
	}
	buf.WriteString("\n" + o.indent + "]")
	o.b = buf.Bytes()
}

// close adds the unknown members as they were found and ends the object.
func (o *object) close(extra members) []byte {
	for _, m := range extra {
		o.member(m.key)
		o.b = append(o.b, m.val...)
	}
	o.b = append(append(o.b, '\n'), o.indent[2:]...)
	return append(o.b, '}')
}

// validate says what Decode would refuse in what appendJSON writes.
func (r Record) validate() error {
	if int(r.State) >= len(stateNames) {
		return fmt.Errorf("%s: %s is none", keyState, r.State)
	}
	checks := []error{
		checkTime(keySince, r.Since), checkTime(keyActivity, r.LastActivity), checkCount(keySeq, r.Seq),
		checkCount(keyWorkless, int64(r.WorklessWakes)),
	}
	if p := r.Progress; p != nil {
		checks = append(checks, checkCount(keyProgress+".last_completed_step", int64(p.LastCompletedStep)),
			checkCount(keyProgress+".attempt", int64(p.Attempt)), checkTime(keyProgress+".started_at", p.StartedAt))
	}
	if q := r.Quarantine; q != nil {
		_, err := parseTime(q.Since)
		checks = append(checks, at(keyQuarantine+".since_ts", err))
	}
	if c := r.LastCycle; c != nil {
		checks = append(checks, checkTime(keyLastCycle+".completed_at", c.CompletedAt), checkCount(keyLastCycle+".seq", c.Seq))
		if math.IsNaN(c.DurationSec) || math.IsInf(c.DurationSec, 0) {
			checks = append(checks, fmt.Errorf("%s.duration_sec: %v is no number", keyLastCycle, c.DurationSec))
		}
	}
	if !r.WakeAt.IsZero() {
		checks = append(checks, checkTime(keyWakeAt, r.WakeAt))
	}
	for i, l := range r.Outbox {
		checks = append(checks, at(fmt.Sprintf("%s[%d]", keyOutbox, i), checkLine(l)))
	}
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	return nil
}

// at names the place of an error; nil stays nil.
func at(place string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", place, err)
}

func checkCount(place string, n int64) error {
	if n < 0 {
		return fmt.Errorf("%s: %d is negative", place, n)
	}
	return nil
}

func checkTime(place string, t time.Time) error {
	if !writable(t) {
		return fmt.Errorf("%s: %s is outside of what a time can say", place, t)
	}
	return nil
}

// writable reports whether a time can be written with four digits of year and
// told from null.
func writable(t time.Time) bool {
	y := t.UTC().Year()
	return !t.IsZero() && y >= 1 && y <= 9999
}

// checkLine says why something is no line of the log: it must be an object
// with an event's name and a time, so that a recovery knows where it belongs.
func checkLine(b []byte) error {
	o, err := readObject(b)
	if err != nil {
		return err
	}
	event, err := o.text("event")
	if err == nil && event == "" {
		err = errors.New(`event: ""`)
	}
	if err != nil {
		return err
	}
	_, err = o.time("ts")
	return err
}
