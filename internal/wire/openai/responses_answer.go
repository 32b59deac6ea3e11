package openai

import (
	"strings"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// Inspect reads a whole response that is passed on unchanged.
func (Responses) Inspect(body []byte) (wire.Report, error) {
	var a responseAnswer
	if err := a.read(body); err != nil {
		return wire.Report{}, err
	}
	r := wire.Report{Usage: a.usage, Stop: a.stop, Model: a.model, Empty: true}
	for i := range a.items {
		switch it := &a.items[i]; it.kind {
		case itemMessage:
			r.Empty = r.Empty && isSpace(strings.Join(it.texts, ""))
		case itemReasoning:
		default: // a call, or what the server did itself
			r.Empty = false
			if it.isCall() {
				r.Tools++
			}
		}
	}
	r.Stop = settle(r.Stop, r.Tools > 0)
	return r, nil
}

// DecodeResponse reads a whole response.
func (Responses) DecodeResponse(body []byte) (*wire.Response, error) {
	var a responseAnswer
	if err := a.read(body); err != nil {
		return nil, err
	}
	r := &wire.Response{ID: a.id, Model: a.model, Created: a.created, Stop: a.stop}
	if a.usage != nil {
		r.Usage = *a.usage
	}
	calls := false
	for i := range a.items {
		it := &a.items[i]
		if it.refused && r.Stop != wire.StopLength {
			r.Stop = wire.StopRefusal
		}
		calls = calls || it.isCall()
		r.Blocks = append(r.Blocks, it.blocks()...)
	}
	r.Stop = settle(r.Stop, calls)
	return r, nil
}

func isSpace(text string) bool { return strings.Trim(text, " \t\r\n") == "" }

// responseAnswer is what a response object says.
type responseAnswer struct {
	id, model string
	created   int64
	items     []answerItem
	found     bool // there is a list of items
	status    string
	reason    string
	stop      wire.Stop
	usage     *wire.Usage
	err       *wire.AnswerError
}

// read reads a whole body, which is refused unless it is a response that came to
// its end.
func (a *responseAnswer) read(body []byte) error {
	s := scan.New(body)
	a.fields(&s)
	switch err := s.End(); {
	case err != nil:
		return bad(err)
	case a.err != nil:
		return a.err
	case !a.found:
		return &wire.AnswerError{Kind: wire.Malformed, Msg: "it has no list of output items"}
	case a.status == statusFailed || a.status == "cancelled":
		return &wire.AnswerError{Kind: wire.Reported, Msg: "the response is " + a.status}
	case a.status == statusInProgress || a.status == "queued":
		return &wire.AnswerError{Kind: wire.Malformed, Msg: "the response is " + a.status + ", and nobody will ask for it again"}
	}
	return nil
}

// fields reads a response object.
func (a *responseAnswer) fields(s *scan.Scanner) {
	for key := range s.Fields() {
		switch string(key) {
		case "id":
			a.id, _ = s.Text()
		case "model":
			a.model, _ = s.Text()
		case "created_at":
			n, _ := s.Int()
			a.created = int64(n)
		case "status":
			a.status, _ = s.Text()
		case "incomplete_details":
			for key := range s.Fields() {
				if string(key) == "reason" {
					a.reason, _ = s.Text()
				}
			}
		case "error":
			a.err = reported(s)
		case "usage":
			if u, ok := readResponsesUsage(s); ok {
				a.usage = &u
			}
		case "output":
			a.found = s.Kind() == scan.Array
			for range s.Items() {
				var it answerItem
				it.read(s)
				a.items = append(a.items, it)
			}
		}
	}
	switch {
	case a.status == statusIncomplete && a.reason == "content_filter":
		a.stop = wire.StopRefusal
	case a.status == statusIncomplete:
		a.stop = wire.StopLength
	case a.status == statusCompleted:
		a.stop = wire.StopEnd
	}
}

// answerItem is one item of an answer.
type answerItem struct {
	kind, callID, name, namespace string
	texts                         []string // of a message: its parts; of reasoning: its summary, else its text
	refused                       bool
	arguments, input              string
	action                        []byte
	encrypted                     string
}

func (it *answerItem) isCall() bool {
	return it.kind == itemCall || it.kind == itemCustom || it.kind == itemShell
}

func (it *answerItem) read(s *scan.Scanner) {
	var thought []string
	for key := range s.Fields() {
		switch string(key) {
		case "type":
			it.kind, _ = s.Text()
		case "call_id":
			it.callID, _ = s.Text()
		case "name":
			it.name, _ = s.Text()
		case "namespace":
			it.namespace, _ = s.Text()
		case "arguments":
			it.arguments = rawText(s)
		case "input":
			it.input = rawText(s)
		case "action":
			it.action = s.Raw()
		case "encrypted_content":
			it.encrypted, _ = s.Text()
		case "summary":
			it.texts = append(it.texts, readTexts(s)...)
		case "content":
			for range s.Items() {
				for key := range s.Fields() {
					switch string(key) {
					case "text":
						if text, _ := s.Text(); text != "" {
							thought = append(thought, text)
						}
					case "refusal":
						if text, _ := s.Text(); text != "" {
							thought, it.refused = append(thought, text), true
						}
					}
				}
			}
		}
	}
	if len(it.texts) == 0 {
		it.texts = thought
	}
}

// blocks returns what the item is in neutral form; what a server did by itself
// is nothing.
func (it *answerItem) blocks() (bs []wire.Block) {
	switch it.kind {
	case itemMessage:
		for _, text := range it.texts {
			bs = append(bs, wire.Block{Kind: wire.Text, Text: text})
		}
	case itemReasoning:
		if len(it.texts) > 0 || it.encrypted != "" {
			bs = append(bs, wire.Block{Kind: wire.Reasoning, Text: strings.Join(it.texts, paragraph), Signature: it.encrypted})
		}
	case itemCall, itemCustom, itemShell:
		b := wire.Block{Kind: wire.ToolUse, ID: it.callID, Name: flatName(it.namespace, it.name)}
		b.Input = wire.Arguments(it.args())
		alias := wire.Alias{Name: it.name, Namespace: it.namespace}
		switch it.kind {
		case itemCustom:
			alias.Form = wire.CustomForm
		case itemShell:
			b.Name, alias.Form = shellTool, wire.ShellForm
		}
		if alias.Form != wire.FunctionForm || alias.Namespace != "" {
			b.Alias = &alias
		}
		bs = append(bs, b)
	}
	return bs
}

// args are the arguments of a call, whatever its form.
func (it *answerItem) args() string {
	switch it.kind {
	case itemCustom:
		return string(customArguments(it.input))
	case itemShell:
		return string(it.action)
	default:
		return it.arguments
	}
}

// EncodeResponse writes a whole response.
func (Responses) EncodeResponse(r *wire.Response) ([]byte, error) {
	id := responseID(r.ID)
	ids := idsOf(id)
	var items []byte
	calls, n := false, 0
	for i := range r.Blocks {
		b := &r.Blocks[i]
		switch b.Kind {
		case wire.Text, wire.Reasoning:
			if b.Text == "" {
				continue // as in a stream: it would come back in the history
			}
		case wire.ToolUse:
			calls = true
		default:
			continue // only its vendor can read it
		}
		o := newOutput(ids, n, b)
		o.text = []byte(b.Text)
		if b.Kind == wire.ToolUse {
			o.text = b.Input
		}
		o.settle()
		if n++; n > 1 {
			items = append(items, ',')
		}
		items = o.append(items, statusCompleted)
	}
	h := answerHead{id: id, model: r.Model, created: r.Created}
	h.status, h.reason = outcome(r.Stop, calls)
	return appendResponse(make([]byte, 0, 1024+len(items)), h, items, &r.Usage), nil
}
