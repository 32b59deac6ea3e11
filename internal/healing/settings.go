package healing

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/process"
	"github.com/dreyhq/drey/internal/upstream"
	"github.com/dreyhq/drey/internal/wire"
)

// Settings are everything that a Keeper works by. The daemon makes them from
// the configuration, with secrets resolved and defaults in place. A Keeper
// keeps them; they are not changed after that.
type Settings struct {
	AllowPaid  bool       // the paid gate is open
	Providers  []Provider // in file order
	Profiles   []Profile  // in file order
	Groups     []Group    // process groups that say more than the defaults
	Continuous Continuous
	// Home is the working directory of restart commands, and of processes that
	// name none. Source: $DREY_HOME.
	Home string
}

// Provider is one provider as far as its health is concerned. Default returns
// one with the contract's defaults.
type Provider struct {
	upstream.Config // how it is reached; probes go the same way as requests
	// Missing says that its secret is not there: it is not probed.
	Missing bool
	// MaxTokensKey, Extra and Drop shape the probe as they shape requests: a
	// backend may load its model anew for another num_ctx.
	MaxTokensKey string
	Extra        []wire.ExtraField
	Drop         []string

	Threshold int           // N. Source: health.threshold (3)
	PanicWait time.Duration // how long a request waits for the verdict of a trial. Source: health.panic_wait (10s)
	Probe     Probe
	Ramp      time.Duration // 0 = none. Source: health.ramp (30s)
	Limits    Limits
	Restart   *Restart // nil = no restart command
	Process   *Process // nil = not a process of ours
}

// Probe is how a provider that is out is looked at: health.probe.
type Probe struct {
	Initial, Max time.Duration // wait before the first probe (30s), longest wait (5m)
	Jitter       float64       // 0
	Timeout      time.Duration // of the whole probe (10s)
	Depth        health.Depth  // generation
	Paid         bool          // probe it although it is paid
}

// Limits are how much a provider gets at once: limits.
type Limits struct {
	Concurrency int           // answers at once; 0 = no limit
	Queue       int           // requests that wait for a slot (16)
	QueueWait   time.Duration // how long the router lets one wait (30s); told here for the view alone
}

// Restart is a provider's restart command. Exactly one of Argv and Shell is
// set. The zero spans are no spans.
type Restart struct {
	Text    string   // for events: as configured, a list joined by spaces; redacted by the Keeper
	Argv    []string // run without a shell
	Shell   string   // run by /bin/sh -c
	Env     []string // NAME=value
	Timeout time.Duration
	Drain   time.Duration // how long answers may still end before it
	Settle  time.Duration // how soon after it the extra probe comes
}

// Process is a backend that drey keeps.
type Process struct {
	process.Spec                     // Name and Model are the provider's
	Text         string              // the command for events
	Group        string              // process group; "" = one of its own
	Policy       health.MemberPolicy // Provider is the provider's
	Grace        time.Duration       // between SIGTERM and SIGKILL. Source: stop.grace (10s)
	// Drain is how long answers may still end before a restart. Source:
	// restart_drain (10s).
	Drain time.Duration
}

// Group is a process group of the configuration: process_groups.
type Group struct {
	Name                  string
	Resident              int           // in memory at once (1)
	SwapWait, MinResident time.Duration // 30s, 10s
}

// Profile is what a profile says about health.
type Profile struct {
	ID       drey.ProfileID
	Action   health.Action
	Adaptive bool
	Chain    []drey.ProviderID // in the order of trial, pools flattened
}

// Continuous is the probing of providers that are in use: continuous_probe.
type Continuous struct {
	Active   bool
	Interval time.Duration // between rounds (60s)
	Timeout  time.Duration // of one probe (10s)
	Paid     bool          // paid ones too
}

