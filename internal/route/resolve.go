package route

import (
	"cmp"
	"time"

	"github.com/dreyhq/drey"
)

// Reason says why a provider was left out of a request's way, or moved back in
// it.
type Reason string

// The reasons to leave a provider out. Those behind ReasonContext are found at
// the attempt.
const (
	ReasonCredential Reason = "no-credential"
	ReasonPaid       Reason = "paid-gate"
	ReasonExcluded   Reason = "excluded"
	ReasonRestarting Reason = "restarting"
	ReasonRateLimit  Reason = "parked-rate-limit"
	ReasonQuota      Reason = "parked-quota"
	ReasonAuth       Reason = "parked-auth"
	ReasonResource   Reason = "resource"
	ReasonBudget     Reason = "budget"
	ReasonContext    Reason = "context-window"

	ReasonRamping Reason = "ramping"
	ReasonBusy    Reason = "busy"
	ReasonLoading Reason = "loading"
)

// The reasons to move a provider back.
const (
	ReasonDemoted    Reason = "demoted"
	ReasonCapability Reason = "capability"
	ReasonThinking   Reason = "thinking-order"
	ReasonAdaptive   Reason = "adaptive"
	ReasonDrift      Reason = "drift"
)

// configured reports whether the reason is the normal case of a configuration,
// which is no fallback.
func (r Reason) configured() bool { return r == ReasonCredential || r == ReasonPaid }

// Ask is what a resolution must know of a request.
type Ask struct {
	At        time.Time
	Tokens    int // the estimate of the prompt
	Needs     Needs
	CallerKey bool // the caller sent a credential that may be passed on
	// OverBudget reports whether an attempt at the member would exceed a
	// budget, and until when, zero if no time mends it; nil = no budget is in
	// force.
	OverBudget func(*Member) (until time.Time, over bool)
}

// Candidate is a provider that may be tried.
type Candidate struct {
	ID        drey.ProviderID
	Index     int // in Chain.Members
	Price     drey.Price
	Context   int
	QueueWait time.Duration
	Prefill   bool   // it goes on from the start of an answer
	Trial     bool   // this attempt decides about an exclusion: it is never retried
	Moved     Reason // why it stands behind its configured place; "" = it does not
}

// Skip is a provider that was left out.
type Skip struct {
	ID     drey.ProviderID
	Index  int // in Chain.Members
	Reason Reason
	Until  time.Time // when that ends, if it is known
}

// Plan is the way of one request down its chain.
type Plan struct {
	Candidates []Candidate // in order of trial
	Skipped    []Skip      // in the chain's order
	// Panic says that nothing was left and the only candidate is an excluded
	// provider (the healing contract §5).
	Panic bool
	// Queued says that nothing was left and the only candidate is a provider
	// whose process is on its way up: the request waits for it.
	Queued bool
}

// Resolve decides which providers of a chain a request may use and in which
// order (the gateway contract §5). live is the table that Member.Slot points
// into; it is only read.
//
// Passes that leave out: 1 credential, 2 paid gate, 3 the operator, restarting
// and health, 4 parking, 5 the cool-down after want of memory, 6 budget,
// 8 context windows. Passes that move: 3 demotion, 7 abilities and thinking,
// 9 adaptive order, 10 drift, 11 pools. Each moves stably; a later one weighs
// more, but 9 orders only what all others hold for equal, so that speed never
// brings back what was moved for a reason.
func Resolve(c *Chain, live []Live, a Ask) Plan {
	p := Plan{Candidates: make([]Candidate, 0, len(c.Members))}
	panicAt := -1 // the member that the panic rule would pick
	queueAt := -1 // the first one whose process is on its way up
	healthLeft := false
	moved := false
	for i := range c.Members {
		m := &c.Members[i]
		l := &live[m.Slot]
		reason, until := leftOut(c, m, l, &a)
		if reason == "" && l.Health == Excluded && c.Action == Exclude && !l.Trial { // 3, health alone
			reason, until = ReasonExcluded, l.NextProbe
			healthLeft = true
			if l.Probing && !a.At.Before(l.PanicFrom) &&
				(panicAt < 0 || l.NextProbe.Before(live[c.Members[panicAt].Slot].NextProbe)) {
				panicAt = i
			}
		}
		if reason == ReasonRestarting && l.Queues && queueAt < 0 && !l.parked(a.At) {
			queueAt = i
		}
		if reason != "" {
			p.Skipped = append(p.Skipped, Skip{m.ID, i, reason, until})
			continue
		}
		cand := candidate(m, i)
		cand.Trial = l.Health == Excluded && c.Action == Exclude
		cand.Moved = back(c, m, l, a.Needs)
		moved = moved || cand.Moved != ""
		p.Candidates = append(p.Candidates, cand)
	}
	p.dropSmallWindows(c, live, a.Tokens) // 8
	if len(p.Candidates) == 0 {
		switch {
		case healthLeft && panicAt >= 0:
			p.lastResort(c, panicAt)
			p.Panic = true
		case queueAt >= 0:
			p.lastResort(c, queueAt)
			p.Queued = true
		}
		return p
	}
	if len(p.Candidates) == 1 {
		p.Candidates[0].Moved = ""
		return p
	}
	if c.Adaptive {
		p.adapt(c, live) // 9
	}
	if moved {
		p.moveBack(c, live, a.Needs) // 3, 7, 10
	}
	p.orderPools(c, live) // 11
	p.forgetIdleMoves()
	return p
}

