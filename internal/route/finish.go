package route

import (
	"slices"
	"time"

	"github.com/dreyhq/drey"
)

// finish ends a walk that has nowhere left to go.
func (w Walk) finish(at time.Time) (Walk, Action) {
	if n := len(w.attempts); n > 0 {
		last := w.attempts[n-1]
		switch {
		case w.every(func(v Verdict) bool { return v.Class == drey.BadOutput && v.Sub == Empty }):
			return w.end(Give{last.Provider})
		case w.tooLong():
			tokens, maximum := w.lengths()
			return w.end(Fail{Case: CaseContextLength, Tokens: tokens, Maximum: maximum})
		case w.every(func(v Verdict) bool { return v.Class == drey.Caller }):
			return w.end(Relay{last.Provider, last.Verdict})
		}
	}
	c, code := w.outcome()
	return w.end(Fail{Case: c, Code: code, RetryAt: w.retryAt(at)})
}

// outcome says what a chain that served nobody comes to. Attempts weigh more
// than skips: what was tried is what was left.
func (w Walk) outcome() (c Case, code string) {
	if len(w.attempts) > 0 {
		refused := func(v Verdict) bool { return v.Class == drey.RateLimit || v.Class == drey.Auth }
		switch last := w.attempts[len(w.attempts)-1].Verdict; {
		case w.every(refused) && w.some(limited):
			return CaseRateLimited, ""
		case w.every(func(v Verdict) bool { return v.Class == drey.Loading }):
			return CaseNoProvider, ""
		case last.Class == drey.Silence:
			return CaseTimeout, ""
		default:
			return CaseChainFailed, ""
		}
	}
	skips := w.Skipped()
	found := func(rs ...Reason) bool {
		return slices.ContainsFunc(skips, func(s Skip) bool { return slices.Contains(rs, s.Reason) })
	}
	switch {
	case found(ReasonExcluded, ReasonRestarting, ReasonResource, ReasonBusy, ReasonRamping, ReasonLoading):
		return CaseNoProvider, ""
	case found(ReasonRateLimit, ReasonQuota):
		return CaseRateLimited, ""
	case found(ReasonAuth):
		return CaseChainFailed, ""
	case found(ReasonBudget):
		return CaseBudget, ""
	case found(ReasonPaid):
		return CaseNotEligible, string(ReasonPaid)
	case found(ReasonCredential):
		return CaseNotEligible, string(ReasonCredential)
	default:
		return CaseNoProvider, ""
	}
}

// limited reports whether a verdict is a limit that time lifts.
func limited(v Verdict) bool {
	return v.Class == drey.RateLimit || v.Class == drey.Auth && v.Sub == Quota
}

// inBandCase is the case of a failure after commit.
func inBandCase(v Verdict) Case {
	switch {
	case v.Class == drey.Internal:
		return CaseInternal
	case v.Class == drey.Cancel:
		return CaseCancelled
	case v.Class == drey.Silence:
		return CaseTimeout
	case limited(v):
		return CaseRateLimited
	default:
		return CaseChainFailed
	}
}

func (w Walk) every(is func(Verdict) bool) bool {
	return len(w.attempts) > 0 && !w.some(func(v Verdict) bool { return !is(v) })
}

func (w Walk) some(is func(Verdict) bool) bool {
	return slices.ContainsFunc(w.attempts, func(a Attempt) bool { return is(a.Verdict) })
}

// tooLong reports whether the prompt's length is why nobody served it: one
// refused it for that, and whoever failed otherwise has no larger window.
func (w Walk) tooLong() bool {
	if w.tooSmall == 0 {
		return false
	}
	return !slices.ContainsFunc(w.attempts, func(a Attempt) bool {
		return a.Verdict.Class != drey.Caller && window(w.plan.Candidates[a.Index].Context) > w.tooSmall
	})
}

// lengths are the prompt's length and the largest window that refused it: as
// the provider said it, else by estimate. A prompt that was refused is longer
// than the window, whatever the estimate says.
func (w Walk) lengths() (tokens, maximum int) {
	for _, a := range w.attempts {
		if a.Verdict.Sub != ContextLength {
			continue
		}
		n, m, ok := saidLengths(a.Verdict.Text)
		if !ok {
			n, m = w.tokens, w.plan.Candidates[a.Index].Context
			if m <= 0 {
				m = w.tokens
			}
		}
		if m >= maximum {
			tokens, maximum = n, m
		}
	}
	return max(tokens, maximum+1), maximum
}

// uniform is the status with which every attempt was refused, if it is one of
// credentials.
func (w Walk) uniform() int {
	for _, status := range [...]int{401, 403} {
		if w.every(func(v Verdict) bool { return v.Class == drey.Auth && v.Status == status }) {
			return status
		}
	}
	return 0
}

// retryAt is when the soonest provider is free again, as far as is known.
func (w Walk) retryAt(at time.Time) (soonest time.Time) {
	take := func(t time.Time) {
		if t.After(at) && (soonest.IsZero() || t.Before(soonest)) {
			soonest = t
		}
	}
	for _, s := range w.Skipped() {
		take(s.Until)
	}
	for _, a := range w.attempts {
		if a.Verdict.RetryAfter > 0 {
			take(a.At.Add(a.Verdict.RetryAfter))
		}
	}
	return soonest
}
