package wire

import "github.com/dreyhq/drey/internal/wire/scan"

// What an image and a document count in tokens, however large they are: their
// bytes say nothing about it.
const (
	ImageTokens    = 1500
	DocumentTokens = 2000
)

// Estimator adds up what a prompt or an answer is made of and estimates its
// tokens. It is the one estimate behind the context guard, count_tokens,
// reservations and timeouts. The zero value is an empty prompt.
//
// What counts: system, text, thinking, tool names, tool inputs and schemas as
// JSON, results. JSON escapes of a body count as what they stand for. Base64
// data never counts as text.
type Estimator struct {
	scan.Count
	Images    int
	Documents int
}

// Tokens returns the estimate: a quarter of the ASCII characters, 0.8 of the
// others, flat sums for images and documents, rounded up.
func (e *Estimator) Tokens() int {
	return (5*e.ASCII+16*e.Other+19)/20 + e.Images*ImageTokens + e.Documents*DocumentTokens
}

// Blocks adds decoded content: of a request, or of an answer whose provider
// reported no usage.
func (e *Estimator) Blocks(bs []Block) {
	for i := range bs {
		switch b := &bs[i]; b.Kind {
		case Text, Reasoning:
			e.Add(b.Text)
		case Image:
			e.Images++
		case Document:
			e.Documents++
		case ToolUse:
			e.Add(b.Name)
			s := scan.New(b.Input)
			s.CountValue(&e.Count)
		case ToolResult:
			e.Blocks(b.Content)
		case Redacted:
			// Only its vendor knows how long it is.
		}
	}
}

// mostTokens bounds what a provider may say it counted. It is far more than any
// request has, and so little that sums of reports stay what they are.
const mostTokens = 1 << 29

// Tokens takes a number of tokens, as a provider reports it. Anything else is 0,
// and so is what is negative.
func Tokens(s *scan.Scanner) int {
	n, _ := s.Int()
	return min(max(n, 0), mostTokens)
}
