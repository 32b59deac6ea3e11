package server

import (
	"net/url"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/gateway"
)

// ProvidersOf returns the gateway's view of its providers as the control API
// tells it, in the same order. The daemon's Status is made with it too.
func ProvidersOf(views []gateway.ProviderView) []api.Provider {
	out := make([]api.Provider, 0, len(views))
	for _, v := range views {
		p := api.Provider{
			ID: v.ID, Wire: v.Wire, Class: v.Price, URL: publicURL(v.URL), Model: v.Model, ContextTokens: v.Context,
			InFlight: v.InFlight, Out: v.Out, Until: timeText(v.Until),
			Attempts: v.Tally.Attempts, Successes: v.Tally.Successes, Consecutive: v.Tally.Consecutive,
		}
		if len(v.Tally.Failures) > 0 {
			p.Failures = make(map[string]uint64, len(v.Tally.Failures))
			for class, n := range v.Tally.Failures {
				p.Failures[class.String()] = n
			}
		}
		if last := v.Tally.LastFailure; last != nil {
			p.LastError = &api.LastError{At: drey.FormatTime(last.At), Class: last.Class, Status: last.Status, Text: last.Text}
		}
		out = append(out, p)
	}
	return out
}

// ProfilesOf is ProvidersOf for profiles.
func ProfilesOf(views []gateway.ProfileView) []api.Profile {
	out := make([]api.Profile, 0, len(views))
	for _, v := range views {
		out = append(out, api.Profile{ID: v.ID, Chain: v.Chain, Ready: v.Ready})
	}
	return out
}

// publicURL takes out of a URL where people put credentials: the user before
// the host, and the query.
func publicURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.User = nil
	if u.RawQuery != "" && u.Scheme != "demo" { // that one's query says how it behaves
		u.RawQuery = "redacted"
	}
	return u.String()
}

// timeText writes a time, and none as none.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return drey.FormatTime(t)
}
