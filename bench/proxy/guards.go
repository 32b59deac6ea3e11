package main

import (
	"fmt"
	"strings"
)

// guardedCrowd opens many streams at once with all that can be on: every guard,
// each finding something (a hint is added to each request, and its oldest turns
// are left out), repair and filters, the watch for drift, affinity in a pool, and
// rescue, for which a request is kept to the end of its stream. Then the same
// with long sessions, and beside it what these cost with all of it off: of their
// memory the most is their text.
func guardedCrowd(up string, streams int) {
	const (
		off = `chain: [bench], tool_loop: {action: "off"}, tool_cap: {action: "off"}, context_budget: {action: "off"}`
		on  = `chain: [[bench, twin]], tool_loop: {action: inject}, tool_cap: {action: inject, limit: 3}, context_budget: {action: trim},` +
			` drift: {action: warn}, rescue: continue`
		mends = `, strip_changing_lines: "on", filters: [strip_thinking, strip_stop_markers, strip_tool_call_xml, repair_byte_fallback]`
	)
	for _, c := range []struct {
		what, provider, profile string
		turns, window           int // a window that the turns fill
		aim                     string
	}{
		{"streams with all on", mends, on, 4, 500, " (aim ≤ 150 MB)"},
		{"streams of 34 KB sessions with all off", "", off, 60, 7000, ""},
		{"streams of 34 KB sessions with all on", mends, on, 60, 7000, ""},
	} {
		drey, pid, stop := startDrey(up, fmt.Sprintf(", context_tokens: %d%s", c.window, c.provider), c.profile)
		crowd(c.what, drey, pid, streams, session(c.turns), c.aim)
		stop()
	}
}

// session is a request with so many tool turns, the last three of which are
// the same call, of a tool that is declared.
func session(turns int) []byte {
	var b strings.Builder
	b.WriteString(`{"model":"bench","stream":true,"tools":[{"type":"function","function":{"name":"Read","parameters":{"type":"object"}}}],"messages":[{"role":"user","content":"go on"}`)
	for i := range turns {
		fmt.Fprintf(&b, `,{"role":"assistant","content":null,"tool_calls":[{"id":"t%d","type":"function","function":{"name":"Read","arguments":"{\"line\":%d}"}}]}`, i, min(i, turns-3))
		fmt.Fprintf(&b, `,{"role":"tool","tool_call_id":"t%d","content":%q}`, i, prompt[:400])
	}
	b.WriteString("]}")
	return []byte(b.String())
}
