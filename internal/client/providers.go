package client

import (
	"context"
	"net/url"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
)

// Providers returns all providers, in the order of names.
func (c *Client) Providers(ctx context.Context) ([]api.Provider, error) {
	var all []api.Provider
	q := url.Values{"limit": {"1000"}}
	for {
		var page api.Providers
		if err := c.get(ctx, "/providers", q, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Providers...)
		if page.NextCursor == "" {
			return all, nil
		}
		q.Set("cursor", page.NextCursor)
	}
}

// Provider returns one provider.
func (c *Client) Provider(ctx context.Context, name drey.ProviderID) (api.Provider, error) {
	var p api.Provider
	return p, c.get(ctx, providerPath(name, ""), nil, &p)
}

// ExcludeProvider takes a provider out, and returns how it stands then; so do
// the other acts. Their Changed is false when it was so already.
func (c *Client) ExcludeProvider(ctx context.Context, name drey.ProviderID, how api.Exclude) (api.Provider, error) {
	return c.act(ctx, name, "exclude", how)
}

// RestoreProvider brings a provider back.
func (c *Client) RestoreProvider(ctx context.Context, name drey.ProviderID) (api.Provider, error) {
	return c.act(ctx, name, "restore", nil)
}

// RestartProvider has a provider's backend restarted. It returns when that has
// begun.
func (c *Client) RestartProvider(ctx context.Context, name drey.ProviderID) (api.Provider, error) {
	return c.act(ctx, name, "restart", nil)
}

// ProbeProvider probes a provider. How that went is in the answer's Probe.
func (c *Client) ProbeProvider(ctx context.Context, name drey.ProviderID, how api.ProbeAsk) (api.Provider, error) {
	return c.act(ctx, name, "probe", how)
}

// DrainProvider takes a provider out and returns when its last answer has
// ended or was cut.
func (c *Client) DrainProvider(ctx context.Context, name drey.ProviderID, how api.Drain) (api.Provider, error) {
	return c.act(ctx, name, "drain", how)
}

// WhyRequest explains a request.
func (c *Client) WhyRequest(ctx context.Context, id drey.RequestID) (api.Why, error) {
	var w api.Why
	return w, c.get(ctx, "/why/request/"+url.PathEscape(string(id)), nil, &w)
}

// WhyProvider explains what became of a provider.
func (c *Client) WhyProvider(ctx context.Context, name drey.ProviderID) (api.Why, error) {
	var w api.Why
	return w, c.get(ctx, "/why/provider/"+url.PathEscape(string(name)), nil, &w)
}

// WhyOperation explains what became of an operation, an archived one too.
func (c *Client) WhyOperation(ctx context.Context, id string) (api.Why, error) {
	var w api.Why
	return w, c.get(ctx, "/why/operation/"+url.PathEscape(id), nil, &w)
}

// WhyDaemon explains why the daemon is in the state that it is in.
func (c *Client) WhyDaemon(ctx context.Context) (api.Why, error) {
	var w api.Why
	return w, c.get(ctx, "/why/daemon", nil, &w)
}

func (c *Client) act(ctx context.Context, name drey.ProviderID, verb string, body any) (api.Provider, error) {
	var p api.Provider
	return p, c.post(ctx, providerPath(name, "/"+verb), body, &p)
}

func providerPath(name drey.ProviderID, rest string) string {
	return "/providers/" + url.PathEscape(string(name)) + rest
}
