package repair

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Filter takes out of one block of text what is not meant for a reader. Where
// the text is cut changes nothing in what comes out in all. It holds back only
// what may begin something that goes. A Filter belongs to one goroutine.
type Filter interface {
	// Feed takes the next text and returns what may go on: the text itself,
	// not a copy, where there is nothing to do.
	Feed(text string) string
	// Close ends the block and returns what was held back.
	Close() string
	// Held reports whether something is held back.
	Held() bool
	// Changed reports whether something went or was mended.
	Changed() bool
}

// Names of the filters, as the configuration spells them.
const (
	StripThinking      = "strip_thinking"
	StripStopMarkers   = "strip_stop_markers"
	StripToolCallXML   = "strip_tool_call_xml"
	RepairByteFallback = "repair_byte_fallback"
)

// NewFilter returns the filter of a name.
//
// whole says that the text is not shown before its end, as in an answer that is
// not streamed. It makes a difference to StripThinking alone: of reasoning whose
// opening tag the provider swallowed, only a text that was not sent yet can
// still be cleared.
func NewFilter(name string, whole bool) (Filter, error) {
	switch name {
	case StripThinking:
		return &tagFilter{rules: &thinkFilter{whole: whole}}, nil
	case StripStopMarkers:
		return &tagFilter{rules: markerFilter{}}, nil
	case StripToolCallXML:
		return &tagFilter{rules: &xmlFilter{}}, nil
	case RepairByteFallback:
		return &tagFilter{rules: byteFilter{}}, nil
	}
	return nil, fmt.Errorf("unknown filter %q", name)
}

// rules are what makes a filter. Everything that a filter looks for begins
// with "<".
type rules interface {
	// at looks at text, which begins with "<", or with anything if inside. It
	// returns what goes on instead of the first n bytes; n = 0 asks for more
	// text, and is not returned at the end of it.
	at(text string, end bool) (out string, n int)
	// inside reports whether at wants all text, and not from "<" on alone.
	inside() bool
}

// leader is rules that care for the text before what they look for.
type leader interface {
	// before is told all text that is about to go on, and returns what does.
	before(text string, end bool) string
	waits() bool
}

// tagFilter drives rules over text that comes in pieces.
type tagFilter struct {
	rules   rules
	held    strings.Builder
	changed bool
}

func (f *tagFilter) Held() bool {
	l, ok := f.rules.(leader)
	return f.held.Len() > 0 || ok && l.waits()
}

func (f *tagFilter) Changed() bool { return f.changed }

func (f *tagFilter) Close() string { return f.run("", true) }

func (f *tagFilter) Feed(text string) string { return f.run(text, false) }

func (f *tagFilter) run(text string, end bool) string {
	lead, leads := f.rules.(leader)
	if f.held.Len() == 0 && !f.rules.inside() && strings.IndexByte(text, '<') < 0 {
		if leads {
			return lead.before(text, end)
		}
		return text
	}
	if f.held.Len() > 0 { // the builder grows by doubling, so that small pieces cost little
		f.held.WriteString(text)
		text = f.held.String()
	}
	held := f.held.Len()
	var out strings.Builder
	put := func(s string) {
		if leads {
			s = lead.before(s, false)
		}
		out.WriteString(s)
	}
	for text != "" {
		if !f.rules.inside() {
			at := strings.IndexByte(text, '<')
			if at < 0 {
				at = len(text)
			}
			put(text[:at])
			if text = text[at:]; text == "" {
				break // all has gone on
			}
		}
		made, n := f.rules.at(text, end)
		if n == 0 {
			break
		}
		f.changed = f.changed || made != text[:n]
		put(made)
		text = text[n:]
	}
	if held == 0 || len(text) < held { // it is not all what was held already
		f.held.Reset()
		f.held.WriteString(text)
	}
	if leads && end {
		out.WriteString(lead.before("", true))
	}
	return out.String()
}

// startOf reports whether text is a beginning of one of the words, but not all
// of it.
func startOf(text string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return len(text) < len(w) && strings.HasPrefix(w, text) })
}

// thinkFilter takes out think spans. One that is not closed takes the rest with
// it. A closing tag alone takes what stands before it, if that was not sent yet:
// some templates put the opening one into the prompt.
type thinkFilter struct {
	whole bool
	in    bool
	sent  bool            // text has gone on
	kept  strings.Builder // text that may still go
}

const thinkStart, thinkEnd = "<think>", "</think>"

// maxBlank is how much leading space is held back for a closing tag.
const maxBlank = 4096

func (f *thinkFilter) inside() bool { return f.in }
func (f *thinkFilter) waits() bool  { return f.kept.Len() > 0 }

func (f *thinkFilter) before(text string, end bool) string {
	if f.sent {
		return text
	}
	f.kept.WriteString(text)
	if !end && (f.whole || f.kept.Len() < maxBlank && strings.TrimSpace(text) == "") {
		return ""
	}
	f.sent = f.sent || f.kept.Len() > 0
	text = f.kept.String()
	f.kept.Reset()
	return text
}

