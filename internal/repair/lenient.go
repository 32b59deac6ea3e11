package repair

import (
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dreyhq/drey/internal/wire/scan"
)

// nodeKind says what a node is. Containers come last.
type nodeKind uint8

const (
	wordNode nodeKind = iota // true, false, null
	numberNode
	stringNode
	listNode
	objectNode
)

// node is a value of JSON as models write it.
type node struct {
	kind nodeKind
	text string // the string's value; the word or number as JSON writes it
	keys []string
	kids []node
	raw  []byte // as it was written; nil if it was made
}

// get returns the value of a key of an object, or nil.
func (n *node) get(key string) *node {
	if at := slices.Index(n.keys, key); at >= 0 {
		return &n.kids[at]
	}
	return nil
}

// json returns the value as JSON: as it was written if that is JSON already.
func (n *node) json() []byte {
	if n.raw != nil && json.Valid(n.raw) {
		return slices.Clone(n.raw)
	}
	return n.append(nil)
}

func (n *node) append(dst []byte) []byte {
	switch n.kind {
	case stringNode:
		return scan.AppendString(dst, n.text)
	case listNode:
		dst = append(dst, '[')
		for i := range n.kids {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = n.kids[i].append(dst)
		}
		return append(dst, ']')
	case objectNode:
		dst = append(dst, '{')
		for i := range n.kids {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(scan.AppendString(dst, n.keys[i]), ':')
			dst = n.kids[i].append(dst)
		}
		return append(dst, '}')
	}
	return append(dst, n.text...)
}

// parser reads JSON and what weak models take for it: single quotes, trailing
// commas, bare keys, doubled braces, raw newlines in strings, Python's True,
// False and None. One pass, no going back. A key that stands twice in an object
// makes it unreadable: nobody knows which one was meant.
type parser struct {
	b     []byte
	i     int
	depth int
}

// parse reads one value that is all of b but for space.
func parse(b []byte) (node, bool) {
	p := parser{b: b}
	n, ok := p.value()
	p.space()
	return n, ok && p.i == len(b)
}

// peek returns the next byte, or 0 at the end.
func (p *parser) peek() byte {
	if p.i < len(p.b) {
		return p.b[p.i]
	}
	return 0
}

// take consumes c if it is next.
func (p *parser) take(c byte) bool {
	if p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *parser) space() {
	for p.i < len(p.b) && isSpace(p.b[p.i]) {
		p.i++
	}
}

func (p *parser) value() (n node, ok bool) {
	p.space()
	from := p.i
	switch c := p.peek(); {
	case c == '{':
		n, ok = p.object()
	case c == '[':
		n, ok = p.list()
	case c == '"' || c == '\'':
		n.kind = stringNode
		n.text, ok = p.str()
	case c == '-' || isDigit(c):
		n, ok = p.number()
	default:
		n, ok = p.word()
	}
	n.raw = p.b[from:p.i]
	return n, ok
}

func (p *parser) enter() bool { p.depth++; return p.depth <= maxDepth }

func (p *parser) object() (n node, ok bool) {
	n.kind = objectNode
	p.i++
	doubled := p.take('{')
	if !p.enter() {
		return n, false
	}
	defer func() { p.depth-- }()
	seen := map[string]bool{}
	for p.space(); ; p.space() {
		if p.take('}') {
			return n, !doubled || p.take('}')
		}
		if len(n.keys) > 0 && !p.take(',') {
			return n, false
		}
		p.space()
		if len(n.keys) > 0 && p.peek() == '}' {
			continue // the comma before was one too many
		}
		key, ok := p.key()
		if p.space(); !ok || seen[key] || !p.take(':') {
			return n, false
		}
		seen[key] = true
		kid, ok := p.value()
		if !ok {
			return n, false
		}
		n.keys, n.kids = append(n.keys, key), append(n.kids, kid)
	}
}

func (p *parser) list() (n node, ok bool) {
	n.kind = listNode
	p.i++
	if !p.enter() {
		return n, false
	}
	defer func() { p.depth-- }()
	for p.space(); ; p.space() {
		if p.take(']') {
			return n, true
		}
		if len(n.kids) > 0 && !p.take(',') {
			return n, false
		}
		p.space()
		if len(n.kids) > 0 && p.peek() == ']' {
			continue
		}
		kid, ok := p.value()
		if !ok {
			return n, false
		}
		n.kids = append(n.kids, kid)
	}
}

func (p *parser) key() (string, bool) {
	if c := p.peek(); c == '"' || c == '\'' {
		return p.str()
	}
	return p.ident()
}

// ident reads a bare name.
func (p *parser) ident() (string, bool) {
	from := p.i
	for p.i < len(p.b) && isWord(p.b[p.i]) {
		p.i++
	}
	return string(p.b[from:p.i]), p.i > from && !isDigit(p.b[from])
}

func (p *parser) word() (n node, ok bool) {
	word, _ := p.ident()
	switch word {
	case "true", "True":
		n.text = "true"
	case "false", "False":
		n.text = "false"
	case "null", "None":
		n.text = "null"
	default:
		return n, false
	}
	return n, true
}

func (p *parser) number() (n node, ok bool) {
	from := p.i
	for p.i < len(p.b) && (isDigit(p.b[p.i]) || p.b[p.i] == '-' || p.b[p.i] == '+' || p.b[p.i] == '.' || p.b[p.i]|0x20 == 'e') {
		p.i++
	}
	text := p.b[from:p.i]
	return node{kind: numberNode, text: string(text)}, json.Valid(text)
}

// str reads a string in quotes of either kind.
func (p *parser) str() (string, bool) {
	quote := p.b[p.i]
	p.i++
	var out []byte
	from := p.i
	for p.i < len(p.b) {
		switch c := p.b[p.i]; c {
		case quote:
			if out == nil {
				out = p.b[from:p.i]
			} else {
				out = append(out, p.b[from:p.i]...)
			}
			p.i++
			return string(out), true
		case '\\':
			out = append(out, p.b[from:p.i]...)
			p.i++
			if p.i == len(p.b) {
				return "", false
			}
			out = p.escape(out)
			from = p.i
		default:
			p.i++
		}
	}
	return "", false
}

// escape reads what follows a backslash. An escape that JSON does not know
// keeps its backslash: it is nearly always a pattern or a path.
func (p *parser) escape(out []byte) []byte {
	c := p.b[p.i]
	p.i++
	switch c {
	case '"', '\'', '\\', '/':
		return append(out, c)
	case 'n':
		return append(out, '\n')
	case 't':
		return append(out, '\t')
	case 'r':
		return append(out, '\r')
	case 'b':
		return append(out, '\b')
	case 'f':
		return append(out, '\f')
	case 'u':
		if r, ok := p.hex4(p.i); ok {
			p.i += 4
			if utf16.IsSurrogate(r) && p.i+1 < len(p.b) && p.b[p.i] == '\\' && p.b[p.i+1] == 'u' {
				if low, ok := p.hex4(p.i + 2); ok {
					if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
						r = both
						p.i += 6
					}
				}
			}
			return utf8.AppendRune(out, r)
		}
	}
	return append(out, '\\', c)
}

func (p *parser) hex4(at int) (rune, bool) {
	if at+4 > len(p.b) {
		return 0, false
	}
	v, err := strconv.ParseUint(string(p.b[at:at+4]), 16, 32)
	return rune(v), err == nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
func isDigit(c byte) bool { return c-'0' < 10 }
func isWord(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || isDigit(c) || c == '_' || c == '-' || c == '$'
}
