package gateway

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/route"
)

// generation is one configuration, compiled and read-only. A request keeps the
// generation on which it began; a reload swaps one pointer.
type generation struct {
	Settings
	directory *route.Directory
	chains    map[drey.ProfileID]*chain
	singles   map[drey.ProviderID]*chain // chains of one, for models that name a provider
	lanes     []*lane                    // by slot
	models    []Model
}

// chain is a profile with its providers.
type chain struct {
	route.Chain
	*Profile
	lanes []*lane   // by index in Chain.Members
	drift []watched // by the same; nil if the profile does not watch
}

// build compiles settings. Lanes of the last generation whose provider is the
// same machine (name, url, model and wire) are taken over with all they know.
func build(s Settings, last *generation) (*generation, error) {
	g := &generation{Settings: s, chains: map[drey.ProfileID]*chain{}, singles: map[drey.ProviderID]*chain{}}
	slots := map[drey.ProviderID]int{}
	var ids []drey.ProviderID
	for i := range g.Providers {
		p := &g.Providers[i]
		if _, twice := slots[p.ID]; twice {
			return nil, fmt.Errorf("provider %q is there twice", p.ID)
		}
		if err := p.Mending.check(); err != nil {
			return nil, fmt.Errorf("provider %q: %w", p.ID, err)
		}
		slots[p.ID] = i
		ids = append(ids, p.ID)
		g.lanes = append(g.lanes, newLane(p, last.lane(p)))
	}
	order := make([]drey.ProfileID, 0, len(g.Profiles))
	members := map[drey.ProfileID][]drey.ProviderID{}
	for i := range g.Profiles {
		p := &g.Profiles[i]
		c := &chain{Profile: p, Chain: route.Chain{
			Profile: p.ID, AllowPaid: s.AllowPaid, ThinkingOrder: p.ThinkingOrder, Action: actions[p.Action], Adaptive: p.Adaptive,
		}}
		for n, place := range p.Chain {
			for _, id := range place {
				slot, ok := slots[id]
				if !ok {
					return nil, fmt.Errorf("profile %q names a provider %q that is not there", p.ID, id)
				}
				pool := 0
				if len(place) > 1 {
					pool = n + 1
				}
				c.add(g.lanes[slot], slot, pool)
			}
		}
		c.drift, c.DemoteDrift = c.watchers(last), p.Drift.Action == guard.DriftDemote
		if g.chains[p.ID] != nil {
			return nil, fmt.Errorf("profile %q is there twice", p.ID)
		}
		g.chains[p.ID] = c
		order = append(order, p.ID)
		members[p.ID] = slices.Concat(p.Chain...)
	}
	if g.chains[s.DefaultProfile] == nil {
		return nil, fmt.Errorf("the default profile %q is not there", s.DefaultProfile)
	}
	g.directory = route.NewDirectory(order, members, ids, s.Aliases, s.DefaultProfile)
	g.models = g.listModels()
	return g, nil
}

// add puts a provider at the end of the chain.
func (c *chain) add(l *lane, slot, pool int) {
	p, f := l.p, l.facts()
	m := route.Member{
		ID: p.ID, Price: p.Price, Slot: slot, Pool: pool, Can: f.can, Context: f.context, QueueWait: p.QueueWait,
	}
	switch {
	case p.CallerKey:
		m.Credential = route.CredentialCaller
	case p.Missing:
		m.Credential = route.CredentialMissing
	}
	c.Members = append(c.Members, m)
	c.lanes = append(c.lanes, l)
}

// of returns the chain for a choice.
func (g *generation) of(c route.Choice) *chain {
	base := g.chains[c.Profile]
	if c.Provider == "" {
		return base
	}
	one := &chain{Profile: base.Profile, Chain: base.Chain}
	one.Members = nil
	for slot, l := range g.lanes {
		if l.p.ID == c.Provider {
			one.add(l, slot, 0)
			one.drift = base.alone(l)
		}
	}
	return one
}

// lane finds the lane of a provider that is still the same machine.
func (g *generation) lane(p *Provider) *lane {
	if g == nil {
		return nil
	}
	for _, l := range g.lanes {
		if l.p.ID == p.ID && l.p.URL == p.URL && l.p.Model == p.Model && l.p.Wire == p.Wire {
			return l
		}
	}
	return nil
}

// live is the table that routing reads: what every provider's state is now, as
// far as a profile is concerned.
func (g *generation) live(h Healer, profile drey.ProfileID, dst []route.Live) []route.Live {
	for _, l := range g.lanes {
		dst = append(dst, h.Live(profile, l.p.ID))
	}
	return dst
}

// actions are what profiles do about health in the words of routing.
var actions = map[health.Action]route.HealthAction{
	health.ActionExclude: route.Exclude, health.ActionDemote: route.Demote,
	health.ActionWarn: route.Warn, health.ActionOff: route.Off,
}

// timeouts are those of one attempt: the profile's replace the provider's.
func (c *chain) timeouts(p *Provider) (connect, firstToken, stall, total time.Duration) {
	pick := func(own *time.Duration, theirs time.Duration) time.Duration {
		if own != nil {
			return *own
		}
		return theirs
	}
	t := c.Timeouts
	return pick(t.Connect, p.Connect), pick(t.FirstToken, p.FirstToken), pick(t.Stall, p.Stall), pick(t.Total, p.Total)
}

// total is how long the whole request may take, over all attempts: the
// profile's, else the longest of its providers.
func (c *chain) total() time.Duration {
	longest := slices.MaxFunc(c.lanes, func(a, b *lane) int { return cmp.Compare(a.p.Total, b.p.Total) })
	_, _, _, total := c.timeouts(longest.p)
	return total
}
