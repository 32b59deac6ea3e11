package healing

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/process"
)

// move is one thing that happens to a Keeper: what, to whom, and how.
type move struct{ what, who, how int }

// game plays moves against a Keeper with every kind of provider, and knows what
// must be so after each.
type game struct {
	*lab
	room    *machineRoom
	ids     []drey.ProviderID
	asks    []*asking
	passes  []health.Pass
	pending int // operators that wait
	still   bool
	fault   string
}

// asking is a request that waits for its answer.
type asking struct {
	cancel context.CancelFunc
	done   bool
}

// base are the settings that the game starts and ends with.
func (g *game) base() Settings {
	s := settings(g.up)
	p := s.Providers[0]
	p.Probe.Initial, p.Probe.Max, p.Ramp = 5*time.Second, 40*time.Second, 10*time.Second
	p.PanicWait = 4 * time.Second
	s.Providers, g.ids = nil, nil
	add := func(id drey.ProviderID, change func(*Provider)) {
		q := p
		q.ID = id
		change(&q)
		s.Providers, g.ids = append(s.Providers, q), append(g.ids, id)
	}
	proc := func(id drey.ProviderID) *Process {
		m := health.DefaultMemberPolicy(id)
		m.BackoffCap, m.Queue, m.QueueWait = 3, 4, 30*time.Second
		return &Process{Group: "gpu", Policy: m, Spec: process.Spec{Command: []string{"serve"}}, Drain: 3 * time.Second}
	}
	add("a", func(q *Provider) { q.Process = proc("a"); q.Process.Policy.TTL = 20 * time.Second })
	add("b", func(q *Provider) {
		q.Process, q.Limits = proc("b"), Limits{Concurrency: 2, Queue: 2}
		q.Process.Policy.Eager = true
	})
	add("mended", func(q *Provider) {
		q.Restart = &Restart{Text: "mend", Argv: []string{"mend"}, Drain: 3 * time.Second, Settle: time.Second}
	})
	add("slim", func(q *Provider) { q.Limits = Limits{Concurrency: 1, Queue: 3} })
	add("dear", func(q *Provider) { q.Price = drey.Paid })
	s.AllowPaid = true
	s.Profiles = []Profile{{ID: "main", Chain: g.ids}, {ID: "adaptive", Action: health.ActionDemote, Adaptive: true, Chain: g.ids}}
	s.Groups = []Group{{Name: "gpu", Resident: 1, SwapWait: 8 * time.Second, MinResident: 4 * time.Second}}
	s.Continuous = Continuous{Active: true, Interval: 15 * time.Second, Timeout: time.Second}
	return s
}

// changed are other settings.
func (g *game) changed(who, how int) Settings {
	s := g.base()
	p := &s.Providers[who]
	switch how % 5 {
	case 0: // it leaves
		s.Providers = append(s.Providers[:who:who], s.Providers[who+1:]...)
		for i := range s.Profiles {
			chain := s.Profiles[i].Chain
			s.Profiles[i].Chain = append(chain[:who:who], chain[who+1:]...)
		}
	case 1:
		p.Process = nil
	case 2:
		p.Model = "another"
	case 3:
		s.Profiles[0].Action = health.ActionWarn
	}
	return s
}

func (g *game) play(m move) {
	id := g.ids[m.who]
	ctx := g.t.Context()
	switch m.what {
	case 0, 1, 2, 3, 4:
		g.ask(id, m.how)
	case 5, 6, 7:
		g.end(m.how)
	case 8:
		g.mu.Lock()
		open := slices.Clone(g.passes)
		g.mu.Unlock()
		if len(open) > 0 {
			g.Spoke(open[m.how%len(open)])
		}
	case 9:
		if len(g.asks) > 0 {
			g.asks[m.how%len(g.asks)].cancel()
		}
	case 10:
		g.room.crash(id)
	case 11:
		g.person(func() {
			switch m.how % 5 {
			case 0:
				_, _, _ = g.Exclude(ctx, id, "", time.Duration(m.how%7)*5*time.Second)
			case 1:
				_, _, _ = g.Restore(ctx, id, "")
			case 2:
				_, _, _ = g.Restart(ctx, id, "")
			case 3:
				_, _, _, _ = g.Drain(ctx, id, "", time.Duration(m.how%9)*time.Second)
			case 4:
				_, _, _, _ = g.Probe(ctx, id, health.Depth(m.how%3), m.how%2 == 0)
			}
		})
	case 12:
		g.Apply(g.changed(m.who, m.how))
	case 13:
		g.Apply(g.base())
	case 14:
		g.Rest(Rest(m.how % 3))
	case 15:
		if m.how%4 == 0 {
			g.still = true
			g.Quiet()
		} else if m.how%4 == 1 {
			g.still = true
			if err := g.Settle(ctx); err != nil {
				g.bad("settle: %v", err)
			}
			if n := len(g.room.running); n != 0 {
				g.bad("%d processes run although all is settled", n)
			}
		} else {
			g.Resume()
			g.still = false
		}
	case 16:
		if m.how%2 == 0 {
			g.up.Outage([]fake.Behaviour{fake.ServerError(), fake.Loading(), fake.Refused(), fake.Silent()}[m.how/2%4])
		} else {
			g.up.Restore()
		}
	default:
		time.Sleep(time.Duration(m.how) * 300 * time.Millisecond) // the bubble's clock
	}
	synctest.Wait()
	g.look()
}

