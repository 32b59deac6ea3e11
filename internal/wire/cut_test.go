package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// rich is an answer that has something of everything.
var rich = &wire.Response{
	ID: "x", Model: "m", Created: 1, Stop: wire.StopTools, Usage: wire.Usage{Input: 3, CacheRead: 2, Output: 9},
	Blocks: []wire.Block{
		{Kind: wire.Reasoning, Text: "hm\n\"é\"", Signature: "EqQB"},
		{Text: "I look 😀."},
		{Kind: wire.ToolUse, ID: "c1", Name: "ls", Input: json.RawMessage(`{"p": "a}\n"}`)},
		{Kind: wire.ToolUse, ID: "c2", Name: "now", Input: json.RawMessage(`{}`)},
	},
}

// told is an answer as a provider of the wire streams it, in pieces.
func told(w drey.Wire, r *wire.Response) []byte {
	enc := codecs[w].NewEncoder(wire.EncoderOptions{ID: "x", Created: 1, WantUsage: true, Signed: true})
	var out []byte
	for _, ev := range wire.Play(nil, r) {
		if ev.Kind != wire.Delta {
			out = enc.Encode(out, ev)
			continue
		}
		runes := []rune(ev.Text)
		for i := 0; i < len(runes); i += 9 {
			out = enc.Encode(out, wire.Event{Kind: wire.Delta, Text: string(runes[i:min(i+9, len(runes))])})
		}
	}
	return out
}

// way is one relay from a provider's wire to a caller's; new makes another of it.
type way struct {
	provider, caller drey.Wire
	new              func() wire.Relay
}

// ways are all ways of a stream: the caller's own wire, which passes, the others,
// which are translated, and those who asked for no stream.
func ways() (out []way) {
	wires := []drey.Wire{drey.WireAnthropic, drey.WireChat, drey.WireResponses}
	for _, provider := range wires {
		for _, caller := range wires {
			p, c := codecs[provider], codecs[caller]
			relay := func() wire.Relay {
				return wire.Translate(p.NewDecoder(), c.NewEncoder(wire.EncoderOptions{ID: "y", Created: 1, WantUsage: true, InputTokens: 7}), wire.Back{})
			}
			out = append(out, way{provider, caller, relay})
			if provider == caller {
				out = append(out, way{provider, caller, func() wire.Relay { return wire.Pass(p.NewObserver(wire.ObserverOptions{}), p.EndMark()) }})
			}
		}
	}
	return out
}

// lastWords are what ends a whole stream for its caller, once and for all.
var lastWords = []string{`"type":"message_stop"`, "[DONE]", `"type":"response.completed"`, `"type":"response.incomplete"`}

func endsCleanly(stream []byte) bool {
	for _, w := range lastWords {
		if bytes.Contains(stream, []byte(w)) {
			return true
		}
	}
	return false
}

// holdCut breaks a stream off and holds that its caller does not take what it
// gets for an answer.
func (w way) holdCut(t rapid.TB, stream, want []byte, at int) {
	t.Helper()
	got, sig := drain(t, w.new(), stream[:at])
	if sig.Done {
		bad := ungrammatical(w.caller, got)
		if sig.Err != nil || bad != "" || !finished(w.provider, stream[:at]) {
			t.Fatalf("broken off at %d it is done: %+v %s\n%s", at, sig, bad, stream[:at])
		}
		return
	}
	if !bytes.HasPrefix(want, got) {
		t.Fatalf("broken off at %d it is another stream:\n%s", at, got)
	}
	e, ok := errors.AsType[*wire.AnswerError](sig.Err)
	if !ok || e.Kind != wire.Cut || endsCleanly(got) {
		t.Fatalf("broken off at %d it ends with %v and\n%s", at, sig.Err, got)
	}
	if next := sig.Next; w.caller == drey.WireResponses && len(got) > 0 {
		if n := bytes.Count(got, []byte(`"sequence_number":`)); next != n {
			t.Fatalf("broken off at %d the next number is %d behind %d events", at, next, n)
		}
	}
	if w.caller != w.provider {
		return // who writes the answer in one piece does not matter: it is none
	}
	whole, sig := drain(t, wire.Assemble(codecs[w.provider].NewDecoder(), wire.Back{}, codecs[w.caller].EncodeResponse), stream[:at])
	if len(whole) > 0 || sig.Done {
		t.Fatalf("broken off at %d it is assembled to %s", at, whole)
	}
}

// finished reports whether what came of a stream is a whole answer: on chat the
// last finish_reason is enough (docs/adr/0007).
func finished(w drey.Wire, came []byte) bool {
	return endsCleanly(came) || w == drey.WireChat && bytes.Contains(came, []byte(`"finish_reason":"`))
}

// drain reads what came of a stream through a relay. Of the signals it keeps the
// error, the end, and the last number.
func drain(t rapid.TB, relay wire.Relay, came []byte) (out []byte, sum wire.Signal) {
	t.Helper()
	add := func(b []byte, s wire.Signal) {
		out = b
		if s.Err != nil {
			if sum.Err != nil {
				t.Fatalf("a second error: %v", s.Err)
			}
			sum.Err = s.Err
		}
		sum.Done, sum.Next = sum.Done || s.Done, max(sum.Next, s.Next)
	}
	r := sse.NewReader(bytes.NewReader(came), 0)
	for {
		ev, err := r.Next()
		if err != nil {
			add(relay.Close(out))
			return out, sum
		}
		add(relay.Frame(out, ev))
	}
}

