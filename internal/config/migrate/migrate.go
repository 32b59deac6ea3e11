// Package migrate turns the configurations of other gateways into a drey.yaml.
//
// Nothing is dropped in silence: a field of the source is either mapped, or
// listed with the reason at the head of the file. What a field of the source
// holds is never repeated there, since it may be a secret; a literal secret
// becomes a reference to a variable, and the head says which one to set.
//
// What is written passes config.Parse, whatever the source was: what Parse
// refuses of it is taken out and listed like the rest (settle), so that there
// is one place that knows what a key may hold.
//
// The package is pure: bytes in, bytes out.
package migrate

import (
	"fmt"
	"slices"
	"strings"
)

// Result is a configuration that was carried over.
type Result struct {
	YAML  []byte   // a drey.yaml, with what follows in comments at its head
	Lost  []Item   // what drey does not have, or does otherwise in a way that matters
	Notes []Item   // what is the same in effect, or drey does anyway
	ToDo  []string // what is left to a person, like setting a variable
}

// Item is something about fields of the source.
type Item struct {
	Paths  []string `json:"paths"` // like providers.local.timeout_s; never a value
	Reason string   `json:"reason"`
}

// Sources are the gateways whose configuration can be read, as `drey config
// import` calls them.
func Sources() []string { return []string{"coderouter", "litellm"} }

// Import reads the configuration of a gateway. The error says that the data is
// not readable as such a configuration, and does not repeat anything of it.
func Import(source string, data []byte) (*Result, error) {
	m := &importer{source: source, out: &tree{}}
	var convert func(*object) error
	switch source {
	case "coderouter":
		convert = m.codeRouter
	case "litellm":
		convert = m.liteLLM
	default:
		return nil, fmt.Errorf("%s is not known; known are %s", source, strings.Join(Sources(), " and "))
	}
	root, err := m.read(data)
	if err != nil {
		return nil, err
	}
	m.out.set("version", 1)
	if err := convert(root); err != nil {
		return nil, err
	}
	m.standIn()
	if err := m.settle(); err != nil {
		return nil, err
	}
	return &Result{YAML: m.file(), Lost: m.lost, Notes: m.notes, ToDo: m.todo}, nil
}

// importer is one import.
type importer struct {
	source      string
	out         *tree
	lost, notes []Item
	todo        []string
	aside       string            // what is written out at the end as a comment
	secrets     []string          // literal ones of the source: nothing that is written may hold one
	variables   map[string]string // a literal secret to the variable that is to hold it
	taken       map[string]bool   // names of these variables
}

func (m *importer) lose(path, reason string) { m.lost = list(m.lost, m.clean(path), m.clean(reason)) }
func (m *importer) note(path, reason string) { m.notes = list(m.notes, m.clean(path), m.clean(reason)) }

func (m *importer) do(what string) {
	if !slices.Contains(m.todo, what) {
		m.todo = append(m.todo, what)
	}
}

// list adds a path to the item of its reason.
func list(items []Item, path, reason string) []Item {
	path = oneLine(path)
	for i := range items {
		if items[i].Reason == reason {
			if !slices.Contains(items[i].Paths, path) {
				items[i].Paths = append(items[i].Paths, path)
			}
			return items
		}
	}
	return append(items, Item{[]string{path}, reason})
}

// standIn makes a configuration of nothing a valid one: the demo answers, and
// says that it is one.
func (m *importer) standIn() {
	if len(m.out.sub("providers").entries) > 0 && len(m.out.sub("profiles").entries) > 0 {
		return
	}
	m.do("add a provider: none of the source could be carried over, and the demo stands in")
	m.out.remove("aliases")
	m.out.remove("auto_router")
	m.out.set("default_profile", "default")
	providers := m.out.sub("providers")
	providers.entries = nil
	providers.sub("demo").set("url", "demo:echo")
	profiles := m.out.sub("profiles")
	profiles.entries = nil
	profiles.sub("default").set("chain", []any{"demo"})
}

// file writes the head and the configuration.
func (m *importer) file() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Carried over from %s by drey config import.\n", m.source)
	if len(m.todo) > 0 {
		b.WriteString("#\n# To do before the start:\n")
		for _, what := range m.todo {
			fmt.Fprintf(&b, "#   %s\n", what)
		}
	}
	for _, part := range []struct {
		title string
		items []Item
	}{{"Not carried over", m.lost}, {"To know", m.notes}} {
		if len(part.items) == 0 {
			continue
		}
		fmt.Fprintf(&b, "#\n# %s:\n", part.title)
		for _, item := range part.items {
			fmt.Fprintf(&b, "#   %s:\n#     %s\n", strings.Join(item.Paths, ", "), item.Reason)
		}
	}
	b.WriteByte('\n')
	var w writer
	w.tree(m.out, 0)
	b.WriteString(w.b.String())
	if m.aside != "" {
		b.WriteString("\n" + m.aside)
	}
	return []byte(b.String())
}

// oneLine makes a name of the source fit into a comment.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffd {
			return '?'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 120 {
		s = string(r[:119]) + "…"
	}
	return s
}
