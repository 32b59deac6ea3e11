package operation

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// Bounds of what a child may say, in bytes. What is longer is cut and the call
// succeeds: refusing would leave a finished child running for ever.
const (
	MaxContent = 1 << 20 // a result's content, and the error or reason of another ending
	MaxMessage = 4 << 10 // a progress message
)

// tidy makes a text what JSON can hold, so that the journal gives back what
// the machine has, and cuts it at a rune boundary to at most limit bytes.
func tidy(s string, limit int) (tidied string, wasCut bool) {
	if len(s) <= limit && utf8.ValidString(s) {
		return s, false
	}
	// Cut twice: before, so that what is thrown away is not tidied; after,
	// because a broken byte is replaced by three.
	out := cut(s, limit)
	wasCut = len(out) < len(s)
	valid := strings.ToValidUTF8(out, "\uFFFD")
	out = cut(valid, limit)
	return out, wasCut || len(out) < len(valid)
}

// tidyText is tidy for the texts that do not say whether they were cut.
func tidyText(s string, limit int) string {
	s, _ = tidy(s, limit)
	return s
}

// cut returns the longest prefix of s of at most limit bytes that does not end
// within a rune.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit
	for end > 0 && end > limit-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// marshal writes JSON as the house writes it: without HTML escaping.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil // Encode ends with a newline
}
