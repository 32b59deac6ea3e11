package openai

import (
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// Error writes {"error":{…}} with the detail beside it.
func (Chat) Error(e wire.Error) []byte { return appendError(nil, e) }

// StreamError writes the error as a data frame. No [DONE] follows it, so that
// nobody takes what came before for a whole answer.
func (Chat) StreamError(e wire.Error) []byte { return sse.AppendEvent(nil, "", appendError(nil, e)) }

// EndMark is the line that ends a stream.
func (Chat) EndMark() []byte { return []byte("data: [DONE]\n\n") }

// Ping writes a comment: a data frame without choices breaks clients.
func (Chat) Ping() []byte { return sse.AppendComment(nil, "ping") }

func appendError(dst []byte, e wire.Error) []byte {
	dst = append(dst, `{"error":{"message":`...)
	dst = scan.AppendString(dst, e.Message)
	dst = append(dst, `,"type":`...)
	dst = scan.AppendString(dst, e.Type)
	dst = append(dst, `,"param":null,"code":`...)
	if e.Code == "" {
		dst = append(dst, "null"...)
	} else {
		dst = scan.AppendString(dst, e.Code)
	}
	if len(e.Details) > 0 {
		dst = append(append(dst, `,"details":`...), e.Details...)
	}
	dst = append(dst, '}')
	if len(e.Detail) > 0 {
		dst = append(append(dst, `,"detail":`...), e.Detail...)
	}
	return append(dst, '}')
}

// reported reads the value of an answer's "error" field: an object, or the
// plain string that some backends send. It returns nil for null.
func reported(s *scan.Scanner) *wire.AnswerError {
	if s.Null() {
		return nil
	}
	e := &wire.AnswerError{Kind: wire.Reported}
	if msg, ok := s.Text(); ok {
		e.Msg = msg
		return e
	}
	var code string
	for key := range s.Fields() {
		switch string(key) {
		case "message":
			e.Msg, _ = s.Text()
		case "type":
			e.Type, _ = s.Text()
		case "code":
			if text, ok := s.Text(); ok {
				code = text
			} else if s.Kind() == scan.Number {
				code = string(s.Raw())
			}
		}
	}
	if e.Type == "" {
		e.Type = code
	}
	return e
}

// bad turns an error of the scanner into one about the provider's answer.
func bad(err error) *wire.AnswerError {
	return &wire.AnswerError{Kind: wire.Malformed, Msg: err.Error()}
}
