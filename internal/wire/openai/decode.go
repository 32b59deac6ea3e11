package openai

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// DecodeRequest reads a chat request for another wire. What has no counterpart
// anywhere else and would change the answer's shape (several choices, audio,
// the functions of 2023) is refused with the remedy.
func (Chat) DecodeRequest(body []byte) (*wire.Request, error) {
	d := requestDecoder{s: scan.New(body), r: wire.Request{From: drey.WireChat}}
	if err := d.fields(d.field); err != nil {
		return nil, err
	}
	if !d.seen {
		d.fail("messages", "missing; send the conversation as a list of messages")
	} else if len(d.r.Messages)+len(d.r.System) == 0 {
		d.fail("messages", "empty; send at least one message")
	}
	if d.err != nil {
		return nil, d.err
	}
	return &d.r, nil
}

// fields reads the body, which is one object, with field for each of its fields.
func (d *requestDecoder) fields(field func(key string)) error {
	if k := d.s.Kind(); k != scan.Object {
		return &wire.BodyError{Msg: "the body is " + k.String() + "; send one JSON object"}
	}
	for key := range d.s.Fields() {
		field(string(key))
	}
	if err := d.s.End(); err != nil {
		return wire.BadJSON(err)
	}
	return nil
}

type requestDecoder struct {
	s    scan.Scanner
	r    wire.Request
	path []step // where the scanner is
	err  *wire.BodyError
	seen bool // "messages" is there
}

// step is a list and an index in it.
type step struct {
	list string
	i    int
}

// fail keeps the first complaint.
func (d *requestDecoder) fail(field, msg string) {
	if d.err != nil {
		return
	}
	var b strings.Builder
	for _, p := range d.path {
		b.WriteString(p.list + "[" + strconv.Itoa(p.i) + "].")
	}
	d.err = &wire.BodyError{Field: strings.TrimSuffix(b.String()+field, "."), Msg: msg}
}

// wrong complains about the kind of the next value, unless that is null, which
// stands for a field left out.
func (d *requestDecoder) wrong(field, want string) {
	if k := d.s.Kind(); k != scan.Null && k != scan.None {
		d.fail(field, "is "+k.String()+"; send "+want)
	}
}

func (d *requestDecoder) text(field string) string {
	v, ok := d.s.Text()
	if !ok {
		d.wrong(field, "a string")
	}
	return v
}

func (d *requestDecoder) flag(field string) bool {
	v, ok := d.s.Bool()
	if !ok {
		d.wrong(field, "true or false")
	}
	return v
}

func (d *requestDecoder) whole(field string) int {
	isNumber := d.s.Kind() == scan.Number
	n, ok := d.s.Int()
	switch {
	case ok:
	case isNumber:
		d.fail(field, "is no whole number; send one")
	default:
		d.wrong(field, "a whole number")
	}
	return n
}

// number returns a number as it is spelled; nil for null.
func (d *requestDecoder) number(field string) json.RawMessage {
	if d.s.Kind() != scan.Number {
		d.wrong(field, "a number")
		return nil
	}
	return d.raw()
}

// raw returns a copy of the next value's bytes; nil for null.
func (d *requestDecoder) raw() json.RawMessage {
	if d.s.Null() {
		return nil
	}
	return bytes.Clone(d.s.Raw())
}

