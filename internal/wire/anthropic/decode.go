package anthropic

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// DecodeRequest reads a request into neutral form. What only this wire's vendor
// can read (server tools' calls and results in the history, citations, account
// ids, context management) is left out.
func (Codec) DecodeRequest(body []byte) (*wire.Request, error) {
	d := decoder{s: scan.New(body)}
	if err := wire.IsObject(&d.s); err != nil {
		return nil, err
	}
	r := d.request()
	if err := d.s.End(); err != nil {
		return nil, wire.BadJSON(err)
	}
	if d.err != nil {
		return nil, d.err
	}
	return r, nil
}

// decoder walks a body. It keeps the first thing that is wrong and goes on, so
// that a body that is no JSON is told as that.
type decoder struct {
	s      scan.Scanner
	err    error
	path   []step
	cached bool
}

// step is one part of a path: a key, or an index where key is "".
type step struct {
	key   string
	index int
}

func (d *decoder) in(key string) func() {
	d.path = append(d.path, step{key: key})
	return d.out
}

func (d *decoder) at(i int) func() {
	d.path = append(d.path, step{index: i})
	return d.out
}

func (d *decoder) out() { d.path = d.path[:len(d.path)-1] }

// fail notes what is wrong at the current path.
func (d *decoder) fail(msg string) {
	if d.err != nil || d.s.Err() != nil {
		return
	}
	var field []byte
	for _, p := range d.path {
		switch {
		case p.key == "":
			field = append(strconv.AppendInt(append(field, '['), int64(p.index), 10), ']')
		case len(field) > 0:
			field = append(append(field, '.'), p.key...)
		default:
			field = append(field, p.key...)
		}
	}
	d.err = &wire.BodyError{Field: string(field), Msg: msg}
}

// wrong notes that the next value is of another kind than it must be.
func (d *decoder) wrong(want string) {
	d.fail("is " + d.s.Kind().String() + "; send " + want)
}

// text reads a string field; null is as if it were absent.
func (d *decoder) text(key string) string {
	defer d.in(key)()
	if d.s.Null() {
		return ""
	}
	v, ok := d.s.Text()
	if !ok {
		d.wrong("a string")
	}
	return v
}

func (d *decoder) bool(key string) bool {
	defer d.in(key)()
	if d.s.Null() {
		return false
	}
	v, ok := d.s.Bool()
	if !ok {
		d.wrong("true or false")
	}
	return v
}

// whole reads a whole number of at least low.
func (d *decoder) whole(key string, low int) int {
	defer d.in(key)()
	kind := d.s.Kind()
	v, ok := d.s.Int()
	switch {
	case kind != scan.Number:
		d.wrong("a whole number")
	case !ok || v < low:
		d.fail("must be a whole number of " + strconv.Itoa(low) + " or more")
	}
	return v
}

// number reads a number as it is written; null is as if it were absent.
func (d *decoder) number(key string) json.RawMessage {
	defer d.in(key)()
	if d.s.Null() {
		return nil
	}
	if d.s.Kind() != scan.Number {
		d.wrong("a number")
		return nil
	}
	return slices.Clone(d.s.Raw())
}

// raw reads a value of one kind as it is written; null is as if it were absent.
func (d *decoder) raw(key string, kind scan.Kind) json.RawMessage {
	defer d.in(key)()
	if d.s.Null() {
		return nil
	}
	if d.s.Kind() != kind {
		d.wrong(kind.String())
		return nil
	}
	return slices.Clone(d.s.Raw())
}

// cache reads a cache_control.
func (d *decoder) cache() json.RawMessage {
	v := d.raw("cache_control", scan.Object)
	d.cached = d.cached || v != nil
	return v
}

func (d *decoder) request() *wire.Request {
	r := &wire.Request{From: drey.WireAnthropic, WantUsage: true}
	s := &d.s
	hasMax, hasMessages := false, false
	var system, leading []wire.Block
	for key := range s.Fields() {
		switch string(key) {
		case "model":
			r.Model = d.text("model")
		case "system":
			system = d.field("system")
		case "messages":
			hasMessages = true
			leading, r.Messages = d.messages()
		case "max_tokens":
			hasMax = true
			r.MaxTokens = d.whole("max_tokens", 1)
		case "tools":
			r.Tools = d.tools()
		case "tool_choice":
			d.choice(r)
		case "temperature":
			r.Temperature = d.number("temperature")
		case "top_p":
			r.TopP = d.number("top_p")
		case "top_k":
			r.TopK = d.number("top_k")
		case "stop_sequences":
			r.Stop = d.stops()
		case "stream":
			r.Stream = d.bool("stream")
		case "thinking":
			d.thinking(r)
		case "output_config":
			d.outputConfig(r)
		case "output_format":
			d.format("output_format", r)
		}
	}
	r.System = append(system, leading...)
	r.CachedPrefix = d.cached
	switch {
	case !hasMessages:
		defer d.in("messages")()
		d.fail("is missing; send the conversation as a list of messages")
	case !hasMax:
		defer d.in("max_tokens")()
		d.fail("is missing; say how many tokens the answer may have, like 4096")
	}
	return r
}

// messages reads the conversation. What leads it in a role other than user and
// assistant is returned apart, as part of the system text.
func (d *decoder) messages() (leading []wire.Block, ms []wire.Message) {
	defer d.in("messages")()
	s := &d.s
	if s.Kind() != scan.Array {
		d.wrong("a list of messages")
		return nil, nil
	}
	n := 0
	for i := range s.Items() {
		n++
		leave := d.at(i)
		if m := d.message(); m.Role == wire.System && len(ms) == 0 {
			leading = append(leading, m.Blocks...)
		} else {
			ms = append(ms, m)
		}
		leave()
	}
	if n == 0 {
		d.fail("is empty; send at least one message")
	}
	return leading, ms
}

