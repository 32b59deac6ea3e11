package config

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
)

func TestMarshal(t *testing.T) {
	f := whole(t)
	out := Marshal(f)
	golden(t, "whole.golden.yaml", out)
	g, _, err := Parse("again", out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !f.Equal(g) {
		t.Error(diff(f, g))
	}
}

// TestMarshalDetected writes what a search for models would build: a File that
// was never parsed.
func TestMarshalDetected(t *testing.T) {
	f := Default()
	f.Providers = []Provider{NewProvider("ollama", "http://127.0.0.1:11434/v1", WireOpenAI), NewProvider("anthropic", "https://api.anthropic.com/v1", WireAnthropic)}
	f.Providers[0].Model = "tiny:latest"
	f.Providers[1].Class = drey.Paid
	f.Providers[1].Key = Credential{Secret: Secret{Env: "ANTHROPIC_API_KEY"}}
	f.Profiles = []Profile{NewProfile("default", "ollama", "anthropic")}
	g, _, err := Parse("kept", Marshal(f), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !f.Equal(g) {
		t.Error(diff(f, g))
	}
	want := map[string]Source{
		"providers.ollama.url": Detected, "providers.ollama.model": Detected, "providers.ollama.class": Detected,
		"providers.ollama.timeouts.connect": FromDefault, "providers.anthropic.key": Detected, "profiles.default.chain": Detected, "allow_paid": FromDefault,
	}
	for _, s := range f.Effective() {
		if w, ok := want[s.Path]; ok && s.Source != w {
			t.Errorf("%s comes from %s, want %s", s.Path, s.Source, w)
		}
	}
}

// TestMarshalLeavesDefaultsOut, also those of the keys that are called keep as
// the option of the tags is.
func TestMarshalLeavesDefaultsOut(t *testing.T) {
	f := Default()
	f.Providers = []Provider{NewProvider("a", "http://127.0.0.1:11434/v1", WireOpenAI)}
	f.Profiles = []Profile{NewProfile("default", "a")}
	f.Logs.Capture = "all"
	if out := string(Marshal(f)); !strings.Contains(out, "\nlogs:\n  capture: all\n") {
		t.Errorf("more than what is set:\n%s", out)
	}
}

// TestMarshalAnyText writes text that YAML has its own ideas about.
func TestMarshalAnyText(t *testing.T) {
	runes := rapid.OneOf(rapid.SampledFrom([]rune(" \t\n\r\"'\\:#-?*&!|>%@`{}[],~=<.0123456789eExXnultrofyN\x00\x7f\u0085\u00a0\u2028\ufeff\ufffdé😀")), rapid.Rune())
	texts := rapid.OneOf(rapid.StringOf(runes), rapid.SampledFrom([]string{"null", "~", "true", "No", "0x1f", "1_000", "1e3", ".5", "-", "--- a", "...", "<<", "a: b", "a #b", "env", "2024-01-01", "- a", "? a", "=", "\n", " a", "a ", "a\n\n  b\n"}))
	rapid.Check(t, func(t *rapid.T) {
		f := Default()
		p := NewProvider("a", "http://127.0.0.1:1/v1", WireOpenAI)
		p.Model = texts.Draw(t, "model")
		p.AppendSystem = texts.Draw(t, "append_system")
		p.DropFields = []string{texts.Draw(t, "drop") + "x"}
		name, value := texts.Draw(t, "name"), texts.Draw(t, "value")
		value = quoteJSON(value)
		p.ExtraBody = []BodyField{{name, JSON(value)}, {name + "2", JSON(`{` + quoteJSON(name) + `:[` + value + `,1.50,null,{}]}`)}}
		f.Providers = []Provider{p}
		q := NewProfile("default", "a")
		system := texts.Draw(t, "system")
		q.AppendSystem = &system
		f.Profiles = []Profile{q}
		f.Aliases = []Alias{{texts.Draw(t, "pattern") + "y", "a"}}
		out := Marshal(f)
		g, _, err := Parse("again", out, Options{})
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if !f.Equal(g) {
			t.Fatalf("%s\n%s", diff(f, g), out)
		}
	})
}

func TestReference(t *testing.T) { golden(t, "reference.golden.md", Reference()) }

// TestEveryKeyIsExplained walks the whole tree for what the manual needs.
func TestEveryKeyIsExplained(t *testing.T) {
	var walk func(s *spec, path string)
	walk = func(s *spec, path string) {
		seen := map[string]bool{}
		for _, f := range s.fields {
			at := path + "." + f.name
			if f.doc == "" || strings.HasSuffix(f.doc, ".") {
				t.Errorf("%s: its doc tag is empty or ends with a full stop", at)
			}
			if seen[f.name] {
				t.Errorf("%s is there twice", at)
			}
			seen[f.name] = true
			if f.enum != nil && f.hasDef && f.spec.kind == kindString && checkString(f, f.def) != nil {
				t.Errorf("%s: its default is none of its words", at)
			}
			inner := f.spec
			if inner.kind == kindMap || inner.kind == kindList {
				inner = inner.elem
			}
			if inner.kind == kindObject {
				walk(inner, at)
			}
		}
	}
	walk(fileSpec, "")
}

func compiled(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("drey.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("drey.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSchemaIsTheDecoder gives both the same documents, most of them nearly
// right, and compares what they say of the shape.
func TestSchemaIsTheDecoder(t *testing.T) {
	s := compiled(t)
	good, bad := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		broken := rapid.IntRange(0, 60).Draw(t, "one in") // 0: none is broken on purpose
		doc := sample{t, broken}.object(fileSpec)
		data, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = Parse("drey.yaml", data, Options{})
		shape := ""
		if err != nil {
			for _, e := range err.(Errors) {
				if !e.rule {
					shape += e.Error() + "\n"
				}
			}
		}
		verr := s.Validate(instance)
		if (shape == "") != (verr == nil) {
			t.Fatalf("they differ on\n%s\ndecoder: %s\nschema: %v", data, shape, verr)
		}
		if verr == nil {
			good++
		} else {
			bad++
		}
	})
	if good == 0 || bad == 0 {
		t.Errorf("%d good and %d bad documents: the samples prove nothing", good, bad)
	}
}

// sample draws values of the shape that a spec describes; one in so many is of
// some other shape.
type sample struct {
	t  *rapid.T
	in int
}

func (s sample) odd() bool { return s.in > 0 && rapid.IntRange(0, s.in*4).Draw(s.t, "odd") == 0 }

func (s sample) pick(of ...any) any { return rapid.SampledFrom(of).Draw(s.t, "pick") }

func (s sample) object(sp *spec) any {
	out := map[string]any{}
	for _, f := range sp.fields {
		present := f.required || rapid.IntRange(0, 3).Draw(s.t, "present") == 0
		if f.built && present && !(f.required && s.odd()) || !f.built && s.odd() {
			out[f.name] = s.value(f, f.spec)
		}
	}
	if s.odd() {
		out["unknown"] = 1
	}
	return out
}

// junk is right for some keys and wrong for most.
func (s sample) junk() any {
	return s.pick(nil, true, 0, 7, -3, 1.5, 1e9, "", "x", "on", "auto", "none", "caller", "a b",
		"5", "s", "-5s", "+5s", "d", ".5m", "5 s", "1h 2m", "5s", "env:A", "env:1", "file:", "file:x", "plain",
		[]any{}, []any{"a"}, []any{1}, []any{[]any{}}, map[string]any{}, map[string]any{"x": "y"}, map[string]any{" ": "y"})
}

func (s sample) value(f *field, sp *spec) any {
	if s.odd() {
		return s.junk()
	}
	switch sp.kind {
	case kindObject:
		return s.object(sp)
	case kindMap:
		out := map[string]any{}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "default", "x.y", "1"}), 1, 3, rapid.ID).Draw(s.t, "names") {
			if s.odd() {
				name += " "
			}
			if sp.value != nil {
				out[name] = s.value(sp.value, sp.value.spec)
			} else {
				out[name] = s.object(sp.elem)
			}
		}
		return out
	case kindList:
		out := []any{}
		for range rapid.IntRange(1, 2).Draw(s.t, "items") {
			out = append(out, s.value(&field{enum: f.enum, pattern: f.pattern}, sp.elem))
		}
		return out
	case kindBool:
		return s.pick(true, false, "on", "off")
	case kindInt, kindFloat:
		return s.number(f, sp.kind == kindInt)
	case kindDuration:
		return s.pick(0, "0", "5s", "1h30m", "1d", "1d12h", "2.5s", "1h1h", "250ms")
	case kindAuto:
		if s.pick(true, false).(bool) {
			return "auto"
		}
		return s.value(f, sp.elem)
	case kindRef:
		return s.pick("env:A", "file:/x")
	case kindPool:
		return s.pick("a", "b", []any{"a", "b"})
	case kindJSON:
		return s.pick(nil, true, 1, 1.5, "x", []any{1, "a"}, map[string]any{"k": []any{}})
	case kindCommand:
		return s.pick("make", []any{"make", "it"})
	default:
		if f.enum != nil {
			return rapid.SampledFrom(f.enum).Draw(s.t, "word")
		}
		return s.pick("http", "default", "a")
	}
}

