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

// Health says when a provider is taken out and how it comes back.
type Health struct {
	Threshold int           `yaml:"threshold" default:"3" range:"1..20" doc:"N: failures in a row until DEGRADED; out at 2N"`
	PanicWait drey.Duration `yaml:"panic_wait" default:"10s" range:"0..2m" doc:"how long requests wait for the verdict of a trial when all else is out"`
	Probe     Probe         `yaml:"probe" doc:"recovery probes"`
	Ramp      drey.Duration `yaml:"ramp" default:"30s" range:"0..10m" doc:"how long a restored provider gets less than the whole load"`
}

// Probe says how a provider that is out is looked at.
type Probe struct {
	Initial drey.Duration `yaml:"initial" default:"30s" range:"1s..10m" doc:"wait before the first probe"`
	Max     drey.Duration `yaml:"max" default:"5m" range:"1s..1h" doc:"longest wait; doubles up to it"`
	Jitter  float64       `yaml:"jitter" default:"0" range:"0..0.5" doc:"random share of the wait"`
	Timeout drey.Duration `yaml:"timeout" default:"10s" range:"1s..1m" doc:"of the whole probe"`
	Depth   string        `yaml:"depth" default:"generation" enum:"liveness|models|generation" doc:"how much must work"`
	Paid    bool          `yaml:"paid" default:"false" doc:"probe paid providers too"`
}

// HealthOverrides replace parts of Health for one provider.
type HealthOverrides struct {
	Threshold *int            `yaml:"threshold" range:"1..20" doc:"as in health"`
	PanicWait *drey.Duration  `yaml:"panic_wait" range:"0..2m" doc:"as in health"`
	Probe     *ProbeOverrides `yaml:"probe" doc:"as in health"`
	Ramp      *drey.Duration  `yaml:"ramp" range:"0..10m" doc:"as in health"`
}

// ProbeOverrides replace parts of Probe for one provider.
type ProbeOverrides struct {
	Initial *drey.Duration `yaml:"initial" range:"1s..10m" doc:"as in health.probe"`
	Max     *drey.Duration `yaml:"max" range:"1s..1h" doc:"as in health.probe"`
	Jitter  *float64       `yaml:"jitter" range:"0..0.5" doc:"as in health.probe"`
	Timeout *drey.Duration `yaml:"timeout" range:"1s..1m" doc:"as in health.probe"`
	Depth   *string        `yaml:"depth" enum:"liveness|models|generation" doc:"as in health.probe"`
	Paid    *bool          `yaml:"paid" doc:"as in health.probe"`
}

// ContinuousProbe looks at providers that nobody uses at the moment.
type ContinuousProbe struct {
	Mode     string        `yaml:"mode" default:"off" enum:"off|active" doc:"whether"`
	Interval drey.Duration `yaml:"interval" default:"60s" range:"5s..1h" doc:"between rounds"`
	Timeout  drey.Duration `yaml:"timeout" default:"10s" range:"1s..1m" doc:"of one probe"`
	Paid     bool          `yaml:"paid" default:"false" doc:"paid providers too"`
}

// Limits say how much a provider gets at once.
type Limits struct {
	Concurrency int           `yaml:"concurrency" default:"0" range:"0..1024" doc:"answers at once; 0 = no limit"`
	Queue       int           `yaml:"queue" default:"16" range:"0..1024" doc:"requests that wait for a slot"`
	QueueWait   drey.Duration `yaml:"queue_wait" default:"30s" range:"0..1h" doc:"how long"`
}

// Process is a local backend that drey starts and keeps.
type Process struct {
	Command   []string      `yaml:"command,required" doc:"argv; ${PORT} and ${MODEL} are replaced"`
	Env       []Header      `yaml:"env" doc:"variables; values may be references"`
	Cwd       string        `yaml:"cwd" path:"yes" doc:"working directory; by default the home of drey"`
	Port      int           `yaml:"port" default:"0" range:"0..65535" doc:"0 = a free one"`
	Start     string        `yaml:"start" default:"lazy" enum:"lazy|eager" doc:"at the first request, or with the daemon"`
	Ready     ProcessReady  `yaml:"ready" doc:"when it is ready"`
	TTL       drey.Duration `yaml:"ttl" default:"0" range:"0..168h" doc:"unload when idle this long; 0 = never"`
	Stop      ProcessStop   `yaml:"stop" doc:"how it is stopped"`
	Backoff   Backoff       `yaml:"backoff" doc:"after exits that nobody asked for"`
	Queue     int           `yaml:"queue" default:"32" range:"0..1024" doc:"requests that wait for it"`
	QueueWait drey.Duration `yaml:"queue_wait" default:"5m" range:"1s..1h" doc:"how long"`
	Group     string        `yaml:"group" doc:"process group; by default its own"`
	VRAMMB    int           `yaml:"vram_mb" default:"0" range:"0.." doc:"device memory that it needs, in MiB"`
}

