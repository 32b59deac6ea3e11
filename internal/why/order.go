package why

import (
	"fmt"
	"strings"

	"github.com/dreyhq/drey"
)

// signs say by what it was seen that answers got worse, by the words of
// drift-detected (the gateway contract §13).
var signs = map[string]string{
	"empty":    "empty",
	"shorter":  "much shorter than before",
	"no_calls": "without tool calls where tools were offered",
	"odd_stop": "cut short or refused",
	"errors":   "failed",
	"repeated": "the same text again",
}

// worse tells that the answers of a provider, whose they are, got worse.
func worse(ev drey.Event, whose string) string {
	said := names(ev, "signs")
	for i, s := range said {
		said[i] = word(signs, s)
	}
	out := fmt.Sprintf("%s answers in profile %s got worse (%s): of the last %d too many were %s", whose, text(ev, "profile"), text(ev, "drift"),
		int(number(ev, "answers")), strings.Join(said, "; "))
	if until, err := drey.ParseTime(text(ev, "until")); err == nil && until.After(ev.At) {
		out += "; it goes last for " + span(until.Sub(ev.At))
	}
	return out
}

// leftFor says what kept the member of a pool that knows a conversation from
// getting it, by the word of route-resolved.
var leftFor = map[string]string{
	"busy":     "which answers as many requests as it may at once",
	"ramping":  "which is being brought back slowly",
	"degraded": "which is not quite well",
}

// pooled tells why the first member of a pool comes first; "" if there is none.
func pooled(ev drey.Event) string {
	member := text(ev, "pool")
	if member == "" {
		return ""
	}
	out := "; of its pool " + member + " comes first, since "
	switch by := text(ev, "pool_by"); by {
	case "prefix":
		return out + fmt.Sprintf("it served the first %s of this conversation last", count(int(number(ev, "pool_messages")), "message"))
	case "session":
		return out + "it served the same session last"
	case "load":
		out += "it had the fewest answers under way"
	default:
		out += by
	}
	left := text(ev, "pool_left")
	if left == "" {
		return out + ", and nobody of it knew the conversation"
	}
	out += "; the conversation was at home at " + left
	if why := text(ev, "pool_left_for"); why != "" {
		out += ", " + word(leftFor, why)
	}
	return out
}
