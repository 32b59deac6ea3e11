package client

import (
	"context"
	"net/http"

	"github.com/dreyhq/drey/internal/api"
)

// Lifecycle returns how the daemon sleeps.
func (c *Client) Lifecycle(ctx context.Context) (api.Lifecycle, error) {
	var l api.Lifecycle
	return l, c.get(ctx, "/lifecycle", nil, &l)
}

// Wake returns when the daemon's state on disk is WAKE.
func (c *Client) Wake(ctx context.Context, how api.Wake) (api.Lifecycle, error) {
	var l api.Lifecycle
	return l, c.post(ctx, "/lifecycle/wake", how, &l)
}

// Sleep puts the daemon to SLEEP and returns when its sleep cycle has ended.
func (c *Client) Sleep(ctx context.Context, how api.Sleep) (api.Slept, error) {
	var s api.Slept
	return s, c.post(ctx, "/lifecycle/sleep", how, &s)
}

// Hibernate is Sleep, and then the daemon's process ends. It returns at the
// point of no return.
func (c *Client) Hibernate(ctx context.Context) (api.Slept, error) {
	var s api.Slept
	return s, c.post(ctx, "/lifecycle/hibernate", nil, &s)
}

// LiftQuarantine lets the sleep cycle run again.
func (c *Client) LiftQuarantine(ctx context.Context) (api.Lifted, error) {
	var l api.Lifted
	return l, c.call(ctx, http.MethodDelete, "/lifecycle/quarantine", nil, nil, &l)
}
