package repair

import (
	"bytes"
	"slices"
)

// itemKind says in which of the three ways a call may be printed.
type itemKind uint8

const (
	jsonItem itemKind = iota
	tagItem
	syntaxItem
)

// item follows one text that may be a call, byte by byte, until it is complete
// or refuted. What is complete is then read in one go (read.go): the item finds
// the end, the reader decides.
type item struct {
	tools *Tools
	kind  itemKind
	at    place
	json  brackets
	word  []byte // the name that is being read; of a tag, without "<"
	named bool   // the tag says which tool is called: what is within are arguments
	quote byte   // of an attribute's value; 0 outside of one
	shut  []byte // the closing tag that is awaited
	got   int    // how much of it has come
	find  bool   // it may stand anywhere, not just here
}

// place is where in its grammar an item is.
type place uint8

const (
	inHead      place = iota // the name
	inEqual                  // <function=NAME
	inAttrs                  // between attributes
	inAttrName               // in the name of one
	inAttrAfter              // behind the name
	inAttrValue              // behind its "="
	inSlash                  // behind the "/" of a tag without a body
	inBody                   // before the first byte of a tag's body
	inInner                  // "<" was that byte: another tag or the end
	inJSON
	inBetween // after JSON in a tag
	inShut    // in front of the closing tag, or in it
)

// begin starts with the text's first byte. It reports whether a call may begin
// with it at all.
func (it *item) begin(c byte) bool {
	it.word, it.shut = it.word[:0], it.shut[:0]
	it.named, it.quote, it.got, it.find = false, 0, 0, false
	it.at = inHead
	switch {
	case c == '{' || c == '[':
		it.kind, it.at = jsonItem, inJSON
		it.json.reset(true)
		it.json.step(c)
		return true
	case c == '<':
		it.kind = tagItem
		return true
	}
	it.kind = syntaxItem
	return it.head(c) == more
}

// step takes the next byte.
func (it *item) step(c byte) verdict {
	switch {
	case it.kind == jsonItem:
		return it.json.step(c)
	case it.kind == syntaxItem && it.at == inHead:
		return it.head(c)
	case it.kind == syntaxItem:
		return it.json.step(c)
	}
	return it.tag(c)
}

// inValue reports whether a JSON value is open and where its brackets stand: a
// text that is refuted there goes on being JSON.
func (it *item) inValue() (b *brackets, ok bool) {
	return &it.json, it.at == inJSON && len(it.json.stack) > 0
}

// thinks reports whether the item is the opening tag of a think span but for
// its last byte.
func (it *item) thinks() bool {
	return it.kind == tagItem && it.at == inHead && slices.Contains(spans, string(it.word))
}

// head reads the name of call syntax, up to its first parenthesis.
func (it *item) head(c byte) verdict {
	it.word = append(it.word, lower(c))
	if !begins(it.tools.heads, it.word) {
		// The API's name may stand before a tool's.
		rest, ok := bytes.CutPrefix(it.word, []byte(apiPrefix))
		if !ok || !begins(it.tools.heads, rest) {
			return refuted
		}
	}
	if c == '(' {
		it.at = inJSON
		it.json.reset(false)
		it.json.step(c)
	}
	return more
}

func (it *item) tag(c byte) verdict {
	switch it.at {
	case inHead:
		return it.name(c)
	case inEqual, inAttrs, inAttrName, inAttrAfter, inAttrValue, inSlash:
		return it.attrs(c)
	case inJSON:
		v := it.json.step(c)
		if v != done {
			return v
		}
		it.at = inBetween
		return more
	case inShut:
		return it.close(c)
	case inInner:
		it.at = inShut
		switch c {
		case '/':
			it.got = 2
			return more
		case 'f', 'p', 'i': // function, parameter, invoke
			it.find, it.got = true, 0
			return more
		}
		return refuted
	}
	// The body: JSON, or tags.
	switch {
	case isSpace(c):
		return more
	case c == '{' || c == '[':
		it.at = inJSON
		it.json.reset(!it.named)
		return it.json.step(c)
	case c == '<' && it.at == inBody:
		it.at, it.got = inInner, 1
		return more
	case c == '<':
		it.at, it.got = inShut, 1
		return more
	}
	return refuted
}

// name reads a tag's name.
func (it *item) name(c byte) verdict {
	if isTagName(c) {
		it.word = append(it.word, c)
		if !begins(it.tools.tags, bytes.ToLower(it.word)) {
			return refuted
		}
		return more
	}
	wraps := slices.Contains(wrappers, string(it.word))
	if !wraps && it.tools.find(string(it.word)) == nil {
		return refuted
	}
	it.named = !wraps
	it.shut = append(append(append(it.shut, "</"...), it.word...), '>')
	if c == '=' && wraps {
		it.at, it.named = inEqual, true
		return more
	}
	it.at = inAttrs
	return it.attrs(c)
}

// attrs reads what stands in an opening tag behind its name.
func (it *item) attrs(c byte) verdict {
	if it.quote != 0 {
		if c == it.quote {
			it.quote, it.at = 0, inAttrs
		}
		return more
	}
	switch at := it.at; {
	case at == inSlash:
		if c == '>' {
			return done
		}
	case at == inAttrValue && (c == '"' || c == '\''):
		it.quote, it.named = c, true
		return more
	case c == '>' && (at == inAttrs || at == inEqual):
		it.at = inBody
		return more
	case at == inEqual && (isTagName(c) || c == '"'):
		return more
	case c == '/' && at == inAttrs:
		it.at = inSlash
		return more
	case c == '=' && (at == inAttrName || at == inAttrAfter):
		it.at = inAttrValue
		return more
	case isSpace(c) && at != inEqual:
		if at == inAttrName {
			it.at = inAttrAfter
		}
		return more
	case isTagName(c) && (at == inAttrs || at == inAttrName):
		it.at = inAttrName
		return more
	}
	return refuted
}

// close waits for the closing tag.
func (it *item) close(c byte) verdict {
	switch {
	case c == it.shut[it.got]:
		if it.got++; it.got == len(it.shut) {
			return done
		}
		return more
	case !it.find:
		return refuted
	case c == '<': // the only place where a closing tag begins within another
		it.got = 1
		return more
	}
	it.got = 0
	return more
}

func isTagName(c byte) bool { return isWord(c) || c == '.' || c == ':' }

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 0x20
	}
	return c
}