// ProcessReady says when a process is ready.
type ProcessReady struct {
	Path     string        `yaml:"path" default:"/health" doc:"what is asked"`
	Interval drey.Duration `yaml:"interval" default:"250ms" range:"50ms..10s" doc:"how often"`
	Timeout  drey.Duration `yaml:"timeout" default:"5m" range:"1s..1h" doc:"how long"`
}

// ProcessStop says how a process is stopped.
type ProcessStop struct {
	Grace drey.Duration `yaml:"grace" default:"10s" range:"0..2m" doc:"between SIGTERM and SIGKILL"`
}

// Backoff says how soon a process that exits is started again.
type Backoff struct {
	First  drey.Duration `yaml:"first" default:"1s" doc:"first wait; doubles"`
	Max    drey.Duration `yaml:"max" default:"5m" doc:"longest wait"`
	Cap    int           `yaml:"cap" default:"5" range:"1.." doc:"exits within the time below that make a crash loop"`
	Within drey.Duration `yaml:"within" default:"10m" doc:"that time"`
	Reset  drey.Duration `yaml:"reset" default:"10m" doc:"time in READY that forgets exits"`
}

// ProcessGroup is a group of processes that compete for memory.
type ProcessGroup struct {
	Name        string        `yaml:",name" pattern:"^[A-Za-z0-9._-]{1,64}$" doc:"name of the group"`
	Resident    int           `yaml:"resident" default:"1" range:"1..16" doc:"loaded at once"`
	SwapWait    drey.Duration `yaml:"swap_wait" default:"30s" doc:"longest wait before another is loaded"`
	MinResident drey.Duration `yaml:"min_resident" default:"10s" doc:"least time that one stays"`
	Settle      drey.Duration `yaml:"settle" default:"10s" doc:"longest wait for memory to be free"`
}

// Lifecycle says when the daemon goes to sleep.
type Lifecycle struct {
	DrowsyAfter      drey.Duration `yaml:"drowsy_after" default:"5m" doc:"idle time until DROWSY"`
	SleepAfter       drey.Duration `yaml:"sleep_after" default:"30m" doc:"idle time until SLEEP"`
	HibernateAfter   drey.Duration `yaml:"hibernate_after" default:"30m" doc:"idle time until HIBERNATION"`
	Hibernate        string        `yaml:"hibernate" default:"auto" enum:"auto|owned|never" doc:"whether it may"`
	ShadowRun        bool          `yaml:"shadow_run" default:"false" doc:"log transitions without acting on them"`
	BootGrace        drey.Duration `yaml:"boot_grace" default:"60s" doc:"after a start without idle events"`
	ActivityFlush    drey.Duration `yaml:"activity_flush" default:"30s" doc:"how often activity is written down"`
	LockWait         drey.Duration `yaml:"lock_wait" default:"2s" doc:"wait for a predecessor's lock"`
	DrainTimeout     drey.Duration `yaml:"drain_timeout" default:"20s" doc:"how long answers under way may still end at a stop"`
	CycleDeadline    drey.Duration `yaml:"cycle_deadline" default:"48h" doc:"longest time without a full sleep cycle"`
	QuarantineTTL    drey.Duration `yaml:"quarantine_ttl" default:"24h" doc:"pause after a step failed three times"`
	BackupKeep       int           `yaml:"backup_keep" default:"7" range:"1.." doc:"copies of the store kept"`
	BackupEvery      drey.Duration `yaml:"backup_every" default:"24h" doc:"least age of the newest copy for another"`
	LogCompressAfter drey.Duration `yaml:"log_compress_after" default:"30d" doc:"age at which lifecycle logs are compressed"`
	LogKeep          drey.Duration `yaml:"log_keep" default:"365d" doc:"age at which they are deleted"`
}

// Operations limits the registry of operations.
type Operations struct {
	MaxConcurrent   *int          `yaml:"max_concurrent" range:"0.." doc:"live operations per registry; absent = no limit"`
	MaxCompleted    int           `yaml:"max_completed" default:"256" range:"0.." doc:"ended records kept per registry"`
	ProgressHistory int           `yaml:"progress_history" default:"32" range:"0.." doc:"updates kept per operation"`
	KeepHistory     drey.Duration `yaml:"keep_history" default:"30d" doc:"how long archived records can be read"`
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
