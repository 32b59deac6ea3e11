package daemon

import (
	"net/url"

	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/guard"
)

// vendorHost is the one host whose prompt cache does not mind the line that its
// own agent changes with each build, and that wants to read it.
const vendorHost = "api.anthropic.com"

// stripLines says whether a changing first line is taken out of what goes to the
// provider.
func stripLines(p *config.Provider) bool {
	if p.StripChangingLines != "auto" {
		return p.StripChangingLines == "on"
	}
	u, err := url.Parse(p.URL)
	return err != nil || u.Hostname() != vendorHost
}

// drift reads words that Parse has seen to be some.
func drift(d config.Drift) guard.DriftPolicy {
	p := guard.DriftPolicy{Window: d.Window, Cooldown: d.Cooldown.D()}
	_ = p.Action.UnmarshalText([]byte(d.Action))
	_ = p.Sensitivity.UnmarshalText([]byte(d.Sensitivity))
	return p
}
