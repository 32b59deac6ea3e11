package why

import "github.com/dreyhq/drey"

// printed says how a tool call was printed, by the shape of tool-call-repaired.
var printed = map[string]string{
	"json":          "as JSON",
	"tag":           "as a tag",
	"syntax":        "as a program writes a call",
	"fenced_json":   "as JSON in a code fence",
	"fenced_tag":    "as a tag in a code fence",
	"fenced_syntax": "as a program writes a call, in a code fence",
}

// filtered says what a filter took out, by its name.
var filtered = map[string]string{
	"strip_thinking":       "reasoning was taken out of its text",
	"strip_stop_markers":   "stop markers were taken out of its text",
	"strip_tool_call_xml":  "tags of tool calls were taken out of its text",
	"repair_byte_fallback": "byte tokens in its text were put together to characters",
}

// withheld says why the caller got no reasoning, by the reason of
// capability-degraded.
var withheld = map[string]string{
	"not-asked":      "the caller did not ask for it",
	"reasoning-drop": "the configuration says so (reasoning: drop)",
}

// mended tells what was done to an answer before the caller got it.
func (n *narrator) mended(ev drey.Event, id string) {
	switch ev.Name {
	case "tool-call-repaired":
		n.say(ev.At, ev, "%s printed a call of the tool %s as text (%s); the caller got it as a call", id, text(ev, "name"), word(printed, text(ev, "shape")))
	case "output-filter-applied":
		filter := text(ev, "filter")
		n.say(ev.At, ev, "the answer of %s was filtered (%s): %s", id, filter, word(filtered, filter))
	default:
		if text(ev, "capability") != "reasoning" {
			n.say(ev.At, ev, "%s", raw(ev))
			return
		}
		n.say(ev.At, ev, "the reasoning of %s was left out: %s", id, word(withheld, text(ev, "reason")))
	}
}
