package dormancy

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
)

// TestWhateverHappens interleaves work, time, signals, leases, operators,
// failing steps, doors and disks, and restarts. It holds, always: activity
// leads to WAKE, HIBERNATION is never recorded with something in flight, no two
// steps run at once, one goroutine at a time uses the record, and in the end no
// goroutine is left (synctest and goleak see to that).
func TestWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failed any // rapid's own way out, which must leave the bubble first
		synctest.Test(t, func(t *testing.T) {
			defer func() { failed = recover() }()
			story(t, rt)
		})
		if failed != nil {
			panic(failed)
		}
	})
}

func story(t *testing.T, rt *rapid.T) {
	var flying []func()
	var inFlight atomic.Int32
	begin := func(o *Owner) func() {
		inFlight.Add(1)
		end := o.Begin()
		return func() {
			end()
			inFlight.Add(-1)
		}
	}
	d := &disk{record: lifecycle.Default(time.Now())}
	var l *lab
	boot := func() {
		l = newLab(t, d, func(c *Config) { c.State = &watched{State: c.State, inFlight: &inFlight} })
		l.steps.work = func(step string, ctx context.Context, pace func(int) error) error {
			switch {
			case step == "verify" && l.skew.Load()%2 == 1:
				return errors.New("torn page")
			case step == "backup" && l.skew.Load()%3 == 1:
				panic("a step")
			}
			return l.steps.chunk(ctx, pace)
		}
		slow := func(ctx context.Context) error {
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		l.doors.pause, l.doors.settle = slow, slow
		l.start()
		synctest.Wait()
	}
	stop := func() {
		for _, end := range flying {
			end()
		}
		flying = nil
		if err := l.close(); err != nil && !errors.Is(err, ErrHibernated) {
			rt.Fatal(err)
		}
		d.set(func(d *disk) { d.broken = false })
	}
	boot()
	defer func() { _ = l.close() }()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	waits := []time.Duration{0, time.Nanosecond, 500 * time.Millisecond, time.Second, 20 * time.Second, 5 * time.Minute, 26 * time.Minute, time.Hour, 25 * time.Hour}
	for range rapid.IntRange(5, 40).Draw(rt, "n") {
		if l.gone() { // somebody wakes it
			stop()
			boot()
		}
		switch rapid.SampledFrom([]string{"wait", "wait", "wait", "begin", "end", "call", "signal", "lease", "sleep", "force", "hibernate", "wake", "lift", "disk", "clock", "block", "policy", "restart"}).Draw(rt, "what") {
		case "wait":
			time.Sleep(rapid.SampledFrom(waits).Draw(rt, "for"))
		case "begin":
			flying = append(flying, begin(l.owner))
		case "end":
			if n := len(flying); n > 0 {
				flying[n-1]()
				flying = flying[:n-1]
			}
		case "call":
			begin(l.owner)()
		case "signal":
			l.signal()
		case "lease":
			d.set(func(d *disk) {
				d.leases = []statedir.Lease{{Path: "x", LastRefresh: time.Now(), Active: rapid.Bool().Draw(rt, "active")}}
			})
			l.notify()
		case "sleep":
			go func(o *Owner) { _, _ = o.Sleep(ctx, SleepOptions{}) }(l.owner)
		case "force":
			go func(o *Owner) { _, _ = o.Sleep(ctx, SleepOptions{Force: true}) }(l.owner)
		case "hibernate":
			go func(o *Owner) { _ = o.Hibernate(ctx) }(l.owner)
		case "wake":
			go func(o *Owner) { _, _ = o.Wake(ctx, "test") }(l.owner)
		case "lift":
			go func(o *Owner) { _, _ = o.ResetQuarantine(ctx) }(l.owner)
		case "disk":
			d.set(func(d *disk) { d.broken = !d.broken })
		case "clock":
			l.skew.Store(rapid.Int64Range(-int64(30*time.Hour), int64(30*time.Hour)).Draw(rt, "skew"))
		case "block":
			var blocks []lifecycle.Block
			if rapid.Bool().Draw(rt, "blocked") {
				blocks = []lifecycle.Block{{Code: lifecycle.BlockNoOwner}}
			}
			l.block(blocks...)
		case "policy":
			p := lifecycle.DefaultPolicy()
			p.DrowsyAfter = rapid.SampledFrom([]time.Duration{time.Millisecond, time.Minute, 5 * time.Minute}).Draw(rt, "drowsy")
			p.ShadowRun = rapid.Bool().Draw(rt, "shadow")
			l.owner.SetPolicy(p)
		case "restart":
			stop()
			boot()
		}
		if rapid.Bool().Draw(rt, "settle") {
			synctest.Wait()
		}
		l.owner.Status()
		if w := l.owner.cfg.State.(*watched); w.wrong.Load() {
			rt.Fatalf("HIBERNATION with something in flight; story %q", d.story())
		}
	}
	// A real request gets it to WAKE, once the disk lets it.
	synctest.Wait()
	if l.gone() {
		stop()
		boot()
	}
	d.set(func(d *disk) { d.broken = false })
	flying = append(flying, begin(l.owner))
	time.Sleep(lastRetry + time.Second)
	synctest.Wait()
	if got := d.look().State; got != lifecycle.Wake {
		rt.Fatalf("a request left the daemon in %v; story %q", got, d.story())
	}
	leave()
	stop()
	if l.steps.twice.Load() || d.overlap.Load() {
		rt.Fatal("two at once")
	}
}

// watched sees what is recorded.
type watched struct {
	State
	inFlight *atomic.Int32
	wrong    atomic.Bool
}

func (w *watched) Dispatch(ev lifecycle.Event, p lifecycle.Policy) (dispatched, error) {
	before := w.inFlight.Load()
	d, err := w.State.Dispatch(ev, p)
	if err == nil && d.Before.State != lifecycle.Hibernation && d.After.State == lifecycle.Hibernation && before > 0 && w.inFlight.Load() > 0 {
		w.wrong.Store(true)
	}
	return d, err
}
