package repair

import (
	"bytes"
	"slices"
)

// fence is what is known of the code fence that is being read.
type fence struct {
	char  byte // '`' or '~'
	run   int  // how many of them opened it
	info  []byte
	items []span
	inner bool // an item is open
	from  int  // where it begins, counted from the fence
	shut  int  // how many characters of a closing run have come
	line  fenceLine
}

// span is a complete item, counted from the fence's beginning.
type span struct {
	from, to int
	kind     itemKind
}

// fenceLine is where in a line of a fence that is left alone the scanner is.
type fenceLine uint8

const (
	fenceStart  fenceLine = iota // in its leading space
	fenceRun                     // in a run that may close the fence
	fenceBehind                  // in the space behind that
	fenceOther
)

// callInfos are the info strings of fences in which models print calls. All
// others name a programming language, and what they hold is code.
var callInfos = []string{"", "json", "xml", "tool_call", "tool_code"}

// closed reports whether a run that closes the fence has come.
func (f *fence) closed() bool { return !f.inner && f.shut >= f.run }

// beginFence starts at the first character of what may open a fence.
func (s *Scanner) beginFence() {
	s.start, s.mode = s.at, inRun
	s.fence = fence{char: s.buf[s.at], run: 1, info: s.fence.info[:0], items: s.fence.items[:0]}
	s.at++
}

// openFence reads the line that opens a fence.
func (s *Scanner) openFence() {
	f := &s.fence
	c := s.buf[s.at]
	if s.mode == inRun {
		if c == f.char {
			f.run++
			s.at++
			return
		}
		if f.run < 3 {
			s.refute()
			return
		}
		s.mode = inInfo
	}
	info := bytes.TrimSpace(f.info)
	calls := slices.Contains(callInfos, string(bytes.ToLower(info)))
	switch {
	case c == '\n' && calls:
		s.at++
		s.mode = inFence
	case c == '\n':
		f.line = fenceOther
		s.leaveFence()
	case c == '`' && f.char == '`':
		s.refute() // inline code in many backticks
	case calls && (c == '{' || c == '[' || c == '<'):
		s.mode = inFence // on the line of the fence itself
	case len(f.info) == overlap:
		f.line = fenceOther
		s.leaveFence()
	default:
		f.info = append(f.info, c)
		s.at++
	}
}

// followFence reads a fence that may hold calls: items and nothing else.
func (s *Scanner) followFence() {
	f := &s.fence
	c := s.buf[s.at]
	switch {
	case f.inner:
		switch s.item.step(c) {
		case refuted:
			s.refuteFence()
			return
		case done:
			f.inner = false
			f.items = append(f.items, span{f.from, s.at + 1 - s.start, s.item.kind})
		}
	case c == f.char:
		f.shut++
	case f.shut >= f.run:
		s.endFence()
		return
	case f.shut > 0:
		s.refuteFence()
		return
	case isSpace(c) || c == ',' || c == ';':
	case (isLetter(c) || c == '_' || c == '{' || c == '[' || c == '<') && s.item.begin(c):
		f.inner, f.from = true, s.at-s.start
	default:
		s.refuteFence()
		return
	}
	s.at++
}

// endFence is called behind a fence that may hold calls.
func (s *Scanner) endFence() {
	f := &s.fence
	var calls []Call
	for _, it := range f.items {
		made := s.tools.read(it.kind, s.buf[s.start+it.from:s.start+it.to])
		if made == nil {
			calls = nil
			break
		}
		calls = append(calls, made...)
	}
	if calls == nil {
		// It is closed if nothing but space follows on the line.
		f.line = fenceRun
		s.leaveFence()
		return
	}
	for i := range calls {
		calls[i].Shape += FencedJSON - JSON
	}
	s.confirm(calls, false)
}

// refuteFence leaves the fence alone from the current byte on. Where in its
// line that is decides whether the line may still close it.
func (s *Scanner) refuteFence() {
	f := &s.fence
	f.line = fenceStart
	f.shut = 0
	for i := s.at - 1; i >= s.start && s.buf[i] != '\n'; i-- {
		if !isSpace(s.buf[i]) {
			f.line = fenceOther
			break
		}
	}
	s.leaveFence()
}

// leaveFence lets the fence flow to its end.
func (s *Scanner) leaveFence() {
	s.decide()
	s.mode = foreign
	s.hide()
}

// pastFence reads a fence that is left alone.
func (s *Scanner) pastFence() {
	f := &s.fence
	c := s.buf[s.at]
	if f.line == fenceOther && c != '\n' {
		n := bytes.IndexByte(s.buf[s.at:], '\n')
		if n < 0 {
			n = len(s.buf) - s.at
		}
		s.at += n
		return
	}
	s.at++
	switch {
	case c == '\n':
		if f.shut >= f.run && f.line != fenceOther {
			s.mode = plain
			s.hide()
		}
		f.line, f.shut = fenceStart, 0
	case c == f.char && f.line <= fenceRun:
		f.line = fenceRun
		f.shut++
	case isSpace(c):
		if f.line == fenceRun {
			f.line = fenceBehind
		}
	default:
		f.line = fenceOther
	}
}
