package daemon

import (
	"context"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/healing"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/server"
)

// healer hands the keeper of the providers' health to the doors.
type healer struct {
	keeper *healing.Keeper
	// depth is how far a provider is probed where nobody says it.
	depth func(drey.ProviderID) health.Depth
}

func (d *Daemon) healer() healer {
	return healer{d.keeper, func(id drey.ProviderID) health.Depth {
		for _, p := range d.conf.Load().healing.Providers {
			if p.ID == id {
				return p.Probe.Depth
			}
		}
		return 0
	}}
}

// Health implements server.Healer; so do the others.
func (h healer) Health(id drey.ProviderID) (server.Health, bool) {
	v, ok := h.keeper.View(id)
	if !ok {
		return server.Health{}, false
	}
	out := server.Health{View: v.View, Queued: v.Queued, Attempts: v.Attempts, Successes: v.Successes, Failures: v.Failures}
	if e := v.LastError; e != nil {
		out.LastError = &server.LastError{At: e.At, Class: e.Class, Status: e.Status, Text: e.Text}
	}
	if p := v.Process; p != nil {
		out.Process = &server.Process{State: p.State, PID: p.PID, Port: p.Port}
		if !p.IdleSince.IsZero() {
			out.Process.Idle = time.Since(p.IdleSince)
		}
	}
	return out, true
}

func (h healer) Exclude(ctx context.Context, id drey.ProviderID, reason string, span time.Duration) (bool, error) {
	_, changed, err := h.keeper.Exclude(ctx, id, reason, span)
	return changed, err
}

func (h healer) Restore(ctx context.Context, id drey.ProviderID) (bool, error) {
	_, changed, err := h.keeper.Restore(ctx, id, "")
	return changed, err
}

func (h healer) Restart(ctx context.Context, id drey.ProviderID) (bool, error) {
	_, changed, err := h.keeper.Restart(ctx, id, "")
	return changed, err
}

func (h healer) Drain(ctx context.Context, id drey.ProviderID, timeout time.Duration) (bool, int, error) {
	_, changed, killed, err := h.keeper.Drain(ctx, id, "", timeout)
	return changed, killed, err
}

// Probe does not ask about the money: the door has.
func (h healer) Probe(ctx context.Context, id drey.ProviderID, depth *health.Depth) (server.Probed, error) {
	d := h.depth(id)
	if depth != nil {
		d = *depth
	}
	r, _, changed, err := h.keeper.Probe(ctx, id, d, true)
	return server.Probed{OK: r.OK, Changed: changed, Depth: r.Depth, Latency: r.Latency, Error: r.Error}, err
}

var _ server.Healer = healer{}
