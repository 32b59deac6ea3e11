package drey

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Level says how much an event matters to a person.
type Level uint8

// The levels, in rising order. The zero value is Info, because that is the
// level of every event for which a contract names none.
const (
	Info Level = iota
	Debug
	Warn
	ErrorLevel
)

var levelNames = [...]string{"info", "debug", "warn", "error"}

// String returns the level's name.
func (l Level) String() string { return nameOf(levelNames[:], l, "level") }

// MarshalText writes the level's name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (l *Level) UnmarshalText(b []byte) error { return parseName(levelNames[:], l, b, "level") }

// Field is one fact of an event beyond the envelope.
type Field struct {
	Key   string // snake_case, with the unit in the name where there is one
	Value any    // what encoding/json can write; durations are numbers with their unit in Key
}

// F returns a Field; it keeps lists of them short to read.
func F(key string, value any) Field { return Field{key, value} }

// Event is one thing that happened, in the one envelope of the house. The
// journal row, the log line, the metric and the live stream are four readers
// of one Event value, so they cannot disagree.
//
// An Event is a value; whoever receives one must not change Fields.
type Event struct {
	Seq       Seq       // set by the journal; 0 for telemetry
	At        time.Time // when it happened
	Name      string    // the contract's word: "self-healing-exclude", "state_transition"
	Level     Level
	Machine   string // whose event it is: "provider", "lifecycle", "config" …
	ID        string // which one of them
	From, To  string // if a state moved
	Trigger   string // the event that moved it
	Cause     Seq    // the journaled event that caused this one; 0 if none
	RequestID RequestID
	Fields    []Field // flat, in the contract's order
}

// envelope holds the keys of MarshalJSON in their order; a Field of one of
// these names would be ambiguous and is refused.
var envelope = map[string]bool{
	"seq": true, "ts": true, "event": true, "level": true, "machine": true, "id": true,
	"from": true, "to": true, "trigger": true, "cause": true, "request_id": true,
}

// MarshalJSON writes the envelope's keys in order, leaves out empty ones, and
// adds the fields flat behind them. There is no HTML escaping.
func (e Event) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	put := func(key string, v any) error {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		b.WriteString(key)
		b.WriteString(`":`)
		return writeJSON(&b, v)
	}
	var err error
	add := func(present bool, key string, v any) {
		if present && err == nil {
			err = put(key, v)
		}
	}
	add(e.Seq != 0, "seq", e.Seq)
	add(true, "ts", FormatTime(e.At))
	add(true, "event", e.Name)
	add(true, "level", e.Level)
	add(e.Machine != "", "machine", e.Machine)
	add(e.ID != "", "id", e.ID)
	add(e.From != "", "from", e.From)
	add(e.To != "", "to", e.To)
	add(e.Trigger != "", "trigger", e.Trigger)
	add(e.Cause != 0, "cause", e.Cause)
	add(e.RequestID != "", "request_id", e.RequestID)
	for _, f := range e.Fields {
		if envelope[f.Key] {
			return nil, fmt.Errorf("event %s: field %q is a key of the envelope", e.Name, f.Key)
		}
		add(true, f.Key, f.Value)
	}
	b.WriteByte('}')
	return b.Bytes(), err
}

// UnmarshalJSON reads what MarshalJSON wrote. The fields come back in their
// order, each Value as a json.RawMessage.
func (e *Event) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("event: not an object")
	}
	*e = Event{}
	var ts string
	known := map[string]any{
		"seq": &e.Seq, "ts": &ts, "event": &e.Name, "level": &e.Level, "machine": &e.Machine,
		"id": &e.ID, "from": &e.From, "to": &e.To, "trigger": &e.Trigger, "cause": &e.Cause,
		"request_id": &e.RequestID,
	}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		if dst := known[key]; dst != nil {
			if err := dec.Decode(dst); err != nil {
				return fmt.Errorf("event: %s: %w", key, err)
			}
			continue
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return fmt.Errorf("event: %s: %w", key, err)
		}
		e.Fields = append(e.Fields, Field{key, raw})
	}
	if ts == "" {
		return nil
	}
	at, err := ParseTime(ts)
	e.At = at
	return err
}

func writeJSON(b *bytes.Buffer, v any) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // Encode ends with a newline
	return nil
}
