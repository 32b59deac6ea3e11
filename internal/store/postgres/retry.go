package postgres

import (
	"context"
	"math/rand/v2"
	"time"
)

// The bounds of trying again. A transaction is tried for retryFor, which a
// server takes to restart or a replica to be promoted; the race of two dreys
// that make the same schema is over sooner.
const (
	retryFor   = 5 * time.Second
	raceFor    = time.Second
	pauseFirst = 2 * time.Millisecond
	pauseMost  = 250 * time.Millisecond
)

// pause is the growing wait between two attempts. The zero value waits
// pauseFirst; each next one twice as long up to pauseMost, less up to a half by
// chance, so that two that met do not meet again.
type pause struct {
	next   time.Duration
	waited time.Duration // all waits so far
}

// wait returns after the pause, or before it with the error of ctx, or with nil
// when cut is closed. A nil cut is never.
func (p *pause) wait(ctx context.Context, cut <-chan struct{}) error {
	p.next = min(max(2*p.next, pauseFirst), pauseMost)
	d := p.next - rand.N(p.next/2)
	p.waited += d
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-cut:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
