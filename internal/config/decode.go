package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/dreyhq/drey"
)

// decoder puts nodes into structs and notes every fault.
type decoder struct {
	reader
	home string
	at   map[string]position // where the value of a path stands
	keys map[string]position // where the key of a path stands
}

type position struct{ line, col int }

func newDecoder(home string) *decoder {
	return &decoder{home: home, at: map[string]position{}, keys: map[string]position{}}
}

func (d *decoder) wrong(n *node, path string, p *problem) { d.fail(n.line, n.col, path, p) }

// object decodes a mapping into a struct that has its defaults already.
func (d *decoder) object(s *spec, v reflect.Value, n *node, path string) {
	d.at[path] = position{n.line, n.col}
	if n.kind == brokenNode {
		return
	}
	if n.kind != mappingNode {
		d.wrong(n, path, wrongType(n, "a map of keys", "its keys are "+strings.Join(s.names(), ", ")))
		return
	}
	for _, p := range n.pairs {
		at := join(path, p.key)
		d.keys[at] = position{p.line, p.col}
		f := s.field(p.key)
		switch {
		case f == nil:
			d.fail(p.line, p.col, at, wrong(didYouMean(p.key, s.names(), ""), "unknown key"))
		case !f.built:
			d.fail(p.line, p.col, at, wrong("remove the key; its place is kept for a later version", "not built yet"))
		default:
			d.field(f, v.Field(f.index), p.value, at)
		}
	}
	for _, f := range s.fields {
		if f.required && !slices.ContainsFunc(n.pairs, func(p pair) bool { return p.key == f.name }) {
			d.fail(n.line, n.col, join(path, f.name), wrong(f.doc, "this key is missing"))
		}
	}
}

func (d *decoder) field(f *field, v reflect.Value, n *node, path string) {
	if f.optional {
		fresh := reflect.New(f.spec.typ)
		if f.spec.kind == kindObject {
			setDefaults(f.spec, fresh.Elem())
		}
		v.Set(fresh)
		v = fresh.Elem()
	}
	d.value(f, f.spec, v, n, path)
}

// value decodes n by s into v; f says what else must hold.
func (d *decoder) value(f *field, s *spec, v reflect.Value, n *node, path string) {
	d.at[path] = position{n.line, n.col}
	if n.kind == brokenNode {
		return
	}
	switch s.kind {
	case kindObject:
		d.object(s, v, n, path)
	case kindMap:
		d.ordered(f, s, v, n, path)
	case kindList:
		d.list(f, s, v, n, path)
	case kindJSON:
		b, p := appendJSON(nil, n)
		if p != nil {
			d.wrong(n, path, p)
			return
		}
		v.SetBytes(b)
	case kindPool:
		d.pool(f, v, n, path)
	case kindCommand:
		if n.kind == listNode {
			d.list(f, buildSpec(reflect.TypeFor[[]string]()), v.FieldByName("Argv"), n, path)
			return
		}
		if !n.isText() {
			d.wrong(n, path, wrongType(n, "a line or a list of words", "write it like [systemctl, --user, restart, llama]"))
			return
		}
		v.FieldByName("Line").SetString(n.text)
	default:
		if p := setScalar(f, s, v, n); p != nil {
			d.wrong(n, path, p)
			return
		}
		if s.kind == kindString && f.path {
			v.SetString(ExpandHome(v.String(), d.home))
		}
		if ref, ok := v.Addr().Interface().(*Secret); ok {
			ref.File = ExpandHome(ref.File, d.home)
		}
		if c, ok := v.Addr().Interface().(*Credential); ok {
			c.Secret.File = ExpandHome(c.Secret.File, d.home)
		}
		if t, ok := v.Addr().Interface().(*Text); ok {
			t.Secret.File = ExpandHome(t.Secret.File, d.home)
		}
	}
}

func (d *decoder) list(f *field, s *spec, v reflect.Value, n *node, path string) {
	if n.kind != listNode {
		d.wrong(n, path, wrongType(n, "a list", "write it as [a, b], or with a - before each"))
		return
	}
	if f.required && len(n.items) == 0 {
		d.wrong(n, path, wrong(f.doc, "at least one is needed"))
		return
	}
	out := reflect.MakeSlice(s.typ, len(n.items), len(n.items))
	for i, item := range n.items {
		if s.elem.kind == kindObject {
			setDefaults(s.elem, out.Index(i))
		}
		d.value(f, s.elem, out.Index(i), item, fmt.Sprintf("%s[%d]", path, i))
	}
	if len(n.items) > 0 {
		v.Set(out)
	}
}

