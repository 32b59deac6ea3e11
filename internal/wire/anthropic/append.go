package anthropic

import (
	"encoding/json"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// appendTurn writes the i-th turn. One plain text is written as a string.
func (e *encoder) appendTurn(dst []byte, i int, m wire.Message) []byte {
	if i > 0 {
		dst = append(dst, ',')
	}
	if m.Role == wire.Assistant {
		dst = append(dst, `{"role":"assistant","content":`...)
	} else {
		dst = append(dst, `{"role":"user","content":`...)
	}
	return append(e.appendContent(dst, m.Blocks), '}')
}

func (e *encoder) appendContent(dst []byte, bs []wire.Block) []byte {
	if len(bs) == 1 && bs[0].Kind == wire.Text && (bs[0].Cache == nil || !e.to.Cache) {
		return scan.AppendString(dst, bs[0].Text)
	}
	dst = append(dst, '[')
	for i := range bs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = e.appendBlock(dst, &bs[i])
	}
	return append(dst, ']')
}

func (e *encoder) appendBlock(dst []byte, b *wire.Block) []byte {
	switch b.Kind {
	case wire.Text:
		return appendText(dst, b.Text, e.mark(b.Cache))
	case wire.Image, wire.Document:
		dst = appendMedia(dst, b)
	case wire.ToolUse, wire.Reasoning, wire.Redacted:
		dst = appendAnswer(dst, b)
	case wire.ToolResult:
		dst = scan.AppendString(append(dst, `{"type":"tool_result","tool_use_id":`...), b.ID)
		if len(b.Content) > 0 {
			dst = e.appendContent(append(dst, `,"content":`...), b.Content)
		}
		if b.IsError {
			dst = append(dst, `,"is_error":true`...)
		}
	}
	return appendCache(dst, e.mark(b.Cache))
}

// appendMedia writes an image or document without its closing brace.
func appendMedia(dst []byte, b *wire.Block) []byte {
	if b.Kind == wire.Image {
		dst = append(dst, `{"type":"image","source":{`...)
	} else {
		dst = append(dst, `{"type":"document","source":{`...)
	}
	switch {
	case b.Data != "":
		dst = scan.AppendString(append(dst, `"type":"base64","media_type":`...), b.MediaType)
		// Base64 needs no escapes; what is none is the provider's to refuse.
		dst = scan.AppendString(append(dst, `,"data":`...), b.Data)
	case b.URL != "":
		dst = scan.AppendString(append(dst, `"type":"url","url":`...), b.URL)
	default:
		dst = scan.AppendString(append(dst, `"type":"text","media_type":"text/plain","data":`...), b.Text)
	}
	dst = append(dst, '}')
	if b.Title != "" {
		dst = scan.AppendString(append(dst, `,"title":`...), b.Title)
	}
	return dst
}

// appendAnswer writes what only an assistant says, without the closing brace.
func appendAnswer(dst []byte, b *wire.Block) []byte {
	switch b.Kind {
	case wire.ToolUse:
		dst = scan.AppendString(append(dst, `{"type":"tool_use","id":`...), b.ID)
		dst = scan.AppendString(append(dst, `,"name":`...), b.Name)
		return append(append(dst, `,"input":`...), object(b.Input)...)
	case wire.Reasoning:
		dst = scan.AppendString(append(dst, `{"type":"thinking","thinking":`...), b.Text)
		return scan.AppendString(append(dst, `,"signature":`...), signature(b.Signature))
	default:
		return scan.AppendString(append(dst, `{"type":"redacted_thinking","data":`...), b.Text)
	}
}

// ownSignature marks reasoning that came without a signature.
const ownSignature = wire.OwnSignature + "unsigned"

func signature(s string) string {
	if s == "" {
		return ownSignature
	}
	return s
}

// object returns a call's arguments as the object that the wire insists on:
// nothing is the empty one, and what is none is kept under _raw, so that the
// model sees what it wrote.
func object(input json.RawMessage) json.RawMessage {
	s := scan.New(input)
	switch s.Kind() {
	case scan.None:
		if len(input) == s.Offset() {
			return json.RawMessage("{}")
		}
	case scan.Object:
		if s.Skip(); s.End() == nil {
			return input
		}
	}
	return append(scan.AppendString(json.RawMessage(`{"_raw":`), []byte(input)), '}')
}
