package wire

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strconv"

	"github.com/dreyhq/drey/internal/wire/scan"
)

// BadJSON turns an error of the scanner into one for the caller.
func BadJSON(err error) *BodyError {
	e, ok := errors.AsType[*scan.Error](err)
	switch {
	case !ok:
		return &BodyError{Msg: err.Error()}
	case e.Deep:
		return &BodyError{Msg: "the body is nested deeper than " + strconv.Itoa(scan.MaxDepth) + "; flatten it"}
	default:
		return &BodyError{Msg: "the body is no JSON: " + e.Error() + "; send one JSON object"}
	}
}

// IsObject returns a *BodyError unless an object comes next.
func IsObject(s *scan.Scanner) error {
	switch k := s.Kind(); k {
	case scan.Object:
		return nil
	case scan.None:
		s.Skip()
		return BadJSON(s.Err())
	default:
		return &BodyError{Msg: "the body is " + k.String() + "; send one JSON object"}
	}
}

// Member is one member of an edited object, by its place in the body.
type Member struct {
	Key   []byte // unescaped
	Value []byte // its bytes in the body
	At    int    // where Value begins in the body

	keyFrom, keyTo int
	gone           bool
}

// An Editor lays edits beside a JSON object without copying it. What is not
// edited stays byte for byte: key order, number spellings, null, duplicate
// keys, space. It belongs to one goroutine and makes one Body.
type Editor struct {
	body    []byte
	members []Member
	open    int // behind the opening brace
	added   []byte
	splices []splice
}

// splice replaces the bytes from to to of the body.
type splice struct {
	from, to int
	with     []byte
}

// Edit returns an Editor of the object in body. An error is a *BodyError.
func Edit(body []byte) (*Editor, error) {
	e := &Editor{body: body, members: make([]Member, 0, 16)}
	s := scan.New(body)
	if err := IsObject(&s); err != nil {
		return nil, err
	}
	e.open = s.Offset() + 1
	for key := range s.Fields() {
		from, to := s.Span()
		e.members = append(e.members, Member{Key: key, Value: body[from:to:to], At: from})
	}
	if err := s.End(); err != nil {
		return nil, BadJSON(err)
	}
	e.locateKeys()
	return e, nil
}

// locateKeys finds where each key stands with its quotes. It may be longer there
// than what it says, but around it are only space, a comma and a colon.
func (e *Editor) locateKeys() {
	at := e.open
	for i := range e.members {
		m := &e.members[i]
		m.keyFrom = at + bytes.IndexByte(e.body[at:], '"')
		m.keyTo = m.At - 1
		for e.body[m.keyTo-1] != '"' {
			m.keyTo--
		}
		at = m.At + len(m.Value)
	}
}

// Find returns the last member of that key, which is the one that counts, or
// nil. It is valid until Remove.
func (e *Editor) Find(key string) *Member {
	for i := len(e.members) - 1; i >= 0; i-- {
		if m := &e.members[i]; !m.gone && string(m.Key) == key {
			return m
		}
	}
	return nil
}

// Set gives a field a value, in its place or at the end. value is JSON.
func (e *Editor) Set(key string, value []byte) {
	found := false
	for i := range e.members {
		if m := &e.members[i]; !m.gone && string(m.Key) == key {
			e.Replace(m.At, m.At+len(m.Value), value)
			found = true
		}
	}
	if !found {
		e.add(key, value)
	}
}

// Default adds a field where the body has none.
func (e *Editor) Default(key string, value []byte) {
	if e.Find(key) == nil {
		e.add(key, value)
	}
}

// Remove takes a field out, with its comma.
func (e *Editor) Remove(key string) {
	for i := range e.members {
		if m := &e.members[i]; string(m.Key) == key {
			m.gone = true
		}
	}
}

// Rename gives a field another key. The field stays in its place; where the
// body has the other key already, it is removed instead, since the other one is
// what the caller asked for in the provider's own words.
func (e *Editor) Rename(key, to string) {
	if key == to || e.Find(key) == nil {
		return
	}
	if e.Find(to) != nil {
		e.Remove(key)
		return
	}
	for i := range e.members {
		if m := &e.members[i]; !m.gone && string(m.Key) == key {
			e.Replace(m.keyFrom, m.keyTo, scan.AppendString(nil, to))
		}
	}
}

// Replace replaces a range of the body within one value. Ranges do not overlap,
// and lie in no field that is also Set or Removed.
func (e *Editor) Replace(from, to int, with []byte) {
	e.splices = append(e.splices, splice{from, to, with})
}

