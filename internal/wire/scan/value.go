package scan

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Count is a number of characters, as the token estimate needs them.
type Count struct {
	ASCII int
	Other int // characters beyond ASCII, each once however many bytes it has
}

// Add adds the characters of a text.
func (c *Count) Add(text string) {
	other, continued := 0, 0
	for i := range len(text) {
		switch b := text[i]; {
		case b < 0x80:
		case b < 0xc0:
			continued++
		default:
			other++
		}
	}
	c.ASCII += len(text) - other - continued
	c.Other += other
}

// ascii adds n ASCII characters if anybody counts.
func (c *Count) ascii(n int) {
	if c != nil {
		c.ASCII += n
	}
}

func (s *Scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\n', '\r', '\t':
			s.i++
		default:
			return
		}
	}
}

// value takes the next value, and counts its characters if c is not nil.
func (s *Scanner) value(c *Count) {
	switch s.Kind() {
	case Object:
		if !s.enter() {
			return
		}
		c.ascii(2)
		for n := 0; s.next('}', n); n++ {
			if s.i >= len(s.b) || s.b[s.i] != '"' {
				s.fail("expected a key in quotes")
				return
			}
			c.ascii(3 + min(n, 1)) // quotes, colon, and the comma before
			s.str(c)
			if s.space(); s.err != nil {
				return
			}
			if s.i >= len(s.b) || s.b[s.i] != ':' {
				s.fail("expected a colon after the key")
				return
			}
			s.i++
			s.value(c)
		}
	case Array:
		if !s.enter() {
			return
		}
		c.ascii(2)
		for n := 0; s.next(']', n); n++ {
			c.ascii(min(n, 1))
			s.value(c)
		}
	case String:
		c.ascii(2)
		s.str(c)
	case Bool:
		if s.b[s.i] == 't' {
			s.literal("true", c)
		} else {
			s.literal("false", c)
		}
	case Null:
		s.literal("null", c)
	case Number:
		s.number(c)
	default:
		s.fail("expected a value")
	}
}

func (s *Scanner) literal(word string, c *Count) {
	if len(s.b)-s.i < len(word) || string(s.b[s.i:s.i+len(word)]) != word {
		s.fail("expected " + word)
		return
	}
	s.i += len(word)
	c.ascii(len(word))
}

func (s *Scanner) number(c *Count) {
	from := s.i
	if s.b[s.i] == '-' {
		s.i++
	}
	if s.i < len(s.b) && s.b[s.i] == '0' {
		s.i++
	} else if !s.digits() {
		return
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		if !s.digits() {
			return
		}
	}
	if s.i < len(s.b) && s.b[s.i]|0x20 == 'e' {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		if !s.digits() {
			return
		}
	}
	c.ascii(s.i - from)
}

func (s *Scanner) digits() bool {
	from := s.i
	for s.i < len(s.b) && s.b[s.i]-'0' < 10 {
		s.i++
	}
	if s.i == from {
		s.fail("expected a digit")
		return false
	}
	return true
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plain returns how many bytes at the front of the eight of w are plain ASCII:
// no quote, backslash, control character or byte beyond ASCII.
//
// The subtractions mark the byte that they look for in its high bit. A borrow
// can also mark bytes above a marked one, never below, so the lowest mark is
// always true.
func plain(w uint64) int {
	quote := w ^ ones*'"'
	slash := w ^ ones*'\\'
	marks := (w | (w - ones*0x20) | (quote - ones) | (slash - ones)) & highs
	return bits.TrailingZeros64(marks) / 8
}

// str takes the string at the cursor, and counts its characters if c is not
// nil. It returns the string with its quotes and whether it has escapes; nil
// after an error.
func (s *Scanner) str(c *Count) (raw []byte, escaped bool) {
	from := s.i
	i, b := s.i+1, s.b
	ascii, other := 0, 0
	for {
		for i+8 <= len(b) {
			n := plain(binary.LittleEndian.Uint64(b[i:]))
			i += n
			ascii += n
			if n < 8 {
				break
			}
		}
		if i >= len(b) {
			s.i = i
			s.fail("unexpected end")
			return nil, false
		}
		switch ch := b[i]; {
		case ch == '"':
			s.i = i + 1
			if c != nil {
				c.ASCII += ascii
				c.Other += other
			}
			return b[from:s.i:s.i], escaped
		case ch == '\\':
			escaped = true
			n, beyond, continued := escape(b[i:])
			if n == 0 {
				s.i = i
				s.fail("a bad escape in a string")
				return nil, false
			}
			i += n
			switch {
			case continued:
			case beyond:
				other++
			default:
				ascii++
			}
		case ch < 0x20:
			s.i = i
			s.fail("a control character in a string")
			return nil, false
		case ch < 0x80:
			i++
			ascii++
		default:
			// Text beyond ASCII comes in runs; only the first byte of a
			// character counts.
			for i < len(b) && b[i] >= 0x80 {
				if b[i] >= 0xc0 {
					other++
				}
				i++
			}
		}
	}
}

// escape reads the escape at the front of b. n is its length, 0 if it is none.
// beyond says that it stands for a character beyond ASCII, continued that it is
// the second half of a pair, which the first half has counted.
func escape(b []byte) (n int, beyond, continued bool) {
	if len(b) < 2 {
		return 0, false, false
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, false, false
	case 'u':
		r, ok := hex4(b)
		if !ok {
			return 0, false, false
		}
		return 6, r >= 0x80, r >= 0xdc00 && r < 0xe000
	default:
		return 0, false, false
	}
}

// hex4 reads the \uXXXX at the front of b.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case c-'0' < 10:
			c -= '0'
		case (c|0x20)-'a' < 6:
			c = (c | 0x20) - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// Unquote returns what a valid JSON string with its quotes says, in fresh
// memory. Half a pair becomes U+FFFD; bytes that are no UTF-8 stay.
func Unquote(raw []byte) []byte {
	raw = raw[1 : len(raw)-1]
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			from := i
			for i < len(raw) && raw[i] != '\\' {
				i++
			}
			out = append(out, raw[from:i]...)
			continue
		}
		switch c := raw[i+1]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, _ := hex4(raw[i:])
			if utf16.IsSurrogate(r) {
				low, ok := hex4(raw[i+6:])
				if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
					i += 6
				} else {
					r = utf8.RuneError
				}
			}
			out = utf8.AppendRune(out, r)
			i += 4
		default: // quote, backslash, slash
			out = append(out, c)
		}
		i += 2
	}
	return out
}

// whole reads a number as an int.
func whole(raw []byte) (int, bool) {
	if n, err := strconv.ParseInt(string(raw), 10, strconv.IntSize); err == nil {
		return int(n), true
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	switch {
	case f >= math.MaxInt:
		return math.MaxInt, true
	case f <= math.MinInt:
		return math.MinInt, true
	case err != nil || f != math.Trunc(f):
		return 0, false
	}
	return int(f), true
}

// AppendString appends text as a JSON string, escaping what JSON asks for and
// nothing else: no HTML escapes, so that a prompt stays as long as it was. A
// byte that is no UTF-8 becomes U+FFFD.
func AppendString[T string | []byte](dst []byte, text T) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			// A conversion of four bytes at most, which does not allocate.
			r, n := utf8.DecodeRuneInString(string(text[i:min(len(text), i+utf8.UTFMax)]))
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, text[from:i]...), "\ufffd"...)
				from = i + 1
			}
			i += n
			continue
		}
		dst = append(dst, text[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(dst, text[from:]...), '"')
}
