package autoroute

import (
	"strings"
	"unicode/utf8"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// What a condition sees of a request is bounded, so that what it costs is.
const (
	// maxText is how much of the text a condition sees, in bytes: its first and
	// its last 2 KiB where it is longer. Instructions stand before or after
	// what is pasted, and a pattern of some size over 4 KiB takes a millisecond.
	maxText = 4 << 10
	// maxTools and maxName are how many tools it sees, and how much of the name
	// of each, in bytes. Agents declare some dozens; the vendors allow names of
	// 64 to 128 characters.
	maxTools = 256
	maxName  = 128
	// maxWord is how much it sees of the model's and the key's name, in bytes.
	maxWord = 256
)

// Signals are the variables of a condition, by the names of their expr tags.
// As JSON they are what the event auto-router tells: everything but the text,
// and of the tools only how many there are.
type Signals struct {
	Model     string   `expr:"model" json:"model,omitempty"` // as the caller names it
	Text      string   `expr:"text" json:"-"`                // the latest user turn that has text of its own; see maxText
	Tokens    int      `expr:"tokens" json:"tokens"`         // of the prompt, estimated
	HasImage  bool     `expr:"has_image" json:"has_image"`   // somewhere in the conversation
	HasTools  bool     `expr:"has_tools" json:"has_tools"`   // it declares tools
	Tools     []string `expr:"tools" json:"-"`               // their names
	CodeRatio float64  `expr:"code_ratio" json:"-"`          // share of the characters of the whole text that stand within fences, 0 to 1
	Thinking  bool     `expr:"thinking" json:"thinking"`     // it asks for thinking
	Stream    bool     `expr:"stream" json:"stream"`
	Turns     int      `expr:"turns" json:"turns"` // user turns
	Wire      string   `expr:"wire" json:"wire"`   // anthropic, chat or responses
	Key       string   `expr:"key" json:"key,omitempty"`
	Hour      int      `expr:"hour" json:"hour"` // 0 to 23

	ToolCount int      `expr:"-" json:"tool_count"`
	Code      *float64 `expr:"-" json:"code_ratio,omitempty"` // CodeRatio, if a rule looks at it
}

// variables are the names of a condition's variables, for messages.
var variables = []string{
	"model", "text", "tokens", "has_image", "has_tools", "tools", "code_ratio", "thinking", "stream", "turns", "wire", "key", "hour",
}

// signals reads a request as far as the rules look at it.
func (r *Router) signals(req Request) Signals {
	h := &req.Head
	s := Signals{
		Model: clip(h.Model, maxWord), Tokens: h.Tokens, HasImage: h.Needs.Vision, HasTools: h.Needs.Tools, Tools: h.Tools,
		Thinking: h.Needs.Thinking, Stream: h.Stream, Turns: h.Turns, Wire: req.Wire.String(), Key: clip(req.Key, maxWord),
		Hour: req.Hour, ToolCount: len(h.Tools),
	}
	s.Tools = clipTools(h.Tools)
	if r.text || r.ratio {
		text := latestText(req.Wire, req.Body)
		if r.ratio {
			s.CodeRatio = codeRatio(text)
			s.Code = &s.CodeRatio
		}
		s.Text = ends(text, maxText)
	}
	return s
}

// clipTools bounds the tools, and leaves alone what is within the bounds.
func clipTools(names []string) []string {
	names = names[:min(len(names), maxTools)]
	for i, n := range names {
		if len(n) > maxName {
			out := append([]string(nil), names...)
			for j := i; j < len(out); j++ {
				out[j] = clip(out[j], maxName)
			}
			return out
		}
	}
	return names
}

// clip cuts s to n bytes at most, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// ends is s, or where it is longer than n bytes, its beginning and its end with
// a line break between them.
func ends(s string, n int) string {
	if len(s) <= n {
		return s
	}
	head := clip(s, n/2)
	from := len(s) - (n - n/2 - 1)
	for from < len(s) && !utf8.RuneStart(s[from]) {
		from++
	}
	return head + "\n" + s[from:]
}

// latestText returns the text of the latest user turn that has some of its own:
// what the results of tools say is not the user's. It is "" if there is none,
// or if the body is not of the wire.
func latestText(w drey.Wire, body []byte) string {
	list := wire.ListOf(w)
	var turns []scan.Scanner // bookmarks at the content of the user's turns
	s := scan.New(body)
	for key := range s.Fields() {
		if string(key) != list {
			continue
		}
		turns = turns[:0]
		if s.Kind() == scan.String { // responses: the whole input is one turn
			turns = append(turns, s)
			continue
		}
		for range s.Items() {
			user, at := false, scan.Scanner{}
			for key := range s.Fields() {
				switch string(key) {
				case "role":
					user = string(s.Word()) == "user"
				case "content":
					at = s
				}
			}
			if user {
				turns = append(turns, at)
			}
		}
	}
	for i := len(turns) - 1; i >= 0; i-- {
		if text := ownText(turns[i]); strings.TrimSpace(text) != "" {
			return text
		}
	}
	return ""
}

// ownText reads the content of a turn: a string, or parts of which those with a
// field text say something themselves.
func ownText(s scan.Scanner) string {
	if text, ok := s.Text(); ok {
		return text
	}
	var parts []string
	for range s.Items() {
		for key := range s.Fields() {
			if string(key) == "text" {
				if text, ok := s.Text(); ok {
					parts = append(parts, text)
				}
			}
		}
	}
	return strings.Join(parts, "\n")
}

// codeRatio returns the share of a text's characters that stand within fences
// of three or more backticks or tildes, the lines of the fences included. A
// fence that is not closed reaches to the end, as in Markdown.
func codeRatio(text string) float64 {
	total := utf8.RuneCountInString(text)
	if total == 0 {
		return 0
	}
	code, fence := 0, ""
	for line := range strings.Lines(text) {
		mark := fenceOf(line)
		switch {
		case fence == "" && mark != "":
			fence = mark
		case fence == "":
			continue
		case mark != "" && mark[0] == fence[0] && len(mark) >= len(fence) && strings.Trim(line, " \t\r\n"+mark[:1]) == "":
			fence = ""
		}
		code += utf8.RuneCountInString(line)
	}
	return float64(code) / float64(total)
}

// fenceOf returns the marks that make a line a fence, or "".
func fenceOf(line string) string {
	indent := len(line) - len(strings.TrimLeft(line, " "))
	if indent > 3 {
		return ""
	}
	line = line[indent:]
	for _, mark := range []string{"`", "~"} {
		n := len(line) - len(strings.TrimLeft(line, mark))
		if n < 3 {
			continue
		}
		if mark == "`" && strings.Contains(line[n:], "`") {
			return "" // code within a line
		}
		return line[:n]
	}
	return ""
}
