package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/repair"
)

// A native stream that is mended and breaks off is told to be broken, with the
// number that follows what went out, wherever it breaks.
func TestNativeStreamBreaksWhileMended(t *testing.T) {
	whole := nativeSays(true, "I lo", "ok.\n", printedCall[:20], printedCall[20:], "\nDone.", " And more.").body
	frames := strings.SplitAfter(whole, "\n\n")
	for n := range len(frames) - 2 { // what follows the last is nothing
		s := &server{status: 200, kind: "text/event-stream", body: strings.Join(frames[:n], ""), cut: true}
		sc := native("a", s)
		change := sc.change
		sc.change = func(p *Provider) { change(p); p.Repair = true }
		a := newLab(t, nil, sc).ask(t.Context(), drey.WireResponses, toolPrompt(drey.WireResponses, true))
		if a.status != 200 {
			if n > 5 { // by then something has gone out
				t.Errorf("cut after %d frames: status %d", n, a.status)
			}
			continue
		}
		next := 0
		last := ""
		for _, line := range strings.Split(a.body, "\n") {
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				if got := int(gjson.Get(data, "sequence_number").Int()); got != next {
					t.Fatalf("cut after %d frames: event %d has the number %d:\n%s", n, next, got, a.body)
				}
				next++
				last = gjson.Get(data, "type").Str
			}
		}
		if last != "response.failed" || strings.Contains(a.body, "response.completed") {
			t.Errorf("cut after %d frames: the last event is %q", n, last)
		}
	}
}

// One message in two parts, the second of which is a call: the message, which
// the caller has seen begin, is ended for it.
func TestNativeMessageOfTwoParts(t *testing.T) {
	var b strings.Builder
	n := 0
	event := func(kind, fields string) {
		fmt.Fprintf(&b, "event: %s\ndata: {\"type\":%q,\"sequence_number\":%d%s}\n\n", kind, kind, n, fields)
		n++
	}
	event("response.created", `,"response":{"id":"resp_native","model":"real","status":"in_progress"}`)
	event("response.output_item.added", `,"output_index":0,"item":{"id":"msg_native","type":"message","role":"assistant","content":[]}`)
	for part, text := range []string{`I look.`, strings.ReplaceAll(printedCall, `"`, `\"`)} {
		place := fmt.Sprintf(`,"item_id":"msg_native","output_index":0,"content_index":%d`, part)
		event("response.content_part.added", place+`,"part":{"type":"output_text","text":""}`)
		event("response.output_text.delta", place+`,"delta":"`+text+`"`)
		event("response.output_text.done", place+`,"text":"`+text+`"`)
		event("response.content_part.done", place+`,"part":{"type":"output_text","text":"`+text+`"}`)
	}
	event("response.output_item.done", `,"output_index":0,"item":{"id":"msg_native","type":"message","role":"assistant","content":[]}`)
	event("response.completed", `,"response":{"id":"resp_native","model":"real","status":"completed","output":[]}`)

	sc := native("a", &server{status: 200, kind: "text/event-stream", body: b.String()})
	change := sc.change
	sc.change = func(p *Provider) { change(p); p.Repair = true }
	a := newLab(t, nil, sc).ask(t.Context(), drey.WireResponses, toolPrompt(drey.WireResponses, true))
	checkNumbers(t, drey.WireResponses, a)
	if got := tell(a.read(t, drey.WireResponses)); got != `"I look." Bash{"command": "ls"} tools` {
		t.Errorf("%s\n%s", got, a.body)
	}
}

// The tools that only Responses has are called by what their caller calls them,
// whatever the provider's wire.
func TestCallsHaveTheirCallersForm(t *testing.T) {
	pieces := []string{"<tool_call>{\"name\": \"mcp__ev__echo\", \"arguments\": {\"text\": \"hi\"}}</tool_call>\n", `<tool_call>{"name": "patch", "arguments": {"input": "a b"}}</tool_call>`}
	for _, p := range pairings {
		if p.caller != drey.WireResponses {
			continue
		}
		l := newLab(t, nil, p.saying(true, Mending{Repair: true}, pieces...))
		a := l.ask(t.Context(), p.caller, toolPrompt(p.caller, true, "tools", `[
			{"type":"namespace","name":"mcp__ev","tools":[{"type":"function","name":"echo","parameters":{"type":"object","properties":{"text":{"type":"string"}}}}]},
			{"type":"custom","name":"patch"},
			{"type":"web_search"}]`))
		checkNumbers(t, p.caller, a)
		end := a.body[strings.LastIndex(a.body, "data: ")+len("data: "):]
		var got []string
		for _, it := range gjson.Get(end, "response.output").Array() {
			if kind := it.Get("type").Str; kind != "web_search_call" {
				got = append(got, strings.Join([]string{kind, it.Get("namespace").Str, it.Get("name").Str, it.Get("arguments").Str, it.Get("input").Str}, "|"))
			}
		}
		if want := `function_call|mcp__ev|echo|{"text": "hi"}| custom_tool_call||patch||a b`; strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q\n%s", p, got, want, a.body)
		}
	}
}

// Blocks of kinds that have no neutral form keep their index, and those behind
// them go on from it.
func TestMendedMessagesKeepTheirIndices(t *testing.T) {
	frame := func(kind, fields string) string {
		return "event: " + kind + "\ndata: {\"type\":\"" + kind + "\"" + fields + "}\n\n"
	}
	stream := frame("message_start", `,"message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":1,"output_tokens":1}}`) +
		frame("content_block_start", `,"index":0,"content_block":{"type":"server_tool_use","id":"s1","name":"web_search","input":{}}`) +
		frame("content_block_stop", `,"index":0`) +
		frame("content_block_start", `,"index":1,"content_block":{"type":"text","text":""}`) +
		frame("content_block_delta", `,"index":1,"delta":{"type":"text_delta","text":"Hello<|im"}`) +
		frame("content_block_delta", `,"index":1,"delta":{"type":"text_delta","text":"_end|>"}`) +
		frame("content_block_stop", `,"index":1`) +
		frame("content_block_start", `,"index":2,"content_block":{"type":"text","text":""}`) +
		frame("content_block_delta", `,"index":2,"delta":{"type":"text_delta","text":" there"}`) +
		frame("content_block_stop", `,"index":2`) +
		frame("message_delta", `,"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}`) + frame("message_stop", "")
	sc := scripted{id: "a", wire: drey.WireAnthropic, change: func(p *Provider) {
		p.Transport, p.Filters = &server{status: 200, kind: "text/event-stream", body: stream}, []string{repair.StripStopMarkers}
	}}
	a := newLab(t, nil, sc).ask(t.Context(), drey.WireAnthropic, prompt(drey.WireAnthropic, true))
	var got []string
	for _, line := range strings.Split(a.body, "\n") {
		if data, ok := strings.CutPrefix(line, "data: "); ok && gjson.Get(data, "index").Exists() {
			got = append(got, strings.TrimPrefix(gjson.Get(data, "type").Str, "content_block_")+gjson.Get(data, "index").Raw+gjson.Get(data, "delta.text").Str)
		}
	}
	if want := "start0 stop0 start1 delta1Hello stop1 start2 delta2 there stop2"; strings.Join(got, " ") != want {
		t.Errorf("%s, want %s\n%s", got, want, a.body)
	}
}
