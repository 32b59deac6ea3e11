package drey

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
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
func (l Level) String() string { return NameOf(levelNames[:], l, "level") }

// MarshalText writes the level's name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (l *Level) UnmarshalText(b []byte) error { return ParseName(levelNames[:], l, b, "level") }

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
func (e Event) MarshalJSON() ([]byte, error) { return e.AppendJSON(nil) }

// AppendJSON appends what MarshalJSON returns; on an error it appends nothing.
// It is there because every request has a handful of events.
func (e Event) AppendJSON(dst []byte) ([]byte, error) {
	b := append(dst, '{')
	if e.Seq != 0 {
		b = strconv.AppendUint(appendKey(b, "seq"), uint64(e.Seq), 10)
	}
	b = append(appendKey(b, "ts"), '"')
	b = append(e.At.UTC().AppendFormat(b, timeLayout), '"')
	b = appendString(appendKey(b, "event"), e.Name)
	b = appendString(appendKey(b, "level"), e.Level.String())
	for _, f := range [...]struct{ key, value string }{
		{"machine", e.Machine}, {"id", e.ID}, {"from", e.From}, {"to", e.To}, {"trigger", e.Trigger},
	} {
		if f.value != "" {
			b = appendString(appendKey(b, f.key), f.value)
		}
	}
	if e.Cause != 0 {
		b = strconv.AppendUint(appendKey(b, "cause"), uint64(e.Cause), 10)
	}
	if e.RequestID != "" {
		b = appendString(appendKey(b, "request_id"), string(e.RequestID))
	}
	for _, f := range e.Fields {
		if envelope[f.Key] {
			return dst, fmt.Errorf("event %s: field %q is a key of the envelope", e.Name, f.Key)
		}
		var err error
		if b, err = appendValue(appendKey(b, f.Key), f.Value); err != nil {
			return dst, fmt.Errorf("event %s: field %s: %w", e.Name, f.Key, err)
		}
	}
	return append(b, '}'), nil
}

func appendKey(b []byte, key string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return append(appendString(b, key), ':')
}

// appendValue writes the values that most fields have, and leaves the rest to
// encoding/json.
func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case string:
		return appendString(b, v), nil
	case ProviderID:
		return appendString(b, string(v)), nil
	case ProfileID:
		return appendString(b, string(v)), nil
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case Class:
		return appendString(b, v.String()), nil
	}
	buf := bytes.NewBuffer(b)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return b, err
	}
	return buf.Bytes()[:buf.Len()-1], nil // Encode ends with a newline
}

// appendString writes a JSON string as encoding/json does without HTML
// escaping.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\b':
			b = append(b, '\\', 'b')
		case c == '\f':
			b = append(b, '\\', 'f')
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && n == 1:
				b = append(b, `\ufffd`...)
			case r == '\u2028', r == '\u2029': // line ends to JavaScript
				b = append(b, '\\', 'u', '2', '0', '2', hex[r&15])
			default:
				b = append(b, s[i:i+n]...)
			}
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
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