// ordered decodes a mapping into a slice of named things.
func (d *decoder) ordered(f *field, s *spec, v reflect.Value, n *node, path string) {
	if n.kind != mappingNode {
		d.wrong(n, path, wrongType(n, "a map of names", "write each as NAME: and what belongs to it"))
		return
	}
	if f.required && len(n.pairs) == 0 {
		d.wrong(n, path, wrong(f.doc, "at least one is needed"))
		return
	}
	out := reflect.MakeSlice(s.typ, len(n.pairs), len(n.pairs))
	for i, p := range n.pairs {
		at, v := join(path, p.key), out.Index(i)
		d.keys[at] = position{p.line, p.col}
		if prob := checkString(s.name, p.key); prob != nil {
			d.fail(p.line, p.col, at, prob)
		}
		v.Field(s.name.index).SetString(p.key)
		if s.value != nil {
			d.value(s.value, s.value.spec, v.Field(s.value.index), p.value, at)
			continue
		}
		setDefaults(s.elem, v)
		d.object(s.elem, v, p.value, at)
	}
	if len(n.pairs) > 0 {
		v.Set(out)
	}
}

func (d *decoder) pool(f *field, v reflect.Value, n *node, path string) {
	items := []*node{n}
	if n.kind == listNode {
		if items = n.items; len(items) == 0 {
			d.wrong(n, path, wrong("name a provider, or remove the brackets", "an empty pool"))
			return
		}
	}
	pool := make(Pool, len(items))
	for i, item := range items {
		at := path
		if n.kind == listNode {
			at = fmt.Sprintf("%s[%d]", path, i)
			d.at[at] = position{item.line, item.col}
		}
		if item.kind == brokenNode {
			continue
		}
		if !item.isText() {
			d.wrong(item, at, wrongType(item, "the name of a provider", "take the name from providers, in quotes if it looks like a number"))
			continue
		}
		pool[i] = drey.ProviderID(item.text)
	}
	v.Set(reflect.ValueOf(pool))
}

// setScalar decodes a value that has no parts.
func setScalar(f *field, s *spec, v reflect.Value, n *node) *problem {
	switch s.kind {
	case kindBool:
		b, ok := readBool(n)
		if !ok {
			return wrongType(n, "true or false", "write true or false without quotes")
		}
		v.SetBool(b)
	case kindInt:
		if !n.isInt() {
			return wrongType(n, "a whole number", "write it in digits and without quotes")
		}
		i, err := readInt(n.text)
		if err != nil {
			return wrong("write it in plain digits, and below 2^63", "%s is not a whole number that can be used", n.text)
		}
		if p := checkRange(f, float64(i), func(s string) float64 { return mustFloat(s) }); p != nil {
			return p
		}
		v.SetInt(i)
	case kindFloat:
		if !n.isNumber() {
			return wrongType(n, "a number", "write it in digits and without quotes")
		}
		x, err := strconv.ParseFloat(n.text, 64)
		if err != nil {
			return wrong("write it in plain digits", "%s is not a number that can be used", n.text)
		}
		if p := checkRange(f, x, mustFloat); p != nil {
			return p
		}
		v.SetFloat(x)
	case kindDuration:
		return setDuration(f, v, n)
	case kindAuto:
		if n.isText() && n.text == "auto" {
			v.SetZero()
			return nil
		}
		if p := setScalar(f, s.elem, v.Field(1), n); p != nil {
			if p.hint != "" {
				p.hint += ", or auto"
			}
			return p
		}
		v.Field(0).SetBool(true)
	case kindString:
		switch {
		case n.isText():
		case len(f.enum) > 0: // quotes would not make a word of it
			return wrongType(n, strings.Join(f.enum, ", "), "write one of these words")
		default:
			return wrongType(n, "text", "put it in quotes")
		}
		if p := checkString(f, n.text); p != nil {
			return p
		}
		v.SetString(n.text)
	case kindWord:
		if !n.isText() {
			return wrongType(n, strings.Join(f.enum, ", "), "write one of these words")
		}
		if p := checkString(f, n.text); p != nil {
			return p
		}
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.text)); err != nil {
			return wrong("", "%v", err)
		}
	case kindRef:
		if !n.isText() {
			return &problem{msg: n.what() + " where text is needed", hint: "write env:NAME or file:PATH, or put a plain value in quotes"}
		}
		return v.Addr().Interface().(reference).set(n.text)
	}
	return nil
}

func setDuration(f *field, v reflect.Value, n *node) *problem {
	if n.kind != scalarNode || !n.isText() && !n.isNumber() {
		return wrongType(n, "a duration", "write it like 250ms, 1h30m or 90d")
	}
	if strings.ContainsAny(n.text, "+-") {
		return wrong("write it like 250ms, 1h30m or 90d", "a duration has no sign")
	}
	dur, err := drey.ParseDuration(n.text)
	if err != nil {
		return wrong("", "%v", err)
	}
	p := checkRange(f, float64(dur), func(s string) float64 {
		d, err := drey.ParseDuration(s)
		if err != nil {
			panic("config: range of " + f.name + ": " + err.Error())
		}
		return float64(d)
	})
	if p != nil {
		p.rule = true
		return p
	}
	v.SetInt(int64(dur))
	return nil
}

