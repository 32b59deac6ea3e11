package wire

import (
	"encoding/json"
	"strings"

	"github.com/dreyhq/drey/internal/wire/scan"
)

// Arguments turns the arguments of a tool call, as a model wrote them, into the
// JSON object that the neutral form wants. An object stays byte for byte;
// nothing, or null, becomes {}; what is no object is kept as {"_raw": "…"}, so that
// nothing that a model said is lost.
func Arguments(text string) json.RawMessage {
	trimmed := strings.Trim(text, " \t\r\n")
	if trimmed == "" || trimmed == "null" {
		return json.RawMessage("{}")
	}
	if trimmed[0] == '{' {
		raw := json.RawMessage(trimmed)
		s := scan.New(raw)
		s.Skip()
		if s.End() == nil {
			return raw
		}
	}
	return append(scan.AppendString([]byte(`{"_raw":`), text), '}')
}
