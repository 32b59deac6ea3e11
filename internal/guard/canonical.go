package guard

import (
	"bytes"
	"slices"

	"github.com/dreyhq/drey/internal/wire/scan"
)

// longestArgs is the length in bytes up to which arguments are read to be
// compared. Longer ones are compared as they are written: reading takes some
// fifty times their memory, and who repeats so much text repeats its spelling
// as well.
const longestArgs = 256 << 10

// canonical returns the arguments of a call in the form in which two of them are
// compared: JSON with sorted keys, strings by what they say, no insignificant
// space. What is no JSON stays as it is.
func (c *call) canonical() []byte {
	text := c.args
	if c.quoted {
		text = scan.Unquote(text)
	}
	if len(text) > longestArgs {
		return text
	}
	s := scan.New(text)
	n := parse(&s)
	if s.End() != nil {
		return text
	}
	return n.append(make([]byte, 0, len(text)))
}

// node is a JSON value. The members of an object are sorted by key, equal keys
// in the order in which they stood.
type node struct {
	kind scan.Kind
	key  []byte // of a member
	text []byte // of a string: what it says; of another scalar: its JSON
	kids []node
}

func parse(s *scan.Scanner) (n node) {
	switch n.kind = s.Kind(); n.kind {
	case scan.String:
		n.text = s.Word()
	case scan.Array:
		for range s.Items() {
			n.kids = append(n.kids, parse(s))
		}
	case scan.Object:
		for key := range s.Fields() {
			kid := parse(s)
			kid.key = key
			n.kids = append(n.kids, kid)
		}
		slices.SortStableFunc(n.kids, func(a, b node) int { return bytes.Compare(a.key, b.key) })
	default:
		n.text = s.Raw()
	}
	return n
}

func (n *node) append(dst []byte) []byte {
	switch n.kind {
	case scan.String:
		return scan.AppendString(dst, n.text)
	case scan.Array:
		dst = append(dst, '[')
		for i := range n.kids {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = n.kids[i].append(dst)
		}
		return append(dst, ']')
	case scan.Object:
		dst = append(dst, '{')
		first := true
		for i := range n.kids {
			kid := &n.kids[i]
			if i+1 < len(n.kids) && bytes.Equal(kid.key, n.kids[i+1].key) {
				continue // of equal keys the last one counts
			}
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = kid.append(append(scan.AppendString(dst, kid.key), ':'))
		}
		return append(dst, '}')
	default:
		return append(dst, n.text...)
	}
}
