package config

import (
	"net/url"
	"strings"

	"github.com/dreyhq/drey"
)

// Store says where transitions are kept. The zero value is the embedded store,
// drey.db in the home.
type Store struct {
	URL    string // of a PostgreSQL server, without a password; "" = embedded, or Secret
	Secret Secret // if not zero, the URL is there, password and all
}

// Embedded reports whether it is the store in the home.
func (s Store) Embedded() bool { return s == Store{} }

// embedded is what the file calls the store in the home.
const embedded = "sqlite"

// String returns the store as the file spells it.
func (s Store) String() string {
	switch {
	case s.URL != "":
		return s.URL
	case !s.Secret.IsZero():
		return s.Secret.String()
	default:
		return embedded
	}
}

func (s *Store) set(text string) *problem {
	*s = Store{}
	const hint = "write sqlite, postgres://user@host/database, or env:NAME or file:PATH of such a URL"
	switch {
	case text == embedded:
		return nil
	case strings.HasPrefix(text, "env:") || strings.HasPrefix(text, "file:"):
		p := s.Secret.set(text)
		if p != nil {
			p.rule = true
		}
		return p
	}
	if p := CheckStoreURL(text); p != nil {
		return &problem{msg: p.Error(), hint: hint, rule: true}
	}
	if u, _ := url.Parse(text); hasPassword(u) {
		return &problem{msg: "a password is written here as it is", hint: "put the whole URL into a variable or a file of mode 0600 and write env:NAME or file:PATH", rule: true}
	}
	s.URL = text
	return nil
}

// CheckStoreURL returns what is wrong with the URL of a store, without
// repeating it, since it may hold a password.
func CheckStoreURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql":
		return &problem{msg: "not a store that drey knows"}
	case u.Path == "" || u.Path == "/":
		return &problem{msg: "a URL without the name of a database"}
	}
	return nil
}

// hasPassword reports whether a URL holds a password, in either of the places
// in which libpq's form allows one.
func hasPassword(u *url.URL) bool {
	_, set := u.User.Password()
	return set || u.Query().Has("password")
}

// Operations limits the registry of operations. Source of the defaults: the
// operations contract §7.
type Operations struct {
	MaxConcurrent   *int          `yaml:"max_concurrent" range:"0.." doc:"live operations per registry; absent = no limit"`
	MaxCompleted    int           `yaml:"max_completed" default:"256" range:"0.." doc:"ended records kept per registry"`
	ProgressHistory int           `yaml:"progress_history" default:"32" range:"0.." doc:"updates kept per operation"`
	KeepHistory     drey.Duration `yaml:"keep_history" default:"30d" doc:"how long archived records can be read"`
}
