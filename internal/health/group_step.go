package health

import (
	"slices"
	"time"

	"github.com/dreyhq/drey"
)

// Reasons of Refuse by a group; words of provider-skipped.
const (
	refusedLoading   = "loading"    // the queue is full, or the wait was too long
	refusedCrashLoop = "crash-loop" // the process is given up for now
	refusedStopped   = "stopped"    // a person stopped it
	refusedUnknown   = "unknown"    // no member of the group, or not any more
	refusedShutdown  = "shutdown"
)

// GroupStep returns the group that follows g when ev happens under p, and what
// the shell is asked to do about it, in order. It is total, and it changes
// nothing that it was given.
//
// It does three things. First it applies the event to its member. Then it
// schedules the group (schedule): numbered there
//
//  1. a member that yields and has no answers under way stops;
//  2. members that are wanted start while there is room, oldest want first;
//  3. where there is no room, somebody who is idle stops at once; else, after
//     swap_wait and min_resident, the least recently used one yields;
//  4. who yields for nobody goes on.
//
// Last it arms the timer for whatever is due next.
func GroupStep(g Group, ev GroupEvent, p GroupPolicy) (Group, []Effect) {
	s := groupStep{g: g.clone(), p: &p}
	for _, mp := range p.Members {
		if s.g.member(mp.Provider) == nil {
			s.g.Members = append(s.g.Members, Member{Provider: mp.Provider})
		}
	}
	tick := s.apply(ev)
	s.schedule()
	s.g.Members = slices.DeleteFunc(s.g.Members, func(m Member) bool { return m.Gone && m.State == Stopped })
	due := s.g.due(s.meta.At, s.p)
	switch {
	case due.IsZero() && !s.g.timer.IsZero():
		s.do(CancelTimer{})
	case !due.IsZero() && (tick || !due.Equal(s.g.timer)):
		s.do(ArmTimer{At: due})
	}
	s.g.timer = due
	return s.g, s.out
}

func (g Group) clone() Group {
	g.Members = slices.Clone(g.Members)
	for i := range g.Members {
		m := &g.Members[i]
		m.Waiters, m.Uses, m.Exits = slices.Clone(m.Waiters), slices.Clone(m.Uses), slices.Clone(m.Exits)
	}
	return g
}

// groupStep is one call of GroupStep.
type groupStep struct {
	g    Group
	p    *GroupPolicy
	meta GroupMeta
	out  []Effect
}

func (s *groupStep) do(e Effect) { s.out = append(s.out, e) }

