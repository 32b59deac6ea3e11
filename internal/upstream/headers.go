package upstream

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/dreyhq/drey"
)

// defaultAnthropicVersion goes to anthropic providers where the caller names
// none.
const defaultAnthropicVersion = "2023-06-01"

// fixedHeaders returns the headers that are the same for every request.
func (p *Provider) fixedHeaders(stream bool) http.Header {
	agent := "drey"
	if p.cfg.Version != "" {
		agent += "/" + p.cfg.Version
	}
	h := http.Header{
		"User-Agent":   {agent},
		"Content-Type": {"application/json"},
		"Accept":       {"application/json"},
	}
	if stream {
		h.Set("Accept", "text/event-stream")
	}
	// A compressed stream comes in lumps. Across the network a whole answer is
	// better compressed (net/http asks for gzip and undoes it); on the user's
	// own machine that only costs time.
	if stream || p.cfg.Price == drey.Local {
		h.Set("Accept-Encoding", "identity")
	}
	if p.cfg.Wire == drey.WireAnthropic {
		h.Set("Anthropic-Version", defaultAnthropicVersion)
	}
	if p.cfg.Key != "" && !p.cfg.CallerKey {
		p.setKey(h, p.cfg.Key)
	}
	for name, value := range p.cfg.Headers {
		h.Set(name, value)
	}
	return h
}

func (p *Provider) setKey(h http.Header, key string) {
	if p.cfg.Wire == drey.WireAnthropic {
		h["X-Api-Key"] = []string{key}
	} else {
		h["Authorization"] = []string{"Bearer " + key}
	}
}

// headers returns the headers of a call: the fixed ones, and of the caller's
// what the contract lets through. In the common case that is nothing, and the
// fixed map itself is returned; it must not be changed.
func (p *Provider) headers(c *Call) http.Header {
	h := p.plain
	if c.Stream {
		h = p.stream
	}
	fixed, own := h, false
	edit := func() {
		if !own {
			h, own = maps.Clone(h), true
		}
	}
	if c.Body == nil {
		edit()
		delete(h, "Content-Type")
	}
	if p.cfg.Wire == drey.WireAnthropic {
		if v := c.Header["Anthropic-Version"]; len(v) > 0 && v[0] != fixed["Anthropic-Version"][0] && !p.configured("Anthropic-Version") {
			edit()
			h["Anthropic-Version"] = v[:1:1]
		}
		if v := c.Header["Anthropic-Beta"]; len(v) > 0 {
			edit()
			h["Anthropic-Beta"] = slices.Concat(fixed["Anthropic-Beta"], v)
		}
	}
	if p.cfg.Price == drey.Local {
		for _, name := range [...]string{"Traceparent", "Tracestate"} {
			if v := c.Header[name]; len(v) > 0 {
				edit()
				h[name] = v
			}
		}
	}
	if p.cfg.CallerKey && c.CallerKey != "" {
		edit()
		// Anthropic takes subscription tokens only as a bearer, so the form in
		// which the caller sent its credential is kept.
		if v := c.Header.Get("Authorization"); p.cfg.Wire == drey.WireAnthropic && strings.HasSuffix(v, c.CallerKey) {
			h["Authorization"] = []string{"Bearer " + c.CallerKey}
		} else {
			p.setKey(h, c.CallerKey)
		}
	}
	return h
}

// configured reports whether the provider's configuration sets a header.
func (p *Provider) configured(name string) bool {
	for n := range p.cfg.Headers {
		if http.CanonicalHeaderKey(n) == name {
			return true
		}
	}
	return false
}
