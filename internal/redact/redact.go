// Package redact takes secrets out of what drey shows: logs, errors, events,
// captures, web pages, the output of commands. It knows the secrets that the
// configuration names by their value, and others by their form.
package redact

import (
	"slices"
	"strings"
)

// Mask stands in place of a secret.
const Mask = "[redacted]"

// minSecret is the length in bytes below which a value is not looked for: it
// would stand in ordinary text, and hide that instead.
const minSecret = 8

// Redactor replaces secrets by Mask. It is immutable and safe for concurrent
// use. The zero value, and nil, know no secret by value and all by form.
type Redactor struct {
	// known are the secrets that may begin with a byte: by themselves, or all
	// of them with one that begins an escape.
	known [256][]string
}

// New returns a Redactor that knows the secrets. Values shorter than 8 bytes
// are left out; so is white space around a value, which a file of a secret
// ends with. A value is found in whatever mixture of plain, JSON-escaped and
// URL-escaped characters it is spelled. A value that is part of Mask cannot be
// told from it and is left out.
func New(secrets ...string) *Redactor {
	r := &Redactor{}
	seen := map[string]bool{}
	for _, s := range secrets {
		s = strings.TrimSpace(s)
		if len(s) < minSecret || strings.Contains(Mask, s) || seen[s] {
			continue
		}
		seen[s] = true
		for _, c := range []byte{s[0], '\\', '%'} {
			if list := r.known[c]; len(list) == 0 || list[len(list)-1] != s {
				r.known[c] = append(list, s)
			}
		}
	}
	return r
}

// String returns s with Mask in place of each secret; s itself if there is
// none. Applied to its own result it changes nothing.
func (r *Redactor) String(s string) string {
	for range maxPasses {
		spans := find(r, s)
		if spans == nil {
			break
		}
		s = replace(s, spans)
	}
	return s
}

// Bytes is String for bytes. It never writes to b, and returns b itself if
// there is no secret in it.
func (r *Redactor) Bytes(b []byte) []byte {
	spans := find(r, b)
	if spans == nil {
		return b
	}
	return []byte(r.String(replace(string(b), spans)))
}

var none = New()

// maxPasses bounds the search for a text that stays as it is. More than two
// passes take a secret that contains brackets of Mask.
const maxPasses = 8

// span is a secret's place.
type span struct{ from, to int }

// find returns the secrets in s, in order and apart from each other.
func find[T string | []byte](r *Redactor, s T) []span {
	var out []span
	if r == nil {
		r = none
	}
	formsFrom := 0 // behind a form that was found, others begin
	for i := 0; i < len(s); i++ {
		c := s[i]
		for _, secret := range r.known[c] {
			if end := spells(secret, s, i); end > i {
				out = append(out, span{i, end})
			}
		}
		if starts[c] && i >= formsFrom {
			if sp, ok := findForm(s, i); ok {
				out = append(out, sp)
				formsFrom = sp.to
			}
		}
	}
	return merge(out)
}

// merge sorts spans and joins those that overlap.
func merge(spans []span) []span {
	if len(spans) < 2 {
		return spans
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	out := spans[:1]
	for _, s := range spans[1:] {
		if last := &out[len(out)-1]; s.from < last.to {
			last.to = max(last.to, s.to)
		} else {
			out = append(out, s)
		}
	}
	return out
}

func replace(s string, spans []span) string {
	var b strings.Builder
	b.Grow(len(s) + len(spans)*len(Mask))
	at := 0
	for _, sp := range spans {
		b.WriteString(s[at:sp.from])
		b.WriteString(Mask)
		at = sp.to
	}
	b.WriteString(s[at:])
	return b.String()
}
