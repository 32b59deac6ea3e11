package why

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dreyhq/drey"
)

// OperationFacts are what is known of an operation: its snapshot, in the words
// of the control API, and what the journal still holds of it.
type OperationFacts struct {
	Now      time.Time
	ID       string
	Name     string
	Kind     string // mob_member_child or background_tool_op
	Status   string
	Version  int64 // how many events it has had
	Registry string
	Owner    string // a session
	Parent   string // the operation whose child the owner is; "" = none
	Archived bool

	Created   time.Time
	Started   time.Time // zero = it never ran
	Completed time.Time // zero = it lives

	ExpectPeer bool
	Peer       string // its name among its peers; "" = it cannot be reached
	Address    string

	Message    string    // the last that it said; "" = none
	Percent    *float64  // the last that it told; nil = none
	ProgressAt time.Time // when it last told either; zero = never

	Waiters, Watchers int             // who is told of its ending
	Outcome           json.RawMessage // terminal_outcome; nil of one that lives

	// Events are those of the operation and those that caused them, in the
	// order of seq.
	Events []drey.Event
}

const machineOperation = "operation"

// Operation tells what became of an operation: who registered it and for what,
// how far it came, and what ended it.
func Operation(f OperationFacts) Story {
	t := child{f: f}
	for i, ev := range f.Events {
		switch {
		case !t.own(ev):
			t.say(ev, beside(ev))
		case ev.Name == "operation.progress":
			t.updates++
			if i+1 == len(f.Events) || f.Events[i+1].Name != ev.Name || !t.own(f.Events[i+1]) {
				t.say(ev, t.progressed(ev))
				t.updates = 0
			}
		default:
			t.say(ev, t.became(ev))
		}
	}
	return Story{Subject: "operation", ID: f.ID, Summary: t.summary(), Steps: t.steps}
}

// child goes through an operation's events.
type child struct {
	f       OperationFacts
	steps   []Step
	updates int // of progress, one behind the other, that are told as one
}

// own reports whether an event is the operation's own, and not one that caused
// one.
func (t *child) own(ev drey.Event) bool { return ev.Machine == machineOperation && ev.ID == t.f.ID }

func (t *child) say(ev drey.Event, text string) {
	t.steps = append(t.steps, Step{At: ev.At, Seq: ev.Seq, Event: ev.Name, RequestID: ev.RequestID, Text: text})
}

// beside tells an event of another machine, which caused one of the operation.
func beside(ev drey.Event) string {
	switch word, ok := strings.CutPrefix(ev.Name, "operation."); {
	case ev.Name == "drey-startup":
		return "drey " + text(ev, "version") + " started"
	case ok:
		return because(fmt.Sprintf("operation %s: %s", oneLine(ev.ID), oneLine(word)), outcomeOf(field(ev, "terminal_outcome")).why())
	}
	return raw(ev)
}

// progressed tells the last of some updates.
func (t *child) progressed(ev drey.Event) string {
	var percent *float64
	if n, ok := field(ev, "percent").(float64); ok {
		percent = &n
	}
	said := cmp.Or(said(text(ev, "message"), percent), "nothing")
	if t.updates > 1 {
		return fmt.Sprintf("told %d times how far it was, at last: %s", t.updates, said)
	}
	return "told how far it was: " + said
}

// said is what an update has: a percentage, a message, or both.
func said(message string, percent *float64) string {
	message = oneLine(message)
	switch {
	case percent == nil:
		return message
	case message == "":
		return strconv.FormatFloat(*percent, 'g', -1, 64) + "%"
	}
	return strconv.FormatFloat(*percent, 'g', -1, 64) + "%, " + message
}

// became tells an event of the operation itself.
func (t *child) became(ev drey.Event) string {
	switch ev.Name {
	case "operation.registered":
		as := kindOf(text(ev, "kind"))
		if session := text(ev, "child_session_id"); session != "" {
			as += " (its session: " + session + ")"
		}
		return fmt.Sprintf("%s registered it as %s, %s, for session %s in %s",
			text(ev, "source_label"), text(ev, "display_name"), as, text(ev, "owner_session_id"), text(ev, "registry"))
	case "operation.running":
		return "its child was made, and it ran"
	case "operation.retiring":
		return "its disposal began"
	case "operation.peer_ready":
		h, _ := field(ev, "peer_handle").(map[string]any)
		peer, _ := h["peer"].(map[string]any)
		name, _ := h["peer_name"].(string)
		address, _ := peer["address"].(string)
		return fmt.Sprintf("could be reached as a peer: %s at %s", oneLine(name), oneLine(address))
	case "operation.owner_changed":
		return fmt.Sprintf("went over from session %s to session %s", text(ev, "old_owner_session_id"), text(ev, "owner_session_id"))
	}
	if status, ok := strings.CutPrefix(ev.Name, "operation."); ok && endings[status] {
		return outcomeOf(field(ev, "terminal_outcome")).told(status, ev.Trigger)
	}
	return raw(ev)
}

// endings are the statuses that nothing leaves.
var endings = map[string]bool{"completed": true, "failed": true, "aborted": true, "cancelled": true, "retired": true, "terminated": true}