// apply applies the event to its member. It reports whether it was a tick.
func (s *groupStep) apply(ev GroupEvent) (tick bool) {
	switch ev := ev.(type) {
	case GroupOpened:
		s.meta = ev.GroupMeta
		s.opened()
	case Want:
		s.meta = ev.GroupMeta
		s.want(ev.Token, ev.NoWait)
	case Cancelled:
		s.meta = ev.GroupMeta
		if m := s.g.member(ev.Token.Provider); m != nil {
			m.Waiters = slices.DeleteFunc(m.Waiters, func(w Waiter) bool { return w.Token.N == ev.Token.N })
			s.ended(m, ev.Token.N)
		}
	case Ended:
		s.meta = ev.GroupMeta
		if m := s.g.member(ev.Token.Provider); m != nil {
			s.ended(m, ev.Token.N)
		}
	case Started:
		s.meta = ev.GroupMeta
		if m := s.run(ev.Provider, ev.Run, Starting); m != nil {
			m.PID = ev.PID
			s.emit("process-started", m, drey.F("pid", ev.PID), drey.F("port", ev.Port))
		}
	case BecameReady:
		s.meta = ev.GroupMeta
		if m := s.run(ev.Provider, ev.Run, Starting); m != nil {
			s.ready(m)
		}
	case Exited:
		s.meta = ev.GroupMeta
		s.exited(ev)
	case ProcStopped:
		s.meta = ev.GroupMeta
		if m := s.run(ev.Provider, ev.Run, Stopping); m != nil {
			s.stopped(m)
		}
	case StartFailed:
		s.meta = ev.GroupMeta
		s.exited(Exited{Provider: ev.Provider, Run: ev.Run, Code: -1, OOM: ev.OOM})
	case RanOutOfMemory:
		s.meta = ev.GroupMeta
		if m := s.run(ev.Provider, ev.Run, Ready); m != nil {
			s.do(Tell{m.Provider, ProcessExited{Meta: s.forProvider()}})
			s.stop(m, StopMemory)
		}
	case GroupTick:
		s.meta = ev.GroupMeta
		s.tick()
		return true
	case StartAsked:
		s.meta = ev.GroupMeta
		if m := s.g.member(ev.Provider); m != nil && !m.Gone && !s.g.Closed && m.State != Ready && m.State != Starting {
			s.again(m)
			m.WantedAt = s.meta.At
		}
	case StopAsked:
		s.meta = ev.GroupMeta
		if m := s.g.member(ev.Provider); m != nil {
			s.halt(m, StopOperator, refusedStopped)
		}
	case RestartAsked:
		s.meta = ev.GroupMeta
		if m := s.g.member(ev.Provider); m != nil && !m.Gone { // in a closed group it waits for GroupResumed
			s.again(m)
			m.WantedAt = s.meta.At
			if m.State == Ready || m.State == Starting {
				s.stop(m, StopOperator)
			}
		}
	case Replaced:
		s.meta = ev.GroupMeta
		if m := s.g.member(ev.Provider); m != nil && !m.Gone && !s.g.Closed {
			s.replaced(m)
		}
	case GroupChanged:
		s.meta = ev.GroupMeta
		for i := range s.g.Members {
			m := &s.g.Members[i]
			_, ok := s.p.member(m.Provider)
			if m.Gone = !ok; m.Gone {
				s.halt(m, StopPolicy, refusedUnknown)
			}
		}
	case GroupShutdown:
		s.meta = ev.GroupMeta
		s.shutdown()
	case GroupResumed:
		s.meta = ev.GroupMeta
		s.g.Closed = false
	}
	return false
}

// run returns the member if it is in that state in that run: else the event is
// of a process that is history.
func (s *groupStep) run(id drey.ProviderID, run uint64, state ProcState) *Member {
	if m := s.g.member(id); m != nil && m.Run == run && m.State == state {
		return m
	}
	return nil
}

// opened starts eager members while there is room.
func (s *groupStep) opened() {
	room := s.p.resident()
	for _, m := range s.g.Members {
		if m.State.resident() {
			room--
		}
	}
	for _, mp := range s.p.Members {
		m := s.g.member(mp.Provider)
		if !mp.Eager || !m.WantedAt.IsZero() || s.g.Closed {
			continue
		}
		switch {
		case m.State == Settling: // it has its room already
			m.WantedAt = s.meta.At
		case m.State == Stopped && room > 0:
			m.WantedAt = s.meta.At
			room--
		}
	}
}

// want grants, queues or refuses one request.
func (s *groupStep) want(t Token, noWait bool) {
	m := s.g.member(t.Provider)
	mp, ok := s.p.member(t.Provider)
	switch {
	case s.g.Closed:
		s.refuse(t, refusedShutdown)
	case m == nil || !ok || m.Gone:
		s.refuse(t, refusedUnknown)
	case slices.Contains(m.Uses, t.N) || slices.ContainsFunc(m.Waiters, func(w Waiter) bool { return w.Token.N == t.N }):
		// asked twice: the first one holds
	case m.State == CrashLoop:
		s.refuse(t, refusedCrashLoop)
	case m.State == Ready && m.Yield == NoStop:
		s.grant(m, t)
	case noWait || len(m.Waiters) >= mp.Queue:
		if m.State == Stopped && m.WantedAt.IsZero() {
			m.WantedAt = s.meta.At // without a queue a request starts it and goes elsewhere
		}
		s.refuse(t, refusedLoading)
	default:
		m.Waiters = append(m.Waiters, Waiter{Token: t, At: s.meta.At})
	}
}

func (s *groupStep) refuse(t Token, reason string) { s.do(Refuse{Token: t, Reason: reason}) }

func (s *groupStep) grant(m *Member, t Token) {
	m.Uses = append(m.Uses, t.N)
	m.UsedAt = s.meta.At
	s.do(Grant{Token: t})
}

// ended ends a use; what is none changes nothing.
func (s *groupStep) ended(m *Member, n uint64) {
	if i := slices.Index(m.Uses, n); i >= 0 {
		m.Uses = slices.Delete(m.Uses, i, i+1)
		m.UsedAt = s.meta.At
	}
}

