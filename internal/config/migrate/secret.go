package migrate

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dreyhq/drey/internal/config"
)

// secretKey is the name of a field that holds a secret, and environment the
// prefix by which LiteLLM refers to a variable.
var secretKey = regexp.MustCompile(`(?i)(^|[_.-])(api[_-]?key|key|secret|token|password|passwd|credentials?|authorization|auth|cookie|dsn|database_url)$`)

const environment = "os.environ/"

var (
	variableRE = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	wordRE     = regexp.MustCompile(`[^\s"'=,;:(){}<>\[\]]+`)
)

// placeholders are what people write where a server wants a key and does not
// look at it.
var placeholders = map[string]bool{
	"none": true, "null": true, "empty": true, "dummy": true, "fake": true, "fake-key": true, "no-key": true, "not-needed": true,
	"not_needed": true, "anything": true, "ollama": true, "lm-studio": true, "sk-no-key-required": true, "na": true, "n/a": true, "": true,
}

// collect notes the literal secrets of the source, so that none is written
// anywhere.
func (m *importer) collect(o *object) {
	for _, key := range o.keys {
		m.collectValue(o.values[key], secretKey.MatchString(key) || o.path == "environment_variables")
	}
}

func (m *importer) collectValue(v any, secret bool) {
	switch v := v.(type) {
	case *object:
		m.collect(v)
	case []any:
		for _, item := range v {
			m.collectValue(item, secret)
		}
	case string:
		// A shorter one may well be a word that stands elsewhere for itself.
		if secret && (len(v) >= 8 || strings.HasPrefix(v, "sk-")) && !strings.HasPrefix(v, environment) && !placeholders[strings.ToLower(v)] && !slices.Contains(m.secrets, v) {
			m.secrets = append(m.secrets, v)
		}
	}
}

// holdsSecret reports whether a text has a secret in it.
func (m *importer) holdsSecret(text string) bool {
	for _, s := range m.secrets {
		if strings.Contains(text, s) {
			return true
		}
	}
	return slices.ContainsFunc(wordRE.FindAllString(text, -1), config.LooksSecret) || config.LooksSecret(text)
}

// name is what a thing of the source is called, unless that is a secret.
func (m *importer) name(source string) string {
	if m.holdsSecret(source) {
		return ""
	}
	return source
}

// clean takes secrets out of what is told.
func (m *importer) clean(text string) string {
	for _, s := range m.secrets {
		text = strings.ReplaceAll(text, s, "[redacted]")
	}
	return wordRE.ReplaceAllStringFunc(text, func(word string) string {
		if config.LooksSecret(word) {
			return "[redacted]"
		}
		return word
	})
}

// withoutSecrets takes out what holds a literal secret. References are kept:
// the names of variables are none.
func (m *importer) withoutSecrets(t *tree) {
	t.entries = slices.DeleteFunc(t.entries, func(e *entry) bool {
		if sub, ok := e.value.(*tree); ok {
			m.withoutSecrets(sub)
			return len(sub.entries) == 0
		}
		if !m.holds(e.value) && !m.holdsSecret(e.key) {
			return false
		}
		from := e.from
		if from == "" {
			from = "(drey: " + oneLine(e.key) + ")"
		}
		m.lose(from, "a secret may stand in it; refer to it by env:NAME or file:PATH where drey takes that")
		return true
	})
}

func (m *importer) holds(v any) bool {
	switch v := v.(type) {
	case string:
		return !isReference(v) && m.holdsSecret(v)
	case []any:
		return slices.ContainsFunc(v, m.holds)
	case *tree:
		return slices.ContainsFunc(v.entries, func(e *entry) bool { return m.holds(e.value) })
	case *object:
		for _, key := range v.keys {
			text, isText := v.values[key].(string)
			if m.holdsSecret(key) || m.holds(v.values[key]) || isText && secretKey.MatchString(key) && !placeholders[strings.ToLower(text)] {
				return true
			}
		}
	}
	return false
}

func isReference(s string) bool {
	name, ok := strings.CutPrefix(s, "env:")
	return ok && variableRE.MatchString(name)
}

// credential returns the reference that stands for a value of the source: the
// variable that it names, or else one by the name of want, which somebody has
// to set. It is "" if the value is a placeholder.
func (m *importer) credential(value, want string) (reference, comment string) {
	if name, ok := strings.CutPrefix(value, environment); ok {
		if !variableRE.MatchString(name) {
			return "", ""
		}
		return "env:" + name, ""
	}
	if placeholders[strings.ToLower(strings.TrimSpace(value))] {
		return "", ""
	}
	if m.variables == nil {
		m.variables, m.taken = map[string]string{}, map[string]bool{}
	}
	name, known := m.variables[value]
	if !known {
		name = variable(want)
		for base, n := name, 2; m.taken[name]; n++ {
			name = base + "_" + strconv.Itoa(n)
		}
		m.variables[value], m.taken[name] = name, true
	}
	m.do("set " + name + " to the secret that stands in the source as it is")
	return "env:" + name, "the source has the secret itself here; set " + name + " to it"
}

// variable makes a name of a variable.
func variable(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		default:
			return '_'
		}
	}, s)
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		s = "_" + s
	}
	return s[:min(len(s), 64)]
}
