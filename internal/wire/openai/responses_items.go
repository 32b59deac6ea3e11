package openai

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// input reads the conversation: a string, or a list of items.
func (d *itemsDecoder) input() {
	d.seen = true
	if text, ok := d.s.Text(); ok {
		d.say(wire.User, wire.Block{Kind: wire.Text, Text: text})
		return
	}
	if d.s.Kind() != scan.Array {
		d.wrong("input", "a string or a list of items")
		return
	}
	for i := range d.s.Items() {
		d.path = append(d.path, step{"input", i})
		d.item()
		d.path = d.path[:0]
	}
}

// say puts blocks behind the conversation. The items of one answer are one turn
// of the model; each message of anybody else is its own.
func (d *itemsDecoder) say(role wire.Role, blocks ...wire.Block) {
	r := &d.r
	if n := len(r.Messages) - 1; n >= 0 && role == wire.Assistant && r.Messages[n].Role == wire.Assistant {
		r.Messages[n].Blocks = append(r.Messages[n].Blocks, blocks...)
		return
	}
	r.Messages = append(r.Messages, wire.Message{Role: role, Blocks: blocks})
}

// item is one item as it is read, before its type tells what it means.
type item struct {
	kind, role, callID, name, namespace string
	content                             []wire.Block // of a message
	summary, thought                    []string     // of reasoning
	encrypted                           string
	arguments, input                    string
	action                              json.RawMessage // of a local shell call
	output                              []wire.Block
}

func (d *itemsDecoder) item() {
	if d.s.Kind() != scan.Object {
		d.fail("", "is "+d.s.Kind().String()+"; send an item object with a type")
		return
	}
	// What a field holds depends on the type, which may stand behind it.
	probe := d.s
	var m item
	for key := range probe.Fields() {
		switch string(key) {
		case "type":
			m.kind, _ = probe.Text()
		case "role":
			m.role, _ = probe.Text()
		}
	}
	if m.kind == "" && m.role != "" {
		m.kind = itemMessage
	}
	for key := range d.s.Fields() {
		d.itemField(&m, string(key))
	}
	d.add(&m)
}

func (d *itemsDecoder) itemField(m *item, key string) {
	switch key {
	case "call_id":
		m.callID = d.text(key)
	case "id":
		if m.kind == itemShellResult && m.callID == "" { // it names its call so
			m.callID = d.text(key)
		}
	case "name":
		m.name = d.text(key)
	case "namespace":
		m.namespace = d.text(key)
	case "arguments":
		m.arguments = rawText(&d.s)
	case "input":
		m.input = rawText(&d.s)
	case "encrypted_content":
		m.encrypted = d.text(key)
	case "action":
		m.action = d.raw()
	case "output":
		m.output = d.output()
	case "content":
		switch m.kind {
		case itemMessage:
			m.content = d.content()
		case itemReasoning:
			m.thought = readTexts(&d.s)
		}
	case "summary":
		m.summary = readTexts(&d.s)
	}
}

// readTexts returns the texts of a list of parts.
func readTexts(s *scan.Scanner) (texts []string) {
	for range s.Items() {
		for key := range s.Fields() {
			if string(key) == "text" {
				if text, ok := s.Text(); ok && text != "" {
					texts = append(texts, text)
				}
			}
		}
	}
	return texts
}

// output reads what a tool gave: a string, parts, or the object in which some
// clients wrap either.
func (d *itemsDecoder) output() []wire.Block {
	if d.s.Kind() != scan.Object {
		return d.content()
	}
	var blocks []wire.Block
	for key := range d.s.Fields() {
		if string(key) == "content" || string(key) == "output" {
			blocks = d.content()
		}
	}
	return blocks
}

// add puts an item where it belongs in the neutral conversation.
func (d *itemsDecoder) add(m *item) {
	switch m.kind {
	case itemMessage:
		d.message(m)
	case itemReasoning:
		texts := m.summary
		if len(texts) == 0 {
			texts = m.thought
		}
		if b := (wire.Block{Kind: wire.Reasoning, Text: strings.Join(texts, paragraph), Signature: m.encrypted}); b.Text != "" || b.Signature != "" {
			d.say(wire.Assistant, b)
		}
	case itemCall:
		d.call(m, flatName(m.namespace, m.name), wire.Arguments(m.arguments))
	case itemCustom:
		d.call(m, flatName(m.namespace, m.name), customArguments(m.input))
	case itemShell:
		d.call(m, shellTool, wire.Arguments(string(m.action)))
	case itemResult, itemCustomResult, itemShellResult:
		d.result(m)
	case itemReference:
		d.fail("type", "item_reference names an item that only the server that keeps it can read; send the item itself")
	case "":
		d.fail("type", "missing; send one like message or function_call")
	default:
		// What OpenAI's servers did themselves; its outcome stands in the answer
		// that followed.
		d.r.Notes = append(d.r.Notes, wire.Note{Event: "item-skipped", Type: m.kind, Name: m.name})
	}
}

