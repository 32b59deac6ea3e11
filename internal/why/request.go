package why

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dreyhq/drey"
)

// RequestFacts are what is known of one request.
type RequestFacts struct {
	// Row is the request's row as the store holds it, its events in it.
	Row json.RawMessage
	// Caused are the journaled events that the request caused, in the order of
	// seq.
	Caused []drey.Event
	// Before are journaled events of the providers that the request passed
	// over, before it came: they say why a provider was out.
	Before []drey.Event
}

// requestRow is what a story needs of a row; internal/gateway writes it.
type requestRow struct {
	ID       drey.RequestID `json:"id"`
	TS       string         `json:"ts"`
	Wire     string         `json:"wire"`
	Profile  string         `json:"profile"`
	Asked    string         `json:"model"`
	Served   string         `json:"model_served"`
	Provider string         `json:"provider"`
	Stream   bool           `json:"stream"`
	Status   int            `json:"status"`
	Outcome  string         `json:"outcome"`
	MS       float64        `json:"ms"`
	TTFT     float64        `json:"ttft_ms"`
	Error    string         `json:"error"`
	Cost     float64        `json:"cost_usd"`
	Savings  float64        `json:"savings_usd"`
	ReplayOf drey.RequestID `json:"replay_of"`
	Tokens   struct {
		Input  int `json:"input"`
		Output int `json:"output"`
	} `json:"tokens"`
	Attempts []struct {
		Provider  string `json:"provider"`
		Committed bool   `json:"committed"`
	} `json:"attempts"`
	Skipped []struct {
		Provider string `json:"provider"`
	} `json:"skipped"`
	Guards []guardTrip  `json:"guards"`
	Events []drey.Event `json:"events"`
}

