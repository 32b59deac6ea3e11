package config

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/dreyhq/drey"
)

// Source says where a value came from.
type Source uint8

// The sources. The zero value is the default.
const (
	FromDefault Source = iota // the key is absent
	FromFile                  // the file says it
	FromEnv                   // the environment says it
	Detected                  // drey found it out, from a URL or by looking for models
)

var sourceNames = [...]string{"default", "file", "env", "detected"}

// String returns default, file, env or detected.
func (s Source) String() string {
	if int(s) < len(sourceNames) {
		return sourceNames[s]
	}
	return fmt.Sprintf("source(%d)", s)
}

// MarshalText writes the source's name.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Setting is one value that is in force.
type Setting struct {
	Path   string `json:"path"`   // like providers.big.timeouts.connect
	Value  string `json:"value"`  // as the file would spell it; secrets are references only
	Source Source `json:"source"` // where it came from
}

// Effective returns every value in force, in the order of the manual. Keys
// that are not built yet are left out. Secrets occur by reference only; who
// prints the list sends it through redact all the same, since a user may have
// put one where nobody looks for it.
func (f *File) Effective() []Setting {
	w := settingsWalk{f: f}
	w.object(fileSpec, valueOf(f), "")
	return w.out
}

type settingsWalk struct {
	f   *File
	out []Setting
}

// object lists an object's values. One that is neither the default nor said by
// the file or the environment can only have been found out.
func (w *settingsWalk) object(s *spec, v reflect.Value, path string) {
	for _, f := range s.fields {
		if !f.built {
			continue
		}
		source := Detected
		if isDefault(s, f, v) && !f.guessed() {
			source = FromDefault
		}
		fv := v.Field(f.index)
		if f.optional {
			if fv.IsNil() {
				continue
			}
			fv = fv.Elem()
		}
		w.value(f.spec, fv, join(path, f.name), source)
	}
}

// guessed reports whether an absent key is filled in by looking at others.
func (f *field) guessed() bool { return f.keep && !f.hasDef }

func (w *settingsWalk) value(s *spec, v reflect.Value, path string, source Source) {
	switch {
	case s.kind == kindObject:
		w.object(s, v, path)
	case s.kind == kindMap && v.Len() > 0:
		for i := range v.Len() {
			at := join(path, v.Index(i).Field(s.name.index).String())
			if s.value != nil {
				w.value(s.value.spec, v.Index(i).Field(s.value.index), at, source)
			} else {
				w.object(s.elem, v.Index(i), at)
			}
		}
	case s.kind == kindList && s.elem.kind == kindObject && v.Len() > 0:
		for i := range v.Len() {
			w.object(s.elem, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	default:
		if said, ok := w.f.origins[path]; ok {
			source = said
		}
		w.out = append(w.out, Setting{path, flow(s, v), source})
	}
}

// flow writes a value on one line, as YAML and in the form that Parse reads.
func flow(s *spec, v reflect.Value) string {
	switch s.kind {
	case kindBool:
		return strconv.FormatBool(v.Bool())
	case kindInt:
		return strconv.FormatInt(v.Int(), 10)
	case kindFloat:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case kindString:
		return quoteYAML(v.String())
	case kindDuration:
		return drey.Duration(v.Int()).String()
	case kindWord:
		b, _ := v.Interface().(encoding.TextMarshaler).MarshalText() // names never fail
		return quoteYAML(string(b))
	case kindRef:
		return quoteYAML(v.Addr().Interface().(reference).String())
	case kindAuto:
		if !v.Field(0).Bool() {
			return "auto"
		}
		return flow(s.elem, v.Field(1))
	case kindJSON:
		return flowJSON(v.Bytes())
	case kindPool:
		if v.Len() == 1 {
			return quoteYAML(v.Index(0).String())
		}
		return flowList(v, func(v reflect.Value) string { return quoteYAML(v.String()) })
	case kindList:
		return flowList(v, func(v reflect.Value) string { return flow(s.elem, v) })
	case kindCommand:
		if argv := v.FieldByName("Argv"); argv.Len() > 0 {
			return flowList(argv, func(v reflect.Value) string { return quoteYAML(v.String()) })
		}
		return quoteYAML(v.FieldByName("Line").String())
	default: // an empty map; a full one takes more than a line
		return "{}"
	}
}

func flowList(v reflect.Value, item func(reflect.Value) string) string {
	items := make([]string, v.Len())
	for i := range items {
		items[i] = item(v.Index(i))
	}
	return "[" + strings.Join(items, ", ") + "]"
}

// NeedsRestart returns the keys, as the contract names them, whose change from
// old to new takes a restart of the daemon; nil if a reload does.
func NeedsRestart(old, new *File) []string {
	var out []string
	var walk func(s *spec, a, b reflect.Value, path string)
	walk = func(s *spec, a, b reflect.Value, path string) {
		for _, f := range s.fields {
			fa, fb, at := a.Field(f.index), b.Field(f.index), join(path, f.name)
			switch {
			case f.restart && !reflect.DeepEqual(fa.Interface(), fb.Interface()):
				out = append(out, at)
			case !f.restart && f.spec.kind == kindObject && !f.optional:
				walk(f.spec, fa, fb, at)
			}
		}
	}
	walk(fileSpec, valueOf(old), valueOf(new), "")
	return out
}

// Equal reports whether two files say the same, wherever they say it from.
func (f *File) Equal(g *File) bool {
	a, b := *f, *g
	a.origins, b.origins = nil, nil
	return reflect.DeepEqual(a, b)
}

// Secrets returns every secret that the file names, each once, in the order of
// the names.
func (f *File) Secrets() []Secret {
	found := map[Secret]bool{}
	for _, p := range f.Providers {
		found[p.Key.Secret] = true
		for _, h := range p.Headers {
			found[h.Value.Secret] = true
		}
		for _, v := range p.RestartEnv {
			found[v.Value.Secret] = true
		}
		if p.Process != nil {
			for _, v := range p.Process.Env {
				found[v.Value.Secret] = true
			}
		}
	}
	for _, k := range f.Keys {
		found[k.Secret] = true
	}
	found[f.Store.Secret] = true
	delete(found, Secret{})
	return slices.SortedFunc(maps.Keys(found), func(a, b Secret) int { return strings.Compare(a.String(), b.String()) })
}

// flowJSON puts a space behind each comma and colon of compact JSON, without
// which YAML would not take it for what it is, and escapes the characters that
// only JSON allows as they are.
func flowJSON(b []byte) string {
	if !json.Valid(b) {
		return "null"
	}
	var out strings.Builder
	inString, escaped := false, false
	for _, c := range string(b) {
		if c >= 0x7f && c < 0xa0 || c == 0xfeff {
			fmt.Fprintf(&out, `\u%04x`, c)
			continue
		}
		out.WriteRune(c)
		switch {
		case inString && escaped:
			escaped = false
		case inString && c == '\\':
			escaped = true
		case c == '"':
			inString = !inString
		case !inString && (c == ',' || c == ':'):
			out.WriteByte(' ')
		}
	}
	return out.String()
}
