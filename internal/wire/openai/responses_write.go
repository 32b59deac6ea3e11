package openai

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// The states of answers and items.
const (
	statusCompleted  = "completed"
	statusInProgress = "in_progress"
	statusIncomplete = "incomplete"
	statusFailed     = "failed"
)

// answerHead is what a response says of itself besides what it holds. Clients
// want the fields to be there; what the request asked for is not repeated in
// them.
type answerHead struct {
	id, model string
	created   int64
	status    string
	reason    string // why it is incomplete
	err       []byte // the error object of a failed one
}

// appendResponse writes a response object around its items, which are JSON
// joined by commas. usage is nil while it is not known.
func appendResponse(dst []byte, h answerHead, items []byte, usage *wire.Usage) []byte {
	dst = scan.AppendString(append(dst, `{"id":`...), h.id)
	dst = strconv.AppendInt(append(dst, `,"object":"response","created_at":`...), h.created, 10)
	dst = append(append(append(dst, `,"status":"`...), h.status...), `","background":false,"error":`...)
	if h.err == nil {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, h.err...)
	}
	dst = append(dst, `,"incomplete_details":`...)
	if h.reason == "" {
		dst = append(dst, "null"...)
	} else {
		dst = append(append(append(dst, `{"reason":"`...), h.reason...), `"}`...)
	}
	dst = append(dst, `,"instructions":null,"max_output_tokens":null,"model":`...)
	dst = scan.AppendString(dst, h.model)
	dst = append(append(dst, `,"output":[`...), items...)
	dst = append(dst, `],"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{"effort":null,"summary":null},`+
		`"store":false,"temperature":null,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":null,`+
		`"truncation":"disabled","usage":`...)
	if usage == nil {
		dst = append(dst, "null"...)
	} else {
		dst = appendResponsesUsage(dst, *usage)
	}
	return append(dst, `,"user":null,"metadata":{}}`...)
}

// outcome returns status and reason of an answer that is over.
func outcome(s wire.Stop, hasCall bool) (status, reason string) {
	switch settle(s, hasCall) {
	case wire.StopLength:
		return statusIncomplete, "max_output_tokens"
	case wire.StopRefusal:
		return statusIncomplete, "content_filter"
	default:
		return statusCompleted, ""
	}
}

func appendResponsesUsage(dst []byte, u wire.Usage) []byte {
	input := u.Input + u.CacheRead + u.CacheWrite
	dst = strconv.AppendInt(append(dst, `{"input_tokens":`...), int64(input), 10)
	dst = strconv.AppendInt(append(dst, `,"input_tokens_details":{"cached_tokens":`...), int64(u.CacheRead), 10)
	dst = strconv.AppendInt(append(dst, `},"output_tokens":`...), int64(u.Output), 10)
	dst = strconv.AppendInt(append(dst, `,"output_tokens_details":{"reasoning_tokens":`...), int64(u.Reasoning), 10)
	dst = strconv.AppendInt(append(dst, `},"total_tokens":`...), int64(input+u.Output), 10)
	return append(dst, '}')
}

// readResponsesUsage reads a usage object. ok is false for null and for anything
// that is no object. The wire counts cached tokens into input_tokens; they are
// taken out here.
func readResponsesUsage(s *scan.Scanner) (u wire.Usage, ok bool) {
	if s.Kind() != scan.Object {
		return u, false
	}
	for key := range s.Fields() {
		switch string(key) {
		case "input_tokens":
			u.Input = wire.Tokens(s)
		case "output_tokens":
			u.Output = wire.Tokens(s)
		case "input_tokens_details":
			for key := range s.Fields() {
				if string(key) == "cached_tokens" {
					u.CacheRead = wire.Tokens(s)
				}
			}
		case "output_tokens_details":
			for key := range s.Fields() {
				if string(key) == "reasoning_tokens" {
					u.Reasoning = wire.Tokens(s)
				}
			}
		}
	}
	u.CacheRead = min(u.CacheRead, u.Input)
	u.Reasoning = min(u.Reasoning, u.Output)
	u.Input -= u.CacheRead
	return u, true
}

// output is one item of an answer, as it is written: what a block becomes.
type output struct {
	id    string
	kind  wire.BlockKind
	form  wire.Form
	call  wire.Alias // of a call: its tool, as the caller knows it
	cause string     // of a call: its call_id
	text  []byte     // the text, reasoning, or arguments
	sign  string     // of reasoning: what proves it to its own vendor; "" = ours
}

// newOutput returns the n-th item of an answer, which b begins.
func newOutput(ids itemIDs, n int, b *wire.Block) output {
	o := output{kind: b.Kind}
	switch b.Kind {
	case wire.ToolUse:
		o.cause, o.call = b.ID, wire.Alias{Name: b.Name}
		if b.Alias != nil {
			o.call, o.form = *b.Alias, b.Alias.Form
		}
		o.id = ids.at([...]string{"fc_", "ctc_", "lsh_"}[o.form], n)
	case wire.Reasoning:
		o.id = ids.at("rs_", n)
	default:
		o.id = ids.at("msg_", n)
	}
	return o
}

