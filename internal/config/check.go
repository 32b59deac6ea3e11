package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/dreyhq/drey"
)

// checker holds a decoded file against the rules that no single value can
// break: names that must exist, addresses that need keys, URLs.
type checker struct {
	*decoder
	f        *File
	source   []byte
	demo     func(url string) error // nil = demo: URLs are not looked at
	warnings []Warning
}

func (c *checker) check() {
	c.listen()
	c.healing()
	c.lifecycle()
	for i := range c.f.Providers {
		c.provider(&c.f.Providers[i])
	}
	for i := range c.f.Profiles {
		c.profile(&c.f.Profiles[i])
	}
	c.defaultProfile()
	c.autoRouter()
	c.aliases()
	c.gatewayKeys()
	c.money()
	c.unusedProviders()
}

// find returns the place of the first of the paths that the file has.
func (c *checker) find(paths ...string) position {
	for _, p := range paths {
		if at, ok := c.at[p]; ok {
			return at
		}
		if at, ok := c.keys[p]; ok {
			return at
		}
	}
	return position{1, 1}
}

// faulty notes a fault of path; it stands where the path does, or else where
// the first of the others does.
func (c *checker) faulty(path string, msg, hint string, others ...string) {
	at := c.find(append([]string{path}, others...)...)
	c.fail(at.line, at.col, path, &problem{msg, hint, true})
}

func (c *checker) warn(path string, msg, hint string) {
	at := c.find(path)
	c.warnings = append(c.warnings, Warning{Line: at.line, Column: at.col, Path: path, Msg: msg, Hint: hint})
}

// was reports whether the file itself says path.
func (c *checker) was(path string) bool { _, ok := c.at[path]; return ok }

// sound reports whether path has no fault so far. A rule about a value that is
// broken anyway would only repeat it.
func (c *checker) sound(path string) bool {
	for _, e := range c.errs {
		if e.Path == path {
			return false
		}
	}
	return true
}

func (c *checker) listen() {
	c.address("listen.addr", c.f.Listen.Addr)
	if c.f.Telemetry.MetricsListen != "" {
		c.address("telemetry.metrics_listen", c.f.Telemetry.MetricsListen)
	}
	for i, h := range c.f.Listen.AllowedHosts {
		if h == "" || strings.ContainsAny(h, "/@ \t") {
			c.faulty(fmt.Sprintf("listen.allowed_hosts[%d]", i), "not a host name", "write the name alone, without scheme or path")
		}
	}
}

func (c *checker) address(path, addr string) {
	if !c.sound(path) {
		return
	}
	host, p := splitAddr(addr)
	switch {
	case p != nil:
		c.faulty(path, p.msg, p.hint)
	case !isLoopback(host) && len(c.f.Keys) == 0:
		c.faulty(path, "this address can be reached from other machines, and there are no keys", "add keys, or listen on 127.0.0.1", "keys")
	}
}

func (c *checker) provider(p *Provider) {
	path := join("providers", string(p.Name))
	if c.was(path+".url") && c.sound(path+".url") {
		c.url(p, path)
	}
	seen := map[string]bool{}
	for _, h := range p.Headers {
		c.header(h, join(path+".headers", h.Name), seen)
	}
	for i, name := range p.DropFields {
		if name == "" {
			c.faulty(fmt.Sprintf("%s.drop_fields[%d]", path, i), "an empty name", "remove it")
		}
	}
	if p.Key.Caller && len(c.f.Keys) > 0 {
		c.faulty(path+".key", "caller forwards the caller's credential, which is a key of drey where keys are set", "remove keys, or give the provider a credential of its own")
	}
	if p.Responses && p.DreyWire() == drey.WireAnthropic {
		c.faulty(path+".responses", "only servers of the openai wire speak Responses", "remove it: requests of that wire are translated for this provider")
	}
	c.answers(p, path)
	c.file(path+".key", p.Key.Secret.File)
	c.file(path+".tls.ca_file", p.TLS.CAFile)
	if p.TLS.Insecure {
		c.warn(path+".tls.insecure", "anybody on the way can read and change what is sent", "name the authority in tls.ca_file instead")
	}
	if p.Proxy != "" {
		c.proxy(path+".proxy", p.Proxy)
	}
	c.mending(p, path)
}

