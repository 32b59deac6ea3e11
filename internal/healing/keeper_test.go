package healing

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/process"
)

// The story of one breakdown, with its exact names, their order and causes.
func TestStoryOfABreakdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs []process.Command
		l := newLab(t, nil, mends(4*time.Second, "", &runs))
		l.breakDown()
		l.settle(100 * time.Second) // the command, the extra probe, one after 30 s and one after 60
		if v := l.view(); v.State != health.Excluded || v.Phase != health.Probing || v.Interval != 2*time.Minute {
			t.Errorf("%+v", v.View)
		}
		l.up.Restore()
		l.settle(2 * time.Minute)
		for range 3 {
			l.attempt(well)
		}
		l.settle(time.Second)
		golden(t, "breakdown.txt", l.story())
		if v := l.view(); v.State != health.Healthy || v.Phase != health.NoPhase {
			t.Errorf("%+v", v.View)
		}
		if len(runs) != 1 || runs[0].Reason != "consecutive" || runs[0].Provider != "local" {
			t.Errorf("%+v", runs)
		}
	})
}

// Answers under way may end before the restart; the command runs once.
func TestRestartWaitsForAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs []process.Command
		l := newLab(t, nil, mends(time.Second, "it did not start", &runs))
		slow, _ := l.leave()
		l.breakDown()
		l.settle(9 * time.Second)
		if _, err := l.leave(); refusedFor(err) != "excluded" {
			t.Errorf("while draining: %v", err)
		}
		if v := l.view(); v.Phase != health.Draining || len(runs) != 0 {
			t.Errorf("%+v, %d runs", v.View, len(runs))
		}
		l.Ended(slow, well)
		l.settle(500 * time.Millisecond)
		if v := l.view(); v.Phase != health.Restarting || len(runs) != 1 {
			t.Errorf("%+v, %d runs", v.View, len(runs))
		}
		if _, _, err := l.Restart(t.Context(), "local", ""); !errors.Is(err, ErrRestartInProgress) {
			t.Errorf("a second restart: %v", err)
		}
		l.settle(time.Second)
		if got := l.names(); !slices.Equal(got, []string{"backend-health-changed", "backend-health-changed", "self-healing-exclude", "self-healing-restart"}) {
			t.Errorf("%v", got)
		}
	})
}

func refusedFor(err error) string {
	if r, ok := errors.AsType[*health.Refused](err); ok {
		return r.Reason
	}
	return ""
}

// What excludes a provider is what failed, never who went away or asked wrong.
func TestWhatNeverCounts(t *testing.T) {
	l := newLab(t, nil)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 160 {
				l.attempt(gone)
				l.attempt(health.Ending{Class: drey.Caller, Status: 400})
			}
		})
	}
	wg.Wait()
	l.Rest(Drowsy) // behind everything that was jotted
	v := l.view()
	if v.State != health.Healthy || v.ConsecutiveFailures != 0 || v.InFlight != 0 || len(l.names()) != 0 {
		t.Errorf("%+v %v", v, l.names())
	}
	if v.Attempts != 2*64*160 || v.Failures[drey.Caller] != 64*160 {
		t.Errorf("counted %d, %v", v.Attempts, v.Failures)
	}
	var flying int
	l.wait(func() { flying = l.Keeper.seat("local").m.InFlight() })
	if flying != 0 {
		t.Errorf("the machine believes that %d are under way", flying)
	}
}

// A caller that sends one request after the other sees thresholds take effect
// exactly, also where a success stands between.
func TestThresholdsAreExact(t *testing.T) {
	l := newLab(t, nil)
	for round := range 3 {
		for i := range 5 {
			l.attempt(broken)
			want := health.Healthy
			if i >= 2 {
				want = health.Degraded
			}
			if v := l.view(); v.State != want || v.ConsecutiveFailures != i+1 {
				t.Fatalf("round %d, failure %d: %+v", round, i+1, v.View)
			}
		}
		for range 12 { // so that the ratio rule stays quiet
			l.attempt(well)
		}
	}
	l.breakDown()
	if v := l.view(); v.State != health.Excluded {
		t.Errorf("%+v", v.View)
	}
}

