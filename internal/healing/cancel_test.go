package healing

import (
	"context"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
)

// cancels is how many callers go away in each test of it: 10,000 with
// DREY_SOAK=1, which is the contract's number.
func cancels() int {
	if os.Getenv("DREY_SOAK") == "1" {
		return 10_000
	}
	return 320
}

// untouched fails the test unless the provider's health is what it was, and
// nothing is left of those who went away.
func (l *lab) untouched(was View, events int) {
	l.t.Helper()
	l.settle(time.Second)
	v := l.view()
	if v.State != was.State || v.Phase != was.Phase || v.ConsecutiveFailures != was.ConsecutiveFailures || v.Epoch != was.Epoch || v.Interval != was.Interval {
		l.t.Errorf("was %+v\nis  %+v", was.View, v.View)
	}
	if n := len(l.names()); n != events || len(v.Failures) != len(was.Failures) || v.Queued != 0 || v.InFlight != 0 {
		l.t.Errorf("%d events, failures %v, %d queued, %d in flight", n-events, v.Failures, v.Queued, v.InFlight)
	}
	l.wait(func() {
		s := l.Keeper.seat("local")
		if attempts, failed := s.m.Window(); attempts != 0 && was.State == health.Healthy || failed > was.ConsecutiveFailures || s.m.InFlight() != 0 {
			l.t.Errorf("window %d/%d, in flight %d", failed, attempts, s.m.InFlight())
		}
		if len(s.cuts)+len(s.uses)+s.queued() != 0 {
			l.t.Errorf("%d cuts, %d uses, %d queued", len(s.cuts), len(s.uses), s.queued())
		}
	})
}

// Whoever goes away, whenever that is, and however many at once: no exclusion,
// and nothing counted.
func TestCancels(t *testing.T) {
	const atOnce = 64
	impatient := func(l *lab, d health.Departure, patience time.Duration) (health.Pass, error) {
		ctx, cancel := context.WithTimeout(l.t.Context(), patience)
		defer cancel()
		return l.Leave(ctx, d)
	}
	for name, c := range map[string]struct {
		options []option
		prepare func(*lab)
		cancel  func(l *lab, n int)
	}{
		"before headers": {nil, nil, func(l *lab, _ int) { l.attempt(gone) }},
		"mid-stream": {nil, nil, func(l *lab, n int) {
			p, err := l.leave(func(d *health.Departure) { d.Cut = func(error) {} })
			if err != nil {
				l.t.Error(err)
				return
			}
			l.Spoke(p)
			l.settleAlone(time.Duration(n%7) * time.Millisecond)
			l.Ended(p, health.Ending{Class: drey.Cancel, FirstToken: time.Millisecond, Tokens: 10})
		}},
		"queued for a place": {[]option{func(_ *Config, s *Settings) { s.Providers[0].Limits = Limits{Concurrency: 1, Queue: 100} }}, nil, func(l *lab, n int) {
			d := departure()
			d.SlotWait = time.Hour
			p, err := impatient(l, d, time.Duration(1+n%5)*time.Millisecond)
			if err == nil {
				l.settleAlone(3 * time.Millisecond)
				l.Ended(p, gone)
			}
		}},
		"queued for a process": {[]option{managed(&machineRoom{load: func() time.Duration { return time.Hour }}, "local"), func(_ *Config, s *Settings) {
			s.Providers[0].Process.Policy.Queue, s.Providers[0].Process.Policy.QueueWait = 100, time.Hour
		}}, nil, func(l *lab, n int) {
			d := departure()
			d.SlotWait = time.Hour
			if _, err := impatient(l, d, time.Duration(1+n%5)*time.Millisecond); err == nil {
				l.t.Error("it left for a process that is not READY")
			}
		}},
		"in a trial, and waiting for its verdict": {nil, func(l *lab) { l.breakDown() }, func(l *lab, n int) {
			d := departure()
			d.For = health.AskPanic
			p, err := impatient(l, d, time.Duration(1+n%5)*time.Millisecond)
			if err == nil {
				l.settleAlone(2 * time.Millisecond)
				l.Ended(p, gone)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, nil, c.options...)
				if c.prepare != nil {
					c.prepare(l)
				}
				if name == "queued for a process" { // its start is an event of its own
					_, _ = l.leave()
					l.settle(time.Second)
				}
				was, events := l.view(), len(l.names())
				var wg sync.WaitGroup
				for i := range atOnce {
					wg.Go(func() {
						for n := i; n < cancels(); n += atOnce {
							c.cancel(l, n)
						}
					})
				}
				wg.Wait()
				l.untouched(was, events)
			})
		})
	}
}

// Nor does it when the trial of row 10 is theirs: it is open again each time.
func TestCancelledTrials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, func(_ *Config, s *Settings) { s.Providers[0].Price = drey.Paid })
		l.breakDown()
		l.settle(31 * time.Second)
		was, events := l.view(), len(l.names())
		for range cancels() {
			p, err := l.leave(func(d *health.Departure) { d.For = health.AskTrial })
			if err != nil || p.For != health.AskTrial {
				t.Fatal(p, err)
			}
			l.Ended(p, gone)
			if !l.Live("main", "local").Trial {
				t.Fatal("the trial is not open again")
			}
		}
		l.untouched(was, events)
	})
}
