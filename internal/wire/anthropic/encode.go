package anthropic

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

const (
	// maxCache is how many cache_control marks the wire takes.
	maxCache = 4
	// minBudget is the least thinking budget that the wire takes.
	minBudget = 1024
	// defaultMaxTokens is asked for where neither the caller nor the
	// configuration names a limit; the wire insists on one.
	defaultMaxTokens = 8192
	// jsonOnly is said in the system text for a caller who wants JSON of any
	// shape, for which this wire has no field.
	jsonOnly = "Answer with one JSON object and nothing else."
)

// EncodeRequest writes a request of another wire for a provider of this one.
// What stays the same from turn to turn stands first in the body and what
// varies per request last, so that equal prefixes of conversations give equal
// prefixes of bytes.
func (Codec) EncodeRequest(r *wire.Request, to wire.Target) (*wire.Encoded, error) {
	t := shape(r, to)
	e := &encoder{r: r, to: to, out: &wire.Encoded{}}
	system := e.system()
	if len(t.out) == 0 {
		if len(system) == 0 {
			return nil, &wire.BodyError{Field: "messages", Msg: "holds nothing to send; send at least one message with content"}
		}
		// Some chat callers put their whole prompt into a system message.
		t.out, system = []wire.Message{{Blocks: system}}, nil
	}
	if last := &t.out[len(t.out)-1]; last.Role == wire.Assistant {
		trimPrefill(last)
	}
	e.out.IDs = t.ids

	model := to.Model
	if model == "" {
		model = r.Model
	}
	b := append([]byte(nil), `{"model":`...)
	b = scan.AppendString(b, model)
	b = e.appendSystem(b, system)
	b = e.appendTools(b)
	b = append(b, `,"messages":[`...)
	for i, m := range t.out {
		b = e.appendTurn(b, i, m)
	}
	b = append(b, ']')
	forced := false
	b, forced = e.appendChoice(b)
	b = e.appendLimits(b, !forced && canThink(t.out))
	b = append(b, '}')

	if len(to.Extra)+len(to.Drop) > 0 {
		ed, err := wire.Edit(b)
		if err != nil {
			return nil, err
		}
		ed.Common(wire.Edits{Extra: to.Extra, Drop: to.Drop})
		b = ed.Body().Bytes()
	}
	e.out.Body = b
	return e.out, nil
}

type encoder struct {
	r     *wire.Request
	to    wire.Target
	out   *wire.Encoded
	cache int  // marks written
	tools int  // tools written, the schema tool not counted
	named bool // the tool of the caller's choice is among them
}

// mark returns a cache_control if it may be kept. The first ones win: a mark
// must not move because the conversation grew.
func (e *encoder) mark(c json.RawMessage) json.RawMessage {
	if c == nil || !e.to.Cache || e.cache == maxCache {
		return nil
	}
	e.cache++
	return c
}

// system returns the system text's blocks, without blank ones.
func (e *encoder) system() []wire.Block {
	var out []wire.Block
	for i, b := range e.r.System {
		if i == 0 && e.to.StripLines {
			b.Text = b.Text[wire.ChangingLine(b.Text):]
		}
		if b.Kind == wire.Text && strings.TrimSpace(b.Text) != "" {
			out = append(out, b)
		}
	}
	if f := e.r.Format; f != nil && f.Schema == nil {
		out = append(out, wire.Block{Text: jsonOnly})
	}
	if e.to.AppendSystem != "" {
		out = append(out, wire.Block{Text: e.to.AppendSystem})
	}
	return out
}

// appendSystem writes one string, or a list of blocks if a mark stands on one.
func (e *encoder) appendSystem(dst []byte, bs []wire.Block) []byte {
	if len(bs) == 0 {
		return dst
	}
	marked := false
	for _, b := range bs {
		marked = marked || b.Cache != nil && e.to.Cache
	}
	dst = append(dst, `,"system":`...)
	if !marked {
		return scan.AppendString(dst, joinText(bs))
	}
	dst = append(dst, '[')
	for i, b := range bs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, b.Text, e.mark(b.Cache))
	}
	return append(dst, ']')
}

