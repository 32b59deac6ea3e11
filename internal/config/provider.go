package config

import (
	"reflect"

	"github.com/dreyhq/drey"
)

// The wires of providers, as the file spells them.
const (
	WireOpenAI    = "openai"
	WireAnthropic = "anthropic"
)

// Provider is one model behind one endpoint with one credential.
type Provider struct {
	Name drey.ProviderID `yaml:",name" pattern:"^[A-Za-z0-9._-]{1,64}$" doc:"name of the provider"`

	Wire               string           `yaml:"wire,keep" enum:"openai|anthropic" doc:"protocol; guessed from the URL where that is clear"`
	URL                string           `yaml:"url,required" doc:"endpoint; openai without a path gets /v1, anthropic reaches /v1/messages with or without /v1; demo: needs no network"`
	Model              string           `yaml:"model" doc:"replaces the caller's model; empty passes it through"`
	Class              drey.Price       `yaml:"class,keep" enum:"local|free|paid" doc:"what a call costs; by default local for loopback, private and .local hosts, else paid"`
	Key                Credential       `yaml:"key" default:"none" doc:"credential: env:NAME, file:PATH, caller (forwards the caller's own) or none"`
	Headers            []Header         `yaml:"headers" doc:"headers added to every request; a value may be env:NAME or file:PATH"`
	ExtraBody          []BodyField      `yaml:"extra_body" doc:"body fields under the request's own"`
	DropFields         []string         `yaml:"drop_fields" doc:"top-level body fields removed before sending"`
	Timeouts           Timeouts         `yaml:"timeouts" doc:"how long to wait for what"`
	ContextTokens      int              `yaml:"context_tokens" default:"0" range:"0.." doc:"context window in tokens; 0 = learn"`
	MaxOutputTokens    int              `yaml:"max_output_tokens" default:"0" range:"0.." doc:"longest answer in tokens; 0 = learn"`
	Capabilities       Capabilities     `yaml:"capabilities" doc:"what the model can do"`
	MaxTokensField     string           `yaml:"max_tokens_field" default:"auto" enum:"auto|max_tokens|max_completion_tokens" doc:"field that limits the answer; auto = max_completion_tokens for api.openai.com, else max_tokens"`
	AppendSystem       string           `yaml:"append_system" doc:"line added at the end of the system text"`
	TLS                TLS              `yaml:"tls" doc:"trust"`
	Proxy              string           `yaml:"proxy" doc:"URL of an HTTP or SOCKS proxy; by default the environment's, never for loopback"`
	Responses          bool             `yaml:"responses" default:"false" doc:"it also speaks Responses natively"`
	Reasoning          string           `yaml:"reasoning" default:"auto" enum:"auto|drop|show" doc:"what is done with the model's reasoning; auto = as it comes on the caller's own wire, across wires shown to a caller that asked for thinking, else dropped"`
	Filters            []string         `yaml:"filters" enum:"strip_thinking|strip_stop_markers|strip_tool_call_xml|repair_byte_fallback" doc:"what is taken out of the text of answers, in this order"`
	Repair             *bool            `yaml:"repair" doc:"make calls of tool calls that come as text; by default on the openai wire"`
	Cost               Cost             `yaml:"cost" doc:"prices and budget"`
	StripChangingLines string           `yaml:"strip_changing_lines" default:"auto" enum:"auto|on|off" doc:"remove a first line of the system text that differs per request and voids prompt caches; auto = unless the host is api.anthropic.com"`
	Limits             Limits           `yaml:"limits" doc:"how much at once"`
	Health             *HealthOverrides `yaml:"health" doc:"replaces parts of the top-level health"`
	RestartCommand     Command          `yaml:"restart_command" doc:"mends the backend: a list of words, or a line that is split by shell quoting rules; run without a shell"`
	RestartShell       bool             `yaml:"restart_shell" default:"false" doc:"have /bin/sh -c run the line"`
	RestartEnv         []Header         `yaml:"restart_env" doc:"variables that the command needs; values may be references"`
	RestartTimeout     drey.Duration    `yaml:"restart_timeout" default:"30s" range:"5s..2m" doc:"how long the command may run"`
	RestartDrain       drey.Duration    `yaml:"restart_drain" default:"10s" range:"0..10m" doc:"how long answers under way may still end before it"`
	RestartSettle      drey.Duration    `yaml:"restart_settle" default:"2s" range:"0..1m" doc:"after success, how soon one extra probe follows"`
	Process            *Process         `yaml:"process" doc:"a local backend that drey starts and keeps"`
}

// DreyWire returns the provider's wire in the vocabulary of the house, or
// drey.WireNone if the file does not say one that is known.
func (p *Provider) DreyWire() drey.Wire {
	switch p.Wire {
	case WireOpenAI:
		return drey.WireChat
	case WireAnthropic:
		return drey.WireAnthropic
	default:
		return drey.WireNone
	}
}

// Header is one header that is added to requests, or one variable.
type Header struct {
	Name  string `yaml:",name" doc:"name"`
	Value Text   `yaml:",value" doc:"the value, or a reference to it"`
}

// BodyField is one field of a request's body.
type BodyField struct {
	Name  string `yaml:",name" doc:"name of the field"`
	Value JSON   `yaml:",value" doc:"any value"`
}

// Timeouts say how long an attempt waits for what.
type Timeouts struct {
	Connect    drey.Duration       `yaml:"connect" default:"3s" range:"100ms..1m" doc:"dial and TLS together"`
	FirstToken Auto[drey.Duration] `yaml:"first_token" default:"auto" range:"1s..1h" doc:"until the first token; auto = by class and length of the prompt"`
	Stall      drey.Duration       `yaml:"stall" default:"60s" range:"1s..1h" doc:"between two signs of life after it"`
	Total      drey.Duration       `yaml:"total" default:"1h" range:"1s..24h" doc:"the whole attempt"`
}

// Capabilities say what a model can do. Auto is the built-in table or doctor's
// finding.
type Capabilities struct {
	Tools            Auto[bool] `yaml:"tools" default:"auto" doc:"calls tools"`
	Vision           Auto[bool] `yaml:"vision" default:"auto" doc:"takes images"`
	Documents        Auto[bool] `yaml:"documents" default:"auto" doc:"takes documents"`
	Thinking         Auto[bool] `yaml:"thinking" default:"auto" doc:"reasons on demand"`
	Cache            Auto[bool] `yaml:"cache" default:"auto" doc:"keeps prompts by cache_control"`
	JSONSchema       Auto[bool] `yaml:"json_schema" default:"auto" doc:"answers by a JSON Schema"`
	Prefill          Auto[bool] `yaml:"prefill" default:"auto" doc:"goes on from the start of an answer"`
	ReasoningHistory Auto[bool] `yaml:"reasoning_history" default:"auto" doc:"wants its earlier reasoning back"`
}

// TLS says whom a provider's connection trusts.
type TLS struct {
	CAFile   string `yaml:"ca_file" path:"yes" doc:"PEM file with further certificate authorities"`
	Insecure bool   `yaml:"insecure" default:"false" doc:"do not check the certificate"`
}

// NewProvider returns a provider with all defaults, for files that are built
// and not parsed. url is in the form of NormalizeURL; the class is guessed.
func NewProvider(name drey.ProviderID, url, wire string) Provider {
	var p Provider
	setDefaults(fileSpec.field("providers").spec.elem, reflect.ValueOf(&p).Elem())
	p.Name, p.URL, p.Wire, p.Class = name, url, wire, GuessPrice(url)
	return p
}
