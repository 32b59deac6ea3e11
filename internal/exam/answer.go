package exam

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/repair"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/wire"
)

// Answer is what came of one question: a whole answer, or a Failure.
type Answer struct {
	Response *wire.Response // nil with Failure
	Failure  *Failure
	Streamed bool // it came, or began to come, as a stream

	// Of a stream: how many frames had content, when the first came, and how
	// long after it the last. First is also when a whole answer came.
	Frames        int
	First, Spread time.Duration
}

// Failure is why there is no answer.
type Failure struct {
	route.Verdict
	Fault route.Fault // NoFault: the provider answered with a status or an error of its own
}

// text is what a reader would see, over all blocks.
func (a Answer) text() string { return a.of(wire.Text) }

// thoughts is the reasoning that came in its own field or block.
func (a Answer) thoughts() string { return a.of(wire.Reasoning) }

func (a Answer) of(kind wire.BlockKind) string {
	if a.Response == nil {
		return ""
	}
	var b strings.Builder
	for _, bl := range a.Response.Blocks {
		if bl.Kind == kind {
			b.WriteString(bl.Text)
		}
	}
	return b.String()
}

// calls are the structured tool calls.
func (a Answer) calls() (out []wire.Block) {
	if a.Response == nil {
		return nil
	}
	for _, b := range a.Response.Blocks {
		if b.Kind == wire.ToolUse {
			out = append(out, b)
		}
	}
	return out
}

// says reports whether the answer, or the reasoning before it, has the word.
func (a Answer) says(word string) bool {
	letters := func(r rune) bool { return !unicode.IsLetter(r) }
	return slices.ContainsFunc(strings.FieldsFunc(a.text()+"\n"+a.thoughts(), letters), func(w string) bool { return strings.EqualFold(w, word) })
}

// input is how many tokens of the question the provider says it has read; 0 =
// it did not tell.
func (a Answer) input() int {
	if a.Response == nil {
		return 0
	}
	u := a.Response.Usage
	return u.Input + u.CacheRead + u.CacheWrite
}

// reasons reports whether the model reasoned, wherever it told so.
func (a Answer) reasons() bool {
	if a.Response == nil {
		return false
	}
	for _, b := range a.Response.Blocks {
		if b.Kind == wire.Reasoning || b.Kind == wire.Redacted {
			return true
		}
	}
	return a.Response.Usage.Reasoning > 0 || filtered(repair.StripThinking, a.text())
}

// filtered reports whether one of drey's filters finds something in a text.
func filtered(name, text string) bool {
	f, err := repair.NewFilter(name, true)
	if err != nil {
		return false
	}
	f.Feed(text)
	f.Close()
	return f.Changed()
}

// refused reports that the provider takes questions, and not this one.
func (a Answer) refused() bool { return a.Failure != nil && a.Failure.Class == drey.Caller }

// why is what a failure says, for a sentence.
func (f *Failure) why() string {
	switch {
	case f.Status != 0 && f.Fault == route.NoFault:
		return fmt.Sprintf("status %d, %s", f.Status, f.Text)
	default:
		return f.Text
	}
}

// maxSilences is how many questions may get no answer in time before no more
// are asked. One may be too much for a slow machine that answers others.
const maxSilences = 2

// trouble is the finding where a question failed for a reason that has nothing
// to do with what the probe is about. Where it would befall every other
// question too, nothing more is asked.
func (c *chart) trouble(name string, f *Failure) Finding {
	switch f.Class {
	case drey.Auth:
		c.over = "the provider refused the one before"
		return Finding{Probe: name, Verdict: AuthFail, Text: "refused in the middle of the examination: " + f.why()}
	case drey.RateLimit, drey.Loading, drey.Cancel:
		c.over = "the provider asked for a pause: " + f.why()
		return skipped(name, c.over)
	case drey.Transport:
		c.over = "the provider went away"
		return Finding{Probe: name, Verdict: Unreachable, Text: "the provider went away: " + f.why()}
	case drey.Caller:
		return skipped(name, "the question was refused: "+f.why())
	case drey.Silence:
		if c.silences++; c.silences == maxSilences {
			c.over = "the provider was silent too often"
		}
		return Finding{Probe: name, Verdict: Unreachable, Text: "no answer in time: " + f.why()}
	default:
		return Finding{Probe: name, Verdict: Unreachable, Text: "no answer that could be used: " + f.why()}
	}
}

// ms writes a span for a sentence.
func ms(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		d = d.Round(time.Second)
	case d >= time.Second:
		d = d.Round(100 * time.Millisecond)
	default:
		d = d.Round(time.Millisecond)
	}
	if d == 0 {
		return "<1ms"
	}
	return drey.Duration(d).String()
}
