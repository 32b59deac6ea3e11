package daemon

import (
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/gateway"
)

// banner tells a person what was found and what a client should set.
func (d *Daemon) banner() {
	if d.opts.Banner == nil {
		return
	}
	w := &strings.Builder{}
	gen := d.conf.Load()
	base := "http://" + clientAddr(d.tcp.Addr().String())
	fmt.Fprintf(w, "drey %s serves on %s\n", d.opts.Version, base)
	if gen.zero {
		fmt.Fprintf(w, "  no configuration; `drey config show` prints what was found as a file to keep in %s\n", d.home.Config())
	} else {
		fmt.Fprintf(w, "  configuration: %s\n", gen.source)
	}
	for _, p := range d.gateway.Providers() {
		fmt.Fprintf(w, "  %s\n", d.redactString(providerLine(p))) // what the configuration says, and it alone
	}
	if gen.demo {
		fmt.Fprintln(w, "  No model was found, so a built-in demo answers. Start a local server (ollama run llama3.2), or set a key:")
		fmt.Fprintln(w, "    ANTHROPIC_API_KEY=... DREY_ALLOW_PAID=1 drey serve")
	} else if !gen.settings.AllowPaid && gen.hasPaid() {
		fmt.Fprintln(w, "  Paid providers are off: they are used with DREY_ALLOW_PAID=1, or allow_paid: true in the file.")
	}
	key := "any-value"
	if len(gen.doors.Keys) > 0 {
		key = "one-of-your-keys"
	}
	fmt.Fprintf(w, "  Claude Code:  ANTHROPIC_BASE_URL=%s ANTHROPIC_AUTH_TOKEN=%s claude\n", base, key)
	fmt.Fprintf(w, "  OpenAI SDKs:  OPENAI_BASE_URL=%s/v1 OPENAI_API_KEY=%s\n", base, key)
	_, _ = io.WriteString(d.opts.Banner, w.String()) // nobody reads it who cannot be written to
}

func providerLine(p gateway.ProviderView) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-6s %s", p.Price, p.ID)
	if p.Model != "" {
		fmt.Fprintf(&b, "  %s", p.Model)
	}
	if !strings.HasPrefix(p.URL, "demo:") {
		fmt.Fprintf(&b, "  %s", p.URL)
	}
	switch p.Out {
	case "":
	case "paid-gate":
		b.WriteString("  (off: paid)")
	default:
		fmt.Fprintf(&b, "  (off: %s)", p.Out)
	}
	return b.String()
}

// clientAddr is an address that a client on this machine can use: a wildcard
// is no address to connect to.
func clientAddr(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// hasPaid reports whether there is a provider that the paid gate keeps out.
func (g *generation) hasPaid() bool {
	for i := range g.settings.Providers {
		if g.settings.Providers[i].Price == drey.Paid {
			return true
		}
	}
	return false
}
