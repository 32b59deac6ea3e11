package gateway

import (
	"fmt"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
)

// Unfit is a provider in a profile's chain that is known to be no good for
// coding agents. It is a warning and never an error: it may be there for
// something else.
type Unfit struct {
	Profile  drey.ProfileID
	Provider drey.ProviderID
	Reason   string
}

// agentPrompt is about what a coding agent sends before its user has said a
// word: Claude Code's system text and tools are 115 KB.
const agentPrompt = 32_000

// Unfit lists the providers that are known, by the configuration, by their
// server's own word or by the built-in table, to be no good for agents.
func (g *Gateway) Unfit() []Unfit {
	gen := g.gen.Load()
	var out []Unfit
	for i := range gen.Profiles {
		c := gen.chains[gen.Profiles[i].ID]
		for _, l := range c.lanes {
			f := l.facts()
			add := func(reason string) { out = append(out, Unfit{c.ID, l.p.ID, reason}) }
			if f.can.Tools == route.No {
				add("it cannot call tools")
			}
			if f.context < agentPrompt {
				add(fmt.Sprintf("its window of %d tokens is smaller than an agent's first prompt (about %d)", f.context, agentPrompt))
			}
		}
	}
	return out
}
