package config

import (
	"github.com/dreyhq/drey"
)

// The structs of this file keep the place of keys that are not built yet: the
// key that leads to each carries built:"no", so that none of them is decoded.
// Rules that compare two of their keys come with the issue that builds them.

// AutoRouter chooses a profile by what a request looks like.
type AutoRouter struct {
	Rules   []RouterRule   `yaml:"rules" doc:"tried in order; the first that is true counts"`
	Default drey.ProfileID `yaml:"default,required" doc:"profile where no rule is true"`
}

// RouterRule is one rule of the auto-router.
type RouterRule struct {
	ID      string         `yaml:"id,required" doc:"what events call it"`
	When    string         `yaml:"when,required" doc:"condition"`
	Profile drey.ProfileID `yaml:"profile,required" doc:"the profile then"`
}

// Cost holds prices in USD per million tokens, and a provider's budget.
type Cost struct {
	Input      *float64 `yaml:"input" range:"0.." doc:"input"`
	Output     *float64 `yaml:"output" range:"0.." doc:"output"`
	CacheRead  *float64 `yaml:"cache_read" range:"0.." doc:"input read from a cache; by default 0.1 of input"`
	CacheWrite *float64 `yaml:"cache_write" range:"0.." doc:"input written to a cache; by default 1.25 of input"`
	USDDay     *float64 `yaml:"usd_day" range:"0.." doc:"USD per day"`
	USDMonth   *float64 `yaml:"usd_month" range:"0.." doc:"USD per month"`
}

// ToolLoop guards against repeated tool calls.
type ToolLoop struct {
	Action    string `yaml:"action" default:"warn" enum:"off|warn|inject|break" doc:"what is done"`
	Window    int    `yaml:"window" default:"20" range:"2..200" doc:"calls looked at"`
	Threshold int    `yaml:"threshold" default:"3" range:"2..50" doc:"repeats that count, at most window"`
}

// ToolCap guards against too many tool calls.
type ToolCap struct {
	Limit      int    `yaml:"limit" default:"50" range:"0..10000" doc:"calls allowed; 0 = no limit"`
	Action     string `yaml:"action" default:"warn" enum:"off|warn|inject|break" doc:"what is done above it"`
	Scope      string `yaml:"scope" default:"conversation" enum:"conversation|turn" doc:"where calls are counted"`
	StreamForm string `yaml:"stream_form" default:"auto" enum:"auto|sse|http" doc:"how a streaming caller is told"`
}

// ContextBudget guards the context window. Shares are of the window.
type ContextBudget struct {
	Action   string  `yaml:"action" default:"warn" enum:"off|warn|trim|route" doc:"what is done"`
	Warn     float64 `yaml:"warn" default:"0.80" range:"0..1" doc:"share at which it warns, at most trim"`
	Trim     float64 `yaml:"trim" default:"0.90" range:"0..1" doc:"share at which it trims"`
	Target   float64 `yaml:"target" default:"0.75" range:"0..1" doc:"share that is left, below trim"`
	KeepLast int     `yaml:"keep_last" default:"4" range:"1..100" doc:"messages that always stay"`
}

// Drift watches over the quality of answers.
type Drift struct {
	Action      string        `yaml:"action" default:"warn" enum:"off|warn|demote|reload" doc:"what is done"`
	Window      int           `yaml:"window" default:"20" range:"4..200" doc:"answers looked at"`
	Cooldown    drey.Duration `yaml:"cooldown" default:"5m" range:"10s..1h" doc:"how long a demotion lasts"`
	Sensitivity string        `yaml:"sensitivity" default:"normal" enum:"low|normal|high" doc:"how soon"`
}