func (e *encoder) appendTools(dst []byte) []byte {
	from := len(dst)
	dst = append(dst, `,"tools":[`...)
	empty := len(dst)
	taken := map[string]bool{}
	for i := range e.r.Tools {
		t := &e.r.Tools[i]
		// A custom tool takes free text: one string.
		custom := t.Type == "custom"
		if t.Type != "" && t.Type != "function" && !custom {
			e.out.Notes = append(e.out.Notes, wire.Note{Event: "tool-skipped", Type: t.Type, Name: t.Name})
			continue
		}
		if len(dst) > empty {
			dst = append(dst, ',')
		}
		dst = scan.AppendString(append(dst, `{"name":`...), t.Name)
		if t.Description != "" {
			dst = scan.AppendString(append(dst, `,"description":`...), t.Description)
		}
		dst = append(dst, `,"input_schema":`...)
		if custom && t.Schema == nil {
			dst = append(dst, `{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}`...)
		} else {
			dst = appendSchema(dst, t.Schema)
		}
		if t.Strict != nil && *t.Strict && e.to.JSONSchema {
			dst = append(dst, `,"strict":true`...)
		}
		dst = appendCache(dst, e.mark(t.Cache))
		taken[t.Name] = true
		e.tools++
	}
	e.named = taken[e.r.Choice.Name]
	if f := e.r.Format; f != nil && f.Schema != nil && !e.to.JSONSchema {
		e.out.SchemaTool = "json"
		for taken[e.out.SchemaTool] {
			e.out.SchemaTool += "_answer"
		}
		if len(dst) > empty {
			dst = append(dst, ',')
		}
		dst = scan.AppendString(append(dst, `{"name":`...), e.out.SchemaTool)
		dst = append(dst, `,"description":"Gives the answer. Call it once, with the whole answer as its input.","input_schema":`...)
		dst = append(appendSchema(dst, f.Schema), '}')
	}
	if len(dst) == empty {
		return dst[:from]
	}
	return append(dst, ']')
}

// appendSchema writes a tool's schema, with the type that the wire insists on.
func appendSchema(dst []byte, schema json.RawMessage) []byte {
	if schema == nil {
		return append(dst, `{"type":"object","properties":{}}`...)
	}
	ed, err := wire.Edit(schema)
	if err != nil || ed.Find("type") != nil {
		return append(dst, schema...)
	}
	ed.Default("type", []byte(`"object"`))
	return append(dst, ed.Body().Bytes()...)
}

// appendChoice writes tool_choice and reports whether it forces a call.
func (e *encoder) appendChoice(dst []byte) (_ []byte, forced bool) {
	mode, name := e.r.Choice.Mode, e.r.Choice.Name
	if mode == wire.ChoiceTool && !e.named {
		mode = wire.ChoiceAuto // its tool was skipped
	}
	one := e.r.OneCall
	switch {
	case e.out.SchemaTool != "" && (e.tools == 0 || mode == wire.ChoiceNone):
		mode, name = wire.ChoiceTool, e.out.SchemaTool
	case e.out.SchemaTool != "" && mode != wire.ChoiceTool:
		// The model may still use the caller's tools before it answers.
		mode, one = wire.ChoiceAny, true
	case e.tools == 0:
		return dst, false
	case mode == wire.ChoiceUnset && one:
		mode = wire.ChoiceAuto
	}
	switch mode {
	case wire.ChoiceUnset:
		return dst, false
	case wire.ChoiceNone:
		return append(dst, `,"tool_choice":{"type":"none"}`...), false
	case wire.ChoiceAuto:
		dst = append(dst, `,"tool_choice":{"type":"auto"`...)
	case wire.ChoiceAny:
		dst = append(dst, `,"tool_choice":{"type":"any"`...)
	case wire.ChoiceTool:
		dst = scan.AppendString(append(dst, `,"tool_choice":{"type":"tool","name":`...), name)
	}
	if one {
		dst = append(dst, `,"disable_parallel_tool_use":true`...)
	}
	return append(dst, '}'), mode != wire.ChoiceAuto
}