// ready grants all who waited, in the order of their arrival.
func (s *groupStep) ready(m *Member) {
	m.State, m.ReadyAt, m.UsedAt, m.WantedAt = Ready, s.meta.At, s.meta.At, time.Time{}
	s.emit("process-ready", m, drey.F("pid", m.PID), drey.F("load_ms", s.meta.At.Sub(m.StartedAt).Milliseconds()))
	s.do(Tell{m.Provider, ProcessReady{Meta: s.forProvider()}})
	s.serve(m)
}

func (s *groupStep) serve(m *Member) {
	for _, w := range m.Waiters {
		s.grant(m, w.Token)
	}
	m.Waiters = nil
}

// exited ends a run. Unasked it counts as a crash.
func (s *groupStep) exited(ev Exited) {
	m := s.g.member(ev.Provider)
	if m == nil || m.Run != ev.Run {
		return
	}
	switch m.State {
	case Stopping:
		s.stopped(m)
	case Starting, Ready:
		s.emit("process-exited", m, drey.F("pid", m.PID), drey.F("exit_code", ev.Code), drey.F("signal", ev.Signal),
			drey.F("oom", ev.OOM), drey.F("uptime_s", tenths(max(s.meta.At.Sub(m.StartedAt), 0))))
		if m.Gone || s.g.Closed {
			s.do(Tell{m.Provider, ProcessUnloaded{Meta: s.forProvider()}})
			m.State, m.GoneAt = Settling, s.meta.At
			m.Uses, m.Yield, m.ReadyAt = nil, NoStop, time.Time{}
			return
		}
		s.do(Tell{m.Provider, ProcessExited{Meta: s.forProvider()}})
		s.crashed(m)
	}
}

// crashed is an unasked exit: BACKOFF, or CRASHLOOP if there were too many.
func (s *groupStep) crashed(m *Member) {
	mp, _ := s.p.member(m.Provider)
	if !m.ReadyAt.IsZero() && s.meta.At.Sub(m.ReadyAt) >= mp.BackoffReset {
		s.again(m)
	}
	m.Fails++
	m.GoneAt = s.meta.At
	m.Exits = slices.DeleteFunc(append(m.Exits, s.meta.At), func(t time.Time) bool {
		return s.meta.At.Sub(t) > mp.BackoffWithin
	})
	m.Uses, m.Yield, m.Asked, m.WantedAt, m.ReadyAt = nil, NoStop, NoStop, time.Time{}, time.Time{}
	if m.Looping || mp.BackoffCap > 0 && len(m.Exits) >= mp.BackoffCap {
		m.State, m.Looping, m.RetryAt = CrashLoop, true, s.meta.At.Add(loopPause)
		s.emit("process-crash-loop", m, drey.F("pid", m.PID), drey.F("exits", m.Fails))
		s.do(Tell{m.Provider, ProcessLooped{Meta: s.forProvider(), Error: "crash loop"}})
		s.turnAway(m, refusedCrashLoop)
		return
	}
	m.State, m.RetryAt = Backoff, s.meta.At.Add(max(mp.backoff(m.Fails), settleTime))
}

// again forgets the exits: a long READY, or a person who knows better.
func (s *groupStep) again(m *Member) {
	m.Fails, m.Exits, m.Looping = 0, nil, false
	if m.State == Backoff || m.State == CrashLoop {
		m.State, m.RetryAt = Stopped, time.Time{}
	}
}

func (s *groupStep) turnAway(m *Member, reason string) {
	for _, w := range m.Waiters {
		s.refuse(w.Token, reason)
	}
	m.Waiters = nil
}

// stop emits Stop. Requests that come from now on wait for the next start.
func (s *groupStep) stop(m *Member, reason StopReason) {
	m.State, m.Asked, m.Yield = Stopping, reason, NoStop
	s.do(Stop{Provider: m.Provider, Run: m.Run, Reason: reason})
}

