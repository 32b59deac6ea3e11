package exam

import (
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/tidwall/sjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/anthropic"
	"github.com/dreyhq/drey/internal/wire/openai"
)

// Ask is one question to the provider.
type Ask struct {
	Request wire.Request
	Limit   time.Duration // how long the whole answer may take
	// Base and Wire are where and how it is put: mostly as the configuration
	// says, and otherwise where that may be wrong.
	Base string
	Wire drey.Wire

	without []string       // top-level fields that this question leaves out
	with    string         // one that it has, whatever the configuration drops
	options map[string]int // within the field options, besides those of the configuration
	cache   bool           // cache_control is sent, whatever the configuration says
	c       *chart
}

// Codec returns the codec of the wire.
func (a Ask) Codec() wire.Codec {
	if a.Wire == drey.WireAnthropic {
		return anthropic.Codec{}
	}
	return openai.Chat{}
}

// Path returns the endpoint below Base.
func (a Ask) Path() string {
	if a.Wire == drey.WireAnthropic {
		return "/messages"
	}
	return "/chat/completions"
}

// Body returns the question in the provider's wire, with all that the
// configuration adds to a request and takes out of it.
func (a Ask) Body() ([]byte, error) {
	c := a.c
	to := wire.Target{
		Model: c.model, Price: c.Config.Class, MaxTokensKey: c.MaxTokensKey, MaxOutputTokens: c.Config.MaxOutputTokens,
		Cache: a.cache || c.Config.Capabilities.Cache.Or(false), AppendSystem: c.Config.AppendSystem,
		Drop: slices.Concat(c.keeping(a.with), a.without),
	}
	if u, err := url.Parse(c.Config.URL); err == nil {
		to.OpenAIHost = u.Hostname() == "api.openai.com"
	}
	options := []byte("{}")
	for _, f := range c.Config.ExtraBody {
		if f.Name == "options" && a.options != nil {
			options = f.Value
			continue
		}
		to.Extra = append(to.Extra, wire.ExtraField{Key: f.Name, Value: f.Value})
	}
	for _, key := range slices.Sorted(maps.Keys(a.options)) {
		var err error
		if options, err = sjson.SetBytes(options, key, a.options[key]); err != nil {
			return nil, err
		}
	}
	if a.options != nil {
		to.Extra = append(to.Extra, wire.ExtraField{Key: "options", Value: options})
	}
	r := a.Request
	enc, err := a.Codec().EncodeRequest(&r, to)
	if err != nil {
		return nil, err
	}
	return enc.Body, nil
}

// ask is a question of one user turn.
func (c *chart) ask(text string, maxTokens int) *Ask {
	return &Ask{c: c, Limit: c.limit(), Base: c.Config.URL, Wire: c.Config.DreyWire(), Request: wire.Request{
		From: c.Config.DreyWire(), MaxTokens: maxTokens,
		Messages: []wire.Message{{Role: wire.User, Blocks: []wire.Block{{Kind: wire.Text, Text: text}}}},
	}}
}

// streamed asks for a stream.
func (a *Ask) streamed() *Ask {
	a.Request.Stream, a.Request.WantUsage = true, true
	a.without = a.c.without
	return a
}