// appendLimits writes what says how to answer.
func (e *encoder) appendLimits(dst []byte, canThink bool) []byte {
	r := e.r
	limit := r.MaxTokens
	if limit <= 0 {
		limit = e.to.MaxOutputTokens
	}
	if limit <= 0 {
		limit = defaultMaxTokens
	}
	dst = strconv.AppendInt(append(dst, `,"max_tokens":`...), int64(limit), 10)

	thinks := false
	if canThink {
		dst, thinks = appendThinking(dst, r.Thinking, limit)
	}
	if !thinks && r.Thinking.Mode == "disabled" {
		dst = append(dst, `,"thinking":{"type":"disabled"}`...)
	}
	// A model that thinks takes no sampling fields.
	if !thinks {
		dst = appendNumber(dst, "temperature", clamp(r.Temperature))
		dst = appendNumber(dst, "top_p", r.TopP)
		dst = appendNumber(dst, "top_k", r.TopK)
	}
	sep := `,"stop_sequences":[`
	for _, stop := range r.Stop {
		if strings.TrimSpace(stop) == "" {
			continue // refused by the wire
		}
		dst = scan.AppendString(append(dst, sep...), stop)
		sep = ","
	}
	if sep == "," {
		dst = append(dst, ']')
	}
	if f := r.Format; f != nil && f.Schema != nil && e.to.JSONSchema {
		dst = append(dst, `,"output_config":{"format":{"type":"json_schema","schema":`...)
		dst = append(append(dst, f.Schema...), "}}"...)
	}
	if r.Stream || e.to.Stream {
		dst = append(dst, `,"stream":true`...)
	}
	return dst
}

// appendThinking writes what the caller asks of thinking, and reports whether
// the model will think.
func appendThinking(dst []byte, t wire.Thinking, limit int) ([]byte, bool) {
	if t.Mode == "adaptive" {
		return append(dst, `,"thinking":{"type":"adaptive"}`...), true
	}
	budget := t.Budget
	if t.Mode == "disabled" {
		return dst, false
	}
	if budget == 0 {
		switch t.Effort {
		case "minimal", "low":
			budget = 2048
		case "medium":
			budget = 8192
		case "high", "xhigh", "max":
			budget = 24576
		case "", "none":
			if t.Mode != "enabled" {
				return dst, false
			}
			budget = 8192
		default:
			budget = 8192
		}
	}
	if budget = min(budget, limit-1); budget < minBudget {
		return dst, false
	}
	dst = strconv.AppendInt(append(dst, `,"thinking":{"type":"enabled","budget_tokens":`...), int64(budget), 10)
	return append(dst, '}'), true
}

// canThink reports whether the wire lets a model think on this conversation:
// not on an answer that is begun, nor in the middle of a tool loop whose
// thinking is not there (another wire served it, or it was dropped).
func canThink(ts []wire.Message) bool {
	last := &ts[len(ts)-1]
	if last.Role == wire.Assistant {
		return false
	}
	if last.Blocks[0].Kind != wire.ToolResult {
		return true
	}
	switch ts[len(ts)-2].Blocks[0].Kind {
	case wire.Reasoning, wire.Redacted:
		return true
	default:
		return false
	}
}

// clamp returns a temperature that the wire takes: 1 at most.
func clamp(t json.RawMessage) json.RawMessage {
	if f, err := strconv.ParseFloat(string(t), 64); err == nil && f > 1 {
		return json.RawMessage("1")
	}
	return t
}

func appendNumber(dst []byte, key string, v json.RawMessage) []byte {
	if v == nil {
		return dst
	}
	dst = append(append(append(dst, `,"`...), key...), `":`...)
	return append(dst, v...)
}

// trimPrefill takes the space off the end of an answer that the model is to
// continue; the wire refuses it.
func trimPrefill(m *wire.Message) {
	if b := &m.Blocks[len(m.Blocks)-1]; b.Kind == wire.Text {
		b.Text = strings.TrimRight(b.Text, " \t\r\n")
	}
}
