package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/dreyhq/drey"
)

// NormalizeURL returns the base of a provider's URL, to which the paths of its
// wire are appended: /chat/completions, /embeddings and /models for openai,
// /messages for anthropic. openai without a path gets /v1; anthropic always
// ends in /v1; the path of an endpoint that was pasted whole is cut off. A
// demo: URL is returned as it is. A query stays, behind the path. Applying it
// twice changes nothing.
func NormalizeURL(wire, raw string) (string, error) {
	u, p := parseURL(raw)
	if p != nil {
		return "", p
	}
	if u.Scheme == "demo" {
		return raw, nil
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	for cut := true; cut; {
		cut = false
		for _, end := range endpoints[wire] {
			if rest, ok := strings.CutSuffix(path, end); ok {
				path, cut = strings.TrimRight(rest, "/"), true
			}
		}
	}
	switch {
	case wire == WireAnthropic && !strings.HasSuffix(path, "/v1"), path == "":
		path += "/v1"
	}
	if u.Path, p = unescape(path); p != nil {
		return "", p
	}
	u.RawPath = path
	return u.String(), nil
}

var endpoints = map[string][]string{
	WireOpenAI:    {"/chat/completions", "/completions", "/embeddings", "/models", "/responses"},
	WireAnthropic: {"/messages/count_tokens", "/messages", "/models"},
}

func unescape(path string) (string, *problem) {
	s, err := url.PathUnescape(path)
	if err != nil {
		return "", wrong("check its percent signs", "not a URL")
	}
	return s, nil
}

// parseURL reads a provider's URL. Its problems do not repeat the text, which
// may hold a password.
func parseURL(raw string) (*url.URL, *problem) {
	const form = "write it like http://127.0.0.1:11434 or https://api.example.com/v1"
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, &problem{"not a URL", form, true}
	case u.Scheme == "demo":
		if u.Opaque == "" {
			return nil, &problem{"a demo: URL without a behaviour", "write it like demo:echo", true}
		}
		return u, nil
	case u.Scheme == "":
		return nil, &problem{"a URL without a scheme", form, true}
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, &problem{"the scheme " + u.Scheme + " is not known", form, true}
	case u.Hostname() == "":
		return nil, &problem{"a URL without a host", form, true}
	case u.User != nil:
		return nil, &problem{"a URL with a user or password in it", "take it out and name the credential in key", true}
	case u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return nil, &problem{"a URL with a fragment", "remove what follows the #", true}
	}
	for name := range u.Query() {
		if slices.Contains([]string{"key", "api_key", "api-key", "apikey", "token", "access_token"}, strings.ToLower(name)) {
			return nil, &problem{"a credential in the query of the URL", "take it out and name the credential in key, or in headers", true}
		}
	}
	return u, nil
}

// GuessWire returns the wire that a URL speaks by its looks, or "" if it could
// be either.
func GuessWire(raw string) string {
	u, p := parseURL(raw)
	if p != nil {
		return ""
	}
	host, path := strings.ToLower(u.Hostname()), strings.TrimRight(u.Path, "/")
	switch {
	case u.Scheme == "demo":
		return WireOpenAI
	case host == "api.anthropic.com", strings.HasSuffix(path, "/messages"), strings.HasSuffix(path, "/anthropic"), strings.HasSuffix(path, "/anthropic/v1"):
		return WireAnthropic
	case slices.Contains(openaiHosts, host), strings.HasSuffix(path, "/v1"), strings.HasSuffix(path, "/openai"), strings.HasSuffix(path, "/chat/completions"):
		return WireOpenAI
	case GuessPrice(raw) == drey.Local: // servers of local models all speak it
		return WireOpenAI
	default:
		return ""
	}
}

// openaiHosts are well-known vendors whose only wire is OpenAI's.
var openaiHosts = []string{
	"api.openai.com", "openrouter.ai", "api.groq.com", "api.deepseek.com", "api.mistral.ai",
	"generativelanguage.googleapis.com", "api.x.ai", "api.together.xyz", "api.fireworks.ai",
}

// GuessPrice returns Local for demo: URLs and for loopback, private and .local
// hosts, and Paid for all others: an unknown remote never spends unasked.
func GuessPrice(raw string) drey.Price {
	u, p := parseURL(raw)
	if p == nil && (u.Scheme == "demo" || isNear(u.Hostname())) {
		return drey.Local
	}
	return drey.Paid
}

// isNear reports whether a host is on this machine or in a private network.
func isNear(host string) bool {
	if isLoopback(host) || strings.HasSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), ".local") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	ip = ip.Unmap()
	return err == nil && (ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified())
}

// isLoopback reports whether a host can only be this machine.
func isLoopback(host string) bool {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// splitAddr reads host:port without looking names up.
func splitAddr(addr string) (host string, p *problem) {
	const form = "write it like 127.0.0.1:3739 or [::1]:3739"
	i := strings.LastIndexByte(addr, ':')
	if i < 0 {
		return "", &problem{"an address without a port", form, true}
	}
	host, port := addr[:i], addr[i+1:]
	if n, err := readInt(port); err != nil || n < 0 || n > 65535 || strings.Trim(port, "0123456789") != "" {
		return "", &problem{"the port is not a number up to 65535", form, true}
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() {
			return "", &problem{"not an IPv6 address between the brackets", form, true}
		}
		return host, nil
	}
	if strings.ContainsAny(host, ":[]/@ \t") {
		return "", &problem{"not an address", form, true}
	}
	return host, nil
}
