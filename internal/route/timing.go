package route

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dreyhq/drey"
)

// The times of the gateway contract §7.
const (
	firstTokenRemote = 30 * time.Second
	firstTokenLocal  = 120 * time.Second // a model may have to be loaded first
	firstTokenMost   = 900 * time.Second
	promptFactor     = 3
	outputFactor     = 2
	outputMost       = 4096 // tokens of an unstreamed answer that are waited for
	outputUnknown    = 50 * time.Millisecond
	callerMargin     = 5 * time.Second
)

// Rate is a learned time per token: an average over answers, each weighed by
// its tokens and fading by a tenth with each newer one. So a tiny prompt, whose
// time is all latency, says little about a long one. The zero value knows
// nothing.
type Rate struct {
	seconds, tokens float64
}

// fade is what an older answer still weighs when a newer one is learned.
const fade = 0.9

// Observe returns the rate after n tokens that took d. Nothing is learned from
// no tokens or no time.
func (r Rate) Observe(d time.Duration, n int) Rate {
	if n <= 0 || d <= 0 {
		return r
	}
	return Rate{r.seconds*fade + d.Seconds(), r.tokens*fade + float64(n)}
}

// PerToken returns the learned time per token, 0 if nothing is known.
func (r Rate) PerToken() time.Duration {
	if r.tokens == 0 {
		return 0
	}
	return span(r.seconds / r.tokens)
}

// FirstToken is the time that timeouts.first_token: auto gives a provider of
// that price to its first content after a prompt of so many tokens.
func FirstToken(p drey.Price, prompt Rate, tokens int) time.Duration {
	base := firstTokenRemote
	if p == drey.Local {
		base = firstTokenLocal
	}
	more := span(promptFactor * float64(max(tokens, 0)) * prompt.PerToken().Seconds())
	return min(base+min(more, firstTokenMost), firstTokenMost)
}

// Unstreamed is the time on top of FirstToken for an answer that comes in one
// piece: its headers come when all of it is written. maxTokens is what the
// caller allows; 0 = it did not say.
func Unstreamed(output Rate, maxTokens int) time.Duration {
	if maxTokens <= 0 || maxTokens > outputMost {
		maxTokens = outputMost
	}
	per := output.PerToken()
	if per == 0 {
		per = outputUnknown
	}
	return span(outputFactor * float64(maxTokens) * per.Seconds())
}

// span turns seconds into a duration, at most a day: no timeout is longer.
func span(seconds float64) time.Duration {
	const day = 24 * time.Hour
	if !(seconds < day.Seconds()) {
		return day
	}
	return time.Duration(math.Max(seconds, 0) * float64(time.Second))
}

// CallerDeadline reads x-stainless-timeout, the seconds after which the
// caller's SDK gives up on an unstreamed call, and returns when it must have
// its answer to hear the reason: 5 s earlier. ok is false if the header says
// nothing of use, or leaves no time for a margin.
func CallerDeadline(header string, accepted time.Time) (deadline time.Time, ok bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(header), 64)
	if err != nil || !(n > callerMargin.Seconds()) || n > 7*24*3600 {
		return time.Time{}, false
	}
	return accepted.Add(time.Duration(n*float64(time.Second)) - callerMargin), true
}
