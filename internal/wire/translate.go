package wire

import (
	"errors"
	"strings"

	"github.com/dreyhq/drey/internal/wire/sse"
)

// Back says what a translated answer must get back on its way to the caller:
// what the translation of its request changed. The zero value changes nothing.
type Back struct {
	// IDs are the provider's tool ids to be written as the caller's.
	IDs map[string]string
	// Aliases are what the caller calls the tools that the provider knows by
	// another name or form.
	Aliases map[string]Alias
	// SchemaTool is the forced tool whose input is the text that the caller
	// asked for; "" if there is none.
	SchemaTool string
	// OneCall passes on the first tool call only: the caller asked for one at
	// a time, and not every backend listens.
	OneCall bool
	// InputTokens is the estimate of the prompt, for a whole answer whose
	// provider reported no usage; 0 = leave such an answer as it is.
	InputTokens int
	// Lenient reads arguments that are no JSON, as far as anybody can; nil =
	// nobody can. Of a stream only those are mended that show at their beginning
	// that they are none: the rest has gone out by then.
	Lenient func(text string) (object []byte, ok bool)
}

// NewBack returns what answers to enc, which encodes r, must get back.
func NewBack(r *Request, enc *Encoded) Back {
	return Back{IDs: enc.IDs, Aliases: r.Aliases, SchemaTool: enc.SchemaTool, OneCall: r.OneCall}
}

// Response gives a whole answer back, in place.
func (b Back) Response(r *Response) {
	if b.InputTokens > 0 && r.Usage == (Usage{}) {
		var e Estimator
		e.Blocks(r.Blocks)
		r.Usage = Usage{Input: b.InputTokens, Output: e.Tokens(), Estimated: true}
	}
	for i := range r.Blocks {
		if c := &r.Blocks[i]; c.Kind == ToolUse && b.function(c) {
			c.Input = b.whole(c.Input)
		}
	}
	// The one way back is the stream's.
	back := backward{Back: b}
	var made Assembler
	for _, ev := range Play(nil, r) {
		for _, ev := range back.event(ev) {
			made.Add(ev)
		}
	}
	r.Blocks, r.Stop = made.r.Blocks, made.r.Stop
}

// Translate returns a relay from the provider's wire to the caller's.
func Translate(dec Decoder, enc Encoder, b Back) Relay {
	return &translate{source: source{dec: dec}, enc: enc, back: backward{Back: b}}
}

type translate struct {
	source
	enc  Encoder
	back backward
}

func (t *translate) Frame(dst []byte, ev sse.Event) ([]byte, Signal) {
	events, s := t.frame(ev)
	dst = t.tell(dst, events, &s)
	return dst, s
}

func (t *translate) Close(dst []byte) ([]byte, Signal) {
	events, s := t.close()
	dst = t.tell(dst, events, &s)
	return dst, s
}

func (t *translate) tell(dst []byte, events []Event, s *Signal) []byte {
	for _, ev := range events {
		for _, ev := range t.back.event(ev) {
			dst = t.enc.Encode(dst, ev)
		}
	}
	if c, ok := t.enc.(Counter); ok {
		s.Next = c.Next()
	}
	return dst
}

// source reads a provider's stream and derives the signals from its events. An
// answer ends once: with Finish or with an error, and nothing follows either.
type source struct {
	dec    Decoder
	events []Event // reused
	watch  Watch
	model  string
	ended  bool
	done   bool
}

func (s *source) frame(ev sse.Event) ([]Event, Signal) {
	if s.ended {
		return nil, Signal{Done: s.done, Model: s.model}
	}
	events, err := s.dec.Decode(s.events[:0], ev)
	return s.signal(events, cutWithin(ev, err))
}

func (s *source) close() ([]Event, Signal) {
	if s.ended {
		return nil, Signal{Done: s.done, Model: s.model}
	}
	events, err := s.dec.Close(s.events[:0])
	if err == nil && (len(events) == 0 || events[len(events)-1].Kind != Finish) {
		// A decoder that forgot to say so does not make a cut answer whole.
		err = &AnswerError{Kind: Cut, Msg: "the stream ended before the answer did"}
	}
	return s.signal(events, err)
}

