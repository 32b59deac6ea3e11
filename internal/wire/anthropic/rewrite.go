package anthropic

import (
	"bytes"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// Rewrite lays the edits beside the body. One edit is made unasked: thinking
// that drey signed itself, from an earlier turn that another wire served, is
// cut out, since no vendor takes its signature.
func (Codec) Rewrite(body []byte, x wire.Edits) (*wire.Body, error) {
	e, err := wire.Edit(body)
	if err != nil {
		return nil, err
	}
	if x.AppendSystem != "" || x.StripLines {
		editSystem(e, x)
	}
	if bytes.Contains(body, []byte(`"`+wire.OwnSignature)) {
		if m := e.Find("messages"); m != nil {
			cutOwnThinking(e, m)
		}
	}
	if x.UserRoles {
		e.UserRoles("messages", func(role []byte, _ bool) bool { return !wire.Speaks(role) })
	}
	if x.Prefill != nil {
		prefill(e, &x)
	}
	e.Common(x)
	return e.Body(), nil
}

// editSystem strips a changing first line of the system text and appends a line
// at its end.
func editSystem(e *wire.Editor, x wire.Edits) {
	m := e.Find("system")
	if m == nil {
		if x.AppendSystem != "" {
			e.Default("system", scan.AppendString(nil, x.AppendSystem))
		}
		return
	}
	s := scan.New(m.Value)
	switch s.Kind() {
	case scan.String:
		at, text := m.At+1, m.Value[1:len(m.Value)-1]
		if x.StripLines {
			n, whole := wire.ChangingLineQuoted(m.Value)
			if whole && x.AppendSystem == "" {
				e.Remove("system")
				return
			}
			if n > 0 {
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
	case scan.Array:
		editSystemBlocks(e, m, x)
	default: // null; anything else is the provider's to refuse
		if s.Null() && x.AppendSystem != "" {
			e.Set("system", scan.AppendString(nil, x.AppendSystem))
		}
	}
}

func editSystemBlocks(e *wire.Editor, m *wire.Member, x wire.Edits) {
	if x.AppendSystem == "" && !bytes.Contains(wire.FirstItem(m.Value), []byte(`"x-`)) {
		return // nothing to strip: what may be long is not read
	}
	s := scan.New(m.Value)
	var spans [][2]int
	for range s.Items() {
		from, to := s.Span()
		spans = append(spans, [2]int{m.At + from, m.At + to})
	}
	left := len(spans)
	if x.StripLines && left > 0 {
		block := scan.New(m.Value[spans[0][0]-m.At : spans[0][1]-m.At])
		for key := range block.Fields() {
			if string(key) != "text" {
				continue
			}
			quoted := block.Quoted()
			if quoted == nil {
				break
			}
			switch n, whole := wire.ChangingLineQuoted(quoted); {
			case whole && left == 1 && x.AppendSystem == "":
				e.Remove("system")
				return
			case whole:
				e.CutItem(spans, 0)
				left--
			case n > 0:
				at := spans[0][0] + block.Offset() - len(quoted) + 1
				e.Replace(at, at+n, nil)
			}
			break
		}
	}
	if x.AppendSystem == "" {
		return
	}
	block := appendText(nil, x.AppendSystem, nil)
	if left > 0 {
		block = append([]byte{','}, block...)
	}
	end := m.At + 1
	if len(spans) > 0 {
		end = spans[len(spans)-1][1]
	}
	e.Replace(end, end, block)
}

// cutOwnThinking takes the thinking blocks that drey signed out of the
// messages.
func cutOwnThinking(e *wire.Editor, m *wire.Member) {
	s := scan.New(m.Value)
	for range s.Items() {
		for key := range s.Fields() {
			if string(key) != "content" {
				continue
			}
			var spans [][2]int
			var own []bool
			for range s.Items() {
				bookmark := s
				from, to := s.Span()
				spans = append(spans, [2]int{m.At + from, m.At + to})
				own = append(own, isOwnThinking(bookmark))
			}
			cutItems(e, spans, own)
		}
	}
}

func isOwnThinking(s scan.Scanner) bool {
	thinking, own := false, false
	for key := range s.Fields() {
		switch string(key) {
		case "type":
			thinking = string(s.Word()) == "thinking"
		case "signature":
			own = bytes.HasPrefix(s.Word(), []byte(wire.OwnSignature))
		}
	}
	return thinking && own
}

// cutItems takes the marked items out of a list. A turn must not become empty,
// so the last one left gives its place to a text.
func cutItems(e *wire.Editor, spans [][2]int, cut []bool) {
	kept := -1
	for i := range spans {
		if !cut[i] {
			kept = i
		}
	}
	for i, sp := range spans {
		switch {
		case !cut[i]:
		case kept < 0 && i == len(spans)-1:
			e.Replace(sp[0], sp[1], appendText(nil, "[thinking omitted]", nil))
		case i < kept || kept < 0:
			e.Replace(sp[0], spans[i+1][0], nil)
		default:
			e.Replace(spans[i-1][1], sp[1], nil)
		}
	}
}

// appendText appends a text block.
func appendText(dst []byte, text string, cache []byte) []byte {
	dst = append(dst, `{"type":"text","text":`...)
	return appendCache(scan.AppendString(dst, text), cache)
}

// appendCache closes a block, with its cache_control if it has one.
func appendCache(dst, cache []byte) []byte {
	if cache != nil {
		dst = append(append(dst, `,"cache_control":`...), cache...)
	}
	return append(dst, '}')
}
