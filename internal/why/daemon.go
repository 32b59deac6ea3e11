package why

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/dreyhq/drey"
)

// DaemonFacts are what is known of the daemon's lifecycle. The words are those
// of the record, of the lifecycle's log and of the control API's view.
type DaemonFacts struct {
	Now          time.Time
	Running      bool   // a daemon runs and answers; else the facts are those of the files
	State        string // WAKE, DROWSY, SLEEP or HIBERNATION
	Since        time.Time
	LastActivity time.Time

	// What only a daemon that runs can tell.

	By      string    // who would wake it; "" = nobody
	Because []string  // what keeps it from hibernating, in words; empty = nothing does
	Next    string    // the next idle event, if nobody comes; "" = none is due
	NextAt  time.Time // when
	Step    string    // the step of the sleep cycle that runs now; "" = none
	Visitor string    // who came last without work; "" = not known

	// Quarantine is why the sleep cycle pauses; "" = it does not.
	Quarantine string
	// Events are those of the machine "lifecycle", in order: from the journal,
	// or from the log where no daemon runs, which have no seq then.
	Events []drey.Event
	// Wakes is how many of the last wakes are told; 0 = 3.
	Wakes int
}

// The states of the lifecycle.
const (
	wake        = "WAKE"
	drowsy      = "DROWSY"
	sleep       = "SLEEP"
	hibernation = "HIBERNATION"
)

const toldWakes = 3

// Daemon tells why the daemon is in the state that it is in, why it woke, and
// why it does not hibernate.
func Daemon(f DaemonFacts) Story {
	t := life{f: f, events: f.Events}
	earlier := t.cut()
	for t.i < len(t.events) {
		ev := t.events[t.i]
		t.i++
		t.tell(ev)
	}
	return Story{Subject: "daemon", ID: "daemon", Summary: t.summary(), Steps: t.steps, Earlier: earlier}
}

// life goes through the lifecycle's events.
type life struct {
	f      DaemonFacts
	events []drey.Event
	i      int // the next event
	steps  []Step
	done   int // steps of the sleep cycle that were complete since it began
}

// cut leaves out all before the last wakes and returns how many wakes it left
// out. A wake begins with what brought it about: the signal that was taken.
func (t *life) cut() int {
	keep := t.f.Wakes
	if keep <= 0 {
		keep = toldWakes
	}
	var begins []int
	for i, ev := range t.events {
		if !wakes(ev) {
			continue
		}
		if i > 0 && t.events[i-1].Name == "wake_signal_consumed" {
			i--
		}
		begins = append(begins, i)
	}
	if len(begins) <= keep {
		return 0
	}
	t.events = t.events[begins[len(begins)-keep]:]
	return len(begins) - keep
}

func wakes(ev drey.Event) bool { return ev.Name == "state_transition" && ev.To == wake }

// say adds a step.
func (t *life) say(ev drey.Event, format string, args ...any) {
	t.steps = append(t.steps, Step{At: ev.At, Seq: ev.Seq, Event: ev.Name, RequestID: ev.RequestID, Text: fmt.Sprintf(format, args...)})
}

