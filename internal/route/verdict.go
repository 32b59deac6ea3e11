// Package route decides where a request goes: which profile it picks, which
// providers of the chain may have it and in which order, what a failure means,
// and what to do next. It is pure; internal/gateway performs what it decides.
package route

import (
	"time"

	"github.com/dreyhq/drey"
)

// Fault says what the transport saw, where there is no HTTP answer to judge.
type Fault uint8

// The faults. NoFault means that there is an HTTP answer.
const (
	NoFault        Fault = iota
	CallerGone           // the caller's context ended: wins over everything else
	Refused              // nobody listens
	Reset                // the connection broke before an answer's first byte
	EndOfFile            // it was closed before an answer's first byte
	NameLookup           // DNS
	Handshake            // TLS
	OtherTransport       // any other error below HTTP
	ConnectTimeout       // the four timeouts, each of them Silence
	FirstTokenTimeout
	StallTimeout
	TotalTimeout
	CutAnswer       // the answer ended before its end mark
	MalformedAnswer // 200, and not the wire: no JSON, another shape, a broken frame
	EmptyAnswer     // complete, without a tool call, blank
)

// Evidence is what is known of a failed attempt.
type Evidence struct {
	Fault  Fault
	Status int                 // HTTP status; 0 if there was none
	Header func(string) string // the answer's headers; nil = none
	Body   []byte              // the answer's body, or as much of it as was read
	InBand string              // type or code of an error event inside a 200
	Text   string              // its message, or the text of a transport error
	At     time.Time           // now, to read dates against
	Own    bool                // the provider's own process is not READY
	Model  bool                // the provider's configuration names the model (a 404 then parks)
	// Redact takes secrets out of what the provider said. It comes before the
	// cut to what people are shown, since half a secret is not recognised any
	// more. nil = nothing is a secret.
	Redact func(string) string
}

// Sub is a finer distinction within a class.
type Sub uint8

// The sub-cases. SubNone is the class as it is.
const (
	SubNone       Sub = iota
	ContextLength     // Caller: the prompt is too long: larger windows only
	Unsupported       // Caller: a feature is missing here: next provider
	ContentFilter     // Caller: refused for its content: relayed
	ModelMissing      // Auth: 404 or 410
	Quota             // Auth: payment or a limit that resets at a stated time
	BadCredential     // Auth: 401, 403
	CutOff            // BadOutput: counted
	BrokenFrame       // BadOutput: counted
	Empty             // BadOutput: not counted
)

// Verdict is what a failure means.
type Verdict struct {
	Class drey.Class
	Sub   Sub
	// RetryAfter is how long the provider asked us to wait; 0 if it did not,
	// or if what it said was past or absurd.
	RetryAfter time.Duration
	// Counts says whether it counts against the provider's health
	// (the healing contract §3).
	Counts bool
	// Parks says whether the provider is parked for it (health.Park). A
	// missing model that the caller named parks nothing.
	Parks  bool
	Status int    // as it came; 0 if there was none
	Type   string // the provider's own word for it, if it gave one
	Text   string // one line for people: the provider's message or the transport's error
}
