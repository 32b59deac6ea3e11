package config

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/dreyhq/drey"
)

// Secret names where a secret is: exactly one of the fields is set. The zero
// value is no secret. It never holds the secret itself.
type Secret struct {
	Env  string // name of an environment variable
	File string // path of a file
}

// IsZero reports whether no secret is named.
func (s Secret) IsZero() bool { return s == Secret{} }

// String returns env:NAME or file:PATH, or "" for no secret.
func (s Secret) String() string {
	switch {
	case s.Env != "":
		return "env:" + s.Env
	case s.File != "":
		return "file:" + s.File
	default:
		return ""
	}
}

const secretPattern = `^(env:[A-Za-z_][A-Za-z0-9_]*|file:[^\x00-\x1f\x7f]+)$`

var secretRE = regexp.MustCompile(secretPattern)

// ParseSecret reads env:NAME or file:PATH. Its error does not repeat s, which
// may be a secret that somebody wrote where its reference belongs.
func ParseSecret(s string) (Secret, error) {
	if p := parseSecret(s); p != nil {
		return Secret{}, p
	}
	if name, ok := strings.CutPrefix(s, "env:"); ok {
		return Secret{Env: name}, nil
	}
	return Secret{File: strings.TrimPrefix(s, "file:")}, nil
}

func parseSecret(s string) *problem {
	switch {
	case secretRE.MatchString(s):
		return nil
	case s == "":
		return &problem{msg: "an empty reference", hint: "write env:NAME or file:PATH"}
	case strings.HasPrefix(s, "env:"):
		return &problem{msg: "what follows env: is not the name of a variable", hint: "write it like env:OPENAI_API_KEY"}
	case strings.HasPrefix(s, "file:"):
		return &problem{msg: "what follows file: is not a path", hint: "write it like file:~/.secrets/openai"}
	case strings.HasPrefix(s, "$"):
		return &problem{msg: "variables are not expanded", hint: "write env:NAME instead of $NAME"}
	default:
		return &problem{msg: "a secret is written here as it is", hint: "put it into a variable or a file of mode 0600 and write env:NAME or file:PATH"}
	}
}

// Credential is what a provider's key may be. The zero value is none.
type Credential struct {
	Caller bool // forward the caller's own credential
	Secret Secret
}

// String returns the credential as the file spells it.
func (c Credential) String() string {
	switch {
	case c.Caller:
		return "caller"
	case c.Secret.IsZero():
		return "none"
	default:
		return c.Secret.String()
	}
}

// Text is a value that stands in the file or is referred to.
type Text struct {
	Literal string
	Secret  Secret // if not zero, the value is there and Literal is empty
}

// String returns the value as the file spells it.
func (t Text) String() string {
	if t.Secret.IsZero() {
		return t.Literal
	}
	return t.Secret.String()
}

// JSON is a value of any shape, written as compact JSON. Numbers are spelled as
// the file spells them wherever JSON has that spelling.
type JSON json.RawMessage

// MarshalJSON returns the value itself.
func (j JSON) MarshalJSON() ([]byte, error) { return json.RawMessage(j).MarshalJSON() }

// Auto is a value that drey works out by itself unless the file says it. The
// zero value is "auto".
type Auto[T bool | int | drey.Duration] struct {
	Set   bool
	Value T // the zero value unless Set
}

// Say returns an Auto that is set.
func Say[T bool | int | drey.Duration](v T) Auto[T] { return Auto[T]{Set: true, Value: v} }

// Or returns the value, or guess if it is left to drey.
func (a Auto[T]) Or(guess T) T {
	if a.Set {
		return a.Value
	}
	return guess
}

func (Auto[T]) isAuto() {}

// Pool is one place in a chain: one provider, or several that are equal.
type Pool []drey.ProviderID

// reference is a value that is a string in the file. set must not repeat the
// string in its problem.
type reference interface {
	set(s string) *problem
	String() string
}

func (s *Secret) set(text string) *problem {
	if p := parseSecret(text); p != nil {
		return p
	}
	*s, _ = ParseSecret(text)
	return nil
}

func (c *Credential) set(text string) *problem {
	*c = Credential{}
	switch text {
	case "none":
		return nil
	case "caller":
		c.Caller = true
		return nil
	}
	p := c.Secret.set(text)
	if p != nil && strings.HasSuffix(p.hint, "or file:PATH") {
		p.hint += "; caller and none are the other choices"
	}
	return p
}

func (t *Text) set(text string) *problem {
	*t = Text{}
	if strings.HasPrefix(text, "env:") || strings.HasPrefix(text, "file:") {
		p := t.Secret.set(text)
		if p != nil {
			p.rule = true // its form is a matter of the content, for a text may be anything
		}
		return p
	}
	if looksSecret(text) {
		p := parseSecret("literal")
		p.rule = true
		return p
	}
	t.Literal = text
	return nil
}

var secretLooks = regexp.MustCompile(`(?i)^(bearer |basic |token )?\s*(sk-[a-z0-9_-]{8}|gsk_|xai-|AIza|ghp_|github_pat_|hf_[a-z0-9]{8}|eyJ[a-z0-9_-]+\.)|^(bearer|basic) .`)

// looksSecret reports whether a value has the form of a credential.
func looksSecret(s string) bool { return secretLooks.MatchString(s) }

// quoteJSON writes a JSON string without HTML escapes.
func quoteJSON(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string can always be written
	return strings.TrimSuffix(b.String(), "\n")
}

// ExpandHome replaces a leading ~/ of a path, and a path that is ~ alone, by
// the user's home. Nothing else is expanded; an empty home leaves the path.
func ExpandHome(path, home string) string {
	if home == "" || path != "~" && !strings.HasPrefix(path, "~/") {
		return path
	}
	return strings.TrimSuffix(home, "/") + path[1:]
}
