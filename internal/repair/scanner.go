package repair

import (
	"bytes"
	"encoding/json"
)

// mode is what a Scanner is in the middle of.
type mode uint8

const (
	plain    mode = iota // text
	skipping             // JSON that is no call
	thinking             // a think span
	foreign              // a fence that is left alone
	inItem               // what may be a call; from here on text is held back
	inRun                // the backticks or tildes that may open a fence
	inInfo               // the rest of that line
	inFence              // a fence that may hold calls
	off                  // MaxText has been searched
)

// Scanner finds calls in the text of one answer. Text goes in in pieces of any
// size and comes out in order, without the calls; where it is cut does not
// change what comes out in all. What may become a call is held back until that
// is decided, MaxHold bytes at most; a call is decided at the end of the line
// on which it ends, because that line may say that it was an example.
//
// It takes time linear in the text and memory bounded by MaxHold and the largest
// piece. A Scanner belongs to one goroutine.
type Scanner struct {
	tools *Tools
	seen  map[string]bool // calls that were made, in canonical form

	buf   []byte // what was not let through yet
	base  int    // the position of buf[0] in the answer
	at    int    // the next byte of buf
	start int    // where the item or fence begins; valid if mode holds

	mode  mode
	item  item
	fence fence
	depth int  // skipping: of brackets
	quote byte // skipping: of the open string
	esc   bool // skipping: the byte before was a backslash in it
	shut  int  // thinking: how much of the closing tag has come

	line  line
	prev  line // the line before
	aged  bool // prev is the line before that, and a blank line follows it
	carry bool // on the line before, a call was left alone for a cue
	ticks int  // of the run of backticks that is being read
	code  int  // the length of the run that opened inline code; 0 outside of it

	found []found // on this line, undecided
	first byte    // of the text behind the last of them, if tails
	tails bool    // there is such text, and not only space
	open  bool    // the text before the first of them does not end a sentence
	cut   []found // decided, to be let through
}

// found is a stretch of buf that holds calls and nothing else.
type found struct {
	from, to int
	calls    []Call
	alone    bool // nothing may follow on its line
}

// NewScanner returns a scanner for an answer to a request with these tools.
func NewScanner(t *Tools) *Scanner {
	s := &Scanner{tools: t, seen: map[string]bool{}}
	s.item.tools = t
	s.line.reset()
	s.prev.reset()
	if t.Len() == 0 {
		s.mode = off
	}
	return s
}

// Held returns how many bytes are held back.
func (s *Scanner) Held() int { return len(s.buf) }

// NextBlock begins another block of text of the same answer, after Close: calls
// that were made are not made again, and MaxText counts on.
func (s *Scanner) NextBlock() {
	*s = Scanner{tools: s.tools, seen: s.seen, buf: s.buf, base: s.base, mode: s.mode, item: s.item, line: s.line, prev: s.prev}
	s.hide()
	if s.mode != off {
		s.mode = plain
	}
}

// Past takes text that went out before what is to come, and that nobody can take
// back: it is read for what it means to the rest (whether a fence is open, what
// the line announces). What it began and did not end is no call, and calls that
// stand in it whole have not been made.
func (s *Scanner) Past(text string) {
	s.Feed(nil, text)
	for s.mode >= inItem && s.mode < off {
		switch f := &s.fence; {
		case s.mode == inFence && f.closed():
			s.endFence()
		case s.mode != inItem: // of a run that may become a fence, too
			f.run, f.line, f.shut = max(f.run, 3), fenceOther, 0
			s.leaveFence()
		default:
			s.refute()
		}
		s.run()
	}
	s.decide()
	s.emit(nil)
	clear(s.seen)
}

