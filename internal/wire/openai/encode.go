package openai

import (
	"slices"
	"strconv"
	"strings"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// EncodeRequest writes r as a Chat Completions request. The messages come
// right behind the model and what varies from turn to turn comes behind them,
// so that two requests of one conversation share their bytes as far as they
// share their messages.
func (Chat) EncodeRequest(r *wire.Request, to wire.Target) (*wire.Encoded, error) {
	enc := &wire.Encoded{}
	o := object{b: make([]byte, 0, 2048), drop: to.Drop}
	o.b = append(o.b, '{')

	if o.key("model") {
		model := to.Model
		if model == "" {
			model = r.Model
		}
		o.b = scan.AppendString(o.b, model)
	}
	c := composer{to: to, enc: enc, merge: to.Price != drey.Paid}
	c.compose(r)
	if o.key("messages") {
		o.b = c.appendTurns(o.b)
	}
	o.tools(r, to, enc)
	if r.MaxTokens > 0 {
		key := to.MaxTokensKey
		if key == "" {
			key = "max_tokens"
		}
		o.int(key, r.MaxTokens)
	}
	o.raw("temperature", r.Temperature)
	o.raw("top_p", r.TopP)
	if to.Price != drey.Paid {
		o.raw("top_k", r.TopK)
		for _, f := range r.ChatOnly {
			o.raw(f.Key, f.Value)
		}
	}
	o.stop(r.Stop, to)
	if effort := effortOf(r.Thinking); effort != "" && o.key("reasoning_effort") {
		o.b = scan.AppendString(o.b, effort)
	}
	if r.Stream || to.Stream {
		o.raw("stream", []byte("true"))
		o.raw("stream_options", []byte(`{"include_usage":true}`))
	}
	// As on the same wire: a field that is both dropped and extra takes the
	// extra's value.
	o.drop = nil
	for _, f := range to.Extra {
		if !slices.Contains(o.has, f.Key) {
			o.raw(f.Key, f.Value)
		}
	}
	enc.Body = append(o.b, '}')
	return enc, nil
}

// object writes the fields of a request's top level, without those that the
// provider's configuration drops.
type object struct {
	b    []byte
	drop []string
	has  []string
}

// key begins a field, unless it is dropped.
func (o *object) key(name string) bool {
	if slices.Contains(o.drop, name) {
		return false
	}
	if len(o.has) > 0 {
		o.b = append(o.b, ',')
	}
	o.has = append(o.has, name)
	o.b = append(scan.AppendString(o.b, name), ':')
	return true
}

func (o *object) raw(name string, value []byte) {
	if value != nil && o.key(name) {
		o.b = append(o.b, value...)
	}
}

func (o *object) int(name string, n int) {
	if o.key(name) {
		o.b = strconv.AppendInt(o.b, int64(n), 10)
	}
}

// stop writes the stop sequences; OpenAI itself takes four.
func (o *object) stop(stop []string, to wire.Target) {
	if to.OpenAIHost && len(stop) > 4 {
		stop = stop[:4]
	}
	if len(stop) == 0 || !o.key("stop") {
		return
	}
	for i, s := range stop {
		o.b = append(o.b, "[,"[min(i, 1)])
		o.b = scan.AppendString(o.b, s)
	}
	o.b = append(o.b, ']')
}

// noSchema stands for the arguments of a tool that declares none.
const noSchema = `{"type":"object","properties":{}}`

// freeText stands for the arguments of a tool that takes text of any form.
const freeText = `{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}`

// chosen returns the tools that a request of this family may declare, and the
// choice among them. What its vendor alone can run is skipped with a note. The
// wish for structured output is a tool as well toward a provider without it.
func chosen(r *wire.Request, to wire.Target, enc *wire.Encoded) ([]wire.Tool, wire.Choice) {
	if r.Format != nil && !to.JSONSchema {
		enc.SchemaTool = schemaToolName(r.Tools)
	}
	tools := make([]wire.Tool, 0, len(r.Tools)+1)
	choice := r.Choice
	for _, t := range r.Tools {
		switch {
		case t.Type == "custom":
			// A tool that takes free text becomes one that takes a string.
			if t.Schema == nil {
				t.Schema = []byte(freeText)
			}
			tools = append(tools, t)
			continue
		case t.Type == "":
			tools = append(tools, t)
			continue
		}
		enc.Notes = append(enc.Notes, wire.Note{Event: "tool-skipped", Type: t.Type, Name: t.Name})
		if choice.Mode == wire.ChoiceTool && choice.Name == t.Name {
			choice = wire.Choice{Mode: wire.ChoiceAuto}
		}
	}
	if enc.SchemaTool != "" {
		switch {
		case len(tools) == 0, choice.Mode == wire.ChoiceNone:
			choice = wire.Choice{Mode: wire.ChoiceTool, Name: enc.SchemaTool}
		case choice.Mode != wire.ChoiceTool:
			// The model may still work with its tools; it answers with this one.
			choice = wire.Choice{Mode: wire.ChoiceAny}
		}
		t := wire.Tool{Name: enc.SchemaTool, Description: "Give the final answer in this form.", Schema: r.Format.Schema}
		if t.Schema == nil {
			t.Schema = []byte(`{"type":"object","properties":{},"additionalProperties":true}`)
		}
		tools = append(tools, t)
	}
	return tools, choice
}

// tools writes the tools, the choice among them, the wish for one call at a
// time, and the wish for structured output.
func (o *object) tools(r *wire.Request, to wire.Target, enc *wire.Encoded) {
	if r.Format != nil && to.JSONSchema {
		o.format(r.Format)
	}
	tools, choice := chosen(r, to, enc)
	if len(tools) == 0 || !o.key("tools") {
		return
	}
	for i, t := range tools {
		o.b = append(o.b, "[,"[min(i, 1)])
		o.b = appendTool(o.b, t)
	}
	o.b = append(o.b, ']')
	if choice.Mode == wire.ChoiceTool {
		if o.key("tool_choice") {
			o.b = append(o.b, `{"type":"function","function":{"name":`...)
			o.b = append(scan.AppendString(o.b, choice.Name), "}}"...)
		}
	} else {
		o.mode(choice.Mode)
	}
	if r.OneCall {
		o.raw("parallel_tool_calls", []byte("false"))
	}
}

// mode writes a choice that is one word.
func (o *object) mode(m wire.ChoiceMode) {
	switch m {
	case wire.ChoiceAuto:
		o.raw("tool_choice", []byte(`"auto"`))
	case wire.ChoiceAny:
		o.raw("tool_choice", []byte(`"required"`))
	case wire.ChoiceNone:
		o.raw("tool_choice", []byte(`"none"`))
	}
}

func appendTool(dst []byte, t wire.Tool) []byte {
	dst = append(dst, `{"type":"function","function":{"name":`...)
	dst = scan.AppendString(dst, t.Name)
	if t.Description != "" {
		dst = append(dst, `,"description":`...)
		dst = scan.AppendString(dst, t.Description)
	}
	dst = append(dst, `,"parameters":`...)
	if t.Schema == nil {
		dst = append(dst, noSchema...)
	} else {
		dst = append(dst, t.Schema...)
	}
	if t.Strict != nil {
		dst = append(dst, `,"strict":`...)
		dst = strconv.AppendBool(dst, *t.Strict)
	}
	return append(dst, "}}"...)
}

// schemaToolName returns a name that no declared tool has.
func schemaToolName(tools []wire.Tool) string {
	name := "structured_output"
	for slices.ContainsFunc(tools, func(t wire.Tool) bool { return t.Name == name }) {
		name += "_"
	}
	return name
}

func (o *object) format(f *wire.Format) {
	if !o.key("response_format") {
		return
	}
	if f.Schema == nil {
		o.b = append(o.b, `{"type":"json_object"}`...)
		return
	}
	name := f.Name
	if name == "" {
		name = "answer" // the wire wants one, and not every wire has one
	}
	o.b = append(o.b, `{"type":"json_schema","json_schema":{"name":`...)
	o.b = scan.AppendString(o.b, name)
	o.b = append(append(o.b, `,"schema":`...), f.Schema...)
	if f.Strict != nil {
		o.b = append(o.b, `,"strict":`...)
		o.b = strconv.AppendBool(o.b, *f.Strict)
	}
	o.b = append(o.b, "}}"...)
}

// effortOf maps a wish for thinking to reasoning_effort. Efforts above "high"
// exist for single models of single vendors only.
func effortOf(t wire.Thinking) string {
	switch {
	case t.Mode == "disabled":
		return ""
	case t.Effort == "max", t.Effort == "xhigh":
		return "high"
	case t.Effort != "":
		return t.Effort
	case t.Mode == "adaptive":
		return "medium"
	case t.Mode != "enabled":
		return ""
	case t.Budget < 4096:
		return "low"
	case t.Budget < 16384:
		return "medium"
	default:
		return "high"
	}
}

// joinText joins the texts of blocks, one per line.
func joinText(blocks []*wire.Block) string {
	switch len(blocks) {
	case 0:
		return ""
	case 1:
		return blocks[0].Text
	}
	var b strings.Builder
	for i, p := range blocks {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.Text)
	}
	return b.String()
}
