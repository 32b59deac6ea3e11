package health

import (
	"slices"
	"time"
)

// schedule brings the group from what was asked of it to what is done. The
// branches are numbered as in GroupStep.
func (s *groupStep) schedule() {
	for i := range s.g.Members { // 1
		if m := &s.g.Members[i]; m.State == Ready && m.Yield != NoStop && len(m.Uses) == 0 && m.Yield != StopSwap {
			s.stop(m, m.Yield)
		}
	}
	if s.g.Closed {
		return
	}
	wanted, held, leaving := s.g.demand(s.meta.At)
	for len(wanted) > 0 && held < s.p.resident() { // 2
		s.start(wanted[0])
		wanted, held = wanted[1:], held+1
	}
	short := len(wanted) + max(held-s.p.resident(), 0) - leaving
	// Over the limit after a reload, members go without anybody waiting.
	for i := 0; short > 0; i, short = i+1, short-1 { // 3
		since := s.meta.At.Add(-s.p.SwapWait)
		if at := leaving + i; at < len(wanted) {
			since = wanted[at].oldest()
		}
		victim, stop := s.victim(since)
		if victim == nil {
			break
		}
		if stop {
			s.stop(victim, StopSwap)
		} else {
			victim.Yield = StopSwap
		}
	}
	for ; short < 0; short++ { // 4
		m := s.g.latestYield()
		if m == nil {
			break
		}
		m.Yield = NoStop
		s.serve(m)
	}
	for i := range s.g.Members { // 1, for those that yield to somebody
		if m := &s.g.Members[i]; m.State == Ready && m.Yield == StopSwap && len(m.Uses) == 0 {
			s.stop(m, StopSwap)
		}
	}
}

// demand returns who is wanted and has no process, oldest want first; how many
// processes hold memory; and how many of these are on their way out.
func (g *Group) demand(now time.Time) (wanted []*Member, held, leaving int) {
	for i := range g.Members {
		m := &g.Members[i]
		if m.State == Stopped && !m.Gone && !m.oldest().IsZero() {
			wanted = append(wanted, m)
		}
		switch {
		case m.State == Stopping, m.State == Settling, m.State == Ready && m.Yield != NoStop, m.fading(now):
			held++
			leaving++
		case m.State.resident():
			held++
		}
	}
	slices.SortStableFunc(wanted, func(a, b *Member) int { return a.oldest().Compare(b.oldest()) })
	return wanted, held, leaving
}

// fading reports whether a process that ended unasked may still hold memory.
func (m *Member) fading(now time.Time) bool {
	return (m.State == Backoff || m.State == CrashLoop) && now.Sub(m.GoneAt) < settleTime
}

func (s *groupStep) start(m *Member) {
	m.Run++
	m.State, m.StartedAt, m.PID = Starting, s.meta.At, 0
	m.ReadyAt, m.UsedAt = time.Time{}, time.Time{}
	s.do(Start{Provider: m.Provider, Run: m.Run})
}

// victim returns who makes room for a request that waits since a time: an idle
// member at once (stop), else the least recently used one that has been READY
// long enough, if the request has waited long enough.
func (s *groupStep) victim(since time.Time) (m *Member, stop bool) {
	var ready []*Member
	for i := range s.g.Members {
		if m := &s.g.Members[i]; m.State == Ready && m.Yield == NoStop {
			ready = append(ready, m)
		}
	}
	slices.SortStableFunc(ready, func(a, b *Member) int { return a.UsedAt.Compare(b.UsedAt) })
	for _, m := range ready {
		if m.idle() {
			return m, true
		}
	}
	if s.meta.At.Sub(since) < s.p.SwapWait {
		return nil, false
	}
	for _, m := range ready {
		if s.meta.At.Sub(m.ReadyAt) >= s.p.MinResident {
			return m, false
		}
	}
	return nil, false
}

// latestYield returns the member that yields to somebody and was used last.
func (g *Group) latestYield() *Member {
	var last *Member
	for i := range g.Members {
		m := &g.Members[i]
		if m.State == Ready && m.Yield == StopSwap && (last == nil || m.UsedAt.After(last.UsedAt)) {
			last = m
		}
	}
	return last
}

// due returns when the group next wants a GroupTick; zero if it does not.
func (g *Group) due(now time.Time, p *GroupPolicy) time.Time {
	var due time.Time
	at := func(t time.Time) {
		if due.IsZero() || t.Before(due) {
			due = t
		}
	}
	for i := range g.Members {
		m := &g.Members[i]
		mp, _ := p.member(m.Provider)
		if len(m.Waiters) > 0 {
			at(m.Waiters[0].At.Add(mp.QueueWait))
		}
		switch {
		case m.State == Settling:
			at(m.GoneAt.Add(settleTime))
		case m.State == Backoff, m.State == CrashLoop:
			at(m.RetryAt)
			if m.fading(now) {
				at(m.GoneAt.Add(settleTime))
			}
		case m.idle() && mp.TTL > 0:
			at(m.UsedAt.Add(mp.TTL))
		}
	}
	if g.Closed {
		return due
	}
	wanted, held, leaving := g.demand(now)
	short := len(wanted) + max(held-p.resident(), 0) - leaving
	if short <= 0 || leaving > len(wanted) {
		return due
	}
	// The next swap: when its request has waited, and a member been READY,
	// long enough.
	var swap time.Time
	if leaving < len(wanted) {
		swap = wanted[leaving].oldest().Add(p.SwapWait)
	}
	var ready time.Time
	for _, m := range g.Members {
		if t := m.ReadyAt.Add(p.MinResident); m.State == Ready && m.Yield == NoStop && (ready.IsZero() || t.Before(ready)) {
			ready = t
		}
	}
	if swap = later(swap, ready); !ready.IsZero() && swap.After(now) {
		at(swap)
	}
	return due
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
