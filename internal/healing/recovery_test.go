package healing

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/store"
)

// However long it was away, a backend has its traffic again within the interval
// of that moment.
func TestBackWithinAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil)
		for _, away := range []time.Duration{time.Second, 31 * time.Second, 7 * time.Minute, time.Hour, 5*time.Hour + 17*time.Second} {
			l.breakDown()
			l.settle(away)
			interval := l.view().Interval
			if interval > 5*time.Minute {
				t.Errorf("after %s the interval is %s", away, interval)
			}
			l.up.Restore()
			l.settle(interval)
			if v := l.view(); v.State != health.Healthy {
				t.Fatalf("away for %s, not back within %s: %+v", away, interval, v.View)
			}
			l.attempt(well)
			l.settle(time.Minute) // the ramp is over
			l.attempt(well)
		}
	})
}

// A process that is READY again has its traffic within 2 s.
func TestBackAfterReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := &machineRoom{}
		l := newLab(t, nil, managed(room, "local"))
		p, err := l.leave(waits)
		if err != nil {
			t.Fatal(err)
		}
		l.Ended(p, well)
		for range 3 {
			room.crash("local")
			synctest.Wait()
			if v := l.view(); v.State != health.Excluded {
				t.Fatalf("%+v", v.View)
			}
			for l.view().Process.State != health.Ready {
				l.settle(100 * time.Millisecond)
			}
			l.settle(2 * time.Second)
			if v := l.view(); v.State != health.Healthy {
				t.Fatalf("%+v", v.View)
			}
		}
	})
}

// A panic trial that hangs keeps no probe away.
func TestAHungTrialDelaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil)
		l.breakDown()
		l.settle(20 * time.Second)
		trial, err := l.leave(func(d *health.Departure) { d.For = health.AskPanic })
		if err != nil {
			t.Fatal(err)
		}
		l.up.Restore()
		l.settle(11 * time.Second)
		if v := l.view(); v.State != health.Healthy {
			t.Errorf("%+v", v.View)
		}
		l.Ended(trial, health.Ending{Class: drey.Silence, Counts: true})
		if v := l.view(); v.ConsecutiveFailures != 0 || v.Phase != health.Ramping || v.InFlight != 0 {
			t.Errorf("its end: %+v", v.View)
		}
	})
}

// full is a journal whose disk is full.
type full struct{ journal }

var errFull = errors.New("no space left on device")

func (*full) Submit(done func(store.Commit, error), _ ...store.Append) { done(store.Commit{}, errFull) }

// A provider heals although nothing can be written.
func TestHealingWithoutADisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, func(c *Config, _ *Settings) { c.Journal = &full{} })
		l.breakDown()
		l.settle(31 * time.Second)
		l.up.Restore()
		l.settle(time.Minute)
		if v := l.view(); v.State != health.Healthy || v.Cause != 0 {
			t.Errorf("%+v", v.View)
		}
		if _, changed, err := l.Exclude(t.Context(), "local", "", 0); err != nil || !changed {
			t.Error(changed, err)
		}
		var told []string
		l.mu.Lock()
		for _, ev := range l.told { // shown, with no seq
			told = append(told, ev.Name)
		}
		l.mu.Unlock()
		for _, name := range []string{"self-healing-exclude", "self-healing-recovery-probe", "self-healing-restore"} {
			if !slices.Contains(told, name) {
				t.Errorf("%s is not told: %v", name, told)
			}
		}
	})
}

// A caller who goes away while an answer is on its way to it gives back what it
// was given.
func TestGoneAtTheSameMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, func(_ *Config, s *Settings) { s.Providers[0].Limits = Limits{Concurrency: 1, Queue: 4} })
		for range 200 {
			ctx, cancel := context.WithCancel(t.Context())
			go cancel()
			if p, err := l.Leave(ctx, departure()); err == nil {
				l.Ended(p, gone)
			}
			cancel()
		}
		l.settle(time.Second)
		l.up.Outage(fake.ServerError())
		if v := l.view(); v.InFlight != 0 || v.Queued != 0 {
			t.Errorf("%+v", v)
		}
		p, err := l.leave()
		if err != nil {
			t.Fatal(err)
		}
		l.Ended(p, well)
	})
}
