package route

import (
	"time"

	"github.com/dreyhq/drey"
)

// broken judges an answer whose beginning the caller has: one that broke just
// now, or one whose rest somebody else was to give and did not. It is resumed
// once. Who failed at that before the caller had a word of him changes nothing:
// the next one is asked.
func (w Walk) broken(ev Failed) (Walk, Action) {
	switch {
	case w.resuming && !ev.Committed && ev.Verdict.Class != drey.Cancel:
		return w.resume(ev.At)
	case ev.Committed:
		w.broke = len(w.attempts)
	}
	if w.resuming || !ev.Resumable || !Mendable(ev.Verdict) {
		return w.end(Fail{Case: inBandCase(ev.Verdict), InBand: true})
	}
	w.resuming = true
	return w.resume(ev.At)
}

// Mendable reports whether another provider could do better than one that broke
// off with v: not where the request itself is to blame, where nobody listens any
// more, or after a bug of ours.
func Mendable(v Verdict) bool {
	return v.Class != drey.Cancel && v.Class != drey.Internal && v.Class != drey.Caller
}

// resume asks the next provider that can give the rest of an answer, or tells
// the caller why it broke. One without a place is waited for once no other is
// left.
func (w Walk) resume(at time.Time) (Walk, Action) {
	left := 0
	able := func(s seatState) int {
		return w.first(func(i int) bool { return w.plan.Candidates[i].Prefill && w.state(i) == s })
	}
	for i := range w.plan.Candidates {
		if w.plan.Candidates[i].Prefill && w.usable(i) && w.state(i) != done {
			left++
		}
	}
	i := able(untried)
	if i < 0 {
		i, left = able(deferred), 1 // and if it has no place now, it is out
	}
	if i < 0 || !w.deadline.IsZero() && !at.Before(w.deadline) {
		return w.end(Fail{Case: inBandCase(w.attempts[w.broke-1].Verdict), InBand: true})
	}
	t := Try{Candidate: w.plan.Candidates[i], Resume: true}
	if left == 1 {
		t.SlotWait, t.RampWait = t.QueueWait, t.QueueWait
	}
	w = w.own()
	w.seats[i].state = untried // it is under way
	w.cur, w.try = i, t
	return w, t
}
