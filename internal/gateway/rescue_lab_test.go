package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// said is an answer as its provider means it.
type said struct {
	blocks []wire.Block
	piece  int // runes in a delta
}

func (s said) text() string {
	var b strings.Builder
	for _, bl := range s.blocks {
		if bl.Kind == wire.Text {
			b.WriteString(bl.Text)
		}
	}
	return b.String()
}

func (s said) calls() (names []string) {
	for _, bl := range s.blocks {
		if bl.Kind == wire.ToolUse {
			names = append(names, bl.Name+string(bl.Input))
		}
	}
	return names
}

// stream is the answer in a wire, as its own vendor streams it.
func (s said) stream(w drey.Wire, id string) []byte {
	prefix := map[drey.Wire]string{drey.WireAnthropic: "msg_", drey.WireChat: "gen-", drey.WireResponses: "resp_"}[w]
	enc := codecs[w].NewEncoder(wire.EncoderOptions{ID: prefix + id, Model: "model-" + id, Created: 7, WantUsage: true, Signed: true})
	u := wire.Usage{Input: 100, Output: 10}
	out := enc.Encode(nil, wire.Event{Kind: wire.Start, Usage: &wire.Usage{Input: 100}})
	stop := wire.StopEnd
	for _, b := range s.blocks {
		text := b.Text
		if b.Kind == wire.ToolUse {
			text, stop = string(b.Input), wire.StopTools
		}
		out = enc.Encode(out, wire.Event{Kind: wire.BlockStart, Block: wire.Block{Kind: b.Kind, ID: b.ID, Name: b.Name}})
		for r := []rune(text); len(r) > 0; {
			n := min(s.piece, len(r))
			out = enc.Encode(out, wire.Event{Kind: wire.Delta, Text: string(r[:n])})
			r = r[n:]
		}
		if b.Kind == wire.Reasoning {
			out = enc.Encode(out, wire.Event{Kind: wire.Sign, Text: "vendor"})
		}
		out = enc.Encode(out, wire.Event{Kind: wire.BlockStop})
	}
	return enc.Encode(out, wire.Event{Kind: wire.Finish, Stop: stop, Usage: &u})
}

// speaker is a provider that says the same whenever it is asked, and goes on
// with it where a request gives it the beginning.
type speaker struct {
	wire    drey.Wire
	id      string
	says    said
	overlap int  // runes that it repeats of the beginning
	muses   bool // it thinks before it goes on
	whole   bool // it answers in one piece

	mu     sync.Mutex
	cut    int // bytes of its stream; negative = all of them
	err    error
	bodies [][]byte
}

func (s *speaker) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies = append(s.bodies, body)
	says := s.says
	if begun := beginning(s.wire, body); begun != "" {
		if says, err = says.after(begun, s.overlap); err != nil {
			return nil, err
		}
		if s.muses {
			says.blocks = append([]wire.Block{{Kind: wire.Reasoning, Text: "where was I"}}, says.blocks...)
		}
	}
	out := says.stream(s.wire, s.id)
	kind := "text/event-stream"
	if s.whole {
		kind = "application/json"
		out, err = codecs[s.wire].EncodeResponse(&wire.Response{ID: s.id, Model: "model-" + s.id, Blocks: says.blocks, Stop: wire.StopEnd, Usage: wire.Usage{Input: 100, Output: 10}})
		if err != nil {
			return nil, err
		}
	}
	var answer io.Reader = bytes.NewReader(out)
	if s.cut >= 0 {
		answer = bytes.NewReader(out[:s.cut])
		if s.err != nil {
			answer = io.MultiReader(answer, broken{s.err})
		}
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(answer), ContentLength: -1, Request: r}, nil
}

