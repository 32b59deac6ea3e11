package stage

import (
	"strings"

	"github.com/dreyhq/drey/internal/wire"
)

// lead looks for the model's reasoning at the beginning of its text, where the
// templates of reasoning models put it: a think span. Anywhere else the tag is
// something that the text speaks about.
type lead struct {
	state leadState
	held  string // what is not decided: the tag as far as it has come, and space before it
}

type leadState uint8

const (
	leadNone leadState = iota // no text has come that says something
	leadIn                    // within the span
	leadGap                   // in the space behind it
	leadOver                  // what comes is text
)

const thinkStart, thinkEnd = "<think>", "</think>"

// holds reports whether something is held back, or a span is open.
func (l *lead) holds() bool { return l.held != "" || l.state == leadIn }

// leading takes text from the beginning of the answer. It tells the span to dst
// and returns the text behind it.
func (s *Stage) leading(dst []wire.Event, text string) ([]wire.Event, string) {
	l := &s.lead
	text, l.held = l.held+text, ""
	if l.state == leadNone {
		said := strings.TrimLeft(text, " \t\r\n")
		switch {
		case strings.HasPrefix(said, thinkStart):
			l.state, s.touched = leadIn, true
			text = said[len(thinkStart):]
			if s.o.Reasoning == Show {
				dst = append(dst, wire.Event{Kind: wire.BlockStart, Block: wire.Block{Kind: wire.Reasoning}})
			} else {
				s.dropped = true
			}
		case strings.HasPrefix(thinkStart, said) && len(text) < maxBlank:
			l.held = text
			return dst, ""
		default:
			l.state = leadOver
			return dst, text
		}
	}
	if l.state == leadIn {
		at := strings.Index(text, thinkEnd)
		if at < 0 {
			n := len(text) - tailOf(text, thinkEnd)
			l.held = text[n:]
			return s.think(dst, text[:n]), ""
		}
		dst = s.think(dst, text[:at])
		dst = s.thought(dst)
		text = text[at+len(thinkEnd):]
	}
	if text = strings.TrimLeft(text, " \t\r\n"); text != "" {
		l.state = leadOver
	}
	return dst, text
}

// endLead ends the block in which the answer begins. The next one may be the
// first to say something.
func (s *Stage) endLead(dst []wire.Event) []wire.Event {
	l := &s.lead
	text := l.held
	l.held = ""
	switch {
	case l.state == leadIn: // the span was not closed
		return s.thought(s.think(dst, text))
	case text == "":
		return dst
	case strings.TrimLeft(text, " \t\r\n") != "":
		l.state = leadOver
	}
	state := l.state
	l.state = leadOver
	dst = s.text(dst, text)
	l.state = state
	return dst
}

// think tells reasoning of the span.
func (s *Stage) think(dst []wire.Event, text string) []wire.Event {
	if text == "" || s.o.Reasoning != Show {
		return dst
	}
	return append(dst, wire.Event{Kind: wire.Delta, Text: text})
}

// thought ends the span.
func (s *Stage) thought(dst []wire.Event) []wire.Event {
	s.lead.state = leadGap
	if s.o.Reasoning != Show {
		return dst
	}
	return append(dst, wire.Event{Kind: wire.BlockStop})
}

// tailOf returns how many bytes at the end of text may begin word.
func tailOf(text, word string) int {
	for n := min(len(text), len(word)-1); n > 0; n-- {
		if strings.HasSuffix(text, word[:n]) {
			return n
		}
	}
	return 0
}
