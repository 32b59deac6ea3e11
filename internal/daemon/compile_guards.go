package daemon

import (
	"encoding"

	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/gateway"
	"github.com/dreyhq/drey/internal/guard"
)

// guards compiles what a profile says about unattended runs.
func guards(p *config.Profile) gateway.Guards {
	g := gateway.Guards{
		Tools: guard.Policy{
			Profile: p.Name,
			Loop:    guard.Loop{Window: p.ToolLoop.Window, Threshold: p.ToolLoop.Threshold},
			Cap:     guard.Cap{Limit: p.ToolCap.Limit},
		},
		Context: guard.Budget{
			Warn: p.ContextBudget.Warn, Trim: p.ContextBudget.Trim, Target: p.ContextBudget.Target, KeepLast: p.ContextBudget.KeepLast,
		},
	}
	for _, word := range []struct {
		to encoding.TextUnmarshaler
		as string
	}{
		{&g.Tools.Loop.Action, p.ToolLoop.Action}, {&g.Tools.Cap.Action, p.ToolCap.Action}, {&g.Tools.Cap.Scope, p.ToolCap.Scope},
		{&g.Form, p.ToolCap.StreamForm}, {&g.Context.Action, p.ContextBudget.Action},
	} {
		_ = word.to.UnmarshalText([]byte(word.as)) // Parse has seen it to be one of its words
	}
	return g
}
