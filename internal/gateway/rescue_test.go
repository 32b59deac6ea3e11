package gateway

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

const story = "The Élan of squirrels:\n\n1. they bury more than they find;\n2. what stays buried grows “trees”. \n"

// answers are what a first provider may have been about to say.
var answers = map[string]said{
	"text":          {piece: 11, blocks: []wire.Block{{Kind: wire.Text, Text: story}}},
	"thinking":      {piece: 9, blocks: []wire.Block{{Kind: wire.Reasoning, Text: "they want squirrels, I think"}, {Kind: wire.Text, Text: story}}},
	"text and call": {piece: 9, blocks: []wire.Block{{Kind: wire.Text, Text: story}, {Kind: wire.ToolUse, ID: "call_1", Name: "look", Input: []byte(`{"at":"tree"}`)}}},
}

// TestContinueAtEveryPlace ends answers within and between their frames, on
// every way from a caller over one provider to another. Whatever came: the caller has the whole
// text once and a clean end, or an error and no end; a call comes once; and a
// strict client finds nothing wrong.
func TestContinueAtEveryPlace(t *testing.T) {
	for what, says := range answers {
		for _, caller := range callers {
			for _, from := range theWires {
				for _, to := range theWires {
					if caller != drey.WireResponses && (from == drey.WireResponses || to == drey.WireResponses) {
						continue // only callers of that wire are served in it
					}
					t.Run(name(what, " ", caller, " ", from, " ", to), func(t *testing.T) {
						t.Parallel()
						first := &speaker{wire: from, id: "first", says: says}
						second := &speaker{wire: to, id: "second", says: says, cut: -1, overlap: 0, muses: true}
						second.says.piece = 7
						l := pair(t, mending, first, second)
						whole := first.says.stream(from, "first")
						var tally [2]int
						step := 149 // frames are about as long, and met each at another place
						if what == "text" && from == caller && to == caller {
							step = 7
						}
						for first.cut = 0; first.cut < len(whole); first.cut += step {
							first.err = nil
							if first.cut%2 == 0 {
								first.err = io.ErrUnexpectedEOF
							}
							tally[continued(t, l, caller, says)]++
							if t.Failed() {
								t.Fatalf("cut at %d: ...%s", first.cut, whole[max(0, first.cut-200):first.cut])
							}
						}
						if rescued := 100 * tally[1] / (tally[0] + tally[1]); rescued < 20 {
							t.Errorf("of %d broken streams, %d were continued", tally[0]+tally[1], tally[1])
						}
					})
				}
			}
		}
	}
}

// continued asks once and returns 1 if the caller's stream was broken and
// continued.
func continued(t *testing.T, l *lab, caller drey.Wire, says said) int {
	t.Helper()
	a := l.ask(t.Context(), caller, asking(caller))
	c, err := readStream(caller, a.body)
	if err != nil {
		t.Errorf("%v\n%s", err, a.body[max(0, len(a.body)-1500):])
	}
	r := l.last()
	switch {
	case c.done:
		if c.failed != "" || a.aborted {
			t.Errorf("an end and an error:\n%s", a.body)
		}
		if c.text != says.text() {
			t.Errorf("the text is\n%q\nwant\n%q", c.text, says.text())
		}
		if !slices.Equal(c.calls, says.calls()) {
			t.Errorf("calls %q, want %q", c.calls, says.calls())
		}
		if r.Outcome != OutcomeOK {
			t.Errorf("outcome %s", r.Outcome)
		}
	case c.failed == "":
		t.Errorf("neither an end nor an error: %d\n%s", a.status, a.body)
	case !strings.HasPrefix(says.text(), c.text), a.aborted != (caller == drey.WireChat), r.Outcome != OutcomeFailedMidstream:
		t.Errorf("aborted %v, %s, text %q", a.aborted, r.Outcome, c.text)
	}
	rescue := r.Rescue
	if (rescue.Outcome == RescueOK) != (rescue.Mode != RescueOff && c.done) {
		t.Errorf("rescue %+v, done %v", rescue, c.done)
	}
	if rescue.Mode == RescueContinue && c.done {
		if len(r.Attempts) != 2 || !r.Attempts[1].Resumed || !r.Attempts[0].Committed || r.Usage.Input <= 100 || r.Usage.Output <= 10 || c.input != r.Usage.Input || c.output != r.Usage.Output {
			t.Errorf("usage %d, %d; the row says %+v, %+v", c.input, c.output, r.Usage, r.Attempts)
		}
		return 1
	}
	return 0
}
