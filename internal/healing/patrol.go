package healing

import (
	"context"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
)

// patrol is continuous probing: rounds over the providers, one after the other,
// that are in and that nobody has proved well of late. What it finds counts as
// an attempt does. It pauses while the daemon rests or is Quiet, and returns
// when ctx ends.
func (k *Keeper) patrol(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var since time.Time // when the interval that runs began; zero = none does
	var every time.Duration
	for {
		c, on := k.patrols()
		switch {
		case !on:
			since = time.Time{}
		case since.IsZero() || c.Interval != every:
			since, every = time.Now(), c.Interval
		}
		var due <-chan time.Time
		if on {
			timer.Reset(time.Until(since.Add(every)))
			due = timer.C
		}
		select {
		case <-due:
			k.oneRound(ctx, c)
			since = time.Now()
		case <-k.stir: // the settings or the lifecycle are others now
		case <-ctx.Done():
			return
		}
	}
}

// patrols returns the settings of continuous probing and whether it is on now.
func (k *Keeper) patrols() (c Continuous, on bool) {
	c = k.table.Load().settings.Continuous
	return c, c.Active && c.Interval > 0 && Rest(k.rest.Load()) == Awake && !k.still.Load()
}

// patrolAgain has patrol look whether it is on.
func (k *Keeper) patrolAgain() {
	select {
	case k.stir <- struct{}{}:
	default: // it is about to look
	}
}

// oneRound is a round that endRound can end.
func (k *Keeper) oneRound(ctx context.Context, c Continuous) {
	k.rounds <- struct{}{}
	defer func() { <-k.rounds }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k.mu.Lock()
	_, on := k.patrols() // whoever turns it off does so before it looks for a round
	if on {
		k.round = cancel
	}
	k.mu.Unlock()
	if on {
		k.walk(ctx, c)
	}
	k.mu.Lock()
	k.round = nil
	k.mu.Unlock()
}

// endRound returns when no round runs. It follows upon what turns patrol off.
func (k *Keeper) endRound() {
	k.mu.Lock()
	if k.round != nil {
		k.round()
	}
	k.mu.Unlock()
	select {
	case k.rounds <- struct{}{}:
		<-k.rounds
	case <-k.ended:
	}
}

// walk looks at every provider that is due.
func (k *Keeper) walk(ctx context.Context, c Continuous) {
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
		k.wait(func() {
			if g := k.groups[groupName(s.provider)]; g != nil {
				pass.Run = g.run(s.id)
			}
			k.attemptBegan(s, pass.Token, nil, time.Now())
		})
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
			At: time.Now(), Name: "probe-model-drift", Machine: machineProvider, ID: string(id),
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