// All is out: one trial, the rest wait for its verdict.
func TestPanicRule(t *testing.T) {
	panics := func(d *health.Departure) { d.For = health.AskPanic }
	for name, verdict := range map[string]struct {
		do     func(*lab, health.Pass)
		let    int // how many of the waiters leave
		reason string
	}{
		"good":          {func(l *lab, p health.Pass) { l.Ended(p, well) }, 5, ""},
		"first content": {func(l *lab, p health.Pass) { l.Spoke(p) }, 5, ""},
		"bad":           {func(l *lab, p health.Pass) { l.Ended(p, broken) }, 0, "excluded"},
		"none in time":  {func(l *lab, p health.Pass) { l.settle(11 * time.Second) }, 0, "excluded"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, nil)
				l.breakDown()
				trial, err := l.leave(panics)
				if err != nil || trial.For != health.AskPanic {
					t.Fatalf("%+v %v", trial, err)
				}
				var let atomic.Int32
				var wg sync.WaitGroup
				for range 5 {
					wg.Go(func() {
						p, err := l.leave(panics, func(d *health.Departure) { d.RampWait = 30 * time.Second })
						if err != nil {
							if refusedFor(err) != verdict.reason {
								t.Error(err)
							}
							return
						}
						let.Add(1)
						l.Ended(p, well)
					})
				}
				l.settle(time.Second)
				if v := l.view(); v.Queued != 5 || v.InFlight != 1 {
					t.Errorf("queued %d, in flight %d", v.Queued, v.InFlight)
				}
				verdict.do(l, trial)
				wg.Wait()
				if n := int(let.Load()); n != verdict.let {
					t.Errorf("%d left", n)
				}
				if v := l.view(); v.Queued != 0 {
					t.Errorf("%d are still queued", v.Queued)
				}
				if name == "bad" {
					if _, err := l.leave(panics); refusedFor(err) != "excluded" {
						t.Errorf("a trial right after one that failed: %v", err)
					}
					l.settle(5 * time.Second)
					p, err := l.leave(panics)
					if err != nil {
						t.Fatal(err)
					}
					l.Ended(p, gone)
				}
				if name == "first content" || name == "none in time" {
					l.Ended(trial, well)
				}
			})
		})
	}
}

// A limit is a queue in the order of arrival, with an end.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, func(_ *Config, s *Settings) {
			s.Providers[0].Limits = Limits{Concurrency: 2, Queue: 2, QueueWait: 30 * time.Second}
		})
		waits := func(d *health.Departure) { d.SlotWait = 30 * time.Second }
		a, _ := l.leave()
		b, _ := l.leave()
		if _, err := l.leave(); refusedFor(err) != "busy" {
			t.Fatalf("over the limit: %v", err)
		}
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				p, err := l.leave(waits)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				l.Ended(p, well)
			})
			l.settle(time.Second)
		}
		if _, err := l.leave(waits); refusedFor(err) != "busy" {
			t.Errorf("the queue is full: %v", err)
		}
		l.Ended(a, well)
		wg.Wait()
		if !slices.Equal(order, []int{0, 1}) {
			t.Errorf("order %v", order)
		}
		c, _ := l.leave()
		began := time.Now()
		if _, err := l.leave(waits); refusedFor(err) != "busy" || time.Since(began) != 30*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		d := departure()
		d.SlotWait = 30 * time.Second
		if _, err := l.Leave(ctx, d); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller that went away: %v", err)
		}
		l.settle(0)
		if v := l.view(); v.Queued != 0 || v.InFlight != 2 {
			t.Errorf("queued %d, in flight %d", v.Queued, v.InFlight)
		}
		l.Ended(b, well)
		l.Ended(c, well)
	})
}

