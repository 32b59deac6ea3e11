package daemon

import (
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/gateway"
)

// rescue compiles what a profile does about streams that break.
func rescue(p *config.Profile) gateway.Rescue {
	r := gateway.Rescue{HoldTokens: p.HoldTokens, HoldTime: p.Hold.D()}
	switch p.Rescue {
	case "restart":
		r.Mode = gateway.RescueRestart
	case "continue":
		r.Mode = gateway.RescueContinue
	}
	return r
}
