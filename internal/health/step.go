package health

import (
	"time"

	"github.com/dreyhq/drey"
)

// Step returns the machine that follows machine when ev happens under p, and
// what the shell is asked to do about it, in order. It is total: an event that
// means nothing to the machine returns it with no effects. Step keeps and
// changes nothing, so any number of calls may run at once.
//
// The rows of the healing contract §4, in order. "fail" and "ok" are an AttemptEnded that
// is Counted or OK and whose token is of this epoch and under way; X: a profile
// excludes; D: a profile demotes; "well" stands for HEALTHY, DEGRADED and
// UNHEALTHY.
//
//  1. well, fail, level unchanged: count
//  2. HEALTHY, fail, count = N: DEGRADED
//  3. HEALTHY or DEGRADED, fail, level now UNHEALTHY, not X: UNHEALTHY, probing if D
//  4. well, fail, level is UNHEALTHY, X: EXCLUDED, phase by 5
//  5. entering EXCLUDED: draining if restartable and answers are under way,
//     restarting if restartable, else probing
//  6. draining by health, nothing under way or deadline past: restarting
//  7. restarting, RestartEnded: probing, soon if it went well
//  8. restarting or probing, ProcessReady: probing, at once
//  9. probing, time has come, probe allowed: StartProbe
//  10. probing, time has come, probe not allowed: OpenTrial
//  11. EXCLUDED probing, probe or trial ok: HEALTHY ramping
//  12. UNHEALTHY probing, probe or trial ok: HEALTHY
//  13. probing, probe or trial of row 10 failed: the interval doubles
//  14. probing, trial without a verdict, or a failed panic trial: no verdict
//  15. HEALTHY ramping, ok: the limit doubles, or the ramp ends
//  16. HEALTHY ramping, fail, X: EXCLUDED at once, interval doubled
//  17. well, ok: HEALTHY, or UNHEALTHY while the ratio rule holds
//  18. EXCLUDED by health, ok of another profile's traffic: HEALTHY ramping
//  19. EXCLUDED, fail: count
//  20. not by operator, ProcessExited: EXCLUDED restarting
//  21. ProcessUnloaded: same state
//  22. OperatorExclude, OperatorDrain: EXCLUDED draining by operator
//  23. EXCLUDED, OperatorRestore or its time: HEALTHY ramping
//  24. OperatorRestart: EXCLUDED draining or restarting, by health
//  25. OperatorProbe: as 11 or 12 if ok and probing
//  26. EXCLUDED by health, PolicyChanged, X now false: UNHEALTHY, probing if D
//  27. PolicyChanged, gone or replaced: ended or fresh
//  28. Loaded: as §10 says; ShutdownBegan: same state, everything stopped;
//     Resumed: what that has stopped goes on
//
// Whatever the row, the timer follows from the machine (Machine.due) and is
// armed or cancelled last.
func Step(machine Machine, ev Event, p Policy) (Machine, []Effect) {
	s := step{m: machine, p: p, persist: -1}
	m := &s.m
	due := m.due()
	tick := false
	switch ev := ev.(type) {
	case AttemptStarted:
		m.flight.add(ev.Token.N)
	case AttemptAsked:
		s.begin(ev.Meta, "AttemptAsked")
		s.asked(ev)
	case AttemptEnded:
		s.begin(ev.Meta, "AttemptEnded")
		s.attemptEnded(&ev)
	case ProbeEnded:
		s.begin(ev.Meta, "ProbeEnded")
		s.probeEnded(ev)
	case RestartEnded:
		s.begin(ev.Meta, "RestartEnded")
		if !m.RunningAt.IsZero() && !p.Managed && ev.N == m.Restart {
			s.restartEnded(ev.OK, ev.Error, ev.Duration) // row 7
		}
	case ProcessReady:
		s.begin(ev.Meta, "ProcessReady")
		if p.Managed {
			s.processReady()
		}
	case ProcessExited:
		s.begin(ev.Meta, "ProcessExited")
		if p.Managed {
			s.processExited()
		}
	case ProcessLooped:
		s.begin(ev.Meta, "ProcessLooped")
		if p.Managed && !m.RunningAt.IsZero() {
			s.restartEnded(false, ev.Error, s.at.Sub(m.RunningAt)) // row 7
		}
	case ProcessUnloaded:
		m.Unloaded = true // row 21
	case Tick:
		s.begin(ev.Meta, "Tick")
		s.tick()
		tick = true
	case OperatorExclude:
		s.begin(ev.Meta, "OperatorExclude")
		s.operatorExclude("exclude", ev.Reason, ev.For, -1)
	case OperatorDrain:
		s.begin(ev.Meta, "OperatorDrain")
		s.operatorExclude("drain", ev.Reason, 0, max(ev.Timeout, 0))
	case OperatorRestore:
		s.begin(ev.Meta, "OperatorRestore")
		s.operatorRestore(ev)
	case OperatorRestart:
		s.begin(ev.Meta, "OperatorRestart")
		s.operatorRestart(ev)
	case OperatorProbe:
		s.begin(ev.Meta, "OperatorProbe")
		s.operatorProbe(ev)
	case PolicyChanged:
		s.begin(ev.Meta, "PolicyChanged")
		s.policyChanged(ev)
	case Loaded:
		s.begin(ev.Meta, "Loaded")
		s.loaded(ev.Record)
	case ShutdownBegan:
		s.begin(ev.Meta, "ShutdownBegan")
		s.shutdown()
	case Resumed:
		s.begin(ev.Meta, "Resumed")
		s.resumed()
	}
	if now := m.due(); tick && !now.IsZero() || !now.Equal(due) {
		if now.IsZero() {
			s.do(CancelTimer{})
		} else {
			s.do(ArmTimer{At: now})
		}
	}
	if s.persist >= 0 {
		s.out[s.persist] = m.persist()
	}
	return s.m, s.out
}

