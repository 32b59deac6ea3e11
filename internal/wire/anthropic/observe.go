package anthropic

import (
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// NewObserver watches a stream that is passed on unchanged. Nothing of this
// wire is ever hidden.
func (Codec) NewObserver(o wire.ObserverOptions) wire.Observer {
	if o.Follow {
		return &follower{}
	}
	return &observer{}
}

type observer struct {
	usage wire.Usage
	stop  wire.Stop
	done  bool
}

// Observe reads one frame. Frames of unknown types are shown and mean nothing.
func (o *observer) Observe(ev sse.Event) (sig wire.Signal, show bool) {
	if len(ev.Data) == 0 || o.done {
		return sig, true
	}
	f, err := readFrame(ev.Data)
	if err != nil {
		return wire.Signal{Err: err}, false
	}
	if f.hasUsage {
		o.usage = o.usage.Max(f.usage)
		u := o.usage
		sig.Usage = &u
	}
	switch string(f.typ) {
	case "message_start":
		sig.Model = string(f.model)
	case "content_block_start":
		switch string(f.kind) {
		case "text":
			sig.Text = f.text != nil && !blank(f.text)
			sig.Content = sig.Text
		case "thinking":
			sig.Content = len(f.text) > 2
		default: // any kind of call or result, and reasoning that nobody can read
			sig.Content = true
			sig.Text = string(f.kind) != "redacted_thinking"
		}
	case "content_block_delta":
		if string(f.kind) != "signature_delta" && len(f.text) > 2 {
			sig.Size = len(f.text) - 2
		}
		switch string(f.kind) {
		case "text_delta":
			sig.Text = f.text != nil && !blank(f.text)
			sig.Content = sig.Text
		case "thinking_delta":
			sig.Content = len(f.text) > 2
		case "input_json_delta":
			sig.Content, sig.Text = true, true
		}
	case "message_delta":
		if f.stop != nil {
			o.stop = stopOf(f.stop)
			sig.Stop = o.stop
		}
	case "message_stop":
		o.done = true
		sig.Done, sig.Stop = true, o.stop
	case "error":
		return wire.Signal{Err: f.err}, false
	}
	return sig, true
}

// Close reports a cut unless message_stop was there.
func (o *observer) Close() wire.Signal {
	if !o.done {
		return wire.Signal{Err: cut()}
	}
	return wire.Signal{Done: true, Stop: o.stop}
}

func cut() *wire.AnswerError {
	return &wire.AnswerError{Kind: wire.Cut, Msg: "the stream ended before message_stop"}
}

// frame is what one event of a stream says, in the memory of its data.
type frame struct {
	typ      []byte
	kind     []byte // the type of the delta or of the content block
	text     []byte // text, thinking, partial_json or signature, with its quotes
	model    []byte
	id       []byte // of the message, or of a call
	name     []byte // of a tool
	data     []byte // of redacted thinking, with its quotes
	input    []byte // a call's input in its content_block_start
	stop     []byte
	sequence []byte
	usage    wire.Usage
	hasUsage bool
	err      *wire.AnswerError // typ error
}

// readFrame reads an event's data in one pass.
func readFrame(data []byte) (f frame, _ error) {
	s := scan.New(data)
	if s.Kind() == scan.Object {
		f.fields(&s)
	}
	switch {
	case s.End() != nil:
		return f, &wire.AnswerError{Kind: wire.Malformed, Msg: "a frame that is no JSON: " + s.Err().Error()}
	case f.typ == nil:
		return f, &wire.AnswerError{Kind: wire.Malformed, Msg: "a frame without a type"}
	case f.err == nil && string(f.typ) == "error":
		f.err = &wire.AnswerError{Kind: wire.Reported}
	}
	return f, nil
}

func (f *frame) fields(s *scan.Scanner) {
	for key := range s.Fields() {
		switch string(key) {
		case "type":
			f.typ = s.Word()
		case "delta", "content_block":
			f.part(s)
		case "message":
			for key := range s.Fields() {
				switch string(key) {
				case "id":
					f.id = s.Word()
				case "model":
					f.model = s.Word()
				case "usage":
					f.readUsage(s)
				}
			}
		case "usage":
			f.readUsage(s)
		case "error":
			if s.Kind() == scan.Object {
				f.err = readError(s)
			}
		}
	}
}

// part reads a delta or a content block.
func (f *frame) part(s *scan.Scanner) {
	for key := range s.Fields() {
		switch string(key) {
		case "type":
			f.kind = s.Word()
		case "text", "thinking", "partial_json", "signature":
			// A thinking block carries an empty signature beside its text.
			if q := s.Quoted(); len(q) > len(f.text) {
				f.text = q
			}
		case "id":
			f.id = s.Word()
		case "name":
			f.name = s.Word()
		case "data":
			f.data = s.Quoted()
		case "input":
			f.input = s.Raw()
		case "stop_reason":
			f.stop = s.Word()
		case "stop_sequence":
			f.sequence = s.Word()
		}
	}
}

func (f *frame) readUsage(s *scan.Scanner) {
	if u, ok := readUsage(s); ok {
		f.usage, f.hasUsage = f.usage.Max(u), true
	}
}
