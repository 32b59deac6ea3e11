package route

import (
	"slices"
	"time"

	"github.com/dreyhq/drey"
)

// Walk is one request's way down its plan: a pure machine, and a value. The
// zero value is a walk that has not begun. It lives as long as its request; a
// restart of the daemon ends both.
type Walk struct {
	phase    phase
	plan     Plan
	tokens   int
	deadline time.Time

	cur      int    // the candidate under way
	try      Try    // what was asked for last
	seats    []seat // by candidate; nil until the first one failed or was full
	attempts []Attempt
	skipped  []Skip // found at the attempt

	tooSmall int // the largest window that refused the prompt for its length
	retries  int // made so far, all at one provider
	noRetry  bool

	resuming bool // the caller has the beginning of an answer: only its rest is sought
	broke    int  // the entry in attempts, plus one, of what broke it last
}

type phase uint8

const (
	idle   phase = iota // nothing has happened
	trying              // a Try is under way, and its end is the next event
	ended               // the caller's answer is decided
)

// seat is what the walk knows of a candidate.
type seat struct {
	state    seatState
	last     int // its last entry in attempts, plus one
	loading  time.Time
	polled   time.Duration // time spent in asking a loading backend again
	deferred Reason
}

type seatState uint8

const (
	untried  seatState = iota
	deferred           // it is there and has no place yet: waited for before anything costlier
	done               // it has failed or is out of the question
)

const (
	loadingPoll           = time.Second
	retryLeast, retrySpan = 200 * time.Millisecond, 300 * time.Millisecond
)

// Step returns the walk that follows w when ev happens, and what is to be done
// next. It is total: an event that means nothing in w returns w and no action,
// and nothing follows Served, Relay, Give or Fail. It changes nothing that w
// shares with copies of it.
//
// The rules (the gateway contract §6, the healing contract §9):
//
//  1. Each provider is tried once, in the plan's order. Failover is not
//     rationed.
//  2. A provider without a place, or one that is loading, is left for another
//     of the same or a cheaper class, and waited for before a costlier one is
//     asked. One that ramps is waited for only when nothing else is left.
//  3. When nothing is left, one provider is asked again: the one that failed
//     last if its class allows, else the first in order. server: after 200 to
//     500 ms; rate_limit: after a stated Retry-After within the policy's wait.
//     No other class, and never a trial.
//  4. A prompt that is too long goes to larger windows only. A missing feature
//     goes to the next provider. Whatever else blames the request is relayed.
//  5. After commit nothing is repeated. An answer that broke may be resumed
//     once, by the next provider that goes on from the start of an answer.
func Step(w Walk, ev Event, p Policy) (Walk, Action) {
	if w.phase == ended {
		return w, nil
	}
	if b, ok := ev.(Began); ok {
		if w.phase != idle {
			return w, nil
		}
		w.phase, w.plan, w.tokens, w.deadline = trying, b.Plan, b.Tokens, b.Deadline
		return w.next(b.At, 0, p)
	}
	if w.phase != trying {
		return w, nil
	}
	switch ev := ev.(type) {
	case Served:
		if w.current(ev.Provider) {
			w.phase = ended
		}
	case Failed:
		if w.current(ev.Provider) {
			return w.failed(ev, p)
		}
	case Full:
		if w.current(ev.Provider) {
			return w.full(ev).next(ev.At, ev.Rand, p)
		}
	case Passed:
		if w.current(ev.Provider) {
			return w.passed(ev.Reason, ev.Until).next(ev.At, ev.Rand, p)
		}
	case RetryRefused:
		if w.current(ev.Provider) && w.try.Retry {
			w.noRetry = true
			return w.next(ev.At, 0, p)
		}
	}
	return w, nil
}

func (w Walk) current(id drey.ProviderID) bool { return w.plan.Candidates[w.cur].ID == id }

// own gives the walk seats of its own, so that copies of it stay as they are.
func (w Walk) own() Walk {
	if w.seats == nil {
		w.seats = make([]seat, len(w.plan.Candidates))
	} else {
		w.seats = slices.Clone(w.seats)
	}
	return w
}

// full defers the current candidate if it was not waited for, else takes it
// out.
func (w Walk) full(ev Full) Walk {
	waited := w.try.SlotWait
	if ev.Reason == ReasonRamping {
		waited = w.try.RampWait
	}
	if waited > 0 || w.plan.Candidates[w.cur].QueueWait <= 0 {
		return w.passed(ev.Reason, time.Time{})
	}
	w = w.own()
	w.seats[w.cur].state, w.seats[w.cur].deferred = deferred, ev.Reason
	return w
}

