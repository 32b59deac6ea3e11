package exam

import (
	"slices"
	"strings"

	"github.com/dreyhq/drey/internal/repair"
)

// leaks looks through all answers to questions that asked for no reasoning, the
// one below and those of the probes before it, for what agents are not meant to
// read: reasoning in its own field, think spans, stop markers, byte tokens. What
// is looked for is what drey's filters take out, by their own code.
func leaks(c *chart, got []Answer) (*Ask, []Finding) {
	if len(got) == 0 {
		return c.ask("What is 6 times 7? Answer with the number alone.", 512), nil
	}
	if f := got[0].Failure; f != nil && !got[0].refused() {
		return found(c.trouble(Reasoning, f))
	}
	var f Finding
	f.Probe, f.Verdict = Reasoning, OK
	var seen, covered []string
	told := c.Config.Reasoning == "drop" || c.Config.Reasoning == "show"

	if slices.ContainsFunc(c.plain, func(a Answer) bool { return a.thoughts() != "" }) {
		switch {
		case told:
			covered = append(covered, "reasoning that was not asked for (reasoning: "+c.Config.Reasoning+")")
		case c.Config.Capabilities.Thinking.Or(false):
			covered = append(covered, "reasoning in its own field (capabilities.thinking)")
		default:
			seen = append(seen, "it reasons without being asked, in a field of its own")
			f.Patch = append(f.Patch, Setting{[]string{"reasoning"}, "drop"})
		}
	}
	filters := slices.Clone(c.Config.Filters)
	for _, leak := range []struct{ filter, what string }{
		{repair.StripThinking, "think spans"}, {repair.StripStopMarkers, "stop markers"},
		{repair.StripToolCallXML, "tool call tags"}, {repair.RepairByteFallback, "byte tokens"},
	} {
		if !slices.ContainsFunc(c.plain, func(a Answer) bool { return filtered(leak.filter, a.text()) }) {
			continue
		}
		if slices.Contains(filters, leak.filter) || leak.filter == repair.StripThinking && told {
			covered = append(covered, leak.what)
			continue
		}
		filters = append(filters, leak.filter)
		seen = append(seen, "its text has "+leak.what)
	}
	if len(filters) > len(c.Config.Filters) {
		f.Patch = append(f.Patch, Setting{[]string{"filters"}, filters})
	}
	switch {
	case len(seen) > 0:
		f.Verdict, f.Text = NeedsTuning, strings.Join(seen, "; ")
		if f.Patch[0].Path[0] == "reasoning" {
			f.Text += " (write reasoning: show to hand it to agents as thinking)"
		}
	case len(covered) > 0:
		f.Text = "its answers have " + strings.Join(covered, ", ") + ", which the configuration deals with"
	default:
		f.Text = "its answers are free of reasoning and of markers"
	}
	return found(f)
}