// A provider that is back gets little at first, and a cancel decides nothing.
func TestRamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil)
		l.breakDown()
		if _, changed, err := l.Restore(t.Context(), "local", "mended"); err != nil || !changed {
			t.Fatal(changed, err)
		}
		for _, limit := range []int{1, 2, 4} {
			var passes []health.Pass
			for range limit {
				p, err := l.leave()
				if err != nil {
					t.Fatalf("limit %d: %v", limit, err)
				}
				passes = append(passes, p)
			}
			if _, err := l.leave(); refusedFor(err) != "ramping" {
				t.Fatalf("over the limit of %d: %v", limit, err)
			}
			for _, p := range passes[1:] {
				l.Ended(p, gone)
			}
			l.Ended(passes[0], well)
		}
		if v := l.view(); v.Phase != health.NoPhase {
			t.Errorf("%+v", v.View)
		}
	})
}

// A probe is no more than it claims, and finds what it should.
func TestProbeDepths(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(*lab)
		depth   health.Depth
		ok      bool
		ended   health.Depth
	}{
		{"well", func(*lab) {}, health.DepthGeneration, true, health.DepthGeneration},
		{"models alone", func(*lab) {}, health.DepthModels, true, health.DepthModels},
		{"refused", func(l *lab) { l.up.Outage(fake.Refused()) }, health.DepthGeneration, false, health.DepthLiveness},
		{"any answer is life", func(l *lab) { l.up.Outage(fake.ServerError()) }, health.DepthLiveness, true, health.DepthLiveness},
		{"and no health", func(l *lab) { l.up.Outage(fake.ServerError()) }, health.DepthGeneration, false, health.DepthModels},
		{"loading", func(l *lab) { l.up.Outage(fake.Loading()) }, health.DepthGeneration, false, health.DepthModels},
		{"another model", func(l *lab) { l.lists("other") }, health.DepthGeneration, false, health.DepthModels},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, nil)
			tt.prepare(l)
			r, _, _, err := l.Probe(t.Context(), "local", tt.depth, false)
			if err != nil || r.OK != tt.ok || r.Depth != tt.ended {
				t.Errorf("%+v %v", r, err)
			}
			if n := len(l.up.Calls()); n > 0 && tt.depth != health.DepthGeneration {
				t.Errorf("it generated")
			}
		})
	}
}

// lists makes the provider's model one that its server does not list.
func (l *lab) lists(string) {
	s := settings(l.up)
	s.Providers[0].Model = "no-such-model"
	l.Apply(s)
}

func TestPaidIsNeverProbedUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, func(_ *Config, s *Settings) {
			s.AllowPaid = true
			s.Providers[0].Price = drey.Paid
			s.Continuous = Continuous{Active: true, Interval: time.Minute, Timeout: time.Second}
		})
		l.breakDown()
		l.settle(time.Hour)
		if n := len(l.up.Requests()); n != 0 {
			t.Errorf("%d requests that nobody asked for", n)
		}
		if live := l.Live("main", "local"); !live.Trial {
			t.Errorf("it does not return by trial: %+v", live)
		}
		if _, _, _, err := l.Probe(t.Context(), "local", health.DepthGeneration, false); !errors.Is(err, ErrPaidGate) {
			t.Error(err)
		}
		trial, err := l.leave(func(d *health.Departure) { d.For = health.AskTrial })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.leave(func(d *health.Departure) { d.For = health.AskTrial }); refusedFor(err) != "excluded" {
			t.Errorf("a second trial: %v", err)
		}
		l.Ended(trial, well)
		if v := l.view(); v.State != health.Healthy {
			t.Errorf("%+v", v.View)
		}
	})
}

func TestOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil)
		ctx := t.Context()
		if _, _, err := l.Exclude(ctx, "nobody", "", 0); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if _, _, err := l.Restart(ctx, "local", ""); !errors.Is(err, ErrNothingToRestart) {
			t.Error(err)
		}
		if v, changed, err := l.Exclude(ctx, "local", "a bad day", time.Hour); err != nil || !changed || v.State != health.Excluded {
			t.Error(v, changed, err)
		}
		if _, changed, _ := l.Exclude(ctx, "local", "a bad day", time.Hour); changed {
			t.Error("the same again is a change")
		}
		if _, err := l.leave(func(d *health.Departure) { d.For = health.AskPanic }); refusedFor(err) != "excluded" {
			t.Errorf("panic overrides a person: %v", err)
		}
		l.settle(time.Hour)
		if v := l.view(); v.State != health.Healthy {
			t.Errorf("%+v", v.View)
		}
	})
}

