package wire_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// grammars hold whole streams to the order that §8 of the contract gives them.
// They return what is wrong with one, "" if nothing is.
var grammars = map[drey.Wire]func([]sse.Event) string{
	drey.WireAnthropic: anthropicGrammar,
	drey.WireChat:      chatGrammar,
	drey.WireResponses: responsesGrammar,
}

// ungrammatical says what is wrong with a whole stream of the wire.
func ungrammatical(w drey.Wire, stream []byte) string {
	var events []sse.Event
	r := sse.NewReader(bytes.NewReader(stream), 0)
	for {
		ev, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err.Error()
		}
		if len(ev.Data) == 0 {
			continue
		}
		if s := string(ev.Data); s != "[DONE]" && !gjson.Valid(s) {
			return "an event is no JSON: " + s
		}
		events = append(events, sse.Event{Name: ev.Name, Data: bytes.Clone(ev.Data), Partial: ev.Partial})
	}
	return grammars[w](events)
}

// anthropicGrammar: message_start, blocks one after the other, message_delta,
// message_stop.
func anthropicGrammar(events []sse.Event) string {
	deltas := map[string]string{"text": "text_delta", "thinking": "thinking_delta signature_delta", "tool_use": "input_json_delta"}
	state, kind, index := "", "", 0
	for i, ev := range events {
		e := gjson.ParseBytes(ev.Data)
		typ := e.Get("type").Str
		bad := fmt.Sprintf("event %d, %s, stands behind %q", i, typ, state)
		if ev.Name != typ {
			return fmt.Sprintf("event %d is called %q and is a %q", i, ev.Name, typ)
		}
		if n := e.Get("index"); n.Exists() && int(n.Int()) != index {
			return fmt.Sprintf("event %d has the index %d, not %d", i, n.Int(), index)
		}
		switch typ {
		case "message_start":
			if i != 0 {
				return bad
			}
		case "content_block_start":
			if state != "message_start" && state != "content_block_stop" {
				return bad
			}
			kind = e.Get("content_block.type").Str
		case "content_block_delta":
			if state != "content_block_start" && state != typ || !strings.Contains(deltas[kind], e.Get("delta.type").Str) {
				return bad + " in a block of " + kind
			}
		case "content_block_stop":
			if state != "content_block_start" && state != "content_block_delta" {
				return bad
			}
			index++
		case "message_delta":
			if state != "message_start" && state != "content_block_stop" || e.Get("delta.stop_reason").Str == "" || !e.Get("usage.output_tokens").Exists() {
				return bad
			}
		case "message_stop":
			if state != "message_delta" || i != len(events)-1 {
				return bad
			}
		default:
			return bad
		}
		state = typ
	}
	if state != "message_stop" {
		return "it ends with " + state
	}
	return ""
}

// chatGrammar: the role, deltas, one finish, the usage if asked for, [DONE].
func chatGrammar(events []sse.Event) string {
	calls, finished, usage := 0, false, false
	id := ""
	for i, ev := range events {
		last := i == len(events)-1
		if string(ev.Data) == "[DONE]" {
			if !finished || !last {
				return fmt.Sprintf("event %d is the end mark", i)
			}
			return ""
		}
		e := gjson.ParseBytes(ev.Data)
		if i == 0 {
			id = e.Get("id").Str
		}
		choices := e.Get("choices").Array()
		switch {
		case ev.Name != "", e.Get("object").Str != "chat.completion.chunk", e.Get("id").Str != id, usage:
			return fmt.Sprintf("event %d is out of place: %s", i, ev.Data)
		case finished:
			if usage = len(choices) == 0 && e.Get("usage").IsObject(); !usage {
				return fmt.Sprintf("event %d stands behind the finish: %s", i, ev.Data)
			}
			continue
		case len(choices) != 1, (i == 0) != (e.Get("choices.0.delta.role").Str == "assistant"):
			return fmt.Sprintf("event %d is no chunk of its place: %s", i, ev.Data)
		}
		finished = e.Get("choices.0.finish_reason").Str != ""
		for _, call := range e.Get("choices.0.delta.tool_calls").Array() {
			begins := call.Get("id").Exists()
			if begins {
				calls++
			}
			if int(call.Get("index").Int()) != calls-1 || begins && call.Get(call.Get("type").Str+".name").Str == "" {
				return fmt.Sprintf("event %d has a call out of place: %s", i, ev.Data)
			}
		}
	}
	return "it has no end mark"
}

