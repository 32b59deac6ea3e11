package gateway

import (
	"net/http"
	"slices"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

// noSampling is the anthropic-version from which on a request has no fields that
// steer the sampling.
const noSampling = "2026-10-21"

var samplingFields = []string{"temperature", "top_p", "top_k"}

// additions are the fields that the provider's configuration adds to a request
// and takes from it. Under a version without sampling fields none is added:
// neither by the configuration nor, across wires, in translation. What a caller
// of the provider's own wire wrote stays.
func (x *exchange) additions(a *attempt) (extra []wire.ExtraField, drop []string) {
	p := a.p
	if p.Wire != drey.WireAnthropic || anthropicVersion(p, x.req.Header) < noSampling {
		return p.Extra, p.Drop
	}
	extra = slices.DeleteFunc(slices.Clone(p.Extra), func(f wire.ExtraField) bool { return slices.Contains(samplingFields, f.Key) })
	if a.same {
		return extra, p.Drop
	}
	return extra, slices.Concat(p.Drop, samplingFields)
}

// anthropicVersion is the version that goes to the provider: the one of its
// configuration, else the caller's. "" stands for the oldest.
func anthropicVersion(p *Provider, caller http.Header) string {
	const header = "Anthropic-Version"
	for name, value := range p.Headers {
		if http.CanonicalHeaderKey(name) == header {
			return value
		}
	}
	return caller.Get(header)
}
