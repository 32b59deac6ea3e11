package gateway

import (
	"fmt"
	"net/http"
	"regexp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
)

const embeddingsPath = "/embeddings"

// embedding is in the text of a refusal that is about what the model can do:
// "this model does not support embeddings".
var embedding = regexp.MustCompile(`(?i)\b(?:embed|embeddings?|embedding model)\b`)

// embedders returns the chain without the providers whose wire has no
// embeddings.
func (c *chain) embedders() (*chain, *Refusal) {
	out := &chain{Profile: c.Profile, Chain: c.Chain}
	out.Members = nil
	for i, l := range c.lanes {
		if l.p.Wire == drey.WireChat {
			out.Members = append(out.Members, c.Members[i])
			out.lanes = append(out.lanes, l)
		}
	}
	if len(out.lanes) == 0 {
		return nil, &Refusal{
			Case:    route.CaseBadRequest,
			Message: fmt.Sprintf("no provider of profile %q speaks OpenAI's wire, which alone has embeddings; add one that does, or name another profile", c.ID),
		}
	}
	return out, nil
}

// cannotEmbed reads a refusal of a request for embeddings. Most models that talk
// have none, and how their servers say so is nothing against them: the next
// provider is asked, and nobody is parked for a model that is there.
func (x *exchange) cannotEmbed(res result) result {
	v := &res.verdict
	if !x.embeds {
		return res
	}
	switch v.Status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusNotImplemented:
		v.Class, v.Sub, v.Counts, v.Parks = drey.Caller, route.Unsupported, false, false
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		if v.Class == drey.Caller && v.Sub == route.SubNone && embedding.MatchString(v.Text) {
			v.Sub = route.Unsupported
		}
	}
	return res
}
