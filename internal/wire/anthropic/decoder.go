package anthropic

import (
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// NewDecoder reads a provider's stream.
func (Codec) NewDecoder() wire.Decoder { return &streamDecoder{} }

type streamDecoder struct {
	started bool
	open    bool
	skip    bool // the open block is a server tool's: nothing of it is told
	kind    wire.BlockKind
	input   []byte // of a call that told its input at its start and not in deltas
	usage   wire.Usage
	told    bool // some usage was
	stop    wire.Stop
	seq     string
	odd     string // a stop_reason that we do not know
	done    bool
}

// Decode appends the events that a frame means. Where a provider forgets a
// frame (the start of a message or block, the end of a block) it is made up:
// the events always come in order, and blocks never overlap.
func (d *streamDecoder) Decode(dst []wire.Event, ev sse.Event) ([]wire.Event, error) {
	if len(ev.Data) == 0 || d.done {
		return dst, nil
	}
	f, err := readFrame(ev.Data)
	if err != nil {
		return dst, err
	}
	if f.hasUsage {
		d.usage, d.told = d.usage.Max(f.usage), true
	}
	switch string(f.typ) {
	case "message_start":
		if !d.started {
			d.started = true
			dst = append(dst, wire.Event{Kind: wire.Start, ID: string(f.id), Model: string(f.model), Usage: d.report(f.hasUsage)})
		}
	case "content_block_start":
		dst = d.begin(d.end(dst), &f)
	case "content_block_delta":
		return d.delta(dst, &f)
	case "content_block_stop":
		dst = d.end(dst)
	case "message_delta":
		if f.stop != nil {
			d.stop, d.seq, d.odd = stopOf(f.stop), string(f.sequence), oddReason(f.stop)
		}
		if f.hasUsage {
			dst = append(dst, wire.Event{Kind: wire.UsageReport, Usage: d.report(true)})
		}
	case "message_stop":
		d.done = true
		dst = d.end(d.start(dst))
		dst = append(dst, wire.Event{Kind: wire.Finish, Stop: d.stop, StopSequence: d.seq, Odd: d.odd, Usage: d.report(d.told)})
	case "error":
		return dst, f.err
	}
	return dst, nil
}

// Close reports a cut unless message_stop was there.
func (d *streamDecoder) Close(dst []wire.Event) ([]wire.Event, error) {
	if !d.done {
		return dst, cut()
	}
	return dst, nil
}

func (d *streamDecoder) report(told bool) *wire.Usage {
	if !told {
		return nil
	}
	u := d.usage
	return &u
}

func (d *streamDecoder) start(dst []wire.Event) []wire.Event {
	if d.started {
		return dst
	}
	d.started = true
	return append(dst, wire.Event{Kind: wire.Start})
}

func (d *streamDecoder) begin(dst []wire.Event, f *frame) []wire.Event {
	dst = d.start(dst)
	b := wire.Block{}
	d.open, d.skip, d.input = true, false, nil
	switch string(f.kind) {
	case "text":
	case "thinking":
		b.Kind = wire.Reasoning
	case "redacted_thinking":
		b.Kind = wire.Redacted
		if f.data != nil {
			b.Text = string(scan.Unquote(f.data))
		}
	case "tool_use":
		b.Kind, b.ID, b.Name = wire.ToolUse, string(f.id), string(f.name)
		if len(f.input) > len("{}") {
			d.input = append(d.input, f.input...)
		}
	default:
		d.skip = true
		return dst
	}
	d.kind = b.Kind
	dst = append(dst, wire.Event{Kind: wire.BlockStart, Block: b})
	if len(f.text) > 2 && (b.Kind == wire.Text || b.Kind == wire.Reasoning) {
		dst = append(dst, wire.Event{Kind: wire.Delta, Text: string(scan.Unquote(f.text))})
	}
	return dst
}

func (d *streamDecoder) delta(dst []wire.Event, f *frame) ([]wire.Event, error) {
	want, event := wire.Text, wire.Delta
	switch string(f.kind) {
	case "text_delta":
	case "thinking_delta":
		want = wire.Reasoning
	case "signature_delta":
		want, event = wire.Reasoning, wire.Sign
	case "input_json_delta":
		want = wire.ToolUse
	default:
		return dst, nil // citations, and what is to come
	}
	switch {
	case d.open && d.skip:
		return dst, nil
	case d.open && d.kind == want:
	case want == wire.ToolUse:
		return dst, &wire.AnswerError{Kind: wire.Malformed, Msg: "arguments outside of a tool_use block"}
	case event == wire.Sign:
		return dst, nil // a signature of nothing
	default:
		dst = d.start(d.end(dst))
		d.open, d.skip, d.kind = true, false, want
		dst = append(dst, wire.Event{Kind: wire.BlockStart, Block: wire.Block{Kind: want}})
	}
	if len(f.text) > 2 {
		d.input = nil
		dst = append(dst, wire.Event{Kind: event, Text: string(scan.Unquote(f.text))})
	}
	return dst, nil
}

// end closes the open block, if there is one.
func (d *streamDecoder) end(dst []wire.Event) []wire.Event {
	if !d.open {
		return dst
	}
	d.open = false
	if d.skip {
		return dst
	}
	if d.input != nil {
		dst = append(dst, wire.Event{Kind: wire.Delta, Text: string(d.input)})
		d.input = nil
	}
	return append(dst, wire.Event{Kind: wire.BlockStop})
}