// outcome is how an operation ended, as far as a sentence needs it.
type outcome struct {
	content, err, reason string
	isError              bool
}

// outcomeOf reads a terminal_outcome that came through JSON.
func outcomeOf(v any) outcome {
	m, _ := v.(map[string]any)
	text := func(key string) string {
		s, _ := m[key].(string)
		return oneLine(s)
	}
	isError, _ := m["is_error"].(bool)
	return outcome{text("content"), text("error"), text("reason"), isError}
}

// why is what ended it, in the words of who did; "" if they gave none.
func (o outcome) why() string { return cmp.Or(o.err, o.reason, o.content) }

// told is the ending in words, by the status and by the call that led there,
// which is "" where it is not known.
func (o outcome) told(status, trigger string) string {
	switch {
	case status == "completed" && o.isError:
		return because("completed, and its answer is an error", o.content)
	case status == "completed":
		return because("completed", o.content)
	case trigger == "provisioning_failed":
		return because("failed, since its child could not be made", o.err)
	case status == "aborted":
		return because("aborted before its child was made", o.reason)
	case status == "cancelled" && o.reason == "":
		return "cancelled, and nobody said why"
	case status == "retired" && trigger == "recover":
		return "retired: after the restart of drey nothing of its child was left"
	case status == "retired":
		return "retired: its child was disposed of in order"
	case status == "terminated":
		return because("terminated with its owner or its registry", o.reason)
	}
	return because(status, o.why())
}

// kindOf names a kind in words.
func kindOf(kind string) string { return word(lives, kind) }

// summary says how the operation stands or how it ended, whose it is and who
// waits for it.
func (t *child) summary() string {
	f := t.f
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, ", oneLine(f.Name), kindOf(f.Kind))
	live := !endings[f.Status]
	if live {
		fmt.Fprintf(&b, "%s. It is of", t.stands())
	} else {
		fmt.Fprintf(&b, "ended %s, %s after it was registered: %s. It was of", ago(f.Now.Sub(f.Completed)), span(f.Completed.Sub(f.Created)), t.ending())
	}
	fmt.Fprintf(&b, " session %s", oneLine(f.Owner))
	if f.Parent != "" {
		fmt.Fprintf(&b, " (the child of operation %s)", f.Parent)
	}
	fmt.Fprintf(&b, " in %s.", oneLine(f.Registry))
	if last := said(f.Message, f.Percent); last != "" {
		fmt.Fprintf(&b, " It last told %s how far it was: %s.", ago(f.Now.Sub(f.ProgressAt)), last)
	}
	if live {
		t.around(&b)
	}
	if f.Archived {
		b.WriteString(" It is archived.")
	}
	told := int64(0)
	for _, ev := range f.Events {
		if t.own(ev) {
			told++
		}
	}
	if told < f.Version {
		fmt.Fprintf(&b, " Of its %s %d are not told: they are no longer in the journal, or in the middle of very many.", count(int(f.Version), "event"), f.Version-told)
	}
	return b.String()
}

// stands says what a live operation does, and since when.
func (t *child) stands() string {
	f := t.f
	switch f.Status {
	case "provisioning":
		return "has been in the making for " + span(f.Now.Sub(f.Created))
	case "running":
		return "has been running for " + span(f.Now.Sub(f.Started))
	case "retiring":
		i := slices.IndexFunc(f.Events, func(ev drey.Event) bool { return t.own(ev) && ev.Name == "operation.retiring" })
		if i < 0 {
			return "is being disposed of"
		}
		return "has been in disposal for " + span(f.Now.Sub(f.Events[i].At))
	}
	return "is " + f.Status
}

// ending says how the operation ended. The call that did it is only in the
// journal, and left out where that has forgotten it.
func (t *child) ending() string {
	trigger := ""
	for _, ev := range t.f.Events {
		if t.own(ev) && ev.To == t.f.Status {
			trigger = ev.Trigger
		}
	}
	var v any
	if json.Unmarshal(t.f.Outcome, &v) != nil {
		v = nil
	}
	return outcomeOf(v).told(t.f.Status, trigger)
}

// around says who can reach a live operation, and who waits for it.
func (t *child) around(b *strings.Builder) {
	f := t.f
	switch {
	case f.Peer != "":
		fmt.Fprintf(b, " It can be reached as a peer: %s at %s.", oneLine(f.Peer), oneLine(f.Address))
	case f.ExpectPeer:
		b.WriteString(" It cannot be reached as a peer yet.")
	}
	switch {
	case f.Waiters+f.Watchers == 0:
		b.WriteString(" Nobody waits for its end.")
	case f.Watchers == 0:
		fmt.Fprintf(b, " Its end is awaited by %s.", count(f.Waiters, "call"))
	case f.Waiters == 0:
		fmt.Fprintf(b, " Its end is awaited by %s.", count(f.Watchers, "watcher"))
	default:
		fmt.Fprintf(b, " Its end is awaited by %s and %s.", count(f.Waiters, "call"), count(f.Watchers, "watcher"))
	}
}
