package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/dreyhq/drey"
)

// quoted is a value as it stands behind a key: bare where that is clear.
func quoted(s string) string {
	bare := s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r == ' ' || r == '=' || r == '"' || !strconv.IsPrint(r)
	})
	if bare {
		return s
	}
	return strconv.Quote(s)
}

// printable shows what a terminal would obey instead of printing: texts of
// upstreams and clients end up in what drey prints.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		q := strconv.QuoteRune(r)
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}

// cut shortens a text to its first n characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// span writes a time span to the second.
func span(d time.Duration) string { return drey.Duration(d.Round(time.Second)).String() }

// dash stands for what is not there.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
