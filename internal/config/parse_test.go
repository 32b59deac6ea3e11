package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/dreyhq/drey"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs; run with -update and read the diff:\n%s", path, d)
	}
}

func whole(t testing.TB) *File {
	t.Helper()
	data, err := os.ReadFile("testdata/whole.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := Parse("whole.yaml", data, Options{Home: "/home/me"})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// bare is a File without its Equal, so that a difference can be shown.
type bare File

func diff(a, b *File) string {
	return cmp.Diff(bare(*a), bare(*b), cmpopts.IgnoreUnexported(bare{}))
}

const smallest = `
providers:
  a: {url: http://127.0.0.1:11434}
profiles:
  default: {chain: [a]}
`

func mustParse(t testing.TB, text string) *File {
	t.Helper()
	f, _, err := Parse("drey.yaml", []byte(text), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestParseWhole(t *testing.T) {
	f := whole(t)
	second, auto := drey.Duration(time.Second), Auto[drey.Duration]{}
	half, ten, empty := 30*second, 600*second, ""
	want := bare{
		Version:        1,
		Listen:         Listen{Addr: "0.0.0.0:4000", AllowedHosts: []string{"drey.example.com", "box.local"}, MaxBodyMB: 128, MaxStreams: 100, Keepalive: 15 * second},
		AllowPaid:      true,
		DefaultProfile: "auto",
		AutoRouter: &AutoRouter{Default: "coding", Rules: []RouterRule{
			{ID: "pictures", When: "has_image", Profile: "coding"},
			{ID: "long", When: `tokens > 30000 and not (model startsWith "claude")`, Profile: "coding"},
		}},
		Aliases: []Alias{{"claude-haiku-*", "plain"}, {"*-mini", "local"}, {"?", "coding"}},
		Store:   Store{URL: "postgres://drey@db.example/drey?sslmode=require"},
		Journal: Journal{Keep: 14 * 24 * 3600 * second},
		Keys: []Key{
			{Name: "ci", Secret: Secret{Env: "CI_KEY"}, Profiles: []drey.ProfileID{"plain"}, Budget: &Budget{USDMonth: new(20.0)}, RequestsPerMinute: 30},
			{Name: "me", Secret: Secret{File: "/etc/drey/me"}, Admin: true},
		},
		Budget:    &Budget{new(10.0), new(100.0)},
		Logs:      Logs{Level: drey.Debug, AuditMaxMB: 5, RequestsMaxMB: 20, Keep: 9, Capture: "errors", CaptureMaxMB: 64},
		Telemetry: Telemetry{Sample: 1, MetricsListen: "127.0.0.1:9100"},
	}
	if d := cmp.Diff(want, bare(*f), cmpopts.IgnoreUnexported(bare{}), cmpopts.IgnoreFields(bare{}, "Providers", "Profiles", "Health", "ContinuousProbe", "ProcessGroups", "Lifecycle", "Operations")); d != "" {
		t.Error(d)
	}

	local := f.Provider("local")
	if local == nil || f.Provider("absent") != nil {
		t.Fatal("Provider does not find by name")
	}
	if local.URL != "http://127.0.0.1:11434/v1" || local.Wire != WireOpenAI || local.DreyWire() != drey.WireChat || local.Class != drey.Local {
		t.Errorf("local is %+v", local)
	}
	wantExtra := []BodyField{
		{"options", JSON(`{"num_ctx":32768,"temperature":1.0}`)},
		{"keep_alive", JSON(`1e3`)},
		{"null", JSON(`null`)},
	}
	if d := cmp.Diff(wantExtra, local.ExtraBody); d != "" {
		t.Error(d)
	}
	if local.AppendSystem != "Answer in English.\nBe brief.\n" || !local.Capabilities.Tools.Or(false) || local.Capabilities.Vision != Say(false) || local.Capabilities.Documents.Set {
		t.Errorf("local is %+v", local)
	}
	cloud := f.Provider("cloud.1")
	if cloud.URL != "https://api.anthropic.com/v1" || cloud.DreyWire() != drey.WireAnthropic || cloud.TLS.CAFile != "/home/me/ca.pem" || cloud.Key != (Credential{Secret: Secret{Env: "ANTHROPIC_API_KEY"}}) {
		t.Errorf("cloud.1 is %+v", cloud)
	}
	if d := cmp.Diff([]Header{{"X-Team", Text{Literal: "drey"}}, {"Authorization", Text{Secret: Secret{File: "/home/me/.secrets/auth"}}}}, cloud.Headers); d != "" {
		t.Error(d)
	}
	coding := f.Profile("coding")
	if d := cmp.Diff([]Pool{{"local", "play"}, {"llama"}, {"cloud.1"}}, coding.Chain); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(TimeoutOverrides{Connect: &second, FirstToken: &auto, Stall: &half, Total: &ten}, coding.Timeouts); d != "" {
		t.Error(d)
	}
	if coding.AppendSystem == nil || *coding.AppendSystem != empty || f.Profile("plain").AppendSystem != nil {
		t.Error(`append_system: "" and an absent one are not told apart`)
	}
	if d := cmp.Diff(Retry{SameProvider: Say(0), Budget: 0.5}, coding.Retry); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(Timeouts{Connect: second, Stall: half, Total: ten}, local.Timeouts.With(coding.Timeouts)); d != "" {
		t.Error(d)
	}
	if got := fmt.Sprint(f.Secrets()); got != "[env:ANTHROPIC_API_KEY env:CI_KEY env:HF_TOKEN file:/etc/drey/me file:/home/me/.secrets/auth file:/home/me/.secrets/dbus]" {
		t.Errorf("Secrets: %s", got)
	}
}

// TestWholeIsWhole keeps the sample honest: each key that is built occurs in it.
func TestWholeIsWhole(t *testing.T) {
	for _, s := range whole(t).Effective() {
		if strings.HasPrefix(s.Path, "providers") || strings.HasPrefix(s.Path, "profiles.plain") || strings.HasPrefix(s.Path, "keys") {
			continue
		}
		if s.Source != FromFile {
			t.Errorf("%s has its value from %s; add it to testdata/whole.yaml", s.Path, s.Source)
		}
	}
}

func TestDefaults(t *testing.T) {
	f := mustParse(t, smallest)
	var b strings.Builder
	for _, s := range f.Effective() {
		fmt.Fprintf(&b, "%-45s %-10s %s\n", s.Path, s.Source, s.Value)
	}
	golden(t, "defaults.golden.txt", []byte(b.String()))
}

// Who plays demo: providers says which there are, at the place of the URL.
func TestDemoURLs(t *testing.T) {
	demo := func(url string) error {
		if url == "demo:echo" {
			return nil
		}
		return fmt.Errorf("%q is no demo provider; there is demo:echo", url)
	}
	const file = "providers:\n  a: {url: \"demo:echo\"}\n  b: {url: \"demo:ecko\"}\nprofiles:\n  default: {chain: [a, b]}\n"
	if _, _, err := Parse("drey.yaml", []byte(file), Options{}); err != nil {
		t.Error(err)
	}
	_, _, err := Parse("drey.yaml", []byte(file), Options{Demo: demo})
	if want := `drey.yaml:3:12: providers.b.url: "demo:ecko" is no demo provider; there is demo:echo`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestFaults reads each file of testdata/faults.txtar and compares what Parse
// says of it with the file of the same name that follows.
func TestFaults(t *testing.T) {
	path := "testdata/faults.txtar"
	ar, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(ar.Files); i += 2 {
		in, want := ar.Files[i], &ar.Files[i+1]
		t.Run(in.Name, func(t *testing.T) {
			_, warnings, err := Parse("drey.yaml", in.Data, Options{})
			got := ""
			for _, w := range warnings {
				got += "warning: " + w.String() + "\n"
			}
			if err != nil {
				got += err.Error() + "\n"
			}
			if *update {
				want.Data = []byte(got)
			}
			if d := cmp.Diff(string(want.Data), got); d != "" {
				t.Error(d)
			}
		})
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Bytes that a text file cannot show.
func TestFaultsOfBytes(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", "f:1:1: the file is empty; write providers and profiles, or remove the file and let drey look for models by itself"},
		{"a comment", "# hello\n", "f:1:1: the file is empty; write providers and profiles, or remove the file and let drey look for models by itself"},
		{"not UTF-8", "a: 1\nb: \xff\n", "f:2:4: a byte that is not UTF-8; save the file as UTF-8"},
		{"UTF-16", "\xff\xfea\x00", "f:1:1: a byte that is not UTF-8; save the file as UTF-8"},
		{"a NUL", "a: \x00b\n", "f:1:4: control character U+0000; write it as an escape in double quotes"},
		{"line ends of old", "a: 1\rb: 2", "f:1:5: a carriage return without a line feed; save the file with the line ends of Unix or Windows"},
		{"a tab", "listen:\n\taddr: x\n", "f:2:1: not YAML: found character 'tab' that cannot start any token; indent with spaces, not with tabs"},
		{"too large", strings.Repeat("# comment\n", 110_000), "f:1:1: the file is too large; a configuration has at most 1 MiB"},
		{"deep brackets", "a: " + strings.Repeat("[", 100_000), "f:1:36: more than 32 levels within each other; nothing in a configuration goes that deep"},
		{"deep dashes", strings.Repeat("- ", 100_000), "f:1:65: more than 32 levels within each other; nothing in a configuration goes that deep"},
		{"deep indentation", nested(60), "f:34:34: [\"a\"]"},
		{"many keys", strings.Repeat("a: 1\n", 10_001), "f:10001:2: more than 10000 keys"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := Parse("f", []byte(tt.in), Options{})
			if err == nil {
				t.Fatal("no error")
			}
			if tt.name == "deep indentation" {
				if !strings.Contains(err.Error(), "more than 32 levels") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err.Error() != tt.want {
				t.Errorf("got  %v\nwant %v", err, tt.want)
			}
		})
	}
}

func nested(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%sa:\n", strings.Repeat(" ", i))
	}
	return b.String() + strings.Repeat(" ", n) + "b\n"
}

// What editors leave in files does no harm.
func TestHarmlessForms(t *testing.T) {
	want := mustParse(t, smallest)
	for name, in := range map[string]string{
		"byte order mark":    "\ufeff" + smallest,
		"CRLF":               strings.ReplaceAll(smallest, "\n", "\r\n"),
		"document marks":     "---" + smallest + "...\n",
		"no line break last": strings.TrimSpace(smallest),
		"JSON":               `{"providers":{"a":{"url":"http://127.0.0.1:11434"}},"profiles":{"default":{"chain":["a"]}}}`,
		"a pool of one":      strings.Replace(smallest, "[a]", "[[a]]", 1),
		"comments":           "# x\n" + strings.ReplaceAll(smallest, "\n", " # y\n"),
	} {
		t.Run(name, func(t *testing.T) {
			if f := mustParse(t, in); !f.Equal(want) {
				t.Error(diff(want, f))
			}
		})
	}
}

// TestNotBuiltYet puts each key of a later issue into a file that is otherwise
// right.
func TestNotBuiltYet(t *testing.T) {
	frames := []struct {
		spec  *spec
		path  string
		frame string
	}{
		{fileSpec, "", smallest + "%s: {}\n"},
		{fileSpec.field("providers").spec.elem, "providers.a", strings.Replace(smallest, "11434}", "11434, %s: {}}", 1)},
		{fileSpec.field("profiles").spec.elem, "profiles.default", strings.Replace(smallest, "[a]}", "[a], %s: {}}", 1)},
		{fileSpec.field("keys").spec.elem, "keys[0]", smallest + "keys: [{name: k, secret: env:K, %s: {}}]\n"},
		{fileSpec.field("providers").spec.elem.field("capabilities").spec, "providers.a.capabilities", strings.Replace(smallest, "11434}", "11434, capabilities: {%s: {}}}", 1)},
		{fileSpec.field("logs").spec, "logs", smallest + "logs: {%s: {}}\n"},
		{fileSpec.field("telemetry").spec, "telemetry", smallest + "telemetry: {%s: {}}\n"},
	}
	count := 0
	for _, fr := range frames {
		for _, f := range fr.spec.fields {
			if f.built {
				continue
			}
			count++
			_, _, err := Parse("drey.yaml", fmt.Appendf(nil, fr.frame, f.name), Options{})
			errs, _ := errors.AsType[Errors](err)
			if len(errs) != 1 || errs[0].Path != join(fr.path, f.name) || errs[0].Msg != "not built yet" || errs[0].Line == 0 {
				t.Errorf("%s: %v", f.name, err)
			}
		}
	}
	if total := countUnbuilt(fileSpec); count != total {
		t.Errorf("%d keys were tried, and %d are not built: a block is missing here", count, total)
	}
}

func countUnbuilt(s *spec) int {
	n := 0
	for _, f := range s.fields {
		inner := f.spec
		if inner.kind == kindMap || inner.kind == kindList {
			inner = inner.elem
		}
		if !f.built {
			n++
		} else if inner.kind == kindObject {
			n += countUnbuilt(inner)
		}
	}
	return n
}

// A literal secret is refused without being repeated, wherever it stands.
func TestSecretsAreNotRepeated(t *testing.T) {
	const secret = "sk-ant-TOPSECRET0123456789"
	for _, frame := range []string{
		"providers:\n  a: {url: http://127.0.0.1:1, key: %s}\nprofiles: {default: {chain: [a]}}\n",
		"providers:\n  a: {url: 'http://u:%s@127.0.0.1:1'}\nprofiles: {default: {chain: [a]}}\n",
		"providers:\n  a: {url: 'http://127.0.0.1:1?key=%s'}\nprofiles: {default: {chain: [a]}}\n",
		"providers:\n  a: {url: 'http://127.0.0.1:1', proxy: 'http://u:%s@p'}\nprofiles: {default: {chain: [a]}}\n",
		"providers:\n  a: {url: 'http://127.0.0.1:1', headers: {Authorization: Bearer %s}}\nprofiles: {default: {chain: [a]}}\n",
		"providers:\n  a: {url: 'http://127.0.0.1:1', headers: {X-Other: %s}}\nprofiles: {default: {chain: [a]}}\n",
		smallest + "keys: [{name: k, secret: %s}]\n",
		smallest + "keys: [{name: k, secret: [%s]}]\n",
		smallest + "keys: [{name: k, secret: 'env:%s'}]\n",
		smallest + "store: postgres://u:%s@h/db\n",
		smallest + "keys: %s: %[1]s\n",
		smallest + "keys: \"%s\n",
		smallest + "keys: @%s\n",
	} {
		_, _, err := Parse("drey.yaml", fmt.Appendf(nil, frame, secret), Options{})
		if err == nil {
			t.Errorf("accepted: %s", frame)
		} else if strings.Contains(err.Error(), "TOPSECRET") {
			t.Errorf("repeated: %v", err)
		}
	}
}

func TestEnvironment(t *testing.T) {
	text := smallest + "  other: {chain: [a]}\nallow_paid: true\n"
	for _, tt := range []struct {
		name, paid, profile string
		wantPaid            bool
		wantProfile         drey.ProfileID
		want                string
	}{
		{"nothing set", "", "", true, "default", ""},
		{"no", "0", "", false, "default", ""},
		{"no in capitals", "OFF", "", false, "default", ""},
		{"yes", " yes ", "", true, "default", ""},
		{"neither", "maybe", "", false, "", "DREY_ALLOW_PAID: neither yes nor no; set it to 1, true, yes or on, or to 0, false, no or off"},
		{"a profile", "", "other", true, "other", ""},
		{"an unknown profile", "", "othr", false, "", `DREY_PROFILE: there is no profile "othr"; did you mean other?`},
		{"the auto-router", "", "auto", false, "", "DREY_PROFILE: auto asks the auto-router, and there is none; add auto_router with its rules, or name a profile"},
		{"both wrong", "x", "a b", false, "", "DREY_ALLOW_PAID: neither yes nor no; set it to 1, true, yes or on, or to 0, false, no or off\nDREY_PROFILE: not a name; set it to the name of a profile"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := func(name string) (string, bool) {
				v := map[string]string{EnvAllowPaid: tt.paid, EnvProfile: tt.profile}[name]
				return v, v != ""
			}
			f, _, err := Parse("drey.yaml", []byte(text), Options{Env: env})
			g := mustParse(t, text)
			gerr := g.Overlay(env)
			if tt.want != "" {
				if err == nil || err.Error() != tt.want || gerr == nil || gerr.Error() != tt.want {
					t.Errorf("Parse:   %v\nOverlay: %v\nwant     %s", err, gerr, tt.want)
				}
				if g.DefaultProfile != "default" {
					t.Errorf("Overlay left %q behind", g.DefaultProfile)
				}
				return
			}
			if err != nil || gerr != nil {
				t.Fatal(err, gerr)
			}
			if f.AllowPaid != tt.wantPaid || f.DefaultProfile != tt.wantProfile || !f.Equal(g) {
				t.Errorf("got %v %q", f.AllowPaid, f.DefaultProfile)
			}
			for _, s := range f.Effective() {
				fromEnv := s.Path == "allow_paid" && tt.paid != "" || s.Path == "default_profile" && tt.profile != ""
				if (s.Source == FromEnv) != fromEnv {
					t.Errorf("%s comes from %s", s.Path, s.Source)
				}
			}
		})
	}
}

// The environment mends a file whose own default is not there.
func TestEnvironmentNamesTheDefault(t *testing.T) {
	text := strings.Replace(smallest, "default:", "mine:", 1)
	if _, _, err := Parse("f", []byte(text), Options{}); err == nil {
		t.Error("a file without its default profile was accepted")
	}
	env := func(name string) (string, bool) {
		return map[string]string{EnvProfile: "mine"}[name], name == EnvProfile
	}
	if _, _, err := Parse("f", []byte(text), Options{Env: env}); err != nil {
		t.Error(err)
	}
}

func TestNeedsRestart(t *testing.T) {
	for _, tt := range []struct {
		change string
		want   []string
	}{
		{"", nil},
		{"listen: {max_streams: 5}", []string{"listen"}},
		{"logs: {keep: 5}\nallow_paid: true", nil},
		{"telemetry: {metrics: false, metrics_listen: 'localhost:1'}\nlisten: {addr: 'localhost:2'}", []string{"listen", "telemetry.metrics_listen"}},
	} {
		if got := NeedsRestart(mustParse(t, smallest), mustParse(t, smallest+tt.change)); !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %v, want %v", tt.change, got, tt.want)
		}
	}
	old, changed := Default(), Default()
	changed.Store = Store{Secret: Secret{Env: "DREY_STORE"}}
	if got := NeedsRestart(old, changed); !slices.Equal(got, []string{"store"}) {
		t.Errorf("store: got %v", got)
	}
}

func TestExpandHome(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"~/x", "/home/me/x"}, {"~", "/home/me"}, {"~you/x", "~you/x"}, {"/~/x", "/~/x"}, {"$HOME/x", "$HOME/x"}, {"", ""},
	} {
		if got := ExpandHome(tt.in, "/home/me"); got != tt.want {
			t.Errorf("ExpandHome(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
	if got := ExpandHome("~/x", ""); got != "~/x" {
		t.Errorf("without a home: %q", got)
	}
}
