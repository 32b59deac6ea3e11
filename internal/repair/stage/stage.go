// Package stage puts repair, filters and the rule about reasoning between a
// provider's decoder and a caller's encoder: it turns the neutral events of one
// answer into those that the caller gets. Repair comes before the filters, so
// that none of them can delete a call.
//
//   - Decoder wraps the provider's decoder, for answers that are translated or
//     assembled anyway.
//   - Pass is the relay between equal wires. As long as there is nothing to
//     mend, the provider's bytes go through as they came.
//   - Stage.Response is for a whole answer.
//
// The package stands between internal/repair, which knows text only, and
// internal/wire, and is as pure as both.
package stage

import (
	"strings"

	"github.com/dreyhq/drey/internal/repair"
	"github.com/dreyhq/drey/internal/wire"
)

// Options say what is done to an answer. The zero value does nothing.
type Options struct {
	// Tools are the request's, if its provider's answers are repaired; nil =
	// they are not.
	Tools *repair.Tools
	// Filters are names of repair's filters, in order.
	Filters []string
	// NewID makes the id of a call that was found, with the prefix of its wire.
	// It must be there if Tools are.
	NewID func() string
	// OneCall lets the first call that is found through and leaves out what comes
	// behind it: the caller asked for one at a time.
	OneCall bool
	// Aliases tell, by name, what the caller calls tools whose form its own wire
	// alone has. nil = none, or wire.Back takes care of them.
	Aliases map[string]wire.Alias
	// Reasoning says what is done with the model's reasoning.
	Reasoning Reasoning
	// Before is the text that the caller has already of an answer of which the
	// provider gives the rest; "" = it gives all of it.
	Before string
	// Whole says that the caller sees nothing before the end of the answer; see
	// repair.NewFilter.
	Whole bool
}

// Reasoning says what is done with the model's reasoning: with what the wire
// tells as such, and with a think span at the beginning of the text.
type Reasoning uint8

// The ways. Keep is the default and leaves it as it comes.
const (
	Keep Reasoning = iota
	Drop           // the caller gets none of it
	Show           // the caller gets all of it as its wire's reasoning, the span too
)

// Active reports whether there is anything to do: without it, an answer needs no
// Stage.
func (o Options) Active() bool { return o.Tools.Len() > 0 || len(o.Filters) > 0 || o.Reasoning != Keep }

// A Stage mends one answer. It belongs to one goroutine.
type Stage struct {
	o       Options
	scanner *repair.Scanner
	chain   *repair.Chain
	pieces  []repair.Piece // reused

	in      bool       // a text block is open at the provider
	block   wire.Block // as it began
	out     bool       // and at the caller
	blank   string     // space before its first text
	split   bool       // a call was taken out of the block
	resumes bool       // no text block has begun behind Options.Before
	native  bool       // the provider makes its calls properly: no more is searched
	touched bool
	calls   []repair.Call

	lead    lead // of the answer's text
	skip    bool // a block of reasoning is open that is left out
	dropped bool // reasoning was left out
}

// New returns a Stage for one answer. The error is about the name of a filter.
func New(o Options) (*Stage, error) {
	chain, err := repair.NewChain(o.Filters, o.Whole)
	if err != nil {
		return nil, err
	}
	s := &Stage{o: o, chain: chain, native: o.Tools.Len() == 0}
	if o.Reasoning == Keep {
		s.lead.state = leadOver
	}
	if o.Before != "" && !s.native {
		s.resumes, s.scanner = true, repair.NewScanner(o.Tools)
		s.scanner.Past(o.Before)
	}
	return s, nil
}

// Calls returns the calls that were found, for one event each.
func (s *Stage) Calls() []repair.Call { return s.calls }

// Applied returns the names of the filters that changed something.
func (s *Stage) Applied() []string { return s.chain.Applied() }

// Dropped reports whether reasoning was left out.
func (s *Stage) Dropped() bool { return s.dropped }

// Touched reports whether what the caller gets is something else than what came.
func (s *Stage) Touched() bool { return s.touched || len(s.chain.Applied()) > 0 }

// Pending reports whether something is held back that the caller may still get.
func (s *Stage) Pending() bool {
	return s.in && !s.out || s.scanner != nil && s.scanner.Held() > 0 || s.chain.Held() || s.lead.holds()
}

