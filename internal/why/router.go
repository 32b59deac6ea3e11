package why

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/dreyhq/drey"
)

// routed tells what the auto-router said, if it was asked: which rule was true,
// and what the request looked like to it.
func (n *narrator) routed(events []drey.Event) {
	for _, ev := range events {
		if ev.Name != "auto-router" {
			continue
		}
		profile, rule := text(ev, "profile"), text(ev, "rule_id")
		said := fmt.Sprintf("rule %s of the auto-router sent it to profile %s", rule, profile)
		if rule == "default" {
			said = "no rule of the auto-router was true, so it went to its default, profile " + profile
		}
		n.say(ev.At, ev, "%s%s", said, looks(field(ev, "signals")))
		return
	}
}

// looks lists the signals in the order in which they were written, those that
// say something.
func looks(v any) string {
	signals, _ := v.(map[string]any)
	var parts []string
	for _, key := range []string{
		"tokens", "turns", "has_image", "has_tools", "tool_count", "thinking", "stream", "code_ratio", "key", "hour",
	} {
		switch v := signals[key].(type) {
		case bool:
			if v {
				parts = append(parts, key)
			}
		case string:
			parts = append(parts, key+" "+oneLine(v))
		case float64:
			if b, err := json.Marshal(v); err == nil && (v != 0 || key == "hour") {
				parts = append(parts, key+" "+string(b))
			}
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
