package route

import (
	"strconv"
	"time"

	"github.com/dreyhq/drey"
)

// Classify says what a failure means. It is total: whatever the evidence, one
// of the ten classes comes out, and Internal only where there is no evidence
// at all.
//
// Where several classes match, the first of these wins
// (the gateway contract §6):
//
//  1. cancel: the caller's own going explains every other trace of it;
//  2. resource: memory or device, whatever status it came with;
//  3. loading: the backend is there and not yet ready;
//  4. quota: a limit that time alone will not lift soon;
//  5. the fault, the error event inside an answer, or the status.
func Classify(e Evidence) Verdict {
	if e.Fault == CallerGone { // 1
		return Verdict{Class: drey.Cancel, Status: e.Status, Text: "the caller went away"}
	}
	r := readReport(e.Body, e.InBand, e.Text)
	v := Verdict{Status: e.Status, Type: e.shown(r.Type), Text: e.shown(r.Text)}
	if e.Fault == NoFault && e.Status >= 300 { // else the headers are those of an answer that went well at first
		v.RetryAfter = retryAfter(e.Header, e.At)
	}
	v.Class, v.Sub = classOf(e, r, v.RetryAfter)
	quota := v.Class == drey.Auth && v.Sub == Quota
	if v.RetryAfter == 0 && (quota || v.Class == drey.RateLimit) && (e.Status == 429 || e.Status == 402) {
		v.RetryAfter = limitReset(e.Header, e.At)
	}
	if v.RetryAfter == 0 && quota {
		v.RetryAfter = resetText(r.all, e.At)
	}
	v.Counts = counts(v.Class, v.Sub)
	v.Parks = v.Class == drey.RateLimit || v.Class == drey.Auth && (v.Sub != ModelMissing || e.Model)
	if v.Text == "" {
		v.Text = e.shown(e.describe())
	}
	return v
}

// shown is what people get to see of what a provider said.
func (e Evidence) shown(s string) string {
	if e.Redact != nil {
		s = e.Redact(s)
	}
	return oneLine(s)
}

// counts says whether a failure counts against health (the healing contract
// §3): an empty answer is one of poor quality, and complete.
func counts(c drey.Class, s Sub) bool {
	switch c {
	case drey.Transport, drey.Server, drey.Silence, drey.Resource:
		return true
	case drey.BadOutput:
		return s != Empty
	default:
		return false
	}
}

func classOf(e Evidence, r report, pause time.Duration) (drey.Class, Sub) {
	if e.Fault != NoFault {
		return faultClass(e)
	}
	status := e.Status
	inBand := e.InBand != "" || status >= 200 && status < 300 && r.Type != ""
	if inBand {
		status = r.Code
	}
	switch {
	case status == 0 && !inBand && len(e.Body) == 0 && e.Text == "":
		return drey.Internal, SubNone
	case resourceText().MatchString(r.all): // 2
		return drey.Resource, SubNone
	case (status == 503 || status == 425 || inBand) && loadingText().MatchString(r.all), // 3
		e.Own && (status >= 500 || status == 404):
		return drey.Loading, SubNone
	case status == 402, // 4
		(status == 429 || inBand && status == 0) && quotaText().MatchString(r.all),
		(status >= 400 && status < 500 || inBand && status == 0) && noMoney().MatchString(r.all):
		return drey.Auth, Quota
	case inBand && status == 0:
		return inBandClass(r)
	default: // 5
		return statusClass(status, r, pause)
	}
}

// faultClass judges what the transport saw.
func faultClass(e Evidence) (drey.Class, Sub) {
	switch e.Fault {
	case ConnectTimeout:
		if e.Own {
			return drey.Loading, SubNone
		}
		return drey.Silence, SubNone
	case FirstTokenTimeout, StallTimeout, TotalTimeout:
		return drey.Silence, SubNone
	case CutAnswer:
		return drey.BadOutput, CutOff
	case MalformedAnswer:
		return drey.BadOutput, BrokenFrame
	case EmptyAnswer:
		return drey.BadOutput, Empty
	default: // everything below HTTP
		if e.Own { // its keeper knows that it is not up yet; its end is the keeper's event
			return drey.Loading, SubNone
		}
		return drey.Transport, SubNone
	}
}

