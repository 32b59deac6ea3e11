package redact

import (
	"unicode/utf16"
	"unicode/utf8"
)

// maxEscapes bounds how often a text may have been escaped on its way: JSON in
// JSON doubles the backslashes, a URL in a URL puts 25 behind the percent sign.
const maxEscapes = 3

// spells returns where secret ends if s spells it at i, or 0. A character may
// be spelled in several ways of different length, so that a set of places is
// carried along.
func spells[T string | []byte](secret string, s T, i int) int {
	// The plain spelling is by far the most frequent, and most often the
	// second byte already says no.
	for k := 0; ; k++ {
		if k == len(secret) {
			return i + k
		}
		if i+k >= len(s) {
			return 0
		}
		if s[i+k] != secret[k] {
			if c := s[i+k]; c != '\\' && c != '%' && c != '+' && !mayRepeat(secret[:k]) {
				return 0
			}
			break
		}
	}
	var room [2][16]int
	places, next := append(room[0][:0], i), room[1][:0]
	for rest := secret; rest != ""; {
		r, size := utf8.DecodeRuneInString(rest)
		next = next[:0]
		for _, p := range places {
			next = spellings(next, rest[:size], r, s, p)
		}
		if len(next) == 0 {
			return 0
		}
		places, next, rest = next, places, rest[size:]
	}
	end := 0
	for _, p := range places {
		end = max(end, p)
	}
	return end
}

// mayRepeat reports whether a plain prefix has another, longer spelling.
func mayRepeat(prefix string) bool {
	for i := range len(prefix) {
		if prefix[i] == '\\' || prefix[i] == '%' {
			return true
		}
	}
	return false
}

// spellings appends to places where one character, given as raw bytes and as a
// rune, ends if s spells it at p.
func spellings[T string | []byte](places []int, raw string, r rune, s T, p int) []int {
	if hasPrefix(s, p, raw) {
		places = add(places, p+len(raw))
	}
	if p >= len(s) {
		return places
	}
	switch s[p] {
	case '+':
		if r == ' ' {
			places = add(places, p+1)
		}
	case '%':
		if r == '%' {
			for end, n := p+1, 0; n < maxEscapes && hasPrefix(s, end, "25"); n++ {
				end += len("25")
				places = add(places, end)
			}
		} else if end := percent(raw, s, p); end > 0 {
			places = add(places, end)
		}
	case '\\':
		end := p
		for end < len(s) && s[end] == '\\' && end-p < 1<<maxEscapes {
			end++
			if r == '\\' {
				places = add(places, end)
			}
		}
		if end == len(s) {
			return places
		}
		if c := s[end]; r != '\\' && (rune(c) == r && (c == '"' || c == '/' || c == '\'') || unescape[c] != 0 && rune(unescape[c]) == r) {
			places = add(places, end+1)
		}
		if u, after := hex4(s, end); u == r && after > 0 {
			places = add(places, after)
		} else if after > 0 && utf16.IsSurrogate(u) {
			low := after // of the second half's backslashes
			for low < len(s) && s[low] == '\\' && low-after < 1<<maxEscapes {
				low++
			}
			if v, after := hex4(s, low); after > 0 && utf16.DecodeRune(u, v) == r && r != utf8.RuneError {
				places = add(places, after)
			}
		}
	}
	return places
}

func add(places []int, p int) []int {
	for _, q := range places {
		if q == p {
			return places
		}
	}
	return append(places, p)
}

var unescape = [256]byte{'n': '\n', 't': '\t', 'r': '\r', 'b': '\b', 'f': '\f'}

func hasPrefix[T string | []byte](s T, p int, prefix string) bool {
	return len(s)-p >= len(prefix) && string(s[p:p+len(prefix)]) == prefix
}

// percent returns where the percent-escapes of raw, which is not a percent
// sign, end at p, or 0.
func percent[T string | []byte](raw string, s T, p int) int {
	for i := range len(raw) {
		if p >= len(s) || s[p] != '%' {
			return 0
		}
		p++
		for n := 1; n < maxEscapes && hasPrefix(s, p, "25") && p+3 < len(s) && digit(s[p+2]) >= 0 && digit(s[p+3]) >= 0; n++ {
			p += 2
		}
		if p+1 >= len(s) || digit(s[p]) < 0 || digit(s[p+1]) < 0 || byte(digit(s[p])<<4|digit(s[p+1])) != raw[i] {
			return 0
		}
		p += 2
	}
	return p
}

// hex4 reads uXXXX at p; after is 0 if it is not there.
func hex4[T string | []byte](s T, p int) (r rune, after int) {
	if p+5 > len(s) || s[p] != 'u' {
		return 0, 0
	}
	for _, i := range [4]int{1, 2, 3, 4} {
		d := digit(s[p+i])
		if d < 0 {
			return 0, 0
		}
		r = r<<4 | rune(d)
	}
	return r, p + 5
}

func digit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	default:
		return -1
	}
}
