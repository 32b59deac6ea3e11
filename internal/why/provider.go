package why

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dreyhq/drey"
)

// ProviderFacts are what is known of one provider.
type ProviderFacts struct {
	ID  drey.ProviderID
	Now time.Time
	// Standing is how the provider is at Now; the zero value says that the
	// configuration does not have it.
	Standing Standing
	// Events are the journaled events of the provider and of its process, and
	// those that caused them, in the order of seq.
	Events []drey.Event
	// Failures are failed attempts at it, in any order (Failures). The story
	// is told without those that telemetry has lost.
	Failures []Failure
	// Breakdowns is how many of the last ones are told; 0 = 3.
	Breakdowns int
}

// Standing is how a provider is at a moment. The words are those of the
// control API's view.
type Standing struct {
	State, Phase, By    string
	ConsecutiveFailures int
	InFlight            int
	Since               time.Time // of an exclusion; zero = not known or none
	Until               time.Time // of an operator's exclusion; zero = until restored
	NextProbeAt         time.Time // zero = none is due
	Trial               bool      // the next request that wants it tries it
	RampLimit           int       // 0 = no ramp
	ParkedUntil         time.Time // zero = not parked
	ParkedReason        string
	Process             string // the state of the process that drey keeps; "" = it keeps none
}

// The states that sentences tell apart.
const (
	healthy   = "HEALTHY"
	degraded  = "DEGRADED"
	unhealthy = "UNHEALTHY"
	excluded  = "EXCLUDED"
	crashLoop = "CRASHLOOP" // of a process
)

const toldBreakdowns = 3

// Provider tells what became of a provider: since when it was in trouble, what
// failed there, who excluded it and why, what was done to mend it, and how it
// came back.
func Provider(f ProviderFacts) Story {
	t := teller{f: f, causes: index(f.Events)}
	for _, ev := range f.Events {
		if About(ev, f.ID) {
			t.events = append(t.events, ev)
		}
	}
	earlier := t.cut()
	t.managed = slices.ContainsFunc(t.events, func(ev drey.Event) bool { return ev.Machine == "process" })
	for t.i < len(t.events) {
		ev := t.events[t.i]
		t.i++
		t.tell(ev)
	}
	return Story{Subject: "provider", ID: string(f.ID), Summary: t.summary(), Steps: t.steps, Earlier: earlier}
}

// About reports whether an event is about a provider or its process.
func About(ev drey.Event, id drey.ProviderID) bool {
	return (ev.Machine == "provider" || ev.Machine == "process") && ev.ID == string(id) ||
		ev.Name == "chain-panic-trial" && text(ev, "provider") == string(id)
}

// teller goes through a provider's events. What one decision journaled is told
// as one step, so it looks ahead.
type teller struct {
	f       ProviderFacts
	causes  causes
	events  []drey.Event
	managed bool // drey keeps its process

	i     int // the next event
	steps []Step
	mark  time.Time // since when the next probe is waited for

	backAt time.Time     // when it last came back; zero = it did not
	outFor time.Duration // how long it had been out
}

// cut leaves out all but the last breakdowns and returns how many it left out.
// A breakdown begins with the first event after the provider was well.
func (t *teller) cut() int {
	keep := t.f.Breakdowns
	if keep <= 0 {
		keep = toldBreakdowns
	}
	var begins []int
	well := true
	for i, ev := range t.events {
		switch {
		case ev.Name == "self-healing-restore", ev.Name == "backend-health-changed" && text(ev, "new_state") == healthy:
			well = true
		case well && (ev.Name == "self-healing-exclude" || ev.Name == "backend-health-changed"):
			well = false
			if i > 0 && sameDecision(t.events[i-1], ev) { // the act or the exit that led to it
				i--
			}
			begins = append(begins, i)
		}
	}
	if len(begins) <= keep {
		return 0
	}
	t.events = t.events[begins[len(begins)-keep]:]
	return len(begins) - keep
}

// sameDecision reports whether two neighbours were journaled by one decision
// of the machine, which gives all of them its time.
func sameDecision(a, b drey.Event) bool { return a.At.Equal(b.At) && a.RequestID == b.RequestID }

// follows takes the next event if it belongs to the same decision and has that
// name.
func (t *teller) follows(ev drey.Event, name string) (drey.Event, bool) {
	if t.i < len(t.events) && t.events[t.i].Name == name && sameDecision(ev, t.events[t.i]) {
		t.i++
		return t.events[t.i-1], true
	}
	return drey.Event{}, false
}

// say adds a step.
func (t *teller) say(ev drey.Event, format string, args ...any) {
	t.steps = append(t.steps, Step{
		At: ev.At, Seq: ev.Seq, Event: ev.Name, RequestID: t.causes.request(ev), Text: fmt.Sprintf(format, args...),
	})
}

