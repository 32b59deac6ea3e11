package openai

import (
	"strconv"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

func (d *requestDecoder) tool() {
	if d.s.Kind() != scan.Object {
		d.fail("", "is "+d.s.Kind().String()+"; send a tool object with type and function")
		return
	}
	var t wire.Tool
	var format []byte
	for key := range d.s.Fields() {
		switch string(key) {
		case "type":
			t.Type = d.text("type")
		case "cache_control":
			t.Cache = d.raw()
		case "function", "custom":
			for key := range d.s.Fields() {
				switch string(key) {
				case "name":
					t.Name = d.text("function.name")
				case "description":
					t.Description = d.text("function.description")
				case "parameters":
					if d.s.Kind() != scan.Object {
						d.wrong("function.parameters", "a JSON Schema object")
						continue
					}
					t.Schema = d.raw()
				case "strict":
					if v, ok := d.s.Bool(); ok {
						t.Strict = &v
					}
				case "format":
					format = d.s.Raw()
				}
			}
		}
	}
	switch t.Type {
	case "function", "":
		t.Type = ""
		if t.Name == "" {
			d.fail("function.name", "missing; name the tool")
		}
	case "custom":
		if t.Name == "" {
			d.fail("custom.name", "missing; name the tool")
		}
		t.Description = withFormat(t.Description, format)
		if d.r.Aliases == nil {
			d.r.Aliases = map[string]wire.Alias{}
		}
		d.r.Aliases[t.Name] = wire.Alias{Name: t.Name, Form: wire.CustomForm}
	}
	d.r.Tools = append(d.r.Tools, t)
}

// choiceMode reads tool_choice where it is a word, and reports whether it is one
// of those that are known.
func choiceMode(c *wire.Choice, word string) bool {
	switch word {
	case "auto":
		c.Mode = wire.ChoiceAuto
	case "none":
		c.Mode = wire.ChoiceNone
	case "required":
		c.Mode = wire.ChoiceAny
	default:
		return false
	}
	return true
}

func (d *requestDecoder) choice() {
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
	for key := range d.s.Fields() {
		switch string(key) {
		case "function", "custom":
			for key := range d.s.Fields() {
				if string(key) == "name" {
					*c = wire.Choice{Mode: wire.ChoiceTool, Name: d.text("tool_choice.function.name")}
				}
			}
		case "allowed_tools":
			for key := range d.s.Fields() {
				if string(key) == "mode" {
					choiceMode(c, d.text("tool_choice.allowed_tools.mode"))
				}
			}
		}
	}
	if c.Mode == wire.ChoiceUnset || c.Mode == wire.ChoiceTool && c.Name == "" {
		d.fail("tool_choice", "names nothing; send "+want)
	}
}

func (d *requestDecoder) format() {
	if d.s.Kind() != scan.Object {
		d.wrong("response_format", "an object with a type")
		return
	}
	var f wire.Format
	for key := range d.s.Fields() {
		switch string(key) {
		case "type":
			f.Type = d.text("response_format.type")
		case "json_schema":
			for key := range d.s.Fields() {
				switch string(key) {
				case "name":
					f.Name = d.text("response_format.json_schema.name")
				case "schema":
					f.Schema = d.raw()
				case "strict":
					if v, ok := d.s.Bool(); ok {
						f.Strict = &v
					}
				}
			}
		}
	}
	d.formatted(f, "response_format", "response_format.json_schema")
}

// formatted takes the format of the answer, which is told at one place of the
// body and its schema at another.
func (d *requestDecoder) formatted(f wire.Format, at, schemaAt string) {
	switch f.Type {
	case "text":
		return
	case "json_object":
		f.Schema = nil
	case "json_schema":
		if f.Schema == nil {
			d.fail(schemaAt+".schema", "missing; send the JSON Schema of the answer")
		}
	default:
		d.fail(at+".type", strconv.Quote(f.Type)+" is unknown; send text, json_object or json_schema")
	}
	d.r.Format = &f
}
