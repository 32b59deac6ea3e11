package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/dreyhq/drey/internal/api"
)

// restless are idle times with which a daemon is in SLEEP a moment after the
// last request.
const restless = `boot_grace: 10ms, drowsy_after: 60ms, sleep_after: 120ms, hibernate_after: 24h`

// measureStates measures what a request waits longer when it finds the daemon
// at rest. After each of these comes one in WAKE, on a new connection like it.
// What is compared with the limit is each latency less the median of WAKE: the
// scatter of the machine counts against drey.
func (l *lab) measureStates(ctx context.Context) error {
	latenciesHead("request on a new connection, ms")
	for _, c := range []struct {
		name, conf string
		rows       int
		what       string
		there      func(api.Lifecycle) bool
		extra      float64 // ms
	}{
		{"drowsy", `boot_grace: 10ms, drowsy_after: 60ms, sleep_after: 24h, hibernate_after: 24h`, 0, "DROWSY", isDrowsy, 5},
		{"asleep", restless, 0, "SLEEP, cycle clean", isClean, 5},
		{"upkeep", restless, *rows, "SLEEP, verify running", verifies, 100},
	} {
		err := func() (err error) {
			d, err := l.serve(ctx, c.name, c.rows, c.conf)
			if err != nil {
				return err
			}
			defer func() {
				if cerr := d.close(); err == nil {
					err = cerr
				}
			}()
			var rest, awake, extra sample
			for range *requests {
				if err := d.reach(ctx, c.what, c.there); err != nil {
					return err
				}
				// Not always at the same distance from the state's begin.
				if err := wait(ctx, rand.N(20*time.Millisecond)); err != nil {
					return err
				}
				for _, s := range []*sample{&rest, &awake} {
					took, err := post(ctx, d.addr)
					if err != nil {
						return err
					}
					s.add(took)
				}
			}
			for _, ms := range rest {
				extra = append(extra, ms-awake.median())
			}
			latencies("WAKE", awake, limit{})
			latencies(c.what, rest, limit{})
			latencies("  more than the median in WAKE", extra, extra.atMost(0.99, c.extra, "ms"))
			return nil
		}()
		if err != nil {
			return err
		}
	}
	return nil
}