// TestCutNowhereEndsCleanly breaks one stream off at every byte, on every way.
func TestCutNowhereEndsCleanly(t *testing.T) {
	for _, w := range ways() {
		stream := told(w.provider, rich)
		want, sig := drain(t, w.new(), stream)
		if sig.Err != nil || !sig.Done {
			t.Fatalf("%v to %v: %+v", w.provider, w.caller, sig)
		}
		if bad := ungrammatical(w.caller, want); bad != "" {
			t.Errorf("%v to %v: %s in\n%s", w.provider, w.caller, bad, want)
		}
		for at := range stream {
			w.holdCut(t, stream, want, at)
		}
	}
}

// TestAnyStreamIsGrammatical draws answers and holds their streams, whole and
// broken off, on every way.
func TestAnyStreamIsGrammatical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &wire.Response{ID: "x", Model: "m", Created: 1, Usage: wire.Usage{Input: 3, Output: 9}}
		r.Stop = wire.Stop(rapid.IntRange(0, int(wire.StopPause)).Draw(t, "stop"))
		for i := range rapid.IntRange(0, 5).Draw(t, "blocks") {
			b := wire.Block{Text: rapid.SampledFrom([]string{"", " ", "a\n", "\"é\"😀"}).Draw(t, "text")}
			switch b.Kind = rapid.SampledFrom([]wire.BlockKind{wire.Text, wire.Reasoning, wire.Redacted, wire.ToolUse}).Draw(t, "kind"); b.Kind {
			case wire.Reasoning:
				b.Signature = rapid.SampledFrom([]string{"", "EqQB"}).Draw(t, "signature")
			case wire.ToolUse:
				b = wire.Block{Kind: wire.ToolUse, ID: fmt.Sprint("c", i), Name: "ls"}
				b.Input = json.RawMessage(rapid.SampledFrom([]string{"", "{}", `{"input": "}"}`, `{"command":["ls"]}`}).Draw(t, "input"))
				if form := wire.Form(rapid.IntRange(0, int(wire.ShellForm)).Draw(t, "form")); form != wire.FunctionForm {
					b.Alias = &wire.Alias{Name: "ls", Form: form}
				}
			}
			r.Blocks = append(r.Blocks, b)
		}
		for _, w := range ways() {
			stream := told(w.provider, r)
			want, sig := drain(t, w.new(), stream)
			if sig.Err != nil || !sig.Done {
				t.Fatalf("%v to %v: %+v of\n%s", w.provider, w.caller, sig, stream)
			}
			if bad := ungrammatical(w.caller, want); bad != "" {
				t.Fatalf("%v to %v: %s in\n%s", w.provider, w.caller, bad, want)
			}
			w.holdCut(t, stream, want, rapid.IntRange(0, len(stream)-1).Draw(t, "cut"))
		}
	})
}

// FuzzStreams reads anything as a provider's stream, on every way: what the
// caller gets is a whole stream of its wire, or none that ends cleanly.
func FuzzStreams(f *testing.F) {
	for w := range codecs {
		f.Add(told(w, rich))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		for _, w := range ways() {
			relay := w.new()
			out, sig := drain(t, relay, stream)
			if fmt.Sprintf("%T", relay) == "*wire.pass" {
				continue // it is the provider's own grammar
			}
			switch {
			case sig.Done && sig.Err == nil:
				if bad := ungrammatical(w.caller, out); bad != "" {
					t.Fatalf("%v to %v: %s in\n%s", w.provider, w.caller, bad, out)
				}
			case endsCleanly(out) && !strings.Contains(string(stream), "[DONE]") && !endsCleanly(stream):
				t.Fatalf("%v to %v: %v and yet\n%s", w.provider, w.caller, sig.Err, out)
			}
		}
	})
}

// FuzzAnswers carries any whole answer across: it is JSON there, and what came
// over once comes over again unchanged.
func FuzzAnswers(f *testing.F) {
	for _, c := range codecs {
		body, err := c.EncodeResponse(rich)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, from := range codecs {
			for w, over := range codecs {
				if from.Wire() == w {
					continue
				}
				r, err := from.DecodeResponse(body)
				if err != nil || slices.ContainsFunc(r.Blocks, func(b wire.Block) bool { return b.Kind == wire.ToolUse && (b.ID == "" || b.Name == "") }) {
					continue // no caller could answer such a call
				}
				once, err := over.EncodeResponse(r)
				if err != nil || !json.Valid(once) {
					t.Fatalf("%v to %v: %v of %s", from.Wire(), w, err, once)
				}
				again, err := over.DecodeResponse(once)
				if err != nil {
					t.Fatalf("%v to %v: %v of %s", from.Wire(), w, err, once)
				}
				if twice, err := over.EncodeResponse(again); err != nil || !bytes.Equal(once, twice) {
					t.Fatalf("%v to %v: %v\n%s\nbecame\n%s", from.Wire(), w, err, once, twice)
				}
			}
		}
	})
}