// Feed takes the next text and appends to dst what may go on. Text that may go
// on whole comes back as the one piece that it was.
func (s *Scanner) Feed(dst []Piece, text string) []Piece {
	if text == "" {
		return dst
	}
	if s.mode == off || s.flows(text) {
		return appendText(dst, text)
	}
	rest := ""
	if room := MaxText - s.base - len(s.buf); len(text) > room {
		text, rest = text[:room], text[room:]
	}
	s.buf = append(s.buf, text...)
	s.run()
	if s.base+s.at == MaxText {
		s.end()
		s.mode = off
	}
	n := len(dst)
	dst = s.emit(dst)
	if len(dst) > n && dst[len(dst)-1].Call == nil {
		dst[len(dst)-1].Text += rest // the end of the search may be within a character
		return dst
	}
	return appendText(dst, rest)
}

// Close ends the block and appends to dst what was held back. After it the
// scanner waits for NextBlock.
func (s *Scanner) Close(dst []Piece) []Piece {
	if s.mode != off {
		s.end()
	}
	return s.emit(dst)
}

// marks are the bytes that plain text stops at.
var marks = [256]bool{'\n': true, '{': true, '[': true, '<': true, '`': true}

// flows takes a piece of plain text in which nothing begins and nothing ends:
// the most common piece by far.
func (s *Scanner) flows(text string) bool {
	if s.mode != plain || len(s.buf) > 0 || s.ticks > 0 || s.line.blank || s.base+len(text) >= MaxText {
		return false
	}
	for i := range len(text) {
		if marks[text[i]] {
			return false
		}
	}
	s.line.add([]byte(text))
	s.base += len(text)
	return true
}

// run reads the buffer to its end.
func (s *Scanner) run() {
	for s.at < len(s.buf) {
		switch s.mode {
		case plain:
			s.plain()
		case skipping:
			s.skip()
		case thinking:
			s.think()
		case foreign:
			s.pastFence()
		case inItem:
			s.follow()
		case inRun, inInfo:
			s.openFence()
		case inFence:
			s.followFence()
		}
		if s.at-s.anchor() >= MaxHold {
			s.decide()
			if s.at-s.anchor() >= MaxHold {
				s.refute()
			}
		}
	}
}

// anchor returns where the text that is held back begins.
func (s *Scanner) anchor() int {
	switch {
	case len(s.found) > 0:
		return s.found[0].from
	case s.mode >= inItem && s.mode < off:
		return s.start
	}
	return s.at
}

// emit lets through what is decided.
func (s *Scanner) emit(dst []Piece) []Piece {
	to, from := s.anchor(), 0
	if to == 0 {
		return dst // and so nothing is cut, which would stand before it
	}
	for i := range s.cut {
		f := &s.cut[i]
		dst = appendText(dst, string(s.buf[from:f.from]))
		for j := range f.calls {
			dst = append(dst, Piece{Call: &f.calls[j]})
		}
		from = f.to
	}
	dst = appendText(dst, string(s.buf[from:to]))
	s.cut = nil
	s.buf = append(s.buf[:0], s.buf[to:]...)
	s.base, s.at, s.start = s.base+to, s.at-to, s.start-to
	for i := range s.found {
		s.found[i].from -= to
		s.found[i].to -= to
	}
	return dst
}

// appendText appends text, if there is some.
func appendText(dst []Piece, text string) []Piece {
	if text == "" {
		return dst
	}
	return append(dst, Piece{Text: text})
}

// plain reads text up to and with the next byte that means something.
func (s *Scanner) plain() {
	c := s.buf[s.at]
	if c == '`' {
		if s.line.blank && s.code == 0 && s.ticks == 0 {
			s.beginFence()
			return
		}
		s.ticks++
		s.pass(s.at + 1)
		return
	}
	s.endTicks()
	switch {
	case c == '\n':
		s.pass(s.at + 1)
		return
	case s.line.blank && isSpace(c):
		s.pass(s.at + 1)
		return
	case s.line.blank && c == '~':
		s.beginFence()
		return
	case s.line.blank && (isLetter(c) || c == '_') && s.item.begin(c):
		s.begin()
		return
	case s.code > 0:
	case c == '{' || c == '[':
		if s.line.leads() || s.lists() {
			s.item.begin(c)
			s.begin()
			return
		}
		s.mode, s.depth, s.quote, s.esc = skipping, 0, 0, false
		return
	case c == '<' && s.line.end != '"' && s.line.end != '\'':
		s.item.begin(c)
		s.begin()
		return
	}
	end, limit := s.at+1, s.limit()
	for end < limit && !marks[s.buf[end]] {
		end++
	}
	s.pass(end)
}

