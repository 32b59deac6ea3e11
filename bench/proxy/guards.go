package main

import (
	"fmt"
	"strings"
)

// guardedCrowd opens many streams at once with every guard on and finding
// something: a hint is added to each request, and its oldest turns are left
// out. Then the same with long sessions, and beside it what these cost
// unguarded: of their memory the most is their text.
func guardedCrowd(up string, streams int) {
	const off = `, tool_loop: {action: "off"}, tool_cap: {action: "off"}, context_budget: {action: "off"}`
	const on = `, tool_loop: {action: inject}, tool_cap: {action: inject, limit: 3}, context_budget: {action: trim}`
	for _, c := range []struct {
		what, profile string
		turns, window int // a window that the turns fill
		aim           string
	}{
		{"guarded streams", on, 4, 500, " (aim ≤ 150 MB)"},
		{"unguarded streams of 34 KB sessions", off, 60, 7000, ""},
		{"guarded streams of 34 KB sessions", on, 60, 7000, ""},
	} {
		drey, pid, stop := startDrey(up, fmt.Sprintf(", context_tokens: %d", c.window), c.profile)
		crowd(c.what, drey, pid, streams, session(c.turns), c.aim)
		stop()
	}
}

// session is a request with so many tool turns, the last three of which are
// the same call.
func session(turns int) []byte {
	var b strings.Builder
	b.WriteString(`{"model":"bench","stream":true,"messages":[{"role":"user","content":"go on"}`)
	for i := range turns {
		fmt.Fprintf(&b, `,{"role":"assistant","content":null,"tool_calls":[{"id":"t%d","type":"function","function":{"name":"Read","arguments":"{\"line\":%d}"}}]}`, i, min(i, turns-3))
		fmt.Fprintf(&b, `,{"role":"tool","tool_call_id":"t%d","content":%q}`, i, prompt[:400])
	}
	b.WriteString("]}")
	return []byte(b.String())
}
