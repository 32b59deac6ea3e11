// Package openai speaks the wires of OpenAI: Chat Completions and Responses, as
// OpenAI itself and the many backends that follow it write them, and the
// endpoint of embeddings.
//
// What a backend sends is taken leniently (a missing index, a role in every
// chunk, usage before or behind the end, reasoning under two names), what is
// sent is written strictly.
package openai

import (
	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

// Chat is the codec of Chat Completions. The zero value is ready, and all uses
// may be concurrent.
type Chat struct{}

var _ wire.Codec = Chat{}

// Wire returns drey.WireChat.
func (Chat) Wire() drey.Wire { return drey.WireChat }

// NewObserver watches a stream of chunks that is passed on unchanged.
func (Chat) NewObserver(o wire.ObserverOptions) wire.Observer {
	if o.Follow {
		return &chatFollower{observer: observer{hideUsage: o.HideUsage}}
	}
	return &observer{hideUsage: o.HideUsage}
}

// NewDecoder reads a stream of chunks.
func (Chat) NewDecoder() wire.Decoder { return &decoder{} }

// NewEncoder writes a stream of chunks.
func (Chat) NewEncoder(o wire.EncoderOptions) wire.Encoder { return &encoder{o: o} }

// Stop reasons as the wire spells them.
const (
	finishStop   = "stop"
	finishLength = "length"
	finishTools  = "tool_calls"
	finishFilter = "content_filter"
)

// stopOf reads a finish_reason. Reasons that we do not know are StopUnknown,
// which every wire writes as a normal end.
func stopOf(reason []byte) wire.Stop {
	switch string(reason) {
	case finishStop, "eos", "end_turn", "stop_sequence":
		return wire.StopEnd
	case finishLength, "max_tokens", "model_length":
		return wire.StopLength
	case finishTools, "function_call", "tool_use":
		return wire.StopTools
	case finishFilter, "safety", "refusal":
		return wire.StopRefusal
	default:
		return wire.StopUnknown
	}
}

// oddReason returns a finish_reason that we do not know, as it was told.
func oddReason(reason []byte) string {
	if stopOf(reason) != wire.StopUnknown {
		return ""
	}
	return string(reason)
}

// settle returns the reason of an answer that is known in whole. A turn with a
// tool call stopped for it whatever the provider said, unless it ran out of
// tokens: then the call may be half a one. A turn without a call did not.
func settle(s wire.Stop, hasCall bool) wire.Stop {
	switch {
	case hasCall && s != wire.StopLength:
		return wire.StopTools
	case !hasCall && s == wire.StopTools:
		return wire.StopEnd
	default:
		return s
	}
}

func finishOf(s wire.Stop, hasCall bool) string {
	switch settle(s, hasCall) {
	case wire.StopLength:
		return finishLength
	case wire.StopTools:
		return finishTools
	case wire.StopRefusal:
		return finishFilter
	default:
		return finishStop
	}
}
