package anthropic

import (
	"slices"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// prefillForm is how the wire writes the beginning of an answer.
var prefillForm = wire.PrefillForm{
	List: "messages", Before: `{"role":"assistant","content":`, After: "}", Limits: []string{"max_tokens"},
}

// prefill lays the beginning of the answer behind the conversation. On an
// answer that is begun the wire does not let a model think, nor what manages
// its thoughts.
func prefill(e *wire.Editor, x *wire.Edits) {
	e.Prefill(x.Prefill, prefillForm)
	for _, key := range [...]string{"thinking", "context_management"} {
		e.Remove(key)
		x.Extra = slices.DeleteFunc(slices.Clone(x.Extra), func(f wire.ExtraField) bool { return f.Key == key })
	}
}

// follower is an observer that knows where its stream stands.
type follower struct {
	observer
	started bool
	blocks  int // that have begun
	open    bool
	kind    wire.BlockKind // of the last one
	text    []byte
	bar     wire.Obstacle
}

// Observe reads one frame.
func (o *follower) Observe(ev sse.Event) (wire.Signal, bool) {
	sig, show := o.observer.Observe(ev)
	if show && len(ev.Data) > 0 {
		if f, err := readFrame(ev.Data); err == nil {
			o.note(&f)
		}
	}
	return sig, show
}

func (o *follower) note(f *frame) {
	switch string(f.typ) {
	case "message_start":
		if o.started {
			o.forbid(wire.OddForm)
		}
		o.started = true
	case "content_block_start":
		o.begin(f)
	case "content_block_delta":
		switch kind := string(f.kind); {
		case kind == "input_json_delta":
			o.forbid(wire.CallTold)
		case !o.open || kind == "text_delta" != (o.kind == wire.Text) && kind != "citations_delta":
			o.forbid(wire.OddForm)
		case kind == "text_delta":
			o.say(f.text)
		}
	case "content_block_stop":
		if !o.open {
			o.forbid(wire.OddForm)
		}
		o.open = false
	case "message_delta", "message_stop":
		o.forbid(wire.EndTold)
	}
}

func (o *follower) begin(f *frame) {
	if o.open {
		o.forbid(wire.OddForm) // two at a time
	}
	o.open = true
	o.blocks++
	switch string(f.kind) {
	case "text":
		o.kind = wire.Text
		if len(o.text) > 0 {
			o.text = append(o.text, '\n')
		}
		o.say(f.text)
	case "thinking", "redacted_thinking":
		o.kind = wire.Reasoning
	default: // a call, or the result of what the server did itself
		o.forbid(wire.CallTold)
	}
}

func (o *follower) say(quoted []byte) {
	if quoted != nil {
		o.text = append(o.text, scan.Unquote(quoted)...)
	}
}

// forbid notes the first obstacle: the rest follows from it.
func (o *follower) forbid(b wire.Obstacle) {
	if o.bar == wire.NoObstacle {
		o.bar = b
	}
}

// Stand tells where the answer stands.
func (o *follower) Stand(opts wire.EncoderOptions) wire.Standing {
	switch {
	case !o.started:
		o.forbid(wire.OddForm)
	case o.open && o.kind != wire.Text:
		o.forbid(wire.MidThought)
	}
	enc := &streamEncoder{o: opts, index: o.blocks, open: o.open, kind: wire.Text}
	if o.open {
		enc.index--
	}
	return wire.Standing{Obstacle: o.bar, Encoder: enc, Text: string(o.text), Open: o.open}
}
