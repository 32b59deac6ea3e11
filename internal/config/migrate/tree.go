package migrate

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dreyhq/drey/internal/config"
)

// tree is a mapping of the configuration that is written, in order.
type tree struct {
	entries []*entry
}

// entry is one key. Its value is a *tree, a list ([]any), a text, a boolean, a
// whole number or a float64; below extra_body it may be an *object or nil.
type entry struct {
	key     string
	value   any
	from    string // the field of the source, for the list of what is lost
	comment string
	needed  bool // without it its mapping makes no sense
	line    int  // where it was last written
	in      *tree
	above   *entry // nil at the top
}

// set gives a key its value and returns its entry.
func (t *tree) set(key string, value any) *entry {
	for _, e := range t.entries {
		if e.key == key {
			e.value = value
			return e
		}
	}
	e := &entry{key: key, value: value}
	t.entries = append(t.entries, e)
	return e
}

// sub returns the mapping under a key, and makes it if there is none.
func (t *tree) sub(key string) *tree {
	for _, e := range t.entries {
		if e.key == key {
			if sub, ok := e.value.(*tree); ok {
				return sub
			}
		}
	}
	sub := &tree{}
	t.set(key, sub)
	return sub
}

func (t *tree) remove(key string) {
	t.entries = slices.DeleteFunc(t.entries, func(e *entry) bool { return e.key == key })
}

func (t *tree) get(key string) any {
	for _, e := range t.entries {
		if e.key == key {
			return e.value
		}
	}
	return nil
}

// writer writes YAML, each entry on a line of its own and its mapping below.
type writer struct {
	b     strings.Builder
	lines int
	at    map[int]*entry // by line
	item  bool           // the next line begins an element of a list
}

func (w *writer) line(depth int, text string) {
	indent := strings.Repeat("  ", depth)
	if w.item {
		indent, w.item = strings.Repeat("  ", depth-1)+"- ", false
	}
	w.b.WriteString(indent + text + "\n")
	w.lines++
}

func (w *writer) tree(t *tree, depth int) { w.entries(t, nil, depth) }

func (w *writer) entries(t *tree, above *entry, depth int) {
	for _, e := range t.entries {
		e.in, e.above = t, above
		if e.comment != "" && !w.item {
			w.line(depth, "# "+e.comment)
		}
		e.line = w.lines + 1
		if w.at != nil {
			w.at[e.line] = e
		}
		key := config.Quote(e.key)
		switch v := e.value.(type) {
		case *tree:
			if len(v.entries) == 0 {
				w.line(depth, key+": {}")
				continue
			}
			w.line(depth, key+":")
			w.entries(v, e, depth+1)
		case []any:
			if !slices.ContainsFunc(v, func(x any) bool { _, ok := x.(*tree); return ok }) {
				w.line(depth, key+": "+flow(v))
				continue
			}
			w.line(depth, key+":")
			for _, item := range v {
				if sub, ok := item.(*tree); ok && len(sub.entries) > 0 {
					w.item = true
					w.entries(sub, e, depth+2)
				}
			}
		default:
			w.line(depth, key+": "+flow(v))
		}
	}
}

// flow writes a value on one line.
func flow(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return config.Quote(v)
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = flow(item)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case *object:
		parts := make([]string, len(v.keys))
		for i, key := range v.keys {
			parts[i] = config.Quote(key) + ": " + flow(v.values[key])
		}
		return "{" + strings.Join(parts, ", ") + "}"
	default:
		return config.Quote(fmt.Sprint(v))
	}
}

// settle takes out of the configuration what holds a secret and what Parse
// refuses, until Parse takes it.
func (m *importer) settle() error {
	m.withoutSecrets(m.out)
	for range maxNodes { // each round takes something out
		m.repoint()
		w := writer{at: map[int]*entry{}}
		w.tree(m.out, 0)
		_, _, err := config.Parse("drey.yaml", []byte(w.b.String()), config.Options{})
		if err == nil {
			return nil
		}
		errs, ok := errors.AsType[config.Errors](err)
		if !ok {
			return err
		}
		removed := map[*entry]bool{}
		for _, fault := range errs {
			if e := w.at[fault.Line]; e != nil && !removed[e] {
				removed[e] = true
				m.prune(e, fault)
			}
		}
		if len(removed) == 0 {
			return fmt.Errorf("what was written is refused: %w", errs[0]) // a bug of ours
		}
	}
	return errors.New("what was written is refused again and again") // likewise
}