// tell tells one event. The steps of a sleep cycle that went well are told
// together, when it ends.
func (t *life) tell(ev drey.Event) {
	switch ev.Name {
	case "state_transition":
		t.say(ev, "%s", moved(ev))
	case "shadow_run_warning":
		t.say(ev, "the process would have ended here, and lives on: it is a shadow run")
	case "daemon_started":
		t.done = 0
		t.say(ev, "drey %s started, in %s (pid %.0f, %s)", text(ev, "version"), text(ev, "state"), number(ev, "pid"), by(text(ev, "started_by")))
	case "daemon_stopped":
		t.say(ev, "the process ended: %s", word(stopped, text(ev, "reason")))
	case "state_file_corrupt":
		t.say(ev, "%s; kept as %s, and begun anew in WAKE", because("the record could not be read", text(ev, "error")), text(ev, "kept_as"))
	case "wake_signal_consumed":
		t.say(ev, "%s", because("took a wake.signal", signalled(ev)))
	case "owner_lost":
		t.say(ev, "whoever kept the listeners has ended: from here on nobody could wake it, so it does not hibernate")
	case "sleep_cycle_started":
		t.done = 0
		if t.open() {
			t.say(ev, "the sleep cycle began%s, at step %.0f", mode(ev), number(ev, "from_step"))
		}
	case "sleep_step_started":
	case "sleep_step_completed":
		if err := text(ev, "error"); err != "" {
			t.say(ev, "step %s of the sleep cycle failed (try %.0f of 3): %s", text(ev, "step"), number(ev, "attempt"), err)
			return
		}
		t.done++
	case "sleep_cycle_deferred":
		said := "the sleep cycle gave way to work"
		if text(ev, "reason") == "stop" {
			said = "the sleep cycle stopped, since the daemon did"
		}
		t.say(ev, "%s in step %s; it goes on there", said, text(ev, "step"))
	case "sleep_cycle_completed":
		said := "the sleep cycle was completed"
		if t.done > 0 {
			said += ": " + count(t.done, "step")
		}
		t.say(ev, "%s in %s%s", said, span(seconds(ev, "duration_sec")), mode(ev))
	case "quarantine_entered":
		t.say(ev, "the sleep cycle was put into quarantine until %s: %s", text(ev, "until_ts"), text(ev, "reason"))
	case "quarantine_lifted":
		t.say(ev, "the quarantine was lifted: %s", word(lifted, text(ev, "reason")))
	case "store_damaged":
		t.say(ev, "%s", because("the store did not pass its check", text(ev, "error")))
	default:
		t.say(ev, "%s", raw(ev))
	}
}

// open reports whether the sleep cycle that has just begun has no end among the
// events: then its beginning is all that there is to tell.
func (t *life) open() bool {
	for _, ev := range t.events[t.i:] {
		switch {
		case ev.Name == "sleep_cycle_completed", ev.Name == "sleep_cycle_deferred", ev.Name == "sleep_step_completed" && text(ev, "error") != "":
			return false
		case ev.Name == "sleep_cycle_started", ev.Name == "daemon_started":
			return true
		}
	}
	return true
}

// mode says why a sleep cycle ran, where it was not because of SLEEP.
func mode(ev drey.Event) string {
	switch text(ev, "mode") {
	case "backstop":
		return ", without sleep: none had been complete for too long"
	case "forced":
		return ", by the operator"
	}
	return ""
}

// moved tells a transition: where to, and why.
func moved(ev drey.Event) string {
	reason := text(ev, "reason")
	operator := reason == "operator"
	switch ev.To {
	case wake:
		return fmt.Sprintf("woke from %s: %s", ev.From, cameBy(ev))
	case drowsy:
		if operator {
			return "grew drowsy: the operator sent it to sleep"
		}
		return "grew drowsy: nobody had worked for lifecycle.drowsy_after"
	case sleep:
		if operator {
			return "fell asleep: the operator sent it to sleep"
		}
		return "fell asleep: nobody had worked for lifecycle.sleep_after"
	case hibernation:
		return because("hibernated: nobody was at work, the sleep cycle was clean, and nothing held it back", reason)
	}
	return fmt.Sprintf("moved from %s to %s by %s", ev.From, ev.To, ev.Trigger)
}

// cameBy says what a wake came by.
func cameBy(ev drey.Event) string {
	reason := text(ev, "reason")
	switch {
	case ev.Trigger == "heartbeat_refresh":
		return "the lease of a client says that it is at work"
	case ev.Trigger == "request_arrived" && reason == "":
		return "work arrived"
	case reason == "":
		return ev.Trigger
	}
	return word(woken, reason)
}

// by says who started a daemon.
func by(who string) string {
	if who == "" || who == "hand" {
		return "started by hand"
	}
	return "started by " + who
}

