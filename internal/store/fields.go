package store

import (
	"encoding/json"
	"fmt"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
)

// bare is how an event begins that has nothing but fields.
var bare = func() int {
	b, err := drey.Event{}.AppendJSON(nil)
	if err != nil {
		panic(err) // it has nothing that could be refused
	}
	return len(b) - len("}")
}()

// EncodeFields writes an event's fields as one JSON object in their order, nil
// if there are none. It is what drey.Event.AppendJSON writes without the
// envelope, so that an event reads the same after the store as before it. A
// field with a key of the envelope, or a value that is no JSON, is an error.
func EncodeFields(fields []drey.Field) (json.RawMessage, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	b, err := drey.Event{Fields: fields}.AppendJSON(make([]byte, 0, 256))
	if err != nil {
		return nil, err
	}
	b = b[bare:]
	b[0] = '{' // it was the comma behind the envelope
	return b, nil
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
