// Package wire holds the shape that all wires share: what routing reads of a
// request, the neutral request, answer and stream into which every wire is
// decoded and from which every wire is encoded, and the relays that the gateway
// drives.
//
// There are two ways through:
//
//   - the same wire on both sides: bytes go through as they are. Head is read
//     from them, Edits are laid beside them (Body), and an Observer watches the
//     answer. Unknown fields, number spellings, key order and null survive.
//   - different wires: the caller's codec decodes, the provider's encodes, and
//     back. Equal prefixes in give equal prefix bytes out.
//
// The packages below wire (anthropic, openai, sse) are one room with it.
// Everything here is pure: bytes in, bytes out, no clock and no randomness but
// what is handed in.
package wire

import (
	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// A Codec speaks one wire. Its methods are pure and may be called concurrently;
// the Observer, Decoder and Encoder that it makes each belong to one stream and
// one goroutine.
//
// Errors about a caller's body are *BodyError; errors about a provider's answer
// are *AnswerError.
type Codec interface {
	Wire() drey.Wire

	// Peek reads what routing needs in one pass, and refuses what is no JSON
	// object, nests deeper than 512 or names its model twice. It does not
	// otherwise judge the request: fields that it does not know are none of
	// its business.
	Peek(body []byte) (Head, error)

	// Rewrite lays the edits beside a body of this wire. It keeps body and
	// copies no more than what it replaces.
	Rewrite(body []byte, e Edits) (*Body, error)

	// DecodeRequest and EncodeRequest translate a request. Decode keeps
	// nothing of body; Encode reports what could not be carried in
	// Encoded.Notes.
	DecodeRequest(body []byte) (*Request, error)
	EncodeRequest(r *Request, to Target) (*Encoded, error)

	// Inspect reads a whole answer of this wire that is passed on unchanged.
	// DecodeResponse and EncodeResponse translate one.
	Inspect(body []byte) (Report, error)
	DecodeResponse(body []byte) (*Response, error)
	EncodeResponse(r *Response) ([]byte, error)

	// NewObserver watches a stream that is passed on unchanged.
	NewObserver(o ObserverOptions) Observer
	// NewDecoder and NewEncoder translate a stream.
	NewDecoder() Decoder
	NewEncoder(o EncoderOptions) Encoder

	// Error writes the plain body of an error; StreamError the in-band frame
	// of one, after which the stream ends; Ping a keepalive that the clients
	// of this wire bear.
	Error(e Error) []byte
	StreamError(e Error) []byte
	Ping() []byte

	// EndMark is what ends a stream of this wire behind its last event; nil
	// where that event itself does.
	EndMark() []byte
}

// Head is what routing must know of a request.
type Head struct {
	Model     string
	Profile   string // the body's own field "profile"; ours, removed before sending
	Stream    bool
	WantUsage bool // chat: stream_options.include_usage; true on the other wires
	MaxTokens int  // what the caller allows to be generated; 0 = it did not say
	Tokens    int  // the estimate of the prompt: see Estimator
	Needs     Needs
	Thread    bool     // the body has a "thread": refused, see contract §9
	Session   string   // a conversation key found in the body, for affinity; "" if none
	OddRoles  bool     // a turn within the conversation is neither the user's nor the model's: see Edits.UserRoles
	Turns     int      // user turns: user messages that carry no tool result
	Tools     []string // names of declared tools, in order
	Declared  []byte   // the list of declared tools as it was written, within the body; nil if there is none
	NoCalls   bool     // tool_choice forbids every call
	OneCall   bool     // one tool call at a time is wanted
	Choices   int      // chat: n, how many answers are wanted; 0 = it did not say, which is one
}

// ListOf names the field of a request that has the conversation.
func ListOf(w drey.Wire) string {
	if w == drey.WireResponses {
		return "input"
	}
	return "messages"
}

// Needs are the abilities that a request asks of a provider.
type Needs struct {
	Tools, Vision, Documents, JSONSchema, Thinking bool
}

// Edits are the changes that a request undergoes on its own wire, and nothing
// else is changed.
type Edits struct {
	Model        string       // replaces the model; "" leaves it
	Extra        []ExtraField // fields under the request's own: added where the body has none
	Drop         []string     // top-level fields removed
	AppendSystem string       // a line added at the end of the system text; "" adds none
	IncludeUsage bool         // chat streams: ask for the usage chunk
	StripLines   bool         // remove a first system block or line that changes per request
	UserRoles    bool         // turns of system, developer and unknown roles within the conversation become the user's
	Stream       *bool        // sets "stream"; nil leaves it
	MaxTokensKey string       // chat: rename max_tokens to this key; "" leaves it
	Prefill      *Prefill     // the beginning of the answer; nil = the model begins it
}

// ExtraField is one field of a provider's extra_body, its value as JSON.
type ExtraField struct {
	Key   string
	Value []byte
}

// Observer watches a stream of its wire that goes to the caller as it came.
type Observer interface {
	// Observe reads one frame and says what it means. show is false for a
	// frame that the caller must not get (a usage chunk that only we asked
	// for).
	Observe(ev sse.Event) (s Signal, show bool)
	// Close is called at the end of the body.
	Close() Signal
}

// ObserverOptions say what the caller asked for.
type ObserverOptions struct {
	HideUsage bool // chat: the usage chunk was our wish alone
	Follow    bool // make it a Follower
}

// Decoder reads a provider's stream.
type Decoder interface {
	// Decode appends to dst the events that the frame means, in order.
	Decode(dst []Event, ev sse.Event) ([]Event, error)
	// Close is called at the end of the body. It appends what ends a complete
	// answer that has no mark of its own, or returns an *AnswerError of kind
	// Cut if the answer is not complete.
	Close(dst []Event) ([]Event, error)
}

// Encoder writes a caller's stream.
type Encoder interface {
	// Encode appends to dst the frames that tell ev to the caller.
	Encode(dst []byte, ev Event) []byte
}

// A Holder is a Decoder that may keep content to itself, for a while or for
// good.
type Holder interface {
	// Alive reports whether the frame that was decoded last brought content,
	// whether or not an event told it.
	Alive() bool
}

// A Joiner is an Encoder of a wire that numbers its events or blocks. It can go
// on where frames of its own wire left off which went to the caller as they
// came.
type Joiner interface {
	// Opens reports whether a frame only begins what later frames fill. It is
	// better held back until it is known who writes those.
	Opens(ev sse.Event) bool
	// Follow is given such a frame, or the last of several, when it has gone
	// out. The encoder has encoded what it means, for nobody, before.
	Follow(ev sse.Event)
}

// A Counter is an Encoder of a wire that numbers its events.
type Counter interface {
	// Next is the number of the event that would follow.
	Next() int
}

// EncoderOptions say what the answer is called and what the caller asked for.
type EncoderOptions struct {
	ID          string // of the message, with the wire's prefix already
	Model       string // what to call the model where the provider does not tell which one serves
	Created     int64  // seconds since epoch, for wires that tell it
	WantUsage   bool   // chat: send the usage chunk
	InputTokens int    // the estimate, for message_start
	Signed      bool   // responses: signatures are this wire's own, and are told
}

// Signal says what a frame, or a few, meant.
type Signal struct {
	Content bool   // text, thinking or a tool call: this commits
	Alive   bool   // there was content at the provider, even if the caller gets none of it now or ever
	Text    bool   // some of that was more than blank text, or a tool call
	Size    int    // bytes of that content, by which tokens are estimated; frames may hold one or a hundred
	Done    bool   // the answer is complete, and properly so
	Last    bool   // nothing can follow on this wire: message_stop, [DONE]
	Stop    Stop   // why it stopped, once known
	Odd     string // as in Response; only of streams that are translated
	Usage   *Usage // if the frame reported usage
	Model   string // the model that the provider says it is
	Next    int    // responses: the number of the event that would follow for the caller
	Err     error  // *AnswerError: an error event, a frame that is none, a cut
}

// Report is what a whole answer tells.
type Report struct {
	Usage *Usage
	Stop  Stop
	Odd   string // as in Response; only of answers that are translated
	Model string
	Empty bool // no tool call and only blank text
	Tools int  // tool calls
}

// Target is the provider for whom a request is encoded.
type Target struct {
	Model            string // "" passes the caller's through
	Price            drey.Price
	MaxTokensKey     string // chat: max_tokens or max_completion_tokens; "" = max_tokens
	MaxOutputTokens  int    // anthropic: max_tokens where the caller named none
	Documents        bool   // documents may be sent
	Cache            bool   // cache_control is kept on parts
	JSONSchema       bool   // native structured output
	ReasoningHistory bool   // reasoning_content may be sent back
	OpenAIHost       bool   // api.openai.com, with its own limits
	AppendSystem     string
	StripLines       bool
	Stream           bool // ask the provider to stream, whatever the caller asked
	Extra            []ExtraField
	Drop             []string
}

// Encoded is a request in the provider's wire.
type Encoded struct {
	Body  []byte
	Notes []Note            // what was left out or changed, for one event each
	IDs   map[string]string // provider's tool id → caller's, where they had to be mapped
	// SchemaTool names the forced tool that stands for structured output
	// toward a provider without it; its input comes back as text. "" if none.
	SchemaTool string
}

// Note is one thing that a translation could not carry as it was.
type Note struct {
	Event string // "tool-skipped", "document-omitted" …
	Type  string // what kind of thing
	Name  string // which one
}