// signalled is the reason that a wake.signal gave, if it gave one.
func signalled(ev drey.Event) string {
	var asked struct {
		Reason string `json:"reason"`
	}
	s, _ := field(ev, "content").(string)
	if json.Unmarshal([]byte(s), &asked) != nil {
		return "" // its presence counts, not its content
	}
	return oneLine(asked.Reason)
}

// last returns the last event that matches.
func (t *life) last(match func(drey.Event) bool) (drey.Event, bool) {
	for i := len(t.events) - 1; i >= 0; i-- {
		if match(t.events[i]) {
			return t.events[i], true
		}
	}
	return drey.Event{}, false
}

// summary says how the daemon is, why, and why it does not hibernate.
func (t *life) summary() string {
	var b strings.Builder
	if !t.f.Running {
		t.atRest(&b)
		return b.String()
	}
	f := t.f
	if in := f.Now.Sub(f.Since); in < time.Second {
		fmt.Fprintf(&b, "The daemon has just come into %s%s.", f.State, t.stateBecause())
	} else {
		fmt.Fprintf(&b, "The daemon has been in %s for %s%s.", f.State, span(in), t.stateBecause())
	}
	if f.Step != "" {
		fmt.Fprintf(&b, " Step %s of the sleep cycle runs now.", f.Step)
	}
	if text, ok := upcoming[f.Next]; ok {
		fmt.Fprintf(&b, " If nobody comes, it %s in %s.", text, span(f.NextAt.Sub(f.Now)))
	}
	if len(f.Because) > 0 {
		fmt.Fprintf(&b, " It does not hibernate now: %s.", strings.Join(f.Because, "; "))
	} else {
		fmt.Fprintf(&b, " Nothing keeps it from hibernating; %s would wake it.", f.By)
	}
	if f.Visitor != "" {
		fmt.Fprintf(&b, " Who came last without work: %s.", strings.TrimSuffix(f.Visitor, "."))
	}
	return b.String()
}

// stateBecause says why the daemon is in its state.
func (t *life) stateBecause() string {
	switch t.f.State {
	case wake:
		if ev, ok := t.last(wakes); ok {
			return ": it was woken from " + ev.From + " (" + cameBy(ev) + ")"
		}
		return ": it began there, and has not slept"
	case drowsy, sleep:
		ev, ok := t.last(func(ev drey.Event) bool { return ev.Name == "state_transition" && ev.To == t.f.State })
		if ok && text(ev, "reason") == "operator" {
			return ": the operator sent it to sleep"
		}
		return ": nobody has worked for " + span(t.f.Now.Sub(t.f.LastActivity))
	case hibernation:
		return ", and its process lives on: it is a shadow run"
	}
	return ""
}

// atRest says why no daemon runs, and what a start would find.
func (t *life) atRest(b *strings.Builder) {
	f := t.f
	end, ended := t.last(func(ev drey.Event) bool { return ev.Name == "daemon_started" || ev.Name == "daemon_stopped" })
	switch {
	case f.State == hibernation:
		fmt.Fprintf(b, "The daemon has hibernated for %s: nobody was at work, its upkeep was done, and so its process ended. The next connection, wake.signal or `drey lifecycle wake` brings it back; `drey doctor` tells whether somebody is there for that.", span(f.Now.Sub(f.Since)))
	case !ended && len(t.events) == 0:
		b.WriteString("No daemon runs, and none has been seen to.")
	case end.Name == "daemon_stopped":
		fmt.Fprintf(b, "No daemon runs: it ended %s (%s). A start goes on in %s.", ago(f.Now.Sub(end.At)), word(stopped, text(end, "reason")), f.State)
	case ended:
		fmt.Fprintf(b, "No daemon runs. The last one, started %s, has not said that it ended: it was killed, or the machine went down. A start goes on in %s.", ago(f.Now.Sub(end.At)), f.State)
	default:
		fmt.Fprintf(b, "No daemon runs. A start goes on in %s.", f.State)
	}
	if f.Quarantine != "" {
		fmt.Fprintf(b, " The sleep cycle is in quarantine: %s.", strings.TrimSuffix(f.Quarantine, "."))
	}
}
