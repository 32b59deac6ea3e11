package config

import (
	"fmt"
	"strings"
)

// Reference returns the manual of all keys, in Markdown: one table per block,
// in the order of the file.
func Reference() []byte {
	w := &manual{}
	w.b.WriteString("Each key reads: what it takes, its default, what it means. Durations are written like `250ms`, `1h30m` or `90d`. " +
		"A secret is a reference, `env:NAME` or `file:PATH`. A key marked *not built yet* has its place kept and is refused.\n")
	w.section("Top level", "", fileSpec, true)
	return []byte(w.b.String())
}

type manual struct{ b strings.Builder }

// section writes an object's table, and then the sections of the objects in it.
func (w *manual) section(title, intro string, s *spec, built bool) {
	fmt.Fprintf(&w.b, "\n## %s\n\n", title)
	if intro != "" {
		w.b.WriteString(strings.ToUpper(intro[:1]) + intro[1:] + ".\n\n")
	}
	w.b.WriteString("| key | takes | default | meaning |\n|---|---|---|---|\n")
	for _, f := range s.fields {
		doc := f.doc
		if built && !f.built {
			doc += " — *not built yet*"
		}
		if f.restart {
			doc += " (a change needs a restart)"
		}
		fmt.Fprintf(&w.b, "| `%s` | %s | %s | %s |\n", f.name, cell(takes(f, f.spec)), cell(defaultText(f)), cell(doc))
	}
	for _, f := range s.fields {
		inner, name := f.spec, f.name
		switch {
		case inner.kind == kindMap && inner.value == nil:
			inner, name = inner.elem, name+".NAME"
		case inner.kind == kindList && inner.elem.kind == kindObject:
			inner, name = inner.elem, name+"[]"
		}
		if inner.kind != kindObject {
			continue
		}
		if s != fileSpec {
			name = strings.Trim(title, "`") + "." + name
		}
		intro := f.doc
		if built && !f.built {
			intro += " — *not built yet*"
		}
		w.section("`"+name+"`", intro, inner, built && f.built)
	}
}

// cell makes a text fit for a cell of a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(s)
}

func defaultText(f *field) string {
	switch {
	case f.required:
		return "required"
	case f.hasDef && f.def != "":
		return "`" + f.def + "`"
	default:
		return "none"
	}
}

func takes(f *field, s *spec) string {
	switch s.kind {
	case kindObject:
		return "map"
	case kindMap:
		if s.value != nil {
			return "map of name to " + takes(s.value, s.value.spec)
		}
		return "map of names"
	case kindList:
		if s.elem.kind == kindObject {
			return "list of maps"
		}
		return "list of " + takes(f, s.elem)
	case kindBool:
		return "true or false"
	case kindInt:
		return "whole number" + rangeText(f)
	case kindFloat:
		return "number" + rangeText(f)
	case kindDuration:
		return "duration" + rangeText(f)
	case kindString, kindWord:
		if f.enum != nil {
			return "`" + strings.Join(f.enum, "`, `") + "`"
		}
		return "text"
	case kindRef:
		switch s.typ.Name() {
		case "Secret":
			return "reference"
		case "Credential":
			return "reference, `caller`, `none`"
		case "Store":
			return "`sqlite`, URL, reference"
		}
		return "text or reference"
	case kindAuto:
		return "`auto` or " + takes(f, s.elem)
	case kindPool:
		return "names or lists of names"
	case kindCommand:
		return "text or list of text"
	default:
		return "any value"
	}
}

func rangeText(f *field) string {
	switch {
	case f.low == "" && f.high == "":
		return ""
	case f.high == "":
		return ", at least " + f.low
	case f.low == f.high:
		return ", only " + f.low
	default:
		return ", " + f.low + " to " + f.high
	}
}
