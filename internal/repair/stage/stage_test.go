package stage_test

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey/internal/repair"
	"github.com/dreyhq/drey/internal/repair/stage"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/anthropic"
	"github.com/dreyhq/drey/internal/wire/openai"
	"github.com/dreyhq/drey/internal/wire/sse"
)

const listFiles = `<tool_call>{"name": "Bash", "arguments": {"command": "ls"}}</tool_call>`

func tools() *repair.Tools {
	return repair.NewTools([]repair.Tool{{Name: "Bash", Schema: []byte(`{"properties":{"command":{"type":"string"}},"required":["command"]}`)}})
}

func newStage(t *testing.T, o stage.Options) *stage.Stage {
	t.Helper()
	n := 0
	o.NewID = func() string { n++; return fmt.Sprintf("call_%d", n) }
	s, err := stage.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// answer is an answer of text that came in pieces of a size.
func answer(text string, size int, more ...wire.Block) []wire.Event {
	events := []wire.Event{{Kind: wire.Start, ID: "x", Model: "m"}, {Kind: wire.BlockStart, Block: wire.Block{Kind: wire.Text}}}
	for text != "" {
		n := min(size, len(text))
		events = append(events, wire.Event{Kind: wire.Delta, Text: text[:n]})
		text = text[n:]
	}
	events = append(events, wire.Event{Kind: wire.BlockStop})
	for _, b := range more {
		events = append(events, wire.Event{Kind: wire.BlockStart, Block: wire.Block{Kind: b.Kind, ID: b.ID, Name: b.Name}})
		events = append(events, wire.Event{Kind: wire.Delta, Text: b.Text + string(b.Input)}, wire.Event{Kind: wire.BlockStop})
	}
	return append(events, wire.Event{Kind: wire.Finish, Stop: wire.StopEnd})
}

// show writes the blocks of an answer and why it ended.
func show(r *wire.Response) string {
	var out []string
	for _, b := range r.Blocks {
		switch b.Kind {
		case wire.ToolUse:
			out = append(out, fmt.Sprintf("%s %s %s", b.ID, b.Name, b.Input))
		case wire.Reasoning:
			out = append(out, fmt.Sprintf("thinks %q", b.Text))
		default:
			out = append(out, fmt.Sprintf("%q", b.Text))
		}
	}
	return strings.Join(append(out, r.Stop.String()), "; ")
}

// Who gives the rest of an answer is mended as if it had given all of it.
func TestTheRestOfAnAnswer(t *testing.T) {
	quoted := strings.ReplaceAll(listFiles, `"`, `\"`)
	for _, c := range []struct{ before, text, want string }{
		{"Well.", "\n" + listFiles, `call_1 Bash {"command": "ls"}; tools`},
		{"It may look like this, for example:", "\n" + listFiles, `"\n` + quoted + `"; end`},
		{"```python\nimport os", "\n" + `Bash(command="ls")` + "\n```\n", `"\nBash(command=\"ls\")\n` + "```" + `\n"; end`},
		{"```python\nimport os\n```", "\n" + listFiles, `call_1 Bash {"command": "ls"}; tools`},
		{`<tool_call>{"name": "Bash", "arg`, `uments": {"command": "ls"}}</tool_call>`, `"uments\": {\"command\": \"ls\"}}</tool_call>"; end`},
	} {
		for cut := range len(c.text) + 1 {
			r, s := through(t, stage.Options{Tools: tools(), Before: c.before}, c.text, cut)
			if got := show(r); got != c.want || s.Pending() {
				t.Errorf("behind %q, cut at %d: %s, want %s", c.before, cut, got, c.want)
			}
		}
	}
}

func TestAnswers(t *testing.T) {
	native := wire.Block{Kind: wire.ToolUse, ID: "n", Name: "Bash", Input: json.RawMessage(`{"command":"pwd"}`)}
	for _, c := range []struct {
		name    string
		o       stage.Options
		text    string
		more    []wire.Block
		want    string
		applied []string
	}{
		{name: "text", o: stage.Options{Tools: tools()}, text: "Hello", want: `"Hello"; end`},
		{name: "nothing", o: stage.Options{Tools: tools()}, text: "", want: `""; end`},
		{name: "blank text", o: stage.Options{Tools: tools()}, text: " \n", want: `" \n"; end`},
		{name: "a call alone", o: stage.Options{Tools: tools()}, text: listFiles, want: `call_1 Bash {"command": "ls"}; tools`},
		{name: "a call in space", o: stage.Options{Tools: tools()}, text: "\n\n" + listFiles + "\n", want: `call_1 Bash {"command": "ls"}; tools`},
		{name: "text around a call", o: stage.Options{Tools: tools()}, text: "I look.\n" + listFiles + "\nDone.",
			want: `"I look.\n"; call_1 Bash {"command": "ls"}; "\nDone."; tools`},
		{name: "two calls and one again", o: stage.Options{Tools: tools()}, text: listFiles + "\n" + strings.Replace(listFiles, "ls", "pwd", 1) + "\n" + listFiles,
			want: `call_1 Bash {"command": "ls"}; call_2 Bash {"command": "pwd"}; tools`},
		{name: "one call at a time", o: stage.Options{Tools: tools(), OneCall: true}, text: listFiles + "\n" + strings.Replace(listFiles, "ls", "pwd", 1) + "\nDone.",
			want: `call_1 Bash {"command": "ls"}; "\nDone."; tools`},
		{name: "a printed call in an answer with a proper one", o: stage.Options{Tools: tools(), Whole: true}, text: "x", more: []wire.Block{native, {Kind: wire.Text, Text: listFiles}},
			want: `"x"; n Bash {"command":"pwd"}; "` + strings.ReplaceAll(listFiles, `"`, `\"`) + `"; end`},
		{name: "no repair", o: stage.Options{Filters: []string{repair.StripStopMarkers}}, text: listFiles,
			want: `"` + strings.ReplaceAll(listFiles, `"`, `\"`) + `"; end`},
		{name: "repair comes before filters", o: stage.Options{Tools: tools(), Filters: []string{repair.StripToolCallXML}}, text: "a " + strings.Replace(listFiles, "Bash", "Nope", 1) + "\n" + listFiles,
			want: `"a \n"; call_1 Bash {"command": "ls"}; tools`, applied: []string{repair.StripToolCallXML}},
		{name: "nothing is left", o: stage.Options{Filters: []string{repair.StripThinking}}, text: "<think>hm</think>", want: `end`, applied: []string{repair.StripThinking}},
		{name: "a thought before a call", o: stage.Options{Tools: tools(), Filters: []string{repair.StripThinking}}, text: "<think>" + listFiles + "</think>\n" + listFiles + " <|",
			want: `call_1 Bash {"command": "ls"}; " <|"; tools`, applied: []string{repair.StripThinking}},
		{name: "reasoning is not searched", o: stage.Options{Tools: tools()}, text: "x", more: []wire.Block{{Kind: wire.Reasoning, Text: listFiles}},
			want: fmt.Sprintf(`"x"; thinks %q; end`, listFiles)},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, size := range []int{1, 2, 7, 1000} {
				s := newStage(t, c.o)
				var made wire.Assembler
				var out []wire.Event
				for _, ev := range answer(c.text, size, c.more...) {
					out = s.Event(out, ev)
				}
				checkOrder(t, out)
				for _, ev := range out {
					made.Add(ev)
				}
				if d := cmp.Diff(c.want, show(made.Response())); d != "" {
					t.Errorf("in pieces of %d (-want +got):\n%s", size, d)
				}
				if d := cmp.Diff(c.applied, s.Applied()); d != "" {
					t.Errorf("filters: %s", d)
				}
				if s.Pending() {
					t.Error("something is still held back")
				}
			}
			// The same, of an answer in one piece.
			var made wire.Assembler
			for _, ev := range answer(c.text, 1000, c.more...) {
				made.Add(ev)
			}
			r := made.Response()
			before := show(r)
			changed := newStage(t, c.o).Response(r)
			if got := show(r); got != c.want || changed != (before != got) {
				t.Errorf("whole: %s (changed %v), want %s", got, changed, c.want)
			}
		})
	}
}