// passed takes the current candidate out. One that was tried before stands
// among the attempts already.
func (w Walk) passed(r Reason, until time.Time) Walk {
	w = w.own()
	w.seats[w.cur].state = done
	if w.seats[w.cur].last == 0 {
		c := w.plan.Candidates[w.cur]
		w.skipped = append(slices.Clip(w.skipped), Skip{c.ID, c.Index, r, until})
	}
	return w
}

// failed judges the end of an attempt.
func (w Walk) failed(ev Failed, p Policy) (Walk, Action) {
	w = w.own()
	s, v := &w.seats[w.cur], ev.Verdict
	c := w.plan.Candidates[w.cur]
	w.attempts = append(slices.Clip(w.attempts), Attempt{
		Provider: c.ID, Index: w.cur, Verdict: v, At: ev.At, Took: ev.Took, Retry: w.try.Retry,
	})
	s.state, s.last = done, len(w.attempts)
	switch {
	case w.resuming || ev.Committed: // 5
		return w.broken(ev)
	case v.Class == drey.Cancel:
		return w.end(Fail{Case: CaseCancelled})
	case v.Class == drey.Internal:
		return w.end(Fail{Case: CaseInternal})
	case v.Class == drey.Caller && v.Sub == ContextLength: // 4
		refused := c.Context
		if refused <= 0 { // nobody knows: larger than the prompt is what helps
			refused = max(w.tokens, 1)
		}
		w.tooSmall = max(w.tooSmall, refused)
	case v.Class == drey.Caller && v.Sub != Unsupported:
		return w.end(Relay{c.ID, v})
	case v.Class == drey.Loading: // 2
		if s.loading.IsZero() {
			s.loading = ev.At
		}
		s.polled += w.try.After
		if !c.Trial && w.patience(w.cur, ev.At) > 0 {
			s.state, s.deferred = deferred, ReasonLoading
		}
	}
	return w.next(ev.At, ev.Rand, p)
}

// patience is how much longer a loading backend is waited for. The time spent
// in asking counts as well as the clock, so that a clock which stands still
// ends it too.
func (w Walk) patience(i int, at time.Time) time.Duration {
	s := &w.seats[i]
	return w.plan.Candidates[i].QueueWait - max(s.polled, at.Sub(s.loading))
}

// next chooses the next attempt, or ends the walk.
func (w Walk) next(at time.Time, rnd float64, p Policy) (Walk, Action) {
	if w.resuming {
		return w.resume(at)
	}
	if !w.deadline.IsZero() && !at.Before(w.deadline) {
		return w.finish(at)
	}
	waiting := w.waiting()
	open := w.first(func(i int) bool { // 1
		return w.state(i) == untried && (waiting < 0 || w.price(i) <= w.price(waiting))
	})
	switch {
	case open >= 0:
		return w.attempt(Try{Candidate: w.plan.Candidates[open]}, open)
	case waiting >= 0: // 2
		return w.attempt(Try{Candidate: w.plan.Candidates[waiting], After: w.poll(waiting, at)}, waiting)
	}
	if ramping := w.first(func(i int) bool { return w.state(i) == deferred }); ramping >= 0 {
		return w.attempt(Try{Candidate: w.plan.Candidates[ramping]}, ramping)
	}
	if i, after, ok := w.retry(at, rnd, p); ok { // 3
		w.retries++
		return w.attempt(Try{Candidate: w.plan.Candidates[i], After: after, Retry: true}, i)
	}
	return w.finish(at)
}

// waiting returns the cheapest candidate that is worth waiting for, or -1.
func (w Walk) waiting() int {
	best := -1
	for i := range w.seats {
		if w.seats[i].state == deferred && w.seats[i].deferred != ReasonRamping && w.usable(i) &&
			(best < 0 || w.price(i) < w.price(best)) {
			best = i
		}
	}
	return best
}

// attempt asks for one, and says how long it may wait for its place.
func (w Walk) attempt(t Try, i int) (Walk, Action) {
	cheap, other := false, false // is another left, of the same or a cheaper class, or at all
	for j := range w.plan.Candidates {
		if j == i || !w.usable(j) {
			continue
		}
		switch w.state(j) {
		case untried:
			other = true
			cheap = cheap || w.price(j) <= w.price(i)
		case deferred:
			other = other || w.seats[j].deferred != ReasonRamping
		}
	}
	if !cheap {
		t.SlotWait = t.QueueWait
	}
	if !other {
		t.RampWait = t.QueueWait
	}
	if w.seats != nil && w.seats[i].state == deferred {
		w = w.own()
		w.seats[i].state = untried // it is under way; deferring it again is a decision
	}
	w.cur, w.try = i, t
	return w, t
}

