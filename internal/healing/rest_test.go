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
	"github.com/dreyhq/drey/internal/process"
)

// Continuous probing belongs to WAKE, and probes are far apart in SLEEP.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, func(_ *Config, s *Settings) {
			s.Continuous = Continuous{Active: true, Interval: time.Minute, Timeout: time.Second}
			s.Providers[0].Probe.Jitter = 0.5
		}, func(c *Config, _ *Settings) { c.Random = func() float64 { return 0 } })
		asked := func() int { return len(l.up.Calls()) }
		l.settle(61 * time.Second)
		if asked() != 1 {
			t.Errorf("awake: %d probes in a minute", asked())
		}
		for _, rest := range []Rest{Drowsy, Asleep} {
			l.Rest(rest)
			l.settle(10 * time.Minute)
			if asked() != 1 {
				t.Errorf("%d: %d probes", rest, asked()-1)
			}
		}
		l.Rest(Awake)
		l.settle(59 * time.Second)
		if asked() != 1 {
			t.Errorf("a round before an interval is over")
		}
		l.settle(2 * time.Second)
		if asked() != 2 {
			t.Errorf("awake again: %d probes", asked()-1)
		}

		l.breakDown()
		l.Rest(Asleep)
		began, n := time.Now(), asked()
		for range 4 {
			at := asked()
			l.settle(5*time.Minute - time.Second)
			if asked() != at {
				t.Errorf("asleep: probed after %s", time.Since(began))
			}
			l.settle(2 * time.Second)
		}
		if v := l.view(); v.State != health.Excluded || asked() < n {
			t.Errorf("%+v", v.View)
		}
		l.up.Restore()
		l.Rest(Awake)
		l.settle(5 * time.Minute)
		if v := l.view(); v.State != health.Healthy {
			t.Errorf("awake, and not back after the longest interval: %+v", v.View)
		}
	})
}

// A reload in the middle of an interval does not begin it anew.
func TestPatrolOutlivesReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, func(_ *Config, s *Settings) {
			s.Continuous = Continuous{Active: true, Interval: time.Minute, Timeout: time.Second}
		})
		for range 4 {
			l.settle(20 * time.Second)
			l.Apply(*l.table.Load().settings)
		}
		if n := len(l.up.Calls()); n != 1 {
			t.Errorf("%d probes in 80 s", n)
		}
	})
}

// A round that hangs is ended by whoever goes to rest, and decides nothing.
func TestARoundIsEnded(t *testing.T) {
	for name, end := range map[string]func(*lab){
		"rest":  func(l *lab) { l.Rest(Drowsy) },
		"quiet": func(l *lab) { l.Quiet() },
		"stop":  func(l *lab) { l.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, nil, func(_ *Config, s *Settings) {
					s.Providers[0].Threshold = 1
					s.Continuous = Continuous{Active: true, Interval: time.Minute, Timeout: 50 * time.Second}
				})
				l.up.Outage(fake.Silent())
				l.settle(70 * time.Second)
				began := time.Now()
				end(l)
				synctest.Wait()
				if time.Since(began) > time.Second {
					t.Errorf("it took %s", time.Since(began))
				}
				if v := l.view(); v.ConsecutiveFailures != 0 || v.State != health.Healthy {
					t.Errorf("%+v", v.View)
				}
				if slices.Contains(l.names(), "probe-completed") {
					t.Error("it was told")
				}
			})
		})
	}
}

