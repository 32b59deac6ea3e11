package healing

import (
	"context"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
)

// patrol is continuous probing: rounds over the providers, one after the other,
// that are in and that nobody has proved well of late. What it finds counts as
// an attempt does. It ends with Quiet or Serve.
func (k *Keeper) patrol() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	k.wg.Go(func() {
		select {
		case <-k.restless:
			cancel()
		case <-ctx.Done():
		}
	})
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		c, on := k.patrols()
		var due <-chan time.Time
		if on {
			timer.Reset(c.Interval)
			due = timer.C
		}
		select {
		case <-due:
			k.round(ctx, c)
		case <-k.awake: // the settings or the lifecycle are others now
		case <-ctx.Done():
			return
		}
	}
}

// patrols returns the settings of continuous probing and whether it is on now.
func (k *Keeper) patrols() (c Continuous, on bool) {
	c = k.table.Load().settings.Continuous
	return c, c.Active && c.Interval > 0 && !k.asleep.Load()
}

// round looks at every provider that is due.
func (k *Keeper) round(ctx context.Context, c Continuous) {
	t := k.table.Load()
	probed, failures := 0, 0
	for _, s := range t.order {
		if ctx.Err() != nil {
			return
		}
		p := s.live.Load()
		fresh := time.Since(time.Unix(0, s.lastOK.Load())) < c.Interval
		if fresh || p.view.State == health.Excluded || !t.settings.mayProbe(p.provider, c.Paid) || p.process != nil && p.process.State != health.Ready {
			continue
		}
		profile, action := t.settings.strictest(s.id)
		pass := health.Pass{
			Token: health.Token{Provider: s.id, Epoch: p.view.Epoch, N: k.n.Add(1)}, Profile: profile, Action: action,
		}
		k.jot(note{seat: s, epoch: pass.Token.Epoch, n: pass.Token.N, at: time.Now(), began: true})
		r := k.look(ctx, p, p.provider.Probe.Depth, c.Timeout)
		end := health.Ending{OK: r.OK, Class: r.Class, Counts: counted(r.Class), Error: r.Error, Latency: r.Latency}
		if ctx.Err() != nil { // it was not the provider who ended it
			end = health.Ending{Class: drey.Cancel}
		}
		k.wait(func() { k.attemptEnded(s, pass, end, time.Now()) })
		if ctx.Err() != nil {
			return
		}
		k.cfg.Metrics.probed(s.id, r)
		if probed++; !r.OK {
			failures++
		}
		k.reported(s.id, p.provider.Model, r)
	}
	k.cfg.Bus.Publish(drey.Event{
		At: time.Now(), Name: "probe-round-completed",
		Fields: []drey.Field{drey.F("providers_probed", probed), drey.F("failures", failures)},
	})
}

// reported tells what a probe of the round found.
func (k *Keeper) reported(id drey.ProviderID, configured string, r ProbeResult) {
	var text any
	if !r.OK {
		text = r.Error
	}
	k.cfg.Bus.Publish(drey.Event{
		At: time.Now(), Name: "probe-completed", Machine: machineProvider, ID: string(id),
		Fields: []drey.Field{
			drey.F("provider", id), drey.F("success", r.OK), drey.F("latency_ms", r.Latency.Milliseconds()),
			drey.F("error", text), drey.F("model", r.Model),
		},
	})
	if r.OK && r.Model != "" && configured != "" && !sameModel(r.Model, configured) {
		k.cfg.Bus.Emit(drey.Event{
			At: time.Now(), Name: "probe-model-drift", Level: drey.Warn, Machine: machineProvider, ID: string(id),
			Fields: []drey.Field{drey.F("provider", id), drey.F("configured_model", configured), drey.F("observed_model", r.Model)},
		})
	}
}

// counted reports whether a class counts against health; a probe has no answer
// that could be poor.
func counted(c drey.Class) bool {
	switch c {
	case drey.Transport, drey.Server, drey.Silence, drey.Resource, drey.BadOutput:
		return true
	default:
		return false
	}
}

// strictest is the profile in whose name a provider is probed: the first that
// excludes, else the first that lists it.
func (s *Settings) strictest(id drey.ProviderID) (drey.ProfileID, health.Action) {
	profile, action, found := drey.ProfileID(""), health.ActionWarn, false
	for i := range s.Profiles {
		p := &s.Profiles[i]
		for _, member := range p.Chain {
			if member != id {
				continue
			}
			if p.Action == health.ActionExclude {
				return p.ID, p.Action
			}
			if !found {
				profile, action, found = p.ID, p.Action, true
			}
		}
	}
	return profile, action
}