func (t *teller) tell(ev drey.Event) {
	switch ev.Name {
	case "backend-health-changed":
		t.changed(ev)
	case "self-healing-exclude":
		t.excluded(ev, nil)
	case "self-healing-restart":
		t.restarted(ev)
	case "self-healing-recovery-probe":
		t.probed(ev)
	case "self-healing-restore":
		t.restored(ev, nil)
	case "operator-action":
		t.operator(ev)
	case "provider-drained":
		if n := int(number(ev, "in_flight_killed")); n > 0 {
			t.say(ev, "drained; %s cut at the time limit", were(n, "answer"))
		} else {
			t.say(ev, "drained: the last answer under way has ended")
		}
	case "provider-ramp-ended":
		t.ramped(ev)
	case "provider-restart-capped":
		t.say(ev, "not restarted again: %s in ten minutes are the most; from here on it is only probed", count(int(number(ev, "restarts")), "restart"))
	case "provider-parked":
		t.parked(ev)
	case "provider-unparked":
		t.say(ev, "asked again: its pause is over")
	case "memory-pressure-detected":
		t.say(ev, "%s", because("ran out of memory", text(ev, "error")))
	case "chain-panic-trial":
		t.say(ev, "got %s as a trial, since nothing else in the chain was left%s", some(t.causes.request(ev)), t.cameTo(ev))
	case "drift-detected":
		t.say(ev, "%s", worse(ev, "its"))
	case "drift-recovered":
		t.say(ev, "back in its place in profile %s: its answers are no longer worse, or its cool-down is over", text(ev, "profile"))
	case "probe-model-drift":
		t.say(ev, "answers as model %s, and is configured as %s", text(ev, "observed_model"), text(ev, "configured_model"))
	case "health-state-dropped":
		t.say(ev, "%s", because("what was known of it was dropped at the start", text(ev, "reason")))
	case "process-started", "process-ready", "process-exited", "process-unloaded", "process-crash-loop":
		t.process(ev)
	default:
		t.say(ev, "%s", raw(ev))
	}
}

// were is count with its verb.
func were(n int, noun string) string {
	if n == 1 {
		return count(n, noun) + " was"
	}
	return count(n, noun) + " were"
}

// some names a request, or says that there was one.
func some(id drey.RequestID) string {
	if id == "" {
		return "a request"
	}
	return "request " + string(id)
}

// cameTo says how a trial failed, if it did and that is known. One that went
// well is told by the return that it brought about.
func (t *teller) cameTo(ev drey.Event) string {
	for _, f := range t.f.Failures {
		if f.RequestID != "" && f.RequestID == ev.RequestID && !f.At.Before(ev.At) {
			return "; it failed (" + because(f.Class.String(), f.detail()) + ")"
		}
	}
	return ""
}

// changed tells a new finding. Where the finding led to an exclusion, or a
// return brought it about, that is the step.
func (t *teller) changed(ev drey.Event) {
	if t.i < len(t.events) && t.events[t.i].Name == "self-healing-exclude" && sameDecision(ev, t.events[t.i]) {
		return
	}
	failures := int(number(ev, "consecutive_failures"))
	switch text(ev, "new_state") {
	case degraded:
		what := count(failures, "failure") + " in a row"
		if k := kinds(run(t.f.Failures, failures, ev.At, t.causes.request(ev)), failures); k != "" {
			what += " (" + k + ")"
		}
		t.say(ev, "degraded after %s; still in its place", what)
	case unhealthy:
		t.mark = ev.At
		what := "unhealthy after " + t.failed(ev, failures, text(ev, "reason"))
		t.say(ev, "%s; no profile excludes it, so it goes on taking requests", what)
	case healthy:
		probe, probed := t.follows(ev, "self-healing-recovery-probe")
		switch {
		case probed:
			t.say(ev, "%s; healthy again", t.good(probe))
		case text(ev, "reason") == "success":
			t.say(ev, "healthy again: %s was answered properly", some(t.causes.request(ev)))
		default:
			t.say(ev, "healthy again")
		}
	default:
		t.say(ev, "%s", raw(ev))
	}
}

// failed says what failed: the run that ends with ev, by class, and who saw it
// first. An event of the ratio rule says so.
func (t *teller) failed(ev drey.Event, n int, reason string) string {
	request := t.causes.request(ev)
	known := run(t.f.Failures, max(n, 1), ev.At, request)
	what := count(n, "failure") + " in a row"
	if reason == "ratio" {
		what = "at least half of its latest answers failed"
	}
	if reason == "ratio" {
		n = len(known)
	}
	if k := kinds(known, n); k != "" {
		what += " (" + k + ")"
	}
	switch {
	case len(known) == n && n > 0 && reason != "ratio" && known[0].RequestID != "":
		what += ", first seen by request " + string(known[0].RequestID)
		if request != "" && request != known[0].RequestID {
			what += ", last by request " + string(request)
		}
	case request != "":
		what += ", last seen by request " + string(request)
	}
	return what
}

