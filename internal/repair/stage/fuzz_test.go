package stage_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dreyhq/drey/internal/repair"
	"github.com/dreyhq/drey/internal/repair/stage"
	"github.com/dreyhq/drey/internal/wire"
)

// gist is an answer without what the wires write differently: blocks of text are
// one, and space is none.
func gist(r *wire.Response) string {
	var text, thought strings.Builder
	var calls []string
	for _, b := range r.Blocks {
		switch b.Kind {
		case wire.ToolUse:
			calls = append(calls, b.Name+string(b.Input))
		case wire.Reasoning:
			thought.WriteString(b.Text)
		default:
			text.WriteString(b.Text)
		}
	}
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
	return fmt.Sprintf("%q %q %q %v", squeeze(text.String()), squeeze(thought.String()), calls, r.Stop)
}

// FuzzStreamIsWhole mends a stream, passed on and translated, in pieces of a
// size, and the same answer in one piece: the caller gets the same. Where
// nothing is mended the stream's bytes are those of the provider.
func FuzzStreamIsWhole(f *testing.F) {
	for _, text := range []string{"Hello", listFiles, "<think>a</think>\n" + listFiles + "<|im_end|>", "```json\n" + listFiles + "\n```", "Bash(command=\"ls\")\n{\"name\": \"Bash\"", "<0xE3><0x81><0x82><"} {
		f.Add(text, uint8(3), uint8(7))
	}
	f.Fuzz(func(t *testing.T, text string, size, mode uint8) {
		text = strings.ToValidUTF8(text, "")
		if len(text) > 4096 {
			t.Skip()
		}
		o := stage.Options{Reasoning: stage.Reasoning(mode % 3)}
		if mode&4 != 0 {
			o.Tools = tools()
		}
		if mode&8 != 0 {
			o.Filters = []string{repair.StripThinking, repair.StripStopMarkers, repair.StripToolCallXML, repair.RepairByteFallback}
		}
		r := &wire.Response{Blocks: []wire.Block{{Kind: wire.Text, Text: text}}, Stop: wire.StopEnd}
		if text == "" {
			r.Blocks = nil
		}
		changed := newStage(t, o).Response(r)
		want := gist(r)
		for _, w := range wires {
			stream := w.stream(text, 1+int(size))
			s := newStage(t, o)
			out, sig := play(t, pass(w.codec, s), stream)
			if sig.Err != nil {
				t.Fatal(sig.Err)
			}
			if got := gist(assembled(t, w.codec, out)); got != want {
				t.Fatalf("%s: %s, want %s\n%s", w.codec.Wire(), got, want, out)
			}
			if !s.Touched() && out != stream || s.Touched() != changed {
				t.Fatalf("%s: touched=%v, the whole answer changed=%v\n%s", w.codec.Wire(), s.Touched(), changed, out)
			}
			relay := wire.Translate(stage.Decoder(w.codec.NewDecoder(), newStage(t, o)), w.codec.NewEncoder(wire.EncoderOptions{ID: "id", Model: "m"}), wire.Back{})
			if out, _ = play(t, relay, stream); gist(assembled(t, w.codec, out)) != want {
				t.Fatalf("%s, translated: %s, want %s", w.codec.Wire(), out, want)
			}
		}
	})
}