// Default returns a provider with the contract's defaults.
func Default(c upstream.Config) Provider {
	return Provider{
		Config: c, Threshold: 3, PanicWait: 10 * time.Second, Ramp: 30 * time.Second,
		Probe:  Probe{Initial: 30 * time.Second, Max: 5 * time.Minute, Timeout: 10 * time.Second},
		Limits: Limits{Queue: 16, QueueWait: 30 * time.Second},
	}
}

// policy is what the machine of a provider is handed.
func (s *Settings) policy(p *Provider, asleep bool, redact func(string) string) health.Policy {
	out := health.Policy{
		Provider: p.ID, Threshold: p.Threshold, Ramp: p.Ramp, Concurrency: p.Limits.Concurrency,
		NoProbe: !s.mayProbe(p, p.Probe.Paid), Initial: p.Probe.Initial, Max: p.Probe.Max, Jitter: p.Probe.Jitter, Depth: p.Probe.Depth,
		Asleep: asleep,
	}
	for i := range s.Profiles {
		f := &s.Profiles[i]
		if !slices.Contains(f.Chain, p.ID) {
			continue
		}
		switch f.Action {
		case health.ActionExclude:
			out.Excluders = append(out.Excluders, f.ID)
		case health.ActionDemote:
			out.Demote = true
		}
	}
	switch {
	case p.Process != nil:
		out.Command, out.Managed, out.RestartDrain = redact(cmp.Or(p.Process.Text, string(p.ID))), true, p.Process.Drain
	case p.Restart != nil:
		out.Command = redact(cmp.Or(p.Restart.Text, p.Restart.Shell, string(p.ID)))
		out.RestartDrain, out.RestartSettle = p.Restart.Drain, p.Restart.Settle
	}
	return out
}

// mayProbe reports whether a provider may be probed without anybody asking: a
// paid one only with leave, and none whose credential drey does not have.
func (s *Settings) mayProbe(p *Provider, paid bool) bool {
	return !p.Missing && !p.CallerKey && (p.Price != drey.Paid || paid && s.AllowPaid)
}

// groupName is the process group of a provider; "" if it has no process.
func groupName(p *Provider) string {
	if p.Process == nil {
		return ""
	}
	return cmp.Or(p.Process.Group, "provider "+string(p.ID)) // no configured name has a space
}

// groupPolicy is what a group's machine is handed.
func (s *Settings) groupPolicy(name string) health.GroupPolicy {
	out := health.GroupPolicy{Resident: 1, SwapWait: 30 * time.Second, MinResident: 10 * time.Second}
	for _, g := range s.Groups {
		if g.Name == name {
			out.Resident, out.SwapWait, out.MinResident = g.Resident, g.SwapWait, g.MinResident
		}
	}
	for i := range s.Providers {
		if p := &s.Providers[i]; groupName(p) == name {
			m := p.Process.Policy
			m.Provider = p.ID
			out.Members = append(out.Members, m)
		}
	}
	return out
}

// same reports whether two providers are the same backend, so that what is
// known of one holds for the other.
func same(a, b *Provider) bool {
	return a.URL == b.URL && a.Model == b.Model && a.Wire == b.Wire && (a.Process == nil) == (b.Process == nil)
}

// sameProcess reports whether a process that runs is the one that is configured
// now.
func sameProcess(a, b *Provider) bool {
	if a.Process == nil || b.Process == nil {
		return a.Process == b.Process
	}
	return a.Model == b.Model && reflect.DeepEqual(a.Process.Spec, b.Process.Spec) && groupName(a) == groupName(b)
}

// sameWay reports whether two providers are reached in the same way. What plays
// a provider, or trusts it, is the same only if it is the same value.
func sameWay(a, b *Provider) bool {
	x, y := a.Config, b.Config
	if x.Transport != y.Transport || x.TLS != y.TLS {
		return false
	}
	x.Transport, y.Transport, x.TLS, y.TLS, x.Redact, y.Redact = nil, nil, nil, nil, nil, nil
	return reflect.DeepEqual(x, y)
}