func (d *requestDecoder) field(key string) {
	s, r := &d.s, &d.r
	switch key {
	case "model":
		r.Model = d.text(key)
	case "messages":
		d.seen = true
		if s.Kind() != scan.Array {
			d.wrong(key, "a list of messages")
			return
		}
		for i := range s.Items() {
			d.path = append(d.path, step{key, i})
			d.message()
			d.path = d.path[:0]
		}
	case "tools":
		if s.Kind() != scan.Array {
			d.wrong(key, "a list of tools")
			return
		}
		for i := range s.Items() {
			d.path = append(d.path, step{key, i})
			d.tool()
			d.path = d.path[:0]
		}
	case "tool_choice":
		d.choice()
	case "functions", "function_call":
		if !s.Null() {
			d.fail(key, "the old form of tools does not translate; use tools and tool_choice")
		}
	case "web_search_options":
		if !s.Null() {
			r.Tools = append(r.Tools, wire.Tool{Type: "web_search", Name: "web_search"})
		}
	case "parallel_tool_calls":
		if v, ok := s.Bool(); ok {
			r.OneCall = !v
		} else {
			d.wrong(key, "true or false")
		}
	case "max_tokens", "max_completion_tokens":
		r.MaxTokens = max(r.MaxTokens, d.whole(key))
	case "temperature":
		r.Temperature = d.number(key)
	case "top_p":
		r.TopP = d.number(key)
	case "top_k":
		r.TopK = d.number(key)
	case "stop":
		if text, ok := s.Text(); ok {
			r.Stop = []string{text}
			return
		}
		if s.Kind() != scan.Array {
			d.wrong(key, "a string or a list of strings")
			return
		}
		for i := range s.Items() {
			r.Stop = append(r.Stop, d.text("stop["+strconv.Itoa(i)+"]"))
		}
	case "stream":
		r.Stream = d.flag(key)
	case "stream_options":
		for k := range s.Fields() {
			if string(k) == "include_usage" {
				r.WantUsage = d.flag("stream_options.include_usage")
			}
		}
	case "reasoning_effort":
		switch effort := d.text(key); effort {
		case "":
		case "none":
			r.Thinking.Mode = "disabled"
		default:
			r.Thinking = wire.Thinking{Mode: "enabled", Effort: effort}
		}
	case "response_format":
		d.format()
	case "user":
		r.User = d.text(key)
	case "n":
		if d.whole(key) > 1 {
			d.fail(key, "the provider's wire gives one choice only; send n: 1 or leave it out, and ask again for another")
		}
	case "modalities":
		for range s.Items() {
			if v, _ := s.Text(); v == "audio" {
				d.fail(key, "audio does not translate; ask for text")
			}
		}
	case "seed", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs",
		"min_p", "repetition_penalty":
		if v := d.raw(); v != nil {
			r.ChatOnly = append(r.ChatOnly, wire.ExtraField{Key: key, Value: v})
		}
	}
}

// chatMessage is a message as it is read, before its role tells what it means.
type chatMessage struct {
	role, name, callID string
	content            []wire.Block
	reasoning          string
	refusal            string
	calls              []wire.Block
}

func (d *requestDecoder) message() {
	if d.s.Kind() != scan.Object {
		d.fail("", "is "+d.s.Kind().String()+"; send a message object with role and content")
		return
	}
	var m chatMessage
	for key := range d.s.Fields() {
		switch string(key) {
		case "role":
			m.role = d.text("role")
		case "name":
			m.name = d.text("name")
		case "content":
			m.content = d.content()
		case "tool_call_id":
			m.callID = d.text("tool_call_id")
		case "reasoning_content":
			m.reasoning = d.text("reasoning_content")
		case "reasoning":
			if text, ok := d.s.Text(); ok && m.reasoning == "" {
				m.reasoning = text
			}
		case "refusal":
			m.refusal = d.text("refusal")
		case "tool_calls":
			if d.s.Kind() != scan.Array {
				d.wrong("tool_calls", "a list of calls")
				continue
			}
			for i := range d.s.Items() {
				d.path = append(d.path, step{"tool_calls", i})
				m.calls = append(m.calls, d.call())
				d.path = d.path[:len(d.path)-1]
			}
		case "function_call":
			if !d.s.Null() {
				d.fail("function_call", "the old form of tools does not translate; use tool_calls")
			}
		}
	}
	d.add(m)
}

// add puts a message where it belongs in the neutral conversation.
func (d *requestDecoder) add(m chatMessage) {
	r := &d.r
	switch m.role {
	case "":
		d.fail("role", "missing; send system, user, assistant or tool")
	case "user":
		r.Messages = append(r.Messages, wire.Message{Role: wire.User, Name: m.name, Blocks: m.content})
	case "assistant":
		blocks := make([]wire.Block, 0, 2+len(m.content)+len(m.calls))
		if m.reasoning != "" {
			blocks = append(blocks, wire.Block{Kind: wire.Reasoning, Text: m.reasoning})
		}
		for _, b := range m.content {
			if b.Kind != wire.Text || b.Text != "" {
				blocks = append(blocks, b)
			}
		}
		if m.refusal != "" {
			blocks = append(blocks, wire.Block{Kind: wire.Text, Text: m.refusal})
		}
		r.Messages = append(r.Messages, wire.Message{Role: wire.Assistant, Name: m.name, Blocks: append(blocks, m.calls...)})
	case "tool":
		if m.callID == "" {
			d.fail("tool_call_id", "missing; name the call that this is the result of")
		}
		result := wire.Block{Kind: wire.ToolResult, ID: m.callID, Name: m.name, Content: m.content}
		if n := len(r.Messages) - 1; n >= 0 && onlyResults(r.Messages[n]) {
			r.Messages[n].Blocks = append(r.Messages[n].Blocks, result)
			return
		}
		r.Messages = append(r.Messages, wire.Message{Role: wire.User, Blocks: []wire.Block{result}})
	case "function":
		d.fail("role", "the old form of tool results does not translate; use tool with a tool_call_id")
	default: // system, developer, and roles that we do not know
		if len(r.Messages) == 0 {
			r.System = append(r.System, m.content...)
			return
		}
		r.Messages = append(r.Messages, wire.Message{Role: wire.System, Name: m.name, Blocks: m.content})
	}
}