// checkOrder holds a stream to the rules of events: blocks do not overlap.
func checkOrder(t *testing.T, events []wire.Event) {
	t.Helper()
	open := false
	for i, ev := range events {
		switch ev.Kind {
		case wire.BlockStart:
			if open {
				t.Errorf("event %d begins a block within another", i)
			}
			open = true
		case wire.BlockStop, wire.Delta, wire.Sign:
			if !open {
				t.Errorf("event %d stands outside of a block", i)
			}
			open = ev.Kind != wire.BlockStop
		case wire.Finish:
			if open {
				t.Error("the answer ends within a block")
			}
		}
	}
}

func TestALimitIsStillTheReason(t *testing.T) {
	s := newStage(t, stage.Options{Tools: tools()})
	var out []wire.Event
	for _, ev := range answer(listFiles, 5) {
		if ev.Kind == wire.Finish {
			ev.Stop = wire.StopLength
		}
		out = s.Event(out, ev)
	}
	if stop := out[len(out)-1].Stop; stop != wire.StopLength || len(s.Calls()) != 1 {
		t.Errorf("stop %v with %d calls", stop, len(s.Calls()))
	}
}

func TestUnknownFilter(t *testing.T) {
	if _, err := stage.New(stage.Options{Filters: []string{"x"}}); err == nil {
		t.Error("a filter that there is not")
	}
	if (stage.Options{}).Active() || (stage.Options{Tools: repair.NewTools(nil)}).Active() || !(stage.Options{Tools: tools()}).Active() {
		t.Error("active is what has tools or filters")
	}
}

