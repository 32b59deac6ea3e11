package openai

import (
	"slices"
	"strconv"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// EncodeRequest writes r as a Responses request that its server keeps nothing
// of. What stays the same from turn to turn stands first, so that two requests
// of one conversation share their bytes as far as they share their items.
func (Responses) EncodeRequest(r *wire.Request, to wire.Target) (*wire.Encoded, error) {
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
	own := r.From == drey.WireResponses
	c := composer{to: to, enc: enc, merge: to.Price != drey.Paid, parts: true, own: own}
	c.compose(r)
	if len(c.turns) > 1 && c.turns[0].role == "system" {
		if o.key("instructions") {
			o.b = scan.AppendString(o.b, joinText(c.turns[0].parts))
		}
		c.turns = c.turns[1:]
	} else if len(c.turns) == 1 && c.turns[0].role == "system" {
		c.turns[0].role = "user" // some callers put their whole prompt into it; no input at all is refused
	}
	if len(c.turns) == 0 {
		return nil, &wire.BodyError{Field: "messages", Msg: "holds nothing to send; send at least one message with content"}
	}
	if o.key("input") {
		o.b = c.appendItems(o.b)
	}
	o.responsesTools(r, to, enc)
	if r.MaxTokens > 0 {
		o.int("max_output_tokens", r.MaxTokens)
	}
	o.raw("temperature", r.Temperature)
	o.raw("top_p", r.TopP)
	if effort := effortOf(r.Thinking); (effort != "" || r.Thinking.Show) && o.key("reasoning") {
		o.b = append(o.b, '{')
		if effort != "" {
			o.b = scan.AppendString(append(o.b, `"effort":`...), effort)
		}
		if r.Thinking.Show {
			if effort != "" {
				o.b = append(o.b, ',')
			}
			o.b = append(o.b, `"summary":"auto"`...)
		}
		o.b = append(o.b, '}')
	}
	o.raw("store", []byte("false"))
	if own {
		o.raw("include", []byte(`["reasoning.encrypted_content"]`))
	}
	if r.Stream || to.Stream {
		o.raw("stream", []byte("true"))
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

// responsesTools writes flat what chat nests.
func (o *object) responsesTools(r *wire.Request, to wire.Target, enc *wire.Encoded) {
	if r.Format != nil && to.JSONSchema {
		o.textFormat(r.Format)
	}
	tools, choice := chosen(r, to, enc)
	if len(tools) == 0 || !o.key("tools") {
		return
	}
	for i, t := range tools {
		o.b = append(o.b, "[,"[min(i, 1)])
		o.b = scan.AppendString(append(o.b, `{"type":"function","name":`...), t.Name)
		if t.Description != "" {
			o.b = scan.AppendString(append(o.b, `,"description":`...), t.Description)
		}
		o.b = append(o.b, `,"parameters":`...)
		if t.Schema == nil {
			o.b = append(o.b, noSchema...)
		} else {
			o.b = append(o.b, t.Schema...)
		}
		// The wire's default is strict, and that of every other is not.
		o.b = append(o.b, `,"strict":`...)
		o.b = append(strconv.AppendBool(o.b, t.Strict != nil && *t.Strict), '}')
	}
	o.b = append(o.b, ']')
	if choice.Mode == wire.ChoiceTool {
		if o.key("tool_choice") {
			o.b = append(o.b, `{"type":"function","name":`...)
			o.b = append(scan.AppendString(o.b, choice.Name), '}')
		}
	} else {
		o.mode(choice.Mode)
	}
	if r.OneCall {
		o.raw("parallel_tool_calls", []byte("false"))
	}
}

func (o *object) textFormat(f *wire.Format) {
	if !o.key("text") {
		return
	}
	if f.Schema == nil {
		o.b = append(o.b, `{"format":{"type":"json_object"}}`...)
		return
	}
	name := f.Name
	if name == "" {
		name = "answer" // the wire wants one, and not every wire has one
	}
	o.b = scan.AppendString(append(o.b, `{"format":{"type":"json_schema","name":`...), name)
	o.b = append(append(o.b, `,"schema":`...), f.Schema...)
	if f.Strict != nil {
		o.b = strconv.AppendBool(append(o.b, `,"strict":`...), *f.Strict)
	}
	o.b = append(o.b, "}}"...)
}

// appendItems writes the turns as items.
func (c *composer) appendItems(dst []byte) []byte {
	dst = append(dst, '[')
	empty := len(dst)
	next := func() {
		if len(dst) > empty {
			dst = append(dst, ',')
		}
	}
	for i := range c.turns {
		t := &c.turns[i]
		if t.role == "tool" {
			next()
			dst = scan.AppendString(append(dst, `{"type":"function_call_output","call_id":`...), t.callID)
			dst = append(c.appendParts(append(dst, `,"output":`...), t.parts), '}')
			continue
		}
		for _, b := range t.reasoning {
			next()
			dst = append(dst, `{"type":"reasoning","summary":[`...)
			if b.Text != "" {
				dst = append(scan.AppendString(append(dst, `{"type":"summary_text","text":`...), b.Text), '}')
			}
			dst = append(scan.AppendString(append(dst, `],"encrypted_content":`...), b.Signature), '}')
		}
		if len(t.parts) > 0 {
			next()
			dst = append(append(append(dst, `{"role":"`...), t.role...), `","content":`...)
			dst = append(c.appendParts(dst, t.parts), '}')
		}
		for _, b := range t.calls {
			next()
			dst = scan.AppendString(append(dst, `{"type":"function_call","call_id":`...), b.ID)
			dst = scan.AppendString(append(dst, `,"name":`...), b.Name)
			dst = append(dst, `,"arguments":`...)
			if len(b.Input) == 0 {
				dst = append(dst, `"{}"`...)
			} else {
				dst = scan.AppendString(dst, []byte(b.Input))
			}
			dst = append(dst, '}')
		}
	}
	return append(dst, ']')
}

// appendParts writes parts as one string if they are all text, and else each in
// its place.
func (c *composer) appendParts(dst []byte, parts []*wire.Block) []byte {
	if !slices.ContainsFunc(parts, func(b *wire.Block) bool { return b.Kind != wire.Text }) {
		return scan.AppendString(dst, joinText(parts))
	}
	for i, b := range parts {
		dst = append(dst, "[,"[min(i, 1)])
		switch b.Kind {
		case wire.Image:
			dst = append(dst, `{"type":"input_image","image_url":`...)
			if b.URL != "" {
				dst = scan.AppendString(dst, b.URL)
			} else {
				dst = appendDataURI(dst, b.MediaType, b.Data)
			}
			detail := b.Detail
			if detail == "" {
				detail = "auto" // the wire wants one
			}
			dst = scan.AppendString(append(dst, `,"detail":`...), detail)
		case wire.Document:
			name := b.Title
			if name == "" {
				name = "document.pdf" // the wire wants a name with its kind in it
			}
			dst = scan.AppendString(append(dst, `{"type":"input_file","filename":`...), name)
			dst = appendDataURI(append(dst, `,"file_data":`...), b.MediaType, b.Data)
		default:
			dst = scan.AppendString(append(dst, `{"type":"input_text","text":`...), b.Text)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}
