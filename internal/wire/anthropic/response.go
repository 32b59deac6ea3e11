package anthropic

import (
	"strconv"
	"strings"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// Inspect reads a whole answer that is passed on unchanged.
func (Codec) Inspect(body []byte) (wire.Report, error) {
	rep := wire.Report{Empty: true}
	err := readAnswer(body, func(s *scan.Scanner, key string) {
		switch key {
		case "model":
			rep.Model, _ = s.Text()
		case "stop_reason":
			rep.Stop = stopOf(s.Word())
		case "usage":
			if u, ok := readUsage(s); ok {
				rep.Usage = &u
			}
		case "content":
			for range s.Items() {
				for key := range s.Fields() {
					switch string(key) {
					case "type":
						if string(s.Word()) == "tool_use" {
							rep.Tools++
							rep.Empty = false
						}
					case "text":
						if q := s.Quoted(); q != nil && !blank(q) {
							rep.Empty = false
						}
					}
				}
			}
		}
	})
	if err != nil {
		return wire.Report{}, err
	}
	return rep, nil
}

// DecodeResponse reads a whole answer into neutral form. Server tools' calls
// and results are left out.
func (Codec) DecodeResponse(body []byte) (*wire.Response, error) {
	r := &wire.Response{}
	d := decoder{}
	err := readAnswer(body, func(s *scan.Scanner, key string) {
		switch key {
		case "id":
			r.ID, _ = s.Text()
		case "model":
			r.Model, _ = s.Text()
		case "stop_reason":
			reason := s.Word()
			r.Stop, r.Odd = stopOf(reason), oddReason(reason)
		case "stop_sequence":
			r.StopSequence, _ = s.Text()
		case "usage":
			r.Usage, _ = readUsage(s)
		case "content":
			d.s = *s
			r.Blocks = d.field("content")
			*s = d.s
		}
	})
	switch {
	case err != nil:
		return nil, err
	case d.err != nil:
		return nil, &wire.AnswerError{Kind: wire.Malformed, Msg: d.err.Error()}
	}
	return r, nil
}

// readAnswer walks the fields of a whole answer and refuses what is none: no
// JSON, an error inside a 200, no list of content.
func readAnswer(body []byte, field func(s *scan.Scanner, key string)) error {
	s := scan.New(body)
	var reported *wire.AnswerError
	content := false
	for key := range s.Fields() {
		switch string(key) {
		case "error":
			if s.Kind() == scan.Object {
				reported = readError(&s)
			}
		case "content":
			content = s.Kind() == scan.Array
			field(&s, "content")
		default:
			field(&s, string(key))
		}
	}
	switch {
	case s.End() != nil:
		return &wire.AnswerError{Kind: wire.Malformed, Msg: s.Err().Error()}
	case reported != nil:
		return reported
	case !content:
		return &wire.AnswerError{Kind: wire.Malformed, Msg: "the answer has no list of content"}
	}
	return nil
}

// readError reads the object of an error.
func readError(s *scan.Scanner) *wire.AnswerError {
	e := &wire.AnswerError{Kind: wire.Reported}
	for key := range s.Fields() {
		switch string(key) {
		case "type":
			e.Type, _ = s.Text()
		case "message":
			e.Msg, _ = s.Text()
		}
	}
	return e
}

// readUsage reads a usage object; ok is false if there is none.
func readUsage(s *scan.Scanner) (u wire.Usage, ok bool) {
	if s.Kind() != scan.Object {
		return u, false
	}
	for key := range s.Fields() {
		switch string(key) {
		case "input_tokens":
			u.Input = wire.Tokens(s)
		case "output_tokens":
			u.Output = wire.Tokens(s)
		case "cache_read_input_tokens":
			u.CacheRead = wire.Tokens(s)
		case "cache_creation_input_tokens":
			u.CacheWrite = wire.Tokens(s)
		}
	}
	return u, true
}

// blank reports whether a JSON string with its quotes says nothing but space.
func blank(quoted []byte) bool {
	text := quoted[1 : len(quoted)-1]
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case ' ', '\t':
		case '\\':
			if c := text[i+1]; c != 'n' && c != 'r' && c != 't' {
				return strings.TrimSpace(string(scan.Unquote(quoted))) == ""
			}
			i++
		default:
			if text[i] < 0x80 {
				return false
			}
			return strings.TrimSpace(string(scan.Unquote(quoted))) == ""
		}
	}
	return true
}

// EncodeResponse writes a whole answer.
func (Codec) EncodeResponse(r *wire.Response) ([]byte, error) {
	dst := append([]byte(nil), `{"id":`...)
	dst = scan.AppendString(dst, messageID(r.ID))
	dst = append(dst, `,"type":"message","role":"assistant","model":`...)
	dst = scan.AppendString(dst, r.Model)
	dst = append(dst, `,"content":[`...)
	tools, empty := false, len(dst)
	for i := range r.Blocks {
		b := &r.Blocks[i]
		if b.Kind == wire.Text && b.Text == "" {
			continue // it would come back in the history, and be refused there
		}
		if len(dst) > empty {
			dst = append(dst, ',')
		}
		switch b.Kind {
		case wire.Text:
			dst = appendText(dst, b.Text, nil)
		case wire.ToolUse, wire.Reasoning, wire.Redacted:
			tools = tools || b.Kind == wire.ToolUse
			dst = append(appendAnswer(dst, b), '}')
		default:
			return nil, &wire.AnswerError{Kind: wire.Malformed, Msg: "a block that no answer of this wire can hold"}
		}
	}
	dst = append(dst, `],"stop_reason":`...)
	dst = appendStop(dst, stopReason(r.Stop, tools), r.StopSequence)
	dst = append(dst, `,"usage":`...)
	return append(appendUsage(dst, r.Usage), '}'), nil
}

// appendStop writes the value of stop_reason, and stop_sequence.
func appendStop(dst []byte, reason, sequence string) []byte {
	dst = append(scan.AppendString(dst, reason), `,"stop_sequence":`...)
	if reason != "stop_sequence" || sequence == "" {
		return append(dst, "null"...)
	}
	return scan.AppendString(dst, sequence)
}

func appendUsage(dst []byte, u wire.Usage) []byte {
	dst = strconv.AppendInt(append(dst, `{"input_tokens":`...), int64(u.Input), 10)
	dst = strconv.AppendInt(append(dst, `,"cache_creation_input_tokens":`...), int64(u.CacheWrite), 10)
	dst = strconv.AppendInt(append(dst, `,"cache_read_input_tokens":`...), int64(u.CacheRead), 10)
	dst = strconv.AppendInt(append(dst, `,"output_tokens":`...), int64(u.Output), 10)
	return append(dst, '}')
}

// messageID gives an id the prefix that this wire's messages have.
func messageID(id string) string {
	const prefix = "msg_"
	if strings.HasPrefix(id, prefix) {
		return id
	}
	return prefix + strings.TrimPrefix(strings.TrimPrefix(id, "chatcmpl-"), "resp_")
}