// wires are the two wires of a provider, and how it streams text.
var wires = []struct {
	codec  wire.Codec
	stream func(text string, size int) string
}{
	{openai.Chat{}, chatStream},
	{anthropic.Codec{}, messagesStream},
}

func pieces(text string, size int) (out []string) {
	for text != "" {
		n := min(size, len(text))
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n++
		}
		quoted, _ := json.Marshal(text[:n])
		out = append(out, string(quoted))
		text = text[n:]
	}
	return out
}

func chatStream(text string, size int) string {
	chunk := func(choices string) string {
		return `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","vendor":7,"choices":` + choices + "}\n\n"
	}
	out := chunk(`[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]`)
	for _, p := range pieces(text, size) {
		out += chunk(`[{"index":0,"delta":{"content":` + p + `},"finish_reason":null}]`)
	}
	return out + chunk(`[{"index":0,"delta":{},"finish_reason":"stop"}]`) + "data: [DONE]\n\n"
}

func messagesStream(text string, size int) string {
	frame := func(name, data string) string {
		return "event: " + name + "\ndata: {\"type\":\"" + name + "\"" + data + "}\n\n"
	}
	out := frame("message_start", `,"message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}`)
	out += frame("content_block_start", `,"index":0,"content_block":{"type":"text","text":""}`)
	out += frame("ping", "")
	for _, p := range pieces(text, size) {
		out += frame("content_block_delta", `,"index":0,"delta":{"type":"text_delta","text":`+p+`}`)
	}
	return out + frame("content_block_stop", `,"index":0`) + frame("message_delta", `,"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":9}`) + frame("message_stop", "")
}

// play drives a relay over a stream.
func play(t *testing.T, relay wire.Relay, stream string) (out string, last wire.Signal) {
	t.Helper()
	drive(t, relay, stream, func(made []byte, sig wire.Signal) {
		out += string(made)
		if sig.Done || sig.Err != nil {
			last = sig
		}
	})
	return out, last
}

