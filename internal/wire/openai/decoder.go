package openai

import (
	"strings"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// decoder reads chunks into neutral events.
//
// Chunks may interleave what the neutral form keeps apart: text between the
// fragments of a call, fragments of two calls in turn. So there is one block
// open at a time, the head of a queue. What belongs to another block closes the
// head, unless the head is a call whose arguments are not whole yet: then it
// waits behind it, in order. Nothing else is ever held back, but the end: usage
// may come behind the finish_reason.
type decoder struct {
	id      string
	model   string
	created int64

	started  bool
	queue    []*segment // the head is the block that is open, if open
	open     bool
	spoke    bool       // some block was told
	calls    []*segment // every call so far, in order
	blank    string     // text that says nothing, until some that does follows it
	ended    bool       // a finish_reason was there
	finished bool       // Finish was told
	failed   bool
	stop     wire.Stop
	odd      string // a finish_reason that we do not know
	usage    *wire.Usage
}

// segment is one block to be.
type segment struct {
	kind wire.BlockKind

	// A call.
	index  int
	id     string
	name   string
	custom bool // of a custom tool: it brings text, which becomes a string in arguments
	json   tracker
	said   bool // its arguments have begun

	held []byte // what came while the segment waited
}

// waits reports whether the segment may still get more before the next one
// begins: a call without a name, or with arguments that are not whole. The text
// of a custom call does not tell where it ends.
func (g *segment) waits() bool {
	return g.kind == wire.ToolUse && (g.name == "" || !g.custom && !g.json.whole())
}

// take returns what a fragment adds to the arguments.
func (g *segment) take(args string) string {
	begun := g.said
	g.said = true
	if !g.custom {
		g.json.add(args)
		return args
	}
	quoted := scan.AppendString(nil, args)
	text := string(quoted[1 : len(quoted)-1])
	if !begun {
		text = `{"input":"` + text
	}
	return text
}

// rest is what closes the arguments. None are an empty object, which is what
// they mean.
func (g *segment) rest() string {
	switch {
	case g.kind != wire.ToolUse, g.said && !g.custom:
		return ""
	case g.said:
		return `"}`
	case g.custom:
		return `{"input":""}`
	default:
		return "{}"
	}
}

// Decode reads one chunk.
func (d *decoder) Decode(dst []wire.Event, ev sse.Event) ([]wire.Event, error) {
	if len(ev.Data) == 0 || d.finished || d.failed {
		return dst, nil
	}
	if string(ev.Data) == endMark {
		if !d.started {
			return dst, d.fail(&wire.AnswerError{Kind: wire.Malformed, Msg: "the stream ended before it began"})
		}
		return d.finish(dst)
	}
	s := scan.New(ev.Data)
	if s.Kind() != scan.Object {
		return dst, d.malformed(ev, noObject())
	}
	// Read whole before anything of it is told: a frame that breaks in its
	// middle tells nothing.
	var c chunk
	c.read(&s, ev.Name)
	if err := s.End(); err != nil {
		return dst, d.malformed(ev, bad(err))
	}
	if c.err != nil {
		return dst, d.fail(c.err)
	}
	return d.take(dst, &c)
}

func (d *decoder) fail(err *wire.AnswerError) error {
	d.failed = true
	return err
}

// malformed tells of a frame that is none. What breaks off behind the end of
// the answer, most likely its end mark, is nothing.
func (d *decoder) malformed(ev sse.Event, err *wire.AnswerError) error {
	if ev.Partial && d.ended {
		return nil
	}
	return d.fail(err)
}

// take tells what a chunk means.
func (d *decoder) take(dst []wire.Event, c *chunk) ([]wire.Event, error) {
	if c.usage != nil {
		u := *c.usage
		if d.usage != nil {
			u = u.Max(*d.usage)
		}
		d.usage = &u
	}
	if c.choices > 0 && !d.started {
		d.started = true
		d.id, d.model, d.created = c.id, c.model, c.created
		dst = append(dst, wire.Event{Kind: wire.Start, ID: c.id, Model: c.model, Created: c.created, Usage: d.usage})
	} else if c.usage != nil && d.started {
		dst = append(dst, wire.Event{Kind: wire.UsageReport, Usage: d.usage})
	}
	if !d.ended {
		dst = d.piece(dst, wire.Reasoning, c.reasoning)
		dst = d.piece(dst, wire.Text, c.text)
		if c.refusal != "" {
			dst = d.piece(dst, wire.Text, c.refusal)
			d.stop = wire.StopRefusal
		}
		for i := range c.calls {
			dst = d.call(dst, &c.calls[i])
		}
		if c.ended {
			d.ended, d.odd = true, c.odd
			if d.stop != wire.StopRefusal {
				d.stop = c.stop
			}
		}
	}
	if d.ended && c.choices == 0 && c.usage != nil {
		return d.finish(dst) // nothing is missing any more
	}
	return dst, nil
}

// piece tells more text or reasoning. No block begins with blank text alone:
// models put line breaks around their calls, and a block of these would be
// refused when an agent sends it back.
func (d *decoder) piece(dst []wire.Event, kind wire.BlockKind, text string) []wire.Event {
	if text == "" {
		return dst
	}
	if n := len(d.queue); n == 0 || d.queue[n-1].kind != kind {
		if kind == wire.Text && strings.Trim(text, " \t\r\n") == "" {
			d.blank += text
			return dst
		}
		if kind == wire.Text {
			text = d.blank + text
		}
		d.blank = ""
		d.queue = append(d.queue, &segment{kind: kind})
	}
	dst = d.advance(dst)
	last := len(d.queue) - 1
	if last == 0 && d.open {
		return append(dst, wire.Event{Kind: wire.Delta, Text: text})
	}
	d.queue[last].held = append(d.queue[last].held, text...)
	return dst
}

// call tells a fragment of a call.
func (d *decoder) call(dst []wire.Event, f *fragment) []wire.Event {
	g := d.find(f)
	if g == nil {
		g = &segment{kind: wire.ToolUse, index: f.index}
		if !f.indexed {
			g.index = len(d.calls)
		}
		d.calls = append(d.calls, g)
		d.blank = ""
		d.queue = append(d.queue, g)
	}
	if g.id == "" {
		g.id = f.id
	}
	if g.name == "" {
		g.name = f.name
	}
	g.custom = g.custom || f.custom && !g.said
	dst = d.advance(dst)
	if f.args != "" && !g.json.whole() {
		text := g.take(f.args)
		if d.open && d.queue[0] == g {
			dst = append(dst, wire.Event{Kind: wire.Delta, Text: text})
		} else {
			g.held = append(g.held, text...)
		}
	}
	return d.advance(dst)
}

// find returns the call that a fragment continues, or nil if it begins one.
//
// The index tells, where there is one. Backends that give every call index 0
// or none at all are told apart by what they give: another id with a name, or a
// name once the arguments before are whole.
func (d *decoder) find(f *fragment) *segment {
	for i := len(d.calls) - 1; i >= 0; i-- {
		g := d.calls[i]
		switch {
		case f.indexed && g.index != f.index:
			continue
		case f.name == "" || g.name == "":
		case f.id != "" && g.id != "" && f.id != g.id:
			return nil
		case g.json.whole() && (f.id == "" || f.id != g.id):
			return nil
		}
		return g
	}
	return nil
}

// advance opens the head of the queue as soon as it can be, and closes it as
// soon as another block waits and the head waits for nothing more.
func (d *decoder) advance(dst []wire.Event) []wire.Event {
	for len(d.queue) > 0 {
		g := d.queue[0]
		if !d.open {
			if g.kind == wire.ToolUse && g.name == "" {
				return dst
			}
			dst = d.begin(dst, g)
		}
		if len(d.queue) == 1 || g.waits() {
			return dst
		}
		dst = d.end(dst)
	}
	return dst
}

// begin opens the head and tells what it held.
func (d *decoder) begin(dst []wire.Event, g *segment) []wire.Event {
	b := wire.Block{Kind: g.kind}
	if g.kind == wire.ToolUse {
		if g.id == "" {
			for i, c := range d.calls {
				if c == g {
					g.id = madeID(d.id, d.created, i)
				}
			}
		}
		b.ID, b.Name = g.id, g.name
		if g.custom {
			b.Alias = &wire.Alias{Name: g.name, Form: wire.CustomForm}
		}
	}
	d.open, d.spoke = true, true
	dst = append(dst, wire.Event{Kind: wire.BlockStart, Block: b})
	if len(g.held) > 0 {
		dst = append(dst, wire.Event{Kind: wire.Delta, Text: string(g.held)})
		g.held = nil
	}
	return dst
}

// end closes the head.
func (d *decoder) end(dst []wire.Event) []wire.Event {
	if rest := d.queue[0].rest(); rest != "" {
		dst = append(dst, wire.Event{Kind: wire.Delta, Text: rest})
	}
	d.queue, d.open = d.queue[1:], false
	return append(dst, wire.Event{Kind: wire.BlockStop})
}

// finish closes what is left and tells the end.
func (d *decoder) finish(dst []wire.Event) ([]wire.Event, error) {
	if d.blank != "" && !d.spoke {
		// The whole answer is blank; it is told as it is.
		d.queue = append(d.queue, &segment{kind: wire.Text, held: []byte(d.blank)})
	}
	for len(d.queue) > 0 {
		g := d.queue[0]
		if g.kind == wire.ToolUse && g.name == "" {
			return dst, d.fail(&wire.AnswerError{Kind: wire.Malformed, Msg: "a tool call without a name"})
		}
		if !d.open {
			dst = d.begin(dst, g)
		}
		dst = d.end(dst)
	}
	d.finished = true
	return append(dst, wire.Event{Kind: wire.Finish, Stop: settle(d.stop, len(d.calls) > 0), Odd: d.odd, Usage: d.usage}), nil
}

// Close ends an answer that had its finish_reason; any other was cut.
func (d *decoder) Close(dst []wire.Event) ([]wire.Event, error) {
	switch {
	case d.finished, d.failed:
		return dst, nil
	case d.ended:
		return d.finish(dst)
	}
	return dst, d.fail(cutError())
}

// tracker follows the arguments of a call just closely enough to know when
// they are whole: when the first bracket is closed.
type tracker struct {
	depth   int
	begun   bool
	inText  bool
	escaped bool
	done    bool
}

func (t *tracker) whole() bool { return t.done }

func (t *tracker) add(s string) {
	for i := 0; i < len(s) && !t.done; i++ {
		c := s[i]
		switch {
		case t.escaped:
			t.escaped = false
		case t.inText:
			t.escaped = c == '\\'
			t.inText = c != '"'
		case c == '"':
			t.inText = true
		case c == '{', c == '[':
			t.depth++
			t.begun = true
		case c == '}', c == ']':
			t.depth--
			t.done = t.begun && t.depth <= 0
		}
	}
}
