package openai

import (
	"cmp"
	"strconv"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// encoder writes neutral events as chunks: one role chunk, deltas, one chunk
// with the finish_reason, the usage chunk if it is wanted, the end mark.
type encoder struct {
	o      wire.EncoderOptions
	prefix []byte // of every chunk, up to the value of choices

	open     wire.BlockKind
	custom   bool   // the open block is a call of a custom tool
	args     []byte // of it: its text is known when they are whole
	said     bool   // the open block has said something
	texts    int    // text blocks so far
	thoughts int
	calls    int // tool calls so far
	usage    *wire.Usage
	made     wire.Estimator // of the answer, where the provider reports no usage
}

const noFinish = `,"finish_reason":null}]}` + "\n\n"

// Encode writes the chunks of one event.
func (e *encoder) Encode(dst []byte, ev wire.Event) []byte {
	e.note(ev.Usage)
	switch ev.Kind {
	case wire.Start:
		id := e.o.ID
		if id == "" {
			id = completionID(ev.ID)
		}
		e.call(id, cmp.Or(ev.Model, e.o.Model))
		return e.delta(dst, `{"role":"assistant","content":""}`)
	case wire.BlockStart:
		return e.block(dst, ev.Block)
	case wire.Delta:
		return e.more(dst, ev.Text)
	case wire.BlockStop:
		switch {
		case e.open == wire.ToolUse && e.custom:
			return e.input(dst)
		case e.open == wire.ToolUse && !e.said:
			return e.more(dst, "{}") // no arguments are an empty object
		}
		return dst
	case wire.Finish:
		return e.finish(dst, ev)
	default: // signatures have no place on this wire; usage is told at the end
		return dst
	}
}

func (e *encoder) note(u *wire.Usage) {
	if u == nil {
		return
	}
	sum := *u
	if e.usage != nil {
		sum = sum.Max(*e.usage)
	}
	e.usage = &sum
}

// call prepares what every chunk begins with.
func (e *encoder) call(id, model string) {
	p := append(e.prefix, `data: {"id":`...)
	p = scan.AppendString(p, id)
	p = append(p, `,"object":"chat.completion.chunk","created":`...)
	p = strconv.AppendInt(p, e.o.Created, 10)
	p = append(p, `,"model":`...)
	p = scan.AppendString(p, model)
	e.prefix = append(p, `,"choices":`...)
}

// chunk begins a chunk of the one choice, up to its delta.
func (e *encoder) chunk(dst []byte) []byte {
	return append(append(dst, e.prefix...), `[{"index":0,"delta":`...)
}

func (e *encoder) delta(dst []byte, delta string) []byte {
	return append(append(e.chunk(dst), delta...), noFinish...)
}

// block begins a block. Blocks of one kind are one string on this wire, a line
// between them, as in a whole answer.
func (e *encoder) block(dst []byte, b wire.Block) []byte {
	e.open, e.said, e.custom = b.Kind, false, isCustom(&b)
	switch b.Kind {
	case wire.Text:
		if e.texts++; e.texts > 1 {
			return e.delta(dst, `{"content":"\n"}`)
		}
	case wire.Reasoning:
		if e.thoughts++; e.thoughts > 1 {
			return e.delta(dst, `{"reasoning_content":"\n"}`)
		}
	case wire.ToolUse:
		e.calls++
		e.made.Add(b.Name)
		dst = append(e.chunk(dst), `{"tool_calls":[{"index":`...)
		dst = strconv.AppendInt(dst, int64(e.calls-1), 10)
		dst = append(dst, `,"id":`...)
		dst = scan.AppendString(dst, b.ID)
		if e.custom {
			dst = scan.AppendString(append(dst, `,"type":"custom","custom":{"name":`...), b.Alias.Name)
			return append(append(dst, `,"input":""}}]}`...), noFinish...)
		}
		dst = append(dst, `,"type":"function","function":{"name":`...)
		dst = scan.AppendString(dst, b.Name)
		return append(append(dst, `,"arguments":""}}]}`...), noFinish...)
	}
	return dst
}

// more writes more of the open block.
func (e *encoder) more(dst []byte, text string) []byte {
	if text == "" {
		return dst
	}
	if e.custom {
		e.made.Add(text)
		e.args = append(e.args, text...)
		return dst
	}
	var before, behind string
	switch e.open {
	case wire.Text:
		before, behind = `{"content":`, `}`
	case wire.Reasoning:
		before, behind = `{"reasoning_content":`, `}`
	case wire.ToolUse:
		before, behind = `{"tool_calls":[{"index":`+strconv.Itoa(e.calls-1)+`,"function":{"arguments":`, `}}]}`
	default:
		return dst
	}
	e.said = true
	e.made.Add(text)
	dst = append(e.chunk(dst), before...)
	dst = scan.AppendString(dst, text)
	return append(append(dst, behind...), noFinish...)
}

// input writes the text of a custom call.
func (e *encoder) input(dst []byte) []byte {
	input := customInput(e.args)
	if e.args = nil; len(input) == 0 {
		return dst
	}
	dst = append(e.chunk(dst), `{"tool_calls":[{"index":`...)
	dst = append(strconv.AppendInt(dst, int64(e.calls-1), 10), `,"custom":{"input":`...)
	return append(append(scan.AppendString(dst, input), `}}]}`...), noFinish...)
}

func (e *encoder) finish(dst []byte, ev wire.Event) []byte {
	dst = append(e.chunk(dst), `{},"finish_reason":"`...)
	dst = append(dst, finishOf(ev.Stop, e.calls > 0)...)
	dst = append(dst, `"}]}`+"\n\n"...)
	if e.o.WantUsage {
		if e.usage == nil {
			e.usage = &wire.Usage{Input: e.o.InputTokens, Output: e.made.Tokens(), Estimated: true}
		}
		dst = append(append(dst, e.prefix...), `[],"usage":`...)
		dst = append(appendUsage(dst, *e.usage), "}\n\n"...)
	}
	return append(dst, "data: "+endMark+"\n\n"...)
}