// PassedOver returns the providers that a request did not try, from its row:
// those whose events before it tell why (RequestFacts.Before).
func PassedOver(row json.RawMessage) []drey.ProviderID {
	var r requestRow
	if json.Unmarshal(row, &r) != nil {
		return nil
	}
	var out []drey.ProviderID
	for _, s := range r.Skipped {
		if id := drey.ProviderID(s.Provider); !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// Request tells why a request went where it went. It is an error if Row is not
// a request's row.
func Request(f RequestFacts) (Story, error) {
	var r requestRow
	if err := json.Unmarshal(f.Row, &r); err != nil {
		return Story{}, fmt.Errorf("read a request's row: %w", err)
	}
	at, err := drey.ParseTime(r.TS)
	if err != nil {
		return Story{}, fmt.Errorf("read a request's row: %w", err)
	}
	n := narrator{r: r, at: at, before: f.Before}
	events := weave(r.Events, f.Caused)
	n.arrived(events)
	for i, ev := range events {
		n.tell(ev, events[i+1:])
	}
	n.ended()
	return Story{Subject: "request", ID: string(r.ID), Summary: n.summary(), Steps: n.steps}, nil
}

// narrator goes through the events of one request.
type narrator struct {
	r      requestRow
	at     time.Time // arrival
	before []drey.Event
	steps  []Step
}

// weave puts what a request caused among its own events, by time. What an
// attempt brought about is decided a moment before its end is noted; it is told
// behind that end, as its consequence. What is said of the whole chain, other
// than that somebody gets a trial or takes a stream over, and what the guards
// found, is said at the end.
func weave(own, caused []drey.Event) []drey.Event {
	own = slices.Clone(own)
	slices.SortStableFunc(own, func(a, b drey.Event) int { return a.At.Compare(b.At) })
	behind := make([][]drey.Event, len(own)+1) // [i] is told before own[i]
	for _, ev := range caused {
		at := len(own)
		if i := slices.IndexFunc(own, func(o drey.Event) bool { return o.At.After(ev.At) }); i >= 0 {
			at = i
		}
		if ev.Machine == "profile" && ev.Name != "chain-panic-trial" && ev.Name != "stream-rescued" && !ofGuard(ev) {
			at = len(own)
		}
		if ev.Machine == "provider" && underWay(own[:at], ev.ID) {
			if i := slices.IndexFunc(own[at:], func(o drey.Event) bool { return endOf(o, ev.ID) }); i >= 0 {
				at += i + 1
			}
		}
		behind[at] = append(behind[at], ev)
	}
	out := make([]drey.Event, 0, len(own)+len(caused))
	for i, ev := range own {
		out = append(append(out, behind[i]...), ev)
	}
	return append(out, behind[len(own)]...)
}

// underWay reports whether an attempt at a provider has begun and not ended.
func underWay(events []drey.Event, id string) bool {
	for _, ev := range slices.Backward(events) {
		switch {
		case endOf(ev, id):
			return false
		case ev.Name == "try-provider" && text(ev, "provider") == id:
			return true
		}
	}
	return false
}

// endOf reports whether an event is the end of an attempt at a provider.
func endOf(ev drey.Event, id string) bool {
	return (ev.Name == "provider-ok" || ev.Name == "provider-failed") && text(ev, "provider") == id
}

// say adds a step. None is told to be earlier than the one before it.
func (n *narrator) say(at time.Time, ev drey.Event, format string, args ...any) {
	if k := len(n.steps); k > 0 && at.Before(n.steps[k-1].At) {
		at = n.steps[k-1].At
	}
	n.steps = append(n.steps, Step{At: at, Seq: ev.Seq, Event: ev.Name, RequestID: n.r.ID, Text: fmt.Sprintf(format, args...)})
}

// arrived tells what was asked, and where that leads.
func (n *narrator) arrived(events []drey.Event) {
	what := "came in"
	if n.r.Wire != "" {
		what += " on wire " + n.r.Wire
	}
	if n.r.Asked != "" {
		what += " for model " + oneLine(n.r.Asked)
	}
	if n.r.Stream {
		what += ", to be streamed"
	}
	n.say(n.at, drey.Event{}, "%s", what)
	n.routed(events)
	for _, ev := range events {
		if ev.Name != "route-resolved" {
			continue
		}
		way := "no provider of it could be tried"
		if ids := names(ev, "providers"); len(ids) > 0 {
			way = "to be tried in this order: " + strings.Join(ids, ", ") + pooled(ev)
		}
		n.say(ev.At, ev, "profile %s, %s; %s", text(ev, "profile"), word(chosenBy, text(ev, "by")), way)
		return
	}
}

// names returns a field that is a list of strings.
func names(ev drey.Event, key string) []string {
	list, _ := field(ev, key).([]any)
	var out []string
	for _, v := range list {
		if s, ok := v.(string); ok {
			out = append(out, oneLine(s))
		}
	}
	return out
}

func (n *narrator) tell(ev drey.Event, later []drey.Event) {
	id := text(ev, "provider")
	switch ev.Name {
	case "route-resolved", "request-ended", "auto-router": // told by arrived and ended
	case "provider-skipped":
		n.skipped(ev, id)
	case "try-provider":
		n.tried(ev, id, later)
	case "request-replayed":
		n.say(ev.At, ev, "it is the request %s, captured and sent again by hand; it counts for nothing in anybody's health", text(ev, "replay_of"))
	case "provider-ok":
		n.say(ev.At, ev, "%s answered after %s", id, span(millis(ev, "duration_ms")))
	case "provider-failed":
		class := because(text(ev, "class"), detail(int(number(ev, "status")), text(ev, "error")))
		switch {
		case yes(ev, "committed") && takenOver(later):
			n.say(ev.At, ev, "%s failed in the middle of its answer (%s); the caller had the beginning", id, class)
		case yes(ev, "committed"):
			n.say(ev.At, ev, "%s failed in the middle of its answer (%s); the caller had the beginning, so nobody else could take over", id, class)
		case yes(ev, "retryable"):
			n.say(ev.At, ev, "%s failed (%s); the caller saw nothing of it", id, class)
		default:
			n.say(ev.At, ev, "%s failed (%s)", id, class)
		}
	case "stream-rescued":
		n.rescued(ev)
	case "rescue-failed":
		n.notRescued(ev)
	case "fallback-occurred":
		from, to := ev.From, ev.To
		if from == "" { // it is live, and has them among its fields
			from, to = text(ev, "from"), text(ev, "to")
		}
		n.say(ev.At, ev, "fell back from %s to %s: %s", from, to, reasons(text(ev, "reason")))
	case "self-healing-exclude":
		n.say(ev.At, ev, "this excluded %s (%s); see `drey why provider %s`", id, exclusion(ev), id)
	case "self-healing-restore":
		n.say(ev.At, ev, "this brought %s back after %s out", id, span(seconds(ev, "excluded_duration_s")))
	case "self-healing-recovery-probe":
		if !yes(ev, "success") {
			n.say(ev.At, ev, "this request was the trial of %s, which is still not well", id)
		}
	case "provider-ramp-ended":
		if yes(ev, "success") {
			n.say(ev.At, ev, "this brought %s back fully", id)
		}
	case "backend-health-changed":
		if len(later) > 0 && later[0].Name == "self-healing-exclude" && text(later[0], "provider") == id {
			return // that is the step
		}
		n.say(ev.At, ev, "this made %s %s", id, text(ev, "new_state"))
	case "chain-panic-trial":
		n.say(ev.At, ev, "no other provider was left, so %s got this request as a trial", id)
	case "chain-exhausted":
		n.say(ev.At, ev, "no provider was left; the caller was told to come back in %s", span(seconds(ev, "retry_after_s")))
	case "provider-parked":
		n.say(ev.At, ev, "%s is left alone from here on: %s", id, word(parked, text(ev, "reason")))
	case "provider-unparked":
		n.say(ev.At, ev, "%s is asked again: its pause is over", id)
	case "memory-pressure-detected":
		n.say(ev.At, ev, "%s ran out of memory", id)
	case "tool-call-repaired", "output-filter-applied", "capability-degraded":
		n.mended(ev, id)
	case "auto-router-error":
		n.say(ev.At, ev, "rule %s of the auto-router could not be evaluated, and counted as false: %s", text(ev, "rule_id"), text(ev, "error"))
	case "empty-answer":
		n.say(ev.At, ev, "the answer of %s was empty", id)
	case "finish-reason-unknown":
		n.say(ev.At, ev, "%s ended its answer for a reason that nobody knows (%q); the caller was told that it is complete", id, text(ev, "finish_reason"))
	case "drift-detected":
		n.say(ev.At, ev, "%s", worse(ev, id+"'s"))
	case "drift-recovered":
		n.say(ev.At, ev, "%s is back in its place: its answers are no longer worse, or its cool-down is over", id)
	case "chain-uniform-auth-failure":
		n.say(ev.At, ev, "every provider refused its credential")
	case "budget-reserved", "budget-settled", "budget-exceeded":
		n.money(ev)
	case "no-price":
		n.say(ev.At, ev, "nobody knows what %s charges for this model, so it counts as free", id)
	case "paid-gate-blocked":
		n.say(ev.At, ev, "only providers that cost money were left, and allow_paid is off")
	default:
		if !n.guarded(ev, id) {
			n.say(ev.At, ev, "%s", raw(ev))
		}
	}
}

// reasons puts a list of words, as headers have it, into words for people.
func reasons(list string) string {
	words := strings.Split(list, ",")
	for i, w := range words {
		words[i] = word(skipped, strings.TrimSpace(w))
	}
	return strings.Join(words, "; ")
}

// skipped tells why a provider was not tried, and, where its health is why,
// what had happened to it before.
func (n *narrator) skipped(ev drey.Event, id string) {
	reason := text(ev, "reason")
	said := word(skipped, reason)
	if reason == "budget" {
		said += overBudget(ev)
	}
	cause := drey.Event{}
	if reason == "excluded" || reason == "restarting" {
		for _, b := range n.before {
			if b.Name == "self-healing-exclude" && b.ID == id && !b.At.After(ev.At) {
				cause = b
			}
		}
	}
	if cause.Name != "" {
		said += fmt.Sprintf(", since %s earlier (%s)", span(ev.At.Sub(cause.At)), exclusion(cause))
	}
	if until, err := drey.ParseTime(text(ev, "until")); err == nil && until.After(ev.At) {
		said += ", for " + span(until.Sub(ev.At)) + " more"
	}
	if cause.Name != "" {
		said += "; see `drey why provider " + id + "`"
	}
	step := ev
	step.Seq = cause.Seq
	n.say(ev.At, step, "passed over %s: %s", id, said)
}

// exclusion says in a few words why a provider was excluded.
func exclusion(ev drey.Event) string {
	switch reason := text(ev, "reason"); reason {
	case "consecutive":
		return count(int(number(ev, "consecutive_failures")), "failure") + " in a row"
	case "ratio":
		return "at least half of its answers had failed"
	case "ramp":
		return "it had failed while it was being brought back"
	case "process-exit":
		return "its process had ended"
	case "operator", "drain", "operator-restart":
		return "by the operator"
	default:
		return reason
	}
}

// tried tells an attempt that was moved or repeated, or whose end is not known;
// the rest is told by its end.
func (n *narrator) tried(ev drey.Event, id string, later []drey.Event) {
	ended := slices.ContainsFunc(later, func(e drey.Event) bool { return endOf(e, id) })
	moved := text(ev, "moved")
	switch {
	case moved != "":
		n.say(ev.At, ev, "tried %s, behind its place in the chain: %s", id, word(skipped, moved))
	case yes(ev, "retry"):
		n.say(ev.At, ev, "tried %s once more", id)
	case !ended:
		n.say(ev.At, ev, "tried %s", id)
	}
}

// ended tells how it came out.
func (n *narrator) ended() {
	took := clampSpan(n.r.MS * float64(time.Millisecond))
	n.say(n.at.Add(took), drey.Event{}, "%s", n.outcome())
}

// outcome says how the request ended, in the row's words.
func (n *narrator) outcome() string {
	r := n.r
	took := span(clampSpan(r.MS * float64(time.Millisecond)))
	switch r.Outcome {
	case "ok":
		said := fmt.Sprintf("done: status %d after %s", r.Status, took)
		if r.TTFT > 0 && r.Stream {
			said += fmt.Sprintf(", the first content after %s", span(clampSpan(r.TTFT*float64(time.Millisecond))))
		}
		if r.Tokens.Input+r.Tokens.Output > 0 {
			said += fmt.Sprintf(", %d tokens in and %d out", r.Tokens.Input, r.Tokens.Output)
		}
		return said + r.cost()
	case "cancel":
		return "the caller went away after " + took + r.cost() + "; that counts against nobody"
	case "failed_midstream":
		return because(fmt.Sprintf("broke off after %s, and the caller was told in the stream%s", took, r.cost()), oneLine(r.Error))
	case "refused":
		how := fmt.Sprintf("with status %d", r.Status)
		if r.Status == 200 {
			how = "within the stream"
		}
		return because("refused "+how+" before any provider was asked", oneLine(r.Error))
	default:
		return because(fmt.Sprintf("failed with status %d after %s", r.Status, took), oneLine(r.Error))
	}
}

// summary says in a sentence who answered and what came before.
func (n *narrator) summary() string {
	r := n.r
	tried := count(len(r.Attempts), "attempt")
	switch {
	case r.Outcome == "ok" && r.Provider != "" && len(r.Attempts) <= 1 && len(r.Skipped) == 0:
		return fmt.Sprintf("%s answered request %s at the first attempt.", r.Provider, r.ID)
	case r.Outcome == "ok" && r.Provider != "":
		return fmt.Sprintf("%s answered request %s, after %s in all%s.", r.Provider, r.ID, tried, n.passedOver())
	case r.Outcome == "ok":
		return fmt.Sprintf("Request %s ended well.", r.ID)
	case r.Outcome == "cancel":
		return fmt.Sprintf("The caller of request %s went away after %s.", r.ID, tried)
	case r.Outcome == "failed_midstream":
		return fmt.Sprintf("The answer to request %s broke off at %s.", r.ID, n.brokeAt())
	case r.Outcome == "refused" && r.stopper() != "":
		return fmt.Sprintf("Request %s was refused by the guard %s.", r.ID, r.stopper())
	case r.Outcome == "refused":
		return fmt.Sprintf("Request %s was refused.", r.ID)
	default:
		return fmt.Sprintf("No provider answered request %s: %s%s.", r.ID, tried, n.passedOver())
	}
}

// passedOver counts the providers that were not tried.
func (n *narrator) passedOver() string {
	if len(n.r.Skipped) == 0 {
		return ""
	}
	return ", and " + count(len(n.r.Skipped), "provider") + " passed over"
}
