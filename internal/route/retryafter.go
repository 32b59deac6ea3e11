package route

import (
	"strconv"
	"strings"
	"time"

	"github.com/dreyhq/drey"
)

// farthest is the longest pause that a provider is believed to mean.
const farthest = 7 * 24 * time.Hour

// resets are the headers that tell when a limit is free again, each with the
// one that tells what is left of it.
var resets = [...][2]string{
	{"anthropic-ratelimit-unified-reset", "anthropic-ratelimit-unified-remaining"},
	{"anthropic-ratelimit-requests-reset", "anthropic-ratelimit-requests-remaining"},
	{"anthropic-ratelimit-tokens-reset", "anthropic-ratelimit-tokens-remaining"},
	{"anthropic-ratelimit-input-tokens-reset", "anthropic-ratelimit-input-tokens-remaining"},
	{"anthropic-ratelimit-output-tokens-reset", "anthropic-ratelimit-output-tokens-remaining"},
	{"anthropic-ratelimit-unified-5h-reset", "anthropic-ratelimit-unified-5h-remaining"},
	{"anthropic-ratelimit-unified-7d-reset", "anthropic-ratelimit-unified-7d-remaining"},
	{"x-ratelimit-reset-requests", "x-ratelimit-remaining-requests"},
	{"x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens"},
	{"x-ratelimit-reset-requests-minute", "x-ratelimit-remaining-requests-minute"},
	{"x-ratelimit-reset-requests-hour", "x-ratelimit-remaining-requests-hour"},
	{"x-ratelimit-reset-requests-day", "x-ratelimit-remaining-requests-day"},
	{"x-ratelimit-reset-tokens-minute", "x-ratelimit-remaining-tokens-minute"},
	{"x-ratelimit-reset-tokens-hour", "x-ratelimit-remaining-tokens-hour"},
	{"x-ratelimit-reset-tokens-day", "x-ratelimit-remaining-tokens-day"},
	{"x-ratelimit-reset", "x-ratelimit-remaining"},
	{"x-ratelimit-reset-after", "x-ratelimit-remaining"},
}

// retryAfter reads how long a provider asks to be left alone, 0 if it does not
// say or if what it says is past or more than seven days away: retry-after-ms,
// else its coarser twin retry-after, in seconds (fractions are understood) or
// as an HTTP date.
func retryAfter(header func(string) string, at time.Time) time.Duration {
	if header == nil {
		return 0
	}
	if ms, err := strconv.ParseFloat(strings.TrimSpace(header("retry-after-ms")), 64); err == nil {
		if d := sane(ms / 1e3); d > 0 {
			return d
		}
	}
	return retryValue(header("retry-after"), at)
}

// limitReset reads when a limit is free again from the headers of Anthropic
// and OpenAI: of the limits that are used up the one that is free last; where
// none says what is left, the first that is free again. It means something on
// an answer that says that a limit was reached and on no other, since these
// headers come with every answer.
func limitReset(header func(string) string, at time.Time) time.Duration {
	if header == nil {
		return 0
	}
	var used, first time.Duration
	for _, h := range resets {
		d := resetValue(header(h[0]), at)
		if d <= 0 {
			continue
		}
		if left, err := strconv.ParseFloat(strings.TrimSpace(header(h[1])), 64); err == nil && left <= 0 {
			used = max(used, d)
		}
		if first == 0 || d < first {
			first = d
		}
	}
	if used > 0 {
		return used
	}
	return first
}

// retryValue reads the value of a Retry-After.
func retryValue(s string, at time.Time) time.Duration {
	s = strings.TrimSpace(s)
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		return sane(n)
	}
	// RFC 9110 §5.6.7: the form that is sent, and the two that are still read.
	for _, layout := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC850, time.ANSIC, time.RFC1123, time.RFC1123Z} {
		if t, err := time.Parse(layout, s); err == nil {
			return until(t, at)
		}
	}
	return 0
}

// resetValue reads the value of a reset header: a time (RFC 3339), seconds or
// milliseconds since epoch, a duration in Go's form, or plain seconds.
func resetValue(s string, at time.Time) time.Duration {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		switch {
		case n >= 1e14: // no clock says so
			return 0
		case n >= 1e11:
			return until(time.UnixMilli(int64(n)), at)
		case n >= 1e8:
			return until(time.Unix(int64(n), 0), at)
		default:
			return sane(n)
		}
	}
	if d, err := drey.ParseDuration(s); err == nil {
		return sane(d.D().Seconds())
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return until(t, at)
	}
	return retryValue(s, at)
}

// sane returns the seconds as a duration, 0 if they are none that anybody
// would mean: negative, absurd, or no number.
func sane(seconds float64) time.Duration {
	if !(seconds > 0) || seconds > farthest.Seconds() {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

// until is sane for a point in time.
func until(t, at time.Time) time.Duration {
	if d := t.Sub(at); d > 0 && d <= farthest {
		return d
	}
	return 0
}

var (
	resetIn    = lazy(`\bresets? in (\d+(?:\.\d+)?) ?(s|sec|second|m|min|minute|h|hr|hour|d|day)s?\b`)
	resetSpan  = lazy(`\bresets? in ((?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+)\b`)
	resetAt    = lazy(`\bresets? (?:at|on) (\d{4}-\d\d-\d\d[t ]\d\d:\d\d:\d\d(?:\.\d+)?(?:z|[+-]\d\d:\d\d)?)`)
	resetEpoch = lazy(`\breached\|(\d{10})\b`)
	unitOf     = map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}
)

// resetText reads when a limit resets from a message in lower case. A time of
// day is not read: it has neither a date nor, mostly, a zone.
func resetText(s string, at time.Time) time.Duration {
	if m := resetSpan().FindStringSubmatch(s); m != nil {
		if d := resetValue(m[1], at); d > 0 {
			return d
		}
	}
	if m := resetIn().FindStringSubmatch(s); m != nil {
		n, _ := strconv.ParseFloat(m[1], 64)
		return sane(n * unitOf[m[2][0]].Seconds())
	}
	if m := resetAt().FindStringSubmatch(s); m != nil {
		if t, err := drey.ParseTime(strings.ToUpper(strings.Replace(m[1], " ", "T", 1))); err == nil {
			return until(t, at)
		}
	}
	if m := resetEpoch().FindStringSubmatch(s); m != nil {
		return resetValue(m[1], at)
	}
	return 0
}