// excluded tells an exclusion; act is the operator's, if a person did it.
func (t *teller) excluded(ev drey.Event, act *drey.Event) {
	t.mark = ev.At
	failures := int(number(ev, "consecutive_failures"))
	words := ""
	if act != nil {
		words = text(*act, "reason")
	}
	profile := ""
	if p := text(ev, "profile"); p != "" {
		profile = "; profile " + p + " asks for that"
	}
	switch reason := text(ev, "reason"); reason {
	case "consecutive":
		t.say(ev, "excluded after %s%s", t.failed(ev, failures, reason), profile)
	case "ratio":
		t.say(ev, "excluded because %s%s", t.failed(ev, failures, reason), profile)
	case "ramp":
		why := "excluded again: it failed while it was being brought back"
		if k := kinds(run(t.f.Failures, 1, ev.At, t.causes.request(ev)), 1); k != "" {
			why += " (" + k + ")"
		}
		if r := t.causes.request(ev); r != "" {
			why += ", seen by request " + string(r)
		}
		t.say(ev, "%s%s", why, profile)
	case "process-exit":
		t.say(ev, "excluded because its process ended")
	case "operator", "drain":
		did := "excluded by the operator" + t.forHow(ev)
		if reason == "drain" {
			did = "taken out by the operator, to drain"
		}
		t.say(ev, "%s%s", because(did, words), t.idle(ev))
	case "operator-restart":
		t.say(ev, "%s", because("taken out by the operator, for a restart", words))
	default:
		t.say(ev, "%s%s", because("excluded", reason), profile)
	}
}

// idle says that a person's act found the provider with nothing to do.
func (t *teller) idle(ev drey.Event) string {
	if _, drained := t.follows(ev, "provider-drained"); drained {
		return "; no answer was under way"
	}
	return ""
}

// forHow says for how long a person took it out, where that is known: it is
// out still.
func (t *teller) forHow(ev drey.Event) string {
	s := t.f.Standing
	if s.By != "operator" || !s.Until.After(ev.At) || s.Since.Sub(ev.At).Abs() > time.Millisecond {
		return ""
	}
	return " for " + span(s.Until.Sub(ev.At))
}

// operator tells a person's act, together with what it brought about.
func (t *teller) operator(ev drey.Event) {
	if next := t.i + 1; next < len(t.events) && t.events[next].Name == "self-healing-exclude" && sameDecision(ev, t.events[next]) {
		t.follows(ev, "backend-health-changed") // it is part of the same act
	}
	if out, ok := t.follows(ev, "self-healing-exclude"); ok {
		t.excluded(out, &ev)
		return
	}
	if back, ok := t.follows(ev, "self-healing-restore"); ok {
		t.restored(back, &ev)
		return
	}
	words := map[string]string{
		"exclude": "kept out by the operator",
		"drain":   "the operator asked for a drain",
		"restart": "the operator asked for a restart",
		"restore": "the operator asked for it back",
		"probe":   "the operator had it probed",
	}
	action := text(ev, "action")
	said, ok := words[action]
	if !ok {
		said = "the operator's act: " + action
	}
	t.say(ev, "%s%s", because(said, text(ev, "reason")), t.idle(ev))
}

func (t *teller) restarted(ev drey.Event) {
	t.mark = ev.At
	took := span(millis(ev, "duration_ms"))
	what := "restart command"
	if t.managed {
		what = "process restart"
	}
	switch {
	case !yes(ev, "success"):
		t.say(ev, "%s", because(what+" failed after "+took, text(ev, "error")))
	case t.managed:
		t.say(ev, "process restarted and ready after %s", took)
	default:
		t.say(ev, "restart command ran in %s: %s", took, text(ev, "command"))
	}
}

// waited says how long a probe or trial was waited for, and counts from it on.
func (t *teller) waited(at time.Time) string {
	since := t.mark
	t.mark = at
	switch {
	case since.IsZero():
		return ""
	case at.Sub(since) < time.Second:
		return " at once"
	default:
		return " after " + span(at.Sub(since))
	}
}

// good tells a probe or trial that went well.
func (t *teller) good(ev drey.Event) string {
	did := "probed"
	if text(ev, "depth") == "trial" {
		did = "tried by " + some(t.causes.request(ev))
	}
	return fmt.Sprintf("%s%s: ok (%s)", did, t.waited(ev.At), span(millis(ev, "latency_ms")))
}

