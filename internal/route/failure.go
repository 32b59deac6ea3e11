package route

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dreyhq/drey"
)

// Case is a way in which a request ends without an answer of a provider.
type Case uint8

// The cases of the gateway contract §9. The zero value is a bug of ours.
const (
	CaseInternal      Case = iota
	CaseBadRequest         // malformed, an unknown profile, a guard; the code says which
	CaseMethod             // the route has no such method
	CaseNotEligible        // nobody may serve it until a person changes the configuration
	CaseContextLength      // no larger window
	CaseKey                // the inbound key is missing or wrong
	CaseForbidden          // the key or the Host header may not
	CaseBudget             // the money is spent
	CaseNotFound           // no such route
	CaseModelNotFound      // no such id under /v1/models/
	CaseTooLarge           // the body is over the limit
	CaseRateLimited        // all that were left are limited, or the key is over its rate
	CaseNoProvider         // all out for a time, a queue full, too many streams
	CaseTimeout            // the last failure was silence
	CaseChainFailed        // any other failure of a chain
	CaseCancelled          // the caller went away, or an operator drained
)

// tells is the table of §9: what each case is called on each wire.
var tells = [...]struct {
	status            int
	anthropic, openai string
	code              string
}{
	CaseInternal:      {500, "api_error", "server_error", "internal"},
	CaseBadRequest:    {400, "invalid_request_error", "invalid_request_error", "invalid_request"},
	CaseMethod:        {405, "invalid_request_error", "invalid_request_error", "method_not_allowed"},
	CaseNotEligible:   {400, "invalid_request_error", "invalid_request_error", "no_provider"},
	CaseContextLength: {400, "invalid_request_error", "invalid_request_error", "context_length_exceeded"},
	CaseKey:           {401, "authentication_error", "invalid_request_error", "invalid_api_key"},
	CaseForbidden:     {403, "permission_error", "invalid_request_error", "permission_denied"},
	CaseBudget:        {402, "billing_error", "insufficient_quota", "insufficient_quota"},
	CaseNotFound:      {404, "not_found_error", "invalid_request_error", "not_found"},
	CaseModelNotFound: {404, "not_found_error", "invalid_request_error", "model_not_found"},
	CaseTooLarge:      {413, "request_too_large", "invalid_request_error", "request_too_large"},
	CaseRateLimited:   {429, "rate_limit_error", "rate_limit_error", "rate_limit_exceeded"},
	CaseNoProvider:    {503, "overloaded_error", "server_error", "no_provider"},
	CaseTimeout:       {504, "timeout_error", "server_error", "timeout"},
	CaseChainFailed:   {502, "api_error", "server_error", "all_providers_failed"},
	CaseCancelled:     {503, "overloaded_error", "server_error", "cancelled"},
}

// Refusal is a failure to be told to a caller.
type Refusal struct {
	Case Case
	// Code replaces the case's own word: CaseBadRequest and CaseNotEligible
	// have one per reason. Empty leaves it.
	Code string
	At   time.Time // now
	// RetryAt is when to come back, if that is known (429, 503).
	RetryAt time.Time
	// InARow counts the failed chains of the profile up to and with this one,
	// without a success between (502, 504).
	InARow int
}

// Told is a failure in the words of one wire.
type Told struct {
	Status     int
	Type, Code string
	RetryAfter int  // seconds for the header Retry-After; 0 = no such header
	NoRetry    bool // the header x-should-retry: false
}

// Retry-After is never longer: agents give up on more than about a minute.
const longestRetry = 60

// unknownRetry is told where nobody knows when it will be better.
const unknownRetry = 5

// Tell says the failure in a wire's words. This is the one place that maps a
// failure to a status.
func (r Refusal) Tell(w drey.Wire) Told {
	c := r.Case
	if int(c) >= len(tells) {
		c = CaseInternal
	}
	row := tells[c]
	t := Told{Status: row.status, Type: row.openai, Code: row.code}
	if w == drey.WireAnthropic {
		t.Type = row.anthropic
	}
	if r.Code != "" {
		t.Code = r.Code
	}
	switch t.Status {
	case 429, 503:
		t.RetryAfter = unknownRetry
		if !r.RetryAt.IsZero() {
			t.RetryAfter = wholeSeconds(r.RetryAt.Sub(r.At))
		}
	case 502, 504:
		t.RetryAfter = int(doubled(time.Second, longestRetry*time.Second, max(r.InARow, 1)-1) / time.Second)
	case 400, 401, 402, 403, 413:
		t.NoRetry = true
	}
	return t
}

