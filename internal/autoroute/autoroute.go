// Package autoroute chooses a profile by what a request looks like: rules with
// conditions over a handful of signals, the first that is true counts (the
// gateway contract §3). It is pure: the request's body, its key's name and the
// hour come in as arguments.
//
// # Conditions
//
// A condition is an expression of github.com/expr-lang/expr over the variables
// of Signals. It is compiled and checked when the configuration is loaded, and
// with its types also what it may cost: a condition that could take longer than
// a millisecond on the largest signals there can be is refused there (see
// budget), so that none can hold a request. What is left of the language for
// that has neither I/O nor clock nor loops but those over the names of tools
// and over lists that stand in the condition.
package autoroute

import (
	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

// DefaultRule is what Verdict calls the rule where none was true. No rule may
// have it as its ID.
const DefaultRule = "default"

// Rule sends the requests for which When is true to Profile.
type Rule struct {
	ID      string // what events call it
	When    *Condition
	Profile drey.ProfileID
}

// Router is a list of rules. It is read-only once built, and may be used
// concurrently.
type Router struct {
	rules       []Rule
	fallback    drey.ProfileID
	text, ratio bool // some rule looks at the text, at the share of code in it
}

// New returns a router that tries the rules in order and chooses fallback where
// none is true. It keeps what it is given.
func New(rules []Rule, fallback drey.ProfileID) *Router {
	r := &Router{rules: rules, fallback: fallback}
	for i := range rules {
		r.text = r.text || rules[i].When.text
		r.ratio = r.ratio || rules[i].When.ratio
	}
	return r
}

// Rules is how many rules there are.
func (r *Router) Rules() int { return len(r.rules) }

// Request is what a router looks at.
type Request struct {
	Wire drey.Wire
	Head wire.Head
	Body []byte // the caller's own; it is not changed and not kept
	Key  string // the name of the caller's key; "" if there are none
	Hour int    // 0 to 23, by the clock that its owner lives by
}

// Verdict is what a router says of a request.
type Verdict struct {
	Rule    string // the ID of the rule that was true, or DefaultRule
	Profile drey.ProfileID
	Signals Signals
	Failed  []Failure // rules that could not be evaluated, and so counted as false
}

// Failure is a rule whose condition failed.
type Failure struct {
	Index int // among the router's rules
	ID    string
	Err   error // without anything that the caller said
}

// Choose tries the rules in order. The first whose condition is true is the
// verdict; a condition that fails counts as false. The body is read only if a
// rule looks at its text.
func (r *Router) Choose(req Request) Verdict {
	v := Verdict{Rule: DefaultRule, Profile: r.fallback, Signals: r.signals(req)}
	for i := range r.rules {
		rule := &r.rules[i]
		yes, err := rule.When.Eval(&v.Signals)
		if err != nil {
			v.Failed = append(v.Failed, Failure{i, rule.ID, err})
			continue
		}
		if yes {
			v.Rule, v.Profile = rule.ID, rule.Profile
			break
		}
	}
	return v
}
