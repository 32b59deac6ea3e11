package daemon

import (
	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/spend"
)

// policyOfMoney compiles the budgets of a configuration.
func policyOfMoney(f *config.File) spend.Policy {
	p := spend.Policy{
		Global:    limitOf(f.Budget),
		Providers: map[drey.ProviderID]spend.Limit{}, Profiles: map[drey.ProfileID]spend.Limit{}, Keys: map[string]spend.Limit{},
	}
	for i := range f.Providers {
		own := f.Providers[i].Cost.Budget()
		p.Providers[f.Providers[i].Name] = limitOf(&own)
	}
	for i := range f.Profiles {
		p.Profiles[f.Profiles[i].Name] = limitOf(f.Profiles[i].Budget)
	}
	for i := range f.Keys {
		p.Keys[f.Keys[i].Name] = limitOf(f.Keys[i].Budget)
	}
	return p
}

func limitOf(b *config.Budget) spend.Limit {
	if b == nil {
		return spend.Limit{}
	}
	return spend.Limit{Day: spend.CapOf(b.USDDay), Month: spend.CapOf(b.USDMonth)}
}

// pricesGiven are the prices that the configuration names.
func pricesGiven(c *config.Cost) spend.Given {
	return spend.Given{Input: c.Input, Output: c.Output, CacheRead: c.CacheRead, CacheWrite: c.CacheWrite}
}

// reached reports whether some budget reaches over a provider: its own, that of
// a profile which has it in its chain, that of everybody, or that of some key.
func reached(f *config.File, p spend.Policy, id drey.ProviderID) bool {
	for _, k := range f.Keys {
		if p.InForce(spend.Payer{Provider: id, Key: k.Name}) {
			return true
		}
	}
	for i := range f.Profiles {
		for _, pool := range f.Profiles[i].Chain {
			for _, member := range pool {
				if member == id && p.InForce(spend.Payer{Provider: id, Profile: f.Profiles[i].Name}) {
					return true
				}
			}
		}
	}
	return p.InForce(spend.Payer{Provider: id})
}