// CutItem takes the i-th item out of a list, with one comma. spans are the
// places of all its items in the body; one item is cut from a list at most.
func (e *Editor) CutItem(spans [][2]int, i int) {
	switch {
	case i+1 < len(spans):
		e.Replace(spans[i][0], spans[i+1][0], nil)
	case i > 0:
		e.Replace(spans[i-1][1], spans[i][1], nil)
	default:
		e.Replace(spans[i][0], spans[i][1], nil)
	}
}

// Common lays the edits that are the same on every wire: model, stream, the
// removal of profile and of dropped fields, and extra fields. A field that is
// both dropped and extra takes the extra's value: that is how a configuration
// overrides a caller.
func (e *Editor) Common(x Edits) {
	if x.Model != "" {
		e.Set("model", scan.AppendString(nil, x.Model))
	}
	if x.Stream != nil {
		e.Set("stream", strconv.AppendBool(nil, *x.Stream))
	}
	e.Remove("profile")
	for _, key := range x.Drop {
		e.Remove(key)
	}
	for _, f := range x.Extra {
		e.Default(f.Key, f.Value)
	}
}

// Body returns the edited body. It shares the memory of the original one.
func (e *Editor) Body() *Body {
	last := -1 // the last member that stays
	for i := range e.members {
		m := &e.members[i]
		switch {
		case !m.gone:
			last = i
		case last >= 0:
			before := &e.members[i-1]
			e.drop(before.At+len(before.Value), m.At+len(m.Value))
		case i+1 < len(e.members):
			e.drop(m.keyFrom, e.members[i+1].keyFrom)
		default:
			e.drop(m.keyFrom, m.At+len(m.Value))
		}
	}
	if len(e.added) > 0 {
		at, with := e.open, e.added[1:]
		if last >= 0 {
			at, with = e.members[last].At+len(e.members[last].Value), e.added
		}
		e.splices = append(e.splices, splice{at, at, with})
	}
	if len(e.splices) == 0 {
		return NewBody(e.body)
	}
	// At one place a replacement goes before what is added behind it, and that
	// before a cut that begins there.
	slices.SortStableFunc(e.splices, func(a, b splice) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	parts := make([][]byte, 0, 2*len(e.splices)+1)
	at := 0
	put := func(p []byte) {
		if len(p) > 0 {
			parts = append(parts, p)
		}
	}
	for _, s := range e.splices {
		put(e.body[at:s.from:s.from])
		put(s.with)
		at = s.to
	}
	put(e.body[at:])
	return NewBody(parts...)
}

// drop cuts a range and forgets the edits within it.
func (e *Editor) drop(from, to int) {
	e.splices = slices.DeleteFunc(e.splices, func(s splice) bool { return s.from >= from && s.to <= to })
	e.splices = append(e.splices, splice{from: from, to: to})
}

// add appends a member behind the last one, with the comma before it.
func (e *Editor) add(key string, value []byte) {
	e.added = append(scan.AppendString(append(e.added, ','), key), ':')
	e.added = append(e.added, value...)
}

// FirstItem returns the bytes of the first value of a list, nil if there is
// none. The rest of the list is not read.
func FirstItem(list []byte) []byte {
	s := scan.New(list)
	if s.Kind() != scan.Array {
		return nil
	}
	s = scan.New(list[s.Offset()+1:])
	if s.Kind() == scan.None {
		return nil
	}
	return s.Raw()
}

// ChangingLine returns the length of text's first line, with its end, if that
// line is one that agents change with every request or build, like
// "x-anthropic-billing-header: cc_version=…"; else 0. Such a line voids the
// prefix cache of a local model.
func ChangingLine(text string) int {
	name := headerName(text)
	if name == 0 {
		return 0
	}
	for i := name; i < len(text); i++ {
		if text[i] == '\n' {
			return i + 1
		}
	}
	return len(text)
}

// ChangingLineQuoted is ChangingLine for a JSON string as it stands in a body:
// it returns how many bytes behind the opening quote make the line, and whether
// that is all there is.
func ChangingLineQuoted(quoted []byte) (n int, whole bool) {
	text := quoted[1 : len(quoted)-1]
	i := headerName(text)
	if i == 0 {
		return 0, false
	}
	for ; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		if text[i+1] == 'n' {
			return i + 2, i+2 == len(text)
		}
		i++
	}
	return len(text), true
}

// headerName returns the length of the header name, with its colon, that a text
// begins with; 0 if there is none. It takes only x- names of three parts or
// more in small letters, so that a prompt about an "X-ray:" stays whole.
func headerName[T string | []byte](text T) int {
	if len(text) < 2 || text[0] != 'x' || text[1] != '-' {
		return 0
	}
	dashes := 0
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '-':
			dashes++
		case c == ':' && dashes > 1:
			return i + 1
		case c-'a' < 26, c-'0' < 10:
		default:
			return 0
		}
	}
	return 0
}
