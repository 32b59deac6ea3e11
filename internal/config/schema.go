package config

import (
	"encoding/json"
	"strings"
)

// durationPattern is what drey.ParseDuration takes, without signs.
const durationPattern = `^(0|[0-9]+d|([0-9]+d)?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`

// schema is a JSON Schema, or a part of one.
type schema map[string]any

// Schema returns the JSON Schema (2020-12) of the whole file, for editors. It
// knows what can be seen from the shape of the file; names that must exist,
// the ranges of durations and the like are known to Parse alone.
func Schema() []byte {
	s := objectSchema(fileSpec)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "drey.yaml"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic("config: " + err.Error()) // maps, strings and numbers can be written
	}
	return append(b, '\n')
}

func objectSchema(s *spec) schema {
	properties, required := schema{}, []string{}
	for _, f := range s.fields {
		properties[f.name] = fieldSchema(f)
		if f.required {
			required = append(required, f.name)
		}
	}
	out := schema{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

func fieldSchema(f *field) schema {
	if !f.built {
		return schema{"not": schema{}, "description": "not built yet: " + f.doc}
	}
	s := valueSchema(f, f.spec)
	s["description"] = f.doc
	if f.hasDef && f.def != "" {
		s["default"] = defaultJSON(f)
	}
	return s
}

func defaultJSON(f *field) any {
	n := &node{text: f.def, plain: true}
	switch f.spec.kind {
	case kindBool, kindInt, kindFloat:
		b, _ := appendJSON(nil, n) // a default has a spelling in JSON
		return json.RawMessage(b)
	default:
		return f.def
	}
}

func valueSchema(f *field, s *spec) schema {
	switch s.kind {
	case kindObject:
		return objectSchema(s)
	case kindMap:
		out := schema{"type": "object"}
		if s.value != nil {
			out["additionalProperties"] = valueSchema(s.value, s.value.spec)
		} else {
			out["additionalProperties"] = objectSchema(s.elem)
		}
		if s.name.pattern != nil {
			out["propertyNames"] = schema{"pattern": s.name.pattern.String()}
		}
		if f.required {
			out["minProperties"] = 1
		}
		return out
	case kindList:
		out := schema{"type": "array", "items": valueSchema(&field{enum: f.enum, pattern: f.pattern}, s.elem)}
		if f.required {
			out["minItems"] = 1
		}
		return out
	case kindBool:
		return schema{"enum": []any{true, false, "on", "off"}}
	case kindInt:
		return ranged(schema{"type": "integer"}, f)
	case kindFloat:
		return ranged(schema{"type": "number"}, f)
	case kindString, kindWord:
		return wordSchema(f)
	case kindDuration:
		return schema{"anyOf": []any{schema{"type": "string", "pattern": durationPattern}, schema{"const": 0}}}
	case kindAuto:
		return schema{"anyOf": []any{schema{"const": "auto"}, valueSchema(f, s.elem)}}
	case kindRef:
		return referenceSchema(s)
	case kindPool:
		name := schema{"type": "string"}
		return schema{"anyOf": []any{name, schema{"type": "array", "minItems": 1, "items": name}}}
	case kindCommand:
		return schema{"anyOf": []any{schema{"type": "string"}, schema{"type": "array", "items": schema{"type": "string"}}}}
	default: // kindJSON: anything
		return schema{}
	}
}

func wordSchema(f *field) schema {
	out := schema{"type": "string"}
	if f.enum != nil {
		out["enum"] = f.enum
	}
	if f.pattern != nil {
		out["pattern"] = f.pattern.String()
	}
	if f.later != nil {
		out["not"] = schema{"pattern": f.later.String()}
	}
	return out
}

func referenceSchema(s *spec) schema {
	switch s.typ.Name() {
	case "Secret":
		return schema{"type": "string", "pattern": secretPattern}
	case "Credential":
		return schema{"type": "string", "pattern": strings.Replace(secretPattern, "(", "(caller|none|", 1)}
	case "Store":
		return schema{"type": "string", "pattern": strings.Replace(secretPattern, "(", "(sqlite|postgres(ql)?://.+|", 1)}
	default: // Text
		return schema{"type": "string"}
	}
}

func ranged(s schema, f *field) schema {
	if f.low != "" {
		s["minimum"] = json.Number(f.low)
	}
	if f.high != "" {
		s["maximum"] = json.Number(f.high)
	}
	return s
}
