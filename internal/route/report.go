package route

import (
	"html"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

const (
	textRunes = 200      // what a person is shown of a provider's message
	readBytes = 64 << 10 // what is read of an error body; the rest says nothing new
	findBytes = 4 << 10  // how much of each text is searched, at about 1 µs a byte
)

// report is what a provider's error body says, whatever its shape.
type report struct {
	Type string // the word for programs: error.code if it is one, else error.type
	Code int    // a status given inside the body; 0 if none
	Text string // the message, not yet cut
	all  string // lower case: message, types and the upstream's own text, to search in
}

// readReport reads the error shapes of both wires, of the servers that have
// their own (FastAPI's detail, Ollama's plain string, Gemini's array,
// OpenRouter's nested upstream error), of HTML pages and of plain text.
func readReport(body []byte, inBand, text string) report {
	if len(body) > readBytes {
		body = body[:readBytes]
	}
	r := report{Type: inBand, Text: text}
	raw := ""
	switch s := strings.TrimSpace(string(body)); {
	case s == "":
	case (s[0] == '{' || s[0] == '[') && gjson.Valid(s):
		raw = r.readJSON(gjson.Parse(s))
	case s[0] == '<':
		r.Text = pageText(s)
	default:
		r.Text = s
	}
	if r.Code == 0 {
		r.Code = statusIn(r.Type)
	}
	r.all = strings.ToLower(strings.Join([]string{head(r.Type), head(inBand), head(r.Text), head(text), head(raw)}, "\n"))
	return r
}

// readJSON fills r and returns further text to search in: the types that are
// not shown, and the text of an upstream behind the provider.
func (r *report) readJSON(v gjson.Result) (more string) {
	if v.IsArray() {
		v = v.Get("0")
	}
	e := v.Get("error")
	switch {
	case e.IsObject():
	case e.Type == gjson.String:
		r.Text = e.Str
		return ""
	case v.Get("errors.0").IsObject():
		e = v.Get("errors.0")
	default:
		e = v
	}
	for _, key := range []string{"message", "detail.0.msg", "detail", "msg", "title", "error_description"} {
		if t := e.Get(key); t.Type == gjson.String && strings.TrimSpace(t.Str) != "" {
			r.Text = t.Str
			break
		}
	}
	code, typ, status := e.Get("code"), e.Get("type"), e.Get("status")
	switch {
	case code.Type == gjson.String && code.Str != "":
		r.Type = code.Str
	case typ.Type == gjson.String && typ.Str != "" && typ.Str != "error":
		r.Type = typ.Str
	case status.Type == gjson.String && status.Str != "":
		r.Type = status.Str
	}
	if code.Type == gjson.Number && code.Num >= 100 && code.Num < 600 {
		r.Code = int(code.Num)
	}
	behind := e.Get("metadata.raw")
	if behind.Type == gjson.String {
		more = behind.Str
		if strings.EqualFold(r.Text, "Provider returned error") {
			inner := readReport([]byte(behind.Str), "", "")
			if inner.Text != "" {
				r.Text = inner.Text
			}
		}
	}
	return strings.Join([]string{more, typ.String(), status.String(), e.Get("details.0.reason").String()}, "\n")
}

func head(s string) string { return s[:min(len(s), findBytes)] }

// statusIn reads a type that is an HTTP status in digits, as some servers give
// one in place of a word.
func statusIn(word string) int {
	if len(word) != 3 || word[0] < '1' || word[0] > '5' {
		return 0
	}
	n := 0
	for _, c := range word {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// pageText returns the title of an HTML page, else its first heading, else its
// text without tags.
func pageText(s string) string {
	lower := strings.ToLower(s)
	if len(lower) != len(s) { // letters whose small form has another length: offsets would lie
		lower = s
	}
	for _, tag := range []string{"title", "h1"} {
		from := strings.Index(lower, "<"+tag)
		if from < 0 {
			continue
		}
		open := strings.IndexByte(lower[from:], '>')
		if open < 0 {
			continue
		}
		from += open + 1
		if to := strings.Index(lower[from:], "</"+tag); to >= 0 {
			if t := strings.TrimSpace(html.UnescapeString(s[from : from+to])); t != "" {
				return t
			}
		}
	}
	var b strings.Builder
	inTag := false
	for _, c := range s {
		switch {
		case c == '<':
			inTag = true
			b.WriteByte(' ')
		case c == '>':
			inTag = false
		case !inTag:
			b.WriteRune(c)
		}
	}
	return html.UnescapeString(b.String())
}

// oneLine makes a text fit to be shown on one line: no control characters and
// nothing that changes the direction of writing, runs of space as one, at most
// 200 runes.
func oneLine(s string) string {
	var b strings.Builder
	space, n := false, 0
	for _, c := range s {
		if unicode.IsSpace(c) || unicode.IsControl(c) || unicode.Is(unicode.Cf, c) || c == utf8.RuneError {
			space = true
			continue
		}
		if space && n > 0 {
			b.WriteByte(' ')
			n++
		}
		space = false
		if n >= textRunes {
			break
		}
		b.WriteRune(c)
		n++
	}
	return strings.TrimSuffix(b.String(), " ")
}
