package health

import (
	"cmp"
	"time"
)

// restartEnded is row 7. The outcome is told whatever became of the provider
// meanwhile; only one that still waits for it moves.
func (s *step) restartEnded(ok bool, text string, d time.Duration) {
	m, p := &s.m, &s.p
	m.RunningAt = time.Time{}
	if ok {
		m.Told = true
	}
	if m.Phase == Restarting && m.By != ByOperator {
		if ok && p.RestartSettle > 0 {
			m.Phase, m.Settling = Probing, true
			m.NextProbeAt = s.at.Add(p.RestartSettle)
		} else {
			s.probeIn(m.Interval)
		}
		s.save()
	}
	s.emitRestart(ok, text, d)
}

// processReady is row 8; everywhere it starts an epoch and says that the model
// is in memory.
func (s *step) processReady() {
	m := &s.m
	m.Unloaded = false
	m.Epoch++
	began := m.RunningAt
	m.RunningAt = time.Time{}
	if m.Phase != Probing && (m.Phase != Restarting || m.By == ByOperator) {
		return
	}
	m.Phase, m.NextProbeAt, m.Settling = Probing, s.at, false
	if m.Trial == TrialOpen { // a probe may do now
		m.Trial = NoTrial
	}
	s.save()
	if m.State == Excluded && !m.Told {
		m.Told = true
		d := time.Duration(0)
		if !began.IsZero() {
			d = s.at.Sub(began)
		}
		s.emitRestart(true, "", d)
	}
}

// processExited is row 20.
func (s *step) processExited() {
	m := &s.m
	m.Unloaded = true
	if m.By == ByOperator {
		return
	}
	fresh := m.State != Excluded
	s.exclude(ByProcess, "process-exit", "process-exit")
	if !fresh {
		m.Epoch++
	}
	m.Interval = s.p.initial()
	m.Phase = Restarting
	if m.RunningAt.IsZero() {
		m.RunningAt = s.at // its group starts it
	}
	s.save()
}

// operatorExclude is row 22. timeout is that of a drain, -1 for none. The same
// again changes nothing.
func (s *step) operatorExclude(action, why string, span, timeout time.Duration) {
	m := &s.m
	reason := "operator"
	if timeout >= 0 {
		reason = "drain"
	}
	var until time.Time
	if span > 0 {
		until = s.at.Add(span)
	}
	if m.State == Excluded && m.By == ByOperator {
		was := m.Until
		if action == "exclude" {
			m.Until = until
		}
		if m.Phase == Draining && timeout >= 0 {
			m.Deadline = s.at.Add(timeout)
		}
		if !m.Until.Equal(was) || m.Phase == Draining && timeout >= 0 {
			s.save()
			s.act(action, why)
		}
		return
	}
	s.act(action, why)
	s.exclude(ByOperator, reason, "")
	m.Reason = cmp.Or(why, reason) // also of one that was out before
	m.Phase, m.Until, m.Killed = Draining, until, 0
	if timeout >= 0 {
		m.Deadline = s.at.Add(timeout)
	}
	s.save()
	if m.flight.len() == 0 {
		s.drained()
	}
}

// operatorRestore is row 23.
func (s *step) operatorRestore(ev OperatorRestore) {
	if s.m.State != Excluded {
		return
	}
	s.act("restore", ev.Reason)
	s.restore("", "operator")
}

// operatorRestart is row 24. It is refused while a restart runs or is about
// to, and where there is nothing to restart; the door tells which.
func (s *step) operatorRestart(ev OperatorRestart) {
	m := &s.m
	if !m.CanRestart(s.p) {
		return
	}
	s.act("restart", ev.Reason)
	s.exclude(ByHealth, "operator-restart", "operator")
	m.Reason = "operator-restart" // also of one that was out before
	s.save()
	s.heal(s.p.initial(), true)
}

// CanRestart reports whether OperatorRestart would do anything under p: there
// is something to restart, no restart runs, and none is waiting for a drain.
func (m Machine) CanRestart(p Policy) bool {
	return p.Command != "" && m.RunningAt.IsZero() && (m.Phase != Draining || m.By == ByOperator)
}

// operatorProbe is row 25.
func (s *step) operatorProbe(ev OperatorProbe) {
	s.act("probe", ev.Reason)
	if ev.OK && s.m.Phase == Probing {
		s.recovered("", "probe", ev.Depth, ev.Latency)
	}
}

