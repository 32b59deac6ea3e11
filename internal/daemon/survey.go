package daemon

import (
	"context"

	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/gateway"
	"github.com/dreyhq/drey/internal/redact"
	"github.com/dreyhq/drey/internal/statedir"
)

// Survey is what a configuration makes of its providers, for who wants to ask
// them without a daemon.
type Survey struct {
	File *config.File
	// Providers are those of File, in its order, ready to be reached: secrets
	// resolved, trust and proxy in place. No error of theirs shows a secret.
	Providers []gateway.Provider
	// Newcomer says that there is neither a file nor a model, and the demo
	// answers in a model's place.
	Newcomer bool
}

// TakeSurvey builds the providers of the configuration that a daemon would
// start with. It asks nobody, except that it looks for local models where there
// is no file.
func TakeSurvey(ctx context.Context, o Options) (*Survey, error) {
	l := newLoader(o, statedir.At(o.Home))
	clean := redact.New()
	l.redact = func(s string) string { return clean.String(s) }
	gen, err := l.load(ctx)
	if err != nil {
		return nil, err
	}
	clean = redact.New(gen.secrets...)
	return &Survey{File: gen.file, Providers: gen.settings.Providers, Newcomer: gen.demo}, nil
}
