package api

import (
	"encoding/json"

	"github.com/dreyhq/drey"
)

// Capture is one request as it came, with what the providers answered to it:
// GET /captures/{id}, and what the store keeps. Secrets in it are masked; text
// that is no UTF-8 has U+FFFD in place of its bad bytes.
type Capture struct {
	ID      drey.RequestID    `json:"id"`
	At      string            `json:"at" doc:"when the request came"`
	Wire    drey.Wire         `json:"wire" doc:"the caller's"`
	Path    string            `json:"path" doc:"below the door: /v1/messages"`
	Profile string            `json:"path_profile,omitempty" doc:"the profile that the path named"`
	Query   string            `json:"query,omitempty"`
	Headers map[string]string `json:"headers,omitempty" doc:"the caller's, as far as they say how the request is to be read; never credentials"`
	Body    string            `json:"body"`
	Bytes   int               `json:"body_bytes" doc:"length of the body as it came"`
	Cut     bool              `json:"truncated,omitempty" doc:"the body was too large to be kept whole; such a request cannot be sent again"`
	Masked  bool              `json:"redacted,omitempty" doc:"the body held a secret, which is masked: sent again it is not the same"`

	Row      json.RawMessage  `json:"row,omitempty" doc:"the request's row"`
	Attempts []CaptureAttempt `json:"attempts" doc:"at the providers, in order; one that got no answer has no status"`
}

// CaptureAttempt is what a provider answered to one attempt. It has either
// frames or a body, as a stream or a whole answer came.
type CaptureAttempt struct {
	Provider drey.ProviderID   `json:"provider"`
	Wire     drey.Wire         `json:"wire" doc:"in which it was asked"`
	AtMS     float64           `json:"at_ms" doc:"when it left, since the request came"`
	Status   int               `json:"status,omitempty" doc:"its HTTP status"`
	Headers  map[string]string `json:"headers,omitempty" doc:"of its answer, as far as they say something about it"`
	Frames   []CaptureFrame    `json:"frames,omitempty"`
	Body     string            `json:"body,omitempty"`
	Bytes    int64             `json:"bytes" doc:"length of the answer as it came"`
	Cut      bool              `json:"truncated,omitempty" doc:"the answer was too large to be kept whole"`
}

// CaptureFrame is one frame of a streamed answer.
type CaptureFrame struct {
	MS  float64 `json:"ms" doc:"when it had come, since the attempt left"`
	Raw string  `json:"raw" doc:"as it came, with the blank line that ends it"`
}

// CaptureEntry is a capture in the list.
type CaptureEntry struct {
	ID       drey.RequestID `json:"id"`
	At       string         `json:"at"`
	Profile  string         `json:"profile,omitempty"`
	Provider string         `json:"provider,omitempty" doc:"who served; none if nobody did"`
	Outcome  string         `json:"outcome" doc:"ok, cancel, failed, failed_midstream or refused"`
	Bytes    int64          `json:"bytes" doc:"what it takes in the store"`
}

// Captures is one page of GET /captures, newest first.
type Captures struct {
	Captures []CaptureEntry `json:"captures"`
	Page
}

// ReplayAsk is the body of POST /requests/{id}/replay. It may be left out.
type ReplayAsk struct {
	Provider drey.ProviderID `json:"provider,omitempty" maxLength:"64" doc:"ask this provider and no other"`
	Profile  drey.ProfileID  `json:"profile,omitempty" maxLength:"64" doc:"go down this profile's chain; the request's own without it"`
	Yes      bool            `json:"yes,omitempty" doc:"paid providers may be asked, for this once also where allow_paid is off"`
}

// Replay is a captured request beside what became of it when it was sent again.
type Replay struct {
	Masked   bool       `json:"redacted,omitempty" doc:"the capture held secrets, which are masked: what was sent again is not the same"`
	Original ReplaySide `json:"original"`
	Replay   ReplaySide `json:"replay"`
}

// ReplaySide is one of the two. Text and calls are the provider's own, before
// anything was mended or translated, so that they can be compared.
type ReplaySide struct {
	ID       drey.RequestID  `json:"id"`
	Profile  drey.ProfileID  `json:"profile,omitempty"`
	Provider drey.ProviderID `json:"provider,omitempty" doc:"who served, or else who was asked last"`
	Model    string          `json:"model,omitempty" doc:"as the provider calls itself"`
	Outcome  string          `json:"outcome" doc:"ok, cancel, failed, failed_midstream or refused"`
	Status   int             `json:"status"`
	Way      []string        `json:"way,omitempty" doc:"the attempts in order, as PROVIDER:CLASS"`
	TTFTMS   float64         `json:"ttft_ms,omitempty" doc:"to the first content"`
	MS       float64         `json:"ms" doc:"to the last byte"`
	Tokens   ReplayTokens    `json:"tokens"`
	CostUSD  *float64        `json:"cost_usd,omitempty" doc:"none where the price is not known"`
	Finish   string          `json:"finish,omitempty" doc:"why the model stopped"`
	Error    string          `json:"error,omitempty"`
	Text     string          `json:"text"`
	Calls    []ReplayCall    `json:"calls,omitempty" doc:"of tools, in order"`
	Complete bool            `json:"complete" doc:"the provider's answer came to its proper end"`
	Cut      bool            `json:"truncated,omitempty" doc:"the answer was too large to be kept whole: text and calls end early"`
}

// ReplayTokens is what a side used.
type ReplayTokens struct {
	Input      int  `json:"input"`
	Output     int  `json:"output"`
	CacheRead  int  `json:"cache_read,omitempty"`
	CacheWrite int  `json:"cache_write,omitempty"`
	Reasoning  int  `json:"reasoning,omitempty"`
	Estimated  bool `json:"estimated,omitempty" doc:"the provider told nothing; counted by drey"`
}

// ReplayCall is one call of a tool.
type ReplayCall struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments" doc:"as the model wrote them; JSON, if it wrote JSON"`
}