// policyChanged is rows 26 and 27. Besides, it lifts a parking for a
// credential, and brings what was derived from the old policy up to date.
func (s *step) policyChanged(ev PolicyChanged) {
	m, p := &s.m, &s.p
	if ev.Gone || ev.Replaced { // row 27
		s.cancelProbe()
		if !m.RunningAt.IsZero() {
			s.do(CancelRestart{N: m.Restart})
		}
		*m = Machine{
			Epoch: m.Epoch + 1, flight: m.flight, Probes: m.Probes, Restart: m.Restart,
			Unloaded: p.Managed, Loaded: true, Closed: m.Closed || ev.Gone,
		}
		s.save()
		return
	}
	if m.ParkedReason == ParkAuth && !m.ParkedUntil.IsZero() {
		m.Parks = 0
		s.unpark()
	}
	if m.Phase == Ramping && (p.Ramp <= 0 || m.RampLimit >= p.ceiling()) {
		s.endRamp(true, "policy")
	}
	switch m.State {
	case Excluded:
		// Row 26. A backend that is being restarted stays out until it is known
		// how that went: UNHEALTHY would send it traffic meanwhile.
		if m.By != ByOperator && m.Phase != Restarting && !p.excludes() {
			s.cancelProbe()
			out := max(s.at.Sub(m.ExcludedAt), 0)
			profile := m.Profile
			m.Epoch++
			m.State = Unhealthy
			m.endExclusion()
			s.save()
			s.emitRestore(Unhealthy, profile, out, "policy")
			s.hc(Unhealthy, profile, "policy")
			s.watchDemoted()
			return
		}
	case Unhealthy: // a profile begins or ceases to demote
		if p.Demote != (m.Phase == Probing) {
			s.cancelProbe()
			m.Trial, m.TrialN = NoTrial, 0
			s.save()
			s.watchDemoted()
			return
		}
	}
	if m.Phase != Probing {
		return
	}
	m.Interval = p.clamp(m.Interval)
	if latest := s.at.Add(p.wait(m.Interval, s.meta.Rand)); m.NextProbeAt.After(latest) || p.Asleep && m.NextProbeAt.Before(latest) {
		m.NextProbeAt = latest
	}
	if m.Trial == TrialOpen && p.mayProbe(m) { // it may be probed now
		m.Trial = NoTrial
		m.NextProbeAt = s.at
	}
	s.save()
}

// loaded is row 28 and §10: what was persisted is taken up again, once and
// never over a live machine.
func (s *step) loaded(r Record) {
	m, p := &s.m, &s.p
	if m.live() {
		return
	}
	r.restore(m, s.at)
	m.Loaded, m.Unloaded = true, p.Managed
	soon := s.at.Add(time.Duration(s.meta.Rand * float64(loadSpread)))
	// A clock that was set back must not keep a provider out for years.
	next := m.NextProbeAt
	if latest := s.at.Add(p.longest()); next.After(latest) {
		next = latest
	}
	if next.Before(soon) {
		next = soon
	}
	m.NextProbeAt = time.Time{}
	was := m.Phase
	m.Phase = NoPhase
	switch m.State {
	case Excluded:
		m.Interval = p.clamp(m.Interval)
		switch {
		case m.By == ByOperator: // stays out; nothing is under way any more
			m.Finding, _ = m.level(p.n())
		case was == Draining && p.Command != "" && m.mayRestart(s.at):
			s.runRestart()
		case was == Draining && p.Command != "":
			s.capped()
			s.probeIn(m.Interval)
		case was == Restarting: // the command may still be at work: not again
			m.Phase, m.Settling = Probing, true
			m.NextProbeAt = s.at.Add(max(p.RestartSettle, 0))
		default:
			m.Phase, m.NextProbeAt = Probing, next
		}
	case Unhealthy:
		m.Interval = p.clamp(m.Interval)
		if p.Demote {
			m.Phase, m.NextProbeAt = Probing, next
		}
	default:
		level, _ := m.level(p.n())
		m.State = min(level, Degraded)
		m.Finding = m.State
		if was == Ramping && p.Ramp > 0 && m.State == Healthy {
			m.Phase, m.RampLimit, m.RampUntil = Ramping, 1, s.at.Add(p.Ramp)
		}
	}
	if !r.blank() {
		s.save() // counts that a graceful stop kept are forgotten here: a kill may come
	}
}

// live reports whether anything happened to the machine that Loaded must not
// overwrite.
func (m *Machine) live() bool {
	return m.Loaded || m.Closed || m.Epoch > 0 || m.flight.len() > 0 || m.window.n > 0 || !m.ParkedUntil.IsZero()
}

// shutdown is row 28: counts are saved, and nothing starts any more.
func (s *step) shutdown() {
	m := &s.m
	if m.Closed {
		return
	}
	s.cancelProbe()
	s.save()
	m.Closed = true
}

// resumed takes back ShutdownBegan: the stop was called off. What came due
// meanwhile is due at once, and a restart that was put off runs. A process that
// was stopped on its way up is its group's business (GroupResumed).
func (s *step) resumed() {
	m := &s.m
	if !m.Closed {
		return
	}
	m.Closed = false
	s.save()                                                              // counts below 2N were kept for a restart that does not come
	if m.Phase == Draining && m.By != ByOperator && m.Deadline.IsZero() { // see runRestart
		s.drained()
	}
}
