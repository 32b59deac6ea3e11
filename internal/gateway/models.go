package gateway

import (
	"strings"

	"github.com/dreyhq/drey/internal/route"
)

// Model is one name under which a client can ask for a profile or a provider.
type Model struct {
	ID      string
	Profile bool // a profile: the Anthropic form lists it as claude-drey-ID besides
}

// Models lists what a client may name as its model: profiles, aliases without
// globs, providers, in this order, once each. allowed are the profiles of the
// caller's key; empty = all.
func (g *Gateway) Models(key Key) []Model {
	gen := g.gen.Load()
	if len(key.Profiles) == 0 {
		return gen.models
	}
	var out []Model
	for _, m := range gen.models {
		if _, err := gen.directory.Choose(route.Choosing{Model: m.ID, Allowed: key.Profiles}); err == nil {
			out = append(out, m)
		}
	}
	return out
}

func (g *generation) listModels() []Model {
	var out []Model
	seen := map[string]bool{}
	add := func(id string, profile bool) {
		if !seen[id] {
			seen[id] = true
			out = append(out, Model{id, profile})
		}
	}
	for i := range g.Profiles {
		add(string(g.Profiles[i].ID), true)
	}
	for _, a := range g.Aliases {
		if !strings.ContainsAny(a.Pattern, "*?") {
			add(a.Pattern, false)
		}
	}
	for i := range g.Providers {
		add(string(g.Providers[i].ID), false)
	}
	return out
}
