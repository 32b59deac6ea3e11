package daemon

import (
	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/gateway"
	"github.com/dreyhq/drey/internal/healing"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/process"
)

// healing compiles the keeper's part. providers are those of settings, in the
// order of the file.
func (c *compiler) healing(f *config.File, providers []gateway.Provider, home string, logFile func(drey.ProviderID) string) (healing.Settings, error) {
	s := healing.Settings{
		AllowPaid: f.AllowPaid, Home: home,
		Continuous: healing.Continuous{
			Active: f.ContinuousProbe.Mode == "active", Interval: f.ContinuousProbe.Interval.D(),
			Timeout: f.ContinuousProbe.Timeout.D(), Paid: f.ContinuousProbe.Paid,
		},
	}
	for i := range f.Providers {
		p, err := c.healed(f, &f.Providers[i], &providers[i], home, logFile)
		if err != nil {
			return s, err
		}
		s.Providers = append(s.Providers, p)
	}
	for _, g := range f.ProcessGroups {
		s.Groups = append(s.Groups, healing.Group{Name: g.Name, Resident: g.Resident, SwapWait: g.SwapWait.D(), MinResident: g.MinResident.D()})
	}
	for i := range f.Profiles {
		p := &f.Profiles[i]
		out := healing.Profile{ID: p.Name, Adaptive: p.Adaptive}
		if err := out.Action.UnmarshalText([]byte(p.HealthAction)); err != nil {
			return s, err
		}
		for _, pool := range p.Chain {
			out.Chain = append(out.Chain, pool...)
		}
		s.Profiles = append(s.Profiles, out)
	}
	return s, nil
}

// healed compiles what the keeper has to know of one provider.
func (c *compiler) healed(f *config.File, p *config.Provider, g *gateway.Provider, home string, logFile func(drey.ProviderID) string) (healing.Provider, error) {
	h := f.HealthOf(p.Name)
	out := healing.Provider{
		Config: g.Config, Missing: g.Missing, MaxTokensKey: g.MaxTokensKey, Extra: g.Extra, Drop: g.Drop,
		Threshold: h.Threshold, PanicWait: h.PanicWait.D(), Ramp: h.Ramp.D(),
		Probe: healing.Probe{
			Initial: h.Probe.Initial.D(), Max: h.Probe.Max.D(), Jitter: h.Probe.Jitter, Timeout: h.Probe.Timeout.D(), Paid: h.Probe.Paid,
		},
		Limits: healing.Limits{Concurrency: p.Limits.Concurrency, Queue: p.Limits.Queue, QueueWait: p.Limits.QueueWait.D()},
	}
	if err := out.Probe.Depth.UnmarshalText([]byte(h.Probe.Depth)); err != nil {
		return out, err
	}
	if cmd := p.RestartCommand; !cmd.IsZero() {
		out.Restart = &healing.Restart{
			Text: cmd.String(), Env: c.environ(p.RestartEnv),
			Timeout: p.RestartTimeout.D(), Drain: p.RestartDrain.D(), Settle: p.RestartSettle.D(),
		}
		if p.RestartShell {
			out.Restart.Shell = cmd.Line
		} else {
			argv, err := cmd.Words() // Parse has seen that it can be split
			if err != nil {
				return out, err
			}
			out.Restart.Argv = argv
		}
	}
	if proc := p.Process; proc != nil {
		dir := proc.Cwd
		if dir == "" {
			dir = home
		}
		out.Process = &healing.Process{
			Spec: process.Spec{
				Name: p.Name, Command: proc.Command, Model: p.Model, Port: proc.Port, Env: c.environ(proc.Env), Dir: dir, Log: logFile(p.Name),
				Ready: process.Readiness{Path: proc.Ready.Path, Interval: proc.Ready.Interval.D(), Timeout: proc.Ready.Timeout.D()},
			},
			Text: config.Command{Argv: proc.Command}.String(), Group: proc.Group, Grace: proc.Stop.Grace.D(), Drain: p.RestartDrain.D(),
			Policy: health.MemberPolicy{
				Provider: p.Name, Eager: proc.Start == "eager", TTL: proc.TTL.D(), Queue: proc.Queue, QueueWait: proc.QueueWait.D(),
				BackoffFirst: proc.Backoff.First.D(), BackoffMax: proc.Backoff.Max.D(), BackoffCap: proc.Backoff.Cap,
				BackoffWithin: proc.Backoff.Within.D(), BackoffReset: proc.Backoff.Reset.D(),
			},
		}
	}
	return out, nil
}

// environ resolves variables for a command. One whose secret is missing is left
// out; read has warned of it where it is a file.
func (c *compiler) environ(vars []config.Header) []string {
	var out []string
	for _, v := range vars {
		value := v.Value.Literal
		if !v.Value.Secret.IsZero() {
			if value = c.read(v.Value.Secret); value == "" {
				continue
			}
		}
		out = append(out, v.Name+"="+value)
	}
	return out
}
