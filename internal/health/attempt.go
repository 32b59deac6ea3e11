package health

import (
	"time"

	"github.com/dreyhq/drey"
)

// attemptEnded applies the result of an attempt. A trial is known by its N, not
// by its epoch: the process that it woke starts an epoch of its own.
func (s *step) attemptEnded(ev *AttemptEnded) {
	m := &s.m
	known := m.flight.remove(ev.Token.N)
	trial := known && (m.Trial == TrialRunning || m.Trial == PanicRunning) && m.TrialN == ev.Token.N
	if known {
		s.park(ev)
		if ev.OK && !s.p.Managed {
			m.Unloaded = false // what has answered is in memory; of a process ProcessReady tells
		}
	}
	switch {
	case trial:
		s.trialEnded(ev)
	case !known || ev.Token.Epoch != m.Epoch:
		s.late(ev, known)
	case ev.OK:
		s.ok()
	case ev.Counted:
		s.fail()
	}
	if m.Phase == Draining && m.flight.len() == 0 {
		s.drained() // rows 6 and 22
	}
}

// late counts nothing. A good answer to an attempt of an older epoch is a hint
// that the probe may come now, and no proof.
func (s *step) late(ev *AttemptEnded, known bool) {
	m := &s.m
	s.do(LateResult{Token: ev.Token})
	if known && ev.OK && m.Phase == Probing && m.Trial == NoTrial && m.ProbeN == 0 && m.NextProbeAt.After(s.at) {
		m.NextProbeAt = s.at
		s.save()
	}
}

// fail is rows 1 to 4, 16 and 19.
func (s *step) fail() {
	m, p := &s.m, &s.p
	m.ConsecutiveFailures++
	s.note(true)
	if m.State == Excluded {
		return // row 19
	}
	if m.Phase == Ramping && p.excludes() { // row 16
		s.exclude(ByHealth, "ramp", "consecutive")
		s.save()
		s.heal(p.doubled(m.Interval), false)
		return
	}
	level, reason := m.level(p.n())
	switch {
	case level == Unhealthy && p.excludes(): // row 4
		s.exclude(ByHealth, reason, reason)
		s.save()
		s.heal(p.initial(), false)
	case level == Unhealthy && m.State != Unhealthy: // row 3
		s.leaveRamp()
		m.State = Unhealthy
		s.save()
		s.hc(Unhealthy, s.meta.Profile, reason)
		s.watchDemoted()
	case level == Degraded && m.State == Healthy: // row 2
		s.leaveRamp()
		m.State = Degraded
		s.hc(Degraded, s.meta.Profile, reason)
	} // row 1: counted
}

// ok is rows 15, 17 and 18.
func (s *step) ok() {
	m := &s.m
	if m.State == Excluded {
		if m.By != ByOperator && m.Phase != Restarting { // row 18
			s.restore(s.meta.Profile, "passive")
		}
		return
	}
	s.succeed()
	if m.Phase == Ramping { // row 15
		m.RampLimit = min(2*m.RampLimit, s.p.ceiling())
		switch {
		case m.RampLimit >= s.p.ceiling():
			s.endRamp(true, "ceiling")
		case m.RampUntil.IsZero() || s.due(m.RampUntil):
			s.endRamp(true, "time")
		}
	}
	if m.Ratio || m.State == Healthy { // row 17
		return
	}
	persisted := m.State == Unhealthy
	s.cancelProbe()
	m.State, m.Phase, m.NextProbeAt = Healthy, NoPhase, time.Time{}
	m.Trial, m.TrialN, m.Interval = NoTrial, 0, 0
	if persisted {
		s.save()
	}
	s.hc(Healthy, s.meta.Profile, "success")
}

// succeed counts a success: the run of failures is over, and after 2N of them
// the window too, since what it holds is of a provider that was down.
func (s *step) succeed() {
	m := &s.m
	down := m.ConsecutiveFailures >= 2*s.p.n()
	m.ConsecutiveFailures = 0
	if !m.ParkedUntil.After(s.at) { // of a burst that half went through the rest proves nothing
		m.Parks = 0
	}
	if down {
		s.forget()
		return
	}
	s.note(false)
}

// note puts an attempt into the window and evaluates the ratio rule, which only
// a failure can bring about and which holds until the share is below a half.
func (s *step) note(failed bool) {
	m, p := &s.m, &s.p
	m.window.add(s.at, failed, p.windowSize())
	half := 2*m.window.failed >= m.window.n
	m.Ratio = half && (m.Ratio || failed && m.window.n >= p.windowMin())
}

// level is the finding that the counts make, and which of them made it.
func (m *Machine) level(n int) (State, string) {
	switch {
	case m.ConsecutiveFailures >= 2*n:
		return Unhealthy, "consecutive"
	case m.Ratio:
		return Unhealthy, "ratio"
	case m.ConsecutiveFailures >= n:
		return Degraded, "consecutive"
	}
	return Healthy, ""
}