func (f *thinkFilter) at(text string, end bool) (string, int) {
	if f.in {
		if at := strings.Index(text, thinkEnd); at >= 0 {
			f.in = false
			return "", at + len(thinkEnd)
		}
		// What may begin the closing tag waits; the rest goes.
		n := len(text)
		if at := strings.LastIndexByte(text, '<'); at >= 0 && !end && startOf(text[at:], thinkEnd) {
			n = at
		}
		return "", n
	}
	switch {
	case strings.HasPrefix(text, thinkStart):
		f.in = true
		return "", len(thinkStart)
	case strings.HasPrefix(text, thinkEnd):
		if !f.sent {
			f.kept.Reset()
		}
		return "", len(thinkEnd)
	case !end && startOf(text, thinkStart, thinkEnd):
		return "", 0
	}
	return "<", 1
}

// stopMarkers are the ends, turns and channels of chat templates that leak.
var stopMarkers = []string{
	"<|turn|>", "<|end|>", "<|python_tag|>", "<|im_end|>", "<|im_start|>", "<|eot_id|>",
	"<|channel>thought", "<|tool▁call|>", "<|tool▁sep|>",
}

// markerFilter takes out stop markers.
type markerFilter struct{}

func (markerFilter) inside() bool { return false }

func (markerFilter) at(text string, end bool) (string, int) {
	for _, m := range stopMarkers {
		if strings.HasPrefix(text, m) {
			return "", len(m)
		}
	}
	if !end && startOf(text, stopMarkers...) {
		return "", 0
	}
	return "<", 1
}

// xmlFilter takes out the tags of tool calls with all that they hold, and
// closing tags that are left over. A tag that is not closed within MaxHold stays
// with all that follows it: it is more likely a mention.
type xmlFilter struct {
	shut string // the closing tag that is awaited; "" outside of a tag
	seen int    // how much of the text was searched for it
}

// toolTags are the opening tags, as far as they are the same each time.
var toolTags = []struct{ open, shut string }{
	{"<tool_call>", "</tool_call>"},
	{"<tool_calls>", "</tool_calls>"},
	{"<function_call>", "</function_call>"},
	{"<function_calls>", "</function_calls>"},
	{"<invoke>", "</invoke>"},
	{"<invoke ", "</invoke>"},
	{"<function=", "</function>"},
}

func (*xmlFilter) inside() bool { return false }

func (f *xmlFilter) at(text string, end bool) (string, int) {
	if f.shut == "" {
		wait := false
		for _, t := range toolTags {
			switch {
			case strings.HasPrefix(text, t.open):
				f.shut, f.seen = t.shut, len(t.open)
			case strings.HasPrefix(text, t.shut):
				return "", len(t.shut)
			}
			wait = wait || startOf(text, t.open, t.shut)
		}
		switch {
		case f.shut != "":
		case wait && !end:
			return "", 0
		default:
			return "<", 1
		}
	}
	limit := min(len(text), MaxHold)
	from := max(0, f.seen-len(f.shut)) // half of it may have been there before
	at := strings.Index(text[from:limit], f.shut)
	f.seen = limit
	switch {
	case at >= 0:
		n := from + at + len(f.shut)
		f.shut = ""
		return "", n
	case limit == MaxHold || end:
		f.shut = ""
		return text[:limit], limit
	}
	return "", 0
}

// byteFilter puts together characters that a tokenizer printed byte by byte:
// <0xE3><0x81><0x82>. What is no UTF-8 stays, and so do control characters.
type byteFilter struct{}

// byteToken is the length of one.
const byteToken = len("<0xE3>")

func (byteFilter) inside() bool { return false }

func (byteFilter) at(text string, end bool) (string, int) {
	var run [utf8.UTFMax]byte
	n, i := 0, 0
	for n < len(run) && !utf8.FullRune(run[:n]) {
		b, ok := readByteToken(text[i:])
		if !ok {
			if !end && mayBeByteToken(text[i:]) {
				return "", 0
			}
			break
		}
		run[n] = b
		n++
		i += byteToken
	}
	if r, size := utf8.DecodeRune(run[:n]); size == n && n > 0 && (r != utf8.RuneError || n > 1) {
		if r >= ' ' && r != 0x7f || r == '\n' || r == '\t' || r == '\r' {
			return string(r), i
		}
	}
	if n > 0 {
		return text[:byteToken], byteToken
	}
	return "<", 1
}

func readByteToken(text string) (byte, bool) {
	if len(text) < byteToken || text[:3] != "<0x" || text[5] != '>' || !isHex(text[3]) || !isHex(text[4]) {
		return 0, false
	}
	return unhex(text[3])<<4 | unhex(text[4]), true
}

// mayBeByteToken reports whether a token may come of text once it goes on.
func mayBeByteToken(text string) bool {
	if len(text) >= byteToken {
		return false
	}
	for i := range len(text) {
		if i < 3 && text[i] != "<0x"[i] || i >= 3 && !(i < 5 && isHex(text[i])) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool { return isDigit(c) || lower(c) >= 'a' && lower(c) <= 'f' }

func unhex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return lower(c) - 'a' + 10
}
