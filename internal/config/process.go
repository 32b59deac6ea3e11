package config

import (
	"github.com/dreyhq/drey"
)

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
