package migrate

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
)

// maxFile and maxNodes bound the source: no gateway of a person has a larger
// one, and aliases can make a short file a huge one.
const (
	maxFile  = 1 << 20
	maxNodes = 100_000
)

// object is a mapping of the source. What is taken from it counts as dealt
// with; rest lists what is not.
type object struct {
	m      *importer
	path   string
	keys   []string
	values map[string]any // nil, bool, int64, float64, string, []any, *object
	taken  map[string]bool
}

// read parses the source and notes its literal secrets.
func (m *importer) read(data []byte) (root *object, err error) {
	defer func() {
		if recover() != nil { // the YAML library is known to, on malformed files
			root, err = nil, errors.New("the file is not YAML")
		}
	}()
	if len(data) > maxFile {
		return nil, errors.New("the file is larger than 1 MiB")
	}
	if !utf8.Valid(data) {
		return nil, errors.New("the file is not UTF-8")
	}
	var raw any
	if err := yaml.UnmarshalWithOptions(data, &raw, yaml.UseOrderedMap()); err != nil {
		return nil, errors.New("the file is not YAML") // the library's own words repeat the file
	}
	nodes := 0
	v, err := m.convert(raw, "", &nodes, 0)
	if err != nil {
		return nil, err
	}
	root, ok := v.(*object)
	if !ok {
		return nil, errors.New("the file is not a map of keys")
	}
	m.collect(root)
	return root, nil
}

// convert makes values of few types of the library's.
func (m *importer) convert(raw any, path string, nodes *int, depth int) (any, error) {
	if *nodes++; *nodes > maxNodes || depth > 64 {
		return nil, errors.New("the file is too large or too deep")
	}
	switch v := raw.(type) {
	case yaml.MapSlice:
		o := &object{m: m, path: path, values: map[string]any{}, taken: map[string]bool{}}
		for _, item := range v {
			key := fmt.Sprint(item.Key)
			child, err := m.convert(item.Value, join(path, key), nodes, depth+1)
			if err != nil {
				return nil, err
			}
			if _, twice := o.values[key]; !twice {
				o.keys = append(o.keys, key)
			}
			o.values[key] = child
		}
		return o, nil
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			at := fmt.Sprintf("%s[%d]", path, i)
			if fields, ok := item.(yaml.MapSlice); ok {
				at = named(path, at, fields)
			}
			child, err := m.convert(item, at, nodes, depth+1)
			if err != nil {
				return nil, err
			}
			out[i] = child
		}
		return out, nil
	case nil, bool, string, float64:
		return v, nil
	case int:
		return int64(v), nil
	case int64:
		return v, nil
	case uint64:
		if v > math.MaxInt64 {
			return float64(v), nil
		}
		return int64(v), nil
	default:
		return fmt.Sprint(v), nil // a date, say
	}
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9._/:*-]{1,64}$`)

// named calls an element of a list by its name, where it has one.
func named(path, at string, fields yaml.MapSlice) string {
	for _, f := range fields {
		if s, ok := f.Value.(string); ok && (f.Key == "name" || f.Key == "id" || f.Key == "model_name") && plainName.MatchString(s) {
			return join(path, s)
		}
	}
	return at
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// take returns a value that is there and not null.
func (o *object) take(key string) (any, bool) {
	o.taken[key] = true
	v := o.values[key]
	return v, v != nil
}

func (o *object) at(key string) string { return join(o.path, key) }

func (o *object) lose(key, reason string) { o.m.lose(o.at(key), reason) }
func (o *object) note(key, reason string) { o.m.note(o.at(key), reason) }

// has reports whether a key has a value.
func (o *object) has(key string) bool { return o.values[key] != nil }

// text takes a text; numbers are read as what they look like.
func (o *object) text(key string) (string, bool) {
	v, ok := o.take(key)
	if !ok {
		return "", false
	}
	switch v := v.(type) {
	case string:
		return v, true
	case int64, float64:
		return fmt.Sprint(v), true
	case bool: // on and off are words to some, and booleans to YAML
		return map[bool]string{true: "on", false: "off"}[v], true
	}
	o.lose(key, "not a text")
	return "", false
}

// number takes a finite number.
func (o *object) number(key string) (float64, bool) {
	v, ok := o.take(key)
	if !ok {
		return 0, false
	}
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			return v, true
		}
	case string:
		var f float64
		if n, err := fmt.Sscanf(strings.TrimSpace(v), "%g", &f); n == 1 && err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f, true
		}
	}
	o.lose(key, "not a number")
	return 0, false
}

// flag takes a boolean.
func (o *object) flag(key string) (bool, bool) {
	v, ok := o.take(key)
	if !ok {
		return false, false
	}
	switch v := v.(type) {
	case bool:
		return v, true
	case int64:
		if v == 0 || v == 1 {
			return v == 1, true
		}
	case string:
		switch strings.ToLower(v) {
		case "true", "yes", "on", "1":
			return true, true
		case "false", "no", "off", "0":
			return false, true
		}
	}
	o.lose(key, "neither true nor false")
	return false, false
}

// object takes a mapping; nil if there is none.
func (o *object) object(key string) *object {
	v, ok := o.take(key)
	if !ok {
		return nil
	}
	child, ok := v.(*object)
	if !ok {
		o.lose(key, "not a map of keys")
	}
	return child
}

// objects takes a list of mappings.
func (o *object) objects(key string) []*object {
	v, ok := o.take(key)
	if !ok {
		return nil
	}
	items, ok := v.([]any)
	if !ok {
		o.lose(key, "not a list")
	}
	var out []*object
	for i, item := range items {
		if child, ok := item.(*object); ok {
			out = append(out, child)
		} else {
			o.m.lose(fmt.Sprintf("%s[%d]", o.at(key), i), "not a map of keys")
		}
	}
	return out
}

// texts takes a list of texts, or one text.
func (o *object) texts(key string) []string {
	v, ok := o.take(key)
	if !ok {
		return nil
	}
	items, ok := v.([]any)
	if !ok {
		items = []any{v}
	}
	var out []string
	for i, item := range items {
		if s, ok := item.(string); ok {
			out = append(out, s)
		} else {
			o.m.lose(fmt.Sprintf("%s[%d]", o.at(key), i), "not a text")
		}
	}
	return out
}

// drop lists keys for one reason, those that are there.
func (o *object) drop(reason string, keys ...string) {
	for _, key := range keys {
		if _, ok := o.take(key); ok {
			o.lose(key, reason)
		}
	}
}

// same takes keys that drey needs no key for, because it does so anyway.
func (o *object) same(reason string, keys ...string) {
	for _, key := range keys {
		if _, ok := o.take(key); ok {
			o.note(key, reason)
		}
	}
}

// rest lists what nobody has taken.
func (o *object) rest() {
	for _, key := range o.keys {
		if !o.taken[key] && o.values[key] != nil {
			o.lose(key, "drey has nothing like it")
		}
	}
}