// poll is how long to wait before a deferred candidate is asked again: a
// loading backend each second, or as it said; a full one at once.
func (w Walk) poll(i int, at time.Time) time.Duration {
	s := &w.seats[i]
	if s.deferred != ReasonLoading || s.last == 0 { // a process of ours queues what asks it
		return 0
	}
	last := w.attempts[s.last-1]
	pause := max(loadingPoll, last.Verdict.RetryAfter)
	left := max(w.patience(i, at), loadingPoll)
	return min(max(pause-at.Sub(last.At), 0), left)
}

// retry picks the provider that is asked once more.
func (w Walk) retry(at time.Time, rnd float64, p Policy) (i int, after time.Duration, ok bool) {
	limit := p.Retries
	if limit < 0 {
		limit = 1
	}
	if w.noRetry || w.retries >= limit || len(w.attempts) == 0 {
		return 0, 0, false
	}
	order := make([]int, 0, len(w.plan.Candidates)+1)
	order = append(order, w.attempts[len(w.attempts)-1].Index)
	if w.retries == 0 { // else all retries are one provider's
		for j := range w.plan.Candidates {
			order = append(order, j)
		}
	}
	for _, i := range order {
		if after, ok := w.again(i, at, rnd, p); ok && (w.deadline.IsZero() || at.Add(after).Before(w.deadline)) {
			return i, after, true
		}
	}
	return 0, 0, false
}

// again reports whether the candidate's last failure allows a repetition, and
// after what time.
func (w Walk) again(i int, at time.Time, rnd float64, p Policy) (time.Duration, bool) {
	if w.seats == nil || w.seats[i].last == 0 || w.plan.Candidates[i].Trial || !w.usable(i) {
		return 0, false
	}
	last := w.attempts[w.seats[i].last-1]
	switch v := last.Verdict; {
	case v.Class == drey.Server:
		return retryLeast + time.Duration(rnd*float64(retrySpan)), true
	case v.Class == drey.RateLimit && v.RetryAfter > 0 && v.RetryAfter <= p.Wait:
		return max(v.RetryAfter-at.Sub(last.At), 0), true
	}
	return 0, false
}

// first returns the first candidate that is usable and fits, or -1.
func (w Walk) first(fits func(int) bool) int {
	for i := range w.plan.Candidates {
		if w.usable(i) && fits(i) {
			return i
		}
	}
	return -1
}

// usable reports whether the candidate's window is larger than those that
// refused the prompt, and whether the same provider has not been tried from
// another place of the chain.
func (w Walk) usable(i int) bool {
	c := &w.plan.Candidates[i]
	if w.tooSmall > 0 && window(c.Context) <= w.tooSmall {
		return false
	}
	for j := range w.attempts {
		if w.attempts[j].Provider == c.ID && w.attempts[j].Index != i {
			return false
		}
	}
	return true
}

func (w Walk) state(i int) seatState {
	if w.seats == nil {
		return untried
	}
	return w.seats[i].state
}

func (w Walk) price(i int) drey.Price { return w.plan.Candidates[i].Price }

func (w Walk) end(a Action) (Walk, Action) {
	w.phase = ended
	if f, ok := a.(Fail); ok {
		f.Uniform = w.uniform()
		a = f
	}
	return w, a
}

// Attempts returns the failed attempts, in order. The caller must not change
// them.
func (w Walk) Attempts() []Attempt { return w.attempts }

// Ended reports whether the caller's answer is decided.
func (w Walk) Ended() bool { return w.phase == ended }

// Skipped returns who was left out, in the chain's order: by the plan, at the
// attempt, for want of a place where another was asked instead, and for a
// window that is no larger than one which refused the prompt. The caller must
// not change it.
func (w Walk) Skipped() []Skip {
	if w.seats == nil {
		return w.plan.Skipped
	}
	all := Plan{Skipped: slices.Clone(w.plan.Skipped)}
	for _, s := range w.skipped {
		all.skip(s)
	}
	for i, s := range w.seats {
		if s.last != 0 || s.state == done || i == w.cur && s.state == untried {
			continue
		}
		c := w.plan.Candidates[i]
		switch {
		case s.state == deferred:
			all.skip(Skip{c.ID, c.Index, s.deferred, time.Time{}})
		case w.tooSmall > 0 && window(c.Context) <= w.tooSmall:
			all.skip(Skip{c.ID, c.Index, ReasonContext, time.Time{}})
		}
	}
	return all.Skipped
}
