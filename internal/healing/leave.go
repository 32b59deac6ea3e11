package healing

import (
	"context"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
)

// Leave lets an attempt leave, or says why it may not. A provider without
// limits that takes traffic costs no question. Where one must be asked (a
// trial, a place under a limit or a ramp, a process that must run first), Leave
// waits its turn, as long as d allows. Errors: *health.Refused, or the cause of
// ctx's end.
//
// A pass must be given back by Ended.
func (k *Keeper) Leave(ctx context.Context, d health.Departure) (health.Pass, error) {
	s := k.seat(d.Provider)
	if s == nil { // it left the configuration while the request was on its way
		return health.Pass{}, nil
	}
	p := s.live.Load()
	now := time.Now()
	if d.For == health.AskSlot && !d.Revived && !p.asks {
		if p.view.Place(d.Action) == health.Skipped {
			return health.Pass{}, skipped(p.view)
		}
		pass := d.Pass(health.Token{Provider: s.id, Epoch: p.view.Epoch, N: k.n.Add(1)})
		pass.Holder = s
		s.inFlight.Add(1)
		k.jot(note{seat: s, epoch: pass.Token.Epoch, n: pass.Token.N, at: now, began: true, cut: d.Cut})
		return pass, nil
	}
	w := &waiter{d: d, n: k.n.Add(1), at: now, answer: make(chan answer, 1)}
	k.post(func() { k.ask(s, w) })
	select {
	case a := <-w.answer:
		if a.refused != nil {
			return health.Pass{}, a.refused
		}
		return a.pass, nil
	case <-ctx.Done():
		k.post(func() { k.withdraw(s, w) })
		return health.Pass{}, context.Cause(ctx)
	case <-k.ended:
		return health.Pass{}, &health.Refused{Reason: "shutdown"}
	}
}

// skipped is why a provider takes no request of this kind.
func skipped(v health.View) *health.Refused {
	switch {
	case v.By == health.ByOperator:
		return &health.Refused{Reason: "excluded", Until: v.Until}
	case v.Phase == health.Restarting:
		return &health.Refused{Reason: "restarting", Until: v.NextProbeAt}
	default:
		return &health.Refused{Reason: "excluded", Until: v.NextProbeAt}
	}
}

// Spoke tells that an attempt has given its first content. Only that of a trial
// means something: those who wait for its verdict go.
func (k *Keeper) Spoke(p health.Pass) {
	if s, _ := p.Holder.(*seat); s != nil && p.Trial() {
		k.post(func() {
			s.spoke = p.Token.N
			k.move(s)
		})
	}
}

// Ended gives a pass back. It returns when everything that the ending decides
// has been decided, so that whoever called knows that the next attempt, of
// anybody, goes by it.
func (k *Keeper) Ended(p health.Pass, e health.Ending) {
	s, _ := p.Holder.(*seat)
	if s == nil {
		return
	}
	now := time.Now()
	s.note(e, now)
	s.inFlight.Add(-1)
	e.Counts = e.Counts && p.Action.Counts()
	live := s.live.Load()
	if live.calm && !p.Trial() && p.Token.Epoch == live.view.Epoch && !e.Counts && e.Park == health.NoPark {
		k.jot(note{
			seat: s, epoch: p.Token.Epoch, n: p.Token.N, at: now, ok: e.OK, firstToken: e.FirstToken, tokens: e.Tokens,
		})
		return
	}
	k.wait(func() { k.attemptEnded(s, p, e, now) })
}

// note counts an ending for people. A cancel is nobody's failure.
func (s *seat) note(e health.Ending, now time.Time) {
	switch {
	case e.OK:
		s.attempts.Add(1)
		s.successes.Add(1)
		s.lastOK.Store(now.UnixNano())
	case e.Class == drey.Cancel:
		s.attempts.Add(1)
	case int(e.Class) < len(s.failures):
		s.attempts.Add(1)
		s.failures[e.Class].Add(1)
		text := e.Error
		if r := []rune(text); len(r) > 200 {
			text = string(r[:200])
		}
		s.lastError.Store(&LastError{At: now, Class: e.Class, Status: e.Status, Text: text})
	}
}

// attemptBegan is an attempt that left without asking.
func (k *Keeper) attemptBegan(s *seat, t health.Token, cut func(error), at time.Time) {
	if cut != nil {
		s.cuts[t.N] = cut
	}
	k.step(s, health.AttemptStarted{Meta: health.Meta{At: at}, Token: t})
}

// attemptEnded is the end of an attempt. Of a provider that has left the
// configuration only its process wants to know.
func (k *Keeper) attemptEnded(s *seat, p health.Pass, e health.Ending, at time.Time) {
	delete(s.cuts, p.Token.N)
	meta := health.GroupMeta{At: at, RequestID: p.RequestID}
	used := s.uses[p.Token.N]
	delete(s.uses, p.Token.N)
	if k.seat(s.id) != s {
		if used != nil {
			k.groupStep(used, health.Ended{GroupMeta: meta, Token: p.Token}, nil)
		}
		return
	}
	k.step(s, health.AttemptEnded{
		Meta:  health.Meta{At: at, Cause: s.inStory(), RequestID: p.RequestID, Profile: p.Profile, Rand: k.cfg.Random()},
		Token: p.Token, OK: e.OK, Counted: e.Counts, Class: e.Class, Latency: e.Latency, Error: e.Error,
		Park: e.Park, RetryAfter: e.RetryAfter,
	})
	s.answers.add(e, at)
	if used != nil {
		k.groupStep(used, health.Ended{GroupMeta: meta, Token: p.Token}, nil)
	}
	if g := k.groups[groupName(s.provider)]; g != nil && p.Run != 0 && e.Class == drey.Resource && !e.OK {
		k.groupStep(g, health.RanOutOfMemory{GroupMeta: meta, Provider: s.id, Run: p.Run}, nil)
	}
	k.tellDrainers(s)
	k.move(s)
}
