package openai

import (
	"bytes"
	"strconv"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// DecodeRequest reads a Responses request for another wire. What lives at one
// vendor alone (an earlier response, a conversation, a stored prompt, work in the
// background) is refused with the remedy.
func (Responses) DecodeRequest(body []byte) (*wire.Request, error) {
	d := itemsDecoder{requestDecoder: requestDecoder{
		s: scan.New(body), r: wire.Request{From: drey.WireResponses, WantUsage: true},
	}}
	if err := d.fields(d.field); err != nil {
		return nil, err
	}
	d.r.System = append(d.instructions, d.r.System...)
	if !d.seen {
		d.fail("input", "missing; send the conversation as a string or a list of items")
	} else if len(d.r.Messages)+len(d.r.System) == 0 {
		d.fail("input", "empty; send at least one item")
	}
	if d.err != nil {
		return nil, d.err
	}
	return &d.r, nil
}

// itemsDecoder reads a request whose conversation is a list of items.
type itemsDecoder struct {
	requestDecoder
	instructions []wire.Block // they lead, wherever in the body they stand
}

// stored refuses a field that names what another server keeps.
func (d *itemsDecoder) stored(field, what string) {
	if !d.s.Null() {
		d.fail(field, what+", which only the server that keeps it can read, and the provider of this request speaks another wire; "+
			"send the whole conversation as input items")
	}
}

func (d *itemsDecoder) field(key string) {
	s, r := &d.s, &d.r
	switch key {
	case "model":
		r.Model = d.text(key)
	case "instructions":
		if text, ok := s.Text(); ok {
			d.instructions = []wire.Block{{Kind: wire.Text, Text: text}}
			return
		}
		d.wrong(key, "a string")
	case "input":
		d.input()
	case "previous_response_id":
		d.stored(key, "names an earlier response")
	case "conversation":
		d.stored(key, "names a stored conversation")
	case "prompt":
		d.stored(key, "names a stored prompt")
	case "background":
		if d.flag(key) {
			d.fail(key, "work in the background needs a server that keeps answers; leave it out and use stream")
		}
	case "tools":
		if s.Kind() != scan.Array {
			d.wrong(key, "a list of tools")
			return
		}
		for i := range s.Items() {
			d.path = append(d.path, step{key, i})
			d.tool("")
			d.path = d.path[:0]
		}
	case "tool_choice":
		d.choice()
	case "parallel_tool_calls":
		if v, ok := s.Bool(); ok {
			r.OneCall = !v
		} else {
			d.wrong(key, "true or false")
		}
	case "max_output_tokens":
		r.MaxTokens = d.whole(key)
	case "temperature":
		r.Temperature = d.number(key)
	case "top_p":
		r.TopP = d.number(key)
	case "stream":
		r.Stream = d.flag(key)
	case "reasoning":
		d.reasoning()
	case "text":
		for key := range s.Fields() {
			if string(key) == "format" {
				d.textFormat()
			}
		}
	}
}

func (d *itemsDecoder) reasoning() {
	t := &d.r.Thinking
	for key := range d.s.Fields() {
		switch string(key) {
		case "effort":
			switch effort := d.requestDecoder.text("reasoning.effort"); effort {
			case "":
			case "none":
				t.Mode = "disabled"
			default:
				t.Mode, t.Effort = "enabled", effort
			}
		case "summary", "generate_summary":
			if word, ok := d.s.Text(); ok && word != "none" {
				t.Show = true
			}
		}
	}
}

// textFormat reads text.format, which has flat what chat nests.
func (d *itemsDecoder) textFormat() {
	if d.s.Kind() != scan.Object {
		d.wrong("text.format", "an object with a type")
		return
	}
	var f wire.Format
	for key := range d.s.Fields() {
		switch string(key) {
		case "type":
			f.Type = d.text("text.format.type")
		case "name":
			f.Name = d.text("text.format.name")
		case "schema":
			f.Schema = d.raw()
		case "strict":
			if v, ok := d.s.Bool(); ok {
				f.Strict = &v
			}
		}
	}
	d.formatted(f, "text.format", "text.format")
}

// tool reads a tool, or a namespace of some.
func (d *itemsDecoder) tool(namespace string) {
	if d.s.Kind() != scan.Object {
		d.fail("", "is "+d.s.Kind().String()+"; send a tool object with a type")
		return
	}
	var t wire.Tool
	var within scan.Scanner // the tools of a namespace; read when its name is known
	var format []byte
	for key := range d.s.Fields() {
		switch string(key) {
		case "type":
			t.Type = d.text("type")
		case "name":
			t.Name = d.text("name")
		case "description":
			t.Description = d.text("description")
		case "parameters":
			if d.s.Kind() != scan.Object {
				d.wrong("parameters", "a JSON Schema object")
				continue
			}
			t.Schema = d.raw()
		case "strict":
			if v, ok := d.s.Bool(); ok {
				t.Strict = &v
			}
		case "format":
			format = d.s.Raw()
		case "tools":
			within = d.s
		}
	}
	alias := wire.Alias{Name: t.Name, Namespace: namespace}
	switch t.Type {
	case "namespace":
		if namespace == "" {
			d.namespace(t.Name, within)
		}
		return
	case "function", "":
		t.Type = ""
	case "custom":
		alias.Form = wire.CustomForm
		t.Schema = nil
		t.Description = withFormat(t.Description, format)
	case shellTool:
		alias.Form = wire.ShellForm
		t = wire.Tool{Name: shellTool, Description: shellText, Schema: []byte(shellSchema)}
		alias.Name = shellTool
	default:
		d.r.Tools = append(d.r.Tools, t) // one that its vendor runs; the provider's codec notes that it is skipped
		return
	}
	if t.Name == "" {
		d.fail("name", "missing; name the tool")
	}
	t.Name = flatName(namespace, t.Name)
	if t.Name != alias.Name || alias.Form != wire.FunctionForm {
		if d.r.Aliases == nil {
			d.r.Aliases = map[string]wire.Alias{}
		}
		d.r.Aliases[t.Name] = alias
	}
	d.r.Tools = append(d.r.Tools, t)
}

// withFormat tells in words the grammar that a custom tool's text must follow,
// since no other wire has a field for it.
func withFormat(description string, format []byte) string {
	s := scan.New(format)
	syntax, definition := grammar(&s)
	if definition == "" {
		return description
	}
	if description != "" {
		description += "\n"
	}
	return description + "The input follows this " + syntax + " grammar:\n" + definition
}

// grammar reads the form of a custom tool's text; chat has it one level down.
func grammar(s *scan.Scanner) (syntax, definition string) {
	for key := range s.Fields() {
		switch string(key) {
		case "syntax":
			syntax, _ = s.Text()
		case "definition":
			definition, _ = s.Text()
		case "grammar":
			syntax, definition = grammar(s)
		}
	}
	return syntax, definition
}

// namespace reads the tools of a namespace from a bookmark in front of them.
func (d *itemsDecoder) namespace(name string, tools scan.Scanner) {
	if name == "" {
		d.fail("name", "missing; name the namespace")
		return
	}
	behind := d.s
	d.s = tools
	for i := range d.s.Items() {
		d.path = append(d.path, step{"tools", i})
		d.tool(name)
		d.path = d.path[:len(d.path)-1]
	}
	d.s = behind
}

func (d *itemsDecoder) choice() {
	const want = "auto, none, required or a function by its name"
	c := &d.r.Choice
	if word, ok := d.s.Text(); ok {
		if !choiceMode(c, word) {
			d.fail("tool_choice", strconv.Quote(word)+" is unknown; send "+want)
		}
		return
	}
	if d.s.Kind() != scan.Object {
		d.wrong("tool_choice", want)
		return
	}
	var kind, name, namespace, word string
	for key := range d.s.Fields() {
		switch string(key) {
		case "type":
			kind = d.text("tool_choice.type")
		case "name":
			name = d.text("tool_choice.name")
		case "namespace":
			namespace = d.text("tool_choice.namespace")
		case "mode":
			word = d.text("tool_choice.mode")
		}
	}
	switch kind {
	case "function", "custom":
		if name == "" {
			d.fail("tool_choice.name", "missing; name the tool")
		}
		*c = wire.Choice{Mode: wire.ChoiceTool, Name: flatName(namespace, name)}
	case shellTool:
		*c = wire.Choice{Mode: wire.ChoiceTool, Name: shellTool}
	case "allowed_tools":
		if !choiceMode(c, word) {
			d.fail("tool_choice.mode", "is unknown; send auto or required")
		}
	case "":
		d.fail("tool_choice", "names nothing; send "+want)
	default:
		c.Mode = wire.ChoiceAuto // a tool that its vendor runs: it is skipped
	}
}

// rawText returns the text of a string, or the bytes of any other value.
func rawText(s *scan.Scanner) string {
	if text, ok := s.Text(); ok {
		return text
	}
	if s.Null() {
		return ""
	}
	return string(bytes.Clone(s.Raw()))
}
