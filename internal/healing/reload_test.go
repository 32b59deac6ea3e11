package healing

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
)

// A provider leaves the configuration, or ceases to be a process, while one of
// its answers is under way and a request waits: who waits is told at once, the
// answer ends as it began, and then the process goes.
func TestAProcessLeavesTheConfiguration(t *testing.T) {
	for name, change := range map[string]func(Settings) Settings{
		"the provider leaves": func(Settings) Settings { return Settings{} },
		"it is no process any more": func(s Settings) Settings {
			p := s.Providers[0]
			p.Process = nil
			s.Providers = []Provider{p}
			return s
		},
		"it has another group": func(s Settings) Settings {
			p := s.Providers[0]
			q := *p.Process
			q.Group = "another"
			p.Process = &q
			s.Providers = []Provider{p}
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				room := &machineRoom{}
				l := newLab(t, nil, managed(room, "a", "b"))
				long, err := l.leave(waits, to("b"))
				if err != nil {
					t.Fatal(err)
				}
				answered := make(chan error, 1)
				go func() { // a's turn comes when b has been READY for a while
					_, err := l.leave(waits, to("a"))
					answered <- err
				}()
				l.settle(time.Second)
				was := *l.table.Load().settings
				without := was
				without.Providers = was.Providers[1:]
				without.Profiles = []Profile{{ID: "main", Chain: []drey.ProviderID{"b"}}}
				l.Apply(without)
				synctest.Wait()
				select {
				case err := <-answered:
					if refusedFor(err) != "excluded" {
						t.Errorf("who waits is told %v", err)
					}
				default:
					t.Fatal("who waits is told nothing")
				}
				l.Apply(change(without))
				l.settle(time.Minute)
				if len(room.running) != 1 {
					t.Errorf("its answer was cut")
				}
				l.Ended(long, well)
				l.settle(5 * time.Second)
				if len(room.running) != 0 {
					t.Errorf("its process is left")
				}
			})
		})
	}
}

// Another model is another process: who waits for it waits on.
func TestAnotherModelIsAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := &machineRoom{}
		l := newLab(t, nil, managed(room, "local"))
		other := func(model string) {
			s := *l.table.Load().settings
			p := s.Providers[0]
			p.Model = model
			s.Providers = []Provider{p}
			l.Apply(s)
		}
		passes := make(chan health.Pass, 1)
		go func() {
			p, err := l.leave(waits)
			if err != nil {
				t.Error(err)
			}
			passes <- p
		}()
		l.settle(5 * time.Second)
		other("second")
		p := <-passes
		if room.starts != 2 {
			t.Errorf("%d starts", room.starts)
		}
		other("third")
		l.settle(time.Second)
		if len(room.running) != 1 {
			t.Error("an answer was cut")
		}
		l.Ended(p, well)
		p, err := l.leave(waits)
		if err != nil || room.starts != 3 {
			t.Errorf("%v after %d starts", err, room.starts)
		}
		l.Ended(p, well)
	})
}

// An attempt of a provider that left and came back belongs to the one that left.
func TestAProviderComesBack(t *testing.T) {
	l := newLab(t, nil)
	was := *l.table.Load().settings
	old, err := l.leave()
	if err != nil {
		t.Fatal(err)
	}
	l.Apply(Settings{})
	l.Apply(was)
	l.Ended(old, health.Ending{Class: drey.RateLimit, Park: health.ParkRateLimit})
	if v := l.view(); v.InFlight != 0 || v.Attempts != 0 || !v.ParkedUntil.IsZero() {
		t.Errorf("%+v", v)
	}
	if rows := l.journal.snapshots["provider"]; len(rows) != 0 {
		t.Errorf("saved %v", rows)
	}
}

