package gateway

import (
	"strings"
	"unicode/utf8"

	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// tap listens to an answer for the watch over its provider. The nil tap does
// not listen. It reads what the provider sends besides those who pass it on:
// between equal wires nobody else looks into the text.
type tap struct {
	dec    wire.Decoder
	events []wire.Event
	open   wire.BlockKind // of the block that deltas belong to
	length int            // of text and calls, in characters
	called bool
	spoke  bool // some text was more than blank
	text   fnv
}

// listen returns the tap of an attempt that is about to leave; nil if nobody
// watches over the provider.
func (x *exchange) listen(a *attempt) *tap {
	if x.embeds || x.chain.watch(a.lane).driftWatch == nil {
		return nil
	}
	return &tap{dec: a.codec.NewDecoder(), text: fnvSeed}
}

// frame takes a frame of a stream. One that cannot be read is for others to
// complain about.
func (t *tap) frame(ev sse.Event) {
	if t == nil {
		return
	}
	t.events, _ = t.dec.Decode(t.events[:0], ev)
	for i := range t.events {
		switch ev := &t.events[i]; ev.Kind {
		case wire.BlockStart:
			t.open = ev.Block.Kind
			t.block(&ev.Block)
		case wire.Delta:
			t.piece(ev.Text)
		}
	}
}

// whole takes an answer in one piece.
func (t *tap) whole(c wire.Codec, body []byte) {
	if t == nil {
		return
	}
	r, err := c.DecodeResponse(body)
	if err != nil {
		return
	}
	for i := range r.Blocks {
		t.open = r.Blocks[i].Kind
		t.block(&r.Blocks[i])
	}
}

// block takes a block, or what is known of it where it begins.
func (t *tap) block(b *wire.Block) {
	if b.Kind == wire.ToolUse {
		t.called = true
		t.length += utf8.RuneCount(b.Input)
	}
	t.piece(b.Text)
}

// piece takes a piece of the open block. What a model thinks does not count.
func (t *tap) piece(s string) {
	switch t.open {
	case wire.Text:
		t.text = t.text.add(s)
		t.spoke = t.spoke || strings.TrimSpace(s) != ""
		t.length += utf8.RuneCountInString(s)
	case wire.ToolUse:
		t.length += utf8.RuneCountInString(s)
	}
}

// mended tells how many calls were made of what was heard as text.
func (t *tap) mended(calls int) {
	if t != nil && calls > 0 {
		t.called = true
	}
}

// report puts what was heard into a sample. Thoughts alone are an empty answer,
// also where they went to the caller as they came.
func (t *tap) report(s *guard.Sample) {
	if t == nil {
		return
	}
	s.Empty, s.Length, s.Calls = !t.called && !t.spoke, t.length, t.called
	if t.text != fnvSeed {
		s.Text = uint64(t.text) | 1 // 0 stands for none
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
