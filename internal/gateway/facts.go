package gateway

import (
	"cmp"
	"context"
	"net/url"
	"sync"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
)

// facts are what is believed of a provider's model: the configuration first,
// then the server's own word, then the built-in table, then the defaults.
type facts struct {
	context, maxOutput int
	can                route.Abilities
}

func (l *lane) facts() facts {
	l.mu.Lock()
	learned := l.learned
	l.mu.Unlock()
	table, _ := route.LookUp(l.p.Model)
	return facts{
		context:   cmp.Or(l.p.ContextTokens, learned.ContextTokens, table.Context),
		maxOutput: cmp.Or(l.p.MaxOutputTokens, learned.MaxOutput, table.MaxOutput),
		can: route.Abilities{
			Tools:      cmp.Or(l.p.Can.Tools, table.Can.Tools),
			Vision:     cmp.Or(l.p.Can.Vision, table.Can.Vision),
			Documents:  cmp.Or(l.p.Can.Documents, table.Can.Documents),
			Thinking:   cmp.Or(l.p.Can.Thinking, table.Can.Thinking),
			JSONSchema: cmp.Or(l.p.Can.JSONSchema, table.Can.JSONSchema),
			Prefill:    cmp.Or(l.p.Can.Prefill, table.Can.Prefill),
		},
	}
}

// model is what the provider is asked for in place of the caller's model; "" is
// that itself. ours says that the caller's is a name of drey's own.
func (l *lane) model(ours bool) string {
	if l.p.Model == "" && ours {
		return l.anyModel()
	}
	return l.p.Model
}

// anyModel is a model of the provider's own list, for a request that names
// none that could mean something to it.
func (l *lane) anyModel() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.learned.Models) > 0 {
		return l.learned.Models[0]
	}
	return ""
}

// Learn asks the servers of those providers whose window nobody has told, and
// that may be asked: a missing credential or a closed paid gate keeps it from
// asking. What it learns holds from then on. It returns when all have answered
// or ctx has ended; a provider that does not answer is asked again next time.
func (g *Gateway) Learn(ctx context.Context) {
	gen := g.gen.Load()
	var wg sync.WaitGroup
	for _, l := range gen.lanes {
		if l.settled() || l.p.Missing || l.p.CallerKey || (l.p.Price == drey.Paid && !gen.AllowPaid) {
			continue
		}
		wg.Go(func() {
			learned, err := l.up.Learn(ctx)
			if err != nil {
				return // the first request will say it better
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.learned, l.asked = learned, !learned.Provisional
		})
	}
	wg.Wait()
	g.swap.Lock()
	defer g.swap.Unlock()
	if g.gen.Load() != gen {
		return // a reload came between, and its own Learn follows
	}
	if next, err := build(gen.Settings, gen); err == nil { // these settings were built before
		g.gen.Store(next)
	}
}

// settled reports whether there is nothing left to ask the provider's server.
func (l *lane) settled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked || (l.p.ContextTokens > 0 && l.p.Model != "")
}

// openAIHost reports whether a URL is OpenAI's own, with limits that other
// servers of its wire do not have.
func openAIHost(base string) bool {
	u, err := url.Parse(base)
	return err == nil && u.Hostname() == "api.openai.com"
}
