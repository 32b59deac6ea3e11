package config

import (
	"github.com/dreyhq/drey"
)

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

// With returns h with what o says in its place; a nil o changes nothing.
func (h Health) With(o *HealthOverrides) Health {
	if o == nil {
		return h
	}
	replace(&h.Threshold, o.Threshold)
	replace(&h.PanicWait, o.PanicWait)
	replace(&h.Ramp, o.Ramp)
	if p := o.Probe; p != nil {
		replace(&h.Probe.Initial, p.Initial)
		replace(&h.Probe.Max, p.Max)
		replace(&h.Probe.Jitter, p.Jitter)
		replace(&h.Probe.Timeout, p.Timeout)
		replace(&h.Probe.Depth, p.Depth)
		replace(&h.Probe.Paid, p.Paid)
	}
	return h
}

func replace[T any](v, by *T) {
	if by != nil {
		*v = *by
	}
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
