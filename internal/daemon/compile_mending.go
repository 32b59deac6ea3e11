package daemon

import (
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/gateway"
)

// mending compiles what is done to a provider's answers. The words are those
// that Parse has seen to be known.
func mending(p *config.Provider) gateway.Mending {
	return gateway.Mending{
		Repair: p.Repairs(), Filters: p.Filters,
		Reasoning: map[string]gateway.Reasoning{
			"auto": gateway.ReasoningAuto, "drop": gateway.ReasoningDrop, "show": gateway.ReasoningShow,
		}[p.Reasoning],
	}
}
