package stage_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey/internal/repair"
	"github.com/dreyhq/drey/internal/repair/stage"
	"github.com/dreyhq/drey/internal/wire"
)

// through is what the caller gets of an answer whose text comes cut at these
// places.
func through(t interface{ Fatal(...any) }, o stage.Options, text string, cuts ...int) (*wire.Response, *stage.Stage) {
	o.NewID = func() string { return "call_1" }
	s, err := stage.New(o)
	if err != nil {
		t.Fatal(err)
	}
	var made wire.Assembler
	feed := func(ev wire.Event) {
		for _, ev := range s.Event(nil, ev) {
			made.Add(ev)
		}
	}
	feed(wire.Event{Kind: wire.Start})
	feed(wire.Event{Kind: wire.BlockStart, Block: wire.Block{Kind: wire.Text}})
	from := 0
	for _, at := range append(cuts, len(text)) {
		if at > from {
			feed(wire.Event{Kind: wire.Delta, Text: text[from:at]})
			from = at
		}
	}
	feed(wire.Event{Kind: wire.BlockStop})
	feed(wire.Event{Kind: wire.Finish, Stop: wire.StopEnd})
	return made.Response(), s
}

func TestTheSpanAtTheBeginning(t *testing.T) {
	for _, c := range []struct{ text, show, drop string }{
		{"Hello", `"Hello"; end`, `"Hello"; end`},
		{"<think>a</think>b", `thinks "a"; "b"; end`, `"b"; end`},
		{" \n<think>\na\n</think>\n\n b\n", `thinks "\na\n"; "b\n"; end`, `"b\n"; end`},
		{"<think>a", `thinks "a"; end`, `end`},
		{"<think>a</thin", `thinks "a</thin"; end`, `end`},
		{"<think></think>b", `thinks ""; "b"; end`, `"b"; end`},
		{"<think>a</think>", `thinks "a"; end`, `end`},
		{"<think>a<b></think>c", `thinks "a<b>"; "c"; end`, `"c"; end`},
		{"<thin", `"<thin"; end`, `"<thin"; end`},
		{"  <", `"  <"; end`, `"  <"; end`},
		{" \n", `" \n"; end`, `" \n"; end`},
		{"", `""; end`, `""; end`},
		{"<thinker>", `"<thinker>"; end`, `"<thinker>"; end`},
		{"a <think>b</think>", `"a <think>b</think>"; end`, `"a <think>b</think>"; end`},
		{"<think>a</think><think>b</think>c", `thinks "a"; "<think>b</think>c"; end`, `"<think>b</think>c"; end`},
		{"a</think>b", `"a</think>b"; end`, `"a</think>b"; end`},
	} {
		for mode, want := range map[stage.Reasoning]string{stage.Show: c.show, stage.Drop: c.drop} {
			for cut := range len(c.text) + 1 {
				r, s := through(t, stage.Options{Reasoning: mode}, c.text, cut)
				if got := show(r); got != want {
					t.Errorf("%q cut at %d, mode %d: %s, want %s", c.text, cut, mode, got, want)
				}
				if s.Dropped() != (mode == stage.Drop && c.show != c.drop) || s.Pending() {
					t.Errorf("%q cut at %d, mode %d: dropped=%v pending=%v", c.text, cut, mode, s.Dropped(), s.Pending())
				}
			}
		}
	}
}

// Where the text is cut changes nothing, whatever is done to it.
func TestCutsChangeNothing(t *testing.T) {
	piece := rapid.SampledFrom([]string{"<think>", "</think>", "<thi", " ", "\n", "a", "<", "<|im_end|>", listFiles, "```", "{"})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(t, "text"), "")
		o := stage.Options{Reasoning: stage.Reasoning(rapid.IntRange(0, 2).Draw(t, "mode"))}
		if rapid.Bool().Draw(t, "repair") {
			o.Tools = tools()
		}
		if rapid.Bool().Draw(t, "filters") {
			o.Filters = []string{repair.StripThinking, repair.StripStopMarkers}
		}
		whole, _ := through(t, o, text)
		a := rapid.IntRange(0, len(text)).Draw(t, "a")
		b := rapid.IntRange(a, len(text)).Draw(t, "b")
		cut, _ := through(t, o, text, a, b)
		if show(whole) != show(cut) {
			t.Fatalf("%q cut at %d and %d: %s, want %s", text, a, b, show(cut), show(whole))
		}
	})
}

// What is held back or left out is a sign of life and no content; what goes out
// is both.
func TestSignals(t *testing.T) {
	for _, w := range wires {
		for _, translated := range []bool{false, true} {
			s := newStage(t, stage.Options{Tools: tools(), Reasoning: stage.Drop})
			relay := pass(w.codec, s)
			if translated {
				relay = wire.Translate(stage.Decoder(w.codec.NewDecoder(), s), w.codec.NewEncoder(wire.EncoderOptions{ID: "id", Model: "m"}), wire.Back{})
			}
			var got strings.Builder
			drive(t, relay, w.stream("<think>a b c</think>d "+listFiles, 6), func(out []byte, sig wire.Signal) {
				if sig.Content && len(out) == 0 {
					t.Error("content of which the caller gets nothing")
				}
				switch {
				case sig.Content && sig.Text:
					got.WriteByte('T')
				case sig.Content:
					got.WriteByte('C')
				case sig.Alive:
					got.WriteByte('-')
				}
			})
			// The span, one text, the call held back; it is content as it is decided.
			seen := strings.TrimRight(got.String(), "T")
			if !strings.HasPrefix(got.String(), "---") || strings.Count(seen, "T") > 1 || !strings.HasSuffix(seen, "------") || seen == got.String() {
				t.Errorf("%s, translated=%v: %s", w.codec.Wire(), translated, got.String())
			}
		}
	}
}
