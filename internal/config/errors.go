package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error says what is wrong in a configuration, where, and what to do.
type Error struct {
	File   string // as the caller named it; empty for the environment
	Line   int    // from 1; 0 if the fault has no place in a file
	Column int    // from 1, in characters
	Path   string // of the key, like providers.big.timeouts.connect; may be empty
	Msg    string // what is wrong; never the text of a secret
	Hint   string // what to do; may be empty

	rule bool // it takes more than the shape of the file to see it
}

// Error returns FILE:LINE:COLUMN: path: what is wrong; what to do.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
		}
		b.WriteString(": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Msg)
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return b.String()
}

// Errors are all that is wrong in a configuration, in the order of the file.
// What comes from the environment stands first.
type Errors []*Error

// Error returns one line per error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors one by one.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, err := range e {
		out[i] = err
	}
	return out
}

func (e Errors) sort() {
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// Warning is something that works and is probably not meant. It has the form
// of an Error.
type Warning Error

// String returns the warning as Error does.
func (w Warning) String() string { e := Error(w); return e.Error() }

// problem is what is wrong with one value, before its place is known.
type problem struct {
	msg, hint string
	rule      bool
}

// Error returns what is wrong and what to do.
func (p *problem) Error() string {
	if p.hint == "" {
		return p.msg
	}
	return p.msg + "; " + p.hint
}

func wrong(hint, format string, args ...any) *problem {
	return &problem{msg: fmt.Sprintf(format, args...), hint: hint}
}

// nearest returns the name that a mistyped one probably means, or "".
func nearest(name string, known []string) string {
	best, least := "", max(1, min(3, len(name)/3))+1
	for _, k := range known[:min(len(known), 200)] { // a person's file has fewer names
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters to change, add, remove or swap with their
// neighbour to get from a to b.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	var two, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		two, last, row = last, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], two[j-1]+1)
			}
		}
	}
	return row[len(b)]
}

// didYouMean is the hint for a name that nobody knows.
func didYouMean(name string, known []string, none string) string {
	if n := nearest(name, known); n != "" {
		return "did you mean " + n + "?"
	}
	if len(known) == 0 {
		return none
	}
	if len(known) > 12 {
		known = append(slices.Clone(known[:12]), "…")
	}
	return "known are " + strings.Join(known, ", ")
}
