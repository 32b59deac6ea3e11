package lifecycle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/dreyhq/drey"
)

// Decode reads the bytes of a record, strictly (§3.2): nothing is coerced, the
// first three keys must be there, no key may be there twice, and unknown ones
// survive. What is invalid in one field is invalid as a whole: the error names
// the field, and the record beside it is the default one for now, since a
// half-believed record is worse than a fresh one.
//
// Whatever Decode takes, Encode takes.
func Decode(b []byte, now time.Time) (Record, error) {
	r, err := decode(b)
	if err != nil {
		return Default(now), fmt.Errorf("lifecycle record: %w", err)
	}
	return r, nil
}

func decode(b []byte) (Record, error) {
	var r Record
	switch {
	case len(b) > MaxRecord:
		return r, errTooLarge
	case !utf8.Valid(b):
		return r, errors.New("not UTF-8")
	}
	o, err := readObject(b)
	if err != nil {
		return r, err
	}
	state, err := o.text(keyState)
	if err == nil {
		err = at(keyState, r.State.UnmarshalText([]byte(state)))
	}
	fields := []func() error{
		func() error { return err },
		func() (err error) { r.Since, err = o.time(keySince); return },
		func() (err error) { r.LastActivity, err = o.time(keyActivity); return },
		func() (err error) { r.Seq, err = optional(o, keySeq, 0, o.count); return },
		func() (err error) { r.Progress, err = nullable(o, keyProgress, decodeProgress); return },
		func() (err error) { r.Quarantine, err = nullable(o, keyQuarantine, decodeQuarantine); return },
		func() (err error) { r.ShadowRun, err = optional(o, keyShadowRun, false, o.boolean); return },
		func() (err error) { r.LastCycle, err = nullable(o, keyLastCycle, decodeCycle); return },
		func() (err error) { r.WakeAt, err = nullTime(o, keyWakeAt); return },
		func() (err error) { r.WorklessWakes, err = optional(o, keyWorkless, 0, o.int); return },
		func() (err error) { r.Outbox, err = optional(o, keyOutbox, nil, o.outbox); return },
	}
	for _, field := range fields {
		if err := field(); err != nil {
			return r, err
		}
	}
	r.extra = o.rest()
	if len(r.appendJSON(nil)) > MaxRecord { // with our indent it could never be saved again
		return r, errTooLarge
	}
	return r, nil
}

func decodeProgress(o *reader) (*Progress, error) {
	var p Progress
	var err error
	if p.LastCompletedStep, err = o.int("last_completed_step"); err != nil {
		return nil, err
	}
	if p.Attempt, err = o.int("attempt"); err != nil {
		return nil, err
	}
	if null, err := o.null("last_error"); err != nil {
		return nil, err
	} else if !null {
		s, err := o.text("last_error")
		if err != nil {
			return nil, err
		}
		p.LastError = &s
	}
	if p.StartedAt, err = o.time("started_at"); err != nil {
		return nil, err
	}
	p.extra = o.rest()
	return &p, nil
}

func decodeQuarantine(o *reader) (*Quarantine, error) {
	var q Quarantine
	var err error
	if q.Until, err = o.text("until_ts"); err != nil {
		return nil, err
	}
	if q.Reason, err = o.text("reason"); err != nil {
		return nil, err
	}
	if q.Since, err = o.text("since_ts"); err != nil {
		return nil, err
	}
	if _, err := parseTime(q.Since); err != nil {
		return nil, at("since_ts", err)
	}
	q.extra = o.rest()
	return &q, nil
}

func decodeCycle(o *reader) (*Cycle, error) {
	var c Cycle
	var err error
	if c.CompletedAt, err = o.time("completed_at"); err != nil {
		return nil, err
	}
	if c.DurationSec, err = o.number("duration_sec"); err != nil {
		return nil, err
	}
	if c.Mode, err = o.text("mode"); err != nil {
		return nil, err
	}
	if c.Seq, err = o.count("seq"); err != nil {
		return nil, err
	}
	c.extra = o.rest()
	return &c, nil
}

// reader gives the members of one JSON object, each once.
type reader struct {
	all  members
	used []string
}

// readObject splits an object into its members and leaves their values alone.
func readObject(b []byte) (*reader, error) {
	if !json.Valid(b) {
		var v json.RawMessage
		if err := json.Unmarshal(b, &v); err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		return nil, errors.New("not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not an object")
	}
	o := &reader{}
	seen := map[string]bool{}
	for dec.More() {
		from := dec.InputOffset()
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string) // json.Valid has seen that it is one
		key := b[from:dec.InputOffset()]
		key = key[bytes.IndexByte(key, '"'):] // before it stand a comma and spaces
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, err
		}
		if seen[name] {
			return nil, fmt.Errorf("%q is there twice", name)
		}
		seen[name] = true
		o.all = append(o.all, member{name, slices.Clone(key), v})
	}
	return o, nil
}

