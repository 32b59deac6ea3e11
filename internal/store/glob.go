package store

import "unicode/utf8"

// Glob reports whether name matches pattern. An asterisk stands for any run of
// characters, dots and dashes included, a question mark for one character, and
// every other one for itself; the empty pattern matches everything. It is the one
// meaning of an event filter, in queries of the journal and in live streams.
func Glob(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	// star is where the last asterisk stood, and from which byte of name the
	// run that it stands for is tried next.
	p, n, star, retry := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, retry = p, n
			p++
		case p < len(pattern) && pattern[p] == '?':
			p++
			n += width(name[n:])
		case p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case star >= 0:
			retry += width(name[retry:])
			p, n = star+1, retry
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

func width(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	return n
}