// Drain cuts what is left at its timeout, and says how many that were.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil)
		ctx, cut := context.WithCancelCause(t.Context())
		defer cut(nil)
		long, _ := l.leave(func(d *health.Departure) { d.Cut = cut })
		short, _ := l.leave()
		time.AfterFunc(10*time.Second, func() { l.Ended(short, well) })
		context.AfterFunc(ctx, func() { l.Ended(long, gone) })
		began := time.Now()
		v, changed, killed, err := l.Drain(t.Context(), "local", "", 30*time.Second)
		if err != nil || !changed || killed != 1 || v.InFlight != 0 || time.Since(began) != 30*time.Second {
			t.Errorf("%+v %v killed %d after %s: %v", v.View, changed, killed, time.Since(began), err)
		}
		if e, ok := errors.AsType[*drey.Error](context.Cause(ctx)); !ok || e.Class != drey.Cancel || e.Hint == "" {
			t.Errorf("the caller is told %v", context.Cause(ctx))
		}
		l.settle(time.Second)
		if got := l.names(); !slices.Equal(got, []string{"operator-action", "self-healing-exclude", "provider-drained"}) {
			t.Errorf("%v", got)
		}
	})
}

// What was known survives, and the probes go on.
func TestResumption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		first := newLab(t, j)
		first.breakDown()
		first.attemptParks()
		first.settle(40 * time.Second)
		was := first.view()
		first.stop()

		second := newLab(t, j)
		second.up.Outage(fake.ServerError())
		now := second.view()
		if now.State != health.Excluded || now.Phase != health.Probing || now.ConsecutiveFailures != was.ConsecutiveFailures ||
			!now.ExcludedAt.Equal(was.ExcludedAt.Truncate(time.Microsecond)) || now.Interval != was.Interval || now.ParkedReason != health.ParkQuota {
			t.Errorf("was %+v\nnow %+v", was.View, now.View)
		}
		second.up.Restore()
		second.settle(time.Until(now.NextProbeAt) + 2*time.Second)
		if v := second.view(); v.State != health.Healthy || v.Phase != health.Ramping {
			t.Errorf("%+v", v.View)
		}
		if got := second.names(); !slices.Equal(got, []string{"self-healing-restore", "backend-health-changed", "self-healing-recovery-probe"}) {
			t.Errorf("%v", got)
		}
		second.stop()

		third := newLab(t, j, func(_ *Config, s *Settings) { s.Providers, s.Profiles = nil, nil })
		third.settle(time.Second)
		if got := third.names(); !slices.Equal(got, []string{"health-state-dropped"}) {
			t.Errorf("%v", got)
		}
	})
}

// attemptParks has an excluded provider parked by another profile's traffic.
func (l *lab) attemptParks() {
	l.t.Helper()
	p, err := l.leave(func(d *health.Departure) { d.Profile, d.Action = "patient", health.ActionWarn })
	if err != nil {
		l.t.Fatal(err)
	}
	l.Ended(p, health.Ending{Class: drey.Auth, Park: health.ParkQuota, RetryAfter: time.Hour})
}

// Counts below 2N survive a stop that was asked for.
func TestCountsSurviveAStop(t *testing.T) {
	j := &journal{}
	l := newLab(t, j)
	for range 4 {
		l.attempt(broken)
	}
	l.Quiet()
	l.attempt(broken)
	l.stop()
	next := newLab(t, j)
	if v := next.view(); v.State != health.Degraded || v.ConsecutiveFailures != 5 {
		t.Errorf("%+v", v.View)
	}
}