// beginning is that of an answer in a request; "" if there is none.
func beginning(w drey.Wire, body []byte) string {
	req, err := codecs[w].DecodeRequest(body)
	if err != nil {
		return "" // it asks for what no other wire has
	}
	last := req.Messages[len(req.Messages)-1]
	if last.Role != wire.Assistant {
		return ""
	}
	return strings.TrimLeft(strings.TrimPrefix(last.Blocks[len(last.Blocks)-1].Text, "So:"), " ") // as callers begin it themselves
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// after is what is left to say behind a beginning, some of it a second time.
func (s said) after(beginning string, overlap int) (said, error) {
	out := said{piece: s.piece}
	left := beginning
	for _, b := range s.blocks {
		if b.Kind != wire.Text {
			if left == "" {
				out.blocks = append(out.blocks, b)
			}
			continue
		}
		switch {
		case left == "":
		case len(left) <= len(b.Text) && strings.HasPrefix(b.Text, left):
			from := len([]rune(left)) - min(overlap, len([]rune(left)))
			b.Text, left = string([]rune(b.Text)[from:]), ""
		default:
			rest, ok := strings.CutPrefix(left, b.Text)
			if !ok {
				return out, fmt.Errorf("nobody has said %q", beginning)
			}
			left = strings.TrimPrefix(rest, "\n")
			continue
		}
		if b.Text != "" {
			out.blocks = append(out.blocks, b)
		}
	}
	return out, nil
}

// ability is a provider of a lab that a speaker plays.
func (s *speaker) scripted(id drey.ProviderID, prefill bool) scripted {
	return scripted{id: id, wire: near(s.wire), change: func(p *Provider) {
		p.Transport, p.Responses = s, s.wire == drey.WireResponses
		if prefill {
			p.Can.Prefill = 1
		}
	}}
}

// rescuing sets the first profile's rescue. Nobody is excluded, so that one lab
// can break many streams.
func rescuing(r Rescue) func(*Settings) {
	return func(s *Settings) {
		s.Profiles[0].Rescue = r
		s.Profiles[0].Action = health.ActionOff
	}
}

// got is what a strict client of a wire has read of a stream.
type got struct {
	text, thought, id, failed string
	calls                     []string // name and arguments of those that came to their end
	done                      bool
	input, output             int
}

var errOrder = errors.New("out of order")

// readStream reads a stream of a wire as a client that trusts nobody: what the
// contract says about order, ids and numbers (§8) is an error if it is not so.
func readStream(w drey.Wire, body string) (got, error) {
	r := sse.NewReader(strings.NewReader(body), 0)
	c := client{}
	read := map[drey.Wire]func(string, gjson.Result) error{
		drey.WireAnthropic: c.anthropic, drey.WireChat: c.chat, drey.WireResponses: c.responses,
	}[w]
	for {
		ev, err := r.Next()
		if err == io.EOF {
			return c.got, nil
		}
		if err != nil {
			return c.got, err
		}
		if len(ev.Data) == 0 || ev.Name == "ping" {
			continue
		}
		if c.done || c.failed != "" {
			return c.got, fmt.Errorf("%w: %s follows the end", errOrder, ev.Raw)
		}
		if string(ev.Data) == "[DONE]" {
			if !c.finished || w != drey.WireChat {
				return c.got, fmt.Errorf("%w: an end mark before the end", errOrder)
			}
			c.done = true
			continue
		}
		if !json.Valid(ev.Data) {
			return c.got, fmt.Errorf("no JSON: %s", ev.Raw)
		}
		if err := read(ev.Name, gjson.ParseBytes(ev.Data)); err != nil {
			return c.got, fmt.Errorf("%w at %s", err, ev.Raw)
		}
	}
}

type client struct {
	got
	started, open, finished bool
	next                    int // index
	seq                     int // number
	kind, name, args        string
	item, part              string // responses: the open item's id, and the text of its part
	items                   []string
}

func need(ok bool) error {
	if !ok {
		return errOrder
	}
	return nil
}

func (c *client) anthropic(name string, f gjson.Result) error {
	if f.Get("type").Str != name {
		return errOrder
	}
	switch name {
	case "message_start":
		if c.started {
			return errOrder
		}
		c.started, c.id = true, f.Get("message.id").Str
	case "content_block_start":
		if !c.started || c.open || c.finished || int(f.Get("index").Int()) != c.next {
			return errOrder
		}
		c.open, c.kind, c.name, c.args = true, f.Get("content_block.type").Str, f.Get("content_block.name").Str, ""
		c.text += f.Get("content_block.text").Str
	case "content_block_delta":
		want := map[string]string{"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "thinking", "input_json_delta": "tool_use"}
		if !c.open || int(f.Get("index").Int()) != c.next || want[f.Get("delta.type").Str] != c.kind {
			return errOrder
		}
		c.text += f.Get("delta.text").Str
		c.thought += f.Get("delta.thinking").Str
		c.args += f.Get("delta.partial_json").Str
	case "content_block_stop":
		if !c.open || int(f.Get("index").Int()) != c.next {
			return errOrder
		}
		if c.kind == "tool_use" {
			c.calls = append(c.calls, c.name+c.args)
		}
		c.open = false
		c.next++
	case "message_delta":
		if c.open || c.finished || !c.started {
			return errOrder
		}
		c.finished = true
		c.input, c.output = int(f.Get("usage.input_tokens").Int()), int(f.Get("usage.output_tokens").Int())
	case "message_stop":
		c.done = c.finished
		return need(c.finished)
	case "error":
		c.failed = f.Get("error.type").Str
	default:
		return errOrder
	}
	return nil
}

func (c *client) chat(_ string, f gjson.Result) error {
	if e := f.Get("error"); e.Exists() {
		c.failed = e.Get("type").Str
		return nil
	}
	if id := f.Get("id").Str; c.started && (id != c.id || f.Get("created").Int() != int64(c.seq)) {
		return fmt.Errorf("%w: id %q after %q", errOrder, id, c.id)
	} else if !c.started {
		c.started, c.id, c.seq = true, id, int(f.Get("created").Int())
		if f.Get("choices.0.delta.role").Str != "assistant" {
			return errOrder
		}
	} else if f.Get("choices.0.delta.role").Exists() {
		return fmt.Errorf("%w: a second role", errOrder)
	}
	if u := f.Get("usage"); u.IsObject() {
		c.input, c.output = int(u.Get("prompt_tokens").Int()), int(u.Get("completion_tokens").Int())
	}
	if f.Get("choices.#").Int() == 0 {
		return need(c.finished)
	}
	if c.finished {
		return errOrder
	}
	d := f.Get("choices.0.delta")
	c.text += d.Get("content").Str
	c.thought += d.Get("reasoning_content").Str
	for _, call := range d.Get("tool_calls").Array() {
		if int(call.Get("index").Int()) == len(c.calls) {
			if call.Get("id").Str == "" || call.Get("function.name").Str == "" {
				return errOrder
			}
			c.calls = append(c.calls, call.Get("function.name").Str)
		} else if int(call.Get("index").Int()) != len(c.calls)-1 {
			return errOrder
		}
		c.calls[len(c.calls)-1] += call.Get("function.arguments").Str
	}
	c.finished = f.Get("choices.0.finish_reason").Str != ""
	return nil
}

func (c *client) responses(name string, f gjson.Result) error {
	if f.Get("type").Str != name || int(f.Get("sequence_number").Int()) != c.seq {
		return fmt.Errorf("%w: number %d, want %d", errOrder, f.Get("sequence_number").Int(), c.seq)
	}
	c.seq++
	if i := f.Get("output_index"); i.Exists() && int(i.Int()) != c.next {
		return fmt.Errorf("%w: item %d, want %d", errOrder, i.Int(), c.next)
	}
	if id := f.Get("item_id"); id.Exists() && (!c.open || id.Str != c.item) {
		return fmt.Errorf("%w: item %q", errOrder, id.Str)
	}
	switch name {
	case "response.created":
		c.id = f.Get("response.id").Str
		c.started = true
	case "response.in_progress":
	case "response.output_item.added":
		if c.open || !c.started {
			return errOrder
		}
		c.open, c.item, c.part, c.kind = true, f.Get("item.id").Str, "", ""
	case "response.content_part.added":
		if c.kind != "" {
			return errOrder
		}
		c.kind = "text"
	case "response.output_text.delta":
		if c.kind != "text" {
			return errOrder
		}
		c.part += f.Get("delta").Str
		c.text += f.Get("delta").Str
	case "response.output_text.done":
		return need(c.kind == "text" && f.Get("text").Str == c.part)
	case "response.content_part.done":
		return need(c.kind == "text" && f.Get("part.text").Str == c.part)
	case "response.reasoning_summary_text.delta":
		c.thought += f.Get("delta").Str
	case "response.output_item.done":
		if !c.open || f.Get("item.id").Str != c.item || c.kind == "text" && f.Get("item.content.0.text").Str != c.part {
			return errOrder
		}
		if f.Get("item.type").Str == "function_call" {
			c.calls = append(c.calls, f.Get("item.name").Str+f.Get("item.arguments").Str)
		}
		c.items = append(c.items, f.Get("item").Raw)
		c.open = false
		c.next++
	case "response.completed", "response.incomplete":
		var items []string
		for _, it := range f.Get("response.output").Array() {
			items = append(items, it.Raw)
		}
		if c.open || f.Get("response.id").Str != c.id || strings.Join(items, "\n") != strings.Join(c.items, "\n") {
			return fmt.Errorf("%w: the whole differs from its parts", errOrder)
		}
		c.done = true
		c.input, c.output = int(f.Get("response.usage.input_tokens").Int()), int(f.Get("response.usage.output_tokens").Int())
	case "response.failed":
		c.failed = f.Get("response.error.code").Str
	}
	return nil
}

// asking is a streamed request of a caller with tools and a wish to see
// reasoning and usage, so that nothing of an answer is left out on its way.
func asking(w drey.Wire) string {
	body := map[string]any{"model": "x", "stream": true}
	user := []any{map[string]any{"role": "user", "content": "tell me"}}
	params := map[string]any{"type": "object", "properties": map[string]any{}}
	switch w {
	case drey.WireAnthropic:
		body["messages"], body["max_tokens"], body["thinking"] = user, 4000, map[string]any{"type": "enabled", "budget_tokens": 1024}
		body["tools"] = []any{map[string]any{"name": "look", "input_schema": params}}
	case drey.WireResponses:
		body["input"], body["max_output_tokens"], body["reasoning"] = user, 4000, map[string]any{"effort": "low", "summary": "auto"}
		body["tools"] = []any{map[string]any{"type": "function", "name": "look", "parameters": params}}
	default:
		body["messages"], body["max_tokens"], body["reasoning_effort"] = user, 4000, "low"
		body["stream_options"] = map[string]any{"include_usage": true}
		body["tools"] = []any{map[string]any{"type": "function", "function": map[string]any{"name": "look", "parameters": params}}}
	}
	b, _ := json.Marshal(body)
	return string(b)
}

// theWires are those that a provider may speak.
var theWires = []drey.Wire{drey.WireAnthropic, drey.WireChat, drey.WireResponses}

// mending is a rescue that lets content flow at once.
var mending = Rescue{Mode: RescueContinue, HoldTokens: 1}

// holding is one that keeps it for longer than any test takes.
func holding(m RescueMode) Rescue { return Rescue{Mode: m, HoldTokens: 2000, HoldTime: time.Hour} }

func pair(t *testing.T, r Rescue, first, second *speaker) *lab {
	return newLab(t, rescuing(r), first.scripted("first", false), second.scripted("second", true))
}
