package gateway

import (
	"math"
	"sync/atomic"

	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/wire"
)

// counting is how a provider counts tokens, learned from what it reports. Every
// request reads it, so reading takes no lock.
type counting struct {
	ratio atomic.Uint64 // the bits of guard.Factor.Ratio
}

// factor returns what has been learned so far.
func (c *counting) factor() guard.Factor {
	return guard.Factor{Ratio: math.Float64frombits(c.ratio.Load())}
}

// learn takes in what a provider reported for a prompt of that estimate. A
// report that is our own estimate teaches nothing. Of two at the same time one
// may be lost, which costs a mean one of its samples.
func (c *counting) learn(estimate int, u *wire.Usage) {
	if u == nil || u.Estimated {
		return
	}
	f := c.factor()
	if next := f.Learn(estimate, u.Input+u.CacheRead+u.CacheWrite); next != f {
		c.ratio.Store(math.Float64bits(next.Ratio))
	}
}

// tokens turns the estimate of a prompt (wire.Head.Tokens) into tokens as this
// provider counts them. It is the one number behind windows, timeouts,
// count_tokens, guards and reservations.
func (l *lane) tokens(estimate int) int { return l.counting.factor().Apply(estimate) }
