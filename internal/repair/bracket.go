package repair

// verdict is what a tracker says of the bytes that it has seen.
type verdict uint8

const (
	more    verdict = iota // this may become a call
	done                   // with this byte it is complete
	refuted                // with this byte it is none
)

// callKeys are the keys that an object of a call may have on its first level.
// Another key refutes it at once, so that a long document flows.
var callKeys = map[string]bool{
	"name": true, "tool": true, "tool_name": true,
	"arguments": true, "parameters": true, "input": true, "args": true,
	"function": true, "function_call": true, "tool_calls": true,
	"id": true, "call_id": true, "tool_call_id": true, "type": true, "index": true, "role": true, "content": true,
}

// longestKey is the length of the longest of them.
const longestKey = len("tool_call_id")

// brackets follows JSON, as models write it, to its end, byte by byte. It does
// not judge what lies within but for the first level's keys, where asked.
type brackets struct {
	stack []byte // the closers awaited, innermost last
	quote byte   // of the open string; 0 outside of one
	esc   bool   // the byte before was a backslash
	calls bool   // the keys of the first level must be those of a call
	// level is the depth at which those keys stand: below a list and a doubled
	// brace it is not 1. lead is true until the first key.
	lead  bool
	level int
	want  bool   // a key is next
	key   []byte // the key that is being read; nil if none is
}

// reset begins anew. calls: the keys are judged, and the text must begin as a
// call does.
func (b *brackets) reset(calls bool) {
	*b = brackets{stack: b.stack[:0], key: b.key[:0], calls: calls, lead: calls}
}

// closer returns what closes an opening bracket, or 0.
func closer(c byte) byte {
	switch c {
	case '{':
		return '}'
	case '[':
		return ']'
	case '(':
		return ')'
	}
	return 0
}

func (b *brackets) step(c byte) verdict {
	if b.quote != 0 {
		return b.within(c)
	}
	if b.lead {
		return b.leading(c)
	}
	if len(b.key) > 0 && !isWord(c) { // a bare key ends
		if !callKeys[string(b.key)] {
			return refuted
		}
		b.key = b.key[:0]
		b.want = false
	}
	switch {
	case isSpace(c):
	case c == '"' || c == '\'':
		b.quote = c
	case b.want && c != '}':
		if !isWord(c) || len(b.key) > longestKey {
			return refuted
		}
		b.key = append(b.key, c)
	case c == '{' || c == '[' || c == '(':
		if len(b.stack) == maxDepth {
			return refuted
		}
		b.stack = append(b.stack, closer(c))
		b.want = c == '{' && b.calls && len(b.stack) == b.level
	case c == '}' || c == ']' || c == ')':
		if b.stack[len(b.stack)-1] != c {
			return refuted
		}
		b.want = false
		if b.stack = b.stack[:len(b.stack)-1]; len(b.stack) == 0 {
			return done
		}
	case c == ',':
		b.want = b.calls && len(b.stack) == b.level
	case c == '`' || c == '<' || c == ';' || c < ' ':
		return refuted // outside of a string no value has these
	}
	return more
}

// leading reads the brackets before the first key.
func (b *brackets) leading(c byte) verdict {
	switch n := len(b.stack); {
	case isSpace(c) && n > 0:
		return more
	case c == '[' && n == 0:
	case c == '{' && (n == 0 || n == 1 || n == 2 && b.stack[0] == ']'):
	default:
		if n == 0 || b.stack[n-1] != '}' {
			return refuted
		}
		b.lead, b.level, b.want = false, n, true
		return b.step(c)
	}
	b.stack = append(b.stack, closer(c))
	return more
}

// within reads a byte of a string.
func (b *brackets) within(c byte) verdict {
	switch {
	case b.esc:
		b.esc = false
	case c == '\\':
		b.esc = true
	case c == b.quote:
		if b.want {
			if !callKeys[string(b.key)] {
				return refuted
			}
			b.want, b.key = false, b.key[:0]
		}
		b.quote = 0
		return more
	}
	if b.want {
		if len(b.key) > longestKey {
			return refuted
		}
		b.key = append(b.key, c)
	}
	return more
}
