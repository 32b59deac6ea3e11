package route

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
)

func testDirectory() *Directory {
	return NewDirectory(
		[]drey.ProfileID{"default", "coder", "cheap"},
		map[drey.ProfileID][]drey.ProviderID{"default": {"ollama", "claude"}, "coder": {"claude"}, "cheap": {"ollama"}},
		[]drey.ProviderID{"ollama", "claude", "spare"},
		[]Alias{{"claude-*-haiku*", "cheap"}, {"claude-*", "coder"}, {"gpt-?", "spare"}, {"coder", "cheap"}},
		"default")
}

func TestChoose(t *testing.T) {
	all := []drey.ProfileID(nil)
	two := []drey.ProfileID{"coder", "cheap"}
	auto := func(p drey.ProfileID) func() drey.ProfileID { return func() drey.ProfileID { return p } }
	never := func() drey.ProfileID { t.Error("the auto-router was asked"); return "" }
	for _, tc := range []struct {
		name string
		c    Choosing
		want Choice
		code string
		says string
	}{
		{"nothing said", Choosing{}, Choice{Profile: "default", By: ByDefault}, "", ""},
		{"a vendor's name is no error", Choosing{Model: "mystery-9"}, Choice{Profile: "default", By: ByDefault}, "", ""},
		{"body over all", Choosing{Body: "coder", Header: "cheap", Path: "default", Model: "drey/nope", Allowed: two}, Choice{Profile: "coder", By: ByBody, Ours: true}, "", ""},
		{"header over path", Choosing{Header: "cheap", Path: "default"}, Choice{Profile: "cheap", By: ByHeader}, "", ""},
		{"path over key and model", Choosing{Path: "coder", Model: "drey/cheap", Allowed: []drey.ProfileID{"coder"}}, Choice{Profile: "coder", By: ByPath, Ours: true}, "", ""},
		{"the key's only profile over the model", Choosing{Model: "drey/coder", Allowed: []drey.ProfileID{"cheap"}}, Choice{Profile: "cheap", By: ByKey, Ours: true}, "", ""},
		{"drey/NAME", Choosing{Model: "drey/coder"}, Choice{Profile: "coder", By: ByModel, Ours: true}, "", ""},
		{"claude-drey-NAME before aliases", Choosing{Model: "claude-drey-cheap"}, Choice{Profile: "cheap", By: ByModel, Ours: true}, "", ""},
		{"exact profile before aliases", Choosing{Model: "coder"}, Choice{Profile: "coder", By: ByModel, Ours: true}, "", ""},
		{"first alias", Choosing{Model: "claude-4-haiku-x"}, Choice{Profile: "cheap", By: ByModel}, "", ""},
		{"second alias", Choosing{Model: "claude-opus"}, Choice{Profile: "coder", By: ByModel}, "", ""},
		{"alias to a provider", Choosing{Model: "gpt-5"}, Choice{Profile: "default", Provider: "spare", By: ByModel}, "", ""},
		{"the glob is over the whole name", Choosing{Model: "gpt-5o"}, Choice{Profile: "default", By: ByDefault}, "", ""},
		{"exact provider", Choosing{Model: "ollama"}, Choice{Profile: "default", Provider: "ollama", By: ByModel, Ours: true}, "", ""},
		{"a provider of a profile of the key", Choosing{Model: "ollama", Allowed: two}, Choice{Profile: "cheap", Provider: "ollama", By: ByModel, Ours: true}, "", ""},

		{"the auto-router before the default", Choosing{Model: "mystery-9", Auto: auto("cheap")}, Choice{Profile: "cheap", By: ByAuto}, "", ""},
		{"a name before the auto-router", Choosing{Model: "coder", Auto: never}, Choice{Profile: "coder", By: ByModel, Ours: true}, "", ""},
		{"an alias before the auto-router", Choosing{Model: "claude-4-haiku-x", Auto: never}, Choice{Profile: "cheap", By: ByModel}, "", ""},
		{"the key's only profile before the auto-router", Choosing{Allowed: []drey.ProfileID{"cheap"}, Auto: never}, Choice{Profile: "cheap", By: ByKey}, "", ""},
		{"the auto-router chooses what the key may not use", Choosing{Allowed: two, Auto: auto("default")}, Choice{}, CodeForbidden, "coder, cheap"},

		{"unknown in the body", Choosing{Body: "nope"}, Choice{}, CodeUnknownProfile, "default, coder, cheap"},
		{"unknown in the header", Choosing{Header: "nope", Allowed: all}, Choice{}, CodeUnknownProfile, "nope"},
		{"unknown in the path", Choosing{Path: "nope"}, Choice{}, CodeUnknownProfile, "default, coder, cheap"},
		{"unknown drey/NAME", Choosing{Model: "drey/nope"}, Choice{}, CodeUnknownProfile, "default, coder, cheap"},
		{"a provider is no drey/NAME", Choosing{Model: "drey/ollama"}, Choice{}, CodeUnknownProfile, ""},
		{"a key sees its own names only", Choosing{Body: "nope", Allowed: two}, Choice{}, CodeUnknownProfile, "there are: coder, cheap"},
		{"forbidden", Choosing{Body: "default", Allowed: two}, Choice{}, CodeForbidden, "coder, cheap"},
		{"forbidden by path", Choosing{Path: "default", Allowed: []drey.ProfileID{"coder"}}, Choice{}, CodeForbidden, ""},
		{"forbidden default", Choosing{Model: "mystery", Allowed: two}, Choice{}, CodeForbidden, ""},
		{"forbidden provider", Choosing{Model: "spare", Allowed: two}, Choice{}, CodeForbidden, "spare"},
		{"forbidden by alias", Choosing{Model: "gpt-5", Allowed: two}, Choice{}, CodeForbidden, "spare"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := testDirectory().Choose(tc.c)
			if tc.code == "" {
				if err != nil || got != tc.want {
					t.Fatalf("got %+v, %v; want %+v", got, err, tc.want)
				}
				return
			}
			e, ok := errors.AsType[*drey.Error](err)
			if !ok || e.Code != tc.code || e.Class != drey.Caller || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("got %+v, %v; want %s with %q", got, err, tc.code, tc.says)
			}
		})
	}
}