// New settings keep what is known of the same backend, and forget another's.
func TestApply(t *testing.T) {
	l := newLab(t, nil)
	l.breakDown()
	same := settings(l.up)
	same.Providers[0].Probe.Initial = time.Minute
	l.Apply(same)
	if v := l.view(); v.State != health.Excluded {
		t.Errorf("the same backend: %+v", v.View)
	}
	warns := settings(l.up)
	warns.Profiles[0].Action = health.ActionWarn
	l.Apply(warns)
	if v := l.view(); v.State != health.Unhealthy {
		t.Errorf("nobody excludes any more: %+v", v.View)
	}
	other := settings(l.up)
	other.Providers[0].URL = "http://elsewhere.test/v1"
	l.Apply(other)
	if v := l.view(); v.State != health.Healthy || v.Attempts != 0 {
		t.Errorf("another backend: %+v", v)
	}
	flying, _ := l.leave()
	l.Apply(Settings{})
	if _, ok := l.View("local"); ok {
		t.Error("it is still there")
	}
	l.Ended(flying, broken)
	if _, err := l.leave(); err != nil {
		t.Errorf("a request of the old configuration: %v", err)
	}
}

// Continuous probing counts as attempts do, and leaves those alone that work.
func TestContinuousProbing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, func(_ *Config, s *Settings) {
			s.Continuous = Continuous{Active: true, Interval: time.Minute, Timeout: time.Second}
		})
		time.Sleep(30 * time.Second)
		l.attempt(well)
		l.settle(31 * time.Second)
		if n := len(l.up.Requests()); n != 0 {
			t.Errorf("one that works was probed")
		}
		l.settle(time.Minute)
		if n := len(l.up.Calls()); n != 1 {
			t.Errorf("%d probes after a round", n)
		}
		l.Rest(Asleep)
		l.settle(10 * time.Minute)
		l.Rest(Awake)
		if n := len(l.up.Calls()); n != 1 {
			t.Errorf("probed in sleep")
		}
		l.up.Outage(fake.ServerError())
		l.settle(6 * time.Minute)
		if v := l.view(); v.State != health.Excluded {
			t.Errorf("%+v", v.View)
		}
		var told []string
		l.mu.Lock()
		for _, ev := range l.told {
			told = append(told, ev.Name)
		}
		l.mu.Unlock()
		if !slices.Contains(told, "probe-completed") || !slices.Contains(told, "probe-round-completed") {
			t.Errorf("%v", told)
		}
	})
}

// A slow provider goes back within its price, and not too often.
func TestAdaptiveOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, func(_ *Config, s *Settings) {
			base := s.Providers[0]
			s.Providers = nil
			for _, id := range []drey.ProviderID{"slow", "fast", "third", "dear"} {
				p := base
				p.ID = id
				if id == "dear" {
					p.Price = drey.Paid
				}
				s.Providers = append(s.Providers, p)
			}
			s.Profiles = []Profile{{ID: "main", Adaptive: true, Chain: []drey.ProviderID{"slow", "fast", "third", "dear"}}}
		})
		serve := func(id drey.ProviderID, first time.Duration) {
			p, err := l.leave(func(d *health.Departure) { d.Provider = id })
			if err != nil {
				t.Fatal(err)
			}
			l.Ended(p, health.Ending{OK: true, FirstToken: first, Tokens: 1000})
			l.settle(2 * time.Second)
		}
		for range 4 {
			serve("slow", 3*time.Second)
			serve("fast", time.Second)
			serve("third", 1200*time.Millisecond)
		}
		if d := l.Live("main", "slow").Demerits; d != 1 {
			t.Errorf("the slow one has %d demerits", d)
		}
		if d := l.Live("other", "slow").Demerits; d != 0 {
			t.Errorf("in another profile %d", d)
		}
		var orders []string
		l.mu.Lock()
		for _, ev := range l.told {
			if ev.Name == "adaptive-order" {
				orders = append(orders, strings.Join(strings.Fields(strings.Trim(cmp.Diff("", ev.Fields[2].Value), " ")), " "))
			}
		}
		l.mu.Unlock()
		if len(orders) != 1 {
			t.Errorf("%d changes of order", len(orders))
		}
	})
}
