package config

import "fmt"

// What a profile says about unattended runs; internal/guard does it.

// ToolLoop guards against an agent that makes the same calls over and over.
type ToolLoop struct {
	Action    string `yaml:"action" default:"warn" enum:"off|warn|inject|break" doc:"what is done: warn tells it, inject adds a hint for the model, break refuses the request"`
	Window    int    `yaml:"window" default:"20" range:"2..200" doc:"how many of the latest calls are looked at, since the user last spoke"`
	Threshold int    `yaml:"threshold" default:"3" range:"2..50" doc:"repeats that are a loop, at most window"`
}

// ToolCap guards against conversations with too many tool calls.
type ToolCap struct {
	Limit      int    `yaml:"limit" default:"50" range:"0..10000" doc:"calls that are allowed; 0 = no limit"`
	Action     string `yaml:"action" default:"warn" enum:"off|warn|inject|break" doc:"what is done above it, as for tool_loop"`
	Scope      string `yaml:"scope" default:"conversation" enum:"conversation|turn" doc:"where calls are counted: in the whole request, or since the user last spoke"`
	StreamForm string `yaml:"stream_form" default:"auto" enum:"auto|sse|http" doc:"how a streaming caller is refused, by tool_loop too: sse = an error event, http = status 400, auto = 400 for agents that would send the request again"`
}

// ContextBudget guards the context window of whichever provider is about to be
// tried. Shares are of that window.
type ContextBudget struct {
	Action   string  `yaml:"action" default:"warn" enum:"off|warn|trim|route" doc:"what is done: warn tells it, trim leaves out the oldest turns, route prefers larger windows"`
	Warn     float64 `yaml:"warn" default:"0.80" range:"0..1" doc:"share from which on it is told, at most trim"`
	Trim     float64 `yaml:"trim" default:"0.90" range:"0..1" doc:"share from which on trim and route act"`
	Target   float64 `yaml:"target" default:"0.75" range:"0..1" doc:"share that trim leaves, below trim"`
	KeepLast int     `yaml:"keep_last" default:"4" range:"1..100" doc:"messages at the end that always stay"`
}

// guards holds what a profile says of its guards: rules that compare two keys.
func (c *checker) guards(p *Profile, path string) {
	loop, budget := path+".tool_loop", path+".context_budget"
	if n := p.ToolLoop; n.Threshold > n.Window {
		c.apart(loop+".threshold", loop+".window", fmt.Sprintf("more repeats than calls are looked at (window is %d)", n.Window),
			fmt.Sprintf("fewer calls than the repeats that count (threshold is %d)", n.Threshold), "raise window or lower threshold")
	}
	b := p.ContextBudget
	if b.Warn > b.Trim {
		c.apart(budget+".warn", budget+".trim", fmt.Sprintf("above the share at which it trims (trim is %g)", b.Trim),
			fmt.Sprintf("below the share at which it warns (warn is %g)", b.Warn), "lower warn or raise trim")
	}
	if b.Target >= b.Trim {
		c.apart(budget+".target", budget+".trim", fmt.Sprintf("trimming must leave less than what it begins at (trim is %g)", b.Trim),
			fmt.Sprintf("not above the share that trimming leaves (target is %g)", b.Target), "lower target or raise trim")
	}
}

// idleGuards warns of keys that do nothing beside the others of their profile.
func (c *checker) idleGuards(p *Profile, path string) {
	idle := func(key string, is bool, msg, hint string) {
		if key = path + "." + key; is && c.was(key) && c.sound(key) {
			c.warn(key, msg, hint)
		}
	}
	const breaks, trims = "break", "trim"
	idle("tool_cap.action", p.ToolCap.Limit == 0 && p.ToolCap.Action != "off", "with a limit of 0 nothing is counted", "raise tool_cap.limit, or remove the key")
	idle("tool_cap.stream_form", p.ToolCap.Action != breaks && p.ToolLoop.Action != breaks, "no guard of this profile refuses anything", "give tool_cap or tool_loop the action break, or remove the key")
	for _, key := range []string{"target", "keep_last"} {
		idle("context_budget."+key, p.ContextBudget.Action != trims, "nothing is left out under this action", "write action: trim, or remove the key")
	}
}

// apart tells that two keys do not go together: at the first of them, or at the
// other if that alone stands in the file.
func (c *checker) apart(at, other, msg, otherMsg, hint string) {
	switch {
	case !c.sound(at) || !c.sound(other): // has its fault already
	case c.was(other) && !c.was(at):
		c.faulty(other, otherMsg, hint)
	default:
		c.faulty(at, msg, hint)
	}
}