// TestMatch checks the globs against a deliberately dumb twin.
func TestMatch(t *testing.T) {
	var dumb func(p, s []rune) bool
	dumb = func(p, s []rune) bool {
		switch {
		case len(p) == 0:
			return len(s) == 0
		case p[0] == '*':
			return dumb(p[1:], s) || len(s) > 0 && dumb(p, s[1:])
		case len(s) == 0:
			return false
		default:
			return (p[0] == '?' || p[0] == s[0]) && dumb(p[1:], s[1:])
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringOfN(rapid.SampledFrom([]rune("ab*?é/")), 0, 8, -1).Draw(t, "pattern")
		s := rapid.StringOfN(rapid.SampledFrom([]rune("abé/")), 0, 10, -1).Draw(t, "name")
		if got, want := match(p, s), dumb([]rune(p), []rune(s)); got != want {
			t.Fatalf("match(%q, %q) = %v", p, s, got)
		}
	})
	if match("*a*a*a*a*a*a*a*a*a*b", strings.Repeat("a", 10000)) {
		t.Error("matched")
	}
}

func TestLookUp(t *testing.T) {
	for name, want := range map[string]int{
		"claude-sonnet-4-5-20250929":           200000,
		"anthropic/claude-3-5-haiku-20241022":  200000,
		"GPT-4o-mini":                          128000,
		"gpt-4.1-nano":                         1047576,
		"gpt-4":                                8192,
		"models/gemini-2.5-pro":                1048576,
		"meta-llama/Llama-3.1-8B-Instruct":     131072,
		"llama3.2:latest":                      131072,
		"llama3:8b":                            8192,
		"o3":                                   200000,
		"o3-mini":                              200000,
		"qwen2.5-coder:7b":                     32768,
		"deepseek/deepseek-r1:free":            131072,
		"hf.co/someone/what-is-this-GGUF:Q4_0": DefaultContext,
	} {
		if m, known := LookUp(name); m.Context != want || known == (want == DefaultContext && m.MaxOutput == DefaultMaxOutput) {
			t.Errorf("%s: %+v, known %v; want %d", name, m, known, want)
		}
	}
	if m, _ := LookUp("nobody"); m.Can != (Abilities{}) {
		t.Errorf("an unknown model is known to lack something: %+v", m.Can)
	}
	if m, _ := LookUp("gpt-3.5-turbo"); m.Can.Vision != No || m.Can.Tools != Yes {
		t.Errorf("got %+v", m.Can)
	}
}

// TestTableHasNoShadow: a row behind one that takes all its names is dead.
func TestTableHasNoShadow(t *testing.T) {
	for i, f := range families {
		for _, g := range families[:i] {
			if match(g.pattern, strings.ReplaceAll(f.pattern, "*", "x")) && match(g.pattern, strings.ReplaceAll(f.pattern, "*", "")) {
				t.Errorf("%q never gets past %q", f.pattern, g.pattern)
			}
		}
		if f.context <= 0 || f.maxOut <= 0 || f.maxOut > f.context {
			t.Errorf("%q: %d, %d", f.pattern, f.context, f.maxOut)
		}
	}
}