// watchDemoted arms the probe of an UNHEALTHY provider that a profile demotes:
// nobody else would look at it again.
func (s *step) watchDemoted() {
	m := &s.m
	m.Phase, m.NextProbeAt = NoPhase, time.Time{}
	if s.p.Demote {
		m.Interval = s.p.initial()
		s.probeIn(m.Interval)
	}
}

// endRamp ends a ramp that went well (ceiling, time) or not (failures).
func (s *step) endRamp(ok bool, reason string) {
	m := &s.m
	m.Phase, m.RampLimit, m.RampUntil, m.Interval = NoPhase, 0, time.Time{}, 0
	s.save()
	s.emit("provider-ramp-ended", drey.Info, "", "", drey.F("success", ok), drey.F("reason", reason))
}

// leaveRamp ends a ramp whose provider is not HEALTHY any more and that no
// profile excludes.
func (s *step) leaveRamp() {
	if s.m.Phase == Ramping {
		s.endRamp(false, "failures")
	}
}

// trialEnded is rows 11 to 14 for a request that served as the probe.
func (s *step) trialEnded(ev *AttemptEnded) {
	m := &s.m
	inPanic := m.Trial == PanicRunning
	m.Trial, m.TrialN = NoTrial, 0
	switch {
	case ev.OK: // rows 11, 12
		m.Parks = 0
		s.recovered(s.meta.Profile, "trial", DepthTrial, ev.Latency)
	case ev.Counted && inPanic: // row 14
		m.ConsecutiveFailures++
		s.note(true)
		m.PanicFailedAt = s.at
	case ev.Counted: // row 13
		m.ConsecutiveFailures++
		s.note(true)
		s.failedProbe(ev.Class, ev.Latency, DepthTrial, ev.Error)
	case !inPanic: // row 14
		m.Trial = TrialOpen
		s.do(OpenTrial{})
	}
}

// probeEnded is rows 11 to 13 for a probe. One that was cancelled, or is not
// ours, is nothing.
func (s *step) probeEnded(ev ProbeEnded) {
	m := &s.m
	if ev.N == 0 || ev.N != m.ProbeN {
		return
	}
	m.ProbeN = 0
	if ev.OK {
		s.recovered("", "probe", ev.Depth, ev.Latency)
	} else {
		s.failedProbe(ev.Class, ev.Latency, ev.Depth, ev.Error)
	}
}

// recovered is row 11 or 12: the provider was tried and is well. profile is
// the attempt's own, or "" for the exclusion's.
func (s *step) recovered(profile drey.ProfileID, reason string, depth Depth, latency time.Duration) {
	m := &s.m
	if m.State == Excluded { // row 11
		s.restore(profile, reason)
	} else { // row 12
		s.cancelProbe()
		s.forget()
		m.State, m.Phase, m.NextProbeAt, m.Interval = Healthy, NoPhase, time.Time{}, 0
		m.Trial, m.TrialN = NoTrial, 0
		s.save()
		s.hc(Healthy, profile, reason)
	}
	s.emitProbe(true, 0, latency, depth, "")
}

// failedProbe is row 13. A server that says that it is loading, or asks for a
// pause, is there: the interval stays.
func (s *step) failedProbe(class drey.Class, latency time.Duration, depth Depth, text string) {
	m, p := &s.m, &s.p
	switch {
	case class == drey.Loading || class == drey.RateLimit:
		m.Interval = p.clamp(m.Interval)
	case m.Settling: // §6: the extra probe after a restart
		m.Interval = p.initial()
	default:
		m.Interval = p.doubled(m.Interval)
	}
	m.Settling = false
	s.probeIn(m.Interval)
	s.save()
	s.emitProbe(false, m.Interval, latency, depth, text)
}

// park applies a failure that parks. While the provider is parked already only
// a later end counts that it named itself, or that another reason brings: of
// ten requests that were refused together one is enough to know.
func (s *step) park(ev *AttemptEnded) {
	m := &s.m
	if ev.Park == NoPark {
		return
	}
	if s.due(m.ParkedUntil) { // its Tick is on the way
		s.unpark()
	}
	parked := m.ParkedUntil.After(s.at)
	if parked && ev.RetryAfter <= 0 && ev.Park == m.ParkedReason {
		return
	}
	before := m.Parks
	if m.ParkedReason != ev.Park {
		before = 0
	}
	d := ev.RetryAfter
	if d <= 0 || ev.Park == ParkResource { // no server knows when memory is free
		d = ev.Park.span(before, s.meta.Rand)
	}
	until := s.at.Add(d)
	if parked && !until.After(m.ParkedUntil) {
		return
	}
	if ev.RetryAfter <= 0 {
		before++
	}
	m.Parks, m.ParkedReason, m.ParkedUntil = before, ev.Park, until
	s.save()
	s.emit("provider-parked", drey.Info, "", "",
		drey.F("reason", ev.Park.String()), drey.F("until", drey.FormatTime(until)))
}

// unpark ends a parking. The reason stays, so that the next parking of its
// kind is longer, until a success.
func (s *step) unpark() {
	s.m.ParkedUntil = time.Time{}
	s.save()
	s.emit("provider-unparked", drey.Info, "", "", drey.F("reason", s.m.ParkedReason.String()))
}
