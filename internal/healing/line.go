package healing

import (
	"slices"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
)

// jurors is how many requests wait for the verdict of one trial. Source: the
// healing contract, §5.
const jurors = 64

// waiter is a request that has asked to leave and waits for the answer. It
// belongs to the owner.
type waiter struct {
	d      health.Departure
	n      uint64 // of its token
	at     time.Time
	answer chan answer // holds one

	group   *group    // it has asked for a process of it; nil = it needs none
	until   time.Time // when it has waited long enough; zero for a process, whose group says so
	reason  string    // in a line: what it waits for
	trial   bool      // it has the open trial and waits for the process that the trial wakes
	pass    *health.Pass
	refused bool
}

type answer struct {
	pass    health.Pass
	refused *health.Refused
}

// token is the waiter's, in the epoch of this moment.
func (w *waiter) token(s *seat) health.Token {
	return health.Token{Provider: s.id, Epoch: s.m.Epoch, N: w.n}
}

// ask is the first thing that becomes of a request. Its branches:
//
//  1. the provider has left the configuration: nobody keeps it;
//  2. it is out for this request;
//  3. it has a process: a trial takes the trial first, everybody waits until it
//     is READY;
//  4. else it is admitted, refused or put in a line.
func (k *Keeper) ask(s *seat, w *waiter) {
	v := s.m.View()
	g := k.groups[groupName(s.provider)]
	switch {
	case k.seat(s.id) != s: // 1
		w.pass = &health.Pass{}
		w.answer <- answer{}
	case v.State == health.Excluded && v.By == health.ByOperator, // 2
		w.d.For == health.AskSlot && !w.d.Revived && v.Place(w.d.Action) == health.Skipped,
		g == nil && v.State == health.Excluded && v.Phase == health.Restarting:
		k.refuse(s, w, skipped(v))
	case g != nil: // 3
		if w.d.For == health.AskTrial && v.State == health.Excluded {
			if r := k.claim(s, w, health.AskTrial); r != "" {
				k.refuse(s, w, skipped(v))
				return
			}
			w.trial = true
		}
		s.wants[w.n], w.group = w, g
		idle := w.d.SlotWait <= 0 && w.d.For == health.AskSlot && !w.d.Revived
		k.groupStep(g, health.Want{
			GroupMeta: health.GroupMeta{At: time.Now(), RequestID: w.d.RequestID}, Token: w.token(s), NoWait: idle,
		}, nil)
		k.publish(s)
	default: // 4
		k.admit(s, w)
	}
}

// claim asks the machine and returns its reason to refuse; "" if it granted.
func (k *Keeper) claim(s *seat, w *waiter, what health.Ask) (refused string) {
	meta := health.Meta{At: time.Now(), Cause: s.inStory(), RequestID: w.d.RequestID, Profile: w.d.Profile, Rand: k.cfg.Random()}
	token := w.token(s)
	refused = "excluded"
	for _, e := range k.step(s, health.AttemptAsked{Meta: meta, Token: token, For: what}) {
		switch e := e.(type) {
		case health.Grant:
			w.d.For, refused = e.For, ""
		case health.Refuse:
			refused = e.Reason
		}
	}
	return refused
}

// admit lets a request leave whose backend is there, refuses it, or has it wait.
// It reports whether that was decided; while it is not, the request stands in a
// line. Its branches:
//
//  1. a trial of a provider that is in again is an attempt like any other;
//  2. one that has the trial already goes;
//  3. a trial asks for it; while another one has it, those whom nobody else
//     could serve wait for its verdict;
//  4. everybody else asks for a place, behind those who asked before.
func (k *Keeper) admit(s *seat, w *waiter) bool {
	if s.m.State != health.Excluded && w.d.For != health.AskSlot && !w.trial { // 1
		w.d.For = health.AskSlot
		w.d.RampWait = max(w.d.RampWait, s.provider.PanicWait)
	}
	v := s.m.View()
	if w.d.Revived && v.State == health.Excluded && w.d.For == health.AskSlot {
		w.d.For = health.AskPanic // its process is up, and not known to be well
	}
	switch {
	case w.trial: // 2
		k.release(s, w)
		return true
	case w.d.For != health.AskSlot: // 3
		running := v.Trial == health.TrialRunning || v.Trial == health.PanicRunning
		if running && w.d.For == health.AskPanic {
			if s.spoke == s.m.TrialN && k.claim(s, w, health.AskSlot) == "" {
				k.release(s, w)
				return true
			}
			if slices.Contains(s.jury, w) {
				return false
			}
			if wait := s.provider.PanicWait - time.Since(w.at); wait > 0 && len(s.jury) < jurors {
				w.until = time.Now().Add(wait)
				s.jury = append(s.jury, w)
				k.publish(s)
				return false
			}
			k.refuse(s, w, skipped(v))
			return true
		}
		if k.claim(s, w, w.d.For) != "" {
			k.refuse(s, w, skipped(s.m.View()))
			return true
		}
		if w.d.For == health.AskPanic {
			k.cfg.Metrics.panicked(w.d.Profile)
		}
		k.release(s, w)
		return true
	}
	reason := "busy" // 4
	if len(s.line) == 0 || s.line[0] == w {
		if reason = k.claim(s, w, health.AskSlot); reason == "" {
			k.release(s, w)
			return true
		}
	} else if s.line[0].reason != "" {
		reason = s.line[0].reason
	}
	if reason != "busy" && reason != "ramping" {
		k.refuse(s, w, skipped(s.m.View()))
		return true
	}
	w.reason = reason
	wait := w.d.SlotWait
	if reason == "ramping" {
		wait = w.d.RampWait
	}
	waiting := slices.Contains(s.line, w)
	if wait -= time.Since(w.at); wait <= 0 || !waiting && len(s.line) >= s.provider.Limits.Queue {
		k.refuse(s, w, &health.Refused{Reason: reason, Full: true})
		return true
	}
	if !waiting {
		w.until = time.Now().Add(wait)
		s.line = append(s.line, w)
		k.publish(s)
	}
	return false
}

