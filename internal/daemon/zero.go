package daemon

import (
	"context"
	"slices"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/discover"
)

// zeroConfig makes a configuration of what is found: local servers first, then
// keys in the environment, which stay off until paid providers are allowed.
// Where there is neither, the built-in demo answers.
func (l *loader) zeroConfig(ctx context.Context, gen *generation) error {
	found := l.find(ctx)
	if hasLocal(found) {
		l.local = slices.DeleteFunc(slices.Clone(found), func(f discover.Found) bool { return f.Price != drey.Local })
	} else {
		// A server that was found once is a provider from then on: that it does
		// not answer now is for the gateway to live with, and no reason to
		// bring the demo back.
		found = slices.Concat(l.local, found)
	}
	gen.looking = !hasLocal(found)
	if len(found) == 0 {
		gen.demo = true
		found = []discover.Found{{Name: "demo", URL: "demo:echo", Wire: drey.WireChat}}
	}
	gen.file = config.Default()
	var chain []drey.ProviderID
	for _, f := range found {
		wire := config.WireOpenAI
		if f.Wire == drey.WireAnthropic {
			wire = config.WireAnthropic
		}
		url, err := config.NormalizeURL(wire, f.URL)
		if err != nil {
			return err
		}
		p := config.NewProvider(drey.ProviderID(f.Name), url, wire)
		p.Model, p.Class, p.ContextTokens = f.Model, f.Price, f.ContextTokens
		p.Key.Secret.Env = f.KeyEnv
		gen.file.Providers = append(gen.file.Providers, p)
		chain = append(chain, p.Name)
	}
	gen.file.Profiles = append(gen.file.Profiles, config.NewProfile("default", chain...))
	return gen.file.Overlay(l.env)
}

func hasLocal(found []discover.Found) bool {
	for _, f := range found {
		if f.Price == drey.Local {
			return true
		}
	}
	return false
}