// wholeSeconds rounds up, since a client that comes too early is refused
// again, and keeps within 1 to 60.
func wholeSeconds(d time.Duration) int {
	return int(min(max(math.Ceil(d.Seconds()), 1), longestRetry))
}

// Relayed says a provider's error that blames the request in a wire's words.
// The status stays, except one of credentials: an agent that read it would log
// its user out. The message is the verdict's text.
func Relayed(v Verdict, w drey.Wire) Told {
	t := Told{Status: v.Status, Type: "invalid_request_error"}
	if t.Status < 400 || t.Status > 499 || t.Status == 401 || t.Status == 403 || t.Status == 404 {
		t.Status = 400
	}
	if t.Status == 413 && w == drey.WireAnthropic {
		t.Type = "request_too_large"
	}
	switch {
	case v.Sub == ContentFilter:
		t.Code = "content_filter"
	case v.Type != "" && v.Type != "invalid_request_error" && statusIn(v.Type) == 0:
		t.Code = v.Type
	}
	return t
}

// CaseOf returns the case and code of an error of Choose.
func CaseOf(err *drey.Error) (Case, string) {
	switch err.Code {
	case CodeForbidden:
		return CaseForbidden, ""
	case CodeUnknownProfile:
		return CaseBadRequest, CodeUnknownProfile
	default:
		return CaseInternal, ""
	}
}

// Said are the forms in which providers tell both lengths. The first group is
// the window where it comes first in the text, else the prompt.
var (
	saidPromptFirst = lazy(`(\d+) tokens? > (\d+) maximum|prompt contains (\d+) tokens.{0,60}?with (\d+) maximum|token count \(?(\d+)\)? exceeds the (?:maximum|limit)[^\d]{0,60}(\d+)`)
	saidWindowFirst = lazy(`(?:maximum context length|maximum prompt length) is (\d+)(?: tokens)?.{0,40}?(?:requested about|requested|resulted in|request contains) (\d+)`)
)

// saidLengths reads the prompt's length and the window from a message.
func saidLengths(text string) (tokens, maximum int, ok bool) {
	text = strings.ToLower(text)
	if m := saidPromptFirst().FindStringSubmatch(text); m != nil {
		tokens, maximum = firstTwo(m[1:])
	} else if m := saidWindowFirst().FindStringSubmatch(text); m != nil {
		maximum, tokens = firstTwo(m[1:])
	}
	return tokens, maximum, maximum > 0 && tokens > maximum
}

// firstTwo reads the first two groups that matched. A number that no int holds
// is no length and comes back as 0.
func firstTwo(groups []string) (a, b int) {
	for i := 0; i+1 < len(groups); i += 2 {
		if groups[i] == "" {
			continue
		}
		a, err := strconv.Atoi(groups[i])
		b, err2 := strconv.Atoi(groups[i+1])
		if err != nil || err2 != nil {
			return 0, 0
		}
		return a, b
	}
	return 0, 0
}

// Message says to a person what failed and what to do about it. The texts of
// providers in it must have been redacted.
func (f Fail) Message(profile drey.ProfileID, w Walk) string {
	last := ""
	if n := len(w.attempts); n > 0 {
		a := w.attempts[n-1]
		if w.broke > 0 { // who could not go on for it is not why it broke
			a = w.attempts[w.broke-1]
		}
		last = fmt.Sprintf("%s: %s", a.Provider, a.Verdict.short())
	}
	where := fmt.Sprintf("profile '%s'", profile)
	switch f.Case {
	case CaseContextLength: // agents look for exactly this
		return fmt.Sprintf("prompt is too long: %d tokens > %d maximum", f.Tokens, f.Maximum)
	case CaseNotEligible:
		if f.Code == string(ReasonPaid) {
			return where + " has only paid providers left and the paid gate is closed; set allow_paid, or DREY_ALLOW_PAID=1, or add a local or free provider"
		}
		return where + " has no provider with a credential; set the secrets that its providers name"
	case CaseBudget:
		return "the budget of " + where + " is spent; wait for the next day or month (UTC), raise it, or add a local or free provider"
	case CaseRateLimited:
		if last == "" {
			return "all providers of " + where + " are rate-limited" + reasons(w.Skipped()) + "; try again later or add a provider"
		}
		return "all providers of " + where + " are rate-limited; last " + last + "; try again later or add a provider"
	case CaseNoProvider:
		if last != "" {
			return "no provider of " + where + " is ready; last " + last + "; try again"
		}
		return "no provider of " + where + " is available" + reasons(w.Skipped()) + "; try again, or look at the provider"
	case CaseTimeout:
		return "no provider of " + where + " answered in time; last " + last + "; try again, or raise its timeouts"
	case CaseChainFailed:
		if last == "" {
			return "the providers of " + where + " refused their credentials" + reasons(w.Skipped()) + "; check their keys in the configuration"
		}
		if f.InBand {
			return "the answer broke off; " + last + "; send the request again"
		}
		return "all providers of " + where + " failed; last " + last + "; " + w.attempts[len(w.attempts)-1].Verdict.remedy()
	case CaseCancelled:
		return "the request was cancelled by the operator; try again"
	default:
		return "drey has a bug; please report it with the request id"
	}
}