// A process whose only request is refused at the last moment is idle, and is
// unloaded in time: what follows from an effect is stepped after it.
func TestIdleAfterARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := &machineRoom{}
		l := newLab(t, nil, managed(room, "local"), func(_ *Config, s *Settings) { s.Providers[0].Process.Policy.TTL = time.Minute })
		refused := make(chan error, 1)
		go func() {
			_, err := l.leave(waits)
			refused <- err
		}()
		l.settle(5 * time.Second)
		if _, _, err := l.Exclude(t.Context(), "local", "", 0); err != nil {
			t.Fatal(err)
		}
		if err := <-refused; refusedFor(err) != "excluded" {
			t.Errorf("%v", err)
		}
		synctest.Wait() // who is refused hears of it before the view is drawn anew
		if v := l.view(); v.Queued != 0 {
			t.Errorf("%d are queued", v.Queued)
		}
		l.settle(61 * time.Second)
		if len(room.running) != 0 {
			t.Error("it is not unloaded")
		}
	})
}

// What is shown of a queue is what is so, also when a wait is over and nothing
// else changes.
func TestQueuedIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := &machineRoom{load: func() time.Duration { return time.Hour }}
		l := newLab(t, nil, managed(room, "local"), func(_ *Config, s *Settings) { s.Providers[0].Process.Policy.QueueWait = 10 * time.Second })
		refused := make(chan error, 1)
		go func() {
			_, err := l.leave(waits)
			refused <- err
		}()
		l.settle(5 * time.Second)
		if v := l.view(); v.Queued != 1 {
			t.Errorf("%d are queued", v.Queued)
		}
		if err := <-refused; refusedFor(err) != "loading" || time.Since(l.start) != 10*time.Second {
			t.Errorf("%v after %s", err, time.Since(l.start))
		}
		synctest.Wait()
		if v := l.view(); v.Queued != 0 || v.Process.State != health.Starting {
			t.Errorf("%d are queued, %s", v.Queued, v.Process.State)
		}
	})
}

// Out of memory counts against the process that ran out, not against its
// successor.
func TestMemoryOfAnEarlierRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := &machineRoom{}
		l := newLab(t, nil, managed(room, "local"))
		first, err := l.leave(waits)
		if err != nil {
			t.Fatal(err)
		}
		room.crash("local")
		l.settle(15 * time.Second)
		if v := l.view(); v.State != health.Healthy || room.starts != 2 {
			t.Fatalf("%+v, %d starts", v.View, room.starts)
		}
		oom := health.Ending{Class: drey.Resource, Counts: true}
		l.Ended(first, oom)
		l.settle(time.Second)
		if v := l.view(); v.Process.State != health.Ready {
			t.Errorf("%s", v.Process.State)
		}
		second, err := l.leave(waits)
		if err != nil {
			t.Fatal(err)
		}
		l.Ended(second, oom)
		l.settle(time.Second)
		if v := l.view(); v.Process.State == health.Ready || v.State != health.Excluded {
			t.Errorf("%s %s", v.Process.State, v.State)
		}
		l.settle(30 * time.Second)
		if v := l.view(); v.State != health.Healthy || room.starts != 3 {
			t.Errorf("%+v, %d starts", v.View, room.starts)
		}
	})
}

// Adaptive order forgets a profile that is not adaptive any more.
func TestRankIsForgotten(t *testing.T) {
	l := newLab(t, nil, func(_ *Config, s *Settings) { s.Profiles[0].Adaptive = true })
	for range 5 {
		p, err := l.leave(func(d *health.Departure) { d.Profile, d.Action = "main", health.ActionWarn })
		if err != nil {
			t.Fatal(err)
		}
		l.Ended(p, broken)
	}
	l.wait(func() { // ranks are computed once in a while; here at once
		s := *l.table.Load()
		for _, r := range l.rivalry {
			r.looked = time.Time{}
			r.seen--
		}
		l.rankProfile(&s, &s.settings.Profiles[0], time.Now())
	})
	if d := l.Live("main", "local").Demerits; d != 2 {
		t.Fatalf("%d demerits", d)
	}
	l.Apply(settings(l.up))
	if d := l.Live("main", "local").Demerits; d != 0 || len(l.rivalry) != 0 {
		t.Errorf("%d demerits, %d rivalries", d, len(l.rivalry))
	}
}