// endTicks ends a run of backticks: it opens inline code, or closes it if it is
// as long as the one that did.
func (s *Scanner) endTicks() {
	switch {
	case s.ticks == 0:
	case s.code == 0:
		s.code = s.ticks
	case s.code == s.ticks:
		s.code = 0
	}
	s.ticks = 0
}

// pass takes visible text up to end.
func (s *Scanner) pass(end int) {
	for s.at < end {
		b := s.buf[s.at:end]
		n := bytes.IndexByte(b, '\n')
		if n < 0 {
			n = len(b)
		}
		s.tail(b[:n])
		s.line.add(b[:n])
		if s.at += n; s.at < end {
			s.at++
			s.endLine()
		}
	}
}

// tail notes what follows a call on its line.
func (s *Scanner) tail(b []byte) {
	if len(s.found) == 0 || s.tails {
		return
	}
	if b = bytes.TrimLeft(b, " \t\r"); len(b) > 0 {
		s.first, s.tails = b[0], true
	}
}

// lists reports whether nothing but a separator stands between a call and here:
// some models print several calls on one line.
func (s *Scanner) lists() bool {
	return len(s.found) > 0 && s.tails && s.first == s.line.last && (s.first == ';' || s.first == ',')
}

// endLine is called behind a line break.
func (s *Scanner) endLine() {
	carried := s.carry
	s.carry = false
	s.decideLine(carried)
	s.endTicks()
	s.code = 0
	if s.line.blank && !s.aged && s.prev.announces() {
		s.aged = true // a blank line parts an announcement from what it announces
	} else {
		s.line, s.prev = s.prev, s.line
		s.aged = false
	}
	s.line.reset()
}

// hide ends what is no visible text: a fence or a think span. The line begins
// anew behind it.
func (s *Scanner) hide() {
	s.line.reset()
	s.prev.reset()
	s.aged, s.carry, s.ticks, s.code = false, false, 0, 0
}

// begin starts to follow the item at the current byte, which it has seen.
func (s *Scanner) begin() {
	s.mode, s.start = inItem, s.at
	s.at++
}

// follow feeds the item.
func (s *Scanner) follow() {
	c := s.buf[s.at]
	switch s.item.step(c) {
	case more:
		s.at++
	case refuted:
		if c == '>' && s.item.thinks() {
			s.decide()
			s.at++
			s.mode, s.shut = thinking, 0
			return
		}
		s.refute()
	case done:
		s.at++
		calls := s.tools.read(s.item.kind, s.buf[s.start:s.at])
		if calls == nil {
			s.release(plain)
			return
		}
		s.confirm(calls, s.item.kind == syntaxItem)
	}
}

// confirm notes calls from start up to here. Whether they are meant is decided
// at the end of the line.
func (s *Scanner) confirm(calls []Call, alone bool) {
	if len(s.found) == 0 {
		s.open = !s.line.blank && !s.line.ends()
	}
	s.found = append(s.found, found{s.start, s.at, calls, alone})
	s.tails = false
	s.mode = plain
}

// refute gives up the item or fence; the current byte is read again as what it
// then is.
func (s *Scanner) refute() {
	switch s.mode {
	case inItem:
		if b, ok := s.item.inValue(); ok {
			s.depth = len(b.stack) - bytes.Count(b.stack, []byte(")"))
			if s.quote, s.esc = b.quote, b.esc; s.depth > 0 {
				s.release(skipping)
				return
			}
		}
		s.release(plain)
	case inRun, inInfo:
		n := s.fence.run
		s.release(plain)
		if s.fence.char == '`' {
			s.code = n
		}
	case inFence:
		s.refuteFence()
	default: // nothing is open
	}
}

// release gives the text of an item back.
func (s *Scanner) release(next mode) {
	end := s.at
	s.at, s.mode = s.start, next
	s.pass(end)
}

