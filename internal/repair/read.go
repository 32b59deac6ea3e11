package repair

import (
	"bytes"
	"html"
	"slices"
	"strings"
)

// read reads a complete item and returns its calls, or nil if it is none: if
// it cannot be read, if one of its names is unknown or if its arguments do not
// fit. All or none.
func (t *Tools) read(kind itemKind, text []byte) []Call {
	switch kind {
	case jsonItem:
		n, ok := parse(text)
		if !ok {
			return nil
		}
		return t.object(nil, &n, JSON)
	case tagItem:
		// The item ended with the closing tag; one that stands in a string
		// before it is none.
		e, _, ok := readElement(text, true)
		if !ok {
			return nil
		}
		return t.within(nil, &e)
	}
	return t.syntax(text)
}

// call appends one call, or returns nil if there is no such tool or the
// arguments do not fit.
func (t *Tools) call(dst []Call, name string, args *node, shape Shape) []Call {
	d := t.find(name)
	if d == nil || args == nil {
		return nil
	}
	if args.kind == stringNode || args.kind == wordNode && args.text == "null" {
		// Arguments in a string, as the chat wire has them.
		inner := node{kind: objectNode}
		if text := strings.TrimSpace(args.text); args.kind == stringNode && text != "" {
			var ok bool
			if inner, ok = parse([]byte(text)); !ok {
				return nil
			}
		}
		args = &inner
	}
	if args.kind != objectNode || !d.fits(args) {
		return nil
	}
	return append(dst, Call{Name: d.name, Arguments: args.json(), Shape: shape})
}

// object appends the calls of a JSON value: an object that is one, a list of
// them, or one of OpenAI's envelopes around them.
func (t *Tools) object(dst []Call, n *node, shape Shape) []Call {
	if n.kind == listNode {
		for i := range n.kids {
			if dst = t.object(dst, &n.kids[i], shape); n.kids[i].kind != objectNode || dst == nil {
				return nil
			}
		}
		return dst
	}
	var name, args, function, envelope, list *node
	chat := false // role or content: only a message has them
	for i, key := range n.keys {
		v := &n.kids[i]
		var slot **node
		switch key {
		case "name", "tool", "tool_name":
			slot = &name
		case "arguments", "parameters", "input", "args":
			slot = &args
		case "function":
			slot = &function
		case "function_call":
			slot = &envelope
		case "tool_calls":
			slot = &list
		case "type":
			switch v.text {
			case "function", "function_call", "tool_use", "tool_call":
			default:
				return nil
			}
			continue
		case "role", "content":
			chat = true
			if key == "role" && v.text != "assistant" || key == "content" && v.kind != wordNode && v.text != "" {
				return nil
			}
			continue
		case "id", "call_id", "tool_call_id", "index":
			continue
		default:
			return nil
		}
		if *slot != nil { // two aliases of one thing: nobody knows which is meant
			return nil
		}
		*slot = v
	}
	flat := name != nil && args != nil
	half := name != nil || args != nil
	switch {
	case list != nil && !half && function == nil && envelope == nil && list.kind == listNode:
		return t.object(dst, list, shape)
	case envelope != nil && !half && function == nil && list == nil && envelope.kind == objectNode:
		return t.object(dst, envelope, shape)
	case chat || list != nil || envelope != nil:
		return nil
	case function != nil && !half && function.kind == objectNode:
		return t.object(dst, function, shape)
	case flat && function == nil && name.kind == stringNode:
		return t.call(dst, name.text, args, shape)
	}
	return nil
}

// element appends the calls of the tag that text begins with, and returns what
// follows it.
func (t *Tools) element(dst []Call, text []byte) (calls []Call, rest []byte) {
	e, rest, ok := readElement(text, false)
	if !ok {
		return nil, nil
	}
	return t.within(dst, &e), rest
}

func (t *Tools) within(dst []Call, e *element) []Call {
	name, attrs := e.name, e.attrs
	switch {
	case e.equal != "":
		name = e.equal
	case slices.Contains(wrappers, e.name):
		at := attrs.index("name")
		if at < 0 {
			if len(attrs) > 0 || e.empty {
				return nil
			}
			return t.wrapped(dst, e.body)
		}
		name = attrs[at].value
		attrs = append(append(attributes{}, attrs[:at]...), attrs[at+1:]...)
		if len(attrs) == 1 && e.blank() && (attrs[0].name == "arguments" || attrs[0].name == "parameters") {
			n, ok := parse([]byte(attrs[0].value))
			if !ok {
				return nil
			}
			return t.call(dst, name, &n, Tag)
		}
	}
	body := bytes.TrimSpace(e.body)
	d := t.find(name)
	switch {
	case d == nil:
		return nil
	case len(body) == 0:
		return t.call(dst, name, d.object(attrs), Tag)
	case len(attrs) > 0:
		return nil // arguments in two places
	case body[0] == '{':
		n, ok := parse(body)
		if !ok {
			return nil
		}
		return t.call(dst, name, &n, Tag)
	}
	params, ok := readParameters(body)
	if !ok {
		return nil
	}
	return t.call(dst, name, d.object(params), Tag)
}

// wrapped appends the calls within a tag that names none itself: JSON, or tags.
func (t *Tools) wrapped(dst []Call, body []byte) []Call {
	for body = bytes.TrimSpace(body); ; body = bytes.TrimSpace(body) {
		switch {
		case len(body) == 0:
			return dst
		case body[0] == '<':
			if dst, body = t.element(dst, body); dst == nil {
				return nil
			}
		default:
			p := parser{b: body}
			n, ok := p.value()
			if !ok || n.kind < listNode {
				return nil
			}
			if dst = t.object(dst, &n, Tag); dst == nil {
				return nil
			}
			body = body[p.i:]
		}
	}
}

