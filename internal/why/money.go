package why

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dreyhq/drey"
)

// money tells what the budgets have to do with a request. What each paid attempt
// writes down is no step of the story: the request's end says what it cost.
func (n *narrator) money(ev drey.Event) {
	if ev.Name == "budget-exceeded" {
		n.say(ev.At, ev, "this request is the first for which the budget of %s had no room: %s a %s (UTC)",
			scope(ev), usd(number(ev, "limit_usd")), text(ev, "period"))
	}
}

// overBudget says which budget had no room for an attempt; "" if the event does
// not tell.
func overBudget(ev drey.Event) string {
	if text(ev, "scope") == "" {
		return ""
	}
	return fmt.Sprintf(" (of %s a %s for %s, %s was left, and it might have cost %s)",
		usd(number(ev, "limit_usd")), text(ev, "period"), scope(ev), usd(number(ev, "left_usd")), usd(number(ev, "asked_usd")))
}

// scope says whose budget an event is about: "all paid providers", "provider
// cloud".
func scope(ev drey.Event) string {
	s := text(ev, "scope")
	if s == "global" {
		return "all paid providers"
	}
	return strings.Replace(s, ":", " ", 1)
}

// cost says what a request came to; "" if nothing.
func (r *requestRow) cost() string {
	if r.Cost <= 0 {
		return ""
	}
	said := ", for " + usd(r.Cost)
	if r.Savings > 0 {
		said += " (the prompt cache saved " + usd(r.Savings) + ")"
	}
	return said
}

func usd(v float64) string { return "$" + strconv.FormatFloat(v, 'f', -1, 64) }