// step is one call of Step. It holds values, not pointers: what points into
// the heap would go there itself, and counting must not allocate.
type step struct {
	m       Machine
	p       Policy
	at      time.Time
	meta    Meta
	trigger string
	out     []Effect
	persist int // where in out the Persist stands; -1 = none
}

func (s *step) begin(meta Meta, trigger string) {
	s.meta, s.at, s.trigger = meta, meta.At, trigger
}

func (s *step) do(e Effect) { s.out = append(s.out, e) }

// save asks for one Persist, here in the order of effects and with the machine
// as it is at the end of the step.
func (s *step) save() {
	if s.persist < 0 {
		s.persist = len(s.out)
		s.do(nil)
	}
}

// due returns when the machine next wants a Tick; zero if it does not.
func (m *Machine) due() time.Time {
	if m.Closed {
		return time.Time{}
	}
	due := m.ParkedUntil
	at := func(t time.Time) {
		if !t.IsZero() && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	switch m.Phase {
	case Probing:
		if m.unwatched() {
			at(m.NextProbeAt)
		}
	case Draining:
		at(m.Deadline)
	case Ramping:
		at(m.RampUntil)
	}
	at(m.Until)
	return due
}

// unwatched reports whether a probing machine is due to be looked at when its
// time comes: nobody looks at it yet. A panic trial does not count. It may hang
// as long as its caller is patient, and must not push recovery away (§5).
func (m *Machine) unwatched() bool {
	return m.ProbeN == 0 && (m.Trial == NoTrial || m.Trial == PanicRunning)
}

// tick does what is due: the end of a parking, of an operator's "for" (row
// 23), of a drain (6, 22), a probe or a trial (9, 10), the end of a ramp (15).
func (s *step) tick() {
	m := &s.m
	if m.Closed {
		return
	}
	if s.due(m.ParkedUntil) {
		s.unpark()
	}
	if s.due(m.Until) {
		s.restore("", "operator") // row 23
		return
	}
	switch m.Phase {
	case Draining:
		switch {
		case !s.due(m.Deadline):
		case m.By == ByOperator: // row 22
			m.Deadline = time.Time{}
			m.Killed = m.flight.len()
			s.do(CancelAttempts{})
		default:
			s.drained() // row 6
		}
	case Probing:
		switch {
		case !m.unwatched() || !s.due(m.NextProbeAt):
		case s.p.mayProbe(m): // row 9
			m.Probes++
			m.ProbeN = m.Probes
			s.do(StartProbe{N: m.ProbeN, Depth: s.p.Depth})
		case m.Trial == PanicRunning: // row 10: that request is the one that tries it
			m.Trial = TrialRunning
		default: // row 10
			m.Trial = TrialOpen
			s.do(OpenTrial{})
		}
	case Ramping:
		if s.due(m.RampUntil) { // row 15
			m.RampUntil = time.Time{}
			if m.RampLimit > 1 {
				s.endRamp(true, "time")
			}
		}
	}
}

func (s *step) due(t time.Time) bool { return !t.IsZero() && !s.at.Before(t) }

// asked grants or refuses what changes state.
func (s *step) asked(ev AttemptAsked) {
	m := &s.m
	reason, kind := "", ev.For
	trial := m.Trial
	switch {
	case m.flight.has(ev.Token.N): // a token is good for one attempt
		reason = "busy"
	case m.State == Excluded && m.By == ByOperator:
		reason = "excluded"
	case m.State == Excluded && m.Phase == Restarting:
		reason = "restarting"
	case ev.For == AskSlot:
		switch n := m.flight.len(); {
		case m.RampLimit > 0 && n >= m.RampLimit:
			reason = "ramping"
		case s.p.Concurrency > 0 && n >= s.p.Concurrency:
			reason = "busy"
		}
	case m.Trial == TrialOpen: // a panic that finds the trial open takes that one
		kind, trial = AskTrial, TrialRunning
	case ev.For == AskPanic && m.panicAllowed(s.at):
		trial = PanicRunning
	default:
		reason = "excluded"
	}
	if reason != "" {
		s.do(Refuse{Token: ev.Token, For: ev.For, Reason: reason})
		return
	}
	if trial != m.Trial {
		m.Trial, m.TrialN = trial, ev.Token.N
	}
	m.flight.add(ev.Token.N)
	s.do(Grant{Token: ev.Token, For: kind})
}

// panicAllowed says whether the panic rule of §5 may use the provider now.
func (m *Machine) panicAllowed(at time.Time) bool {
	return m.State == Excluded && m.By != ByOperator && m.Phase == Probing &&
		(m.Trial == NoTrial || m.Trial == TrialOpen) &&
		(m.PanicFailedAt.IsZero() || at.Sub(m.PanicFailedAt) >= panicPause)
}

// hc emits backend-health-changed if the finding is another one now.
func (s *step) hc(finding State, profile drey.ProfileID, reason string) {
	m := &s.m
	if m.Finding == finding {
		return
	}
	old := m.Finding
	m.Finding = finding
	s.emit("backend-health-changed", drey.Info, old.String(), finding.String(),
		drey.F("profile", profile),
		drey.F("old_state", old.String()), drey.F("new_state", finding.String()),
		drey.F("consecutive_failures", m.ConsecutiveFailures), drey.F("reason", reason))
}

// exclude is rows 4, 16, 20, 22 and 24 up to the phase. Who is out already
// stays out since when it was, and nothing is emitted: exclusion is idempotent.
func (s *step) exclude(by By, reason, finding string) {
	m, p := &s.m, &s.p
	s.cancelProbe()
	m.Trial, m.TrialN, m.Settling, m.NextProbeAt = NoTrial, 0, false, time.Time{}
	m.By, m.Until, m.Deadline = by, time.Time{}, time.Time{}
	from := m.State
	if from == Excluded {
		return
	}
	m.Profile = ""
	if by != ByOperator && reason != "operator-restart" { // a person's act is no profile's
		m.Profile = p.blame(s.meta.Profile)
	}
	if finding != "" {
		s.hc(Unhealthy, m.Profile, finding)
	}
	m.State, m.Reason, m.ExcludedAt = Excluded, reason, s.at
	m.Epoch++
	m.Told, m.Killed, m.PanicFailedAt = false, 0, time.Time{}
	m.RampLimit, m.RampUntil = 0, time.Time{}
	s.emit("self-healing-exclude", drey.Warn, from.String(), Excluded.String(),
		drey.F("profile", m.Profile), drey.F("consecutive_failures", m.ConsecutiveFailures), drey.F("reason", reason))
}

// heal is row 5, with the first interval of this exclusion. A person is not
// bound by the cap.
func (s *step) heal(interval time.Duration, person bool) {
	m, p := &s.m, &s.p
	m.Interval = p.clamp(interval)
	restart := p.Command != "" && m.RunningAt.IsZero()
	if restart && !person && !m.mayRestart(s.at) {
		restart = false
		s.capped()
	}
	switch {
	case restart && m.flight.len() > 0:
		m.Phase, m.Deadline = Draining, s.at.Add(max(p.RestartDrain, 0))
	case restart:
		s.runRestart()
	default:
		s.probeIn(m.Interval)
	}
}

// capped says once that restarts have been too many.
func (s *step) capped() {
	if s.m.Capped {
		return
	}
	s.m.Capped = true
	s.emit("provider-restart-capped", drey.Info, "", "", drey.F("restarts", len(s.m.Restarts)))
}

// runRestart begins the one restart that may run.
func (s *step) runRestart() {
	m := &s.m
	m.Deadline, m.NextProbeAt = time.Time{}, time.Time{}
	if m.Closed { // the next daemon does it: §10
		m.Phase = Draining
		s.save()
		return
	}
	m.Phase = Restarting
	m.Restart++
	m.RunningAt, m.Capped = s.at, false
	copy(m.Restarts[1:], m.Restarts[:])
	m.Restarts[0] = s.at
	s.save()
	s.do(RunRestart{N: m.Restart, Reason: m.Reason})
}

// probeIn makes the phase probing, with the next probe after d.
func (s *step) probeIn(d time.Duration) {
	m := &s.m
	m.Phase, m.Deadline = Probing, time.Time{}
	m.NextProbeAt = s.at.Add(s.p.wait(d, s.meta.Rand))
}

// drained ends a drain: row 6 by health, row 22 by the operator.
func (s *step) drained() {
	m := &s.m
	m.Deadline = time.Time{}
	if m.By == ByOperator {
		m.Phase = NoPhase
		s.save()
		s.emit("provider-drained", drey.Info, "", "", drey.F("in_flight_killed", m.Killed))
		return
	}
	m.Epoch++
	if s.p.Command == "" || !m.RunningAt.IsZero() { // the policy changed meanwhile
		s.save()
		s.probeIn(m.Interval)
		return
	}
	s.runRestart()
}

// restore is rows 11, 18 and 23 without the recovery-probe event.
func (s *step) restore(profile drey.ProfileID, reason string) {
	m := &s.m
	s.cancelProbe()
	if profile == "" {
		profile = m.Profile
	}
	out := max(s.at.Sub(m.ExcludedAt), 0)
	s.forget()
	m.Epoch++
	m.State, m.Phase = Healthy, NoPhase
	if s.p.Ramp > 0 {
		m.Phase, m.RampLimit, m.RampUntil = Ramping, 1, s.at.Add(s.p.Ramp)
	}
	s.save()
	s.emitRestore(Healthy, profile, out, reason)
	s.hc(Healthy, profile, reason)
	m.endExclusion()
}

func (s *step) emitRestore(to State, profile drey.ProfileID, out time.Duration, reason string) {
	s.emit("self-healing-restore", drey.Info, Excluded.String(), to.String(),
		drey.F("profile", profile), drey.F("excluded_duration_s", tenths(out)), drey.F("reason", reason))
}

// endExclusion clears what only an excluded machine has.
func (m *Machine) endExclusion() {
	m.By, m.Profile, m.Reason = ByNobody, "", ""
	m.ExcludedAt, m.Until, m.Deadline, m.NextProbeAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	m.Trial, m.TrialN, m.PanicFailedAt = NoTrial, 0, time.Time{}
	m.Settling, m.Told, m.Killed = false, false, 0
}

// forget empties the counts.
func (s *step) forget() {
	s.m.ConsecutiveFailures, s.m.Ratio, s.m.window = 0, false, window{}
}

func (s *step) cancelProbe() {
	if s.m.ProbeN != 0 {
		s.do(CancelProbe{N: s.m.ProbeN})
		s.m.ProbeN = 0
	}
}
