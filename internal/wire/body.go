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
	return &bodyReader{parts: b.parts}
}

// Bytes returns the body in one piece, copying it unless it is one already.
func (b *Body) Bytes() []byte {
	if len(b.parts) == 1 {
		return b.parts[0]
	}
	return bytes.Join(b.parts, nil)
}

// bodyReader reads the parts in turn, and lets go of all of them at the end.
// io.MultiReader would take a buffer of its own for what WriteTo hands on
// directly.
type bodyReader struct {
	parts [][]byte // those not read to their end
	at    int      // of parts[0]
}

func (r *bodyReader) Read(p []byte) (n int, err error) {
	for n < len(p) && len(r.parts) > 0 {
		c := copy(p[n:], r.parts[0][r.at:])
		n += c
		if r.at += c; r.at == len(r.parts[0]) {
			r.next()
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (r *bodyReader) WriteTo(w io.Writer) (n int64, err error) {
	for len(r.parts) > 0 {
		c, err := w.Write(r.parts[0][r.at:])
		n += int64(c)
		if r.at += c; err != nil {
			return n, err
		}
		r.next()
	}
	return n, nil
}

// next goes on to the next part.
func (r *bodyReader) next() {
	if r.parts, r.at = r.parts[1:], 0; len(r.parts) == 0 {
		r.parts = nil
	}
}
