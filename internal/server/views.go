package server

import (
	"net/url"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/gateway"
)

// ProfilesOf returns the gateway's view of its profiles as the control API
// tells it, in the same order.
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
