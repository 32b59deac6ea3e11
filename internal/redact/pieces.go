package redact

import "strings"

// With returns a Redactor that knows more secrets besides.
func (r *Redactor) With(secrets ...string) *Redactor {
	if r != nil {
		for c, list := range r.known {
			for _, s := range list {
				if s[0] == byte(c) { // it stands under the bytes of escapes too
					secrets = append(secrets, s)
				}
			}
		}
	}
	return New(secrets...)
}

// Pieces is String for a text that came in pieces: a secret that runs over
// several of them is found, and Mask stands in the piece in which it began. It
// returns pieces itself if there is no secret in them, and never writes to it.
//
// cut says that the text ends before its end: then the beginning of a known
// secret at the very end is one too, from minSecret bytes on. The beginning of
// one that is known only by its form cannot be told from other text.
func (r *Redactor) Pieces(pieces []string, cut bool) []string {
	for range maxPasses {
		whole := strings.Join(pieces, "")
		spans := find(r, whole)
		if cut {
			if from, ok := r.begun(whole); ok {
				spans = merge(append(spans, span{from, len(whole)}))
			}
		}
		if spans == nil {
			break
		}
		pieces = replaceIn(pieces, spans)
		cut = false // what was at the end is gone
	}
	return pieces
}

// begun returns where a known secret begins that the end of s cuts off.
func (r *Redactor) begun(s string) (from int, ok bool) {
	if r == nil {
		return 0, false
	}
	from = len(s)
	for c := range r.known {
		for _, secret := range r.known[c] {
			for n := min(len(secret)-1, len(s)); n >= minSecret; n-- {
				if s[len(s)-n:] == secret[:n] {
					from, ok = min(from, len(s)-n), true
					break
				}
			}
		}
	}
	return from, ok
}

// replaceIn replaces spans of the joined pieces, which are in order and apart
// from each other.
func replaceIn(pieces []string, spans []span) []string {
	out := make([]string, len(pieces))
	at := 0 // where the piece begins in the whole
	for i, p := range pieces {
		end := at + len(p)
		var b strings.Builder
		from := at // what is before it has been dealt with
		for len(spans) > 0 && spans[0].from < end {
			sp := spans[0]
			if sp.from >= at {
				b.WriteString(p[from-at : sp.from-at])
				b.WriteString(Mask)
			}
			if from = min(sp.to, end); sp.to > end {
				break // the rest of it is in the pieces that follow
			}
			spans = spans[1:]
		}
		b.WriteString(p[from-at:])
		out[i] = b.String()
		at = end
	}
	return out
}
