package route

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dreyhq/drey"
)

// Alias is a pattern over the model's whole name, and the profile or provider
// that it stands for.
type Alias struct {
	Pattern string // * and ? are globs
	Target  string // a profile's name, else a provider's
}

// Directory is what a configuration calls things. It is built once per
// configuration and read-only after that.
type Directory struct {
	profiles  []drey.ProfileID
	providers map[drey.ProviderID]bool
	chains    map[drey.ProfileID][]drey.ProviderID
	aliases   []Alias
	def       drey.ProfileID
}

// NewDirectory returns the directory of a configuration: the providers of each
// profile, the profiles in file order (the order in which errors list them),
// all providers, the aliases in file order and the default profile. It keeps
// what it is given.
func NewDirectory(order []drey.ProfileID, chains map[drey.ProfileID][]drey.ProviderID, providers []drey.ProviderID, aliases []Alias, def drey.ProfileID) *Directory {
	d := &Directory{profiles: order, chains: chains, aliases: aliases, def: def, providers: make(map[drey.ProviderID]bool, len(providers))}
	for _, p := range providers {
		d.providers[p] = true
	}
	return d
}

// Choosing is what a request says about where it wants to go. Empty fields say
// nothing.
type Choosing struct {
	Body   string // the body's own field profile
	Header string // X-Drey-Profile
	Path   string // /p/{profile}/…
	Model  string // the model that the body names
	// Allowed are the profiles that the request's key may use; empty = all.
	Allowed []drey.ProfileID
	// Auto asks the auto-router for a profile. It is called at most once, and
	// only where nothing stronger chose; nil = there is none.
	Auto func() drey.ProfileID
}

// Setter says who chose a profile.
type Setter uint8

// The setters, the stronger first.
const (
	ByBody Setter = iota
	ByHeader
	ByPath
	ByKey
	ByModel
	ByAuto
	ByDefault
)

var setterNames = [...]string{"body", "header", "path", "key", "model", "auto", "default"}

// String returns the setter's name in events and rows.
func (s Setter) String() string {
	if int(s) < len(setterNames) {
		return setterNames[s]
	}
	return fmt.Sprintf("setter(%d)", s)
}

// Choice is where a request goes.
type Choice struct {
	// Profile gives the chain and the policies. Where Provider is set it gives
	// the policies alone.
	Profile drey.ProfileID
	// Provider is set if the model named a provider: a chain of one.
	Provider drey.ProviderID
	By       Setter
	// Ours says that the model is a name of drey's own ("drey/coder"), which
	// means nothing to a provider: one that would pass the caller's model
	// through must not pass this.
	Ours bool
}

// The codes of Choose's errors.
const (
	CodeUnknownProfile = "unknown_profile"
	CodeForbidden      = "permission_denied"
)

const (
	ownPrefix    = "drey/"
	claudePrefix = "claude-drey-" // agents drop model names of another form
)

// Choose says where a request goes (the gateway contract §3). The narrower the
// setter, the stronger:
//
//  1. the body's field, 2. the header, 3. the path,
//  4. the key's only profile,
//  5. the model: drey/NAME or claude-drey-NAME, then an exact profile, then the
//     aliases in order, then an exact provider as a chain of one,
//  6. the auto-router, if there is one, else the default profile.
//
// A model that nothing knows is no error, since agents send their vendor's
// names. Errors are *drey.Error of class Caller: CodeUnknownProfile for a name
// in body, header, path or drey/NAME that is no profile, with the names that
// are; CodeForbidden for a profile that the key may not use.
func (d *Directory) Choose(c Choosing) (Choice, error) {
	for by, name := range [...]string{ByBody: c.Body, ByHeader: c.Header, ByPath: c.Path} { // 1, 2, 3
		if name != "" {
			return d.profile(name, Choice{By: Setter(by), Ours: d.ours(c.Model)}, c.Allowed)
		}
	}
	if len(c.Allowed) == 1 { // 4
		return d.profile(string(c.Allowed[0]), Choice{By: ByKey, Ours: d.ours(c.Model)}, nil)
	}
	if name, ok := ownName(c.Model); ok { // 5
		return d.profile(name, Choice{By: ByModel, Ours: true}, c.Allowed)
	}
	if d.isProfile(c.Model) {
		return d.profile(c.Model, Choice{By: ByModel, Ours: true}, c.Allowed)
	}
	for _, a := range d.aliases {
		if match(a.Pattern, c.Model) {
			if d.isProfile(a.Target) {
				return d.profile(a.Target, Choice{By: ByModel}, c.Allowed)
			}
			return d.provider(a.Target, Choice{By: ByModel}, c.Allowed)
		}
	}
	if d.providers[drey.ProviderID(c.Model)] {
		return d.provider(c.Model, Choice{By: ByModel, Ours: true}, c.Allowed)
	}
	if c.Auto != nil { // 6
		return d.profile(string(c.Auto()), Choice{By: ByAuto}, c.Allowed)
	}
	return d.profile(string(d.def), Choice{By: ByDefault}, c.Allowed)
}

