package config

import (
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/dreyhq/drey"
)

// kind is the shape of a value in the file.
type kind uint8

const (
	kindObject   kind = iota // a struct
	kindMap                  // an ordered map: a slice of structs with a ",name" field
	kindList                 // a slice
	kindBool                 // true, false; on and off are understood
	kindInt                  // a whole number
	kindFloat                // a number
	kindString               // text
	kindDuration             // text, and 0
	kindWord                 // one of a few words, read by UnmarshalText
	kindRef                  // a reference, or what else its set takes
	kindAuto                 // auto, or a value
	kindJSON                 // anything
	kindPool                 // a name, or a list of names
	kindCommand              // a line, or a list of words
)

// spec describes a Go type as a value of the file. The tree of them is built
// once; decoder, defaults, schema, manual, settings and writer walk it.
type spec struct {
	kind   kind
	typ    reflect.Type
	fields []*field // kindObject: the keys, in order
	name   *field   // kindMap: the field that holds an entry's name
	value  *field   // kindMap: the field that is an entry's whole value; nil if the other fields are its keys
	elem   *spec    // kindList, kindMap: of an element; kindAuto: of the value
}

// field is one key of an object.
type field struct {
	name     string
	index    int
	spec     *spec
	doc      string
	def      string // as in the file
	hasDef   bool
	low      string // as in the file; "" = open
	high     string
	enum     []string
	pattern  *regexp.Regexp
	later    *regexp.Regexp
	built    bool
	required bool
	keep     bool
	restart  bool
	path     bool
	optional bool // a pointer
}

// fileSpec is the tree of the whole file.
var fileSpec = buildSpec(reflect.TypeFor[File]())

func valueOf(f *File) reflect.Value { return reflect.ValueOf(f).Elem() }

var (
	typeDuration  = reflect.TypeFor[drey.Duration]()
	typeJSON      = reflect.TypeFor[JSON]()
	typePool      = reflect.TypeFor[Pool]()
	typeCommand   = reflect.TypeFor[Command]()
	typeReference = reflect.TypeFor[reference]()
	typeWord      = reflect.TypeFor[encoding.TextUnmarshaler]()
	typeAuto      = reflect.TypeFor[interface{ isAuto() }]()
)

// buildSpec panics on a type that the file cannot have: a bug that every test
// of the package finds.
func buildSpec(t reflect.Type) *spec {
	s := &spec{typ: t}
	switch {
	case t == typeDuration:
		s.kind = kindDuration
	case t == typeJSON:
		s.kind = kindJSON
	case t == typePool:
		s.kind = kindPool
	case t == typeCommand:
		s.kind = kindCommand
	case reflect.PointerTo(t).Implements(typeReference):
		s.kind = kindRef
	case t.Implements(typeAuto):
		s.kind, s.elem = kindAuto, buildSpec(t.Field(1).Type)
	case reflect.PointerTo(t).Implements(typeWord):
		s.kind = kindWord
	default:
		switch t.Kind() {
		case reflect.Bool:
			s.kind = kindBool
		case reflect.Int:
			s.kind = kindInt
		case reflect.Float64:
			s.kind = kindFloat
		case reflect.String:
			s.kind = kindString
		case reflect.Slice:
			s.kind, s.elem = kindList, buildSpec(t.Elem())
			s.asMap()
		case reflect.Struct:
			s.kind = kindObject
			s.fields = buildFields(t)
		default:
			panic("config: no key can have the type " + t.String())
		}
	}
	return s
}

// asMap makes a list of named things a map.
func (s *spec) asMap() {
	if s.elem.kind != kindObject {
		return
	}
	fields := s.elem.fields
	i := slices.IndexFunc(fields, func(f *field) bool { return f.name == ",name" })
	if i < 0 {
		return
	}
	s.kind, s.name = kindMap, fields[i]
	s.elem.fields = slices.Delete(slices.Clone(fields), i, i+1)
	if len(s.elem.fields) > 0 && s.elem.fields[0].name == ",value" {
		s.value = s.elem.fields[0]
	}
}

func buildFields(t reflect.Type) []*field {
	var out []*field
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, ok := sf.Tag.Lookup("yaml")
		if !ok {
			continue
		}
		f := &field{index: i, doc: sf.Tag.Get("doc"), built: sf.Tag.Get("built") != "no", restart: sf.Tag.Get("restart") == "yes", path: sf.Tag.Get("path") == "yes"}
		f.def, f.hasDef = sf.Tag.Lookup("default")
		f.low, f.high, _ = strings.Cut(sf.Tag.Get("range"), "..")
		if enum := sf.Tag.Get("enum"); enum != "" {
			f.enum = strings.Split(enum, "|")
		}
		if p := sf.Tag.Get("pattern"); p != "" {
			f.pattern = regexp.MustCompile(p)
		}
		if p := sf.Tag.Get("later"); p != "" {
			f.later = regexp.MustCompile(p)
		}
		if tag == ",name" || tag == ",value" {
			f.name = tag
		} else {
			name, rest, _ := strings.Cut(tag, ",")
			options := strings.Split(rest, ",")
			f.name = name
			f.required = slices.Contains(options, "required")
			f.keep = slices.Contains(options, "keep")
		}
		typ := sf.Type
		if typ.Kind() == reflect.Pointer {
			f.optional, typ = true, typ.Elem()
		}
		f.spec = buildSpec(typ)
		out = append(out, f)
	}
	return out
}

// names returns the keys of an object that may be used.
func (s *spec) names() []string {
	var out []string
	for _, f := range s.fields {
		if f.built {
			out = append(out, f.name)
		}
	}
	return out
}

func (s *spec) field(name string) *field {
	for _, f := range s.fields {
		if f.name == name {
			return f
		}
	}
	return nil
}

// setDefaults gives a zero value of an object the defaults of its tags.
func setDefaults(s *spec, v reflect.Value) {
	for _, f := range s.fields {
		fv := v.Field(f.index)
		switch {
		case f.optional:
		case f.spec.kind == kindObject:
			setDefaults(f.spec, fv)
		case f.hasDef && f.def != "":
			n := &node{text: f.def, plain: true}
			if p := setScalar(f, f.spec, fv, n); p != nil {
				panic(fmt.Sprintf("config: default of %s.%s: %v", s.typ, f.name, p))
			}
		}
	}
}

// isDefault reports whether a field has the value of an absent key.
func isDefault(s *spec, f *field, v reflect.Value) bool {
	fresh := reflect.New(s.typ).Elem()
	setDefaults(s, fresh)
	return reflect.DeepEqual(v.Field(f.index).Interface(), fresh.Field(f.index).Interface())
}
