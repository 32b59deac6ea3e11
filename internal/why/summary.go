package why

import (
	"fmt"
	"strings"
	"time"
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
		fmt.Fprintf(&b, "%s is HEALTHY; it was last out for %s, and came back %s.", id, span(t.outFor), ago(t.f.Now.Sub(t.backAt)))
	default:
		fmt.Fprintf(&b, "%s is HEALTHY.", id)
	}
	if s.ParkedUntil.After(t.f.Now) {
		fmt.Fprintf(&b, " It is left alone for %s more: %s.", span(s.ParkedUntil.Sub(t.f.Now)), word(parked, s.ParkedReason))
	}
	return b.String()
}

// ago says how long something has been.
func ago(d time.Duration) string {
	if d < time.Second {
		return "just now"
	}
	return span(d) + " ago"
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
	switch out := t.f.Now.Sub(s.Since); {
	case s.Since.IsZero():
		fmt.Fprintf(b, "%s is EXCLUDED %s", id, word(by, s.By))
	case out < time.Second:
		fmt.Fprintf(b, "%s was EXCLUDED a moment ago, %s", id, word(by, s.By))
	default:
		fmt.Fprintf(b, "%s has been EXCLUDED for %s, %s", id, span(out), word(by, s.By))
	}
	switch {
	case s.Phase == "draining":
		fmt.Fprintf(b, "; %s still under way", count(s.InFlight, "answer"))
	case s.Process == crashLoop:
		fmt.Fprintf(b, "; its process ends again and again, and is started once more every 30m, or by `drey provider restart %s`", id)
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
	case s.Phase != "probing" || s.Process == crashLoop:
		return ""
	case s.Trial:
		return "; the next request that wants it tries it"
	case s.NextProbeAt.After(t.f.Now):
		return "; it will be probed in " + span(s.NextProbeAt.Sub(t.f.Now))
	default:
		return "; it is being probed"
	}
}