// url makes the URL normal and fills in what follows from it.
func (c *checker) url(p *Provider, path string) {
	if _, prob := parseURL(p.URL); prob != nil {
		c.faulty(path+".url", prob.msg, prob.hint)
		return
	}
	if !c.was(path + ".class") {
		p.Class = GuessPrice(p.URL)
	}
	if !c.was(path + ".wire") {
		if p.Wire = GuessWire(p.URL); p.Wire == "" {
			c.faulty(path+".wire", "the URL does not tell which protocol it speaks", "write wire: openai or wire: anthropic", path+".url")
			return
		}
	}
	base, err := NormalizeURL(p.Wire, p.URL)
	if err != nil {
		c.faulty(path+".url", "not a URL", "check its percent signs")
		return
	}
	p.URL = base
	u, _ := parseURL(base)
	if u.Scheme == "demo" && c.demo != nil {
		if err := c.demo(base); err != nil {
			c.faulty(path+".url", err.Error(), "")
		}
	}
	if u.Scheme == "http" && !isNear(u.Hostname()) && !p.Key.Secret.IsZero() {
		c.warn(path+".url", "the credential goes over the network in clear text", "use https")
	}
}

// ownHeaders are written by drey or by HTTP itself.
var ownHeaders = map[string]bool{
	"host": true, "content-length": true, "transfer-encoding": true, "connection": true, "upgrade": true,
	"te": true, "trailer": true, "keep-alive": true, "content-type": true, "accept-encoding": true,
}

// secretHeaders hold nothing but credentials.
var secretHeaders = map[string]bool{
	"authorization": true, "proxy-authorization": true, "x-api-key": true, "api-key": true, "x-goog-api-key": true, "cookie": true,
}

func (c *checker) header(h Header, path string, seen map[string]bool) {
	name := strings.ToLower(h.Name)
	switch {
	case name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~") != "":
		c.faulty(path, "not the name of a header", "use letters, digits and dashes")
	case ownHeaders[name]:
		c.faulty(path, "this header is set by drey", "remove it")
	case seen[name]:
		c.faulty(path, "this header is there already; case does not matter", "keep one of the two")
	case secretHeaders[name] && h.Value.Literal != "":
		c.faulty(path, "a secret is written here as it is", "put it into a variable or a file of mode 0600 and write env:NAME or file:PATH")
	case strings.ContainsAny(h.Value.Literal, "\r\n\x00"):
		c.faulty(path, "a header has one line", "remove the line break")
	}
	seen[name] = true
	c.file(path, h.Value.Secret.File)
}

// file warns of a path whose meaning depends on where drey is started.
func (c *checker) file(path, file string) {
	if file != "" && !filepath.IsAbs(file) && !strings.HasPrefix(file, "~/") {
		c.warn(path, "a relative path depends on where drey is started", "write it from / or from ~/")
	}
}

func (c *checker) proxy(path, raw string) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "":
		c.faulty(path, "not a URL", "write it like http://proxy.example.com:3128")
	case u.User != nil:
		c.faulty(path, "a URL with a user or password in it", "leave the key out and set HTTPS_PROXY in the environment of drey")
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5" && u.Scheme != "socks5h":
		c.faulty(path, "not the URL of a proxy", "use http, https, socks5 or socks5h")
	}
}

