package guard

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// Refusal is why a guard refuses a request.
type Refusal struct {
	Code    string // the case, for programs: "tool_count_exceeded", "tool_loop_detected"
	Message string // for a person

	key   string       // what the facts are called within an in-band error
	facts []drey.Field // in the contract's order
}

// Error returns the message.
func (r *Refusal) Error() string { return r.Message }

// Caller is to whom a refusal is told.
type Caller struct {
	ID        drey.RequestID
	At        time.Time // now
	Stream    bool      // the caller asked for a stream
	UserAgent string
	Form      StreamForm // the profile's tool_cap.stream_form
}

// A Teller writes errors in one wire. wire.Codec is one.
type Teller interface {
	Error(e wire.Error) []byte
	StreamError(e wire.Error) []byte
}

// resenders are the agents that take an in-band error for a broken stream and
// send the request again, 5 to 11 times; a 400 stops them. Source:
// contract §12.
var resenders = [...]string{"claude-cli/", "codex_", "opencode/"}

// inBand reports whether the refusal is told as a stream.
func (c Caller) inBand() bool {
	if !c.Stream || c.Form != FormAuto {
		return c.Stream && c.Form == FormSSE
	}
	for _, agent := range resenders {
		if strings.HasPrefix(c.UserAgent, agent) {
			return false
		}
	}
	return true
}

// Answer is a refusal as it goes out: the whole answer, after which the body
// ends. The gateway adds its own headers: the request's id, and for 400
// x-should-retry: false.
type Answer struct {
	Status      int // 400, or 200 for a stream
	ContentType string
	Body        []byte
}

// Answer writes the refusal for a caller in its wire.
func (r *Refusal) Answer(codec Teller, to Caller) Answer {
	e := wire.Error{
		Type: "invalid_request_error", Code: r.Code, Message: r.Message, RequestID: string(to.ID), Created: to.At.Unix(),
	}
	if !to.inBand() {
		e.Detail = scan.AppendString([]byte(`{"error":`), r.Code)
		e.Detail = scan.AppendString(append(e.Detail, `,"message":`...), r.Message)
		e.Detail = append(r.appendFacts(append(e.Detail, ',')), '}')
		return Answer{400, "application/json", codec.Error(e)}
	}
	e.Details = append(r.appendFacts([]byte{'{'}), '}')
	// The wires have one name for what stands within an error, and the guards
	// have their own. Within a string its quotes would be escaped, so the first
	// such key is the one.
	frame := bytes.Replace(codec.StreamError(e), []byte(`,"details":`), []byte(`,"`+r.key+`":`), 1)
	return Answer{200, "text/event-stream", frame}
}

func (r *Refusal) appendFacts(dst []byte) []byte {
	for i, f := range r.facts {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(scan.AppendString(dst, f.Key), ':')
		switch v := f.Value.(type) {
		case int:
			dst = strconv.AppendInt(dst, int64(v), 10)
		case drey.ProfileID:
			dst = scan.AppendString(dst, string(v))
		case string:
			dst = scan.AppendString(dst, v)
		}
	}
	return dst
}
