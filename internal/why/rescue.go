package why

import (
	"slices"

	"github.com/dreyhq/drey"
)

// takenOver reports whether somebody went on with an answer that broke off, or
// was asked to and it is told how that came out.
func takenOver(later []drey.Event) bool {
	return slices.ContainsFunc(later, func(ev drey.Event) bool {
		return ev.Name == "stream-rescued" && text(ev, "mode") == "continue" || ev.Name == "rescue-failed"
	})
}

// rescued tells who took over from whom in the middle of an answer.
func (n *narrator) rescued(ev drey.Event) {
	from, to := ev.From, ev.To
	if from == "" { // it is live, and has them among its fields
		from, to = text(ev, "from"), text(ev, "to")
	}
	tokens := count(int(number(ev, "at_tokens")), "token")
	if text(ev, "mode") == "continue" {
		n.say(ev.At, ev, "%s went on where %s had stopped, after about %s; the caller sees one answer", to, from, tokens)
		return
	}
	n.say(ev.At, ev, "%s began the answer anew; of the %s from %s the caller had seen nothing", to, tokens, from)
}

// obstacles say why nobody could go on with an answer, by the word of
// rescue-failed.
var obstacles = map[string]string{
	"tool_call": "a tool call had been told, and another model would make it again",
	"thinking":  "it broke within its reasoning, which only its own model could go on with",
	"ending":    "the caller had been told why it ends",
	"form":      "an answer of this form cannot be continued in pieces",
}

// notRescued tells why a broken stream was not given to an end.
func (n *narrator) notRescued(ev drey.Event) {
	from := text(ev, "provider")
	switch text(ev, "outcome") {
	case "unsafe":
		n.say(ev.At, ev, "nobody went on with the answer of %s: %s", from, word(obstacles, text(ev, "obstacle")))
	case "nobody":
		if text(ev, "mode") == "continue" {
			n.say(ev.At, ev, "nobody went on with the answer of %s: no other provider of the chain was free that is known to go on from the start of an answer (capabilities.prefill)", from)
			return
		}
		n.say(ev.At, ev, "nobody took over from %s: no other provider was left", from)
	default:
		n.say(ev.At, ev, "who was to take over from %s did not bring the answer to its end either", from)
	}
}

// brokeAt is the provider whose answer the caller had a part of when it broke
// off for good.
func (n *narrator) brokeAt() string {
	for _, a := range slices.Backward(n.r.Attempts) {
		if a.Committed {
			return oneLine(a.Provider)
		}
	}
	return n.r.Provider
}
