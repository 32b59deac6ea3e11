package openai

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// Error writes {"error":{…}} with the detail beside it, as on chat.
func (Responses) Error(e wire.Error) []byte { return appendError(nil, e) }

// StreamError writes response.failed, the only end of this wire that clients do
// not take for a whole answer.
func (Responses) StreamError(e wire.Error) []byte {
	told := scan.AppendString([]byte(`{"code":`), cmp.Or(e.Code, e.Type))
	told = scan.AppendString(append(told, `,"message":`...), e.Message)
	if len(e.Details) > 0 {
		told = append(append(told, `,"details":`...), e.Details...)
	}
	h := answerHead{
		id: responseID(strings.TrimPrefix(e.RequestID, "req_")), created: e.Created, status: statusFailed, err: append(told, '}'),
	}
	data := appendResponse(numbered(nil, "response.failed", e.Sequence, `"response":`), h, nil, nil)
	return sse.AppendEvent(nil, "response.failed", append(data, '}'))
}

// EndMark returns nil: the last event itself ends a stream.
func (Responses) EndMark() []byte { return nil }

// Ping writes an event with data: clients of this wire do not count a comment as
// a sign of life.
func (Responses) Ping() []byte { return sse.AppendEvent(nil, "ping", []byte(`{"type":"ping"}`)) }

// numbered begins the data of an event, up to what its own fields are.
func numbered(dst []byte, kind string, n int, fields string) []byte {
	dst = append(append(append(dst, `{"type":"`...), kind...), `","sequence_number":`...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(append(dst, ','), fields...)
}