// stopped is the end of a Stop.
func (s *groupStep) stopped(m *Member) {
	idle := time.Duration(0)
	if !m.UsedAt.IsZero() {
		idle = max(s.meta.At.Sub(m.UsedAt), 0)
	}
	s.emit("process-unloaded", m, drey.F("pid", m.PID), drey.F("idle_s", tenths(idle)), drey.F("reason", m.Asked.String()))
	if m.Asked == StopMemory && !m.Gone && !s.g.Closed { // settle, then start with backoff
		s.crashed(m)
		return
	}
	if m.Asked != StopMemory {
		s.do(Tell{m.Provider, ProcessUnloaded{Meta: s.forProvider()}})
	}
	m.State, m.GoneAt, m.Asked, m.Uses, m.ReadyAt = Settling, s.meta.At, NoStop, nil, time.Time{}
}

// halt takes a member down: who waits is refused, answers
// under way may end, and nothing starts it but a new Want or a person.
func (s *groupStep) halt(m *Member, reason StopReason, refusal string) {
	s.turnAway(m, refusal)
	if reason == StopOperator && m.State != Ready { // whoever waits for a restart must not wait for ever
		s.do(Tell{m.Provider, ProcessLooped{Meta: s.forProvider(), Error: "stopped by a person"}})
	}
	m.WantedAt = time.Time{}
	switch m.State {
	case Ready:
		m.Yield = reason
	case Starting:
		s.stop(m, reason)
	case Backoff, CrashLoop:
		m.State, m.RetryAt = Stopped, time.Time{}
	}
}

// shutdown stops everybody. Who was on its way up without a request is wanted
// again if the stop is called off: its provider's Machine waits for it.
func (s *groupStep) shutdown() {
	if s.g.Closed {
		return
	}
	s.g.Closed = true
	for i := range s.g.Members {
		m := &s.g.Members[i]
		coming := !m.WantedAt.IsZero() || m.State == Backoff || m.State == Stopping && m.Asked == StopMemory
		s.halt(m, StopShutdown, refusedShutdown)
		if m.State == Ready {
			s.stop(m, StopShutdown)
		}
		if coming && !m.Gone {
			m.WantedAt = s.meta.At
		}
	}
}

// replaced has the process of an old configuration make way for one of the new:
// answers under way may end, and who waits goes on waiting.
func (s *groupStep) replaced(m *Member) {
	if mp, _ := s.p.member(m.Provider); mp.Eager && m.State != Stopped {
		m.WantedAt = s.meta.At
	}
	switch m.State {
	case Ready:
		m.Yield = StopPolicy
	case Starting:
		s.stop(m, StopPolicy)
	case Backoff, CrashLoop: // the new one has not failed yet
		s.again(m)
	}
}

// tick ends waits, settling, pauses and idleness that have lasted long enough.
func (s *groupStep) tick() {
	at := s.meta.At
	for i := range s.g.Members {
		m := &s.g.Members[i]
		mp, _ := s.p.member(m.Provider)
		for len(m.Waiters) > 0 && at.Sub(m.Waiters[0].At) >= mp.QueueWait {
			s.refuse(m.Waiters[0].Token, refusedLoading)
			m.Waiters = m.Waiters[1:]
		}
		switch {
		case m.State == Settling && at.Sub(m.GoneAt) >= settleTime:
			m.State, m.GoneAt, m.PID = Stopped, time.Time{}, 0
		case (m.State == Backoff || m.State == CrashLoop) && !at.Before(m.RetryAt):
			m.State, m.RetryAt, m.WantedAt = Stopped, time.Time{}, at
		case m.idle() && mp.TTL > 0 && at.Sub(m.UsedAt) >= mp.TTL:
			s.stop(m, StopIdle)
		}
	}
}

// idle reports whether nobody uses or wants a READY member.
func (m *Member) idle() bool {
	return m.State == Ready && m.Yield == NoStop && len(m.Uses) == 0 && len(m.Waiters) == 0
}

func (s *groupStep) forProvider() Meta {
	return Meta{At: s.meta.At, Cause: s.meta.Cause, RequestID: s.meta.RequestID}
}

func (s *groupStep) emit(name string, m *Member, fields ...drey.Field) {
	s.do(Emit{drey.Event{
		At: s.meta.At, Name: name, Machine: "process", ID: string(m.Provider),
		Cause: s.meta.Cause, RequestID: s.meta.RequestID,
		Fields: append([]drey.Field{drey.F("provider", m.Provider)}, fields...),
	}})
}
