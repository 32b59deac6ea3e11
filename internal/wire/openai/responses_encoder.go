package openai

import (
	"cmp"
	"strconv"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// responsesEncoder writes neutral events as those of a Responses stream: created,
// in progress, then item by item its start, its part, deltas and ends, and last
// the whole answer. An item of text or reasoning begins with its first
// character, so that an empty one leaves no trace in the history.
type responsesEncoder struct {
	o    wire.EncoderOptions
	head answerHead
	ids  itemIDs

	next    int // sequence number
	index   int // of the open item, or of the next one
	waiting bool
	open    bool
	block   wire.Block // the one that waits or is open
	item    output     // the one that is open
	deltas  bool       // its deltas are told as they come
	items   []byte     // those that are done, joined by commas
	calls   bool
	usage   *wire.Usage
	made    wire.Estimator // of the answer, where the provider reports no usage
	data    []byte         // reused

	followed int  // of items, those that went to the caller as they came
	unended  bool // the last item went so, all but its end
}

// Next is the number of the event that would follow.
func (e *responsesEncoder) Next() int { return e.next }

// Encode writes the events of one neutral event.
func (e *responsesEncoder) Encode(dst []byte, ev wire.Event) []byte {
	if ev.Usage != nil {
		sum := *ev.Usage
		if e.usage != nil {
			sum = sum.Max(*e.usage)
		}
		e.usage = &sum
	}
	switch ev.Kind {
	case wire.Start:
		return e.start(dst, ev)
	case wire.BlockStart:
		dst = e.stop(dst)
		e.block, e.waiting = ev.Block, ev.Block.Kind != wire.Redacted // only its vendor could read that
		if ev.Block.Kind == wire.ToolUse {
			dst = e.begin(dst)
		}
	case wire.Delta:
		return e.delta(dst, ev.Text)
	case wire.BlockStop:
		return e.stop(dst)
	case wire.Sign:
		// The signature of another wire stays there: here it would be taken for
		// OpenAI's own.
		if !e.o.Signed || !e.waiting && !e.open {
			return dst
		}
		if e.waiting { // reasoning that is told only by its signature
			dst = e.begin(dst)
		}
		e.item.sign += ev.Text
	case wire.Finish:
		return e.finish(e.endItem(e.stop(dst)), ev)
	}
	return dst // usage is told at the end
}

// event writes an event whose own fields are made by fields.
func (e *responsesEncoder) event(dst []byte, kind string, fields func([]byte) []byte) []byte {
	e.data = append(fields(numbered(e.data[:0], kind, e.next, "")), '}')
	e.next++
	return sse.AppendEvent(dst, kind, e.data)
}

func (e *responsesEncoder) response(dst []byte, kind string, usage *wire.Usage) []byte {
	return e.event(dst, kind, func(b []byte) []byte {
		return appendResponse(append(b, `"response":`...), e.head, e.items, usage)
	})
}

func (e *responsesEncoder) start(dst []byte, ev wire.Event) []byte {
	id := e.o.ID
	if id == "" {
		id = responseID(ev.ID)
	}
	e.head = answerHead{
		id: id, model: cmp.Or(ev.Model, e.o.Model), created: e.o.Created, status: statusInProgress,
	}
	e.ids = idsOf(e.head.id)
	return e.response(e.response(dst, eventCreated, nil), eventInProgress, nil)
}

// begin opens the item of the block that waits, and the part of it.
func (e *responsesEncoder) begin(dst []byte) []byte {
	dst = e.endItem(dst)
	e.waiting, e.open = false, true
	e.item = newOutput(e.ids, e.index, &e.block)
	e.deltas = e.block.Kind != wire.ToolUse || e.item.form == wire.FunctionForm
	if e.block.Kind == wire.ToolUse {
		e.calls = true
		e.made.Add(e.block.Name)
	}
	if e.item.form == wire.ShellForm {
		return dst // it has no form without its action
	}
	dst = e.itemEvent(dst, eventItem, statusInProgress)
	switch e.block.Kind {
	case wire.ToolUse:
		return dst
	case wire.Reasoning:
		return e.part(dst, eventParagraph, true)
	default:
		return e.part(dst, eventPart, true)
	}
}

func (e *responsesEncoder) itemEvent(dst []byte, kind, status string) []byte {
	return e.event(dst, kind, func(b []byte) []byte {
		b = strconv.AppendInt(append(b, `"output_index":`...), int64(e.index), 10)
		return e.item.append(append(b, `,"item":`...), status)
	})
}

// place writes where in the answer an event belongs: its item, and the part of
// it unless that is a call.
func (e *responsesEncoder) place(b []byte) []byte {
	b = scan.AppendString(append(b, `"item_id":`...), e.item.id)
	b = strconv.AppendInt(append(b, `,"output_index":`...), int64(e.index), 10)
	switch e.item.kind {
	case wire.ToolUse:
	case wire.Reasoning:
		b = append(b, `,"summary_index":0`...)
	default:
		b = append(b, `,"content_index":0`...)
	}
	return b
}

func (e *responsesEncoder) part(dst []byte, kind string, empty bool) []byte {
	return e.event(dst, kind, func(b []byte) []byte { return e.item.appendPart(append(e.place(b), `,"part":`...), empty) })
}

// text writes an event that carries a text under a key.
func (e *responsesEncoder) text(dst []byte, kind, key, text, behind string) []byte {
	return e.event(dst, kind, func(b []byte) []byte {
		b = append(append(append(e.place(b), `,"`...), key...), `":`...)
		return append(scan.AppendString(b, text), behind...)
	})
}

const noLogprobs = `,"logprobs":[]`

func (e *responsesEncoder) delta(dst []byte, text string) []byte {
	if text == "" || !e.waiting && !e.open {
		return dst
	}
	if e.waiting {
		dst = e.begin(dst)
	}
	e.made.Add(text)
	e.item.text = append(e.item.text, text...)
	if !e.deltas {
		return dst
	}
	switch e.item.kind {
	case wire.ToolUse:
		return e.text(dst, eventArguments, "delta", text, "")
	case wire.Reasoning:
		return e.text(dst, eventSummary, "delta", text, "")
	default:
		return e.text(dst, eventText, "delta", text, noLogprobs)
	}
}

// stop closes the open item, which is what an agent acts on.
func (e *responsesEncoder) stop(dst []byte) []byte {
	e.waiting = false
	if !e.open {
		return dst
	}
	e.open = false
	if e.item.form == wire.ShellForm {
		e.item.settle()
		if dst = e.itemEvent(dst, eventItem, statusInProgress); e.item.form == wire.FunctionForm {
			dst = e.text(dst, eventArguments, "delta", string(e.item.arguments()), "")
		}
	}
	switch it := &e.item; {
	case it.kind == wire.ToolUse && it.form == wire.CustomForm:
		input := string(it.input())
		if input != "" {
			dst = e.text(dst, eventInput, "delta", input, "")
		}
		dst = e.text(dst, "response.custom_tool_call_input.done", "input", input, "")
	case it.kind == wire.ToolUse && it.form == wire.ShellForm: // the item is all there is
	case it.kind == wire.ToolUse:
		if len(it.text) == 0 && e.deltas {
			dst = e.text(dst, eventArguments, "delta", "{}", "")
		}
		dst = e.event(dst, "response.function_call_arguments.done", func(b []byte) []byte {
			b = scan.AppendString(append(e.place(b), `,"name":`...), it.call.Name)
			return scan.AppendString(append(b, `,"arguments":`...), it.arguments())
		})
	case it.kind == wire.Reasoning:
		dst = e.text(dst, "response.reasoning_summary_text.done", "text", string(it.text), "")
		dst = e.part(dst, "response.reasoning_summary_part.done", false)
	default:
		dst = e.text(dst, "response.output_text.done", "text", string(it.text), noLogprobs)
		dst = e.part(dst, eventPartDone, false)
	}
	dst = e.itemEvent(dst, eventItemDone, statusCompleted)
	if len(e.items) > 0 {
		e.items = append(e.items, ',')
	}
	e.items = e.item.append(e.items, statusCompleted)
	e.index++
	return dst
}

func (e *responsesEncoder) finish(dst []byte, ev wire.Event) []byte {
	u := wire.Usage{Estimated: true}
	if e.usage != nil {
		u = *e.usage
	}
	if u.Input+u.CacheRead+u.CacheWrite == 0 {
		u.Input = e.o.InputTokens
	}
	if u.Output == 0 {
		u.Output = e.made.Tokens() // never 0 for an answer that says something
	}
	e.head.status, e.head.reason = outcome(ev.Stop, e.calls)
	if e.head.status == statusIncomplete {
		return e.response(dst, eventIncomplete, &u)
	}
	return e.response(dst, eventCompleted, &u)
}