func candidate(m *Member, i int) Candidate {
	return Candidate{ID: m.ID, Index: i, Price: m.Price, Context: m.Context, QueueWait: m.QueueWait, Prefill: m.Can.Prefill == Yes}
}

// leftOut returns the first of the passes 1 to 6 that leaves the provider out,
// health aside.
func leftOut(c *Chain, m *Member, l *Live, a *Ask) (Reason, time.Time) {
	switch {
	case m.Credential == CredentialMissing, m.Credential == CredentialCaller && !a.CallerKey: // 1
		return ReasonCredential, time.Time{}
	case m.Price == drey.Paid && !c.AllowPaid: // 2
		return ReasonPaid, time.Time{}
	case l.Health == Withdrawn: // 3
		return ReasonExcluded, l.WithdrawnTill
	case l.Health == Restarting:
		return ReasonRestarting, l.NextProbe
	case l.parked(a.At): // 4, 5
		return l.Parked, l.ParkedUntil
	}
	if a.OverBudget != nil { // 6
		if until, over := a.OverBudget(m); over {
			return ReasonBudget, until
		}
	}
	return "", time.Time{}
}

// weigh returns the weight of what moves the provider back, the heaviest bit
// that of the last pass.
func weigh(c *Chain, m *Member, l *Live, n Needs) (w uint8) {
	if c.Action == Demote && (l.Health == Unhealthy || l.Health == Excluded) { // 3
		w |= 1
		if l.Health == Excluded {
			w |= 2
		}
	}
	if n.Tools && m.Can.Tools == No || n.Vision && m.Can.Vision == No ||
		n.Documents && m.Can.Documents == No || n.JSONSchema && m.Can.JSONSchema == No { // 7
		w |= 4
	}
	if n.Thinking && c.ThinkingOrder && m.Can.Thinking == No {
		w |= 8
	}
	if c.DemoteDrift && l.Drifted { // 10
		w |= 16
	}
	return w
}

// back names the heaviest reason of weigh.
func back(c *Chain, m *Member, l *Live, n Needs) Reason {
	switch w := weigh(c, m, l, n); {
	case w == 0:
		return ""
	case w >= 16:
		return ReasonDrift
	case w >= 8:
		return ReasonThinking
	case w >= 4:
		return ReasonCapability
	default:
		return ReasonDemoted
	}
}

// dropSmallWindows leaves out windows that are smaller than the estimate where
// a larger one is left. The largest stays whatever the estimate says: it is an
// estimate.
func (p *Plan) dropSmallWindows(c *Chain, live []Live, estimate int) {
	tokens := func(k *Candidate) int { return cmp.Or(live[c.Members[k.Index].Slot].Tokens, estimate) }
	largest, small := 0, false
	for i := range p.Candidates {
		w := window(p.Candidates[i].Context)
		largest = max(largest, w)
		small = small || w < tokens(&p.Candidates[i])
	}
	if !small {
		return
	}
	kept := p.Candidates[:0]
	for _, cand := range p.Candidates {
		if w := window(cand.Context); w < tokens(&cand) && w < largest {
			p.skip(Skip{cand.ID, cand.Index, ReasonContext, time.Time{}})
			continue
		}
		kept = append(kept, cand)
	}
	p.Candidates = kept
}

