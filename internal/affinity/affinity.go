// Package affinity remembers which member of a pool served which conversation
// last, so that the next turn goes where its prefix is cached already.
//
// A conversation is known by hashes of its prefixes, one at each border between
// messages, and by the key that its client may send. Of reads them from the
// caller's body in one pass and without a copy; a Table remembers them. Both are
// pure: the time comes in as an argument, and who shares a Table between
// goroutines guards it.
package affinity

import (
	"encoding/binary"
	"math/bits"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// Conversation is what a request's conversation is known by. The zero value is
// known by nothing.
type Conversation struct {
	// Prefixes are rolling hashes, the shortest prefix first: the i-th stands
	// for the system text, the tools and the first i+1 messages. What comes
	// before the first message is no prefix of its own: all conversations of one
	// agent share it, and would all be drawn to one member of the pool.
	Prefixes []uint64
	// Session is the hash of the conversation's key; 0 = it has none.
	Session uint64
}

// Empty reports whether there is nothing by which the conversation could be
// found again.
func (c Conversation) Empty() bool { return len(c.Prefixes) == 0 && c.Session == 0 }

// sessionHeaders carry a conversation's key, the one that tells most first. One
// in the body (wire.Head.Session) stands behind the first. Source: contract §14.
var sessionHeaders = [...]string{"X-Claude-Code-Session-Id", "Session-Id", "X-Session-Affinity", "X-Session-Id"}

// Session returns the key by which a client names its conversation, "" if it
// names none. header gives the value of a header, which is named in canonical
// form; inBody is the key that the body has.
func Session(header func(name string) string, inBody string) string {
	for i, name := range sessionHeaders {
		if v := header(name); v != "" {
			return v
		}
		if i == 0 && inBody != "" {
			return inBody
		}
	}
	return ""
}

// Of reads a conversation from a request's body, which is a valid one of its
// wire: what is no JSON makes an arbitrary conversation. session is the key
// that its client names, "" for none.
//
// What clients change from turn to turn, and what is no part of the prompt, does
// not count: a first line that differs per request (strip_changing_lines), the
// marks of cache_control, and whether a text stands alone or as the one block
// of a list, which it becomes when it is marked.
func Of(w drey.Wire, body []byte, session string) Conversation {
	var c Conversation
	if session != "" {
		c.Session = uint64(seed.word(sessionMark).bytes([]byte(session))) | 1
	}
	r := reader{s: scan.New(body)}
	system, tools := seed, seed
	var messages []uint64
	list := wire.ListOf(w)
	leading := seed // system messages at the head, on the wires that have them there
	for key := range r.s.Fields() {
		switch k := string(key); {
		case k == "tools":
			tools = r.hash(r.value)
		case k == "system" && w == drey.WireAnthropic, k == "instructions" && w == drey.WireResponses:
			r.opening = true
			system = r.hash(r.content)
			r.opening = false
		case k == list:
			if r.s.Kind() == scan.String {
				messages = append(messages, uint64(r.hash(r.content)))
				continue
			}
			for range r.s.Items() {
				r.system = false
				r.opening = w == drey.WireChat && len(messages) == 0 && leading == seed
				m := r.hash(r.message)
				r.opening = false
				if r.system && w != drey.WireAnthropic && len(messages) == 0 {
					leading = leading.word(uint64(m))
					continue
				}
				messages = append(messages, uint64(m))
			}
		}
	}
	d := seed.word(uint64(system)).word(uint64(tools)).word(uint64(leading))
	for i, m := range messages {
		d = d.word(m)
		messages[i] = uint64(d)
	}
	c.Prefixes = messages
	return c
}

// reader hashes the values of a body.
type reader struct {
	s       scan.Scanner
	d       digest
	opening bool // the next text is the first of the system's
	system  bool // the message was one of a system or developer
}

// hash returns the digest of what read takes.
func (r *reader) hash(read func()) digest {
	r.d = seed
	read()
	return r.d
}

// message takes one message, or one item of Responses.
func (r *reader) message() {
	if r.s.Kind() != scan.Object {
		r.value()
		return
	}
	for key := range r.s.Fields() {
		switch string(key) {
		case "cache_control":
		case "role":
			role := r.s.Word()
			r.system = string(role) == "system" || string(role) == "developer"
			r.opening = r.opening && r.system
			r.d = r.d.bytes(role)
		case "content":
			r.d = r.d.word(contentMark)
			r.content()
		default:
			r.d = r.d.bytes(key)
			r.value()
		}
	}
}

// content takes a text, or a list of blocks, of which a single text is the same.
func (r *reader) content() {
	switch r.s.Kind() {
	case scan.String:
		r.text()
	case scan.Array:
		for range r.s.Items() {
			if r.s.Kind() == scan.Object {
				r.block()
			} else {
				r.value()
			}
		}
	default:
		r.value()
	}
}

// block takes one block of content. That it is a text is told by its having one.
func (r *reader) block() {
	for key := range r.s.Fields() {
		switch string(key) {
		case "cache_control":
		case "type":
			if kind := r.s.Word(); string(kind) != "text" {
				r.d = r.d.bytes(kind)
			}
		case "text":
			r.text()
		case "content":
			r.d = r.d.word(contentMark)
			r.content()
		default:
			r.d = r.d.bytes(key)
			r.value()
		}
	}
}

// text takes a string, of the system's first one without its changing line.
func (r *reader) text() {
	quoted := r.s.Quoted()
	if len(quoted) < 2 {
		r.value()
		return
	}
	text := quoted[1 : len(quoted)-1]
	if r.opening {
		r.opening = false
		n, whole := wire.ChangingLineQuoted(quoted)
		if whole {
			return
		}
		text = text[n:]
	}
	r.d = r.d.bytes(text)
}

// value takes a value of any kind.
func (r *reader) value() {
	switch r.s.Kind() {
	case scan.Object:
		r.d = r.d.word('{')
		for key := range r.s.Fields() {
			if string(key) != "cache_control" {
				r.d = r.d.bytes(key)
				r.value()
			}
		}
		r.d = r.d.word('}')
	case scan.Array:
		r.d = r.d.word('[')
		for range r.s.Items() {
			r.value()
		}
		r.d = r.d.word(']')
	default:
		r.d = r.d.bytes(r.s.Raw())
	}
}

// digest is a hash under way. It is the same in every process, eight bytes cost
// it one multiplication, and it is no defence against somebody who makes texts
// collide: all he gains is that his own requests share a member of the pool.
type digest uint64

// The numbers that digests are made with: any will do, and these are those of
// the golden ratio and of wyhash.
const seed digest = 0x9e3779b97f4a7c15
const mixA, mixB = 0xa0761d6478bd642f, 0xe7037ed1a0b428db

// The marks tell apart what might come to the same.
const contentMark, sessionMark = 0xc0, 0x5e

// word returns the digest with 64 more bits.
func (d digest) word(x uint64) digest {
	hi, lo := bits.Mul64(uint64(d)^mixA, x^mixB)
	return digest(hi ^ lo ^ uint64(d)<<1)
}

// bytes returns the digest with a text, its length first, so that the borders
// between texts count.
func (d digest) bytes(b []byte) digest {
	d = d.word(uint64(len(b)))
	for ; len(b) >= 8; b = b[8:] {
		d = d.word(binary.LittleEndian.Uint64(b))
	}
	if len(b) > 0 {
		var tail [8]byte
		copy(tail[:], b)
		d = d.word(binary.LittleEndian.Uint64(tail[:]))
	}
	return d
}