func (c *checker) profile(p *Profile) {
	path := join("profiles", string(p.Name))
	if p.Name == AutoProfile {
		at := c.keys[path]
		c.fail(at.line, at.col, path, &problem{"no profile may be called auto, which stands for the auto-router", "choose another name", true})
	}
	c.guards(p, path)
	c.idleGuards(p, path)
	c.drift(p.Drift, path+".drift")
	c.rescue(p, path)
	seen := map[drey.ProviderID]bool{}
	for i, pool := range p.Chain {
		for j, name := range pool {
			at := fmt.Sprintf("%s.chain[%d]", path, i)
			if inner := fmt.Sprintf("%s[%d]", at, j); c.was(inner) {
				at = inner
			}
			switch {
			case !c.sound(at) || name == "" || len(c.f.Providers) == 0: // has its fault already
			case c.f.Provider(name) == nil:
				c.faulty(at, "there is no provider "+quoteJSON(string(name)), didYouMean(string(name), c.f.providerNames(), "add it to providers"))
			case seen[name]:
				c.faulty(at, "this provider is in the chain already", "remove it; retry.same_provider says how often one is tried again")
			}
			seen[name] = true
		}
	}
}

func (c *checker) defaultProfile() {
	name := c.f.DefaultProfile
	if name == AutoProfile || c.f.Profile(name) != nil || !c.sound("default_profile") || len(c.f.Profiles) == 0 {
		return
	}
	msg := "there is no profile " + quoteJSON(string(name))
	switch {
	case c.f.origins["default_profile"] == FromEnv:
		c.errs = append(c.errs, &Error{Path: EnvProfile, Msg: msg, Hint: didYouMean(string(name), c.f.profileNames(), ""), rule: true})
	case !c.was("default_profile"):
		c.faulty("default_profile", msg, "name one of your profiles here, such as "+c.f.profileNames()[0], "profiles")
	default:
		c.faulty("default_profile", msg, didYouMean(string(name), c.f.profileNames(), ""))
	}
}

func (c *checker) aliases() {
	all := ""
	for _, a := range c.f.Aliases {
		path := join("aliases", a.Pattern)
		if !c.sound(path) {
			continue
		}
		switch {
		case a.Pattern == "":
			c.faulty(path, "an empty pattern", `write the name of a model, or "*" for all`)
		case c.f.Profile(drey.ProfileID(a.Target)) == nil && c.f.Provider(drey.ProviderID(a.Target)) == nil:
			c.faulty(path, "there is neither a profile nor a provider "+quoteJSON(a.Target), didYouMean(a.Target, append(c.f.profileNames(), c.f.providerNames()...), ""))
		case all != "":
			c.warn(path, "this alias is never reached, since "+all+" above it matches every model", "move "+all+" to the end")
		}
		if strings.Trim(a.Pattern, "*") == "" {
			all = quoteJSON(a.Pattern)
		}
	}
}

func (c *checker) gatewayKeys() {
	seen := map[string]bool{}
	for i, k := range c.f.Keys {
		path := fmt.Sprintf("keys[%d]", i)
		if k.Name != "" && seen[k.Name] {
			c.faulty(path+".name", "another key has this name", "give each key its own")
		}
		seen[k.Name] = true
		c.file(path+".secret", k.Secret.File)
		for j, p := range k.Profiles {
			if c.f.Profile(p) == nil && len(c.f.Profiles) > 0 {
				c.faulty(fmt.Sprintf("%s.profiles[%d]", path, j), "there is no profile "+quoteJSON(string(p)), didYouMean(string(p), c.f.profileNames(), ""))
			}
		}
	}
}

// unusedProviders warns of providers that only a request for their own name
// can reach.
func (c *checker) unusedProviders() {
	used := map[string]bool{}
	for _, p := range c.f.Profiles {
		for _, pool := range p.Chain {
			for _, name := range pool {
				used[string(name)] = true
			}
		}
	}
	for _, a := range c.f.Aliases {
		used[a.Target] = true
	}
	for _, p := range c.f.Providers {
		if !used[string(p.Name)] {
			path := join("providers", string(p.Name))
			at := c.keys[path]
			c.warnings = append(c.warnings, Warning{Line: at.line, Column: at.col, Path: path, Msg: "no chain and no alias names this provider", Hint: "add it to a profile's chain"})
		}
	}
}

func (f *File) providerNames() []string {
	var out []string
	for _, p := range f.Providers {
		out = append(out, string(p.Name))
	}
	return out
}

func (f *File) profileNames() []string {
	var out []string
	for _, p := range f.Profiles {
		out = append(out, string(p.Name))
	}
	return out
}