// checkRange compares a number with the field's range.
func checkRange(f *field, x float64, parse func(string) float64) *problem {
	if (f.low == "" || x >= parse(f.low)) && (f.high == "" || x <= parse(f.high)) {
		return nil
	}
	hint := "write " + f.low + " to " + f.high
	switch {
	case f.high == "":
		hint = "write " + f.low + " or more"
	case f.low == f.high:
		hint = "only " + f.low + " is known"
	}
	return wrong(hint, "out of range")
}

// checkString compares a text with what the field's tags allow.
func checkString(f *field, s string) *problem {
	switch {
	case f.later != nil && f.later.MatchString(s):
		return wrong("leave the key out; the value's place is kept for a later version", "not built yet")
	case f.enum != nil && !slices.Contains(f.enum, s):
		if n := nearest(s, f.enum); n != "" {
			return wrong("did you mean "+n+"?", "unknown word")
		}
		return wrong("write one of "+strings.Join(f.enum, ", "), "unknown word")
	case f.pattern != nil && !f.pattern.MatchString(s):
		return wrong("use 1 to 64 of letters, digits, dot, dash and underscore", "not a name")
	}
	return nil
}

func wrongType(n *node, want, hint string) *problem {
	if n.isNull() {
		return wrong("give it a value, or remove the key", "nothing where %s is needed", want)
	}
	return wrong(hint, "%s where %s is needed", n.what(), want)
}

func readBool(n *node) (v, ok bool) {
	if n.isBool() {
		return strings.EqualFold(n.text, "true"), true
	}
	switch {
	case n.kind != scalarNode:
		return false, false
	case n.text == "on":
		return true, true
	default:
		return false, n.text == "off"
	}
}

func readInt(s string) (int64, error) {
	digits := strings.TrimLeft(s, "+-")
	if len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' {
		return 0, strconv.ErrSyntax // octal to some, decimal to others
	}
	i, err := strconv.ParseInt(s, 0, 64)
	if err == nil && int64(int(i)) != i {
		return 0, strconv.ErrRange
	}
	return i, err
}

func mustFloat(s string) float64 {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic("config: a range is not made of numbers: " + s)
	}
	return x
}

// appendJSON writes any value as JSON.
func appendJSON(b []byte, n *node) ([]byte, *problem) {
	var p *problem
	switch {
	case n.kind == brokenNode: // the value is never used
		return append(b, "null"...), nil
	case n.kind == mappingNode:
		b = append(b, '{')
		for i, kv := range n.pairs {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, quoteJSON(kv.key)...), ':')
			if b, p = appendJSON(b, kv.value); p != nil {
				return nil, p
			}
		}
		return append(b, '}'), nil
	case n.kind == listNode:
		b = append(b, '[')
		for i, item := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			if b, p = appendJSON(b, item); p != nil {
				return nil, p
			}
		}
		return append(b, ']'), nil
	case n.isNull():
		return append(b, "null"...), nil
	case n.isBool():
		return append(b, strings.ToLower(n.text)...), nil
	case n.isNumber():
		num, ok := jsonNumber(n.text)
		if !ok {
			return nil, wrong("write it in plain digits, or in quotes if it is text", "%s has no spelling in JSON", n.text)
		}
		return append(b, num...), nil
	case n.isText():
		return append(b, quoteJSON(n.text)...), nil
	default:
		return nil, wrong("put it in quotes if it is text", "%s has no spelling in JSON", n.text)
	}
}

// jsonNumber spells a YAML number as JSON, and leaves it as it is wherever
// JSON has that spelling.
func jsonNumber(s string) (string, bool) {
	if intRE.MatchString(s) {
		if strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0o") {
			i, err := strconv.ParseUint(s, 0, 64)
			return strconv.FormatUint(i, 10), err == nil
		}
		s = strings.TrimPrefix(s, "+")
		digits := strings.TrimPrefix(s, "-")
		return s, len(digits) == 1 || digits[0] != '0'
	}
	s = strings.TrimPrefix(s, "+")
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	mantissa, exponent := s, ""
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exponent = s[:i], s[i:]
	}
	whole, part, dot := strings.Cut(mantissa, ".")
	if whole == "" {
		whole = "0"
	}
	if len(whole) > 1 && whole[0] == '0' {
		return "", false
	}
	if dot && part != "" {
		whole += "." + part
	}
	return sign + whole + exponent, true
}
