package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// pairing is a caller's wire and the wire on which its provider answers.
type pairing struct{ caller, provider drey.Wire }

// pairings are all ways through; responses to responses is a native provider.
var pairings = []pairing{
	{drey.WireAnthropic, drey.WireAnthropic}, {drey.WireAnthropic, drey.WireChat},
	{drey.WireChat, drey.WireAnthropic}, {drey.WireChat, drey.WireChat},
	{drey.WireResponses, drey.WireAnthropic}, {drey.WireResponses, drey.WireChat}, {drey.WireResponses, drey.WireResponses},
}

func (p pairing) String() string { return p.caller.String() + "-" + p.provider.String() }

// saying is a provider of the pairing that answers with text in these pieces.
func (p pairing) saying(stream bool, m Mending, pieces ...string) scripted {
	return p.answering(stream, m, fake.Pieces(pieces...), pieces...)
}

// answering is a provider of the pairing that behaves, or, as the fake does not
// speak Responses, says the pieces.
func (p pairing) answering(stream bool, m Mending, b fake.Behaviour, pieces ...string) scripted {
	if p.provider != drey.WireResponses {
		return scripted{id: "a", wire: p.provider, script: fake.Always(b), change: func(pr *Provider) { pr.Mending = m }}
	}
	s := native("a", nativeSays(stream, pieces...))
	change := s.change
	s.change = func(pr *Provider) { change(pr); pr.Mending = m }
	return s
}

// nativeSays is a server of the Responses wire that tells text in pieces. Before
// a call it does a search of its own.
func nativeSays(stream bool, pieces ...string) *server {
	quote := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	text := strings.Join(pieces, "")
	item := `{"id":"msg_native","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","annotations":[],"text":` + quote(text) + `}]}`
	whole := `{"id":"resp_native","object":"response","created_at":7,"model":"real","status":"completed","of_tomorrow":1.0,"output":[` + item + `],"usage":{"input_tokens":9,"output_tokens":4,"total_tokens":13}}`
	if !stream {
		return &server{status: 200, kind: "application/json", body: whole}
	}
	var b strings.Builder
	n := 0
	event := func(kind, fields string) {
		fmt.Fprintf(&b, "event: %s\ndata: {\"type\":%q,\"sequence_number\":%d%s}\n\n", kind, kind, n, fields)
		n++
	}
	at, search := 0, strings.Contains(text, "tool_call")
	if search {
		at = 1
	}
	index := `,"output_index":` + strconv.Itoa(at)
	place := `,"item_id":"msg_native"` + index + `,"content_index":0`
	event("response.created", `,"response":{"id":"resp_native","object":"response","model":"real","status":"in_progress","output":[]}`)
	event("response.in_progress", `,"response":{"id":"resp_native","object":"response","model":"real","status":"in_progress","output":[]}`)
	if search {
		event("response.output_item.added", `,"output_index":0,"item":{"id":"ws_1","type":"web_search_call","status":"in_progress"}`)
		event("response.output_item.done", `,"output_index":0,"item":{"id":"ws_1","type":"web_search_call","status":"completed"}`)
	}
	event("response.output_item.added", index+`,"item":{"id":"msg_native","type":"message","status":"in_progress","role":"assistant","content":[]}`)
	event("response.content_part.added", place+`,"part":{"type":"output_text","annotations":[],"text":""}`)
	for _, p := range pieces {
		event("response.output_text.delta", place+`,"delta":`+quote(p))
	}
	event("response.output_text.done", place+`,"text":`+quote(text))
	event("response.content_part.done", place+`,"part":{"type":"output_text","annotations":[],"text":`+quote(text)+`}`)
	event("response.output_item.done", index+`,"item":`+item)
	event("response.completed", `,"response":`+whole)
	return &server{status: 200, kind: "text/event-stream", body: b.String()}
}

// toolPrompt is a request of the wire that declares Bash; more are fields of it.
func toolPrompt(w drey.Wire, stream bool, more ...string) string {
	var body map[string]any
	_ = json.Unmarshal([]byte(prompt(w, stream)), &body)
	schema := json.RawMessage(`{"type":"object","properties":{"command":{"type":"string"}},"required":["command"]}`)
	function := map[string]any{"name": "Bash", "parameters": schema}
	switch w {
	case drey.WireAnthropic:
		body["tools"] = []any{map[string]any{"name": "Bash", "input_schema": schema}}
	case drey.WireResponses:
		function["type"] = "function"
		body["tools"] = []any{function}
	default:
		body["tools"] = []any{map[string]any{"type": "function", "function": function}}
	}
	for i := 0; i < len(more); i += 2 {
		body[more[i]] = json.RawMessage(more[i+1])
	}
	b, _ := json.Marshal(body)
	return string(b)
}

// read is the answer as a caller of the wire understands it.
func (a answer) read(t *testing.T, w drey.Wire) *wire.Response {
	t.Helper()
	c := codecs[w]
	if a.status != 200 {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream") {
		r, err := c.DecodeResponse([]byte(a.body))
		if err != nil {
			t.Fatalf("%v in %s", err, a.body)
		}
		return r
	}
	var got *wire.Response
	relay := wire.Assemble(c.NewDecoder(), wire.Back{}, func(r *wire.Response) ([]byte, error) { got = r; return nil, nil })
	frames := sse.NewReader(strings.NewReader(a.body), 0)
	for {
		ev, err := frames.Next()
		var sig wire.Signal
		if err == io.EOF {
			_, sig = relay.Close(nil)
		} else if err == nil {
			_, sig = relay.Frame(nil, ev)
		} else {
			t.Fatal(err)
		}
		if sig.Err != nil {
			t.Fatalf("%v in\n%s", sig.Err, a.body)
		}
		if err != nil {
			break
		}
	}
	if got == nil {
		t.Fatalf("the answer has no end:\n%s", a.body)
	}
	return got
}

// tell writes what an answer says: its texts as one, its reasoning, its calls
// without their ids, and why it ended.
func tell(r *wire.Response) string {
	text, thought := "", ""
	var calls []string
	for _, b := range r.Blocks {
		switch b.Kind {
		case wire.ToolUse:
			calls = append(calls, b.Name+string(b.Input))
		case wire.Text:
			text += b.Text
		case wire.Reasoning:
			thought += b.Text
		}
	}
	out := strconv.Quote(strings.Join(strings.Fields(text), " "))
	if thought != "" {
		out = "thinks " + strconv.Quote(thought) + " " + out
	}
	return strings.Join(append(append([]string{out}, calls...), r.Stop.String()), " ")
}

// events are the fields of the request's events of a name.
func (r *Record) events(name string) (out []string) {
	for _, ev := range r.Events {
		if ev.Name != name {
			continue
		}
		var parts []string
		for _, f := range ev.Fields {
			parts = append(parts, fmt.Sprint(f.Value))
		}
		out = append(out, strings.Join(parts, " "))
	}
	return out
}
