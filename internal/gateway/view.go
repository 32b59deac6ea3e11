package gateway

import (
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
)

// ProviderView is what the gateway knows of a provider, for status and
// metrics.
type ProviderView struct {
	ID       drey.ProviderID
	Wire     drey.Wire
	Price    drey.Price
	URL      string
	Model    string
	Context  int // tokens of the window, as believed
	InFlight int
	// Out is why no request goes there now; "" if one may.
	Out   string
	Until time.Time // when that ends, if it is a matter of time
}

// ProfileView is a profile and what of its chain may be tried now.
type ProfileView struct {
	ID    drey.ProfileID
	Chain [][]drey.ProviderID
	Ready bool
	Out   []Skipped // why no request of the profile goes to these of its providers
}

// Providers returns a view of every provider, in file order.
func (g *Gateway) Providers() []ProviderView {
	gen := g.gen.Load()
	now := time.Now()
	live := gen.live(g.healer, "", nil)
	broke := g.broke(gen, "", now)
	out := make([]ProviderView, 0, len(gen.lanes))
	for slot, l := range gen.lanes {
		one := &chain{Chain: route.Chain{AllowPaid: gen.AllowPaid}}
		one.add(l, slot, 0)
		v := ProviderView{
			ID: l.p.ID, Wire: l.p.Wire, Price: l.p.Price, URL: l.p.URL, Model: l.p.Model,
			Context: l.facts().context, InFlight: live[slot].InFlight,
		}
		plan := route.Resolve(&one.Chain, live, route.Ask{At: now, CallerKey: true, OverBudget: broke})
		for _, s := range plan.Skipped {
			v.Out, v.Until = string(s.Reason), s.Until
		}
		switch {
		case plan.Panic:
			v.Out, v.Until = string(route.ReasonExcluded), live[slot].NextProbe
		case plan.Queued:
			v.Out = string(route.ReasonRestarting)
		}
		out = append(out, v)
	}
	return out
}

// Profiles returns a view of every profile, in file order.
func (g *Gateway) Profiles() []ProfileView {
	gen := g.gen.Load()
	now := time.Now()
	live := gen.live(g.healer, "", nil)
	out := make([]ProfileView, 0, len(gen.Profiles))
	for i := range gen.Profiles {
		p := &gen.Profiles[i]
		ask := route.Ask{At: now, CallerKey: true, OverBudget: g.broke(gen, p.ID, now)}
		plan := route.Resolve(&gen.chains[p.ID].Chain, live, ask)
		v := ProfileView{ID: p.ID, Chain: p.Chain, Ready: len(plan.Candidates) > 0}
		for _, s := range plan.Skipped {
			v.Out = append(v.Out, Skipped{s.ID, string(s.Reason), s.Until})
		}
		out = append(out, v)
	}
	return out
}

// DefaultProfile is where a request goes that names nothing.
func (g *Gateway) DefaultProfile() drey.ProfileID { return g.gen.Load().DefaultProfile }
