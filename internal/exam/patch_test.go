package exam

import (
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
)

// TestYAML holds the form of a patch.
func TestYAML(t *testing.T) {
	p := Join([]Finding{
		{Patch: Patch{{[]string{"extra_body", "options", "num_ctx"}, 32768}}},
		{Patch: Patch{{[]string{"capabilities", "tools"}, false}, {[]string{"strip_changing_lines"}, "on"}}},
		{Patch: Patch{{[]string{"extra_body", "options", "num_predict"}, -1}, {[]string{"capabilities", "tools"}, true}, {[]string{"filters"}, []string{"strip_thinking"}}}},
		{Patch: Patch{{[]string{"url"}, "http://127.0.0.1:8080/v1"}, {[]string{"model"}, "qwen3:8b"}}},
	})
	want := `providers:
  nest:
    extra_body:
      options:
        num_ctx: 32768
        num_predict: -1
    capabilities:
      tools: true
    strip_changing_lines: "on"
    filters: [strip_thinking]
    url: http://127.0.0.1:8080/v1
    model: qwen3:8b
`
	if diff := cmp.Diff(want, p.YAML("nest")); diff != "" {
		t.Error(diff)
	}
	if got := (Patch)(nil).YAML("nest"); got != "" {
		t.Errorf("no patch is written as %q", got)
	}
}

// FuzzYAML: whatever the names and texts of servers are, YAML reads them back.
func FuzzYAML(f *testing.F) {
	for _, s := range []string{"a", "1.5", "true", "a: b", "- x", "#", "\"", "ü", "x:y", "", "a\nb", "~", "1e3", "NO"} {
		f.Add("nest", s)
		f.Add("0", s)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		if !providerName(name) || !printableASCII(text) {
			t.Skip()
		}
		var got map[string]map[string]map[string]any
		out := Patch{{[]string{"model"}, text}, {[]string{"drop_fields"}, []string{text, "b"}}}.YAML(drey.ProviderID(name))
		if err := yaml.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		want := map[string]map[string]map[string]any{"providers": {name: {"model": text, "drop_fields": []any{text, "b"}}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s\n%s", diff, out)
		}
	})
}

// providerName reports whether a configuration takes a name.
func providerName(s string) bool {
	for _, r := range s {
		if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '_' || r == '-') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// printableASCII: names of models and fields are nothing else.
func printableASCII(s string) bool {
	for _, r := range s {
		if r < ' ' || r > '~' {
			return false
		}
	}
	return true
}