// paragraph stands between the parts of a summary, as agents show them.
const paragraph = "\n\n"

func (d *itemsDecoder) message(m *item) {
	r := &d.r
	switch m.role {
	case "":
		d.fail("role", "missing; send system, developer, user or assistant")
	case "user":
		d.say(wire.User, m.content...)
	case "assistant":
		blocks := m.content[:0]
		for _, b := range m.content {
			if b.Kind != wire.Text || b.Text != "" {
				blocks = append(blocks, b)
			}
		}
		d.say(wire.Assistant, blocks...)
	default: // system, developer, and roles that we do not know
		if len(r.Messages) == 0 {
			r.System = append(r.System, m.content...)
			return
		}
		d.say(wire.System, m.content...)
	}
}

func (d *itemsDecoder) call(m *item, name string, input json.RawMessage) {
	if m.callID == "" {
		d.fail("call_id", "missing; send the call_id that the answer gave the call")
	}
	if name == "" {
		d.fail("name", "missing; name the tool that was called")
	}
	d.say(wire.Assistant, wire.Block{Kind: wire.ToolUse, ID: m.callID, Name: name, Input: input})
}

func (d *itemsDecoder) result(m *item) {
	if m.callID == "" {
		d.fail("call_id", "missing; name the call that this is the result of")
	}
	b := wire.Block{Kind: wire.ToolResult, ID: m.callID, Content: m.output}
	r := &d.r
	if n := len(r.Messages) - 1; n >= 0 && onlyResults(r.Messages[n]) {
		r.Messages[n].Blocks = append(r.Messages[n].Blocks, b)
		return
	}
	d.say(wire.User, b)
}

// content reads an item's content.
func (d *itemsDecoder) content() []wire.Block { return d.parts(d.part) }

func (d *itemsDecoder) part() (b wire.Block, ok bool) {
	if d.s.Kind() != scan.Object {
		d.fail("", "is "+d.s.Kind().String()+"; send a part object with a type")
		return b, false
	}
	var kind, fileID, fileURL string
	for key := range d.s.Fields() {
		switch string(key) {
		case "type":
			kind = d.text("type")
		case "text":
			b.Text = d.text("text")
		case "refusal":
			b.Text = d.text("refusal")
		case "image_url", "file_data":
			if url := d.text(string(key)); url != "" {
				b.URL = url
			}
		case "file_url":
			fileURL = d.text("file_url")
		case "detail":
			b.Detail = d.text("detail")
		case "filename":
			b.Title = d.text("filename")
		case "file_id":
			fileID = d.text("file_id")
		}
	}
	switch kind {
	case partInput, partOutput, "text", "refusal", "summary_text", "reasoning_text":
		return wire.Block{Kind: wire.Text, Text: b.Text}, true
	case "input_image":
		b.Kind, b.Text, b.Title = wire.Image, "", ""
		switch {
		case b.URL != "":
			unpackDataURI(&b)
		case fileID != "":
			d.fail("file_id", "names a file of one vendor, which no other can read; send image_url")
		default:
			d.fail("image_url", "missing; send a URL or a data URI")
		}
		if b.Detail == "auto" {
			b.Detail = "" // what it is unless said
		}
	case "input_file":
		b.Kind, b.Text, b.Detail = wire.Document, "", ""
		switch {
		case b.URL != "":
			unpackDataURI(&b)
		case fileURL != "":
			b.URL = fileURL
		case fileID != "":
			d.fail("file_id", "names a file of one vendor, which no other can read; send file_data")
		default:
			d.fail("file_data", "missing; send a data URI")
		}
	case "":
		d.fail("type", "missing; send input_text, input_image or input_file")
	default:
		d.fail("type", strconv.Quote(kind)+" does not translate; send input_text, input_image or input_file")
	}
	return b, true
}
