package openai

import (
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// chatPrefill is how the wire writes the beginning of an answer.
var chatPrefill = wire.PrefillForm{
	List: "messages", Before: `{"role":"assistant","content":`, After: "}", Limits: []string{"max_tokens", "max_completion_tokens"},
}

// chatFollower is an observer that knows where its stream stands.
type chatFollower struct {
	observer
	first chunk // the one that began the answer
	text  []byte
	said  bool // the last that came was text, and no reasoning
	bar   wire.Obstacle
}

// Observe reads one chunk.
func (o *chatFollower) Observe(ev sse.Event) (wire.Signal, bool) {
	sig, show := o.observer.Observe(ev)
	if sig.Err == nil && len(ev.Data) > 0 && !o.marked {
		o.note(ev, sig.Content)
	}
	return sig, show
}

func (o *chatFollower) note(ev sse.Event, content bool) {
	s := scan.New(ev.Data)
	var c chunk
	if s.Kind() != scan.Object {
		return
	}
	c.read(&s, ev.Name)
	if o.first.choices == 0 && c.choices > 0 {
		o.first = c
	}
	if c.reasoning != "" {
		o.said = false
	}
	if c.text != "" {
		o.said = true
		o.text = append(o.text, c.text...)
	}
	switch {
	case o.called || len(c.calls) > 0:
		o.forbid(wire.CallTold)
	case c.ended:
		o.forbid(wire.EndTold)
	case c.refusal != "", o.seen&^1 != 0, content && c.text == "" && c.reasoning == "":
		o.forbid(wire.OddForm)
	}
}

// forbid notes the first obstacle: the rest follows from it.
func (o *chatFollower) forbid(b wire.Obstacle) {
	if o.bar == wire.NoObstacle {
		o.bar = b
	}
}

// Stand tells where the answer stands. The wire has no blocks: there is text
// that can always go on.
func (o *chatFollower) Stand(opts wire.EncoderOptions) wire.Standing {
	switch {
	case o.first.choices == 0:
		o.forbid(wire.OddForm)
	case !o.said:
		o.forbid(wire.MidThought)
	}
	opts.Created = o.first.created
	enc := &encoder{o: opts, open: wire.Text, texts: 1, said: true}
	enc.call(o.first.id, o.first.model)
	return wire.Standing{Obstacle: o.bar, Encoder: enc, Text: string(o.text), Open: true}
}
