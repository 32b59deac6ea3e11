// Package anthropic is the codec of the Messages wire.
package anthropic

import (
	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// Codec speaks the Messages wire. The zero value is ready; it may be used
// concurrently.
type Codec struct{}

var _ wire.Codec = Codec{}

// Wire returns drey.WireAnthropic.
func (Codec) Wire() drey.Wire { return drey.WireAnthropic }

// Error writes the plain body of an error.
func (Codec) Error(e wire.Error) []byte { return appendError(nil, e) }

// StreamError writes the error event that ends a broken stream.
func (Codec) StreamError(e wire.Error) []byte {
	return sse.AppendEvent(nil, "error", appendError(nil, e))
}

// Ping writes the keepalive of this wire, which all its clients bear at any
// place of a stream, also before message_start.
func (Codec) Ping() []byte { return []byte("event: ping\ndata: {\"type\":\"ping\"}\n\n") }

func appendError(dst []byte, e wire.Error) []byte {
	dst = append(dst, `{"type":"error","error":{"type":`...)
	dst = scan.AppendString(dst, e.Type)
	dst = append(dst, `,"message":`...)
	dst = scan.AppendString(dst, e.Message)
	if e.Details != nil {
		dst = append(append(dst, `,"details":`...), e.Details...)
	}
	dst = append(dst, '}')
	if e.RequestID != "" {
		dst = scan.AppendString(append(dst, `,"request_id":`...), e.RequestID)
	}
	if e.Detail != nil {
		dst = append(append(dst, `,"detail":`...), e.Detail...)
	}
	return append(dst, '}')
}

// stopOf reads a stop_reason.
func stopOf(reason []byte) wire.Stop {
	switch string(reason) {
	case "end_turn":
		return wire.StopEnd
	case "max_tokens", "model_context_window_exceeded":
		return wire.StopLength
	case "tool_use":
		return wire.StopTools
	case "stop_sequence":
		return wire.StopSequence
	case "refusal":
		return wire.StopRefusal
	case "pause_turn":
		return wire.StopPause
	default:
		return wire.StopUnknown
	}
}

// oddReason returns a stop_reason that we do not know, as it was told.
func oddReason(reason []byte) string {
	if stopOf(reason) != wire.StopUnknown {
		return ""
	}
	return string(reason)
}

// stopReason writes why an answer ended. One with a tool call says tool_use
// whatever the provider said, since agents run tools only then; but an answer
// that was cut by its length may hold half a call.
func stopReason(s wire.Stop, tools bool) string {
	switch {
	case s == wire.StopLength:
		return "max_tokens"
	case tools:
		return "tool_use"
	}
	switch s {
	case wire.StopSequence:
		return "stop_sequence"
	case wire.StopRefusal:
		return "refusal"
	case wire.StopPause:
		return "pause_turn"
	default:
		return "end_turn"
	}
}

// EndMark is nil: message_stop is an event of its own and ends the stream.
func (Codec) EndMark() []byte { return nil }
