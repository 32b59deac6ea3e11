package api

import "github.com/dreyhq/drey"

// Codes of the errors about providers (the healing contract §12).
const (
	CodeRestartInProgress = "restart_in_progress" // 409: one restart at a time
	CodeNothingToRestart  = "nothing_to_restart"  // 422: neither a command nor a process
	CodePaidGate          = "paid_gate"           // 403: a probe would spend money that nobody asked for
)

// Provider is how a provider stands: one shape for every route and command that
// shows one, and the answer to what is done to one.
type Provider struct {
	Name  drey.ProviderID `json:"name"`
	Class drey.Price      `json:"class" doc:"local, free or paid"`
	Wire  drey.Wire       `json:"wire"`
	Model string          `json:"model,omitempty" doc:"empty where the caller's model is passed through"`

	State               string  `json:"state" enum:"HEALTHY,DEGRADED,UNHEALTHY,EXCLUDED"`
	Phase               string  `json:"phase" enum:"none,draining,restarting,probing,ramping" doc:"what is being done about the state"`
	By                  string  `json:"by,omitempty" doc:"who excluded it: health, operator or process"`
	Reason              string  `json:"reason,omitempty" doc:"of the exclusion; an operator's own words where given"`
	ConsecutiveFailures int     `json:"consecutive_failures" doc:"failures that count, since the last success"`
	InFlight            int     `json:"in_flight" doc:"answers under way"`
	Queued              int     `json:"queued" doc:"requests that wait for a place or for the process"`
	ExcludedForS        float64 `json:"excluded_for_s,omitempty" doc:"how long it has been out"`
	NextProbeInS        float64 `json:"next_probe_in_s,omitempty" doc:"until the next probe or trial"`
	IntervalS           float64 `json:"interval_s,omitempty" doc:"between probes; it doubles with each that fails"`
	RampLimit           int     `json:"ramp_limit,omitempty" doc:"answers at once, while it is brought back"`
	ParkedUntil         string  `json:"parked_until,omitempty" doc:"left alone until then, and well otherwise"`

	Process   *Process   `json:"process,omitempty" doc:"the local backend that drey keeps for it"`
	LastError *LastError `json:"last_error,omitempty" doc:"the latest failure"`

	URL           string            `json:"url" doc:"without credentials"`
	ContextTokens int               `json:"context_tokens,omitempty" doc:"the window, as believed"`
	Out           string            `json:"out,omitempty" doc:"why no request goes there now; empty if one may"`
	Until         string            `json:"until,omitempty" doc:"when that ends, if it is a matter of time"`
	Attempts      uint64            `json:"attempts"`
	Successes     uint64            `json:"successes"`
	Failures      map[string]uint64 `json:"failures,omitempty" doc:"by class of failure"`

	// What an act adds to its answer.
	Changed        *bool  `json:"changed,omitempty" doc:"answers to an act alone: false when it was so already"`
	InFlightKilled int    `json:"in_flight_killed,omitempty" doc:"drain: answers that were cut when its time was over"`
	Probe          *Probe `json:"probe,omitempty" doc:"probe: how it went"`
}

// Process is a local backend process.
type Process struct {
	State string  `json:"state" enum:"STOPPED,STARTING,READY,STOPPING,SETTLING,BACKOFF,CRASHLOOP"`
	PID   int     `json:"pid,omitempty"`
	Port  int     `json:"port,omitempty"`
	IdleS float64 `json:"idle_s,omitempty" doc:"since the end of the last request"`
}

// LastError is the latest failure of a provider.
type LastError struct {
	Class  drey.Class `json:"class"`
	Status int        `json:"status,omitempty" doc:"the HTTP status, if there was an answer"`
	At     string     `json:"at"`
	Text   string     `json:"text" maxLength:"200"`
}

// Probe is how a probe went that somebody asked for.
type Probe struct {
	Success   bool   `json:"success"`
	Depth     string `json:"depth" enum:"liveness,models,generation" doc:"the rung that it ended on"`
	LatencyMS int64  `json:"latency_ms"`
	Error     string `json:"error,omitempty"`
}

// Providers is one page of GET /providers, in the order of names.
type Providers struct {
	Providers []Provider `json:"providers"`
	Page
}

// Exclude is the body of POST /providers/{name}/exclude. It may be left out.
type Exclude struct {
	Reason string        `json:"reason,omitempty" maxLength:"500" doc:"why, for those who ask later"`
	For    drey.Duration `json:"for,omitempty" doc:"after this long it comes back by itself; without it, when it is restored" example:"2h"`
}

// ProbeAsk is the body of POST /providers/{name}/probe. It may be left out.
type ProbeAsk struct {
	Depth     string `json:"depth,omitempty" enum:"liveness,models,generation" doc:"how much must work; the configured depth without it"`
	AllowPaid bool   `json:"allow_paid,omitempty" doc:"probe it although that costs money"`
}

// Drain is the body of POST /providers/{name}/drain. It may be left out.
type Drain struct {
	Timeout *drey.Duration `json:"timeout,omitempty" doc:"what is left then is cut; 60s without it" example:"5m"`
}

// DefaultDrain is how long a drain lets answers end where nobody says it, in
// the form of its body.
const DefaultDrain = "60s"