// release lets a request leave. The machine knows of it.
func (k *Keeper) release(s *seat, w *waiter) {
	p := w.d.Pass(w.token(s))
	p.Waited, p.Holder = time.Since(w.at), s
	if p.Trial() {
		p.Cause = s.cause
	}
	if w.group != nil {
		p.Port, p.Run = w.group.port(s.id), w.group.run(s.id)
		s.uses[w.n] = w.group
	}
	if w.d.Cut != nil {
		s.cuts[w.n] = w.d.Cut
	}
	w.pass = &p
	s.inFlight.Add(1)
	if s.policy.Managed || !w.until.IsZero() {
		k.cfg.Metrics.waited(p.Waited)
	}
	w.answer <- answer{pass: p}
}

// refuse turns a request away. What it had taken is given back.
func (k *Keeper) refuse(s *seat, w *waiter, r *health.Refused) {
	w.refused = true
	if w.trial {
		k.step(s, health.AttemptEnded{Meta: health.Meta{At: time.Now()}, Token: w.token(s), Class: drey.Cancel})
	}
	k.unwant(s, w)
	w.answer <- answer{refused: r}
}

// unwant ends a request's claim on the process.
func (k *Keeper) unwant(s *seat, w *waiter) {
	delete(s.wants, w.n)
	if w.group != nil {
		k.groupStep(w.group, health.Cancelled{GroupMeta: health.GroupMeta{At: time.Now(), RequestID: w.d.RequestID}, Token: w.token(s)}, nil)
	}
}

// turnAway refuses everybody who waits for a place or for a verdict.
func (k *Keeper) turnAway(s *seat, r *health.Refused) {
	all := slices.Concat(s.line, s.jury) // a copy: whoever is refused may let another one in
	s.line, s.jury = nil, nil
	for _, w := range all {
		k.refuse(s, w, r)
	}
	k.publish(s)
}

// withdraw is a request that does not want to leave any more.
func (k *Keeper) withdraw(s *seat, w *waiter) {
	switch {
	case w.refused:
	case w.pass != nil: // it was let go at the same moment
		if w.pass.Token.N != 0 {
			s.inFlight.Add(-1)
			k.attemptEnded(s, *w.pass, health.Ending{Class: drey.Cancel}, time.Now())
		}
	default:
		own := func(o *waiter) bool { return o == w }
		s.line, s.jury = slices.DeleteFunc(s.line, own), slices.DeleteFunc(s.jury, own)
		w.answer = make(chan answer, 1) // nobody reads the old one
		k.refuse(s, w, &health.Refused{})
		k.move(s)
		k.publish(s)
	}
}

// granted is a group's word that the process is READY for a request.
func (k *Keeper) granted(s *seat, n uint64) {
	if w := s.wants[n]; w != nil {
		delete(s.wants, n)
		k.admit(s, w)
		k.publish(s)
	}
}

// denied is a group's word that a request will not get the process.
func (k *Keeper) denied(s *seat, n uint64, reason string) {
	if w := s.wants[n]; w != nil {
		delete(s.wants, n)
		k.refuse(s, w, &health.Refused{Reason: reason, Full: reason == "loading"})
		k.publish(s)
	}
}

// move has the waiters of a provider looked at, because something happened to
// it.
func (k *Keeper) move(s *seat) {
	if !s.waiting && len(s.line)+len(s.jury) > 0 {
		s.waiting = true
		k.moved = append(k.moved, s)
	}
}

// lookAtWaiters lets those go whose turn has come.
func (k *Keeper) lookAtWaiters() {
	for len(k.moved) > 0 {
		s := k.moved[0]
		k.moved = k.moved[1:]
		s.waiting = false
		for len(s.line) > 0 && k.admit(s, s.line[0]) {
			s.line = s.line[1:]
		}
		jury := s.jury
		s.jury = nil
		for _, w := range jury {
			s.jury = append(s.jury, w) // where admit looks for it
			if s.m.State == health.Excluded && s.m.Phase != health.Probing {
				s.jury = s.jury[:len(s.jury)-1]
				k.refuse(s, w, skipped(s.m.View()))
			} else if k.admit(s, w) || slices.Contains(s.line, w) {
				s.jury = slices.DeleteFunc(s.jury, func(o *waiter) bool { return o == w })
			}
		}
		k.publish(s)
	}
}

// expire turns those away who have waited long enough.
func (k *Keeper) expire(s *seat, now time.Time) {
	late := func(w *waiter) bool { return !now.Before(w.until) }
	if !slices.ContainsFunc(s.line, late) && !slices.ContainsFunc(s.jury, late) {
		return
	}
	line, jury := s.line, s.jury
	s.line, s.jury = nil, nil
	for _, w := range line {
		if late(w) {
			k.refuse(s, w, &health.Refused{Reason: w.reason, Full: true})
		} else {
			s.line = append(s.line, w)
		}
	}
	for _, w := range jury {
		if late(w) {
			k.refuse(s, w, skipped(s.m.View()))
		} else {
			s.jury = append(s.jury, w)
		}
	}
	k.move(s)
	k.publish(s)
}