// inBandClass judges an error event by its word, those of both wires. A word
// that nobody knows has still ended the answer before its end mark, so the
// answer is a cut one.
func inBandClass(r report) (drey.Class, Sub) {
	switch {
	case r.has("rate_limit_error", "overloaded_error", "rate_limit_exceeded", "too_many_requests", "tokens", "requests", "slow_down", "resource_exhausted"):
		return drey.RateLimit, SubNone
	case r.has("authentication_error", "permission_error", "invalid_api_key", "permission_denied", "unauthenticated"):
		return drey.Auth, BadCredential
	case r.has("not_found_error", "model_not_found", "not_found"):
		return drey.Auth, ModelMissing
	case r.has("request_too_large"):
		return drey.Caller, Unsupported
	case r.has("api_error", "server_error", "timeout_error", "internal_error", "internal_server_error", "internalservererror", "service_unavailable", "unavailable", "timeout", "bad_gateway"):
		return drey.Server, SubNone
	case contextText().MatchString(r.all):
		return drey.Caller, ContextLength
	case r.has("content_filter", "content_policy_violation", "moderation_blocked"):
		return drey.Caller, ContentFilter
	case r.has("invalid_request_error", "invalid_prompt", "invalid_argument", "badrequesterror", "bad_request", "unsupported_parameter", "unsupported_value", "invalid_value"):
		return callerClass(r)
	default:
		return drey.BadOutput, CutOff
	}
}

// statusClass judges an HTTP status.
func statusClass(status int, r report, pause time.Duration) (drey.Class, Sub) {
	switch {
	case status == 401:
		return drey.Auth, BadCredential
	case status == 403:
		// One prompt that a moderator refuses must not park the provider for
		// all others (OpenRouter answers 403).
		if filterText().MatchString(r.all) {
			return drey.Caller, ContentFilter
		}
		return drey.Auth, BadCredential
	case status == 404, status == 410:
		// OpenRouter: no endpoint of the model has the feature; the model is there.
		if r.missingFeature() {
			return drey.Caller, Unsupported
		}
		return drey.Auth, ModelMissing
	case status == 413:
		return drey.Caller, Unsupported
	case status == 429, status == 529, status == 503 && pause > 0:
		return drey.RateLimit, SubNone
	case status == 408, status == 409, status == 425, status == 499, status >= 500, status >= 300 && status < 400, status < 200:
		return drey.Server, SubNone
	case status < 300:
		return drey.BadOutput, BrokenFrame
	default: // 400, 405, 411, 414, 415, 422, 431 and what else blames the request
		return callerClass(r)
	}
}

// callerClass finds the sub-case of a request that is at fault.
func callerClass(r report) (drey.Class, Sub) {
	switch {
	case contextText().MatchString(r.all):
		return drey.Caller, ContextLength
	case badKey().MatchString(r.all):
		return drey.Auth, BadCredential
	case filterText().MatchString(r.all):
		return drey.Caller, ContentFilter
	case r.missingFeature():
		return drey.Caller, Unsupported
	default:
		return drey.Caller, SubNone
	}
}

var faultTexts = [...]string{
	NoFault:           "",
	CallerGone:        "the caller went away",
	Refused:           "connection refused",
	Reset:             "connection reset before an answer",
	EndOfFile:         "connection closed before an answer",
	NameLookup:        "the host's name could not be resolved",
	Handshake:         "TLS handshake failed",
	OtherTransport:    "connection failed",
	ConnectTimeout:    "no connection in time",
	FirstTokenTimeout: "no first token in time",
	StallTimeout:      "the answer stalled",
	TotalTimeout:      "the time for the whole request is over",
	CutAnswer:         "the answer ended before its end mark",
	MalformedAnswer:   "the answer is not of this wire",
	EmptyAnswer:       "the answer is empty",
}

// String returns the fault in a few words for people.
func (f Fault) String() string {
	if int(f) < len(faultTexts) {
		return faultTexts[f]
	}
	return "fault(" + strconv.Itoa(int(f)) + ")"
}

// describe is the text of a failure that brought none.
func (e Evidence) describe() string {
	switch {
	case e.Fault != NoFault:
		return e.Fault.String()
	case e.InBand != "":
		return "the provider reported " + e.InBand
	case e.Status != 0:
		return "status " + strconv.Itoa(e.Status)
	default:
		return "a failure without evidence"
	}
}

var subNames = [...]string{
	SubNone: "", ContextLength: "context_length", Unsupported: "unsupported", ContentFilter: "content_filter",
	ModelMissing: "model_missing", Quota: "quota", BadCredential: "bad_credential",
	CutOff: "cut", BrokenFrame: "malformed", Empty: "empty",
}

// String returns the sub-case's name in events and rows; "" for SubNone.
func (s Sub) String() string {
	if int(s) < len(subNames) {
		return subNames[s]
	}
	return "sub(" + strconv.Itoa(int(s)) + ")"
}