// Everything comes to rest before HIBERNATION, durably, and goes on if that is
// called off.
func TestSettleAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := &machineRoom{}
		j := &journal{}
		l := newLab(t, j, managed(room, "a", "b"), func(_ *Config, s *Settings) {
			plain := settings(nil).Providers[0]
			plain.Transport = s.Providers[0].Transport
			s.Providers = append(s.Providers, plain)
			s.Profiles[0].Chain = append(s.Profiles[0].Chain, "local")
		})
		p, err := l.leave(waits, to("a"))
		if err != nil {
			t.Fatal(err)
		}
		l.Ended(p, well)
		for range 4 {
			l.attempt(broken)
		}
		l.up.Outage(fake.ServerError())
		if err := l.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(room.running) != 0 || len(j.snapshots["process"]) != 0 {
			t.Errorf("%d processes, %d rows of them", len(room.running), len(j.snapshots["process"]))
		}
		if r, err := health.ParseRecord(j.snapshots["provider"]["local"]); err != nil || r.ConsecutiveFailures != 4 {
			t.Errorf("saved %+v %v", r, err)
		}
		if _, err := l.leave(waits, to("a")); refusedFor(err) != "shutdown" {
			t.Errorf("a process for a request: %v", err)
		}
		for range 2 { // results still count, and what they decide waits
			l.attempt(broken)
		}
		l.settle(10 * time.Minute)
		if n := len(l.up.Requests()); n != 0 {
			t.Errorf("%d probes in rest", n)
		}
		if v := l.view(); v.State != health.Excluded {
			t.Errorf("%+v", v.View)
		}
		l.Resume()
		l.settle(time.Second)
		if n := len(l.up.Requests()); n == 0 {
			t.Error("the probe that came due was not made up for")
		}
		l.up.Restore()
		l.settle(5 * time.Minute)
		if v := l.view(); v.State != health.Healthy {
			t.Errorf("%+v", v.View)
		}
		if p, err = l.leave(waits, to("a")); err != nil {
			t.Fatal(err)
		}
		l.Ended(p, well)
		l.Resume() // twice does no harm
		if v, _ := l.View("a"); v.Process.State != health.Ready {
			t.Errorf("%+v", v.Process)
		}
	})
}

// A provider that waits for its process when everything settles has it again
// after the resumption.
func TestResumeOfARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := &machineRoom{}
		l := newLab(t, nil, managed(room, "local"))
		p, _ := l.leave(waits)
		room.crash("local")
		l.Ended(p, health.Ending{Class: drey.Transport, Counts: true})
		l.settle(3 * time.Second) // it is on its way up
		if err := l.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.settle(time.Hour)
		l.Resume()
		l.settle(20 * time.Second)
		if v := l.view(); v.State != health.Healthy || v.Process.State != health.Ready {
			t.Errorf("%+v %+v", v.View, v.Process)
		}
	})
}

// A restart command gets the time that its caller gives it, and is ended with
// Serve.
func TestAwaitRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs []process.Command
		l := newLab(t, nil, mends(20*time.Second, "", &runs))
		l.breakDown()
		l.settle(time.Second)
		l.Quiet()
		ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, errHurry)
		defer cancel()
		if err := l.AwaitRestarts(ctx); !errors.Is(err, errHurry) {
			t.Errorf("%v", err)
		}
		if err := l.AwaitRestarts(t.Context()); err != nil || time.Since(l.start) != 20*time.Second {
			t.Errorf("%v after %s", err, time.Since(l.start))
		}
		l.Resume()
		l.settle(500 * time.Millisecond)
		if _, _, err := l.Restart(t.Context(), "local", ""); err != nil {
			t.Fatal(err)
		}
		l.settle(time.Second)
		began := time.Now()
		l.stop()
		if time.Since(began) != 0 {
			t.Errorf("the stop took %s", time.Since(began))
		}
		if err := l.Settle(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
		l.Resume()
	})
}

var errHurry = errors.New("no time left")

// A caller that gives up waiting leaves nothing behind.
func TestSettleInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs []process.Command
		l := newLab(t, nil, mends(time.Minute, "", &runs))
		l.breakDown()
		l.settle(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := l.Settle(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		l.wait(func() {
			if len(l.awaited) != 0 {
				t.Errorf("%d conditions are left", len(l.awaited))
			}
		})
		l.Resume()
		l.up.Restore()
		l.settle(2 * time.Minute)
		if v := l.view(); v.State != health.Healthy {
			t.Errorf("%+v", v.View)
		}
	})
}
