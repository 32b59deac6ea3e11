package anthropic

import (
	"cmp"
	"strconv"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// NewEncoder writes a caller's stream.
func (Codec) NewEncoder(o wire.EncoderOptions) wire.Encoder {
	return &streamEncoder{o: o, usage: wire.Usage{Input: o.InputTokens}}
}

// streamEncoder writes the frames in the wire's order: indices without gaps, and
// never two blocks open. A block of text or thinking begins with its first
// character, so that an empty one leaves no trace: it would come back in the
// history and be refused there.
type streamEncoder struct {
	o       wire.EncoderOptions
	index   int // of the open block, or of the next one
	waiting bool
	open    bool
	kind    wire.BlockKind // of the block that waits or is open
	signed  bool
	tools   bool
	usage   wire.Usage
	told    bool           // the provider reported usage
	said    wire.Estimator // what was sent, for a provider that reports none
}

// Encode appends the frames of one event.
func (e *streamEncoder) Encode(dst []byte, ev wire.Event) []byte {
	if ev.Usage != nil {
		if !e.told {
			e.told, e.usage = true, wire.Usage{}
		}
		e.usage = e.usage.Max(*ev.Usage)
	}
	switch ev.Kind {
	case wire.Start:
		return e.start(dst, ev)
	case wire.BlockStart:
		dst = e.stop(dst)
		e.kind, e.waiting, e.signed = ev.Block.Kind, true, false
		if e.kind == wire.ToolUse || e.kind == wire.Redacted {
			dst = e.begin(dst, &ev.Block)
		}
	case wire.Delta:
		if ev.Text == "" {
			return dst
		}
		if e.waiting {
			dst = e.begin(dst, &wire.Block{Kind: e.kind})
		}
		e.said.Add(ev.Text)
		switch e.kind {
		case wire.ToolUse:
			dst = e.delta(dst, `"input_json_delta","partial_json":`, ev.Text)
		case wire.Reasoning:
			dst = e.delta(dst, `"thinking_delta","thinking":`, ev.Text)
		default:
			dst = e.delta(dst, `"text_delta","text":`, ev.Text)
		}
	case wire.Sign:
		if !e.waiting && !e.open {
			return dst // a signature of nothing
		}
		if e.waiting { // thinking that is told only by its signature
			dst = e.begin(dst, &wire.Block{Kind: e.kind})
		}
		e.signed = true
		dst = e.delta(dst, `"signature_delta","signature":`, ev.Text)
	case wire.BlockStop:
		dst = e.stop(dst)
	case wire.UsageReport:
		// Told at the end, with what else is known then.
	case wire.Finish:
		dst = e.finish(e.stop(dst), ev)
	}
	return dst
}

func (e *streamEncoder) start(dst []byte, ev wire.Event) []byte {
	id := e.o.ID
	if id == "" {
		id = messageID(ev.ID)
	}
	dst = append(dst, "event: message_start\n"+`data: {"type":"message_start","message":{"id":`...)
	dst = scan.AppendString(dst, id)
	dst = append(dst, `,"type":"message","role":"assistant","model":`...)
	dst = scan.AppendString(dst, cmp.Or(ev.Model, e.o.Model))
	dst = append(dst, `,"content":[],"stop_reason":null,"stop_sequence":null,"usage":`...)
	dst = appendUsage(dst, wire.Usage{Input: e.o.InputTokens})
	return append(dst, "}}\n\n"...)
}

func (e *streamEncoder) begin(dst []byte, b *wire.Block) []byte {
	e.waiting, e.open = false, true
	dst = append(dst, "event: content_block_start\n"+`data: {"type":"content_block_start","index":`...)
	dst = append(strconv.AppendInt(dst, int64(e.index), 10), `,"content_block":`...)
	switch b.Kind {
	case wire.ToolUse:
		e.tools = true
		e.said.Add(b.Name)
		dst = appendAnswer(dst, &wire.Block{Kind: wire.ToolUse, ID: b.ID, Name: b.Name})
	case wire.Redacted:
		dst = appendAnswer(dst, b)
	case wire.Reasoning:
		dst = append(dst, `{"type":"thinking","thinking":"","signature":""`...)
	default:
		dst = append(dst, `{"type":"text","text":""`...)
	}
	return append(dst, "}}\n\n"...)
}

func (e *streamEncoder) delta(dst []byte, head, text string) []byte {
	dst = append(dst, "event: content_block_delta\n"+`data: {"type":"content_block_delta","index":`...)
	dst = append(strconv.AppendInt(dst, int64(e.index), 10), `,"delta":{"type":`...)
	dst = scan.AppendString(append(dst, head...), text)
	return append(dst, "}}\n\n"...)
}

func (e *streamEncoder) stop(dst []byte) []byte {
	e.waiting = false
	if !e.open {
		return dst
	}
	if e.kind == wire.Reasoning && !e.signed {
		dst = e.delta(dst, `"signature_delta","signature":`, ownSignature)
	}
	e.open = false
	dst = append(dst, "event: content_block_stop\n"+`data: {"type":"content_block_stop","index":`...)
	dst = strconv.AppendInt(dst, int64(e.index), 10)
	e.index++
	return append(dst, "}\n\n"...)
}

func (e *streamEncoder) finish(dst []byte, ev wire.Event) []byte {
	if e.usage.Input+e.usage.CacheRead+e.usage.CacheWrite == 0 {
		e.usage.Input = e.o.InputTokens
	}
	if e.usage.Output == 0 {
		// Never 0 for an answer that says something.
		e.usage.Output = e.said.Tokens()
	}
	dst = append(dst, "event: message_delta\n"+`data: {"type":"message_delta","delta":{"stop_reason":`...)
	dst = appendStop(dst, stopReason(ev.Stop, e.tools), ev.StopSequence)
	dst = append(dst, `},"usage":`...)
	dst = appendUsage(dst, e.usage)
	return append(dst, "}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"...)
}
