package gateway

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/repair"
	"github.com/dreyhq/drey/internal/wire"
)

// look is a call as weak models print it, and as it comes out.
const look = `<tool_call>{"name": "look", "arguments": {"at":"tree"}}</tool_call>`

var looked = wire.Block{Kind: wire.ToolUse, ID: "call_9", Name: "look", Input: []byte(`{"at":"tree"}`)}

// mendable are answers of a provider that need mending, or look as if, and what
// they are once they are mended.
var mendable = []struct {
	name string
	m    Mending
	raw  []wire.Block
	want []wire.Block
}{
	{name: "nothing to mend", m: Mending{Repair: true},
		raw: []wire.Block{{Text: story}}, want: []wire.Block{{Text: story}}},
	{name: "thinking and text", m: Mending{Repair: true},
		raw:  []wire.Block{{Kind: wire.Reasoning, Text: "they want squirrels, I think"}, {Text: story}},
		want: []wire.Block{{Kind: wire.Reasoning, Text: "they want squirrels, I think"}, {Text: story}}},
	{name: "thinking dropped", m: Mending{Repair: true, Reasoning: ReasoningDrop},
		raw:  []wire.Block{{Kind: wire.Reasoning, Text: "they want squirrels, I think"}, {Text: story}},
		want: []wire.Block{{Text: story}}},
	{name: "a span shown", m: Mending{Reasoning: ReasoningShow},
		raw:  []wire.Block{{Text: "<think>they want squirrels</think>" + story}},
		want: []wire.Block{{Kind: wire.Reasoning, Text: "they want squirrels"}, {Text: story}}},
	{name: "a span dropped", m: Mending{Repair: true, Reasoning: ReasoningDrop},
		raw:  []wire.Block{{Text: "<think>they want squirrels</think>" + story}},
		want: []wire.Block{{Text: story}}},
	{name: "markers", m: Mending{Repair: true, Filters: []string{repair.StripStopMarkers, repair.RepairByteFallback}},
		raw:  []wire.Block{{Text: "The <|eot_id|>Élan of <0xE3><0x81><0x82> squirrels: a < b, c<d.<|im_end|>"}},
		want: []wire.Block{{Text: "The Élan of あ squirrels: a < b, c<d."}}},
	{name: "a proper call", m: Mending{Repair: true},
		raw: []wire.Block{{Text: story}, looked}, want: []wire.Block{{Text: story}, looked}},
	{name: "a printed call", m: Mending{Repair: true},
		raw: []wire.Block{{Text: story + "\n" + look}}, want: []wire.Block{{Text: story + "\n"}, looked}},
	{name: "a printed call in a fence", m: Mending{Repair: true, Filters: []string{repair.StripThinking}},
		raw:  []wire.Block{{Text: story + "\n```json\n" + `{"name": "look", "arguments": {"at":"tree"}}` + "\n```\n"}},
		want: []wire.Block{{Text: story + "\n"}, looked}},
	{name: "an example of a call", m: Mending{Repair: true},
		raw:  []wire.Block{{Text: "Here is what it would look like, for example:\n" + look + "\nThat is how squirrels look."}},
		want: []wire.Block{{Text: "Here is what it would look like, for example:\n" + look + "\nThat is how squirrels look."}}},
	{name: "code that calls", m: Mending{Repair: true},
		raw:  []wire.Block{{Text: "Write this:\n\n```python\nfrom tree import *\n\nlook(at=\"tree\")\nlook(at=\"nest\")\n```\nand run it."}},
		want: []wire.Block{{Text: "Write this:\n\n```python\nfrom tree import *\n\nlook(at=\"tree\")\nlook(at=\"nest\")\n```\nand run it."}}},
	{name: "JSON in the middle of a line", m: Mending{Repair: true},
		raw:  []wire.Block{{Text: "The payload of one is written so: " + `{"name": "look", "arguments": {"at":"tree"}}` + " and means a look."}},
		want: []wire.Block{{Text: "The payload of one is written so: " + `{"name": "look", "arguments": {"at":"tree"}}` + " and means a look."}}},
}

