package guard

import (
	"math"
	"slices"

	"github.com/dreyhq/drey"
)

// Budget is what a profile says about full context windows. The zero value is
// off. Shares are of a provider's window.
type Budget struct {
	Action BudgetAction
	// Warn is the share from which on it is told. Source: context_budget.warn,
	// default 0.80.
	Warn float64
	// Trim is the share from which on turns are left out, or larger windows
	// preferred. Source: context_budget.trim, default 0.90.
	Trim float64
	// Target is the share that trimming leaves. Source: context_budget.target,
	// default 0.75.
	Target float64
	// KeepLast is how many messages at the end always stay, 1 to 100; 0 = 1.
	// Source: context_budget.keep_last, default 4.
	KeepLast int
}

// Fit is how a request fits a provider's window.
type Fit struct {
	// Estimate is the prompt's estimate (wire.Head.Tokens), without a factor.
	Estimate int
	// Factor is the provider's.
	Factor Factor
	// MaxTokens is what the caller says may be generated; 0 = it does not say.
	MaxTokens int
	// Window is the provider's window in tokens; 0 = unknown, and everything
	// fits.
	Window int
}

// mostAnswer is how much of max_tokens counts against the window: agents ask
// for far more than they ever use. Source: contract §13.
const mostAnswer = 4096

// Used returns the tokens that the request takes of the window.
func (f Fit) Used() int { return f.Factor.Apply(f.Estimate) + min(max(f.MaxTokens, 0), mostAnswer) }

// Ratio returns the share of the window that the request takes; 0 if the window
// is unknown.
func (f Fit) Ratio() float64 {
	if f.Window <= 0 {
		return 0
	}
	return float64(f.Used()) / float64(f.Window)
}

// Finding is what the budget says about a request and a provider.
type Finding struct {
	Ratio float64
	Warn  bool // the event context-budget-warning, and the header
	Full  bool // BudgetTrim: the body is to be trimmed; BudgetRoute: larger windows go first
}

// The values of X-Drey-Context-Budget.
const (
	HeaderWarning = "warning"
	HeaderTrimmed = "trimmed"
	HeaderRouted  = "routed"
)

// Check looks at one provider that is about to be tried.
func (b Budget) Check(f Fit) Finding {
	if b.Action == BudgetOff {
		return Finding{}
	}
	r := f.Ratio()
	return Finding{Ratio: r, Warn: r > 0 && r >= b.Warn, Full: b.full(r)}
}

func (b Budget) full(ratio float64) bool {
	return b.Action > BudgetWarn && ratio > 0 && ratio >= b.Trim
}

// Warning is the event of a finding that warns.
func (b Budget) Warning(p drey.ProfileID, provider drey.ProviderID, f Fit) drey.Event {
	return event(p, "context-budget-warning",
		drey.F("provider", provider), drey.F("ratio", math.Round(f.Ratio()*1000)/1000), drey.F("tokens", f.Used()), drey.F("window", f.Window),
		drey.F("action", b.Action.String()))
}

// Order returns the indices of fits as the action route has them tried: those
// that the request does not fill in their order, then the others, larger
// windows first. moved says that this is another order than it was. With any
// other action nothing moves.
func (b Budget) Order(fits []Fit) (order []int, moved bool) {
	order = make([]int, len(fits))
	for i := range order {
		order[i] = i
	}
	if b.Action != BudgetRoute {
		return order, false
	}
	full := make([]bool, len(fits))
	for i, f := range fits {
		full[i] = b.full(f.Ratio())
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch {
		case full[i] && full[j]:
			return fits[j].Window - fits[i].Window
		case full[i]:
			return 1
		case full[j]:
			return -1
		default:
			return 0
		}
	})
	return order, !slices.IsSorted(order)
}

// Factor is how many tokens a provider really counts for one of the estimate,
// learned from the usage that it reports. The zero value has learned nothing
// and changes nothing. It is a value: Learn returns the next one.
type Factor struct {
	// Ratio is the mean so far; 0 = nothing learned.
	Ratio float64 `json:"ratio"`
}

// What a factor is bound to, and how it learns.
const (
	leastFactor = 0.5 // contract §13
	mostFactor  = 2
	// learnFrom is the shortest prompt, in tokens of the estimate, that
	// teaches: in shorter ones the template around the messages is what counts.
	learnFrom = 200
	// learnWithin bounds what can be a way of counting. A report beyond it
	// tells of something else, such as a prompt that the server cut silently.
	learnWithin = 4
	// learnRate is the weight of the latest report.
	learnRate = 0.2
)

// Value returns the factor, within 0.5 to 2.
func (f Factor) Value() float64 {
	if f.Ratio <= 0 {
		return 1
	}
	return min(max(f.Ratio, leastFactor), mostFactor)
}

// Apply returns an estimate times the factor, rounded up.
func (f Factor) Apply(estimate int) int {
	if f.Ratio <= 0 {
		return estimate
	}
	return ceil(float64(estimate) * f.Value())
}

// Learn returns the factor after a report: the estimate of a prompt, and the
// tokens that the provider counted for it, cached ones included.
func (f Factor) Learn(estimate, reported int) Factor {
	if estimate < learnFrom || reported <= 0 {
		return f
	}
	r := float64(reported) / float64(estimate)
	if r > learnWithin || r < 1./learnWithin {
		return f
	}
	r = min(max(r, leastFactor), mostFactor)
	if f.Ratio <= 0 {
		return Factor{r}
	}
	return Factor{f.Ratio + learnRate*(r-f.Ratio)}
}

// ceil rounds up; what is whole but for the imprecision of the arithmetic
// stays.
func ceil(v float64) int {
	n := int(v)
	if v-float64(n) > 1e-9*v {
		n++
	}
	return n
}