// object makes arguments of what tags say as text.
func (d *tool) object(attrs attributes) *node {
	n := node{kind: objectNode}
	for _, a := range attrs {
		if n.get(a.name) != nil {
			return nil
		}
		n.keys, n.kids = append(n.keys, a.name), append(n.kids, d.value(a.name, a.value))
	}
	return &n
}

// syntax reads NAME(key=value, …) and NAME({…}), also as a model prints it for
// an interpreter: print(default_api.NAME(…)).
func (t *Tools) syntax(text []byte) []Call {
	low := bytes.ToLower(text)
	if bytes.HasPrefix(low, []byte("print(")) && text[len(text)-1] == ')' {
		text = bytes.TrimSpace(text[len("print(") : len(text)-1])
		low = bytes.ToLower(text)
	}
	if bytes.HasPrefix(low, []byte(apiPrefix)) {
		text = text[len(apiPrefix):]
	}
	name, inner, ok := bytes.Cut(text, []byte("("))
	if !ok || !bytes.HasSuffix(inner, []byte(")")) {
		return nil
	}
	inner = inner[:len(inner)-1]
	p := parser{b: inner}
	p.space()
	if p.peek() == '{' {
		n, ok := parse(inner)
		if !ok {
			return nil
		}
		return t.call(nil, string(name), &n, Syntax)
	}
	args := node{kind: objectNode}
	for ; p.i < len(inner); p.space() {
		key, ok := p.ident()
		if p.space(); !ok || len(args.keys) == maxNamed || args.get(key) != nil || !p.take('=') {
			return nil
		}
		v, ok := p.value()
		if !ok {
			return nil
		}
		args.keys, args.kids = append(args.keys, key), append(args.kids, v)
		if p.space(); p.i < len(inner) && !p.take(',') {
			return nil
		}
	}
	return t.call(nil, string(name), &args, Syntax)
}

// attribute is one argument that a tag gives as text.
type attribute struct{ name, value string }

type attributes []attribute

func (a attributes) index(name string) int {
	for i := range a {
		if a[i].name == name {
			return i
		}
	}
	return -1
}

// element is a tag with what it holds.
type element struct {
	name, equal string // <name=equal …>
	attrs       attributes
	body        []byte
	empty       bool // <name/>
}

// blank reports whether the tag holds nothing.
func (e *element) blank() bool { return len(bytes.TrimSpace(e.body)) == 0 }

// maxNamed is how many arguments a tag or a line of syntax may have. No honest
// call has nearly as many, and they are compared with each other.
const maxNamed = 64

// readElement reads the tag that text begins with, up to the first closing tag
// of its name, or, for all of a text, up to the last.
func readElement(text []byte, all bool) (e element, rest []byte, ok bool) {
	p := parser{b: text}
	if !p.take('<') {
		return e, nil, false
	}
	e.name = p.tagName()
	if p.take('=') {
		p.take('"')
		e.equal = p.tagName()
		p.take('"')
	}
	for {
		p.space()
		switch {
		case p.take('/'):
			e.empty = true
			return e, p.b[min(p.i+1, len(p.b)):], p.take('>')
		case p.take('>'):
			shut := "</" + e.name + ">"
			find := bytes.Index
			if all {
				find = bytes.LastIndex
			}
			at := find(p.b[p.i:], []byte(shut))
			if at < 0 || e.name == "" {
				return e, nil, false
			}
			e.body = p.b[p.i : p.i+at]
			return e, p.b[p.i+at+len(shut):], true
		}
		name := p.tagName()
		p.space()
		if name == "" || !p.take('=') || len(e.attrs) == maxNamed || e.attrs.index(name) >= 0 {
			return e, nil, false
		}
		p.space()
		value, ok := p.quoted()
		if !ok {
			return e, nil, false
		}
		e.attrs = append(e.attrs, attribute{name, value})
	}
}

// readParameters reads <parameter=NAME>VALUE</parameter> and
// <parameter name="NAME">VALUE</parameter>, any number of them. One line break
// at each end of a value is layout.
func readParameters(body []byte) (params attributes, ok bool) {
	for body = bytes.TrimSpace(body); len(body) > 0; body = bytes.TrimSpace(body) {
		e, rest, ok := readElement(body, false)
		if !ok || e.name != "parameter" || e.empty {
			return nil, false
		}
		name := e.equal
		if name == "" && len(e.attrs) == 1 && e.attrs[0].name == "name" {
			name = e.attrs[0].value
		}
		if name == "" || len(params) == maxNamed {
			return nil, false
		}
		value := strings.TrimPrefix(strings.TrimPrefix(string(e.body), "\r"), "\n")
		value = strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
		params = append(params, attribute{name, value})
		body = rest
	}
	return params, true
}

func (p *parser) tagName() string {
	from := p.i
	for p.i < len(p.b) && isTagName(p.b[p.i]) {
		p.i++
	}
	return string(p.b[from:p.i])
}

// quoted reads an attribute's value.
func (p *parser) quoted() (string, bool) {
	quote := p.peek()
	if quote != '"' && quote != '\'' {
		return "", false
	}
	p.i++
	at := bytes.IndexByte(p.b[p.i:], quote)
	if at < 0 {
		return "", false
	}
	value := p.b[p.i : p.i+at]
	p.i += at + 1
	return html.UnescapeString(string(value)), true
}
