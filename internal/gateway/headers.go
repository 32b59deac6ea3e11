package gateway

import (
	"bytes"
	"net/http"

	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/route"
)

// headers are those of an answer that a provider gives: how the request got to
// it, whether it fills the provider's window, and whether the provider's
// answers have become worse.
func (x *exchange) headers(a *attempt, way route.Explanation) http.Header {
	h := explain(way)
	if a.context != "" {
		h["X-Drey-Context-Budget"] = []string{a.context}
	}
	if level := x.chain.watch(a.lane).current(); level > guard.Steady {
		h["X-Drey-Drift"] = []string{level.String()}
	}
	return h
}

// comment tells the same in a stream whose headers have gone out.
func (x *exchange) comment(a *attempt, way route.Explanation) []byte {
	c := bytes.TrimRight(way.Comment(), "\n")
	if a.context != "" {
		c = append(c, " context_budget="+a.context...)
	}
	if level := x.chain.watch(a.lane).current(); level > guard.Steady {
		c = append(c, " drift="+level.String()...)
	}
	return append(c, "\n\n"...)
}
