package repair

import (
	"bytes"
	"iter"
	"unicode/utf8"
)

// cues are what a model writes around a call that it only talks about.
var cues = [...]string{
	"for example", "for instance", "e.g.", "an example", "example:", "example call", "example of", "such as",
	"would look like", "could look like", "might look like", "should look like", "example tool",
	"sample", "payload", "hypothetical", "placeholder value", "placeholder values", "placeholder arguments", "placeholder call",
	"in the format", "in this format", "the syntax", "would be called",
	"don't call", "do not call", "instead of calling", "would have called",
	"zum beispiel", "z.b.", "z. b.", "beispielsweise", "beispiel:", "sähe so aus", "würde so aussehen",
	"par exemple", "p. ex.", "ressemblerait à", "por ejemplo", "por exemplo", "ad esempio", "per esempio",
	"bijvoorbeeld", "na przykład", "например", "例如", "比如", "たとえば", "例えば", "예를 들어",
}

// hasCue reports whether a line says that what it shows is no call. A cue that
// begins or ends with a letter stands for itself: "resampled" is no sample.
func hasCue(line []byte) bool {
	if len(line) < 4 {
		return false
	}
	low := bytes.ToLower(line)
	for _, cue := range cues {
		for range behind(low, cue) {
			return true
		}
	}
	for _, cue := range lastWords {
		for rest := range behind(low, cue) {
			next, _ := firstWord(rest)
			if len(next) == 0 || string(next) == "this" {
				return true
			}
		}
	}
	return isTitle(low)
}

// lastWords are cues only where the line says nothing else behind them: "a call
// looks like this:" shows one, and "it looks like the build is broken" does not.
var lastWords = [...]string{"looks like", "look like"}

// isTitle reports whether a line is the title of an example, in the ways in which
// documents write one: "## Example", "**Examples:**", "Usage:", "Example request".
func isTitle(low []byte) bool {
	word, rest := firstWord(low)
	switch string(word) {
	case "example", "examples", "usage":
	default:
		return false
	}
	_, rest = firstWord(rest)
	third, _ := firstWord(rest)
	return len(third) == 0
}

// firstWord returns the first run of letters, and what follows it. Letters
// beyond ASCII count, so that a sentence of another language is no title.
func firstWord(b []byte) (word, rest []byte) {
	letter := func(c byte) bool { return isLetter(c) || c >= utf8.RuneSelf }
	from := 0
	for from < len(b) && !letter(b[from]) {
		from++
	}
	to := from
	for to < len(b) && letter(b[to]) {
		to++
	}
	return b[from:to], b[to:]
}

// behind yields what follows each place at which a cue stands for itself.
func behind(low []byte, cue string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for rest := low; ; {
			at := bytes.Index(rest, []byte(cue))
			if at < 0 {
				return
			}
			end := at + len(cue)
			alone := boundary(rest[:at], cue[0]) && (end == len(rest) || !isLetter(rest[end]) || !isLetter(cue[len(cue)-1]))
			rest = rest[end:]
			if alone && !yield(rest) {
				return
			}
		}
	}
}

// boundary reports whether a word that begins with c may begin behind before.
func boundary(before []byte, c byte) bool {
	return len(before) == 0 || !isLetter(c) || !isLetter(before[len(before)-1])
}

func isLetter(c byte) bool { return lower(c) >= 'a' && lower(c) <= 'z' }

// line is what is remembered of a line of visible text: enough to tell a call
// from the mention of one. Calls that are taken out are no part of it.
type line struct {
	text  []byte // its end, where it is very long
	said  bool   // a cue stood in what is not remembered
	blank bool   // nothing but space so far
	last  byte   // the last byte that is no space
	prior byte   // the one before that
	first byte   // the first byte that is no space
	end   byte   // the last byte
}

// maxLine is how much of a line is remembered; overlap is more than any cue.
const (
	maxLine = 4096
	overlap = 64
)

func (l *line) reset() { *l = line{text: l.text[:0], blank: true} }

// add takes text without line breaks.
func (l *line) add(b []byte) {
	for _, c := range b {
		if isSpace(c) {
			continue
		}
		if l.blank {
			l.blank, l.first = false, c
		}
		break
	}
	if len(b) > 0 {
		l.end = b[len(b)-1]
	}
	if seen := bytes.TrimRight(b, " \t\r"); len(seen) > 0 {
		l.prior, l.last = l.last, seen[len(seen)-1]
		if seen = bytes.TrimRight(seen[:len(seen)-1], " \t\r"); len(seen) > 0 {
			l.prior = seen[len(seen)-1]
		}
	}
	for len(b) > 0 {
		n := min(len(b), maxLine-len(l.text))
		l.text = append(l.text, b[:n]...)
		if b = b[n:]; len(l.text) == maxLine {
			l.said = l.said || hasCue(l.text)
			l.text = append(l.text[:0], l.text[maxLine-overlap:]...)
		}
	}
}

// cue reports whether the line has a cue.
func (l *line) cue() bool { return l.said || hasCue(l.text) }

// leads reports whether a JSON value may begin a call behind the line so far:
// at its start, behind a sentence or a colon, behind a list's bullet or behind
// a leaked marker. Anywhere else it is somebody's data.
func (l *line) leads() bool {
	switch l.last {
	case 0, '.', '!', '?', '*':
		return true
	case ':':
		return l.prior != '"' && l.prior != '\''
	case '-':
		if l.prior == '-' {
			return l.first == '-'
		}
		// A bullet has a space behind it; without one it is a line of a diff.
		return l.first == '-' && isSpace(l.end) && len(bytes.TrimSpace(l.text)) == 1
	case '>':
		return l.prior == '|'
	}
	return l.last >= utf8.RuneSelf // "：", "。", "→", "…"
}

// announces reports whether what follows the line, behind a blank one too, is
// what it speaks of.
func (l *line) announces() bool {
	return l.last == ':' || !l.blank && !l.said && isTitle(bytes.ToLower(l.text))
}

// ends reports whether the line so far may stand for itself, so that what
// follows begins something new.
func (l *line) ends() bool { return l.leads() || l.last == ')' || l.last == '>' }

// quotes reports whether the line quotes somebody, or is a table's.
func (l *line) quotes() bool { return l.first == '>' || l.first == '|' }
