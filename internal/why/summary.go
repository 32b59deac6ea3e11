package why

import (
	"fmt"
	"strings"
)

// summary says how the provider stands, and since when.
func (t *teller) summary() string {
	s, id := t.f.Standing, t.f.ID
	var b strings.Builder
	switch {
	case s.State == "":
		fmt.Fprintf(&b, "%s is not in the configuration any more.", id)
	case s.State == excluded:
		t.excludedNow(&b)
	case s.State == unhealthy:
		fmt.Fprintf(&b, "%s is UNHEALTHY after %s and goes on taking requests%s.", id, count(s.ConsecutiveFailures, "failure")+" in a row", t.nextProbe())
	case s.State == degraded:
		fmt.Fprintf(&b, "%s is DEGRADED after %s; it keeps its place.", id, count(s.ConsecutiveFailures, "failure")+" in a row")
	case s.RampLimit > 0:
		fmt.Fprintf(&b, "%s is HEALTHY and is being brought back, with at most %s at once.", id, count(s.RampLimit, "answer"))
	case s.ConsecutiveFailures > 0:
		fmt.Fprintf(&b, "%s is HEALTHY; its latest %s failed.", id, plural(s.ConsecutiveFailures, "attempt"))
	case len(t.steps) == 0:
		fmt.Fprintf(&b, "%s is HEALTHY, and the journal knows of no trouble.", id)
	case !t.backAt.IsZero():
		fmt.Fprintf(&b, "%s is HEALTHY; it was last out for %s, and came back %s ago.", id, span(t.outFor), span(t.f.Now.Sub(t.backAt)))
	default:
		fmt.Fprintf(&b, "%s is HEALTHY.", id)
	}
	if s.ParkedUntil.After(t.f.Now) {
		fmt.Fprintf(&b, " It is left alone for %s more: %s.", span(s.ParkedUntil.Sub(t.f.Now)), word(parked, s.ParkedReason))
	}
	return b.String()
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return count(n, noun)
}

// excludedNow is the summary of a provider that is excluded.
func (t *teller) excludedNow(b *strings.Builder) {
	s, id := t.f.Standing, t.f.ID
	by := map[string]string{"health": "by its health", "process": "because its process ended", "operator": "by the operator"}
	if s.Since.IsZero() {
		fmt.Fprintf(b, "%s is EXCLUDED %s", id, word(by, s.By))
	} else {
		fmt.Fprintf(b, "%s has been EXCLUDED for %s, %s", id, span(t.f.Now.Sub(s.Since)), word(by, s.By))
	}
	switch {
	case s.Phase == "draining":
		fmt.Fprintf(b, "; %s still under way", count(s.InFlight, "answer"))
	case s.Phase == "restarting":
		b.WriteString("; it is being restarted")
	}
	if s.By == "operator" {
		if s.Until.After(t.f.Now) {
			fmt.Fprintf(b, "; it comes back in %s, or by `drey provider restore %s`", span(s.Until.Sub(t.f.Now)), id)
		} else {
			fmt.Fprintf(b, "; it comes back by `drey provider restore %s`", id)
		}
	}
	b.WriteString(t.nextProbe())
	b.WriteByte('.')
}

// nextProbe says when it is looked at again.
func (t *teller) nextProbe() string {
	s := t.f.Standing
	switch {
	case s.Phase != "probing":
		return ""
	case s.Trial:
		return "; the next request that wants it tries it"
	case s.NextProbeAt.After(t.f.Now):
		return "; it is probed in " + span(s.NextProbeAt.Sub(t.f.Now))
	default:
		return "; it is being probed"
	}
}
