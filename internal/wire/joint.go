package wire

import (
	"strings"
	"unicode/utf8"
)

// How much of an answer its continuation may repeat. Source: contract §8 for
// the longest. Shorter repetitions than the shortest are more often what the
// answer means to say ("the", a bracket, an indent) than a model that begins its
// last words anew; those that begin within a word must be longer still.
const (
	longestOverlap  = 200 // characters
	shortestOverlap = 8
	shortestInWord  = 16
)

// whitespace is what is cut off the end of a text before a model goes on with
// it: one wire refuses it there, and models are bad at going on behind it.
const whitespace = " \t\r\n"

// joint is where the text of one provider meets that of the next.
type joint struct {
	tail  string // the end of the text told, as long as an overlap may be
	whole bool   // that is all of it
	space string // what was cut off the end of the text before it was sent on
	held  string // of the new text: so far all of it may be repetition
	done  bool
}

func newJoint(told string) joint {
	j := joint{tail: told, whole: true, space: told[len(strings.TrimRight(told, whitespace)):]}
	for n, i := 0, len(told); i > 0; n++ {
		if n == longestOverlap {
			j.tail, j.whole = told[i:], false
			break
		}
		_, size := utf8.DecodeLastRuneInString(told[:i])
		i -= size
	}
	return j
}

// add returns what may be told of more text. In whatever pieces it comes, what
// is told is the same.
func (j *joint) add(text string) string {
	if j.done {
		return text
	}
	j.held += text
	for i := range j.tail {
		if rest := j.tail[i:]; len(rest) > len(j.held) && strings.HasPrefix(rest, j.held) {
			return "" // the rest of it may still come
		}
	}
	return j.flush()
}

// flush returns what is left to tell of what was held.
func (j *joint) flush() string {
	held := j.held
	j.held = ""
	if j.done || held == "" {
		return held
	}
	j.done = true
	for i := range j.tail {
		if same := j.tail[i:]; strings.HasPrefix(held, same) {
			if j.repeats(i) {
				return held[len(same):]
			}
			break
		}
	}
	n := 0
	for n < min(len(held), len(j.space)) && held[n] == j.space[n] {
		n++
	}
	return held[n:]
}

// repeats reports whether new text that begins like tail[i:] repeats it, and
// does not mean it: that is long enough, and no pattern (a ruler, a row of
// zeros, equal lines) that goes on.
func (j *joint) repeats(i int) bool {
	same := j.tail[i:]
	switch n := utf8.RuneCountInString(same); {
	case i == 0 && j.whole && n >= 3: // it begins from the beginning
	case n < shortestOverlap, n < shortestInWord && i > 0 && isWord(j.tail[i-1]) && isWord(j.tail[i]):
		return false
	}
	return !isPattern(same) && !strings.HasSuffix(j.tail[:i], same)
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// isPattern reports whether a text is one piece twice or more.
func isPattern(s string) bool {
	for p := 1; p <= len(s)/2; p++ {
		if s[p:] == s[:len(s)-p] {
			return true
		}
	}
	return false
}
