package config

import (
	"reflect"

	"github.com/dreyhq/drey"
)

// Profile is a named chain of providers with its policies.
type Profile struct {
	Name drey.ProfileID `yaml:",name" pattern:"^[A-Za-z0-9._-]{1,64}$" doc:"name of the profile; never auto"`

	Chain         []Pool           `yaml:"chain,required" doc:"providers in order of trial; an inner list is a pool of equals"`
	Timeouts      TimeoutOverrides `yaml:"timeouts" doc:"each one set replaces the provider's"`
	AppendSystem  *string          `yaml:"append_system" doc:"replaces the provider's; an empty string clears it"`
	Retry         Retry            `yaml:"retry" doc:"the same provider again"`
	EmptyAnswer   string           `yaml:"empty_answer" default:"fallback" enum:"off|warn|fallback" doc:"what is done about an answer with neither text nor tool call"`
	ThinkingOrder bool             `yaml:"thinking_order" default:"true" doc:"a request that asks for thinking tries capable providers first"`
	HealthAction  string           `yaml:"health_action" default:"exclude" enum:"off|warn|demote|exclude" doc:"what is done about a provider that fails"`
	Adaptive      bool             `yaml:"adaptive" default:"false" doc:"order by measured speed and errors, within a class"`
	Rescue        string           `yaml:"rescue" default:"off" enum:"off|restart|continue" doc:"what is done about a stream that breaks"`
	HoldTokens    int              `yaml:"hold_tokens" default:"64" range:"1..2048" doc:"content held back for a rescue, in tokens"`
	Hold          drey.Duration    `yaml:"hold" default:"1500ms" range:"0..30s" doc:"content held back for a rescue, in time; 0 = nothing is"`
	ToolLoop      ToolLoop         `yaml:"tool_loop" doc:"guard against repeated tool calls"`
	ToolCap       ToolCap          `yaml:"tool_cap" doc:"guard against too many tool calls"`
	ContextBudget ContextBudget    `yaml:"context_budget" doc:"guard of the context window"`
	Drift         Drift            `yaml:"drift" doc:"watch over the quality of answers"`
	Budget        *Budget          `yaml:"budget" doc:"what it may spend"`
}

// TimeoutOverrides replace a provider's timeouts where they are not nil.
type TimeoutOverrides struct {
	Connect    *drey.Duration       `yaml:"connect" range:"100ms..1m" doc:"dial and TLS together"`
	FirstToken *Auto[drey.Duration] `yaml:"first_token" range:"1s..1h" doc:"until the first token"`
	Stall      *drey.Duration       `yaml:"stall" range:"1s..1h" doc:"between two signs of life after it"`
	Total      *drey.Duration       `yaml:"total" range:"1s..24h" doc:"the whole attempt"`
}

// With returns the timeouts with those of o in place of its own.
func (t Timeouts) With(o TimeoutOverrides) Timeouts {
	if o.Connect != nil {
		t.Connect = *o.Connect
	}
	if o.FirstToken != nil {
		t.FirstToken = *o.FirstToken
	}
	if o.Stall != nil {
		t.Stall = *o.Stall
	}
	if o.Total != nil {
		t.Total = *o.Total
	}
	return t
}

// Retry says how often the same provider is tried again.
type Retry struct {
	SameProvider Auto[int]     `yaml:"same_provider" default:"auto" range:"0..3" doc:"repeats at one provider; auto = as the failure's class says"`
	Budget       float64       `yaml:"budget" default:"0.2" range:"0..1" doc:"share of the profile's requests that may be repeats"`
	Floor        int           `yaml:"floor" default:"3" range:"0.." doc:"repeats that are free of the share"`
	Wait         drey.Duration `yaml:"wait" default:"5s" range:"0..1m" doc:"longest pause that a provider may ask for and be waited for"`
}

// NewProfile returns a profile with all defaults, for files that are built and
// not parsed. Each provider is a place of the chain.
func NewProfile(name drey.ProfileID, chain ...drey.ProviderID) Profile {
	var p Profile
	setDefaults(fileSpec.field("profiles").spec.elem, reflect.ValueOf(&p).Elem())
	p.Name = name
	for _, id := range chain {
		p.Chain = append(p.Chain, Pool{id})
	}
	return p
}