func (s sample) number(f *field, whole bool) any {
	low, high := 0.0, 5000.0
	if f.low != "" {
		low = mustFloat(f.low)
	}
	if f.high != "" {
		high = mustFloat(f.high)
	}
	if s.odd() {
		low, high = low-2, high+2
	}
	if whole {
		return rapid.IntRange(int(low), int(high)).Draw(s.t, "number")
	}
	return s.pick(low, high, (low+high)/2)
}

// later has the shapes that no key of today has, so that they are known to work
// when one is built.
type later struct {
	Command Command          `yaml:"command" doc:"c"`
	Groups  []ProcessGroup   `yaml:"groups" doc:"g"`
	Deep    *HealthOverrides `yaml:"deep" doc:"d"`
	Items   []RouterRule     `yaml:"items" doc:"i"`
	Words   []string         `yaml:"words" enum:"a|b" doc:"w"`
	Ref     Auto[int]        `yaml:"ref" default:"5" range:"1..9" doc:"r"`
	Path    string           `yaml:"path" path:"yes" doc:"p"`
	Level   drey.Level       `yaml:"level" enum:"info|warn" default:"warn" doc:"l"`
	Plain   struct {
		X int `yaml:"x" default:"3" doc:"x"`
	} `yaml:"plain" doc:"p"`
}