// responsesItem is the open item of a stream.
type responsesItem struct {
	kind, id, state, text string
}

// follow takes an event of the item and says whether it may come. Per kind: what
// may stand behind what.
func (it *responsesItem) follow(typ string, e gjson.Result) bool {
	order := map[string][]string{
		"message": {"content_part.added", "output_text.delta*", "output_text.done", "content_part.done", "output_item.done"},
		"reasoning": {
			"reasoning_summary_part.added", "reasoning_summary_text.delta*", "reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done",
		},
		"function_call":    {"function_call_arguments.delta*", "function_call_arguments.done", "output_item.done"},
		"custom_tool_call": {"custom_tool_call_input.delta*", "custom_tool_call_input.done", "output_item.done"},
		"local_shell_call": {"output_item.done"},
	}[it.kind]
	at := 0
	for i, step := range order {
		if it.state != "" && strings.TrimSuffix(step, "*") == it.state {
			at = i + 1
			if strings.HasSuffix(step, "*") {
				at = i
			}
		}
	}
	for ; at < len(order); at++ {
		step, many := strings.CutSuffix(order[at], "*")
		if "response."+step != typ {
			if many {
				continue // it may be left out
			}
			return false
		}
		it.state = step
		if it.text += e.Get("delta").Str; strings.HasSuffix(step, ".delta") {
			return e.Get("delta").Str != ""
		}
		for _, key := range []string{"text", "arguments", "input"} {
			if v := e.Get(key); v.Exists() && v.Str != it.text {
				return false
			}
		}
		return true
	}
	return false
}

// responsesGrammar: created, in progress, items one after the other with their
// parts, and the whole answer, numbered from 0 without gaps.
func responsesGrammar(events []sse.Event) string {
	var items []string
	var open *responsesItem
	for i, ev := range events {
		e := gjson.ParseBytes(ev.Data)
		typ := e.Get("type").Str
		if ev.Name != typ || !e.Get("sequence_number").Exists() || int(e.Get("sequence_number").Int()) != i {
			return fmt.Sprintf("event %d is called %q: %s", i, ev.Name, ev.Data)
		}
		bad := fmt.Sprintf("event %d is out of place: %s", i, ev.Data)
		if n := e.Get("output_index"); n.Exists() && int(n.Int()) != len(items) {
			return bad
		}
		switch {
		case i < 2:
			if typ != [...]string{"response.created", "response.in_progress"}[i] || e.Get("response.status").Str != "in_progress" {
				return bad
			}
		case typ == "response.output_item.added":
			if open != nil || !e.Get("output_index").Exists() {
				return bad
			}
			open = &responsesItem{kind: e.Get("item.type").Str, id: e.Get("item.id").Str}
		case typ == "response.completed", typ == "response.incomplete":
			if open != nil || i != len(events)-1 || "response."+e.Get("response.status").Str != typ || !e.Get("response.usage").IsObject() {
				return bad
			}
			if e.Get("response.output").Raw != "["+strings.Join(items, ",")+"]" {
				return "the whole answer does not repeat its items: " + string(ev.Data)
			}
			return ""
		default:
			if id := e.Get("item_id"); open == nil || id.Exists() && id.Str != open.id || !open.follow(typ, e) {
				return bad
			}
			if typ == "response.output_item.done" {
				if e.Get("item.id").Str != open.id || e.Get("item.type").Str != open.kind {
					return bad
				}
				items, open = append(items, e.Get("item").Raw), nil
			}
		}
	}
	return "it has no end"
}
