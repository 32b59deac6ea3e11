// Package upstream performs one attempt at one provider over HTTP: it sends a
// request, watches the four timeouts, and hands back the answer or a Failure
// that says what went wrong. Whether to try again, and where, is decided
// elsewhere (internal/route, internal/gateway).
package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire/sse"
)

const (
	// defaultConnect is the connect timeout where nobody names one.
	// Source: contract, Provider table.
	defaultConnect = 3 * time.Second
	// longestConnect is the upper end of that timeout's range. It bounds a TLS
	// handshake that went on after its request had given up.
	longestConnect = time.Minute

	idlePerHost = 256
	idleTimeout = 90 * time.Second

	// maxAnswer bounds a whole answer in memory, and maxHeader its headers.
	maxAnswer = 64 << 20
	maxHeader = 1 << 20
	// maxErrorBody is how much of a refusal is kept to judge it by, and
	// errorBodyWait how long its body may take: the status is known by then.
	maxErrorBody  = 64 << 10
	errorBodyWait = 5 * time.Second
	// finishWait is how long a finished stream may take to close its body, so
	// that the connection can be used again.
	finishWait = 50 * time.Millisecond

	// pingAfter is how long an HTTP/2 connection may be silent before it is
	// asked whether it lives. Without it a laptop that changed its network
	// would hang on the old connection until the first-token timeout.
	pingAfter = 15 * time.Second
)

// Config is what an attempt must know of its provider. It is not changed after
// New.
type Config struct {
	ID    drey.ProviderID
	Wire  drey.Wire  // which headers go out
	Price drey.Price // Local: traceparent is passed on, and answers are asked for uncompressed

	// URL is the normalised base, such as https://api.openai.com/v1.
	URL string
	// Model is the model that the provider's configuration names; "" passes
	// the caller's through. It decides whether a 404 parks, and whose window
	// Learn asks for.
	Model string

	Key       string            // the provider's credential; "" = none
	CallerKey bool              // send the caller's own credential instead
	Headers   map[string]string // added to every request; they win over ours

	// Connect is how long dial and TLS may take together where a Call does
	// not say; 0 stands for 3 s.
	Connect time.Duration
	TLS     *tls.Config // nil = the system's trust
	// Proxy is used for every request; nil = the environment's, which is never
	// asked for loopback.
	Proxy *url.URL

	// Transport plays the provider instead of a network ("demo:" providers);
	// nil = the network. Connections are then none of this package's business.
	Transport http.RoundTripper

	// Redact takes secrets out of what the provider says of a failure; nil =
	// nothing is a secret.
	Redact func(string) string

	// Version of drey, for the User-Agent.
	Version string
}

// Provider performs attempts at one provider. It is safe for concurrent use.
type Provider struct {
	cfg   Config
	base  *url.URL
	paths map[string]*url.URL // of the usual endpoints, built once

	rt    http.RoundTripper
	fresh http.RoundTripper // always dials; nil if Config.Transport is set
	close []*http.Transport

	plain, stream http.Header // never changed once built

	warden *warden // of the attempts' timeouts

	maxAnswer int64
	maxFrame  int
}

// New returns a Provider. It opens no connection.
func New(cfg Config) *Provider {
	if cfg.Connect <= 0 {
		cfg.Connect = defaultConnect
	}
	p := &Provider{cfg: cfg, warden: newWarden(), base: parseBase(cfg.URL), maxAnswer: maxAnswer, maxFrame: sse.MaxFrame}
	p.paths = map[string]*url.URL{}
	for _, path := range []string{"/messages", "/chat/completions", "/responses", "/messages/count_tokens", "/embeddings", "/models"} {
		p.paths[path] = p.join(path)
	}
	p.plain, p.stream = p.fixedHeaders(false), p.fixedHeaders(true)
	if cfg.Transport != nil {
		p.rt = cfg.Transport
		return p
	}
	kept, fresh := p.transport(), p.transport()
	fresh.DisableKeepAlives = true
	p.rt, p.fresh, p.close = kept, fresh, []*http.Transport{kept, fresh}
	return p
}

// Close closes the idle connections. Attempts under way are ended by their
// contexts; a Provider that is closed may still be used.
func (p *Provider) Close() {
	for _, t := range p.close {
		t.CloseIdleConnections()
	}
}

// transport returns a new network transport. There is no limit of connections
// per host: limits are a matter of routing, which must know that a request
// waits.
func (p *Provider) transport() *http.Transport {
	dialer := &net.Dialer{}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			// A dial goes on when its request is gone, so that the next one
			// finds the connection: it needs its own limit.
			limit, ok := ctx.Value(connectLimit{}).(time.Duration)
			if !ok {
				limit = p.cfg.Connect
			}
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			return dialer.DialContext(ctx, network, addr)
		},
		TLSHandshakeTimeout:    longestConnect,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter},
	}
	if p.cfg.TLS != nil {
		t.TLSClientConfig = p.cfg.TLS.Clone()
	}
	switch {
	case p.cfg.Proxy != nil:
		t.Proxy = http.ProxyURL(p.cfg.Proxy)
	case loopback(p.base.Hostname()):
		t.Proxy = nil
	}
	return t
}

// parseBase reads the base URL. One that is none has been refused by the
// configuration; here it becomes an empty one, at which every attempt fails.
func parseBase(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		return &url.URL{}
	}
	if u.Opaque != "" { // demo:echo
		u.Host, u.Opaque = u.Opaque, ""
	}
	return u
}

// join returns the URL of a path below the base.
func (p *Provider) join(path string) *url.URL {
	u := *p.base
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/")+path, ""
	return &u
}

// at returns the URL with another port; 0 leaves it.
func (p *Provider) at(u *url.URL, port int) *url.URL {
	if port == 0 {
		return u
	}
	v := *u
	v.Host = net.JoinHostPort(u.Hostname(), strconv.Itoa(port))
	return &v
}

// endpoint returns the URL of a path below the base with the caller's query
// behind the base's own.
func (p *Provider) endpoint(path, query string) *url.URL {
	u, ok := p.paths[path]
	if !ok {
		u = p.join(path)
	}
	if query == "" {
		return u
	}
	v := *u
	if v.RawQuery != "" {
		query = v.RawQuery + "&" + query
	}
	v.RawQuery = query
	return &v
}

func loopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
