package store

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
)

// envelope holds the keys that drey.Event.MarshalJSON writes itself.
var envelope = map[string]bool{
	"seq": true, "ts": true, "event": true, "level": true, "machine": true, "id": true,
	"from": true, "to": true, "trigger": true, "cause": true, "request_id": true,
}

// EncodeFields writes an event's fields as one JSON object in their order, nil
// if there are none. Each value is byte for byte what drey.Event.MarshalJSON
// writes, so that an event reads the same after the store as before it. A field
// with a key of the envelope, or a value that is no JSON, is an error.
func EncodeFields(fields []drey.Field) (json.RawMessage, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i, f := range fields {
		if envelope[f.Key] {
			return nil, fmt.Errorf("field %q is a key of the envelope", f.Key)
		}
		b.WriteByte("{,"[min(i, 1)])
		if err := enc.Encode(f.Key); err != nil {
			return nil, err
		}
		b.Bytes()[b.Len()-1] = ':' // Encode ends with a newline
		if err := enc.Encode(f.Value); err != nil {
			return nil, fmt.Errorf("field %q: %w", f.Key, err)
		}
		b.Truncate(b.Len() - 1)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// DecodeFields reads what EncodeFields wrote. Each Value is a json.RawMessage
// of its own memory; nil gives no fields.
func DecodeFields(raw json.RawMessage) ([]drey.Field, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	if !gjson.ValidBytes(raw) || raw[0] != '{' {
		return nil, fmt.Errorf("fields of an event are no JSON object")
	}
	var out []drey.Field
	gjson.ParseBytes(raw).ForEach(func(key, value gjson.Result) bool {
		out = append(out, drey.Field{Key: key.String(), Value: json.RawMessage(value.Raw)})
		return true
	})
	return out, nil
}
