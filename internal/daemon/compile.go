package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/gateway"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/server"
	"github.com/dreyhq/drey/internal/upstream"
	"github.com/dreyhq/drey/internal/wire"
)

// compiler turns a configuration into what the gateway and the doors are built
// from. It collects every secret that it resolves, for the redactor.
type compiler struct {
	secrets
	version string
	// demo plays providers whose URL begins with demo:.
	demo   func(url string) (http.RoundTripper, error)
	redact func(string) string
	known  []string // the values of secrets
}

// settings compiles the gateway's part.
func (c *compiler) settings(f *config.File) (gateway.Settings, error) {
	s := gateway.Settings{
		AllowPaid: f.AllowPaid, DefaultProfile: f.DefaultProfile, Keepalive: f.Listen.Keepalive.D(),
		Capture: captureSettings(&f.Logs),
	}
	var errs []error
	if err := autoRouter(f, &s); err != nil {
		errs = append(errs, err)
	}
	for i := range f.Providers {
		p, err := c.provider(&f.Providers[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("providers.%s: %w", f.Providers[i].Name, err))
		}
		s.Providers = append(s.Providers, p)
	}
	for i := range f.Profiles {
		s.Profiles = append(s.Profiles, profile(&f.Profiles[i]))
	}
	for _, a := range f.Aliases {
		s.Aliases = append(s.Aliases, route.Alias(a))
	}
	return s, errors.Join(errs...)
}

func (c *compiler) provider(p *config.Provider) (gateway.Provider, error) {
	t := p.Timeouts
	out := gateway.Provider{
		Config: upstream.Config{
			ID: p.Name, Wire: p.DreyWire(), Price: p.Class, URL: p.URL, Model: p.Model,
			CallerKey: p.Key.Caller, Headers: map[string]string{}, Connect: t.Connect.D(), Redact: c.redact, Version: c.version,
		},
		Connect: t.Connect.D(), FirstToken: t.FirstToken.Value.D(), Stall: t.Stall.D(), Total: t.Total.D(),
		ContextTokens: p.ContextTokens, MaxOutputTokens: p.MaxOutputTokens,
		Can:   abilities(p.Capabilities),
		Cache: p.Capabilities.Cache.Or(false), ReasoningBack: p.Capabilities.ReasoningHistory.Or(false),
		QueueWait:    p.Limits.QueueWait.D(),
		MaxTokensKey: maxTokensKey(p), Responses: p.Responses, AppendSystem: p.AppendSystem, Drop: p.DropFields,
		Cost: pricesGiven(&p.Cost), StripLines: stripLines(p),
		Mending: mending(p),
	}
	if p.Process != nil {
		out.QueueWait = p.Process.QueueWait.D() // its limit is the process's queue
	}
	for _, f := range p.ExtraBody {
		out.Extra = append(out.Extra, wire.ExtraField{Key: f.Name, Value: f.Value})
	}
	if !p.Key.Secret.IsZero() {
		if out.Key = c.read(p.Key.Secret); out.Key == "" {
			out.Missing = true
		}
	}
	for _, h := range p.Headers {
		v := h.Value.Literal
		if !h.Value.Secret.IsZero() {
			if v = c.read(h.Value.Secret); v == "" {
				out.Missing = true
			}
		}
		out.Headers[h.Name] = v
	}
	return out, c.way(p, &out.Config)
}

// way fills in how the provider is reached.
func (c *compiler) way(p *config.Provider, out *upstream.Config) error {
	u, err := url.Parse(p.URL)
	if err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if u.Scheme == "demo" {
		out.Transport, err = c.demo(p.URL)
		return err
	}
	if p.Proxy != "" {
		if out.Proxy, err = url.Parse(p.Proxy); err != nil {
			return fmt.Errorf("proxy: %w", err)
		}
	}
	if p.TLS.CAFile == "" && !p.TLS.Insecure {
		return nil
	}
	out.TLS = &tls.Config{InsecureSkipVerify: p.TLS.Insecure}
	if p.TLS.CAFile == "" {
		return nil
	}
	pem, err := os.ReadFile(c.expand(p.TLS.CAFile))
	if err != nil {
		return fmt.Errorf("tls.ca_file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a machine without its own trust has this file's
	}
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("tls.ca_file: %s holds no certificate; it must be PEM", p.TLS.CAFile)
	}
	out.TLS.RootCAs = pool
	return nil
}

