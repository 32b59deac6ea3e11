package anthropic_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/sse"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// pieces gives a text in reads of n bytes.
type pieces struct {
	text []byte
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.text) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.text[:min(max(p.n, 1), len(p.text))])
	p.text = p.text[n:]
	return n, nil
}

// streams returns the streams of the golden files by name.
func streams(t testing.TB) map[string][]byte {
	out := map[string][]byte{}
	files, _ := filepath.Glob("testdata/stream_*.txtar")
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range txtar.Parse(data).Files {
			if f.Name == "stream.sse" {
				out[filepath.Base(path)] = f.Data
			}
		}
	}
	if len(out) == 0 {
		t.Fatal("no streams")
	}
	return out
}

// checkOrder holds the gateway contract §8: the order of frames of this wire.
func checkOrder(t testing.TB, out []byte, whole bool) {
	t.Helper()
	r := sse.NewReader(bytes.NewReader(out), 0)
	next, open, stage := 0, false, ""
	for {
		ev, err := r.Next()
		if err != nil {
			break
		}
		var f struct {
			Type  string
			Index int
			Delta json.RawMessage
		}
		if err := json.Unmarshal(ev.Data, &f); err != nil || f.Type != ev.Name {
			t.Fatalf("frame %q: type %q, %v", ev.Raw, f.Type, err)
		}
		bad := false
		switch f.Type {
		case "message_start":
			bad = stage != ""
			stage = "started"
		case "content_block_start":
			bad = open || f.Index != next || stage != "started"
			open = true
		case "content_block_delta":
			bad = !open || f.Index != next
		case "content_block_stop":
			bad = !open || f.Index != next
			open = false
			next++
		case "message_delta":
			bad = open || stage != "started"
			stage = "ending"
		case "message_stop":
			bad = stage != "ending"
			stage = "stopped"
		default:
			bad = true
		}
		if bad {
			t.Fatalf("frame %q out of order in\n%s", ev.Raw, out)
		}
	}
	if whole != (stage == "stopped") {
		t.Fatalf("whole %v, and the stream ends %s", whole, stage)
	}
}

// TestStreamsCutAtEveryByte reads each golden stream in pieces of every size,
// and ends it at every byte.
func TestStreamsCutAtEveryByte(t *testing.T) {
	for name, body := range streams(t) {
		want, werr := decodeStream(body, len(body))
		for n := 1; n < 60; n++ {
			got, err := decodeStream(body, n)
			if d := cmp.Diff(dumpEvents(want, werr), dumpEvents(got, err)); d != "" {
				t.Fatalf("%s in pieces of %d:\n%s", name, n, d)
			}
		}
		last := bytes.LastIndex(body, []byte(`"message_stop"}`))
		for at := range body {
			events, err := decodeStream(body[:at], at)
			o, sig := codec.NewObserver(wire.ObserverOptions{}), wire.Signal{}
			r := sse.NewReader(bytes.NewReader(body[:at]), 0)
			for sig.Err == nil {
				ev, rerr := r.Next()
				if rerr != nil {
					sig = o.Close()
					break
				}
				sig, _ = o.Observe(ev)
			}
			done := last >= 0 && at >= last+len(`"message_stop"}`)
			if (err == nil) != done || (sig.Err == nil) != done {
				t.Fatalf("%s ended at %d: decoder says %v, observer %v", name, at, err, sig.Err)
			}
			e := codec.NewEncoder(wire.EncoderOptions{})
			var out []byte
			for _, ev := range events {
				out = e.Encode(out, ev)
			}
			checkOrder(t, out, done)
		}
	}
}

