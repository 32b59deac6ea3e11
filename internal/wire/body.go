package wire

import (
	"bytes"
	"io"
)

// Body is a request's bytes with edits beside them: the parts that stay point
// into the caller's own buffer, so that a long prompt is never copied a second
// time. The zero value is an empty body. A Body is read-only once built; its
// readers are independent of each other.
type Body struct {
	parts [][]byte
	size  int64
}

// NewBody returns a body of the parts in order. It keeps them.
func NewBody(parts ...[]byte) *Body {
	b := &Body{parts: parts}
	for _, p := range parts {
		b.size += int64(len(p))
	}
	return b
}

// Len returns the length in bytes.
func (b *Body) Len() int64 { return b.size }

// Reader returns a new reader of the whole body; a retry takes another.
func (b *Body) Reader() io.Reader {
	if len(b.parts) == 1 {
		return bytes.NewReader(b.parts[0])
	}
	rs := make([]io.Reader, len(b.parts))
	for i, p := range b.parts {
		rs[i] = bytes.NewReader(p)
	}
	return io.MultiReader(rs...)
}

// Bytes returns the body in one piece, copying it unless it is one already.
func (b *Body) Bytes() []byte {
	if len(b.parts) == 1 {
		return b.parts[0]
	}
	return bytes.Join(b.parts, nil)
}