// maxTokensKey is the field by which the provider limits an answer; "" leaves
// the caller's.
func maxTokensKey(p *config.Provider) string {
	switch p.MaxTokensField {
	case "auto":
		if u, err := url.Parse(p.URL); err == nil && u.Hostname() == "api.openai.com" {
			return "max_completion_tokens"
		}
		return ""
	default:
		return p.MaxTokensField
	}
}

func abilities(c config.Capabilities) route.Abilities {
	of := func(a config.Auto[bool]) route.Ability {
		switch {
		case !a.Set:
			return route.Unknown
		case a.Value:
			return route.Yes
		default:
			return route.No
		}
	}
	return route.Abilities{
		Tools: of(c.Tools), Vision: of(c.Vision), Documents: of(c.Documents), Thinking: of(c.Thinking), JSONSchema: of(c.JSONSchema),
		Prefill: of(c.Prefill),
	}
}

func profile(p *config.Profile) gateway.Profile {
	out := gateway.Profile{
		ID: p.Name, ThinkingOrder: p.ThinkingOrder, AppendSystem: p.AppendSystem,
		EmptyAnswer: map[string]gateway.EmptyAction{"fallback": gateway.EmptyFallback, "warn": gateway.EmptyWarn, "off": gateway.EmptyOff}[p.EmptyAnswer],
		Retry:       route.Policy{Retries: p.Retry.SameProvider.Or(route.Auto), Wait: p.Retry.Wait.D()},
		RetryShare:  p.Retry.Budget, RetryFloor: p.Retry.Floor,
		Action: healthAction(p), Adaptive: p.Adaptive, Guards: guards(p), Drift: drift(p.Drift), Rescue: rescue(p),
	}
	for _, pool := range p.Chain {
		out.Chain = append(out.Chain, pool)
	}
	span := func(d *drey.Duration) *time.Duration {
		if d == nil {
			return nil
		}
		v := d.D()
		return &v
	}
	out.Timeouts = gateway.Timeouts{Connect: span(p.Timeouts.Connect), Stall: span(p.Timeouts.Stall), Total: span(p.Timeouts.Total)}
	if f := p.Timeouts.FirstToken; f != nil {
		v := f.Value.D()
		out.Timeouts.FirstToken = &v
	}
	return out
}

// healthAction reads a word that Parse has seen to be one.
func healthAction(p *config.Profile) (a health.Action) {
	_ = a.UnmarshalText([]byte(p.HealthAction))
	return a
}

// doors compiles the rules of who may come in.
func (c *compiler) doors(f *config.File) (server.Doors, error) {
	d := server.Doors{
		Bound: []string{f.Listen.Addr}, AllowedHosts: f.Listen.AllowedHosts,
		MaxBody: int64(f.Listen.MaxBodyMB) << 20, MaxStreams: f.Listen.MaxStreams,
	}
	for _, k := range f.Keys {
		secret := c.read(k.Secret)
		if secret == "" {
			// A key that nobody can show would lock its client out silently;
			// worse, with no key left the doors would stand open.
			return d, fmt.Errorf("keys.%s.secret: %s is missing or blank; set it, or take the key out", k.Name, k.Secret)
		}
		d.Keys = append(d.Keys, server.Key{Name: k.Name, Secret: secret, Profiles: k.Profiles, Admin: k.Admin, PerMinute: k.RequestsPerMinute})
	}
	return d, nil
}

// read returns a secret and remembers it for the redactor.
func (c *compiler) read(s config.Secret) string {
	v := c.secrets.read(s)
	if v != "" {
		c.known = append(c.known, v)
	}
	return v
}