// onlyResults reports whether m is a batch of tool results.
func onlyResults(m wire.Message) bool {
	return m.Role == wire.User && len(m.Blocks) > 0 && m.Blocks[0].Kind == wire.ToolResult
}

// content reads a message's content.
func (d *requestDecoder) content() []wire.Block { return d.parts(d.part) }

// parts reads a content: a string, parts, or null. part reads one.
func (d *requestDecoder) parts(part func() (wire.Block, bool)) []wire.Block {
	if text, ok := d.s.Text(); ok {
		return []wire.Block{{Kind: wire.Text, Text: text}}
	}
	if d.s.Kind() != scan.Array {
		d.wrong("content", "a string or a list of parts")
		return nil
	}
	var blocks []wire.Block
	for i := range d.s.Items() {
		d.path = append(d.path, step{"content", i})
		if b, ok := part(); ok {
			blocks = append(blocks, b)
		}
		d.path = d.path[:len(d.path)-1]
	}
	return blocks
}

func (d *requestDecoder) part() (wire.Block, bool) {
	if d.s.Kind() != scan.Object {
		d.fail("", "is "+d.s.Kind().String()+"; send a part object with a type")
		return wire.Block{}, false
	}
	var b wire.Block
	var kind, fileID string
	for key := range d.s.Fields() {
		switch string(key) {
		case "type":
			kind = d.text("type")
		case "text":
			b.Text = d.text("text")
		case "refusal":
			b.Text = d.text("refusal")
		case "cache_control":
			if b.Cache = d.raw(); b.Cache != nil {
				d.r.CachedPrefix = true
			}
		case "image_url":
			if url, ok := d.s.Text(); ok { // a short form that backends take
				b.URL = url
				continue
			}
			for key := range d.s.Fields() {
				switch string(key) {
				case "url":
					b.URL = d.text("image_url.url")
				case "detail":
					b.Detail = d.text("image_url.detail")
				}
			}
		case "file":
			for key := range d.s.Fields() {
				switch string(key) {
				case "filename":
					b.Title = d.text("file.filename")
				case "file_data":
					b.URL = d.text("file.file_data")
				case "file_id":
					fileID = d.text("file.file_id")
				}
			}
		}
	}
	switch kind {
	case "text", "refusal":
		b.Kind = wire.Text
	case "image_url":
		b.Kind = wire.Image
		if b.URL == "" {
			d.fail("image_url.url", "missing; send a URL or a data URI")
		}
		unpackDataURI(&b)
	case "file":
		b.Kind = wire.Document
		switch {
		case fileID != "":
			d.fail("file.file_id", "names a file of one vendor, which no other can read; send file_data")
		case b.URL == "":
			d.fail("file.file_data", "missing; send a data URI")
		}
		unpackDataURI(&b)
	case "":
		d.fail("type", "missing; send text, image_url or file")
	default:
		d.fail("type", strconv.Quote(kind)+" does not translate; send text, image_url or file")
	}
	return b, true
}

// unpackDataURI turns a base64 data URI into its media type and data.
func unpackDataURI(b *wire.Block) {
	head, data, ok := strings.Cut(b.URL, ";base64,")
	if mediaType, found := strings.CutPrefix(head, "data:"); ok && found {
		b.MediaType, b.Data, b.URL = mediaType, data, ""
	}
}

// call reads one tool call of the history.
func (d *requestDecoder) call() wire.Block {
	b := wire.Block{Kind: wire.ToolUse}
	for key := range d.s.Fields() {
		switch string(key) {
		case "id":
			b.ID = d.text("id")
		case "function":
			for key := range d.s.Fields() {
				switch string(key) {
				case "name":
					b.Name = d.text("function.name")
				case "arguments":
					b.Input = wire.Arguments(d.text("function.arguments"))
				}
			}
		case "custom":
			for key := range d.s.Fields() {
				switch string(key) {
				case "name":
					b.Name = d.text("custom.name")
				case "input":
					b.Input = customArguments(d.text("custom.input"))
				}
			}
		}
	}
	if b.ID == "" {
		d.fail("id", "missing; send the id that the answer gave the call")
	}
	if b.Name == "" {
		d.fail("function.name", "missing; name the tool that was called")
	}
	if b.Input == nil {
		b.Input = wire.Arguments("")
	}
	return b
}
