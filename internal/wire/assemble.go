package wire

import (
	"strings"

	"github.com/dreyhq/drey/internal/wire/sse"
)

// An Assembler makes a whole answer of the events of a streamed one. The zero
// value is ready; it belongs to one goroutine.
type Assembler struct {
	r    Response
	open bool
	text strings.Builder // of the open block
	done bool
}

// Add takes the next event.
func (a *Assembler) Add(ev Event) {
	if ev.Usage != nil {
		a.r.Usage = a.r.Usage.Max(*ev.Usage)
	}
	switch ev.Kind {
	case Start:
		a.r.ID, a.r.Model = ev.ID, ev.Model
	case BlockStart:
		a.r.Blocks = append(a.r.Blocks, ev.Block)
		a.open = true
		a.text.Reset()
	case Delta:
		a.text.WriteString(ev.Text)
	case Sign:
		if a.open {
			a.r.Blocks[len(a.r.Blocks)-1].Signature += ev.Text
		}
	case BlockStop:
		a.close()
	case Finish:
		a.close()
		a.r.Stop, a.r.StopSequence, a.r.Odd = ev.Stop, ev.StopSequence, ev.Odd
		a.done = true
	}
}

func (a *Assembler) close() {
	if !a.open {
		return
	}
	a.open = false
	switch b := &a.r.Blocks[len(a.r.Blocks)-1]; b.Kind {
	case ToolUse:
		b.Input = Arguments(string(b.Input) + a.text.String())
	default:
		b.Text += a.text.String()
	}
}

// Response returns the answer, or nil until the stream told its end: half an
// answer is none.
func (a *Assembler) Response() *Response {
	if !a.done {
		return nil
	}
	return &a.r
}

// Assemble returns a relay for a caller that asked for no stream in front of a
// provider that streams. It appends nothing until the answer is complete, and
// then what write makes of it: usually EncodeResponse of the caller's codec,
// after what the gateway has to say about it. An error of write is a Malformed
// answer. A cut answer appends nothing.
func Assemble(dec Decoder, b Back, write func(*Response) ([]byte, error)) Relay {
	return &assemble{source: source{dec: dec}, back: b, write: write}
}

type assemble struct {
	source
	made  Assembler
	back  Back
	write func(*Response) ([]byte, error)
	told  bool
}

func (a *assemble) Frame(dst []byte, ev sse.Event) ([]byte, Signal) {
	events, s := a.frame(ev)
	return a.take(dst, events, s)
}

func (a *assemble) Close(dst []byte) ([]byte, Signal) {
	events, s := a.close()
	return a.take(dst, events, s)
}

func (a *assemble) take(dst []byte, events []Event, s Signal) ([]byte, Signal) {
	for _, ev := range events {
		a.made.Add(ev)
	}
	r := a.made.Response()
	if r == nil || a.told {
		return dst, s
	}
	a.told = true
	a.back.Response(r)
	body, err := a.write(r)
	if err != nil {
		a.done = false
		return dst, Signal{Model: s.Model, Err: &AnswerError{Kind: Malformed, Msg: err.Error()}}
	}
	return append(dst, body...), s
}

// Play appends to dst the events of a stream that tells r: for a caller that
// asked for a stream when the provider answered in one piece.
func Play(dst []Event, r *Response) []Event {
	u := r.Usage
	dst = append(dst, Event{Kind: Start, ID: r.ID, Model: r.Model, Usage: &u})
	for i := range r.Blocks {
		b := r.Blocks[i]
		text := b.Text
		switch b.Kind {
		case ToolUse:
			text = string(b.Input)
			b = Block{Kind: ToolUse, ID: b.ID, Name: b.Name, Alias: b.Alias}
		case Redacted:
			// It has no parts: the start tells all of it.
			dst = append(dst, Event{Kind: BlockStart, Block: b}, Event{Kind: BlockStop})
			continue
		default:
			b = Block{Kind: b.Kind}
		}
		dst = append(dst, Event{Kind: BlockStart, Block: b})
		if text != "" {
			dst = append(dst, Event{Kind: Delta, Text: text})
		}
		if sign := r.Blocks[i].Signature; sign != "" {
			dst = append(dst, Event{Kind: Sign, Text: sign})
		}
		dst = append(dst, Event{Kind: BlockStop})
	}
	return append(dst, Event{Kind: Finish, Stop: r.Stop, StopSequence: r.StopSequence, Odd: r.Odd, Usage: &u})
}
