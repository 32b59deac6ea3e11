package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/spend"
	"github.com/dreyhq/drey/internal/upstream"
)

// lane is one provider at run time: the way to it and what experience has
// taught. It outlives a reload that leaves the provider the same machine.
type lane struct {
	p *Provider
	*machine
	up     *upstream.Provider
	prices spend.Prices // of the provider's own model
	// unpriced is set when it was told that callers name models without a price.
	unpriced atomic.Bool
}

// machine is what a lane has learned. Its own mutex guards it, since any
// request may teach it.
type machine struct {
	mu     sync.Mutex
	prompt route.Rate // to the first content, per token of the prompt
	output route.Rate // from there to the end, per token of the answer
	counting
	learned upstream.Learned
	asked   bool // learned is the server's last word
}

// newLane makes the way to a provider and takes over what was learned. The way
// itself is kept where the settings are the same value, as after Learn.
func newLane(p *Provider, last *lane) *lane {
	l := &lane{p: p, prices: pricesOf(p)}
	if last != nil && last.p == p {
		return last
	}
	l.up = upstream.New(p.Config)
	if last != nil {
		l.machine = last.machine
		return l
	}
	l.machine = &machine{}
	return l
}

// apart returns a lane that knows what l knows now, and teaches it nothing.
func (l *lane) apart() *lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := &machine{prompt: l.prompt, output: l.output, learned: l.learned, asked: l.asked}
	known.ratio.Store(l.ratio.Load())
	return &lane{p: l.p, up: l.up, prices: l.prices, machine: known}
}

// learn takes in how fast an answer was, and how its prompt of so many tokens,
// by the estimate, was counted.
func (l *lane) learn(res result, took time.Duration, tokens int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.prompt = l.prompt.Observe(res.firstByte, l.tokens(tokens))
	l.counting.learn(tokens, res.usage)
	if res.usage != nil && res.streamed {
		l.output = l.output.Observe(took-res.firstByte, res.usage.Output)
	}
}
