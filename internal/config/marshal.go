package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Marshal writes a drey.yaml that Parse reads to an equal File. Values that are
// the default are left out, but for the version and for what a provider's URL
// only suggests.
func Marshal(f *File) []byte {
	var w yamlWriter
	w.object(fileSpec, valueOf(f), 0)
	return []byte(w.b.String())
}

type yamlWriter struct {
	b    strings.Builder
	item bool // the next line begins an item of a list
}

func (w *yamlWriter) line(depth int, format string, args ...any) {
	if w.item {
		w.b.WriteString(strings.Repeat("  ", depth-1) + "- ")
		w.item = false
	} else {
		w.b.WriteString(strings.Repeat("  ", depth))
	}
	fmt.Fprintf(&w.b, format, args...)
	w.b.WriteByte('\n')
}

func (w *yamlWriter) object(s *spec, v reflect.Value, depth int) {
	for _, f := range s.fields {
		if !f.built || !f.keep && !f.required && isDefault(s, f, v) {
			continue
		}
		fv := v.Field(f.index)
		if f.optional {
			fv = fv.Elem()
		}
		if f.keep && f.spec.kind == kindString && fv.String() == "" {
			continue
		}
		w.value(f.name, f.spec, fv, depth)
	}
}

func (w *yamlWriter) value(key string, s *spec, v reflect.Value, depth int) {
	switch {
	case s.kind == kindObject:
		if empty(s, v) {
			w.line(depth, "%s: {}", key)
			return
		}
		w.line(depth, "%s:", key)
		w.object(s, v, depth+1)
	case s.kind == kindMap && v.Len() > 0:
		w.line(depth, "%s:", key)
		for i := range v.Len() {
			name := quoteYAML(v.Index(i).Field(s.name.index).String())
			if s.value != nil {
				w.value(name, s.value.spec, v.Index(i).Field(s.value.index), depth+1)
			} else {
				w.value(name, s.elem, v.Index(i), depth+1)
			}
		}
	case s.kind == kindList && s.elem.kind == kindObject && v.Len() > 0:
		w.line(depth, "%s:", key)
		for i := range v.Len() {
			w.item = true // every item has a required key, and so a line
			w.object(s.elem, v.Index(i), depth+2)
		}
	default:
		w.line(depth, "%s: %s", key, flow(s, v))
	}
}

// empty reports whether nothing of an object would be written.
func empty(s *spec, v reflect.Value) bool {
	for _, f := range s.fields {
		if f.built && (f.keep || f.required || !isDefault(s, f, v)) {
			return false
		}
	}
	return true
}

// plainText is text that YAML takes as it is, in block and in flow.
var plainText = regexp.MustCompile(`^[A-Za-z/_][A-Za-z0-9_./:@%+~=-]*$`)

// notText is text that some version of YAML takes for something else.
var notText = regexp.MustCompile(`(?i)^(true|false|null|yes|no|on|off|y|n)$`)

// quoteYAML writes a text as YAML, in double quotes unless it is plain.
func quoteYAML(s string) string {
	if plainText.MatchString(s) && !notText.MatchString(s) && !strings.HasSuffix(s, ":") {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ', c >= 0x7f && c < 0xa0:
			fmt.Fprintf(&b, `\x%02x`, c)
		case c == 0x2028, c == 0x2029, c == 0xfeff, c == utf8.RuneError:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