// settle is told that all of the item is known. A call of the local shell that
// names no command is one of a function, which the client can refuse.
func (o *output) settle() {
	if o.form == wire.ShellForm && shellAction(o.arguments()) == nil {
		o.form, o.id = wire.FunctionForm, "fc_"+strings.TrimPrefix(o.id, "lsh_")
	}
}

// append writes the item. One that is in progress holds nothing yet.
func (o *output) append(dst []byte, status string) []byte {
	begun := status == statusInProgress
	dst = scan.AppendString(append(dst, `{"id":`...), o.id)
	switch o.kind {
	case wire.ToolUse:
		return o.appendCall(dst, status)
	case wire.Reasoning:
		dst = append(dst, `,"type":"reasoning","summary":[`...)
		if !begun && len(o.text) > 0 {
			dst = o.appendPart(dst, false)
		}
		dst = append(dst, `],"encrypted_content":`...)
		if begun {
			dst = append(dst, "null"...)
		} else {
			dst = scan.AppendString(dst, cmp.Or(o.sign, ownReasoning))
		}
		return append(dst, '}')
	default:
		dst = append(append(append(dst, `,"type":"message","status":"`...), status...), `","role":"assistant","content":[`...)
		if !begun {
			dst = o.appendPart(dst, false)
		}
		return append(dst, "]}"...)
	}
}

// appendPart writes the one part that a message or a summary has; empty says
// that it only begins.
func (o *output) appendPart(dst []byte, empty bool) []byte {
	text := o.text
	if empty {
		text = nil
	}
	if o.kind == wire.Reasoning {
		return append(scan.AppendString(append(dst, `{"type":"summary_text","text":`...), text), '}')
	}
	dst = append(dst, `{"type":"output_text","annotations":[],"logprobs":[],"text":`...)
	return append(scan.AppendString(dst, text), '}')
}

// appendCall writes the rest of a call behind its id.
func (o *output) appendCall(dst []byte, status string) []byte {
	kind, field, value := itemCall, "arguments", o.arguments()
	switch o.form {
	case wire.CustomForm:
		kind, field, value = itemCustom, "input", o.input()
	case wire.ShellForm:
		dst = append(append(append(dst, `,"type":"local_shell_call","status":"`...), status...), `","call_id":`...)
		dst = scan.AppendString(dst, o.cause)
		return append(append(append(dst, `,"action":`...), shellAction(o.arguments())...), '}')
	}
	if status == statusInProgress {
		value = nil
	}
	dst = append(append(append(dst, `,"type":"`...), kind...), `","status":"`...)
	dst = append(append(append(append(dst, status...), `","`...), field...), `":`...)
	dst = scan.AppendString(dst, value)
	dst = scan.AppendString(append(dst, `,"call_id":`...), o.cause)
	dst = scan.AppendString(append(dst, `,"name":`...), o.call.Name)
	if o.call.Namespace != "" {
		dst = scan.AppendString(append(dst, `,"namespace":`...), o.call.Namespace)
	}
	return append(dst, '}')
}

// arguments are those of a call; none are an empty object.
func (o *output) arguments() []byte {
	if len(o.text) == 0 {
		return []byte("{}")
	}
	return o.text
}

// input is the text of a custom call.
func (o *output) input() []byte { return customInput(o.text) }

// customArguments are the arguments that stand for the text of a custom call.
func customArguments(input string) []byte {
	return append(scan.AppendString([]byte(`{"input":`), input), '}')
}

// customInput is the way back. Models that take the tool by its word write the
// text and no object around it.
func customInput(arguments []byte) []byte {
	s := scan.New(arguments)
	var input string
	found := false
	for key := range s.Fields() {
		switch string(key) {
		case "input", "_raw": // the second is what wire.Arguments makes of a bare text
			input, found = s.Text()
		}
	}
	if found && s.End() == nil {
		return []byte(input)
	}
	return arguments
}

// shellAction returns the action of a local shell call, or nil if the arguments
// name no command.
func shellAction(arguments []byte) []byte {
	e, err := wire.Edit(arguments)
	if err != nil {
		return nil
	}
	m := e.Find("command")
	if m == nil {
		return nil
	}
	s := scan.New(m.Value)
	switch s.Kind() {
	case scan.Array:
	case scan.String: // a line for a shell, as models like it
		e.Replace(m.At, m.At, []byte(`["bash","-lc",`))
		e.Replace(m.At+len(m.Value), m.At+len(m.Value), []byte("]"))
	default:
		return nil
	}
	e.Default("type", []byte(`"exec"`))
	e.Default("env", []byte("{}"))
	return e.Body().Bytes()
}