// drive drives a relay over a stream and hands on what each frame made.
func drive(t *testing.T, relay wire.Relay, stream string, take func(out []byte, sig wire.Signal)) {
	t.Helper()
	r := sse.NewReader(strings.NewReader(stream), 0)
	for {
		ev, err := r.Next()
		if err == io.EOF {
			take(relay.Close(nil))
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		take(relay.Frame(nil, ev))
	}
}

// assembled reads a stream as its caller does.
func assembled(t *testing.T, c wire.Codec, stream string) *wire.Response {
	t.Helper()
	var answer *wire.Response
	_, sig := play(t, wire.Assemble(c.NewDecoder(), wire.Back{}, func(r *wire.Response) ([]byte, error) { answer = r; return nil, nil }), stream)
	if sig.Err != nil {
		t.Fatalf("%v in:\n%s", sig.Err, stream)
	}
	return answer
}

func pass(c wire.Codec, s *stage.Stage) wire.Relay {
	return stage.Pass(stage.PassOptions{
		Observer: c.NewObserver(wire.ObserverOptions{}), EndMark: c.EndMark(), Decoder: c.NewDecoder(), Stage: s,
		NewEncoder: func(start wire.Event) wire.Encoder {
			return c.NewEncoder(wire.EncoderOptions{ID: start.ID, Model: start.Model, Created: 1})
		},
	})
}

func TestPassLeavesBytesAlone(t *testing.T) {
	for _, w := range wires {
		for _, text := range []string{"Hello, all is well.", "", "\n", "I say {\"name\": 1} and <b> and `x`.\nBash is a shell", "```json\n{\"a\": 1}\n```", `{"name": "Bash"`} {
			for _, size := range []int{1, 4, 100} {
				stream := w.stream(text, size)
				s := newStage(t, stage.Options{Tools: tools(), Filters: []string{repair.StripThinking, repair.RepairByteFallback}})
				got, sig := play(t, pass(w.codec, s), stream)
				if got != stream || sig.Err != nil || s.Touched() {
					t.Errorf("%s: %q in pieces of %d changed on its way: %v\n%s", w.codec.Wire(), text, size, sig.Err, cmp.Diff(stream, got))
				}
			}
		}
	}
}

func TestPassMends(t *testing.T) {
	for _, w := range wires {
		for _, size := range []int{1, 5, 1000} {
			s := newStage(t, stage.Options{Tools: tools(), Filters: []string{repair.StripStopMarkers}})
			stream := w.stream("I look.\n\n"+listFiles+"\nAnd so on.<|im_end|>", size)
			got, _ := play(t, pass(w.codec, s), stream)
			want := `"I look.\n\n"; call_1 Bash {"command": "ls"}; "\nAnd so on."; tools`
			if w.codec.Wire().String() == "chat" {
				// One string of text on this wire, whatever stands between.
				want = `"I look.\n\n"; call_1 Bash {"command": "ls"}; "\n\nAnd so on."; tools`
			}
			if d := cmp.Diff(want, show(assembled(t, w.codec, got))); d != "" {
				t.Errorf("%s in pieces of %d (-want +got):\n%s\n%s", w.codec.Wire(), size, d, got)
			}
			if len(s.Calls()) != 1 || s.Calls()[0].Shape != repair.Tag || !cmp.Equal(s.Applied(), []string{repair.StripStopMarkers}) {
				t.Errorf("told %v and %v", s.Calls(), s.Applied())
			}
		}
	}
}

// TestCutStreamsNeverEndCleanly cuts a stream at every byte.
func TestCutStreamsNeverEndCleanly(t *testing.T) {
	for _, w := range wires {
		stream := w.stream("Look:\n"+listFiles, 9)
		whole := len(stream) - 60 // what is cut within the end marks may be complete
		for cut := range whole {
			s := newStage(t, stage.Options{Tools: tools()})
			out, sig := play(t, pass(w.codec, s), stream[:cut])
			if sig.Err == nil {
				t.Fatalf("%s, cut at %d: no error", w.codec.Wire(), cut)
			}
			for _, end := range []string{"[DONE]", "message_stop", `"finish_reason":"`} {
				if strings.Contains(out, end) {
					t.Fatalf("%s, cut at %d: ended with %s", w.codec.Wire(), cut, end)
				}
			}
		}
	}
}

func TestTranslationMends(t *testing.T) {
	for _, from := range wires {
		for _, to := range wires {
			s := newStage(t, stage.Options{Tools: tools()})
			relay := wire.Translate(stage.Decoder(from.codec.NewDecoder(), s), to.codec.NewEncoder(wire.EncoderOptions{ID: "id", Model: "m"}), wire.Back{})
			got, sig := play(t, relay, from.stream("I look.\n"+listFiles, 3))
			if sig.Err != nil {
				t.Fatal(sig.Err)
			}
			if d := cmp.Diff(`"I look.\n"; call_1 Bash {"command": "ls"}; tools`, show(assembled(t, to.codec, got))); d != "" {
				t.Errorf("%s to %s (-want +got):\n%s\n%s", from.codec.Wire(), to.codec.Wire(), d, got)
			}
		}
	}
}

func BenchmarkPass(b *testing.B) {
	for _, w := range wires {
		b.Run(w.codec.Wire().String(), func(b *testing.B) {
			var frames []sse.Event
			stream := w.stream(strings.Repeat("The daemon keeps agents running. ", 200), 5)
			r := sse.NewReader(strings.NewReader(stream), 0)
			for {
				ev, err := r.Next()
				if err != nil {
					break
				}
				ev.Raw, ev.Data = []byte(string(ev.Raw)), []byte(string(ev.Data))
				frames = append(frames, ev)
			}
			t := tools()
			var out []byte
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			for b.Loop() {
				s, _ := stage.New(stage.Options{Tools: t, Filters: []string{repair.StripThinking}, NewID: func() string { return "call_1" }})
				relay := pass(w.codec, s)
				for _, ev := range frames {
					out, _ = relay.Frame(out[:0], ev)
				}
			}
		})
	}
}
