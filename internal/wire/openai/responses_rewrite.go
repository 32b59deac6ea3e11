package openai

import (
	"bytes"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// Rewrite lays the edits beside a Responses request. One edit is made unasked:
// reasoning that drey signed itself, from an earlier turn that another wire
// served, is cut out, since no vendor can read it.
func (Responses) Rewrite(body []byte, x wire.Edits) (*wire.Body, error) {
	e, err := wire.Edit(body)
	if err != nil {
		return nil, err
	}
	if x.AppendSystem != "" || x.StripLines {
		editInstructions(e, x)
	}
	if bytes.Contains(body, []byte(`"`+wire.OwnSignature)) {
		if m := e.Find("input"); m != nil {
			cutOwnReasoning(e, m)
		}
	}
	if x.Prefill != nil {
		e.Prefill(x.Prefill, responsesPrefill)
	}
	e.Common(x)
	return e.Body(), nil
}

// editInstructions strips a changing first line of the instructions and appends a
// line at their end.
func editInstructions(e *wire.Editor, x wire.Edits) {
	m := e.Find("instructions")
	if m == nil || m.Value[0] != '"' { // null; anything else is the provider's to refuse
		if x.AppendSystem != "" && (m == nil || string(m.Value) == "null") {
			e.Set("instructions", scan.AppendString(nil, x.AppendSystem))
		}
		return
	}
	at, text := m.At+1, m.Value[1:len(m.Value)-1]
	if x.StripLines {
		if n, _ := wire.ChangingLineQuoted(m.Value); n > 0 {
			e.Replace(at, at+n, nil)
			at, text = at+n, text[n:]
		}
	}
	if x.AppendSystem == "" {
		return
	}
	line := scan.AppendString(nil, x.AppendSystem)
	line = line[1 : len(line)-1]
	if len(text) > 0 {
		line = append([]byte(`\n`), line...)
	}
	e.Replace(at+len(text), at+len(text), line)
}

// cutOwnReasoning takes the reasoning items that drey signed out of the input.
func cutOwnReasoning(e *wire.Editor, m *wire.Member) {
	s := scan.New(m.Value)
	if s.Kind() != scan.Array {
		return
	}
	var spans [][2]int
	var cut []int
	for i := range s.Items() {
		probe := s
		from, to := s.Span()
		spans = append(spans, [2]int{m.At + from, m.At + to})
		if isOwnReasoning(probe) {
			cut = append(cut, i)
		}
	}
	// Runs of cut items go with the comma before them, or behind them at the
	// head of the list.
	for n := 0; n < len(cut); {
		first, last := cut[n], cut[n]
		for n++; n < len(cut) && cut[n] == last+1; n++ {
			last = cut[n]
		}
		switch {
		case first > 0:
			e.Replace(spans[first-1][1], spans[last][1], nil)
		case last+1 < len(spans):
			e.Replace(spans[0][0], spans[last+1][0], nil)
		default:
			e.Replace(spans[0][0], spans[last][1], nil)
		}
	}
}

func isOwnReasoning(s scan.Scanner) bool {
	reasoning, own := false, false
	for key := range s.Fields() {
		switch string(key) {
		case "type":
			reasoning = string(s.Word()) == itemReasoning
		case "encrypted_content":
			own = bytes.HasPrefix(s.Word(), []byte(wire.OwnSignature))
		}
	}
	return reasoning && own
}
