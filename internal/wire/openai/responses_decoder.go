package openai

import (
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// responsesDecoder reads events into neutral ones. A provider tells its items one
// after the other; where it forgets the start or the end of one, it is made up.
type responsesDecoder struct {
	started bool
	open    bool
	kind    wire.BlockKind
	said    bool // the open block has said something
	custom  bool // the open call's input is no JSON, and told when it is whole
	calls   bool
	refused bool
	told    bool // something of the item was told
	parts   int  // of the open summary
	done    bool
	failed  bool
}

// Decode appends the events that a frame means.
func (d *responsesDecoder) Decode(dst []wire.Event, ev sse.Event) ([]wire.Event, error) {
	if len(ev.Data) == 0 || d.done || d.failed || string(ev.Data) == endMark {
		return dst, nil
	}
	f, err := readResponsesFrame(ev.Data)
	if err == nil {
		err = f.err
	}
	if err != nil {
		d.failed = true
		return dst, err
	}
	switch f.kind {
	case eventCreated, eventInProgress:
		dst = d.start(dst, &f)
	case eventItem:
		dst = d.begin(d.start(dst, &f), &f.item)
	case eventText:
		dst = d.delta(dst, &f, wire.Text)
	case eventRefusal:
		d.refused = true
		dst = d.delta(dst, &f, wire.Text)
	case eventSummary, eventThought:
		dst = d.delta(dst, &f, wire.Reasoning)
	case eventParagraph:
		if d.parts++; d.parts > 1 && d.open && d.kind == wire.Reasoning {
			dst = append(dst, wire.Event{Kind: wire.Delta, Text: paragraph})
		}
	case eventPartDone:
		if d.open && d.kind == wire.Text {
			dst = d.end(dst) // each part of a message is a block
		}
	case eventArguments:
		if !d.open || d.kind != wire.ToolUse {
			d.failed = true
			return dst, &wire.AnswerError{Kind: wire.Malformed, Msg: "arguments outside of a call"}
		}
		dst = d.delta(dst, &f, wire.ToolUse)
	case eventItemDone:
		dst = d.itemDone(d.start(dst, &f), &f.item)
	case eventCompleted, eventIncomplete:
		dst = d.finish(d.end(d.start(dst, &f)), &f)
	}
	return dst, nil
}

// Close reports a cut unless the answer was told to be over.
func (d *responsesDecoder) Close(dst []wire.Event) ([]wire.Event, error) {
	if d.done || d.failed {
		return dst, nil
	}
	d.failed = true
	return dst, responseCut()
}

func (d *responsesDecoder) start(dst []wire.Event, f *responsesFrame) []wire.Event {
	if d.started {
		return dst
	}
	d.started = true
	return append(dst, wire.Event{Kind: wire.Start, ID: f.answer.id, Model: f.answer.model, Created: f.answer.created, Usage: f.answer.usage})
}

// begin opens an item; a message begins with its text.
func (d *responsesDecoder) begin(dst []wire.Event, it *answerItem) []wire.Event {
	dst = d.end(dst)
	d.told = false
	switch {
	case it.isCall():
		b := it.blocks()[0]
		d.calls, d.custom = true, it.kind != itemCall
		return d.block(dst, wire.Block{Kind: wire.ToolUse, ID: b.ID, Name: b.Name, Alias: b.Alias})
	case it.kind == itemReasoning:
		return d.block(dst, wire.Block{Kind: wire.Reasoning})
	default:
		return dst
	}
}

func (d *responsesDecoder) block(dst []wire.Event, b wire.Block) []wire.Event {
	d.open, d.kind, d.said, d.parts = true, b.Kind, false, 0
	return append(dst, wire.Event{Kind: wire.BlockStart, Block: b})
}

// delta tells more of a block, and begins one of that kind if none is open.
func (d *responsesDecoder) delta(dst []wire.Event, f *responsesFrame, kind wire.BlockKind) []wire.Event {
	if f.delta == nil || len(f.delta) == 2 {
		return dst
	}
	if !d.open || d.kind != kind {
		dst = d.block(d.end(d.start(dst, f)), wire.Block{Kind: kind})
	}
	d.said, d.told = true, true
	return append(dst, wire.Event{Kind: wire.Delta, Text: string(scan.Unquote(f.delta))})
}

// itemDone closes an item, and tells what was not told before.
func (d *responsesDecoder) itemDone(dst []wire.Event, it *answerItem) []wire.Event {
	want := wire.Text
	switch {
	case it.isCall():
		want = wire.ToolUse
	case it.kind == itemReasoning:
		want = wire.Reasoning
	case it.kind != itemMessage:
		return d.end(dst)
	}
	whole := it.blocks()
	if !d.open || d.kind != want {
		if len(whole) == 0 || d.told {
			return d.end(dst)
		}
		dst = d.end(dst)
		b := wire.Block{Kind: want}
		if want == wire.ToolUse {
			d.calls, d.custom = true, it.kind != itemCall
			b.ID, b.Name, b.Alias = whole[0].ID, whole[0].Name, whole[0].Alias
		}
		dst = d.block(dst, b)
	}
	if it.refused {
		d.refused = true
	}
	if !d.said {
		text := ""
		for i, b := range whole {
			if i > 0 {
				text += "\n"
			}
			text += b.Text
		}
		if want == wire.ToolUse {
			text = it.args()
		}
		if text != "" {
			dst = append(dst, wire.Event{Kind: wire.Delta, Text: text})
			d.said = true
		}
	}
	if want == wire.Reasoning && it.encrypted != "" {
		dst = append(dst, wire.Event{Kind: wire.Sign, Text: it.encrypted})
	}
	return d.end(dst)
}

// end closes the open block, if there is one. A call without arguments gets an
// empty object.
func (d *responsesDecoder) end(dst []wire.Event) []wire.Event {
	if !d.open {
		return dst
	}
	d.open = false
	if d.kind == wire.ToolUse && !d.said && !d.custom {
		dst = append(dst, wire.Event{Kind: wire.Delta, Text: "{}"})
	}
	return append(dst, wire.Event{Kind: wire.BlockStop})
}

func (d *responsesDecoder) finish(dst []wire.Event, f *responsesFrame) []wire.Event {
	d.done = true
	stop := stopOfEnd(f)
	if d.refused && stop != wire.StopLength {
		stop = wire.StopRefusal
	}
	return append(dst, wire.Event{Kind: wire.Finish, Stop: settle(stop, d.calls), Usage: f.answer.usage})
}
