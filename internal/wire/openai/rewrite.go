package openai

import (
	"slices"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

const askUsage = `{"include_usage":true}`

// Rewrite lays the edits beside a chat request.
func (Chat) Rewrite(body []byte, x wire.Edits) (*wire.Body, error) {
	e, err := wire.Edit(body)
	if err != nil {
		return nil, err
	}
	if x.MaxTokensKey != "" {
		e.Rename("max_tokens", x.MaxTokensKey)
		e.Rename("max_completion_tokens", x.MaxTokensKey)
	}
	if x.IncludeUsage {
		// One field, whoever asks for it.
		x.Extra = slices.DeleteFunc(slices.Clone(x.Extra), func(f wire.ExtraField) bool { return f.Key == "stream_options" })
	}
	if x.UserRoles {
		e.UserRoles("messages", func(role []byte, led bool) bool { return led && !wire.Speaks(role) })
	}
	if x.Prefill != nil {
		e.Prefill(x.Prefill, chatPrefill)
	}
	e.Common(x)
	streamOptions(e, x)
	if x.AppendSystem != "" || x.StripLines {
		editSystem(e, body, x)
	}
	return e.Body(), nil
}

// streamOptions asks for the usage chunk of a stream, and takes the options
// away from what is no stream: OpenAI refuses them there.
func streamOptions(e *wire.Editor, x wire.Edits) {
	streams := false
	if m := e.Find("stream"); m != nil {
		streams = string(m.Value) == "true"
	}
	if x.Stream != nil {
		if streams = *x.Stream; !streams {
			e.Remove("stream_options")
		}
	}
	if !x.IncludeUsage || !streams || slices.Contains(x.Drop, "stream_options") {
		return
	}
	m := e.Find("stream_options")
	if m == nil {
		e.Set("stream_options", []byte(askUsage))
		return
	}
	s := scan.New(m.Value)
	if s.Kind() != scan.Object {
		e.Set("stream_options", []byte(askUsage))
		return
	}
	asked, empty := false, true
	for key := range s.Fields() {
		empty = false
		if string(key) == "include_usage" {
			from, to := s.Span()
			e.Replace(m.At+from, m.At+to, []byte("true"))
			asked = true
		}
	}
	switch {
	case asked:
	case empty:
		e.Set("stream_options", []byte(askUsage))
	default:
		e.Replace(m.At+1, m.At+1, []byte(`"include_usage":true,`))
	}
}

// place is where a system message's text stands in the body.
type place struct {
	at, end int      // the content's value
	quoted  []byte   // the content, if it is a string
	list    bool     // the content is a list
	parts   [][2]int // its parts, if it is a list
	texts   [][2]int // the text of each part, with quotes; zero if it has none
}

// editSystem strips the changing line off the first leading system message and
// adds a line to the last one.
func editSystem(e *wire.Editor, body []byte, x wire.Edits) {
	m := e.Find("messages")
	if m == nil {
		return
	}
	s := scan.New(m.Value)
	if s.Kind() != scan.Array {
		return
	}
	if x.AppendSystem == "" && !changes(m.Value) {
		return
	}
	open := m.At + s.Offset() + 1
	var spans [][2]int
	var leading []place
	inLead := true
	for range s.Items() {
		probe := s
		from, to := s.Span()
		spans = append(spans, [2]int{m.At + from, m.At + to})
		if !inLead {
			continue
		}
		p, ok := systemPlace(&probe, m.At)
		if inLead = ok; ok {
			leading = append(leading, p)
		}
	}
	line := scan.AppendString(nil, x.AppendSystem)
	line = line[1 : len(line)-1]
	if len(leading) == 0 {
		if len(line) > 0 {
			msg := append(append([]byte(`{"role":"system","content":"`), line...), `"}`...)
			if len(spans) > 0 {
				msg = append(msg, ',')
			}
			e.Replace(open, open, msg)
		}
		return
	}
	if x.StripLines && strip(e, body, &leading[0], spans, len(leading) == 1, line) {
		return // and the line stands in the place of what was stripped
	}
	if len(line) > 0 {
		appendLine(e, leading[len(leading)-1], line)
	}
}

// changes reports whether the first of the messages is a system's that begins
// with a changing line: most are not, and then a long conversation need not be
// read for it.
func changes(messages []byte) bool {
	first := wire.FirstItem(messages)
	s := scan.New(first)
	p, ok := systemPlace(&s, 0)
	if !ok {
		return false
	}
	text := p.quoted
	if len(p.texts) > 0 {
		text = first[p.texts[0][0]:p.texts[0][1]]
	}
	if len(text) < 2 {
		return false
	}
	n, _ := wire.ChangingLineQuoted(text)
	return n > 0
}

// systemPlace reads a message and says where its text stands; ok is false if it
// is not of a system or developer.
func systemPlace(s *scan.Scanner, base int) (p place, ok bool) {
	for key := range s.Fields() {
		switch string(key) {
		case "role":
			role, _ := s.Text()
			ok = role == "system" || role == "developer"
		case "content":
			from := *s
			a, b := s.Span()
			p = place{at: base + a, end: base + b}
			switch from.Kind() {
			case scan.String:
				p.quoted = from.Quoted()
			case scan.Array:
				p.list = true
				for range from.Items() {
					part := from
					a, b := from.Span()
					p.parts = append(p.parts, [2]int{base + a, base + b})
					var text [2]int
					for key := range part.Fields() {
						if string(key) == "text" && part.Kind() == scan.String {
							a, b := part.Span()
							text = [2]int{base + a, base + b}
						}
					}
					p.texts = append(p.texts, text)
				}
			}
		}
	}
	return p, ok
}

// strip takes the changing line off the front of the first system message.
// done says that the added line took its place, where nothing else was left.
func strip(e *wire.Editor, body []byte, p *place, spans [][2]int, alone bool, line []byte) (done bool) {
	text := [2]int{p.at, p.end}
	switch {
	case p.quoted != nil:
	case len(p.parts) > 0 && p.texts[0] != [2]int{}:
		text = p.texts[0]
	default:
		return false
	}
	n, whole := wire.ChangingLineQuoted(body[text[0]:text[1]])
	switch {
	case n == 0:
	case !whole:
		e.Replace(text[0]+1, text[0]+1+n, nil)
	case len(p.parts) > 1:
		e.CutItem(p.parts, 0)
	case alone && len(line) > 0:
		e.Replace(text[0]+1, text[1]-1, line)
		return true
	case len(spans) == 1:
		e.Replace(text[0]+1, text[1]-1, nil) // a list without messages would be refused
	default:
		e.CutItem(spans, 0)
	}
	return false
}

// appendLine adds a line at the end of a system message: to its text, to its
// last part if that is text, else as a part of its own.
func appendLine(e *wire.Editor, p place, line []byte) {
	inside := func(from, to int) {
		with := line
		if to-from > 2 {
			with = append([]byte(`\n`), line...)
		}
		e.Replace(to-1, to-1, with)
	}
	last := len(p.parts) - 1
	switch {
	case p.quoted != nil:
		inside(p.at, p.end)
	case last >= 0 && p.texts[last] != [2]int{}:
		inside(p.texts[last][0], p.texts[last][1])
	case p.list:
		part := append(append([]byte(`{"type":"text","text":"`), line...), `"}`...)
		if last >= 0 {
			part = append([]byte{','}, part...)
		}
		e.Replace(p.end-1, p.end-1, part)
	case p.end > p.at: // null
		e.Replace(p.at, p.end, append(append([]byte{'"'}, line...), '"'))
	}
}
