package gateway

import (
	"strings"
	"unicode/utf8"

	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// listener listens to an answer for the watch over its provider. The nil one does
// not listen. It reads what the provider sends besides those who pass it on:
// between equal wires nobody else looks into the text.
type listener struct {
	dec    wire.Decoder
	events []wire.Event
	open   wire.BlockKind // of the block that deltas belong to
	length int            // of text and calls, in characters
	called bool
	spoke  bool // some text was more than blank
	text   fnv
}

// listen returns the listener of an attempt that is about to leave; nil if nobody
// watches over the provider.
func (x *exchange) listen(a *attempt) *listener {
	if x.embeds || x.chain.watch(a.lane).driftWatch == nil {
		return nil
	}
	l := &listener{dec: a.codec.NewDecoder(), text: fnvSeed}
	if p := x.rescue.prefill; p != nil { // else who gives a rest would seem to say little
		l.length = utf8.RuneCountInString(p.Text)
	}
	return l
}

// frame takes a frame of a stream. One that cannot be read is for others to
// complain about.
func (l *listener) frame(ev sse.Event) {
	if l == nil {
		return
	}
	l.events, _ = l.dec.Decode(l.events[:0], ev)
	for i := range l.events {
		switch ev := &l.events[i]; ev.Kind {
		case wire.BlockStart:
			l.open = ev.Block.Kind
			l.block(&ev.Block)
		case wire.Delta:
			l.piece(ev.Text)
		}
	}
}

// whole takes an answer in one piece.
func (l *listener) whole(c wire.Codec, body []byte) {
	if l == nil {
		return
	}
	r, err := c.DecodeResponse(body)
	if err != nil {
		return
	}
	for i := range r.Blocks {
		l.open = r.Blocks[i].Kind
		l.block(&r.Blocks[i])
	}
}

// block takes a block, or what is known of it where it begins.
func (l *listener) block(b *wire.Block) {
	if b.Kind == wire.ToolUse {
		l.called = true
		l.length += utf8.RuneCount(b.Input)
	}
	l.piece(b.Text)
}

// piece takes a piece of the open block. What a model thinks does not count.
func (l *listener) piece(s string) {
	switch l.open {
	case wire.Text:
		l.text = l.text.add(s)
		l.spoke = l.spoke || strings.TrimSpace(s) != ""
		l.length += utf8.RuneCountInString(s)
	case wire.ToolUse:
		l.length += utf8.RuneCountInString(s)
	}
}

// mended tells how many calls were made of what was heard as text.
func (l *listener) mended(calls int) {
	if l != nil && calls > 0 {
		l.called = true
	}
}

// report puts what was heard into a sample. Thoughts alone are an empty answer,
// also where they went to the caller as they came.
func (l *listener) report(s *guard.Sample) {
	if l == nil {
		return
	}
	s.Empty, s.Length, s.Calls = !l.called && !l.spoke, l.length, l.called
	if l.text != fnvSeed {
		s.Text = uint64(l.text) | 1 // 0 stands for none
	}
}

// fnv is an FNV-1a hash under way: the pieces of a text come to the same,
// however a stream cuts them.
type fnv uint64

const (
	fnvSeed  fnv = 14695981039346656037
	fnvPrime fnv = 1099511628211
)

func (h fnv) add(s string) fnv {
	for i := range len(s) {
		h = (h ^ fnv(s[i])) * fnvPrime
	}
	return h
}
