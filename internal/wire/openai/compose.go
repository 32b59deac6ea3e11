package openai

import (
	"slices"
	"strconv"
	"strings"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// turn is one message of a chat request.
type turn struct {
	role      string
	name      string
	callID    string
	parts     []*wire.Block // Text, Image, Document
	reasoning []*wire.Block
	calls     []*wire.Block
}

// composer lays a neutral conversation out as chat messages.
type composer struct {
	to    wire.Target
	enc   *wire.Encoded
	merge bool // consecutive turns of one role become one
	parts bool // a result may hold parts: nothing of it is carried on
	own   bool // encrypted reasoning may go back: it came from this wire

	turns   []turn
	names   map[string]string        // of the tool, by the id of its call
	placed  map[*wire.Block]bool     // results that stand behind their call
	carried []*wire.Block            // out of results, for the next user turn
	results map[string][]*wire.Block // scratch of place
}

// compose fills c.turns.
func (c *composer) compose(r *wire.Request) {
	c.turns = make([]turn, 0, len(r.Messages)+2)
	c.system(r.System)
	for i := range r.Messages {
		m := &r.Messages[i]
		switch m.Role {
		case wire.Assistant:
			c.flush()
			c.assistant(m, r.Messages[i+1:])
		case wire.System:
			role := "system"
			if c.to.Price != drey.Paid {
				// Moving it to the front would void the provider's prefix
				// cache; the templates of local models refuse it here.
				role = "user"
			}
			c.turn(role, m)
		default:
			c.turn("user", m)
		}
	}
	c.flush()
}

// system makes the one leading system message.
func (c *composer) system(blocks []wire.Block) {
	t := turn{role: "system"}
	for i := range blocks {
		b := &blocks[i]
		if b.Kind != wire.Text {
			continue
		}
		if n := wire.ChangingLine(b.Text); i == 0 && c.to.StripLines && n > 0 {
			if n == len(b.Text) {
				continue
			}
			b = &wire.Block{Kind: wire.Text, Text: b.Text[n:], Cache: b.Cache}
		}
		t.parts = append(t.parts, b)
	}
	if c.to.AppendSystem != "" {
		t.parts = append(t.parts, text(c.to.AppendSystem))
	}
	if len(t.parts) > 0 {
		c.turns = append(c.turns, t)
	}
}

// turn makes a turn of a user or of a system message within the conversation.
func (c *composer) turn(role string, m *wire.Message) {
	t := turn{role: role, name: m.Name}
	if role == "user" {
		t.parts, c.carried = c.carried, nil
	}
	for i := range m.Blocks {
		b := &m.Blocks[i]
		switch b.Kind {
		case wire.Text, wire.Image:
			t.parts = append(t.parts, b)
		case wire.Document:
			t.parts = append(t.parts, c.document(b))
		case wire.ToolResult:
			if !c.placed[b] {
				t.parts = c.orphan(t.parts, b)
			}
		}
	}
	if len(t.parts) > 0 {
		c.push(t)
	}
}

// flush gives what results carried a turn of its own, where no user turn took
// it.
func (c *composer) flush() {
	if len(c.carried) > 0 {
		c.push(turn{role: "user", parts: c.carried})
		c.carried = nil
	}
}

func (c *composer) push(t turn) {
	if n := len(c.turns) - 1; c.merge && n >= 0 && c.turns[n].role == t.role && (t.role == "user" || t.role == "assistant") {
		last := &c.turns[n]
		last.parts = append(last.parts, t.parts...)
		last.reasoning = append(last.reasoning, t.reasoning...)
		last.calls = append(last.calls, t.calls...)
		return
	}
	c.turns = append(c.turns, t)
}

// assistant makes the model's turn and, behind it, the results of its calls.
func (c *composer) assistant(m *wire.Message, following []wire.Message) {
	t := turn{role: "assistant", name: m.Name}
	for i := range m.Blocks {
		b := &m.Blocks[i]
		switch b.Kind {
		case wire.Text:
			t.parts = append(t.parts, b)
		case wire.ToolUse:
			t.calls = append(t.calls, b)
		case wire.Reasoning:
			if c.own && b.Signature != "" && !ours(b.Signature) || !c.own && c.to.ReasoningHistory && ours(b.Signature) {
				t.reasoning = append(t.reasoning, b)
			}
		}
	}
	if len(t.parts)+len(t.calls)+len(t.reasoning) == 0 {
		return
	}
	c.push(t)
	if len(t.calls) > 0 {
		c.place(t.calls, following)
	}
}

// ours reports whether a reasoning block may be told to any provider: one that
// a vendor signed goes back to that vendor's own wire only.
func ours(signature string) bool {
	return signature == "" || strings.HasPrefix(signature, wire.OwnSignature)
}

// place puts the results of calls directly behind them, in the order of the
// calls, wherever they stand before the model's next turn. Weak models use one
// id twice, so each result is used once.
func (c *composer) place(calls []*wire.Block, following []wire.Message) {
	if c.placed == nil {
		c.placed = map[*wire.Block]bool{}
		c.names = map[string]string{}
		c.results = map[string][]*wire.Block{}
	}
	clear(c.results)
	for i := range following {
		m := &following[i]
		if m.Role == wire.Assistant {
			break
		}
		for j := range m.Blocks {
			if b := &m.Blocks[j]; b.Kind == wire.ToolResult {
				c.results[b.ID] = append(c.results[b.ID], b)
			}
		}
	}
	images := 0
	for _, call := range calls {
		c.names[call.ID] = call.Name
		t := turn{role: "tool", callID: call.ID}
		if found := c.results[call.ID]; len(found) > 0 {
			c.results[call.ID] = found[1:]
			c.placed[found[0]] = true
			if c.parts {
				t.parts = c.resultParts(found[0])
			} else {
				t.parts = []*wire.Block{c.result(found[0], &images)}
			}
		} else {
			t.parts = []*wire.Block{text("[no result: interrupted]")}
		}
		c.turns = append(c.turns, t)
	}
}

// failed begins the text of a result that is an error: this wire has no field for
// it.
const failed = "Error: "

// resultParts returns a result as parts.
func (c *composer) resultParts(b *wire.Block) []*wire.Block {
	parts := make([]*wire.Block, 0, len(b.Content)+1)
	for i := range b.Content {
		switch p := &b.Content[i]; p.Kind {
		case wire.Text, wire.Image:
			parts = append(parts, p)
		case wire.Document:
			parts = append(parts, c.document(p))
		}
	}
	if b.IsError {
		switch {
		case len(parts) == 0 || parts[0].Kind != wire.Text:
			parts = append([]*wire.Block{text(failed)}, parts...)
		case !strings.HasPrefix(parts[0].Text, failed):
			parts[0] = text(failed + parts[0].Text)
		}
	}
	return parts
}

// result returns a result as one text. What a tool message cannot hold is
// carried to the next user turn and named by its number.
func (c *composer) result(b *wire.Block, images *int) *wire.Block {
	lines := make([]*wire.Block, 0, len(b.Content))
	for i := range b.Content {
		switch p := &b.Content[i]; p.Kind {
		case wire.Text:
			lines = append(lines, p)
		case wire.Image:
			*images++
			lines = append(lines, text("[image "+strconv.Itoa(*images)+": see next message]"))
			c.carried = append(c.carried, p)
		case wire.Document:
			d := c.document(p)
			if d.Kind == wire.Document {
				lines = append(lines, text("[document "+documentName(p)+": see next message]"))
				c.carried = append(c.carried, d)
			} else {
				lines = append(lines, d)
			}
		}
	}
	if len(lines) == 1 && !b.IsError && b.Cache == nil {
		return lines[0]
	}
	s := joinText(lines)
	if b.IsError && !strings.HasPrefix(s, failed) {
		s = failed + s
	}
	return &wire.Block{Kind: wire.Text, Text: s, Cache: b.Cache}
}

// orphan tells a result that has no call as text of the user.
func (c *composer) orphan(parts []*wire.Block, b *wire.Block) []*wire.Block {
	name := b.Name
	if name == "" {
		name = c.names[b.ID]
	}
	if name == "" {
		name = b.ID
	}
	at := len(parts)
	parts = append(parts, nil)
	var lines []*wire.Block
	for i := range b.Content {
		switch p := &b.Content[i]; p.Kind {
		case wire.Text:
			lines = append(lines, p)
		case wire.Image:
			parts = append(parts, p)
		case wire.Document:
			parts = append(parts, c.document(p))
		}
	}
	said := joinText(lines)
	if b.IsError && !strings.HasPrefix(said, failed) {
		said = failed + said
	}
	parts[at] = text("[result of " + name + "] " + said)
	return parts
}

// document returns what stands for a document: itself, its text, or a note
// that it was left out.
func (c *composer) document(b *wire.Block) *wire.Block {
	switch {
	case b.Text != "":
		return &wire.Block{Kind: wire.Text, Text: b.Text, Cache: b.Cache}
	case len(b.Content) > 0:
		var lines []*wire.Block
		for i := range b.Content {
			if b.Content[i].Kind == wire.Text {
				lines = append(lines, &b.Content[i])
			}
		}
		return &wire.Block{Kind: wire.Text, Text: joinText(lines), Cache: b.Cache}
	case c.to.Documents && b.Data != "":
		return b
	}
	c.enc.Notes = append(c.enc.Notes, wire.Note{Event: "document-omitted", Type: b.MediaType, Name: b.Title})
	return &wire.Block{Kind: wire.Text, Text: "[document " + documentName(b) + " omitted: provider cannot read it]", Cache: b.Cache}
}

func documentName(b *wire.Block) string {
	switch {
	case b.Title != "":
		return b.Title
	case b.URL != "":
		return b.URL
	default:
		return "without a name"
	}
}

func text(s string) *wire.Block { return &wire.Block{Kind: wire.Text, Text: s} }

// appendTurns writes the messages.
func (c *composer) appendTurns(dst []byte) []byte {
	dst = append(dst, '[')
	for i := range c.turns {
		t := &c.turns[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, `{"role":"`...), t.role...), '"')
		if t.callID != "" || t.role == "tool" {
			dst = append(dst, `,"tool_call_id":`...)
			dst = scan.AppendString(dst, t.callID)
		}
		if t.name != "" {
			dst = append(dst, `,"name":`...)
			dst = scan.AppendString(dst, t.name)
		}
		dst = append(dst, `,"content":`...)
		if len(t.parts) == 0 && len(t.calls) > 0 {
			dst = append(dst, "null"...)
		} else {
			dst = c.appendContent(dst, t.parts)
		}
		if len(t.reasoning) > 0 {
			dst = append(dst, `,"reasoning_content":`...)
			dst = scan.AppendString(dst, joinText(t.reasoning))
		}
		if len(t.calls) > 0 {
			dst = append(dst, `,"tool_calls":[`...)
			for j, b := range t.calls {
				if j > 0 {
					dst = append(dst, ',')
				}
				dst = appendCall(dst, b)
			}
			dst = append(dst, ']')
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// appendCall writes a tool call; its arguments are the input's JSON as it was
// written, or of a custom tool the text alone.
func appendCall(dst []byte, b *wire.Block) []byte {
	dst = append(dst, `{"id":`...)
	dst = scan.AppendString(dst, b.ID)
	if isCustom(b) {
		dst = scan.AppendString(append(dst, `,"type":"custom","custom":{"name":`...), b.Alias.Name)
		dst = scan.AppendString(append(dst, `,"input":`...), customInput(b.Input))
		return append(dst, "}}"...)
	}
	dst = append(dst, `,"type":"function","function":{"name":`...)
	dst = scan.AppendString(dst, b.Name)
	dst = append(dst, `,"arguments":`...)
	if len(b.Input) == 0 {
		dst = append(dst, `"{}"`...)
	} else {
		dst = scan.AppendString(dst, []byte(b.Input))
	}
	return append(dst, "}}"...)
}

// isCustom reports whether a call of an answer is one of the caller's custom
// tools.
func isCustom(b *wire.Block) bool { return b.Alias != nil && b.Alias.Form == wire.CustomForm }

// appendContent writes parts as one string if they are all text, and else as
// parts, each in its place.
func (c *composer) appendContent(dst []byte, parts []*wire.Block) []byte {
	asParts := slices.ContainsFunc(parts, func(b *wire.Block) bool {
		return b.Kind != wire.Text || c.to.Cache && b.Cache != nil
	})
	if !asParts {
		return scan.AppendString(dst, joinText(parts))
	}
	dst = append(dst, '[')
	for i, b := range parts {
		if i > 0 {
			dst = append(dst, ',')
		}
		switch b.Kind {
		case wire.Image:
			dst = append(dst, `{"type":"image_url","image_url":{"url":`...)
			if b.URL != "" {
				dst = scan.AppendString(dst, b.URL)
			} else {
				dst = appendDataURI(dst, b.MediaType, b.Data)
			}
			if b.Detail != "" {
				dst = append(dst, `,"detail":`...)
				dst = scan.AppendString(dst, b.Detail)
			}
			dst = append(dst, '}')
		case wire.Document:
			name := b.Title
			if name == "" {
				name = "document.pdf" // the wire wants a name with its kind in it
			}
			dst = append(dst, `{"type":"file","file":{"filename":`...)
			dst = scan.AppendString(dst, name)
			dst = append(dst, `,"file_data":`...)
			dst = append(appendDataURI(dst, b.MediaType, b.Data), '}')
		default:
			dst = append(dst, `{"type":"text","text":`...)
			dst = scan.AppendString(dst, b.Text)
		}
		if c.to.Cache && b.Cache != nil {
			dst = append(append(dst, `,"cache_control":`...), b.Cache...)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// appendDataURI writes a data URI as a JSON string. The data are megabytes at
// times, so nothing is joined before.
func appendDataURI(dst []byte, mediaType, data string) []byte {
	dst = scan.AppendString(dst, "data:"+mediaType+";base64,")
	dst = dst[:len(dst)-1]
	from := len(dst)
	dst = scan.AppendString(dst, data)
	// Two strings become one: the inner quote goes.
	return append(dst[:from], dst[from+1:]...)
}