func TestShapesOfLaterKeys(t *testing.T) {
	sp := buildSpec(reflect.TypeFor[later]())
	decode := func(text string) (later, error) {
		var v later
		d := newDecoder("/home/me")
		setDefaults(sp, reflect.ValueOf(&v).Elem())
		if root := d.read([]byte(text)); root != nil {
			d.object(sp, reflect.ValueOf(&v).Elem(), root, "")
		}
		if len(d.errs) > 0 {
			return v, d.result("f")
		}
		return v, nil
	}
	text := `
command: [make, "it so"]
groups: {gpu: {resident: 2}, cpu: {}}
deep: {threshold: 4, probe: {initial: 1m, paid: true}}
items: [{id: a, when: "true", profile: p}]
words: [a, b]
ref: auto
path: ~/x
level: info
plain: {x: 4}
`
	v, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	var w yamlWriter
	w.object(sp, reflect.ValueOf(&v).Elem(), 0)
	again, err := decode(w.b.String())
	if err != nil {
		t.Fatalf("%v in\n%s", err, w.b.String())
	}
	if d := cmp.Diff(v, again); d != "" {
		t.Errorf("%s\nfrom\n%s", d, w.b.String())
	}
	if v.Groups[0].Name != "gpu" || v.Groups[0].Resident != 2 || v.Groups[1].Resident != 1 || *v.Deep.Threshold != 4 || v.Ref.Set || v.Path != "/home/me/x" || v.Command.Argv[1] != "it so" || !*v.Deep.Probe.Paid {
		t.Errorf("got %+v", v)
	}
	if _, err := decode("command: {}\nwords: [c]\nref: 10\ndeep: {threshold: 21}\n"); err == nil || len(err.(Errors)) != 4 {
		t.Errorf("got %v", err)
	}
	if v, err := decode("command: make it so\n"); err != nil || v.Command.Line != "make it so" || v.Ref != Say(5) || v.Level != drey.Warn || v.Plain.X != 3 {
		t.Errorf("got %+v, %v", v, err)
	}
}

func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("testdata/whole.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(smallest))
	for _, s := range []string{
		"a: &a [*a]", "? a\n: b", "- - - a", "a: |\n b", "{a: {b: [}]}", "\ufeff", "%YAML 1.2\n---\n", "a: !!x\n", "a:\n  - b\n c", "\"\\ud83d\": x", "<<: {a: b}", "a: 'b''c'", "a: >+\n\n x\n\n",
		smallest + "aliases: {\"a\\x85b\\u2028\": a, \"\": a, \"~\": default, \"1\": a, 'a: b': a, \"#\": a}\n",
		strings.Replace(smallest, "11434", `11434, extra_body: {a: 0x1F, b: .5, c: -0, d: "\x7f\u0085", e: [~, {}, []], f: "\"\\", g: 1.50}`, 1),
		strings.Replace(smallest, "11434", "11434/a%2fb/?x=%20&y, headers: {x: \" y \", z: \"\"}, append_system: \"a\\n\\tb \\u00e9\", drop_fields: [\"- a\", \"{\", \"null\", \"5\"]", 1),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			t.Skip()
		}
		got, _, err := Parse("f", data, Options{})
		if err != nil {
			errs := err.(Errors)
			for i, e := range errs {
				if e.Msg == "" || strings.ContainsAny(e.Error(), "\n\r") || e.Line < 1 || e.Column < 1 || e.Line > bytes.Count(data, []byte("\n"))+1 {
					t.Errorf("a poor error: %#v", e)
				}
				if i > 0 && e.Line < errs[i-1].Line {
					t.Errorf("errors are not in order: %v", err)
				}
			}
			return
		}
		out := Marshal(got)
		again, _, err := Parse("again", out, Options{})
		if err != nil {
			t.Fatalf("what was written is not read: %v\n%s", err, out)
		}
		if !got.Equal(again) {
			t.Fatalf("what was written reads otherwise:\n%s\n%s", diff(got, again), out)
		}
		for _, s := range got.Effective() {
			if strings.ContainsAny(s.Path+s.Value, "\n\r") {
				t.Errorf("a setting of more than a line: %+v", s)
			}
		}
	})
}
