// Package scan reads JSON in one pass, forward and in place: the codecs' way
// into a body. It validates what it passes over, like encoding/json does, and
// hands out slices of the body instead of values, so that a long prompt is
// neither copied nor built into a tree.
//
//	for key := range s.Fields() {
//		switch string(key) {
//		case "model":
//			model, ok = s.Text()
//		}
//	}
//	err := s.End()
//
// A value that the loop's body does not take is skipped, so every loop leaves
// the scanner behind the whole object, also after a break. After an error all
// methods return zero values and End tells the error: the loops need no checks.
package scan

import (
	"fmt"
	"iter"
)

// MaxDepth is how deep a text may nest.
const MaxDepth = 512

// Kind says what a value is.
type Kind uint8

// The kinds. None is the end of the text or a character that begins no value.
const (
	None Kind = iota
	Null
	Bool
	Number
	String
	Array
	Object
)

var kindNames = [...]string{"nothing", "null", "a boolean", "a number", "a string", "a list", "an object"}

// String returns the kind's name with its article, to be used in messages.
func (k Kind) String() string { return kindNames[k] }

// Error says where and why a text is no JSON that we take.
type Error struct {
	Offset int
	Msg    string
	Deep   bool // it nests deeper than MaxDepth; otherwise its syntax is wrong
}

// Error returns the message with its offset.
func (e *Error) Error() string { return fmt.Sprintf("%s at byte %d", e.Msg, e.Offset) }

// A Scanner reads one JSON text. The zero value is at the end of an empty one.
// It is a value with no resources behind it: a copy is a bookmark. It belongs
// to one goroutine.
type Scanner struct {
	b     []byte
	i     int
	depth int
	err   error
}

// New returns a Scanner of a text, which it keeps and does not change.
func New(text []byte) Scanner { return Scanner{b: text} }

// Err returns the first error, if there was one.
func (s *Scanner) Err() error { return s.err }

// End returns the first error, which may be that something follows the value.
func (s *Scanner) End() error {
	if s.err == nil {
		if s.space(); s.i < len(s.b) {
			s.fail("unexpected text after the value")
		}
	}
	return s.err
}

// Offset returns where the next value begins, once Kind was asked, or where the
// last one ended.
func (s *Scanner) Offset() int { return s.i }

// Since returns the text from an earlier Offset up to this one, as it was
// written. It points into the text.
func (s *Scanner) Since(offset int) []byte { return s.b[offset:s.i] }

// Kind says what the next value is, without taking it.
func (s *Scanner) Kind() Kind {
	s.space()
	if s.err != nil || s.i >= len(s.b) {
		return None
	}
	switch c := s.b[s.i]; c {
	case '{':
		return Object
	case '[':
		return Array
	case '"':
		return String
	case 't', 'f':
		return Bool
	case 'n':
		return Null
	default:
		if c == '-' || c-'0' < 10 {
			return Number
		}
		return None
	}
}

// Fields takes an object and yields its keys in order, unescaped; the key is
// valid until the next one. The body may take the value. Another kind of value
// is left where it is and yields nothing.
func (s *Scanner) Fields() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if s.Kind() != Object || !s.enter() {
			return
		}
		more := true
		for n := 0; s.next('}', n); n++ {
			if s.i >= len(s.b) || s.b[s.i] != '"' {
				s.fail("expected a key in quotes")
				return
			}
			raw, escaped := s.str(nil)
			if s.space(); s.err != nil {
				return
			}
			if s.i >= len(s.b) || s.b[s.i] != ':' {
				s.fail("expected a colon after the key")
				return
			}
			s.i++
			s.space()
			at := s.i
			if more {
				key := raw[1 : len(raw)-1]
				if escaped {
					key = Unquote(raw)
				}
				more = yield(key)
			}
			if s.i == at {
				s.Skip()
			}
		}
	}
}

// Items takes a list and yields the index of each value, which the body may
// take. Another kind of value is left where it is and yields nothing.
func (s *Scanner) Items() iter.Seq[int] {
	return func(yield func(int) bool) {
		if s.Kind() != Array || !s.enter() {
			return
		}
		more := true
		for n := 0; s.next(']', n); n++ {
			at := s.i
			if more {
				more = yield(n)
			}
			if s.i == at {
				s.Skip()
			}
		}
	}
}