// get returns the value of a key, nil if it is not there.
func (o *reader) get(key string) json.RawMessage {
	for _, m := range o.all {
		if m.name == key {
			o.used = append(o.used, key)
			return m.val
		}
	}
	return nil
}

// rest returns the members that nobody asked for, in their order.
func (o *reader) rest() members {
	var out members
	for _, m := range o.all {
		if !slices.Contains(o.used, m.name) {
			out = append(out, m)
		}
	}
	return out
}

func (o *reader) need(key, kind string, first string) (json.RawMessage, error) {
	v := o.get(key)
	switch {
	case v == nil:
		return nil, fmt.Errorf("%s is missing", key)
	case bytes.IndexByte([]byte(first), v[0]) < 0:
		return nil, fmt.Errorf("%s: %s is not %s", key, shown(v), kind)
	}
	return v, nil
}

// shown is a value in an error: not more of it than a person reads.
func shown(v []byte) string {
	const most = 60
	if len(v) > most {
		return string(bytes.ToValidUTF8(v[:most], nil)) + "…"
	}
	return string(v)
}

func (o *reader) text(key string) (string, error) {
	v, err := o.need(key, "a string", `"`)
	if err != nil {
		return "", err
	}
	var s string
	err = json.Unmarshal(v, &s)
	return s, at(key, err)
}

func (o *reader) boolean(key string) (bool, error) {
	v, err := o.need(key, "true or false", "tf")
	return err == nil && v[0] == 't', err
}

// count reads an integer that is not negative: digits and nothing else.
func (o *reader) count(key string) (int64, error) {
	v, err := o.need(key, "an integer from 0 on", "0123456789")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %s is not an integer from 0 to %d", key, shown(v), int64(math.MaxInt64))
	}
	return n, nil
}

func (o *reader) int(key string) (int, error) {
	n, err := o.count(key)
	if err == nil && int64(int(n)) != n {
		return 0, fmt.Errorf("%s: %d is too large", key, n)
	}
	return int(n), err
}

func (o *reader) number(key string) (float64, error) {
	v, err := o.need(key, "a number", "-0123456789")
	if err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %s is not a number that can be held", key, shown(v))
	}
	return f, nil
}

func (o *reader) time(key string) (time.Time, error) {
	s, err := o.text(key)
	if err != nil {
		return time.Time{}, err
	}
	t, err := parseTime(s)
	return t, at(key, err)
}

func (o *reader) null(key string) (bool, error) {
	v := o.get(key)
	if v == nil {
		return false, fmt.Errorf("%s is missing", key)
	}
	return v[0] == 'n', nil
}

func (o *reader) outbox(key string) ([]json.RawMessage, error) {
	v, err := o.need(key, "a list of lines", "[")
	if err != nil {
		return nil, err
	}
	var lines []json.RawMessage
	if err := json.Unmarshal(v, &lines); err != nil {
		return nil, at(key, err)
	}
	for i, l := range lines {
		var buf bytes.Buffer
		if err := json.Compact(&buf, l); err != nil {
			return nil, at(key, err)
		}
		if err := checkLine(buf.Bytes()); err != nil {
			return nil, at(fmt.Sprintf("%s[%d]", key, i), err)
		}
		lines[i] = buf.Bytes()
	}
	if len(lines) == 0 {
		return nil, nil
	}
	return lines, nil
}

// optional reads a key that may be missing.
func optional[T any](o *reader, key string, missing T, read func(string) (T, error)) (T, error) {
	if o.get(key) == nil {
		return missing, nil
	}
	return read(key)
}

// nullable reads an object that may be missing or null.
func nullable[T any](o *reader, key string, read func(*reader) (*T, error)) (*T, error) {
	v := o.get(key)
	if v == nil || v[0] == 'n' {
		return nil, nil
	}
	in, err := readObject(v)
	if err != nil {
		return nil, at(key, err)
	}
	out, err := read(in)
	return out, at(key, err)
}

func nullTime(o *reader, key string) (time.Time, error) {
	if v := o.get(key); v == nil || v[0] == 'n' {
		return time.Time{}, nil
	}
	return o.time(key)
}

// parseTime reads a time as the record holds it.
func parseTime(s string) (time.Time, error) {
	t, err := drey.ParseTime(s)
	if err != nil {
		return time.Time{}, err
	}
	if t = instant(t); !writable(t) {
		return time.Time{}, fmt.Errorf("%q is outside of what a time can say", s)
	}
	return t, nil
}
