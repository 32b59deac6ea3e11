package gateway

import (
	"slices"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/route"
)

// tight is what the context budget has done about a request so far.
type tight struct {
	// whole is the request, where it is trimmed for the provider under way; an
	// empty body means that it is not.
	whole struct {
		body   []byte
		tokens int
	}
	back []drey.ProviderID // put behind others for their windows
	told []drey.ProviderID // of whom it was told how full their windows are
}

// fit is how the request fits the window of a provider. A caller that does not
// say how long an answer may be reserves nothing for it: many windows of local
// models are no larger than what would have to be assumed.
func (x *exchange) fit(l *lane, window int) guard.Fit {
	f := guard.Fit{Estimate: x.prompt(), MaxTokens: x.maxTokens(), Window: window}
	if n := l.tokens(f.Estimate); n != f.Estimate && f.Estimate > 0 {
		f.Factor.Ratio = float64(n) / float64(f.Estimate)
	}
	return f
}

// preferRoom puts providers whose window the request fills behind those with
// room, where the profile says so (context_budget: route). live is the table
// that the plan was made with: what it says of this request alone, such as whose
// answers have become worse, moves providers too.
func (x *exchange) preferRoom(p *route.Plan, live []route.Live) {
	b := &x.chain.Guards.Context
	if x.embeds || b.Action != guard.BudgetRoute || len(p.Candidates) < 2 {
		return
	}
	fits := make([]guard.Fit, len(x.chain.lanes)) // by index in the chain
	for _, c := range p.Candidates {
		fits[c.Index] = x.fit(x.chain.lanes[c.Index], c.Context)
	}
	x.tight.back = p.PreferRoom(&x.chain.Chain, live, route.Needs(x.head.Needs), func(equals []route.Candidate) []int {
		of := make([]guard.Fit, len(equals))
		for i, c := range equals {
			of[i] = fits[c.Index]
		}
		order, _ := b.Order(of)
		return order
	})
	for _, c := range p.Candidates {
		if slices.Contains(x.tight.back, c.ID) {
			x.warn(b, c.ID, fits[c.Index])
		}
	}
	if len(x.tight.back) > 0 {
		x.trip(guard.BudgetRoute)
	}
}

// untrim gives the request back whole after it was trimmed for a provider. The
// next one's reservation and window are those of all of it.
func (x *exchange) untrim() {
	if w := &x.tight.whole; w.body != nil {
		x.req.Body, x.head.Tokens, x.decoded = w.body, w.tokens, nil
		w.body = nil
	}
}

// fill looks at how the request fills the window of the provider that is about
// to be tried, and trims it for this one if the profile says so.
func (x *exchange) fill(a *attempt) {
	b := &x.chain.Guards.Context
	if x.embeds || b.Action == guard.BudgetOff {
		return
	}
	f := x.fit(a.lane, x.chain.Members[slices.Index(x.chain.lanes, a.lane)].Context)
	found := b.Check(f)
	if len(x.tight.back) > 0 && !slices.Contains(x.tight.back, a.p.ID) {
		a.context = guard.HeaderRouted
	}
	if !found.Warn {
		return
	}
	first := x.warn(b, a.p.ID, f)
	if a.context == "" {
		a.context = guard.HeaderWarning
	}
	did := guard.BudgetWarn
	if found.Full && b.Action == guard.BudgetTrim {
		if t := guard.Trim(x.codec, x.req.Body, f, *b); t.Body != nil {
			did, a.context = guard.BudgetTrim, guard.HeaderTrimmed
			if first {
				x.tightEvent(t.Event(x.chain.ID, a.p.ID, f.Window))
			}
			x.tight.whole.body, x.tight.whole.tokens = x.req.Body, x.head.Tokens
			gone := f.Estimate - t.Estimate // the beginning of an answer stays, and is no part of the body
			x.req.Body, x.head.Tokens, x.decoded = t.Body, x.head.Tokens-gone, nil
		}
	}
	x.trip(did)
}

// warn tells once of each provider that the request fills its window, and
// reports whether it did so now.
func (x *exchange) warn(b *guard.Budget, id drey.ProviderID, f guard.Fit) bool {
	if slices.Contains(x.tight.told, id) {
		return false
	}
	x.tight.told = append(x.tight.told, id)
	x.tightEvent(b.Warning(x.chain.ID, id, f))
	return true
}

func (x *exchange) tightEvent(ev drey.Event) {
	ev.At = time.Now()
	x.emit(ev)
}

// trip notes for the row what the budget did.
func (x *exchange) trip(did guard.BudgetAction) {
	x.rec.tripped(guard.Trip{Guard: guard.GuardContext, Action: did.String()})
}