func (d *decoder) message() (m wire.Message) {
	s := &d.s
	if s.Kind() != scan.Object {
		d.wrong("an object with role and content")
		return m
	}
	role, hasContent := "", false
	for key := range s.Fields() {
		switch string(key) {
		case "role":
			role = d.text("role")
		case "content":
			hasContent = true
			m.Blocks = d.field("content")
		}
	}
	switch role {
	case "user":
		m.Role = wire.User
	case "assistant":
		m.Role = wire.Assistant
	case "":
		defer d.in("role")()
		d.fail(`is missing; send "user" or "assistant"`)
	default:
		m.Role = wire.System
	}
	if !hasContent {
		defer d.in("content")()
		d.fail("is missing; send a string or a list of blocks")
	}
	return m
}

func (d *decoder) tools() (ts []wire.Tool) {
	defer d.in("tools")()
	s := &d.s
	if s.Null() {
		return nil
	}
	if s.Kind() != scan.Array {
		d.wrong("a list of tools")
		return nil
	}
	for i := range s.Items() {
		leave := d.at(i)
		ts = append(ts, d.tool())
		leave()
	}
	return ts
}

func (d *decoder) tool() (t wire.Tool) {
	s := &d.s
	if s.Kind() != scan.Object {
		d.wrong("an object with name and input_schema")
		return t
	}
	for key := range s.Fields() {
		switch string(key) {
		case "type":
			// "custom" is this wire's word for a tool that the client runs.
			if t.Type = d.text("type"); t.Type == "custom" {
				t.Type = ""
			}
		case "name":
			t.Name = d.text("name")
		case "description":
			t.Description = d.text("description")
		case "input_schema":
			t.Schema = d.raw("input_schema", scan.Object)
		case "strict":
			if s.Null() {
				continue
			}
			strict := d.bool("strict")
			t.Strict = &strict
		case "cache_control":
			t.Cache = d.cache()
		}
	}
	if t.Name == "" && t.Type == "" {
		defer d.in("name")()
		d.fail("is missing; name the tool")
	}
	return t
}

func (d *decoder) choice(r *wire.Request) {
	defer d.in("tool_choice")()
	s := &d.s
	if s.Null() {
		return
	}
	if s.Kind() != scan.Object {
		d.wrong(`an object like {"type":"auto"}`)
		return
	}
	typ := ""
	for key := range s.Fields() {
		switch string(key) {
		case "type":
			typ = d.text("type")
		case "name":
			r.Choice.Name = d.text("name")
		case "disable_parallel_tool_use":
			r.OneCall = d.bool("disable_parallel_tool_use")
		}
	}
	switch typ {
	case "auto":
		r.Choice.Mode = wire.ChoiceAuto
	case "any":
		r.Choice.Mode = wire.ChoiceAny
	case "none":
		r.Choice.Mode = wire.ChoiceNone
	case "tool":
		r.Choice.Mode = wire.ChoiceTool
		if r.Choice.Name == "" {
			defer d.in("name")()
			d.fail("is missing; name the tool")
		}
		return
	default:
		defer d.in("type")()
		d.fail(`must be "auto", "any", "none" or "tool"`)
	}
	r.Choice.Name = ""
}

func (d *decoder) stops() (out []string) {
	defer d.in("stop_sequences")()
	s := &d.s
	if s.Null() {
		return nil
	}
	if s.Kind() != scan.Array {
		d.wrong("a list of strings")
		return nil
	}
	for i := range s.Items() {
		leave := d.at(i)
		if v, ok := s.Text(); ok {
			out = append(out, v)
		} else {
			d.wrong("a string")
		}
		leave()
	}
	return out
}

func (d *decoder) thinking(r *wire.Request) {
	defer d.in("thinking")()
	s := &d.s
	if s.Null() {
		return
	}
	if s.Kind() != scan.Object {
		d.wrong(`an object like {"type":"adaptive"}`)
		return
	}
	for key := range s.Fields() {
		switch string(key) {
		case "type":
			r.Thinking.Mode = d.text("type")
		case "budget_tokens":
			r.Thinking.Budget = d.whole("budget_tokens", 1)
		}
	}
	switch r.Thinking.Mode {
	case "enabled", "adaptive", "disabled":
	default:
		defer d.in("type")()
		d.fail(`must be "enabled", "adaptive" or "disabled"`)
	}
}

func (d *decoder) outputConfig(r *wire.Request) {
	defer d.in("output_config")()
	s := &d.s
	if s.Null() {
		return
	}
	if s.Kind() != scan.Object {
		d.wrong("an object")
		return
	}
	for key := range s.Fields() {
		switch string(key) {
		case "effort":
			r.Thinking.Effort = d.text("effort")
		case "format":
			d.format("format", r)
		}
	}
}

func (d *decoder) format(field string, r *wire.Request) {
	defer d.in(field)()
	s := &d.s
	if s.Null() {
		return
	}
	if s.Kind() != scan.Object {
		d.wrong(`an object like {"type":"json_schema","schema":{}}`)
		return
	}
	f := &wire.Format{}
	for key := range s.Fields() {
		switch string(key) {
		case "type":
			f.Type = d.text("type")
		case "name":
			f.Name = d.text("name")
		case "schema":
			f.Schema = d.raw("schema", scan.Object)
		}
	}
	switch {
	case f.Type != "json_schema":
		defer d.in("type")()
		d.fail(`must be "json_schema"`)
	case f.Schema == nil:
		defer d.in("schema")()
		d.fail("is missing; send a JSON schema")
	}
	r.Format = f
}