// repoint gives the default profile a name that is there.
func (m *importer) repoint() {
	name, _ := m.out.get("default_profile").(string)
	profiles := m.out.sub("profiles")
	_, routed := m.out.get("auto_router").(*tree)
	switch {
	case name == "auto" && routed, profiles.get(name) != nil:
	case name == "" && profiles.get("default") != nil:
	case len(profiles.entries) > 0:
		m.out.set("default_profile", profiles.entries[0].key)
	}
}

// prune removes an entry, and with one that is needed the mapping that it is
// in.
func (m *importer) prune(e *entry, fault *config.Error) {
	reason := "this version of drey has no " + keyOf(fault.Path) + " yet"
	if fault.Msg != "not built yet" {
		if reason = "drey refuses it: " + fault.Msg; fault.Hint != "" {
			reason += "; " + fault.Hint
		}
	}
	from := e.sources()
	for ; e.needed && e.above != nil; e = e.above {
		if len(from) == 0 {
			from = e.above.sources()
		}
	}
	if len(from) == 0 {
		from = []string{"(drey: " + fault.Path + ")"}
	}
	for _, path := range from {
		m.lose(path, oneLine(reason))
	}
	if list, ok := e.value.([]any); ok && e.key == "rules" && e.line != fault.Line {
		m.pruneRule(e, list, fault)
		return
	}
	e.in.entries = slices.DeleteFunc(e.in.entries, func(x *entry) bool { return x == e })
	if e.above != nil && e.above.key == "providers" && e.above.above == nil {
		m.forget(e.key)
	}
	m.standIn()
}

// sources are the fields of the source that an entry was made of.
func (e *entry) sources() []string {
	if e.from != "" {
		return []string{e.from}
	}
	var out []string
	if t, ok := e.value.(*tree); ok {
		for _, sub := range t.entries {
			out = append(out, sub.sources()...)
		}
	}
	return out
}

// pruneRule removes one element of a list of mappings.
func (m *importer) pruneRule(e *entry, list []any, fault *config.Error) {
	e.value = slices.DeleteFunc(list, func(item any) bool {
		sub, ok := item.(*tree)
		return ok && slices.ContainsFunc(sub.entries, func(x *entry) bool { return x.line == fault.Line })
	})
}

// keyOf is the key of a path without what it belongs to.
func keyOf(path string) string {
	parts := strings.Split(path, ".")
	if len(parts) > 2 && (parts[0] == "providers" || parts[0] == "profiles") {
		parts = parts[len(parts)-1:]
	}
	return strings.Join(parts, ".")
}

// forget takes a provider that is gone out of chains and aliases. A profile
// without one goes too.
func (m *importer) forget(provider string) {
	profiles := m.out.sub("profiles")
	for _, p := range slices.Clone(profiles.entries) {
		t, _ := p.value.(*tree)
		chain, _ := t.get("chain").([]any)
		var left []any
		for _, place := range chain {
			if pool, ok := place.([]any); ok {
				if pool = slices.DeleteFunc(slices.Clone(pool), func(x any) bool { return x == provider }); len(pool) > 0 {
					left = append(left, pool)
				}
			} else if place != provider {
				left = append(left, place)
			}
		}
		if len(left) == 0 {
			profiles.remove(p.key)
			m.lose(p.from, "none of its providers could be carried over")
			continue
		}
		t.set("chain", left)
	}
	if aliases, ok := m.out.get("aliases").(*tree); ok {
		aliases.entries = slices.DeleteFunc(aliases.entries, func(e *entry) bool { return e.value == provider })
	}
}
