package anthropic

import (
	"encoding/json"
	"strings"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// field reads a field whose value is a string or a list of blocks.
func (d *decoder) field(key string) []wire.Block {
	defer d.in(key)()
	return d.content()
}

// content reads a string or a list of blocks; null is as if it were empty.
func (d *decoder) content() (bs []wire.Block) {
	s := &d.s
	switch s.Kind() {
	case scan.Null:
		s.Skip()
	case scan.String:
		if text, ok := s.Text(); ok && text != "" {
			bs = []wire.Block{{Kind: wire.Text, Text: text}}
		}
	case scan.Array:
		for i := range s.Items() {
			leave := d.at(i)
			bs = append(bs, d.block()...)
			leave()
		}
	default:
		d.wrong("a string or a list of blocks")
	}
	return bs
}

// parts are the fields of any block, before its type says what they mean.
type parts struct {
	typ, text, thinking, signature, data string
	id, name, toolUseID, title           string
	input                                json.RawMessage
	content                              []wire.Block
	source                               source
	isError                              bool
	cache                                json.RawMessage
}

// source is where an image or document comes from.
type source struct {
	typ, mediaType, data, url, fileID string
	content                           []wire.Block
}

// block reads one block. Most give one, a document of several parts may give
// more, and what only the vendor can read gives none.
func (d *decoder) block() []wire.Block {
	s := &d.s
	if s.Kind() != scan.Object {
		d.wrong("an object with a type")
		return nil
	}
	p := d.parts()
	switch p.typ {
	case "text":
		return []wire.Block{{Kind: wire.Text, Text: p.text, Cache: p.cache}}
	case "image":
		b := wire.Block{Kind: wire.Image, Cache: p.cache}
		p.source.fill(&b)
		return []wire.Block{b}
	case "document":
		b := wire.Block{Kind: wire.Document, Title: p.title, Cache: p.cache}
		beside := p.source.fill(&b)
		return append([]wire.Block{b}, beside...)
	case "search_result":
		lines := append([]wire.Block{{Kind: wire.Text, Text: p.title}}, p.content...)
		return []wire.Block{{Kind: wire.Text, Text: joinText(lines), Cache: p.cache}}
	case "thinking":
		return []wire.Block{{Kind: wire.Reasoning, Text: p.thinking, Signature: p.signature}}
	case "redacted_thinking":
		return []wire.Block{{Kind: wire.Redacted, Text: p.data}}
	case "tool_use":
		if p.input == nil {
			p.input = json.RawMessage("{}")
		}
		return []wire.Block{{Kind: wire.ToolUse, ID: p.id, Name: p.name, Input: p.input, Cache: p.cache}}
	case "tool_result":
		if p.toolUseID == "" {
			defer d.in("tool_use_id")()
			d.fail("is missing; name the call that this is the result of")
		}
		return []wire.Block{{Kind: wire.ToolResult, ID: p.toolUseID, Content: p.content, IsError: p.isError, Cache: p.cache}}
	case "":
		defer d.in("type")()
		d.fail(`is missing; send one like "text"`)
	}
	return nil
}

func (d *decoder) parts() (p parts) {
	s := &d.s
	for key := range s.Fields() {
		switch string(key) {
		case "type":
			p.typ = d.text("type")
		case "text":
			p.text = d.text("text")
		case "thinking":
			p.thinking = d.text("thinking")
		case "signature":
			p.signature = d.text("signature")
		case "data":
			p.data = d.text("data")
		case "id":
			p.id = d.text("id")
		case "name":
			p.name = d.text("name")
		case "tool_use_id":
			p.toolUseID = d.text("tool_use_id")
		case "title":
			p.title = d.text("title")
		case "input":
			if !s.Null() {
				p.input = append(json.RawMessage(nil), s.Raw()...)
			}
		case "content":
			// The results of server tools have contents of their own shapes.
			if k := s.Kind(); k == scan.String || k == scan.Array {
				p.content = d.field("content")
			}
		case "source":
			if s.Kind() == scan.Object {
				p.source = d.source()
			}
		case "is_error":
			p.isError = d.bool("is_error")
		case "cache_control":
			p.cache = d.cache()
		}
	}
	return p
}

func (d *decoder) source() (src source) {
	defer d.in("source")()
	for key := range d.s.Fields() {
		switch string(key) {
		case "type":
			src.typ = d.text("type")
		case "media_type":
			src.mediaType = d.text("media_type")
		case "data":
			src.data = d.text("data")
		case "url":
			src.url = d.text("url")
		case "file_id":
			src.fileID = d.text("file_id")
		case "content":
			src.content = d.field("content")
		}
	}
	return src
}

// fill puts the source into an image or document, and returns the parts of a
// document that stand beside its text.
func (src *source) fill(b *wire.Block) (beside []wire.Block) {
	switch src.typ {
	case "base64":
		b.MediaType, b.Data = src.mediaType, src.data
	case "text":
		b.MediaType, b.Text = src.mediaType, src.data
	case "url":
		b.URL = src.url
	case "content":
		b.MediaType, b.Text = "text/plain", joinText(src.content)
		for _, c := range src.content {
			if c.Kind == wire.Image {
				beside = append(beside, c)
			}
		}
	case "file":
		if b.Kind == wire.Document && b.Title == "" {
			b.Title = src.fileID
		}
	}
	return beside
}

// joinText joins the texts among blocks, a line each.
func joinText(bs []wire.Block) string {
	var texts []string
	for _, b := range bs {
		if b.Kind == wire.Text && b.Text != "" {
			texts = append(texts, b.Text)
		}
	}
	return strings.Join(texts, "\n")
}
