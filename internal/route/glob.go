package route

import "unicode/utf8"

// match reports whether the whole of s fits the pattern, in which * stands for
// any run of characters (also none, also a slash) and ? for exactly one. There
// is no escape. It takes time of len(pattern) × len(s) at worst.
func match(pattern, s string) bool {
	star, retry := -1, 0 // the last *, and where in s the run behind it began
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, retry = p, i
			p++
			continue
		case p < len(pattern) && pattern[p] == '?':
			_, n := utf8.DecodeRuneInString(s[i:])
			p++
			i += n
			continue
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
			continue
		}
		if star < 0 {
			return false
		}
		_, n := utf8.DecodeRuneInString(s[retry:])
		retry += n
		p, i = star+1, retry
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