// person has an operator act, who may have to wait.
func (g *game) person(act func()) {
	g.mu.Lock()
	g.pending++
	g.mu.Unlock()
	go func() {
		act()
		g.mu.Lock()
		g.pending--
		g.mu.Unlock()
	}()
}

func (g *game) ask(id drey.ProviderID, how int) {
	ctx, cancel := context.WithCancel(g.t.Context())
	a := &asking{cancel: cancel}
	d := health.Departure{
		Provider: id, Profile: "main", For: health.Ask(how % 4 % 3), Revived: how%5 == 0, RampWait: time.Duration(how%3) * 4 * time.Second,
		SlotWait: time.Duration(how%4) * 6 * time.Second, Cut: func(error) {},
	}
	if how%7 == 0 {
		d.Profile, d.Action = "adaptive", health.ActionDemote
	}
	g.asks = append(g.asks, a)
	go func() {
		p, err := g.Leave(ctx, d)
		g.mu.Lock()
		defer g.mu.Unlock()
		a.done = true
		if err == nil {
			g.passes = append(g.passes, p)
		}
	}()
}

// end ends one of the attempts under way, if there is one.
func (g *game) end(how int) bool {
	g.mu.Lock()
	n := len(g.passes)
	if n == 0 {
		g.mu.Unlock()
		return false
	}
	p := g.passes[how%n]
	g.passes = append(g.passes[:how%n:how%n], g.passes[how%n+1:]...)
	g.mu.Unlock()
	g.Ended(p, []health.Ending{
		well, broken, broken, gone, broken, {Class: drey.RateLimit, Park: health.ParkRateLimit}, {Class: drey.Resource, Counts: true, Park: health.ParkResource},
		{OK: true, FirstToken: time.Duration(how) * time.Second, Tokens: 900}, {Class: drey.Silence, Counts: true},
	}[how%9])
	return true
}

func (g *game) bad(format string, args ...any) {
	if g.fault == "" {
		g.fault = fmt.Sprintf(format, args...)
	}
}

// look checks what is so whenever nothing happens.
func (g *game) look() {
	g.wait(func() {
		for _, s := range g.table.Load().order {
			m, v := &s.m, s.view()
			switch {
			case v.Queued != s.queued():
				g.bad("%s: %d wait, the view says %d", s.id, s.queued(), v.Queued)
			case v.InFlight < 0 || v.InFlight > m.InFlight():
				g.bad("%s: %d are under way, the machine knows %d", s.id, v.InFlight, m.InFlight())
			case v.State != m.State || v.Phase != m.Phase || v.Trial != m.Trial || v.RampLimit != m.RampLimit:
				g.bad("%s: the view is stale: %+v", s.id, v.View)
			case len(s.batches) > 0:
				g.bad("%s: commits are open", s.id)
			}
			if m.State == health.Excluded && m.By != health.ByOperator && !g.still {
				g.healed(s)
			}
		}
		for name, gr := range g.groups {
			if gr.stepping || len(gr.todo) > 0 {
				g.bad("group %s has events that are not stepped", name)
			}
			for i := range gr.g.Members {
				p := &gr.g.Members[i]
				moves := !gr.due.IsZero() || p.State == health.Starting || p.State == health.Stopping || len(p.Uses) > 0
				if len(p.Waiters) > 0 && !moves {
					g.bad("%s: %d wait and nothing happens", p.Provider, len(p.Waiters))
				}
				if s := g.Keeper.seat(p.Provider); s != nil && groupName(s.provider) == name && s.view().Process.State != p.State {
					g.bad("%s: the view says %s, it is %s", p.Provider, s.view().Process.State, p.State)
				}
			}
		}
	})
}

