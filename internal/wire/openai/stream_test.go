package openai

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// frames reads a stream's bytes.
func frames(t testing.TB, stream string) []sse.Event {
	t.Helper()
	r := sse.NewReader(strings.NewReader(stream), 0)
	var out []sse.Event
	for {
		ev, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		ev.Data, ev.Raw = append([]byte(nil), ev.Data...), append([]byte(nil), ev.Raw...)
		if len(ev.Data) == 0 {
			ev.Data = nil
		}
		out = append(out, ev)
	}
}

// chunks makes a stream of the choices' JSON; a line that begins otherwise is
// sent as it is.
func chunks(lines ...string) string {
	var b strings.Builder
	for _, l := range lines {
		switch {
		case strings.HasPrefix(l, `{"delta"`):
			fmt.Fprintf(&b, "data: {\"id\":\"c\",\"created\":7,\"model\":\"m\",\"choices\":[%s]}\n\n", l)
		case strings.HasPrefix(l, ":"):
			fmt.Fprintf(&b, "%s\n\n", l)
		default:
			fmt.Fprintf(&b, "data: %s\n\n", l)
		}
	}
	return b.String()
}

// story tells events in short.
func story(events []wire.Event) string {
	var b strings.Builder
	for _, ev := range events {
		switch ev.Kind {
		case wire.Start:
			fmt.Fprintf(&b, "start %s\n", ev.Model)
		case wire.BlockStart:
			switch ev.Block.Kind {
			case wire.Text:
				b.WriteString("text")
			case wire.Reasoning:
				b.WriteString("reasoning")
			case wire.ToolUse:
				fmt.Fprintf(&b, "call %s %s", ev.Block.ID, ev.Block.Name)
			}
		case wire.Delta:
			fmt.Fprintf(&b, " %q", ev.Text)
		case wire.BlockStop:
			b.WriteString(" .\n")
		case wire.UsageReport:
			fmt.Fprintf(&b, "usage %d+%d %d\n", ev.Usage.Input, ev.Usage.CacheRead, ev.Usage.Output)
		case wire.Finish:
			fmt.Fprintf(&b, "finish %s", ev.Stop)
			if ev.Usage != nil {
				fmt.Fprintf(&b, " %d+%d %d", ev.Usage.Input, ev.Usage.CacheRead, ev.Usage.Output)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func decode(t testing.TB, stream string) ([]wire.Event, error) {
	d := Chat{}.NewDecoder()
	var events []wire.Event
	for _, ev := range frames(t, stream) {
		var err error
		if events, err = d.Decode(events, ev); err != nil {
			return events, err
		}
	}
	return d.Close(events)
}

const (
	roleDelta = `{"delta":{"role":"assistant","content":""},"finish_reason":null}`
	usageOnly = `{"id":"c","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}}`
)

func TestDecoder(t *testing.T) {
	tests := []struct {
		name   string
		stream []string
		want   string
	}{
		{
			"text, usage behind the finish",
			[]string{roleDelta, ":ping", `{"delta":{"content":"a"}}`, `{"delta":{"content":"b"}}`, `{"delta":{},"finish_reason":"stop"}`, usageOnly, "[DONE]"},
			"start m\ntext \"a\" \"b\"usage 6+4 5\n .\nfinish end 6+4 5\n",
		},
		{
			"usage before the finish, and a role in every chunk",
			[]string{`{"delta":{"role":"assistant","content":"a"}}`, usageOnly, `{"delta":{"role":"assistant","content":""},"finish_reason":"length"}`, "[DONE]"},
			"start m\ntext \"a\"usage 6+4 5\n .\nfinish length 6+4 5\n",
		},
		{
			"a finish without the end mark",
			[]string{`{"delta":{"content":"a"},"finish_reason":"stop"}`},
			"start m\ntext \"a\" .\nfinish end\n",
		},
		{
			"the end mark without a finish",
			[]string{`{"delta":{"content":"a"}}`, "[DONE]"},
			"start m\ntext \"a\" .\nfinish \n",
		},
		{
			"calls of custom tools, whose text becomes a string",
			[]string{
				`{"delta":{"tool_calls":[{"index":0,"id":"c1","type":"custom","custom":{"name":"patch","input":""}}]}}`,
				`{"delta":{"tool_calls":[{"index":0,"custom":{"input":"+ \"a"}}]}}`, `{"delta":{"tool_calls":[{"index":0,"custom":{"input":"}\n"}}]}}`,
				`{"delta":{"tool_calls":[{"index":1,"id":"c2","type":"custom","custom":{"name":"patch"}}]}}`, `{"delta":{"content":"b"}}`,
				`{"delta":{},"finish_reason":"tool_calls"}`, "[DONE]",
			},
			"start m\ncall c1 patch \"{\\\"input\\\":\\\"+ \\\\\\\"a\" \"}\\\\n\" \"\\\"}\" .\ncall c2 patch \"{\\\"input\\\":\\\"\\\"}\" .\ntext \"b\" .\nfinish tools\n",
		},
		{
			"nothing follows the end",
			[]string{`{"delta":{"content":"a"},"finish_reason":"stop"}`, "[DONE]", `{"delta":{"content":"b"}}`, "junk"},
			"start m\ntext \"a\" .\nfinish end\n",
		},
		{
			"both names of reasoning, once",
			[]string{`{"delta":{"reasoning_content":"h","reasoning":"h"}}`, `{"delta":{"reasoning":"m"}}`, `{"delta":{"content":"\n\n"}}`, `{"delta":{"content":"a"}}`, "[DONE]"},
			"start m\nreasoning \"h\" \"m\" .\ntext \"\\n\\na\" .\nfinish \n",
		},
		{
			"a call in fragments",
			[]string{`{"delta":{"tool_calls":[{"index":0,"id":"x","type":"function","function":{"name":"ls","arguments":""}}]}}`,
				`{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]}}`, `{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}}`,
				`{"delta":{},"finish_reason":"stop"}`, "[DONE]"},
			"start m\ncall x ls \"{\\\"a\\\":\" \"1}\" .\nfinish tools\n",
		},
		{
			"text and calls in turn open a fresh block each",
			[]string{`{"delta":{"content":"a"}}`, `{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"ls","arguments":"{}"}}]}}`, `{"delta":{"content":"b"}}`,
				`{"delta":{"tool_calls":[{"index":1,"id":"y","function":{"name":"ls","arguments":"{}"}}]}}`, `{"delta":{"content":" \n"}}`, `{"delta":{},"finish_reason":"tool_calls"}`},
			"start m\ntext \"a\" .\ncall x ls \"{}\" .\ntext \"b\" .\ncall y ls \"{}\" .\nfinish tools\n",
		},
		{
			"interleaved indices are told one after the other",
			[]string{`{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"ls"}},{"index":1,"id":"y","function":{"name":"cat"}}]}}`,
				`{"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{\"b\""}},{"index":0,"function":{"arguments":"{\"a\":\"}\""}}]}}`,
				`{"delta":{"content":"t"}}`,
				`{"delta":{"tool_calls":[{"index":1,"function":{"arguments":":2}"}},{"index":0,"function":{"arguments":"}"}}]}}`, "[DONE]"},
			"start m\ncall x ls \"{\\\"a\\\":\\\"}\\\"\" \"}\" .\ncall y cat \"{\\\"b\\\":2}\" .\ntext \"t\" .\nfinish tools\n",
		},
		{
			"calls without an index are told apart by their ids",
			[]string{`{"delta":{"tool_calls":[{"id":"x","function":{"name":"ls","arguments":"{\"a\":1}"}}]}}`, `{"delta":{"tool_calls":[{"id":"y","function":{"name":"ls","arguments":"{\"a\":"}}]}}`,
				`{"delta":{"tool_calls":[{"function":{"arguments":"2}"}}]}}`, "[DONE]"},
			"start m\ncall x ls \"{\\\"a\\\":1}\" .\ncall y ls \"{\\\"a\\\":\" \"2}\" .\nfinish tools\n",
		},
		{
			"calls that all have index 0",
			[]string{`{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"ls","arguments":"{}"}},{"index":0,"id":"y","function":{"name":"cat","arguments":"{}"}}]}}`, "[DONE]"},
			"start m\ncall x ls \"{}\" .\ncall y cat \"{}\" .\nfinish tools\n",
		},
		{
			"an id and a name repeated with every fragment",
			[]string{`{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"ls","arguments":"{\"a\""}}]}}`, `{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"ls","arguments":":1}"}}]}}`,
				`{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"ls","arguments":""}}]}}`, "[DONE]"},
			"start m\ncall x ls \"{\\\"a\\\"\" \":1}\" .\nfinish tools\n",
		},
		{
			"a name that comes late",
			[]string{`{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"arguments":"{\"a\""}}]}}`, `{"delta":{"content":"t"}}`, `{"delta":{"tool_calls":[{"index":0,"function":{"name":"ls","arguments":":1}"}}]}}`, "[DONE]"},
			"start m\ncall x ls \"{\\\"a\\\"\" \":1}\" .\ntext \"t\" .\nfinish tools\n",
		},
		{
			"no id, no arguments",
			[]string{`{"delta":{"tool_calls":[{"index":0,"function":{"name":"ls"}}]}}`, "[DONE]"},
			"start m\ncall " + madeID("c", 7, 0) + " ls \"{}\" .\nfinish tools\n",
		},
		{
			"arguments that are an object",
			[]string{`{"delta":{"tool_calls":[{"id":"x","function":{"name":"ls","arguments":{"a":1}}}]}}`, "[DONE]"},
			"start m\ncall x ls \"{\\\"a\\\":1}\" .\nfinish tools\n",
		},
		{
			"a call at the limit stays a length",
			[]string{`{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"ls","arguments":"{\"a"}}]},"finish_reason":"length"}`},
			"start m\ncall x ls \"{\\\"a\" .\nfinish length\n",
		},
		{
			"a refusal",
			[]string{`{"delta":{"refusal":"no"}}`, `{"delta":{},"finish_reason":"stop"}`},
			"start m\ntext \"no\" .\nfinish refusal\n",
		},
		{
			"only the first choice",
			[]string{`{"delta":{"content":"a"},"index":0}`, `{"delta":{"content":"b"},"index":1}`, `{"delta":{},"index":1,"finish_reason":"length"}`, `{"delta":{},"index":0,"finish_reason":"stop"}`},
			"start m\ntext \"a\" .\nfinish end\n",
		},
		{
			"a blank answer is told as it is",
			[]string{`{"delta":{"content":" "}}`, `{"delta":{},"finish_reason":"stop"}`},
			"start m\ntext \" \" .\nfinish end\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			events, err := decode(t, chunks(tt.stream...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, story(events)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// brokenStreams are streams that must not end well, on any way through.
var brokenStreams = []struct {
	name, stream string
	kind         wire.AnswerKind
	typ          string
}{
	{"cut before anything", "", wire.Cut, ""},
	{"cut behind the role", chunks(roleDelta), wire.Cut, ""},
	{"cut in the text", chunks(roleDelta, `{"delta":{"content":"a"}}`), wire.Cut, ""},
	// The relays know that these are cuts: see wire.Pass and wire.Translate.
	{"cut in a frame", chunks(`{"delta":{"content":"a"}}`) + `data: {"choices":[{"del`, wire.Malformed, ""},
	{"cut in the end mark", chunks(`{"delta":{"content":"a"}}`) + `data: [DO`, wire.Malformed, ""},
	{"usage alone is no end", chunks(`{"delta":{"content":"a"}}`, usageOnly), wire.Cut, ""},
	{"an error", chunks(`{"delta":{"content":"a"}}`, `{"error":{"message":"busy","type":"overloaded_error"}}`), wire.Reported, "overloaded_error"},
	{"an error with a code", chunks(`{"error":{"message":"busy","code":503}}`), wire.Reported, "503"},
	{"an error as a string", chunks(`{"error":"busy"}`), wire.Reported, ""},
	{"an error by its event", "event: error\ndata: {\"message\":\"busy\"}\n\n", wire.Reported, ""},
	{"a frame that is no JSON", chunks(`{"delta":{"content":"a"}}`, `{"choices":[`), wire.Malformed, ""},
	{"a frame that is no object", chunks(`"hi"`), wire.Malformed, ""},
}

func TestBrokenStreams(t *testing.T) {
	for _, tt := range brokenStreams {
		t.Run(tt.name, func(t *testing.T) {
			events, err := decode(t, tt.stream)
			check := func(way string, err error) {
				e, ok := errors.AsType[*wire.AnswerError](err)
				if !ok || e.Kind != tt.kind || e.Type != tt.typ {
					t.Errorf("%s: error %#v", way, err)
				}
			}
			check("decoder", err)
			if n := len(events); n > 0 && events[n-1].Kind == wire.Finish {
				t.Error("it finished")
			}
			o := Chat{}.NewObserver(wire.ObserverOptions{})
			err = nil
			for _, ev := range frames(t, tt.stream) {
				s, show := o.Observe(ev)
				if s.Done {
					t.Error("done")
				}
				if s.Err != nil {
					err = s.Err
					if show {
						t.Error("a broken frame is shown")
					}
				}
			}
			if s := o.Close(); err == nil {
				err = s.Err
			}
			check("observer", err)
		})
	}
	if _, err := decode(t, chunks(`{"delta":{"tool_calls":[{"index":0,"id":"x"}]}}`, "[DONE]")); err == nil {
		t.Error("a call without a name was told")
	}
	if _, err := decode(t, chunks("[DONE]")); err == nil {
		t.Error("nothing at all was an answer")
	}
}

func TestObserver(t *testing.T) {
	tests := []struct {
		name, frame string
		hide        bool
		want        wire.Signal
		hidden      bool
	}{
		{"a role", roleDelta, false, wire.Signal{}, false},
		{"blank text", `{"delta":{"content":" \n\t"}}`, false, wire.Signal{Size: 5}, false},
		{"text", `{"delta":{"content":" \n\"x"}}`, false, wire.Signal{Content: true, Text: true, Size: 6}, false},
		{"an escaped letter", `{"delta":{"content":"\u0041"}}`, false, wire.Signal{Content: true, Text: true, Size: 6}, false},
		{"reasoning", `{"delta":{"reasoning":"x"}}`, false, wire.Signal{Content: true, Size: 1}, false},
		{"a call", `{"delta":{"tool_calls":[{"index":0}]}}`, false, wire.Signal{Content: true, Text: true}, false},
		{"arguments", `{"delta":{"tool_calls":[{"index":0,"function":{"name":"x","arguments":"{\"a\""}}]}}`, false, wire.Signal{Content: true, Text: true, Size: 6}, false},
		{"an end", `{"delta":{},"finish_reason":"length"}`, false, wire.Signal{Done: true, Stop: wire.StopLength}, false},
		{"the end mark", "[DONE]", false, wire.Signal{Done: true, Last: true}, false},
		{"usage that was asked for", usageOnly, false, wire.Signal{Usage: &wire.Usage{Input: 6, CacheRead: 4, Output: 5}}, false},
		{"usage that was not", usageOnly, true, wire.Signal{Usage: &wire.Usage{Input: 6, CacheRead: 4, Output: 5}}, true},
		{"a chunk of another kind", `{"type":"x"}`, true, wire.Signal{}, false},
		{"a comment", ": hi", true, wire.Signal{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := Chat{}.NewObserver(wire.ObserverOptions{HideUsage: tt.hide})
			got, show := o.Observe(frames(t, chunks(tt.frame))[0])
			got.Model = ""
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if show == tt.hidden {
				t.Errorf("show = %v", show)
			}
		})
	}
	t.Run("a chunk that breaks behind its finish_reason is no end", func(t *testing.T) {
		o := Chat{}.NewObserver(wire.ObserverOptions{})
		stream := chunks(`{"delta":{"content":"x"}}`, `{"delta":{},"finish_reason":"stop"}`)
		at := strings.Index(stream, `"stop"`) + len(`"stop"`)
		var last wire.Signal
		for _, ev := range frames(t, stream[:at]) {
			last, _ = o.Observe(ev)
		}
		if last.Err == nil {
			t.Errorf("got %+v", last)
		}
	})
	t.Run("two choices end one after the other", func(t *testing.T) {
		o := Chat{}.NewObserver(wire.ObserverOptions{})
		var done []bool
		for _, ev := range frames(t, chunks(`{"delta":{},"index":0}`, `{"delta":{},"index":1}`, `{"delta":{},"index":0,"finish_reason":"stop"}`, `{"delta":{},"index":1,"finish_reason":"stop"}`)) {
			s, _ := o.Observe(ev)
			done = append(done, s.Done)
		}
		if diff := cmp.Diff([]bool{false, false, false, true}, done); diff != "" {
			t.Error(diff)
		}
	})
}

func TestObserverAllocates(t *testing.T) {
	o := Chat{}.NewObserver(wire.ObserverOptions{})
	evs := frames(t, chunks(roleDelta, `{"delta":{"content":"some more words"}}`, usageOnly))
	o.Observe(evs[0])
	for i, want := range []float64{0, 0, 1} {
		if got := testing.AllocsPerRun(100, func() { o.Observe(evs[i]) }); got > want {
			t.Errorf("frame %d: %v allocations, want %v", i, got, want)
		}
	}
}

func BenchmarkObserver(b *testing.B) {
	o := Chat{}.NewObserver(wire.ObserverOptions{})
	ev := frames(b, `data: {"id":"chatcmpl-AbCdEf0123456789","object":"chat.completion.chunk","created":1735689600,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_0123456789","choices":[{"index":0,"delta":{"content":" tokens"},"logprobs":null,"finish_reason":null}]}`+"\n\n")[0]
	b.ReportAllocs()
	for b.Loop() {
		o.Observe(ev)
	}
}

func TestEncoder(t *testing.T) {
	events := []wire.Event{
		{Kind: wire.Start, ID: "x", Model: "m", Usage: &wire.Usage{Input: 3}},
		{Kind: wire.BlockStart, Block: wire.Block{Kind: wire.Reasoning}}, {Kind: wire.Delta, Text: "hm"}, {Kind: wire.Sign, Text: "s"}, {Kind: wire.BlockStop},
		{Kind: wire.BlockStart, Block: wire.Block{Kind: wire.Redacted, Text: "r"}}, {Kind: wire.BlockStop},
		{Kind: wire.BlockStart}, {Kind: wire.Delta, Text: "a\""}, {Kind: wire.BlockStop},
		{Kind: wire.BlockStart, Block: wire.Block{Kind: wire.ToolUse, ID: "c", Name: "ls"}}, {Kind: wire.Delta, Text: `{"k":`}, {Kind: wire.Delta, Text: `1}`}, {Kind: wire.BlockStop},
		{Kind: wire.BlockStart, Block: wire.Block{Kind: wire.ToolUse, ID: "d", Name: "ls"}}, {Kind: wire.Delta, Text: `{}`}, {Kind: wire.BlockStop},
		{Kind: wire.BlockStart}, {Kind: wire.Delta, Text: "b"}, {Kind: wire.BlockStop},
		{Kind: wire.UsageReport, Usage: &wire.Usage{Input: 2, CacheRead: 1, Output: 9}},
		{Kind: wire.Finish, Stop: wire.StopEnd},
	}
	chunk := func(choices string) string {
		return `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m","choices":` + choices + "}\n\n"
	}
	delta := func(d string) string { return chunk(`[{"index":0,"delta":` + d + `,"finish_reason":null}]`) }
	want := delta(`{"role":"assistant","content":""}`) +
		delta(`{"reasoning_content":"hm"}`) +
		delta(`{"content":"a\""}`) +
		delta(`{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"ls","arguments":""}}]}`) +
		delta(`{"tool_calls":[{"index":0,"function":{"arguments":"{\"k\":"}}]}`) +
		delta(`{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}`) +
		delta(`{"tool_calls":[{"index":1,"id":"d","type":"function","function":{"name":"ls","arguments":""}}]}`) +
		delta(`{"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]}`) +
		delta(`{"content":"\n"}`) + delta(`{"content":"b"}`) +
		chunk(`[{"index":0,"delta":{},"finish_reason":"tool_calls"}]`)
	usage := chunk(`[],"usage":{"prompt_tokens":4,"completion_tokens":9,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":1}}`)
	for _, asked := range []bool{false, true} {
		enc := Chat{}.NewEncoder(wire.EncoderOptions{ID: "chatcmpl-1", Model: "asked", Created: 7, WantUsage: asked})
		var got []byte
		for _, ev := range events {
			got = enc.Encode(got, ev)
		}
		w := want
		if asked {
			w += usage
		}
		if diff := cmp.Diff(w+"data: [DONE]\n\n", string(got)); diff != "" {
			t.Errorf("usage asked for: %v\n%s", asked, diff)
		}
	}
}

func TestEncoderEstimates(t *testing.T) {
	enc := Chat{}.NewEncoder(wire.EncoderOptions{ID: "1", WantUsage: true, InputTokens: 40})
	var got []byte
	for _, ev := range []wire.Event{{Kind: wire.Start}, {Kind: wire.BlockStart}, {Kind: wire.Delta, Text: "12345678"}, {Kind: wire.BlockStop}, {Kind: wire.Finish}} {
		got = enc.Encode(got, ev)
	}
	if !strings.Contains(string(got), `"usage":{"prompt_tokens":40,"completion_tokens":2,`) {
		t.Error(string(got))
	}
}

// FuzzDecoder holds what must be true of any stream: blocks never overlap, an
// answer ends once, and an error is the last of it.
func FuzzDecoder(f *testing.F) {
	for _, tt := range brokenStreams {
		f.Add(tt.stream)
	}
	f.Add(chunks(roleDelta, `{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"ls"}},{"index":1,"id":"y","function":{"name":"cat","arguments":"{"}}]}}`,
		`{"delta":{"content":"t"}}`, `{"delta":{"tool_calls":[{"index":1,"function":{"arguments":"}"}},{"index":0,"function":{"arguments":"{}"}}]}}`, `{"delta":{},"finish_reason":"stop"}`, usageOnly, "[DONE]"))
	f.Fuzz(func(t *testing.T, stream string) {
		d, o := Chat{}.NewDecoder(), Chat{}.NewObserver(wire.ObserverOptions{})
		var events []wire.Event
		var err error
		r := sse.NewReader(strings.NewReader(stream), 0)
		for err == nil {
			ev, rerr := r.Next()
			if rerr != nil {
				break
			}
			o.Observe(ev)
			events, err = d.Decode(events, ev)
		}
		if err == nil {
			events, err = d.Close(events)
		}
		watched := o.Close()
		open, ended := false, false
		for i, ev := range events {
			if ended {
				t.Fatalf("event %d follows the end", i)
			}
			switch ev.Kind {
			case wire.Start:
				if i != 0 {
					t.Fatal("a second start")
				}
			case wire.BlockStart:
				if open {
					t.Fatalf("two blocks are open at event %d", i)
				}
				open = true
			case wire.Delta, wire.BlockStop:
				if !open {
					t.Fatalf("event %d without a block", i)
				}
				open = ev.Kind == wire.Delta
			case wire.Finish:
				if open {
					t.Fatal("the end leaves a block open")
				}
				ended = true
			}
		}
		if ended == (err != nil) {
			t.Fatalf("ended %v with error %v", ended, err)
		}
		if ended && watched.Err != nil && watched.Err.(*wire.AnswerError).Kind == wire.Cut {
			// The decoder reads the first choice alone, so the observer may
			// still wait for another one; nothing else is a cut.
			if !strings.Contains(stream, "index") {
				t.Fatalf("the observer says %v", watched.Err)
			}
		}
	})
}
