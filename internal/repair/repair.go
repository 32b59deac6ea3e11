// Package repair finds the tool calls that weak models print as text instead of
// making them, and takes out of a model's text what was never meant for a
// reader: leaked reasoning, stop markers, tool XML, byte tokens.
//
// There are two kinds of machine here, and both work on the text of an answer
// in pieces of any size. Where the text is cut changes nothing in what comes
// out, only when it comes:
//
//   - Scanner turns text into text and calls. It lets text flow, holds back only
//     what may become a call, and gives it back untouched if it does not.
//   - Filter and Chain turn text into less text.
//
// A call is believed only if its name is one of the request's tools and its
// arguments fit. In doubt the text stays as the model wrote it: a call that was
// missed costs a turn, one that was invented may cost a disk.
//
// Everything here is pure. Package stage, below, puts both between a provider's
// decoder and a caller's encoder.
package repair

import "strings"

// The bounds of the search. What lies beyond them is left alone.
const (
	// MaxHold is how many bytes a Scanner holds back for one decision: a call
	// is at most that long.
	MaxHold = 64 << 10
	// MaxText is how many bytes of an answer are searched for calls. A call that
	// ends beyond it stays text.
	MaxText = 256 << 10
	// maxDepth is how deep arguments may nest.
	maxDepth = 100
)

// Shape says how a call was printed.
type Shape uint8

// The shapes. Those within a code fence are told apart because they say
// something about the model: its template is a chat template's, not a tool's.
const (
	JSON   Shape = iota // an object, or a list of them
	Tag                 // XML-like: <tool_call>…, <function=…>…, <Bash …/>
	Syntax              // a call as a program writes it: Bash(command="ls")
	FencedJSON
	FencedTag
	FencedSyntax
)

var shapeNames = [...]string{"json", "tag", "syntax", "fenced_json", "fenced_tag", "fenced_syntax"}

// String returns the shape's name in events and metrics.
func (s Shape) String() string {
	if int(s) < len(shapeNames) {
		return shapeNames[s]
	}
	return ""
}

// Call is one tool call that was found.
type Call struct {
	Name      string // as the request declares it
	Arguments []byte // a JSON object; as the model wrote it if that was JSON
	Shape     Shape
}

// Arguments reads the arguments of a call as models write them: single quotes,
// bare keys, trailing commas, line ends in strings. ok is false if they are no
// object even so.
func Arguments(text string) (object []byte, ok bool) {
	n, ok := parse([]byte(text))
	if !ok || n.kind != objectNode {
		return nil, false
	}
	return n.json(), true
}

// Piece is what a Scanner lets through: text, or one call.
type Piece struct {
	Text string // if Call is nil; not empty
	Call *Call
}

// Text finds the calls in a whole text. rest is the text without them; it is
// the text itself if there are none.
func Text(t *Tools, text string) (rest string, calls []Call) {
	s := NewScanner(t)
	var b strings.Builder
	for _, p := range s.Close(s.Feed(nil, text)) {
		if p.Call != nil {
			calls = append(calls, *p.Call)
		} else {
			b.WriteString(p.Text)
		}
	}
	if calls == nil {
		return text, nil
	}
	return b.String(), calls
}
