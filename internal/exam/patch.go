package exam

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dreyhq/drey"
)

// Setting is one key of a provider with the value that it should have. A list
// is the whole list; of a map only the keys are named that change.
type Setting struct {
	Path  []string // below the provider
	Value any      // string, bool, int or []string
}

// Patch is what mends a finding: settings of one provider.
type Patch []Setting

// Join makes one patch of those of several findings. Of two values for one key
// the later counts.
func Join(findings []Finding) Patch {
	var out Patch
	for _, f := range findings {
		for _, s := range f.Patch {
			if i := slices.IndexFunc(out, func(o Setting) bool { return slices.Equal(o.Path, s.Path) }); i >= 0 {
				out[i] = s
				continue
			}
			out = append(out, s)
		}
	}
	return out
}

// YAML writes the patch as lines of drey.yaml, from the top of the file down;
// "" for none.
func (p Patch) YAML(provider drey.ProviderID) string {
	if len(p) == 0 {
		return ""
	}
	root := &node{}
	for _, s := range p {
		n := root.child("providers").child(string(provider))
		for _, key := range s.Path {
			n = n.child(key)
		}
		n.value = s.Value
	}
	var b strings.Builder
	root.write(&b, "")
	return b.String()
}

// node is a map under construction, in the order in which its keys came; or a
// value.
type node struct {
	key   string
	value any
	below []*node
}

func (n *node) child(key string) *node {
	for _, c := range n.below {
		if c.key == key {
			return c
		}
	}
	c := &node{key: key}
	n.below = append(n.below, c)
	return c
}

func (n *node) write(b *strings.Builder, indent string) {
	for _, c := range n.below {
		b.WriteString(indent + scalar(c.key) + ":")
		if c.below != nil {
			b.WriteString("\n")
			c.write(b, indent+"  ")
			continue
		}
		b.WriteString(" " + value(c.value) + "\n")
	}
}

func value(v any) string {
	switch v := v.(type) {
	case string:
		return scalar(v)
	case []string:
		words := make([]string, len(v))
		for i, w := range v {
			words[i] = scalar(w)
		}
		return "[" + strings.Join(words, ", ") + "]"
	default: // a number or a bool
		return fmt.Sprint(v)
	}
}

// bare are the texts that YAML reads as themselves without quotes: they begin
// with a letter, and no colon ends them or stands before a space.
var bare = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*(:[A-Za-z0-9_./-]+)*$`)

// words are those that YAML, of one version or another, reads as something
// else.
var words = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}

// scalar writes a text. Go's quotes and escapes are YAML's, and they leave
// nothing that a terminal would obey.
func scalar(s string) string {
	if bare.MatchString(s) && !slices.Contains(words, strings.ToLower(s)) {
		return s
	}
	return strconv.Quote(s)
}