// decide settles the calls that were found, without waiting for the line's end.
func (s *Scanner) decide() { s.decideLine(s.carry) }

// decideLine settles the calls of the line: taken out, or left as text.
func (s *Scanner) decideLine(carried bool) {
	if len(s.found) == 0 {
		return
	}
	alone := !s.tails || s.first == ';'
	mid := s.line.quotes() || s.tails && (s.open || s.first >= 'a' && s.first <= 'z')
	for i := range s.found {
		mid = mid || s.found[i].alone && !alone
	}
	switch {
	case mid:
	case carried || s.line.cue() || s.prev.cue():
		s.carry = true
	default:
		for _, f := range s.found {
			f.calls = s.fresh(f.calls)
			s.cut = append(s.cut, f)
		}
	}
	s.found = s.found[:0]
}

// fresh returns the calls that were not made before: models repeat themselves.
func (s *Scanner) fresh(calls []Call) []Call {
	kept := calls[:0]
	for _, c := range calls {
		var args any
		d := json.NewDecoder(bytes.NewReader(c.Arguments))
		d.UseNumber()
		key := c.Name + "\x00"
		if d.Decode(&args) == nil {
			canonical, _ := json.Marshal(args) // what was decoded can be encoded
			key += string(canonical)
		} else {
			key += string(c.Arguments)
		}
		if !s.seen[key] {
			s.seen[key] = true
			kept = append(kept, c)
		}
	}
	return kept
}

// skip reads JSON that is no call, so that nothing within it is taken for one.
// It ends with its last bracket; a blank line, or what begins a tag or a fence
// on a line of its own, ends it too, since prose has lonely brackets.
func (s *Scanner) skip() {
	c := s.buf[s.at]
	if s.line.blank && (c == '<' || c == '`' || c == '~') {
		s.mode = plain
		return
	}
	if c == '\n' && s.line.blank {
		s.mode = plain
	}
	end, limit := s.at, s.limit()
	for s.mode == skipping && end < limit {
		c := s.buf[end]
		end++
		if s.skipped(c); c == '\n' || s.line.blank {
			break // the next byte may be another line's first
		}
	}
	s.pass(max(end, s.at+1))
}

// skipped follows the brackets and strings of what is skipped.
func (s *Scanner) skipped(c byte) {
	switch {
	case c == '\n':
		s.quote, s.esc = 0, false
	case s.esc:
		s.esc = false
	case s.quote != 0:
		if s.esc = c == '\\'; c == s.quote {
			s.quote = 0
		}
	case c == '"':
		s.quote = c
	case c == '{' || c == '[':
		s.depth++
	case c == '}' || c == ']':
		if s.depth--; s.depth <= 0 {
			s.mode = plain
		}
	}
}

// limit returns how far text may be passed in one go: no further than where
// the calls before it are decided at the latest.
func (s *Scanner) limit() int {
	if len(s.found) > 0 {
		return max(s.at+1, min(len(s.buf), s.found[0].from+MaxHold))
	}
	return len(s.buf)
}

// thinkEnds close both kinds of think span.
var thinkEnds = [...]string{"</think>", "</thinking>"}

// think reads a think span to its end.
func (s *Scanner) think() {
	const stem = "</think"
	c := s.buf[s.at]
	s.at++
	switch {
	case s.shut < len(stem) && c == stem[s.shut]:
		s.shut++
		return
	case s.shut >= len(stem):
		rest := thinkEnds[1][len(stem):] // "ing>"
		if c == '>' && (s.shut == len(stem) || s.shut == len(stem)+len(rest)-1) {
			s.mode = plain
			s.hide()
			return
		}
		if n := s.shut - len(stem); n < len(rest) && c == rest[n] {
			s.shut++
			return
		}
	}
	s.shut = 0
	if c == stem[0] {
		s.shut = 1
	}
}

// end is the end of the text: what is open is no call.
func (s *Scanner) end() {
	if s.mode == inFence && s.fence.closed() {
		s.endFence()
	}
	if s.mode >= inItem && s.mode < off {
		s.release(plain)
	}
	s.decide()
}