// healed checks that somebody looks after a provider that is out.
func (g *game) healed(s *seat) {
	m := &s.m
	switch m.Phase {
	case health.Draining:
		if s.due.IsZero() {
			g.bad("%s drains for ever", s.id)
		}
	case health.Probing:
		if s.due.IsZero() && m.ProbeN == 0 && m.Trial == health.NoTrial {
			g.bad("%s has no timer, probe or trial", s.id)
		}
	case health.Restarting:
		if !s.policy.Managed {
			if g.restarting == 0 {
				g.bad("%s waits for a restart that does not run", s.id)
			}
			return
		}
		p := g.groups[groupName(s.provider)].member(s.id)
		switch {
		case p == nil || p.State == health.Ready && p.Yield == health.NoStop || p.State == health.CrashLoop || p.State == health.Stopped && p.WantedAt.IsZero() && len(p.Waiters) == 0:
			g.bad("%s waits for a process that does not start: %+v", s.id, p)
		}
	}
}

// finish lets everything go well until nobody waits, and stops.
func (g *game) finish() {
	g.up.Restore()
	g.Resume()
	g.still = false
	g.Rest(Awake)
	g.Apply(g.base())
	for _, id := range g.ids {
		g.person(func() { _, _, _ = g.Restore(g.t.Context(), id, "") })
	}
	for range 60 { // longer than anything is configured to take
		synctest.Wait()
		for g.end(0) {
			synctest.Wait()
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		g.look()
	}
	g.mu.Lock()
	for i, a := range g.asks {
		if !a.done {
			g.bad("request %d of %d has no answer", i, len(g.asks))
		}
		a.cancel()
	}
	if g.pending > 0 {
		g.bad("%d operators wait", g.pending)
	}
	g.mu.Unlock()
	g.wait(func() {
		for _, s := range g.table.Load().order {
			if s.m.InFlight() != 0 || s.inFlight.Load() != 0 || len(s.cuts)+len(s.uses)+s.queued() != 0 {
				g.bad("%s: %d under way, %d counted, %d cuts, %d uses, %d queued", s.id, s.m.InFlight(), s.inFlight.Load(), len(s.cuts), len(s.uses), s.queued())
			}
			if s.m.State == health.Excluded && !s.policy.Managed && !s.policy.NoProbe {
				g.bad("%s is out after all that time: %+v", s.id, s.m.View())
			}
		}
		for _, gr := range g.groups {
			for i := range gr.g.Members {
				if p := &gr.g.Members[i]; len(p.Uses)+len(p.Waiters) != 0 {
					g.bad("%s: %d uses, %d waiters", p.Provider, len(p.Uses), len(p.Waiters))
				}
			}
		}
	})
	if g.room.most > 1 {
		g.bad("%d processes at once", g.room.most)
	}
	g.stop()
	if len(g.room.running) != 0 {
		g.bad("%d processes are left", len(g.room.running))
	}
}

// No interleaving of requests, idle times, crashes, swaps, acts of a person, new
// settings, sleep and called-off hibernation wedges a Keeper: every request is
// answered, every provider that is out is looked after, what is shown is what is
// so, and in the end nothing is left.
func TestNoInterleavingWedges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		moves := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) move {
			return move{rapid.IntRange(0, 20).Draw(rt, "what"), rapid.IntRange(0, 4).Draw(rt, "who"), rapid.IntRange(0, 62).Draw(rt, "how")}
		}), 15, 50).Draw(rt, "moves")
		var fault string
		synctest.Test(t, func(t *testing.T) { fault = playAll(t, moves) })
		if fault != "" {
			rt.Fatal(fault)
		}
	})
}

func playAll(t *testing.T, moves []move) string {
	room := &machineRoom{running: map[drey.ProviderID]*puppet{}}
	loads := 0
	room.load = func() time.Duration { loads++; return time.Duration(loads%4) * 2 * time.Second }
	g := &game{room: room}
	g.lab = newLab(t, nil, func(c *Config, s *Settings) {
		c.Start = room.start
		c.Run = func(ctx context.Context, _ process.Command) process.Result {
			select {
			case <-time.After(2 * time.Second):
				return process.Result{OK: true, Duration: 2 * time.Second}
			case <-ctx.Done():
				return process.Result{Error: "stopped"}
			}
		}
		*s = Settings{}
	})
	g.Apply(g.base())
	var trace strings.Builder
	for _, m := range moves {
		g.play(m)
		fmt.Fprintf(&trace, "%v ", m)
		if g.fault != "" {
			break
		}
	}
	if g.fault == "" {
		g.finish()
	} else { // answer everybody, or the bubble never ends
		for _, a := range g.asks {
			a.cancel()
		}
		g.stop()
	}
	if g.fault != "" {
		return g.fault + "\nafter " + trace.String()
	}
	return ""
}
