package main

import (
	"fmt"
	"slices"

	"github.com/dreyhq/drey/internal/fake"
)

// The night is what somebody leaves alone: a task of several turns, a first
// provider that is down, a second one whose answers want mending and cost money,
// and everything on that drey has for it.
const (
	// nightTurns is how many answers the task takes.
	nightTurns = 8
	// nightFailures is how often a provider fails until it is out.
	nightFailures = 6

	nightProfile = "rescue: continue, tool_loop: {action: break}, tool_cap: {action: break, scope: turn}, " +
		"context_budget: {action: trim}, drift: {action: demote}, budget: {usd_day: 5}"

	nightKeys = "class: paid, cost: {input: 1, output: 4, usd_day: 5}, context_tokens: 200000, strip_changing_lines: on, reasoning: drop, " +
		"filters: [strip_thinking, strip_stop_markers, strip_tool_call_xml, repair_byte_fallback]"

	nightTop = `allow_paid: true
budget: {usd_day: 5, usd_month: 20}
logs: {capture: all}
keys:
  - {name: agent, secret: env:E2E_KEY, requests_per_minute: 60, budget: {usd_day: 5}}
`
)

// nightAttempts is the way of each turn: once the first provider is out, nobody
// asks it.
func nightAttempts() []string {
	return slices.Concat(slices.Repeat([]string{"first:server second:ok"}, nightFailures),
		slices.Repeat([]string{"second:ok"}, nightTurns-nightFailures))
}

// down answers 500 to all.
func down(int, fake.Request) fake.Behaviour { return fake.ServerError() }

// printsLong prints a call of its own on each turn, the task's last of all, and
// leaks the marks of its template into its answers.
func printsLong(n int, r fake.Request) fake.Behaviour {
	switch {
	case n < nightTurns-1:
		return inPrint(shell(r, fmt.Sprintf("echo step %d", n)))
	case n == nightTurns-1:
		return inPrint(call(r))
	}
	return fake.Text("<think>\nIt is done.\n</think>\n\n" + answer + toolResult(r.Body) + "<|im_end|>")
}
