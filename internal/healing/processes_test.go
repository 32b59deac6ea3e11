package healing

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/process"
)

// machineRoom starts processes that are none.
type machineRoom struct {
	load func() time.Duration // how long the next one takes until it is ready

	mu      sync.Mutex
	running map[drey.ProviderID]*puppet
	most    int // at once
	starts  int
}

// puppet is a process that is none.
type puppet struct {
	room  *machineRoom
	id    drey.ProviderID
	pid   int
	ready time.Time

	once sync.Once
	done chan struct{}
	exit process.Exit
}

func (r *machineRoom) start(s process.Spec) (Backend, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running[s.Name] != nil {
		panic("two processes of one provider")
	}
	r.starts++
	p := &puppet{room: r, id: s.Name, pid: 1000 + r.starts, ready: time.Now().Add(r.load()), done: make(chan struct{})}
	r.running[s.Name] = p
	r.most = max(r.most, len(r.running))
	return p, nil
}

func (r *machineRoom) crash(id drey.ProviderID) {
	r.mu.Lock()
	p := r.running[id]
	r.mu.Unlock()
	if p != nil {
		p.end(process.Exit{Code: 3})
	}
}

func (p *puppet) end(e process.Exit) {
	p.once.Do(func() {
		p.room.mu.Lock()
		delete(p.room.running, p.id)
		p.room.mu.Unlock()
		p.exit = e
		close(p.done)
	})
}

func (p *puppet) PID() int                   { return p.pid }
func (p *puppet) Port() int                  { return 8000 + p.pid }
func (p *puppet) Identity() process.Identity { return process.Identity{PID: p.pid, PGID: p.pid} }
func (p *puppet) Done() <-chan struct{}      { return p.done }
func (p *puppet) Wait() process.Exit         { <-p.done; return p.exit }
func (p *puppet) Ready(ctx context.Context) error {
	wait := time.Until(p.ready)
	if wait <= 0 {
		return ctx.Err() // no timer that is due at once: see the sleep of internal/fake
	}
	select {
	case <-time.After(wait):
		return nil
	case <-p.done:
		return process.ErrExited
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *puppet) Stop(ctx context.Context, grace time.Duration) error {
	p.end(process.Exit{Asked: true})
	return nil
}

// managed makes the lab's providers processes of one group.
func managed(r *machineRoom, ids ...drey.ProviderID) option {
	r.running = map[drey.ProviderID]*puppet{}
	if r.load == nil {
		r.load = func() time.Duration { return 10 * time.Second }
	}
	return func(c *Config, s *Settings) {
		c.Start = r.start
		base := s.Providers[0]
		s.Providers, s.Profiles[0].Chain = nil, ids
		for _, id := range ids {
			p := base
			p.ID = id
			p.Process = &Process{Group: "gpu", Policy: health.DefaultMemberPolicy(id)}
			s.Providers = append(s.Providers, p)
		}
		s.Groups = []Group{{Name: "gpu", Resident: 1, SwapWait: 30 * time.Second, MinResident: 10 * time.Second}}
	}
}

func to(id drey.ProviderID) func(*health.Departure) {
	return func(d *health.Departure) { d.Provider = id }
}

// Who does not wait starts the process and goes elsewhere; who waits leaves
// when it is READY; idle for its ttl it is unloaded.
func TestWakeAndUnload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := &machineRoom{}
		l := newLab(t, nil, managed(room, "local"), func(_ *Config, s *Settings) { s.Providers[0].Process.Policy.TTL = time.Minute })
		if _, err := l.leave(); refusedFor(err) != "loading" {
			t.Errorf("%v", err)
		}
		began := time.Now()
		p, err := l.leave(waits)
		if err != nil || time.Since(began) != 10*time.Second || p.Port == 0 || p.Waited != 10*time.Second {
			t.Errorf("%+v %v after %s", p, err, time.Since(began))
		}
		l.settle(5 * time.Minute) // a long answer is use
		l.Ended(p, well)
		l.settle(50 * time.Second)
		if v := l.view(); v.Process.State != health.Ready || v.Process.IdleSince.IsZero() {
			t.Errorf("%+v", v.Process)
		}
		l.settle(20 * time.Second)
		if v := l.view(); v.Process.State == health.Ready || v.State != health.Healthy || len(room.running) != 0 {
			t.Errorf("%+v %+v", v.View, v.Process)
		}
		if room.starts != 1 {
			t.Errorf("%d starts", room.starts)
		}
	})
}

// Two models that do not fit together take turns, and nobody is forgotten.
func TestSwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := &machineRoom{}
		l := newLab(t, nil, managed(room, "a", "b"))
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				p, err := l.leave(waits, to([]drey.ProviderID{"a", "b"}[i%2]))
				if err != nil {
					t.Error(err)
					return
				}
				l.settleAlone(time.Second)
				l.Ended(p, well)
			})
		}
		wg.Wait()
		if room.most != 1 || room.starts != 2 {
			t.Errorf("%d at once, %d starts", room.most, room.starts)
		}
	})
}

func (l *lab) settleAlone(d time.Duration) {
	if d <= 0 {
		return // no timer that is due at once: see the sleep of internal/fake
	}
	select {
	case <-time.After(d):
	case <-l.t.Context().Done():
	}
}