// TestContinueWhatIsMended is TestContinueAtEveryPlace for answers that are
// mended on their way: what is told by the provider's own frames, what is held
// back and what is written anew meet in one stream.
func TestContinueWhatIsMended(t *testing.T) {
	for _, c := range mendable {
		for _, caller := range callers {
			for _, from := range theWires {
				for _, to := range theWires {
					if caller != drey.WireResponses && (from == drey.WireResponses || to == drey.WireResponses) {
						continue // only callers of that wire are served in it
					}
					t.Run(name(c.name, " ", caller, " ", from, " ", to), func(t *testing.T) {
						t.Parallel()
						first := &speaker{wire: from, id: "first", says: said{piece: 5, blocks: c.raw}}
						second := &speaker{wire: to, id: "second", says: said{piece: 4, blocks: c.want}, cut: -1}
						a, b := first.scripted("first", false), second.scripted("second", true)
						l := newLab(t, rescuing(mending), mended(a, c.m), mended(b, c.m))
						whole := first.says.stream(from, "first")
						rescued, step := 0, 293 // no multiple of a frame's length: each is met at another place
						if caller == from && caller == to {
							step = 83
						}
						for first.cut = len(c.name); first.cut < len(whole); first.cut += step {
							first.err = nil
							if first.cut%2 == 0 {
								first.err = io.ErrUnexpectedEOF
							}
							rescued += mendedAndContinued(t, l, caller, said{blocks: c.want})
							if t.Failed() {
								t.Fatalf("cut at %d: ...%s", first.cut, whole[max(0, first.cut-200):first.cut])
							}
						}
						if rescued == 0 {
							t.Error("none was continued")
						}
					})
				}
			}
		}
	}
}

// Within the hold a break leaves no trace of what was held back, by whomever.
func TestRestartWhatIsMended(t *testing.T) {
	for _, c := range mendable {
		for _, mode := range []RescueMode{RescueRestart, RescueContinue} {
			for _, p := range pairings {
				t.Run(name(c.name, " ", mode, " ", p), func(t *testing.T) {
					t.Parallel()
					first := &speaker{wire: p.provider, id: "first", says: said{piece: 5, blocks: c.raw}}
					second := &speaker{wire: p.provider, id: "second", says: first.says, cut: -1}
					l := newLab(t, rescuing(holding(mode)), mended(first.scripted("first", false), c.m), mended(second.scripted("second", true), c.m))
					whole := first.says.stream(p.provider, "first")
					for first.cut = len(c.name); first.cut < len(whole); first.cut += 509 {
						a := l.ask(t.Context(), p.caller, asking(p.caller))
						got, err := readStream(p.caller, a.body)
						want := said{blocks: c.want}
						if err != nil || !got.done || strings.TrimSpace(got.text) != strings.TrimSpace(want.text()) || !slices.Equal(got.calls, want.calls()) {
							t.Fatalf("cut at %d: %v %+v\n%s", first.cut, err, got, a.body)
						}
					}
				})
			}
		}
	}
}

// mended makes a provider's answers mended.
func mended(s scripted, m Mending) scripted {
	change := s.change
	s.change = func(p *Provider) { change(p); p.Mending = m }
	return s
}

// mendedAndContinued is continued for answers that are mended: a call stands
// for the space around it.
func mendedAndContinued(t *testing.T, l *lab, caller drey.Wire, want said) int {
	t.Helper()
	a := l.ask(t.Context(), caller, asking(caller))
	c, err := readStream(caller, a.body)
	if err != nil {
		t.Errorf("%v\n%s", err, a.body)
	}
	r := l.last()
	switch text := want.text(); {
	case c.done:
		if c.failed != "" || a.aborted || r.Outcome != OutcomeOK {
			t.Errorf("an end and an error, %s:\n%s", r.Outcome, a.body)
		}
		if len(want.calls()) > 0 {
			c.text, text = strings.TrimRight(c.text, "\n "), strings.TrimRight(text, "\n ")
		}
		if c.text != text || !slices.Equal(c.calls, want.calls()) {
			t.Errorf("got %q, calls %q\nwant %q, calls %q", c.text, c.calls, text, want.calls())
		}
	case c.failed == "":
		t.Errorf("neither an end nor an error: %d\n%s", a.status, a.body)
	case !strings.HasPrefix(text, c.text), a.aborted != (caller == drey.WireChat), r.Outcome != OutcomeFailedMidstream:
		t.Errorf("aborted %v, %s, text %q", a.aborted, r.Outcome, c.text)
	}
	if r.Rescue.Mode != RescueContinue || !c.done {
		return 0
	}
	sum := wire.Usage{}
	for _, at := range r.Attempts {
		sum = sum.Add(at.Usage)
	}
	if sum != r.Usage || c.input != r.Usage.Input || c.output != r.Usage.Output {
		t.Errorf("the caller is told %d, %d; the row says %+v, of %+v", c.input, c.output, r.Usage, sum)
	}
	return 1
}