// TestReencode says that what the encoder writes means what it was told.
func TestReencode(t *testing.T) {
	for name, body := range streams(t) {
		events, err := decodeStream(body, len(body))
		if err != nil {
			continue
		}
		e := codec.NewEncoder(wire.EncoderOptions{})
		var out []byte
		for _, ev := range events {
			out = e.Encode(out, ev)
		}
		again, err := decodeStream(out, len(out))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(told(events), told(again)); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

// told is what a client makes of events: the blocks with their whole text.
func told(events []wire.Event) (bs []wire.Block) {
	for _, ev := range events {
		switch ev.Kind {
		case wire.BlockStart:
			bs = append(bs, ev.Block)
		case wire.Delta:
			bs[len(bs)-1].Text += ev.Text
		case wire.Sign:
			bs[len(bs)-1].Signature += ev.Text
		}
	}
	var out []wire.Block
	for _, b := range bs {
		if b.Kind != wire.Text || b.Text != "" {
			out = append(out, b)
		}
	}
	return out
}

func observe(t *testing.T, o wire.Observer, data string) (wire.Signal, bool) {
	t.Helper()
	return o.Observe(sse.Event{Data: []byte(data), Raw: []byte("data: " + data + "\n\n")})
}

func TestObserver(t *testing.T) {
	u := func(in, out int) *wire.Usage { return &wire.Usage{Input: in, Output: out} }
	o := codec.NewObserver(wire.ObserverOptions{})
	for _, tt := range []struct {
		name, data string
		want       wire.Signal
	}{
		{"a frame without data", ``, wire.Signal{}},
		{"ping", `{"type":"ping"}`, wire.Signal{}},
		{"message_start", `{"type":"message_start","message":{"model":"m","usage":{"input_tokens":2,"output_tokens":9}}}`, wire.Signal{Model: "m", Usage: u(2, 9)}},
		{"an empty text block", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`, wire.Signal{}},
		{"blank text", `{"type":"content_block_delta","delta":{"type":"text_delta","text":" \n\t"}}`, wire.Signal{Size: 5}},
		{"text", `{"type":"content_block_delta","delta":{"type":"text_delta","text":"\n\u0041"}}`, wire.Signal{Content: true, Text: true, Size: 8}},
		{"text beyond ASCII", `{"type":"content_block_delta","delta":{"type":"text_delta","text":"é"}}`, wire.Signal{Content: true, Text: true, Size: 2}},
		{"a space beyond ASCII", `{"type":"content_block_delta","delta":{"type":"text_delta","text":" \u00a0` + "\u2003" + `"}}`, wire.Signal{Size: 10}},
		{"thinking", `{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"h"}}`, wire.Signal{Content: true, Size: 1}},
		{"empty thinking", `{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":""}}`, wire.Signal{}},
		{"a signature", `{"type":"content_block_delta","delta":{"type":"signature_delta","signature":"x"}}`, wire.Signal{}},
		{"redacted thinking", `{"type":"content_block_start","content_block":{"type":"redacted_thinking","data":"x"}}`, wire.Signal{Content: true}},
		{"a call", `{"type":"content_block_start","content_block":{"type":"tool_use","id":"1","name":"x","input":{}}}`, wire.Signal{Content: true, Text: true}},
		{"arguments", `{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{"}}`, wire.Signal{Content: true, Text: true, Size: 1}},
		{"an unknown event", `{"type":"new","x":[1]}`, wire.Signal{}},
		{"message_delta: usage is the field-wise maximum", `{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"input_tokens":21,"output_tokens":5}}`, wire.Signal{Stop: wire.StopLength, Usage: u(21, 9)}},
		{"message_stop", `{"type":"message_stop"}`, wire.Signal{Done: true, Stop: wire.StopLength}},
		{"what follows means nothing", `[DONE]`, wire.Signal{}},
	} {
		got, show := observe(t, o, tt.data)
		if d := cmp.Diff(tt.want, got); d != "" || !show {
			t.Errorf("%s (shown: %v):\n%s", tt.name, show, d)
		}
	}
	if got := o.Close(); !got.Done || got.Err != nil || got.Stop != wire.StopLength {
		t.Errorf("closed: %+v", got)
	}
	for data, want := range map[string]wire.AnswerError{
		`{"type":"error","error":{"type":"api_error","message":"M"}}`: {Kind: wire.Reported, Type: "api_error", Msg: "M"},
		`{"type":"error"}`: {Kind: wire.Reported},
		`{"type":"mess`:    {Kind: wire.Malformed, Msg: "a frame that is no JSON: unexpected end at byte 13"},
		`{"x":1}`:          {Kind: wire.Malformed, Msg: "a frame without a type"},
		`7`:                {Kind: wire.Malformed, Msg: "a frame that is no JSON: unexpected text after the value at byte 0"},
	} {
		got, _ := observe(t, codec.NewObserver(wire.ObserverOptions{}), data)
		e, ok := got.Err.(*wire.AnswerError)
		if !ok || *e != want {
			t.Errorf("%s: %#v", data, got.Err)
		}
	}
	if e, ok := codec.NewObserver(wire.ObserverOptions{}).Close().Err.(*wire.AnswerError); !ok || e.Kind != wire.Cut {
		t.Error("a stream without message_stop is not cut")
	}
}

func TestErrors(t *testing.T) {
	e := wire.Error{Type: "invalid_request_error", Message: `no "x"`, RequestID: "req_1", Detail: []byte(`{"error":"e"}`), Details: []byte(`{"error_code":"c"}`)}
	const want = `{"type":"error","error":{"type":"invalid_request_error","message":"no \"x\"","details":{"error_code":"c"}},"request_id":"req_1","detail":{"error":"e"}}`
	if got := string(codec.Error(e)); got != want {
		t.Errorf("got %s", got)
	}
	if got := string(codec.StreamError(e)); got != "event: error\ndata: "+want+"\n\n" {
		t.Errorf("got %s", got)
	}
	if got := string(codec.Error(wire.Error{Type: "t", Message: "m"})); got != `{"type":"error","error":{"type":"t","message":"m"}}` {
		t.Errorf("got %s", got)
	}
	if got := string(codec.Ping()); got != "event: ping\ndata: {\"type\":\"ping\"}\n\n" {
		t.Errorf("got %q", got)
	}
}

func FuzzDecoder(f *testing.F) {
	for _, body := range streams(f) {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := decodeStream(body, len(body))
		e := codec.NewEncoder(wire.EncoderOptions{})
		var out []byte
		for _, ev := range events {
			out = e.Encode(out, ev)
		}
		if len(events) > 0 {
			checkOrder(t, out, err == nil)
		}
		again, aerr := decodeStream(out, len(out))
		if err == nil && aerr != nil {
			t.Fatal(aerr)
		}
		if !utf8.Valid(body) || bytes.Contains(body, []byte("thinking")) {
			return // mended on the way out; signed by us
		}
		if d := cmp.Diff(told(events), told(again)); d != "" {
			t.Fatal(d)
		}
	})
}

func BenchmarkObserve(b *testing.B) {
	o := codec.NewObserver(wire.ObserverOptions{})
	ev := sse.Event{Name: "content_block_delta", Data: []byte(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" a few words of text"}}`)}
	b.ReportAllocs()
	for b.Loop() {
		if sig, _ := o.Observe(ev); !sig.Text {
			b.Fatal("no text")
		}
	}
}
