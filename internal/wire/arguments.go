package wire

import (
	"bytes"
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
	return append(scan.AppendString([]byte(rawPrefix), text), '}')
}

// arguments are those of a call in a stream, until they show what they are.
type arguments struct {
	text string
	odd  bool // they are no JSON object
}

// add takes more of them and reports whether they begin as an object does.
func (a *arguments) add(text string) bool {
	if a.text += text; a.odd {
		return false
	}
	const space = " \t\r\n"
	rest, ok := strings.CutPrefix(strings.TrimLeft(a.text, space), "{")
	if !ok {
		a.odd = strings.Trim(a.text, space) != ""
		return false
	}
	if rest = strings.TrimLeft(rest, space); rest == "" {
		return false
	}
	a.odd = rest[0] != '"' && rest[0] != '}'
	return !a.odd
}

// function reports whether a call's arguments are an object: those of the forms
// that one wire alone has may be anything.
func (b *Back) function(call *Block) bool {
	return b.Aliases[call.Name].Form == FunctionForm && (call.Alias == nil || call.Alias.Form == FunctionForm)
}

// mend returns arguments that are no JSON object as one.
func (b *Back) mend(text string) json.RawMessage {
	out := Arguments(text)
	if b.Lenient != nil && bytes.HasPrefix(out, []byte(rawPrefix)) {
		if object, ok := b.Lenient(text); ok {
			return object
		}
	}
	return out
}

// rawPrefix begins what Arguments makes of a text.
const rawPrefix = `{"_raw":`

// whole mends what a whole answer's decoder kept as a text.
func (b *Back) whole(input json.RawMessage) json.RawMessage {
	if b.Lenient == nil || !bytes.HasPrefix(input, []byte(rawPrefix)) {
		return input
	}
	if s := scan.New(input[len(rawPrefix) : len(input)-1]); s.Kind() == scan.String {
		if text, _ := s.Text(); s.End() == nil {
			return b.mend(text)
		}
	}
	return input
}

// argue takes an event of a call whose arguments are held back.
func (b *backward) argue(ev Event) {
	switch ev.Kind {
	case Delta:
		if b.args.add(ev.Text) {
			ev.Text, b.args = b.args.text, nil
			b.out = append(b.out, ev)
		}
	case BlockStop:
		if b.args.text != "" {
			b.out = append(b.out, Event{Kind: Delta, Text: string(b.mend(b.args.text))})
		}
		b.out = append(b.out, ev)
	}
}
