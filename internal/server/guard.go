package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/dreyhq/drey"
)

// Key is a client's key, its secret resolved.
type Key struct {
	Name     string
	Secret   string
	Profiles []drey.ProfileID // nil = all
	Admin    bool             // may use the control API
	// PerMinute is how many requests of it may come in a minute; 0 = any number.
	PerMinute int
}

// guard decides who may come in. It is built once per configuration and
// read-only.
type guard struct {
	hosts map[string]bool
	keys  []lockedKey
}

// lockedKey keeps the hash of a secret: equal lengths make the comparison take
// the same time whatever is tried.
type lockedKey struct {
	Key
	sum [sha256.Size]byte
}

// newGuard takes the bound addresses and the names that are allowed besides.
func newGuard(bound, allowed []string, keys []Key) *guard {
	g := &guard{hosts: map[string]bool{}}
	for _, h := range slices.Concat(bound, allowed) {
		if h = hostname(h); h != "" {
			g.hosts[h] = true
		}
	}
	for _, k := range keys {
		g.keys = append(g.keys, lockedKey{k, sha256.Sum256([]byte(k.Secret))})
	}
	return g
}

// host reports whether a Host header is one of ours. A page that has rebound
// its own name to 127.0.0.1 sends that name, and is told apart by it.
func (g *guard) host(header string) bool {
	h := hostname(header)
	if h == "localhost" || strings.HasSuffix(h, ".localhost") || g.hosts[h] {
		return true
	}
	ip, err := netip.ParseAddr(h)
	return err == nil && ip.Unmap().IsLoopback()
}

// origin reports whether a request comes from no page, or from one of the same
// origin.
func (g *guard) origin(r *http.Request) bool {
	o := r.Header.Get("Origin")
	if o == "" {
		return true
	}
	u, err := url.Parse(o)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// credential returns the secret that came with a request, "" if none did.
func credential(h http.Header) string {
	if token := bearer(h); token != "" {
		return token
	}
	return h.Get("X-Api-Key")
}

func bearer(h http.Header) string {
	scheme, token, ok := strings.Cut(h.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// keyOf finds the key that came with a request: in either header on either
// wire, since SDKs differ and some send both. given says whether there was
// anything at all.
func (g *guard) keyOf(h http.Header) (k Key, ok, given bool) {
	for _, secret := range []string{bearer(h), h.Get("X-Api-Key")} {
		if secret == "" {
			continue
		}
		given = true
		if k, ok = g.key(secret); ok {
			break
		}
	}
	return k, ok, given
}

// key finds the key of a secret. It compares with every key, in constant time.
func (g *guard) key(secret string) (Key, bool) {
	sum := sha256.Sum256([]byte(secret))
	var found Key
	ok := false
	for i := range g.keys {
		if subtle.ConstantTimeCompare(sum[:], g.keys[i].sum[:]) == 1 {
			found, ok = g.keys[i].Key, true
		}
	}
	return found, ok && secret != ""
}

// open reports whether there are no keys, and so nothing to show one for.
func (g *guard) open() bool { return len(g.keys) == 0 }

// hostname takes the port and the brackets off, in lower case and without a
// trailing dot.
func hostname(hostport string) string {
	h := hostport
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		h = host
	}
	h = strings.TrimSuffix(strings.TrimPrefix(h, "["), "]")
	return strings.TrimSuffix(strings.ToLower(h), ".")
}
