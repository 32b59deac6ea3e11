package repair

import (
	"encoding/json"
	"slices"
	"strings"
)

// Tool is a tool that the request declares.
type Tool struct {
	Name   string
	Schema []byte // JSON Schema of the arguments; nil = any object fits
}

// Tools are the tools of one request, made ready for the search. They are
// read-only once made and may be shared by any number of scanners.
type Tools struct {
	exact map[string]*tool
	folds map[string]*tool // lower-case name → tool; nil where two share it
	// words are what may stand behind "<" and at the start of a line of call
	// syntax, lower case and sorted, so that a prefix is found in log time.
	tags, heads []string
}

type tool struct {
	name     string
	props    map[string]kinds
	required []string
	open     bool // arguments that the schema does not name are welcome
}

// kinds are the JSON types that a schema allows for a value.
type kinds []string

// wrappers are the tags around calls whose name stands inside of them.
var wrappers = []string{"tool_call", "tool_calls", "tool", "function_call", "function_calls", "invoke", "function"}

// spans are the tags around a model's reasoning.
var spans = []string{"think", "thinking"}

// apiPrefix stands before a tool's name where a model believes it writes Python.
const apiPrefix = "default_api."

// NewTools prepares tools for the search. A schema that is none declares
// nothing, and so refuses nothing. Of two tools of one name the first counts.
func NewTools(tools []Tool) *Tools {
	t := &Tools{exact: map[string]*tool{}, folds: map[string]*tool{}}
	t.tags = slices.Concat(wrappers, spans)
	t.heads = []string{"print(", apiPrefix}
	for _, d := range tools {
		if d.Name == "" || t.exact[d.Name] != nil {
			continue
		}
		made := newTool(d)
		t.exact[d.Name] = made
		low := strings.ToLower(d.Name)
		if _, twice := t.folds[low]; twice {
			made = nil
		}
		t.folds[low] = made
		t.tags = append(t.tags, low)
		t.heads = append(t.heads, low+"(")
	}
	slices.Sort(t.tags)
	slices.Sort(t.heads)
	return t
}

// Len returns how many tools there are: without any there is nothing to find.
func (t *Tools) Len() int {
	if t == nil {
		return 0
	}
	return len(t.exact)
}

// find returns the tool of a name: the exact one, else the only one whose name
// differs in case alone.
func (t *Tools) find(name string) *tool {
	if d := t.exact[name]; d != nil {
		return d
	}
	return t.folds[strings.ToLower(name)]
}

// begins reports whether some word of the sorted list begins with prefix.
func begins(words []string, prefix []byte) bool {
	at, _ := slices.BinarySearch(words, string(prefix))
	return at < len(words) && strings.HasPrefix(words[at], string(prefix))
}

func newTool(d Tool) *tool {
	made := &tool{name: d.Name}
	var s struct {
		Properties map[string]struct {
			Type json.RawMessage `json:"type"`
		} `json:"properties"`
		Required   []string        `json:"required"`
		Additional json.RawMessage `json:"additionalProperties"`
	}
	if json.Unmarshal(d.Schema, &s) != nil {
		made.open = true
		return made
	}
	made.required = s.Required
	made.open = len(s.Properties) == 0 || len(s.Additional) > 0 && string(s.Additional) != "false"
	made.props = make(map[string]kinds, len(s.Properties))
	for name, p := range s.Properties {
		var one string
		var many []string
		if json.Unmarshal(p.Type, &one) == nil {
			many = []string{one}
		} else {
			_ = json.Unmarshal(p.Type, &many) // neither: any type will do
		}
		made.props[name] = many
	}
	return made
}

// fits reports whether args can be arguments of the tool. It is not a
// validation, which is the client's: it tells a call from something that only
// looks like one, above all from the tool's own definition. So what is required
// must be there, something must be known, and where a plain value is declared
// there must be no list and no object.
func (d *tool) fits(args *node) bool {
	for _, name := range d.required {
		if args.get(name) == nil {
			return false
		}
	}
	known := false
	for i, name := range args.keys {
		want, ok := d.props[name]
		known = known || ok
		if ok && len(want) > 0 && args.kids[i].kind >= listNode &&
			!slices.Contains(want, "object") && !slices.Contains(want, "array") {
			return false
		}
	}
	if len(args.keys) > 0 && !known && !d.open {
		return false
	}
	_, says := d.props["properties"]
	properties := args.get("properties")
	return says || properties == nil || properties.kind != objectNode || args.get("type") == nil
}

// value makes a node of what stands in a tag as plain text: the type that the
// schema declares decides whether "5" is a number.
func (d *tool) value(name, text string) node {
	want := d.props[name]
	if len(want) == 0 || slices.Contains(want, "string") {
		return node{kind: stringNode, text: text}
	}
	if v, ok := parse([]byte(strings.TrimSpace(text))); ok && want.allow(&v) {
		return v
	}
	return node{kind: stringNode, text: text}
}

// allow reports whether a value is of one of the types.
func (k kinds) allow(v *node) bool {
	switch v.kind {
	case objectNode:
		return slices.Contains(k, "object")
	case listNode:
		return slices.Contains(k, "array")
	case numberNode:
		return slices.Contains(k, "number") || slices.Contains(k, "integer")
	case stringNode:
		return slices.Contains(k, "string")
	}
	if v.text == "null" {
		return slices.Contains(k, "null")
	}
	return slices.Contains(k, "boolean")
}