// Raw takes the next value and returns its bytes, without the space around it.
func (s *Scanner) Raw() []byte {
	s.space()
	from := s.i
	s.value(nil)
	if s.err != nil {
		return nil
	}
	return s.b[from:s.i:s.i]
}

// Span takes the next value and returns where it begins and ends.
func (s *Scanner) Span() (from, to int) {
	s.space()
	from = s.i
	s.value(nil)
	return from, s.i
}

// Skip takes the next value.
func (s *Scanner) Skip() { s.value(nil) }

// Quoted takes a string and returns it with its quotes and escapes; nil if the
// next value is none, which is then left where it is.
func (s *Scanner) Quoted() []byte {
	if s.Kind() != String {
		return nil
	}
	raw, _ := s.str(nil)
	return raw
}

// Text takes a string and returns what it says. ok is false if the next value
// is none, which is then left where it is.
func (s *Scanner) Text() (text string, ok bool) {
	if s.Kind() != String {
		return "", false
	}
	raw, escaped := s.str(nil)
	switch {
	case raw == nil:
		return "", false
	case escaped:
		return string(Unquote(raw)), true
	default:
		return string(raw[1 : len(raw)-1]), true
	}
}

// Word takes a string and returns what it says, in the body's memory unless it
// has escapes: for words that are compared and forgotten. It returns nil if the
// next value is no string, which is then left where it is.
func (s *Scanner) Word() []byte {
	if s.Kind() != String {
		return nil
	}
	raw, escaped := s.str(nil)
	switch {
	case raw == nil:
		return nil
	case escaped:
		return Unquote(raw)
	default:
		return raw[1 : len(raw)-1]
	}
}

// Bool takes a boolean. ok is false if the next value is none, which is then
// left where it is.
func (s *Scanner) Bool() (v, ok bool) {
	if s.Kind() != Bool {
		return false, false
	}
	v = s.b[s.i] == 't'
	s.value(nil)
	return v, s.err == nil
}

// Null takes a null and reports whether there was one.
func (s *Scanner) Null() bool {
	if s.Kind() != Null {
		return false
	}
	s.value(nil)
	return s.err == nil
}

// Int takes a number that is a whole one, also if it is spelled 1e3 or 16.0. ok
// is false for another number, which is taken, and for another kind of value,
// which is left where it is. A number beyond an int is cut to the nearest.
func (s *Scanner) Int() (n int, ok bool) {
	if s.Kind() != Number {
		return 0, false
	}
	from := s.i
	s.value(nil)
	if s.err != nil {
		return 0, false
	}
	return whole(s.b[from:s.i])
}

// CountText takes a string, adds its characters to c and reports whether there
// was one.
func (s *Scanner) CountText(c *Count) bool {
	if s.Kind() != String {
		return false
	}
	s.str(c)
	return s.err == nil
}

// CountValue takes the next value of any kind and adds the characters of its
// JSON to c: keys, strings as what they say, numbers, quotes and punctuation,
// without the insignificant space.
func (s *Scanner) CountValue(c *Count) { s.value(c) }

// enter takes the bracket of an object or list.
func (s *Scanner) enter() bool {
	if s.depth == MaxDepth {
		s.err = &Error{s.i, fmt.Sprintf("nested deeper than %d", MaxDepth), true}
		return false
	}
	s.depth++
	s.i++
	return true
}

// next goes to the n-th member of an object or list, over the comma before it,
// or takes the end bracket and returns false.
func (s *Scanner) next(end byte, n int) bool {
	s.space()
	switch {
	case s.err != nil:
		return false
	case s.i >= len(s.b):
		s.fail("unexpected end")
		return false
	case s.b[s.i] == end:
		s.i++
		s.depth--
		return false
	case n == 0:
		return true
	case s.b[s.i] != ',':
		s.fail("expected a comma or " + string(end))
		return false
	}
	s.i++
	if s.space(); s.i < len(s.b) && s.b[s.i] == end {
		s.fail("a comma with nothing after it")
		return false
	}
	return true
}

func (s *Scanner) fail(msg string) {
	if s.err == nil {
		if s.i >= len(s.b) {
			msg = "unexpected end"
		}
		s.err = &Error{Offset: s.i, Msg: msg}
	}
}
