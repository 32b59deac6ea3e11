package openai

import (
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// responsesPrefill is how the wire writes the beginning of an answer.
var responsesPrefill = wire.PrefillForm{
	List: "input", Before: `{"type":"message","role":"assistant","content":[{"type":"output_text","text":`, After: "}]}",
	Limits: []string{"max_output_tokens"},
}

// responsesFollower is an observer that knows where its stream stands: which
// items are done, as they came, and what has been told of the open one.
type responsesFollower struct {
	responsesObserver
	head  answerHead
	items []byte // those that are done, joined by commas
	done  int    // how many
	text  []byte // of the whole answer
	stage itemStage
	item  output // the open one; its text is told by now
	bar   wire.Obstacle
}

// itemStage is how far the open item has come.
type itemStage uint8

const (
	noItem    itemStage = iota
	begun               // nothing of it but its start
	speaking            // its one part of text is open
	spoken              // that part is done
	reasoning           // it is an item of reasoning
)

// position is where an event belongs in the answer, and what it brings whole.
type position struct {
	item, part int
	kind       string // of the part that it brings
	whole      []byte // the item that it brings
}

func readPosition(data []byte) (p position) {
	s := scan.New(data)
	for key := range s.Fields() {
		switch string(key) {
		case "output_index":
			p.item, _ = s.Int()
		case "content_index":
			p.part, _ = s.Int()
		case "item":
			p.whole = s.Raw()
		case "part":
			for key := range s.Fields() {
				if string(key) == "type" {
					p.kind, _ = s.Text()
				}
			}
		}
	}
	return p
}

// Observe reads one event.
func (o *responsesFollower) Observe(ev sse.Event) (wire.Signal, bool) {
	sig, show := o.responsesObserver.Observe(ev)
	if sig.Err == nil && len(ev.Data) > 0 && string(ev.Data) != endMark {
		if f, err := readResponsesFrame(ev.Data); err == nil {
			o.note(&f, ev.Data)
		}
	}
	return sig, show
}

func (o *responsesFollower) note(f *responsesFrame, data []byte) {
	switch f.kind {
	case eventCreated, eventInProgress:
		if o.head.id != "" {
			return
		}
		o.head = answerHead{id: f.answer.id, model: f.answer.model, created: f.answer.created, status: statusInProgress}
	case eventItem:
		o.begin(f, readPosition(data))
	case eventPart:
		p := readPosition(data)
		o.expect(o.stage == begun && p.part == 0 && p.kind == partOutput)
		o.stage = speaking
	case eventText:
		o.expect(o.stage == speaking)
		if f.delta != nil {
			text := scan.Unquote(f.delta)
			o.text, o.item.text = append(o.text, text...), append(o.item.text, text...)
		}
	case "response.output_text.done":
		o.expect(o.stage == speaking)
		o.stage = spoken
	case eventPartDone:
		o.expect(o.stage == spoken || o.stage == speaking)
		o.stage = spoken
	case eventItemDone:
		p := readPosition(data)
		o.expect(o.stage != noItem && p.item == o.done)
		if o.done++; o.done > 1 {
			o.items = append(o.items, ',')
		}
		o.items = append(o.items, p.whole...)
		o.stage = noItem
	case eventRefusal, "response.output_text.annotation.added":
		o.forbid(wire.OddForm)
	case eventArguments, eventInput:
		o.forbid(wire.CallTold)
	case eventCompleted, eventIncomplete:
		o.forbid(wire.EndTold)
	}
}

func (o *responsesFollower) begin(f *responsesFrame, p position) {
	o.expect(o.stage == noItem && p.item == o.done)
	switch f.item.kind {
	case itemMessage:
		o.stage = begun
		o.item = output{id: itemID(p.whole), kind: wire.Text}
		if len(o.text) > 0 {
			o.text = append(o.text, '\n')
		}
		o.expect(len(f.item.texts) == 0)
	case itemReasoning:
		o.stage = reasoning
	default: // a call, or what the server does itself
		o.forbid(wire.CallTold)
	}
}

func itemID(item []byte) (id string) {
	s := scan.New(item)
	for key := range s.Fields() {
		if string(key) == "id" {
			id, _ = s.Text()
		}
	}
	return id
}

// expect forbids what does not come in the wire's order.
func (o *responsesFollower) expect(ok bool) {
	if !ok {
		o.forbid(wire.OddForm)
	}
}

// forbid notes the first obstacle: the rest follows from it.
func (o *responsesFollower) forbid(b wire.Obstacle) {
	if o.bar == wire.NoObstacle {
		o.bar = b
	}
}

// Stand tells where the answer stands. Between the start of an item and that of
// its part, and between their ends, nothing can go on.
func (o *responsesFollower) Stand(opts wire.EncoderOptions) wire.Standing {
	switch o.stage {
	case reasoning:
		o.forbid(wire.MidThought)
	case begun, spoken:
		o.forbid(wire.OddForm)
	}
	o.expect(o.head.id != "")
	enc := &responsesEncoder{
		o: opts, head: o.head, ids: idsOf(o.head.id), next: o.next, index: o.done, items: o.items,
		open: o.stage == speaking, block: wire.Block{Kind: wire.Text}, item: o.item, deltas: true,
	}
	return wire.Standing{Obstacle: o.bar, Encoder: enc, Text: string(o.text), Open: enc.open}
}