// signal returns the events that may be told, and what they mean. Never an end
// and an error: where both come, the error is the truth.
func (s *source) signal(events []Event, err error) ([]Event, Signal) {
	s.events = events
	var sig Signal
	if h, ok := s.dec.(Holder); ok {
		sig.Alive = h.Alive()
	}
	for i := range events {
		if events[i].Kind == Finish && err != nil {
			events = events[:i]
			break
		}
		s.note(&sig, &events[i])
		if s.done {
			events = events[:i+1]
			break
		}
	}
	if err != nil {
		s.ended = true
		if _, ok := errors.AsType[*AnswerError](err); !ok {
			err = &AnswerError{Kind: Malformed, Msg: err.Error()}
		}
		sig.Err = err
	}
	sig.Model = s.model
	return events, sig
}

func (s *source) note(sig *Signal, ev *Event) {
	if ev.Usage != nil {
		sig.Usage = ev.Usage
	}
	s.watch.Note(sig, ev)
	switch ev.Kind {
	case Start:
		s.model = ev.Model
	case Finish:
		sig.Done, sig.Last, sig.Stop, sig.Odd = true, true, ev.Stop, ev.Odd
		s.ended, s.done = true, true
	}
}

// A Watch tells content from what is none. The zero value is ready for one
// stream.
type Watch struct{ kind BlockKind }

// Note marks in sig what an event means: Content, Text and Size.
func (w *Watch) Note(sig *Signal, ev *Event) {
	switch ev.Kind {
	case BlockStart:
		if w.kind = ev.Block.Kind; w.kind == ToolUse {
			sig.Content, sig.Text = true, true
		}
	case Delta:
		sig.Size += len(ev.Text)
		switch {
		case w.kind == ToolUse, w.kind == Text && !isBlank(ev.Text):
			sig.Content, sig.Text = true, true
		case w.kind == Reasoning && !isBlank(ev.Text):
			sig.Content = true
		}
	}
}

// isBlank reports whether a text is nothing but space.
func isBlank(text string) bool { return strings.Trim(text, " \t\r\n") == "" }

// backward is Back for a stream.
type backward struct {
	Back
	out    []Event // reused
	held   []Event // text that may stand around the structured answer
	skip   bool    // the open block is not passed on
	hold   bool    // the open block is held
	schema bool    // the structured answer has begun
	calls  int
	args   *arguments // of the open call, while they are held back
}

// event returns what the caller gets for one event. The slice is valid until
// the next call.
func (b *backward) event(ev Event) []Event {
	b.out = b.out[:0]
	switch ev.Kind {
	case BlockStart:
		b.blockStart(ev)
	case Delta, Sign, BlockStop:
		switch {
		case b.skip:
		case b.hold:
			b.held = append(b.held, ev)
		case b.args != nil:
			b.argue(ev)
		default:
			b.out = append(b.out, ev)
		}
		if ev.Kind == BlockStop {
			b.skip, b.hold, b.args = false, false, nil
		}
	case Finish:
		b.out = append(b.out, b.held...) // there was no structured answer
		b.held = nil
		if b.schema && ev.Stop == StopTools {
			ev.Stop = StopEnd
		}
		b.out = append(b.out, ev)
	default:
		b.out = append(b.out, ev)
	}
	return b.out
}

func (b *backward) blockStart(ev Event) {
	switch kind := ev.Block.Kind; {
	case b.schema:
		b.skip = true
		return
	case kind == ToolUse && b.SchemaTool != "" && ev.Block.Name == b.SchemaTool && b.calls == 0:
		b.schema, b.held = true, nil
		ev.Block = Block{Kind: Text}
	case kind == ToolUse:
		if b.calls++; b.OneCall && b.calls > 1 {
			b.skip = true
			return
		}
		if id, ok := b.IDs[ev.Block.ID]; ok {
			ev.Block.ID = id
		}
		if a, ok := b.Aliases[ev.Block.Name]; ok {
			ev.Block.Alias = &a
		}
		if b.function(&ev.Block) {
			b.args = &arguments{}
		}
		b.out = append(b.out, b.held...)
		b.held = nil
	case kind == Text && b.SchemaTool != "" && b.calls == 0:
		b.hold = true
		b.held = append(b.held, ev)
		return
	}
	b.out = append(b.out, ev)
}