// Event appends to dst what the caller gets for one event of the provider.
func (s *Stage) Event(dst []wire.Event, ev wire.Event) []wire.Event {
	switch ev.Kind {
	case wire.BlockStart:
		switch ev.Block.Kind {
		case wire.Text:
			s.begin(ev.Block)
			return s.text(dst, ev.Block.Text)
		case wire.ToolUse:
			s.native, s.lead.state = true, leadOver
			s.skip = s.o.OneCall && len(s.calls) > 0
		case wire.Reasoning, wire.Redacted:
			if s.o.Reasoning == Drop {
				s.skip, s.touched, s.dropped = true, true, true
			}
		}
	case wire.Delta:
		if s.in {
			return s.text(dst, ev.Text)
		}
	case wire.BlockStop:
		if s.in {
			return s.end(dst)
		}
		if s.skip {
			s.skip = false
			return dst
		}
	case wire.Finish:
		if s.in { // its end was forgotten
			dst = s.end(dst)
		}
		if len(s.calls) > 0 && ev.Stop != wire.StopLength && ev.Stop != wire.StopTools {
			ev.Stop, ev.StopSequence = wire.StopTools, ""
		}
	}
	if s.skip && ev.Kind != wire.Finish {
		if ev.Usage != nil { // told in the middle of what is left out
			dst = append(dst, wire.Event{Kind: wire.UsageReport, Usage: ev.Usage})
		}
		return dst
	}
	return append(dst, ev)
}

// begin begins a text block of the provider.
func (s *Stage) begin(b wire.Block) {
	b.Text = ""
	s.in, s.out, s.split, s.blank, s.block = true, false, false, "", b
	switch {
	case s.native:
		s.scanner = nil
	case s.scanner == nil:
		s.scanner = repair.NewScanner(s.o.Tools)
	case !s.resumes:
		s.scanner.NextBlock()
	}
	s.resumes = false
}

// text takes text of the block.
func (s *Stage) text(dst []wire.Event, text string) []wire.Event {
	if s.lead.state != leadOver {
		if dst, text = s.leading(dst, text); text == "" {
			return dst
		}
	}
	if s.scanner == nil {
		return s.say(dst, s.chain.Feed(text))
	}
	s.pieces = s.scanner.Feed(s.pieces[:0], text)
	return s.take(dst)
}

// take takes what the scanner let through.
func (s *Stage) take(dst []wire.Event) []wire.Event {
	for _, p := range s.pieces {
		if p.Call == nil {
			dst = s.say(dst, s.chain.Feed(p.Text))
		} else {
			dst = s.call(dst, *p.Call)
		}
	}
	return dst
}

// say tells text to the caller. Space that no text follows is not worth a block
// beside a call, and some clients cannot send such a block back.
func (s *Stage) say(dst []wire.Event, text string) []wire.Event {
	if text == "" {
		return dst
	}
	if !s.out {
		text = s.blank + text
		s.blank = ""
		if strings.TrimSpace(text) == "" && len(text) < maxBlank {
			s.blank = text
			return dst
		}
		s.out = true
		dst = append(dst, wire.Event{Kind: wire.BlockStart, Block: s.block})
	}
	return append(dst, wire.Event{Kind: wire.Delta, Text: text})
}

// maxBlank bounds the space that is held back.
const maxBlank = 4096

// call tells a call to the caller, as a block of its own.
func (s *Stage) call(dst []wire.Event, c repair.Call) []wire.Event {
	dst = s.say(dst, s.chain.Close())
	if s.out {
		dst = append(dst, wire.Event{Kind: wire.BlockStop})
	}
	s.out, s.blank, s.split, s.touched = false, "", true, true
	if s.o.OneCall && len(s.calls) > 0 {
		return dst
	}
	s.calls = append(s.calls, c)
	b := wire.Block{Kind: wire.ToolUse, ID: s.o.NewID(), Name: c.Name}
	if a, ok := s.o.Aliases[c.Name]; ok {
		b.Alias = &a
	}
	return append(dst,
		wire.Event{Kind: wire.BlockStart, Block: b},
		wire.Event{Kind: wire.Delta, Text: string(c.Arguments)},
		wire.Event{Kind: wire.BlockStop},
	)
}

// end ends the block. One that is left empty by what was taken out of it is not
// told at all.
func (s *Stage) end(dst []wire.Event) []wire.Event {
	dst = s.endLead(dst)
	if s.scanner != nil {
		s.pieces = s.scanner.Close(s.pieces[:0])
		dst = s.take(dst)
	}
	dst = s.say(dst, s.chain.Close())
	s.in = false
	if !s.out {
		if s.split || s.Touched() {
			return dst
		}
		dst = append(dst, wire.Event{Kind: wire.BlockStart, Block: s.block})
		if s.blank != "" {
			dst = append(dst, wire.Event{Kind: wire.Delta, Text: s.blank})
		}
	}
	return append(dst, wire.Event{Kind: wire.BlockStop})
}

// Response mends a whole answer in place and reports whether it changed. A
// Stage that has done so is of no more use.
func (s *Stage) Response(r *wire.Response) bool {
	for i := range r.Blocks {
		s.native = s.native || r.Blocks[i].Kind == wire.ToolUse
	}
	var made wire.Assembler
	var out []wire.Event
	for _, ev := range wire.Play(nil, r) {
		out = s.Event(out[:0], ev)
		for _, ev := range out {
			made.Add(ev)
		}
	}
	if !s.Touched() {
		return false
	}
	mended := made.Response()
	r.Blocks, r.Stop, r.StopSequence = mended.Blocks, mended.Stop, mended.StopSequence
	return true
}
