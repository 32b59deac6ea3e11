package openai

import (
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// responsesFrame is what one event of a stream says.
type responsesFrame struct {
	kind      string
	number    int
	numbered  bool
	delta     []byte // with its quotes
	item      answerItem
	itemKnown bool
	answer    responseAnswer
	err       *wire.AnswerError
}

// readResponsesFrame reads an event's data in one pass.
func readResponsesFrame(data []byte) (f responsesFrame, _ *wire.AnswerError) {
	s := scan.New(data)
	if s.Kind() != scan.Object {
		return f, noObject()
	}
	var code, message, param string
	for key := range s.Fields() {
		switch string(key) {
		case "type":
			f.kind = known(s.Word())
		case "sequence_number":
			f.number, f.numbered = s.Int()
		case "delta":
			f.delta = s.Quoted()
		case "item":
			f.itemKnown = s.Kind() == scan.Object
			f.item.read(&s)
		case "response":
			f.answer.fields(&s)
		case "error": // as of chat, from servers that share their errors
			f.err = reported(&s)
		case "code":
			code, _ = s.Text()
		case "message":
			message, _ = s.Text()
		case "param":
			param, _ = s.Text()
		}
	}
	switch {
	case s.End() != nil:
		return f, bad(s.Err())
	case f.err != nil:
	case f.kind == "":
		return f, &wire.AnswerError{Kind: wire.Malformed, Msg: "an event without a type"}
	case f.kind == eventError:
		if message == "" {
			message = param
		}
		f.err = &wire.AnswerError{Kind: wire.Reported, Type: code, Msg: message}
	case f.kind == eventFailed:
		if f.err = f.answer.err; f.err == nil {
			f.err = &wire.AnswerError{Kind: wire.Reported, Msg: "the response failed"}
		}
	}
	return f, nil
}

// The events that mean something here.
const (
	eventCreated    = "response.created"
	eventInProgress = "response.in_progress"
	eventItem       = "response.output_item.added"
	eventItemDone   = "response.output_item.done"
	eventText       = "response.output_text.delta"
	eventRefusal    = "response.refusal.delta"
	eventSummary    = "response.reasoning_summary_text.delta"
	eventParagraph  = "response.reasoning_summary_part.added"
	eventThought    = "response.reasoning_text.delta"
	eventPart       = "response.content_part.added"
	eventPartDone   = "response.content_part.done"
	eventArguments  = "response.function_call_arguments.delta"
	eventInput      = "response.custom_tool_call_input.delta"
	eventCompleted  = "response.completed"
	eventIncomplete = "response.incomplete"
	eventFailed     = "response.failed"
	eventError      = "error"
)

// known returns an event's type without a copy of the frequent ones. A type that
// is not known is told from none.
func known(kind []byte) string {
	switch string(kind) {
	case eventText:
		return eventText
	case eventArguments:
		return eventArguments
	case eventSummary:
		return eventSummary
	case eventThought:
		return eventThought
	default:
		return string(kind)
	}
}