func (t *teller) probed(ev drey.Event) {
	if yes(ev, "success") {
		t.say(ev, "%s", t.good(ev))
		return
	}
	did := "probed"
	if text(ev, "depth") == "trial" {
		did = "tried by " + some(t.causes.request(ev))
	}
	next := ""
	if d := seconds(ev, "next_interval_s"); d > 0 {
		next = "; again in " + span(d)
	}
	t.say(ev, "%s%s%s", did, t.waited(ev.At), failedWith(text(ev, "error"))+next)
}

// failedWith says how a probe failed.
func failedWith(err string) string {
	if err == "" {
		return ": failed"
	}
	return ": failed (" + err + ")"
}

// restored tells a return; act is the operator's, if a person did it.
func (t *teller) restored(ev drey.Event, act *drey.Event) {
	t.backAt, t.outFor = ev.At, seconds(ev, "excluded_duration_s")
	t.follows(ev, "backend-health-changed")
	probe, probed := t.follows(ev, "self-healing-recovery-probe")
	out := span(t.outFor)
	back := "back in traffic after " + out + " out" + t.slowly()
	request := some(t.causes.request(ev))
	switch reason := text(ev, "reason"); {
	case probed:
		t.say(ev, "%s; %s", t.good(probe), back)
	case reason == "probe":
		t.say(ev, "probed%s: ok; %s", t.waited(ev.At), back)
	case reason == "trial":
		t.say(ev, "tried by %s%s: ok; %s", request, t.waited(ev.At), back)
	case reason == "passive":
		t.say(ev, "answered %s properly while it was out; %s", request, back)
	case reason == "policy":
		t.say(ev, "no profile excludes it any more: in its chains again after %s out, and still unhealthy", out)
	case reason == "operator" && act == nil:
		t.say(ev, "the time of its exclusion was over; %s", back)
	case reason == "operator":
		t.say(ev, "%s; %s", because("restored by the operator", text(*act, "reason")), back)
	default:
		t.say(ev, "%s; %s", because("restored", reason), back)
	}
}

// slowly says that a return is a ramp, where that is known: it is under way, or
// one of the events up to the next exclusion ends it.
func (t *teller) slowly() string {
	const first = ", at first with at most 1 answer at once"
	for _, ev := range t.events[t.i:] {
		switch {
		case ev.Name == "provider-ramp-ended":
			return first
		case ev.Name == "self-healing-exclude" && text(ev, "reason") == "ramp":
			return first
		case ev.Name == "self-healing-exclude":
			return ""
		}
	}
	if t.f.Standing.RampLimit > 0 {
		return first
	}
	return ""
}

func (t *teller) ramped(ev drey.Event) {
	switch reason := text(ev, "reason"); {
	case !yes(ev, "success"):
		t.say(ev, "%s", because("not brought back fully", reason))
	case reason == "ceiling":
		t.say(ev, "brought back fully: its answers have gone well")
	case reason == "time":
		t.say(ev, "brought back fully: the time for that is over and answers have gone well")
	default:
		t.say(ev, "%s", because("brought back fully", reason))
	}
}

func (t *teller) parked(ev drey.Event) {
	long := ""
	if until, err := drey.ParseTime(text(ev, "until")); err == nil && until.After(ev.At) {
		long = " for " + span(until.Sub(ev.At))
	}
	t.say(ev, "left alone%s: %s", long, word(parked, text(ev, "reason")))
}

func (t *teller) process(ev drey.Event) {
	switch ev.Name {
	case "process-started":
		t.say(ev, "process started (pid %.0f, port %.0f)", number(ev, "pid"), number(ev, "port"))
	case "process-ready":
		t.say(ev, "process ready after %s", span(millis(ev, "load_ms")))
	case "process-exited":
		t.say(ev, "process ended by itself after %s: %s", span(seconds(ev, "uptime_s")), exit(ev))
	case "process-unloaded":
		why := map[string]string{"idle": "nobody used it", "swap": "another needed its memory", "operator": "by the operator", "oom": "it ran out of memory", "policy": "it left the configuration", "shutdown": "drey stopped"}
		said := word(why, text(ev, "reason"))
		if idle := seconds(ev, "idle_s"); idle > 0 && text(ev, "reason") == "idle" {
			said += " for " + span(idle)
		}
		t.say(ev, "%s", because("process stopped", said))
	case "process-crash-loop":
		t.say(ev, "process given up for now: it ended %s in a row; one more start each 30m, or by hand", times(int(number(ev, "exits"))))
	}
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// exit says how a process ended.
func exit(ev drey.Event) string {
	var parts []string
	switch sig := text(ev, "signal"); {
	case sig != "":
		parts = append(parts, "killed by "+sig)
	case number(ev, "exit_code") < 0:
		parts = append(parts, "it could not be started")
	default:
		parts = append(parts, fmt.Sprintf("exit status %.0f", number(ev, "exit_code")))
	}
	if yes(ev, "oom") {
		parts = append(parts, "out of memory")
	}
	return strings.Join(parts, ", ")
}