// A request that finds nothing but a process on its way up waits for it, as a
// trial of it.
func TestARequestWaitsForARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := &machineRoom{}
		l := newLab(t, nil, managed(room, "local"))
		p, _ := l.leave(waits)
		room.crash("local")
		l.Ended(p, health.Ending{Class: drey.Transport, Counts: true})
		l.settle(100 * time.Millisecond)
		if live := l.Live("main", "local"); !live.Queues {
			t.Errorf("%+v", live)
		}
		began := time.Now()
		p, err := l.leave(waits, func(d *health.Departure) { d.Revived = true })
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 10*time.Second || took > 12*time.Second {
			t.Errorf("after %s", took)
		}
		l.Ended(p, well)
		l.settle(time.Second)
		if v := l.view(); v.State != health.Healthy {
			t.Errorf("%+v", v.View)
		}
	})
}

// Whatever happens in whatever order: every request is answered, every pass
// comes back, nothing runs twice and nothing is left.
func TestNothingIsLost(t *testing.T) {
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { chaos(t, seed) })
		})
	}
}

func chaos(t *testing.T, seed uint64) {
	var mu sync.Mutex
	source := rand.New(rand.NewPCG(seed, 1))
	upTo := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return source.IntN(n)
	}
	var runs []process.Command
	room := &machineRoom{load: func() time.Duration { return time.Duration(upTo(20)) * time.Second }}
	l := newLab(t, nil, managed(room, "a", "b"), func(c *Config, s *Settings) {
		s.Providers[0].Process.Policy.TTL = 20 * time.Second
		s.Providers[1].Limits = Limits{Concurrency: 2, Queue: 4}
		plain := s.Providers[0]
		plain.ID, plain.Process = "local", nil
		limited := plain
		limited.ID, limited.Limits = "limited", Limits{Concurrency: 1, Queue: 3}
		s.Providers = append(s.Providers, plain, limited)
		for i := range s.Providers {
			s.Profiles[0].Chain = append(s.Profiles[0].Chain, s.Providers[i].ID)
		}
	}, func(c *Config, s *Settings) {
		rest := slices.Clone(s.Providers)
		s.Providers = []Provider{rest[2]}
		mends(3*time.Second, "", &runs)(c, s)
		s.Providers = append(s.Providers, rest[0], rest[1], rest[3])
	})
	ids := []drey.ProviderID{"a", "b", "local", "limited"}
	endings := []health.Ending{well, well, broken, broken, gone, {Class: drey.RateLimit, Park: health.ParkRateLimit}, {Class: drey.Resource, Counts: true}}
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				d := health.Departure{
					Provider: ids[upTo(4)], Profile: "main", For: health.Ask(upTo(3)), Revived: upTo(4) == 0,
					SlotWait: time.Duration(upTo(3)) * 10 * time.Second, RampWait: time.Duration(upTo(2)) * 5 * time.Second,
				}
				ask, cancel := context.WithTimeout(ctx, time.Duration(1+upTo(40))*time.Second)
				p, err := l.Leave(ask, d)
				if err == nil {
					l.settleAlone(time.Duration(upTo(2000)) * time.Millisecond)
					if p.Trial() && upTo(2) == 0 {
						l.Spoke(p)
					}
					l.Ended(p, endings[upTo(len(endings))])
				}
				cancel()
				l.settleAlone(time.Duration(upTo(3000)) * time.Millisecond)
			}
		})
	}
	wg.Go(func() { // a person and bad luck
		for ctx.Err() == nil {
			id := ids[upTo(4)]
			switch upTo(7) {
			case 0:
				room.crash(id)
			case 1:
				_, _, _ = l.Exclude(ctx, id, "", time.Duration(upTo(20))*time.Second)
			case 2:
				_, _, _ = l.Restore(ctx, id, "")
			case 3:
				_, _, _ = l.Restart(ctx, id, "")
			case 4:
				_, _, _, _ = l.Drain(ctx, id, "", time.Duration(upTo(5))*time.Second)
			case 5:
				l.Apply(*l.table.Load().settings)
			case 6:
				_, _, _, _ = l.Probe(ctx, id, health.DepthModels, false)
			}
			l.settleAlone(time.Duration(upTo(8000)) * time.Millisecond)
		}
	})
	wg.Wait()
	l.settle(time.Second)
	l.wait(func() {
		for _, s := range l.table.Load().order {
			if n := s.m.InFlight(); n != 0 || s.inFlight.Load() != 0 || len(s.cuts) != 0 {
				t.Errorf("%s: %d under way, %d counted, %d cuts", s.id, n, s.inFlight.Load(), len(s.cuts))
			}
			if len(s.line)+len(s.jury)+len(s.wants) != 0 {
				t.Errorf("%s: %d in line, %d for a verdict, %d for a process", s.id, len(s.line), len(s.jury), len(s.wants))
			}
			if m := &s.m; m.State == health.Excluded && m.By != health.ByOperator && m.Phase == health.Probing && s.due.IsZero() && m.ProbeN == 0 && m.Trial == health.NoTrial {
				t.Errorf("%s is out and nobody looks after it: %+v", s.id, m.View())
			}
		}
		for _, g := range l.groups {
			for _, m := range g.g.Members {
				if len(m.Uses)+len(m.Waiters) != 0 {
					t.Errorf("%s: %d uses, %d waiters", m.Provider, len(m.Uses), len(m.Waiters))
				}
			}
		}
	})
	if room.most > 1 {
		t.Errorf("%d processes at once", room.most)
	}
	l.stop()
	if len(room.running) != 0 {
		t.Errorf("%d processes are left", len(room.running))
	}
}
