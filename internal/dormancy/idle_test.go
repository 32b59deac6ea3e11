package dormancy

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
)

// pass lets time go by and everything that happens in it happen.
func pass(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

// work is a request that takes so long.
func (l *lab) work(d time.Duration) {
	end := l.owner.Begin()
	time.Sleep(d)
	end()
}

func TestNobodyComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, nil).start()
		pass(5*time.Minute - 1)
		l.want(lifecycle.Wake)
		pass(1)
		l.want(lifecycle.Drowsy)
		pass(25*time.Minute - 1)
		l.want(lifecycle.Drowsy)
		pass(1)
		l.want(lifecycle.Sleep)
		pass(18 * time.Second) // six steps of three chunks
		l.want(lifecycle.Hibernation)
		if !l.gone() || !errors.Is(l.close(), ErrHibernated) {
			t.Fatalf("Serve: %v, want ErrHibernated", l.err)
		}
		if diff := cmp.Diff([]string{"pause", "settle"}, l.doors.seen()); diff != "" {
			t.Error(diff)
		}
		want := []string{
			"daemon_started", "WAKE>DROWSY idle_5min", "DROWSY>SLEEP idle_30min", "sleep_cycle_started sleep",
			"sleep_step_started checkpoint", "sleep_step_completed checkpoint", "sleep_step_started retention", "sleep_step_completed retention",
			"sleep_step_started rollup", "sleep_step_completed rollup", "sleep_step_started verify", "sleep_step_completed verify",
			"sleep_step_started backup", "sleep_step_completed backup", "sleep_step_started optimize", "sleep_step_completed optimize",
			"sleep_cycle_completed sleep", "SLEEP>HIBERNATION sleep_cycle_done",
		}
		if diff := cmp.Diff(want, l.disk.story()); diff != "" {
			t.Error(diff)
		}
		var logged []string
		for _, line := range l.disk.log {
			logged = append(logged, line.Event)
		}
		if diff := cmp.Diff(logged, l.shown); diff != "" { // the log and its other readers agree
			t.Error(diff)
		}
		if diff := cmp.Diff([]lifecycle.State{lifecycle.Wake, lifecycle.Drowsy, lifecycle.Sleep, lifecycle.Hibernation}, l.moves); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAClientThatCallsEveryFourMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, nil).start()
		saves := 0
		for range 72 * 15 {
			l.work(2 * time.Second)
			pass(4*time.Minute - 2*time.Second)
			l.want(lifecycle.Wake)
			l.disk.set(func(d *disk) { saves = d.saves })
		}
		r := l.disk.look()
		if r.LastCycle == nil || r.LastCycle.Mode != lifecycle.ModeBackstop {
			t.Fatalf("last cycle %+v, want a backstop", r.LastCycle)
		}
		if n := l.disk.count(lifecycle.EventCycleCompleted); n != 1 { // at 36 h; the next one is due 36 h after its end
			t.Errorf("%d cycles in 72 h, want 1", n)
		}
		if limit := 72 * 15 * 2; saves > limit+40 {
			t.Errorf("%d saves, want about %d: two per call", saves, limit)
		}
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestADaemonThatIsNeverQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, nil)
		l.steps.chunks, l.steps.each = 100, 50*time.Millisecond
		l.start()
		end := l.owner.Begin()
		pass(44*time.Hour - time.Second)
		if n := l.steps.runs.Load(); n != 0 {
			t.Fatalf("%d steps ran although something was in flight", n)
		}
		pass(time.Hour)
		if n := l.disk.count(lifecycle.EventCycleCompleted); n != 1 {
			t.Fatalf("%d cycles, want 1: %q", n, l.disk.story())
		}
		// 30 s of work in slices of two chunks, with rests of 900 ms between.
		if took := l.disk.look().LastCycle.DurationSec; took < 280 || took > 305 {
			t.Errorf("the cycle took %v s beside the work, want about 294", took)
		}
		l.want(lifecycle.Wake)
		end()
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
}

// TestWritesOfABusyDaemon holds the figure of the contract's §10: 1,000 calls a
// second cause at most one write per 30 s.
func TestWritesOfABusyDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, nil).start()
		synctest.Wait()
		for range 60 * 1000 {
			end := l.owner.Begin()
			time.Sleep(time.Millisecond)
			end()
		}
		synctest.Wait()
		l.disk.set(func(d *disk) {
			if d.saves > 3 { // at 0, 30 and 60 s
				t.Errorf("%d saves in a minute, want at most 3", d.saves)
			}
		})
		if r := l.disk.look(); r.Seq < 2 {
			t.Errorf("wrapper_event_seq is %d: nothing was recorded", r.Seq)
		}
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
}

// TestTheLastWorkIsRecorded: the end of the last work is on disk before the
// daemon grows drowsy, and idleness counts from it.
func TestTheLastWorkIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, func(c *Config) { c.Policy.ActivityFlush = 20 * time.Minute }).start()
		l.work(time.Second)
		l.work(3 * time.Minute)
		at := time.Now()
		pass(5*time.Minute - 1)
		l.want(lifecycle.Wake)
		pass(1)
		l.want(lifecycle.Drowsy)
		if got := l.disk.look().LastActivity; !got.Equal(at) {
			t.Errorf("last activity %v, want %v", got, at)
		}
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestOnlyScrapesAndIdleLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, nil).start()
		start := time.Now()
		for !l.gone() && time.Since(start) < time.Hour {
			l.disk.set(func(d *disk) { d.leases = []statedir.Lease{{Path: "idle", LastRefresh: time.Now()}} })
			l.notify()
			l.owner.Status() // what a scrape reads
			pass(10 * time.Second)
		}
		if took := time.Since(start); !l.gone() || took > 31*time.Minute {
			t.Errorf("hibernated after %v: %v", took, l.disk.story())
		}
		if err := l.close(); !errors.Is(err, ErrHibernated) {
			t.Error(err)
		}
	})
}

func TestAnActiveLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, nil).start()
		refresh := func() {
			l.disk.set(func(d *disk) {
				d.leases = []statedir.Lease{{Path: "busy", LastRefresh: time.Now(), Active: true}}
			})
			l.notify()
		}
		for range 120 { // an hour
			refresh()
			pass(30 * time.Second)
			l.want(lifecycle.Wake)
		}
		last := time.Now().Add(-30 * time.Second)
		pass(4*time.Minute + 30*time.Second - 1)
		l.want(lifecycle.Wake)
		pass(1) // five minutes after the last refresh
		l.want(lifecycle.Drowsy)
		if got := l.disk.look().LastActivity; !got.Equal(last) {
			t.Errorf("last activity %v, want %v", got, last)
		}
		refresh() // in DROWSY it wakes
		pass(0)
		l.want(lifecycle.Wake)
		pass(30 * time.Minute)
		l.want(lifecycle.Sleep)
		refresh() // in SLEEP it holds HIBERNATION back, and nothing else
		pass(30*time.Minute - 1)
		l.want(lifecycle.Sleep)
		if n := l.disk.count(lifecycle.EventCycleCompleted); n != 1 {
			t.Errorf("%d cycles, want 1", n)
		}
		pass(1)
		l.want(lifecycle.Hibernation)
		if err := l.close(); !errors.Is(err, ErrHibernated) {
			t.Error(err)
		}
	})
}

// TestASteppedClock: the clock jumps by a day in every state, and nothing
// happens sooner or later for it.
func TestASteppedClock(t *testing.T) {
	for _, step := range []time.Duration{24 * time.Hour, -24 * time.Hour} {
		for _, at := range []time.Duration{time.Second, 4 * time.Minute, 6 * time.Minute, 29 * time.Minute, 30*time.Minute + 5*time.Second, 40 * time.Minute} {
			t.Run(fmt.Sprintf("%v at %v", step, at), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLab(t, nil, func(c *Config) { c.Policy.HibernateAfter = time.Hour }).start()
					start := time.Now()
					go func() {
						time.Sleep(at)
						l.skew.Store(int64(step))
						l.owner.Recheck()
					}()
					for _, c := range []struct {
						at   time.Duration
						want lifecycle.State
					}{
						{5*time.Minute - 1, lifecycle.Wake}, {5 * time.Minute, lifecycle.Drowsy},
						{30*time.Minute - 1, lifecycle.Drowsy}, {30 * time.Minute, lifecycle.Sleep},
						{time.Hour - 1, lifecycle.Sleep}, {time.Hour, lifecycle.Hibernation},
					} {
						pass(c.at - time.Since(start))
						if got := l.state(); got != c.want {
							t.Fatalf("after %v: %v, want %v", c.at, got, c.want)
						}
					}
					if n := l.disk.count(lifecycle.EventCycleCompleted); step < 0 && n != 1 {
						t.Errorf("%d cycles, want 1", n)
					}
					if err := l.close(); !errors.Is(err, ErrHibernated) {
						t.Error(err)
					}
				})
			})
		}
	}
}

// TestRestartAtEveryBoundary: a restart neither resets idleness nor invents it,
// wherever it happens.
func TestRestartAtEveryBoundary(t *testing.T) {
	var at []time.Duration
	for _, b := range []time.Duration{0, time.Minute, 5 * time.Minute, 30 * time.Minute, 30*time.Minute + 9*time.Second, 30*time.Minute + 18*time.Second, 40 * time.Minute} {
		at = append(at, max(0, b-1), b, b+1, b+time.Second)
	}
	for _, at := range slices.Compact(at) {
		t.Run(at.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				policy := func(c *Config) { c.Policy.HibernateAfter = time.Hour }
				l := newLab(t, nil, policy).start()
				start := time.Now()
				pass(at)
				before := l.disk.look()
				if err := l.close(); err != nil {
					t.Fatal(err)
				}
				if after := l.disk.look(); after.State != before.State || !after.Since.Equal(before.Since) {
					t.Fatalf("a stop moved the state: %v to %v", before.State, after.State)
				}
				l = newLab(t, l.disk, policy).start()
				l.want(before.State)
				// For a minute after the start nothing happens by itself.
				grace := at + time.Minute
				for _, c := range []struct {
					due  time.Duration
					want lifecycle.State
				}{{5 * time.Minute, lifecycle.Drowsy}, {30 * time.Minute, lifecycle.Sleep}, {time.Hour, lifecycle.Hibernation}} {
					if c.due <= at {
						continue
					}
					due := max(c.due, grace)
					pass(due - 1 - time.Since(start))
					if got := l.state(); got == c.want {
						t.Fatalf("%v before %v", c.want, due)
					}
					pass(1)
					l.want(c.want)
				}
				if n := l.disk.count(lifecycle.EventCycleCompleted); n != 1 {
					t.Errorf("%d cycles, want 1: %q", n, l.disk.story())
				}
				if err := l.close(); !errors.Is(err, ErrHibernated) {
					t.Error(err)
				}
			})
		})
	}
}