// ownName returns NAME of drey/NAME and claude-drey-NAME.
func ownName(model string) (string, bool) {
	if name, ok := strings.CutPrefix(model, ownPrefix); ok {
		return name, true
	}
	return strings.CutPrefix(model, claudePrefix)
}

// ours reports whether a model's name is one of drey's own.
func (d *Directory) ours(model string) bool {
	_, own := ownName(model)
	return own || d.isProfile(model) || d.providers[drey.ProviderID(model)]
}

func (d *Directory) isProfile(name string) bool {
	_, ok := d.chains[drey.ProfileID(name)]
	return ok
}

func (d *Directory) profile(name string, c Choice, allowed []drey.ProfileID) (Choice, error) {
	c.Profile = drey.ProfileID(name)
	if !d.isProfile(name) {
		return Choice{}, &drey.Error{
			Class: drey.Caller, Code: CodeUnknownProfile, Op: "choose profile",
			Err:  fmt.Errorf("there is no profile %q; there are: %s", cut(name, 64), names(d.visible(allowed))),
			Hint: "Name one of the profiles of the configuration, or none to get the default.",
		}
	}
	if len(allowed) > 0 && !slices.Contains(allowed, c.Profile) {
		return Choice{}, forbidden("profile", name, allowed)
	}
	return c, nil
}

// provider is a chain of one under the default profile's policies. A key with
// profiles reaches the providers of these and no others.
func (d *Directory) provider(name string, c Choice, allowed []drey.ProfileID) (Choice, error) {
	c.Provider, c.Profile = drey.ProviderID(name), d.def
	if len(allowed) == 0 {
		return c, nil
	}
	for _, p := range allowed {
		if slices.Contains(d.chains[p], c.Provider) {
			c.Profile = p
			return c, nil
		}
	}
	return Choice{}, forbidden("provider", name, allowed)
}

// visible are the profiles that an error may list to a key.
func (d *Directory) visible(allowed []drey.ProfileID) []drey.ProfileID {
	if len(allowed) == 0 {
		return d.profiles
	}
	var out []drey.ProfileID
	for _, p := range d.profiles {
		if slices.Contains(allowed, p) {
			out = append(out, p)
		}
	}
	return out
}

func forbidden(kind, name string, allowed []drey.ProfileID) error {
	return &drey.Error{
		Class: drey.Caller, Code: CodeForbidden, Op: "choose profile",
		Err:  fmt.Errorf("this key may not use %s %q; it may use: %s", kind, name, names(allowed)),
		Hint: "Use a profile that the key lists, or add this one to the key's profiles.",
	}
}

// names lists at most twenty of them, since it goes into an error's message.
func names(ps []drey.ProfileID) string {
	var b strings.Builder
	for i, p := range ps {
		if i == 20 {
			fmt.Fprintf(&b, " and %d more", len(ps)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(p))
	}
	return b.String()
}

// cut shortens a name of the caller's to n runes, for a message.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}