// skip adds to Skipped at its place in the chain's order.
func (p *Plan) skip(s Skip) {
	p.Skipped = append(p.Skipped, s)
	for i := len(p.Skipped) - 1; i > 0 && p.Skipped[i-1].Index > p.Skipped[i].Index; i-- {
		p.Skipped[i-1], p.Skipped[i] = p.Skipped[i], p.Skipped[i-1]
	}
}

// window makes an unknown window the largest.
func window(tokens int) int {
	if tokens <= 0 {
		return int(^uint(0) >> 1)
	}
	return tokens
}

// lastResort gives the request to the provider at i, which was left out.
func (p *Plan) lastResort(c *Chain, i int) {
	for j, s := range p.Skipped {
		if s.Index == i {
			p.Skipped = append(p.Skipped[:j], p.Skipped[j+1:]...)
			break
		}
	}
	cand := candidate(&c.Members[i], i)
	cand.Trial = true
	p.Candidates = append(p.Candidates, cand)
}

// moveBack sorts stably by weight.
func (p *Plan) moveBack(c *Chain, live []Live, n Needs) {
	p.stable(func(x, y *Candidate) bool {
		mx, my := &c.Members[x.Index], &c.Members[y.Index]
		return weigh(c, mx, &live[mx.Slot], n) < weigh(c, my, &live[my.Slot], n)
	})
}

// adapt sorts by demerits within each price class; which places belong to
// which class stays as it is, so latency never puts a paid provider before a
// local one.
func (p *Plan) adapt(c *Chain, live []Live) {
	demerits := func(k *Candidate) int { return live[c.Members[k.Index].Slot].Demerits }
	ks := p.Candidates
	for i := 1; i < len(ks); i++ {
		k := ks[i]
		at := i
		for j := i - 1; j >= 0; j-- {
			if ks[j].Price != k.Price {
				continue
			}
			if demerits(&ks[j]) <= demerits(&k) {
				break
			}
			if ks[j].Moved == "" {
				ks[j].Moved = ReasonAdaptive
			}
			ks[at], at = ks[j], j
		}
		ks[at] = k
	}
}

// orderPools sorts each run of equals: the one that served the conversation
// last, unless it is full or not well; those that are well before those that
// are degraded; the fewest answers under way.
func (p *Plan) orderPools(c *Chain, live []Live) {
	p.stable(func(x, y *Candidate) bool {
		mx, my := &c.Members[x.Index], &c.Members[y.Index]
		if mx.Pool == 0 || mx.Pool != my.Pool || !equals(x.Moved, y.Moved) {
			return false
		}
		lx, ly := &live[mx.Slot], &live[my.Slot]
		if fx, fy := lx.follows(), ly.follows(); fx != fy {
			return fx
		}
		if (lx.Health == Healthy) != (ly.Health == Healthy) {
			return lx.Health == Healthy
		}
		return lx.InFlight < ly.InFlight
	})
}

// equals reports whether two of a pool stand side by side: moved for the same
// reason or not at all. Demerits part nobody within a pool, since load and
// affinity do the better work there.
func equals(x, y Reason) bool {
	return x == y || (x == "" || x == ReasonAdaptive) && (y == "" || y == ReasonAdaptive)
}

// follows reports whether the affinity points at the provider and is worth
// following.
func (l *Live) follows() bool {
	return l.Affine && l.Health == Healthy && !l.Busy && !l.Ramping
}

// stable is an insertion sort: chains are short, and it allocates nothing.
func (p *Plan) stable(less func(x, y *Candidate) bool) {
	ks := p.Candidates
	for i := 1; i < len(ks); i++ {
		for j := i; j > 0 && less(&ks[j], &ks[j-1]); j-- {
			ks[j], ks[j-1] = ks[j-1], ks[j]
		}
	}
}

// forgetIdleMoves takes the reason from those behind whom nobody passed: all
// that they would stand behind have moved or gone as well.
func (p *Plan) forgetIdleMoves() {
	last := -1 // the furthest configured place among those further up
	for i := range p.Candidates {
		if k := &p.Candidates[i]; k.Index > last {
			last, k.Moved = k.Index, ""
		}
	}
}