// short is the verdict on one line: class, status, text.
func (v Verdict) short() string {
	s := v.Class.String()
	if v.Status != 0 {
		s += " " + strconv.Itoa(v.Status)
	}
	if v.Text != "" {
		s += " (" + v.Text + ")"
	}
	return s
}

// remedy is what a person may do about a failure.
func (v Verdict) remedy() string {
	switch {
	case v.Class == drey.Transport:
		return "check that it runs and that its url is right"
	case v.Class == drey.Auth && v.Sub == ModelMissing:
		return "check its model in the configuration"
	case v.Class == drey.Auth && v.Sub == Quota:
		return "wait for its quota, or add a provider"
	case v.Class == drey.Auth:
		return "check its key in the configuration"
	case v.Class == drey.Resource:
		return "free memory there, or use a smaller model or context"
	case v.Class == drey.BadOutput:
		return "check that its wire and url are right"
	default:
		return "try again, or add a provider"
	}
}

// reasons lists who was left out and why: " (a: excluded, b: busy)".
func reasons(skips []Skip) string {
	if len(skips) == 0 {
		return ""
	}
	var b strings.Builder
	for i, s := range skips {
		if i == 5 {
			fmt.Fprintf(&b, " and %d more", len(skips)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s: %s", s.ID, s.Reason)
	}
	return " (" + b.String() + ")"
}

// Detail is what stands beside the error of a 429, 502, 503 or 504 for
// programs.
type Detail struct {
	Attempts []DetailAttempt `json:"attempts"`
	Skipped  []DetailSkip    `json:"skipped"`
	// RetryAt is the true time, where Retry-After is kept within a minute.
	RetryAt string `json:"retry_at,omitempty"`
}

// DetailAttempt is one attempt in a Detail.
type DetailAttempt struct {
	Provider drey.ProviderID `json:"provider"`
	Class    drey.Class      `json:"class"`
	Status   int             `json:"status,omitempty"`
	Error    string          `json:"error"`
}

// DetailSkip is one provider left out in a Detail.
type DetailSkip struct {
	Provider drey.ProviderID `json:"provider"`
	Reason   Reason          `json:"reason"`
	Until    string          `json:"until,omitempty"`
}

// Detail returns what stands beside the error. redact is applied to the texts
// of providers; nil leaves them.
func (f Fail) Detail(w Walk, redact func(string) string) Detail {
	d := Detail{Attempts: []DetailAttempt{}, Skipped: []DetailSkip{}, RetryAt: timeText(f.RetryAt)}
	for _, a := range w.attempts {
		text := a.Verdict.Text
		if redact != nil {
			text = redact(text)
		}
		d.Attempts = append(d.Attempts, DetailAttempt{a.Provider, a.Verdict.Class, a.Verdict.Status, text})
	}
	for _, s := range w.Skipped() {
		d.Skipped = append(d.Skipped, DetailSkip{s.ID, s.Reason, timeText(s.Until)})
	}
	return d
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return drey.FormatTime(t)
}

// doubled returns first × 2^step, at most most.
func doubled(first, most time.Duration, step int) time.Duration {
	for d := first; ; d, step = 2*d, step-1 {
		if d >= most {
			return most
		}
		if step <= 0 {
			return d
		}
	}
}
