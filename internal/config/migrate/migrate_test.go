package migrate

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dreyhq/drey/internal/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestCorpus holds what is made of whole files against goldens, which are to be
// read: each shows what is mapped and what is listed.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no corpus", err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, ".golden.yaml") {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			source, _, _ := strings.Cut(filepath.Base(path), "-")
			r, err := Import(source, data)
			if err != nil {
				t.Fatal(err)
			}
			good(t, r)
			golden := strings.TrimSuffix(path, ".yaml") + ".golden.yaml"
			if *update {
				if err := os.WriteFile(golden, r.YAML, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(r.YAML)); d != "" {
				t.Errorf("run with -update and read the diff:\n%s", d)
			}
			for _, secret := range []string{"hunter2", "sk-", "verysecret", "0123456789abcdef"} {
				if strings.Contains(string(r.YAML), secret) {
					t.Errorf("%q is in what was written", secret)
				}
			}
		})
	}
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// good holds a result against what is promised of all.
func good(t fataler, r *Result) *config.File {
	t.Helper()
	f, _, err := config.Parse("drey.yaml", r.YAML, config.Options{})
	if err != nil {
		t.Fatalf("what was written is refused: %v\n%s", err, r.YAML)
	}
	for _, items := range [][]Item{r.Lost, r.Notes} {
		for _, i := range items {
			if len(i.Paths) == 0 || i.Reason == "" {
				t.Fatalf("an item without path or reason: %+v", i)
			}
			for _, p := range i.Paths {
				if !strings.Contains(string(r.YAML), p) {
					t.Fatalf("%s is not listed at the head", p)
				}
			}
		}
	}
	return f
}

// Per-profile thresholds become the smallest per provider.
func TestSmallestThresholdOfAProvidersProfiles(t *testing.T) {
	r, err := Import("coderouter", []byte(`
default_profile: a
providers:
  - {name: both, base_url: "http://localhost:1/v1", model: x, restart_command: "systemctl restart x"}
  - {name: one, base_url: "http://localhost:2/v1", model: x}
profiles:
  - {name: a, providers: [both, one], backend_health_threshold: 6, recovery_probe_initial_s: 100, restart_timeout_s: 60}
  - {name: b, providers: [both], backend_health_threshold: 4, recovery_probe_max_s: 50}
`))
	if err != nil {
		t.Fatal(err)
	}
	f := good(t, r)
	both, one := f.HealthOf("both"), f.HealthOf("one")
	if both.Threshold != 4 || both.Probe.Initial.String() != "30s" || both.Probe.Max.String() != "50s" || f.Provider("both").RestartTimeout.String() != "30s" {
		t.Errorf("both: %+v", both)
	}
	if one.Threshold != 6 || one.Probe.Initial.String() != "1m40s" || one.Probe.Max.String() != "5m" {
		t.Errorf("one: %+v", one)
	}
	if len(r.Lost) != 0 || len(r.Notes) == 0 {
		t.Errorf("lost %v, notes %v", r.Lost, r.Notes)
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	for _, tt := range []struct{ source, data, says string }{
		{"coderouter", "", "not a map"},
		{"coderouter", "[]", "not a map"},
		{"coderouter", "a: [hunter2", "not YAML"},
		{"coderouter", "model_list: []", "no configuration of coderouter"},
		{"litellm", "providers: []", "no configuration of litellm"},
		{"litellm", "\xff", "not UTF-8"},
		{"litellm", strings.Repeat("# \n", 1<<19), "larger than 1 MiB"},
		{"nginx", "a: 1", "known are coderouter and litellm"},
	} {
		_, err := Import(tt.source, []byte(tt.data))
		if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s %.20q: %v; want %q", tt.source, tt.data, err, tt.says)
		}
	}
}

// planted is a secret that generated sources hold in many places.
const planted = "hunter2-correct-horse"

// TestWhateverTheSource makes sources of both kinds: what comes of them passes
// the check, names no secret, and mentions each field of which nothing is left.
func TestWhateverTheSource(t *testing.T) {
	for _, source := range Sources() {
		t.Run(source, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				draw := drawCodeRouter
				if source == "litellm" {
					draw = drawLiteLLM
				}
				data := draw(t) + "my_api_key: " + planted + "\n" // so that it is known for one, wherever else it stands
				r, err := Import(source, []byte(data))
				if err != nil {
					t.Fatalf("%v\n%s", err, data)
				}
				good(t, r)
				if strings.Contains(string(r.YAML), planted) || strings.Contains(string(r.YAML), "sk-live") {
					t.Fatalf("a secret was written\n%s\nof\n%s", r.YAML, data)
				}
				if strings.Contains(data, "surprise") && !strings.Contains(string(r.YAML), "surprise") {
					t.Fatalf("a field was dropped in silence\n%s\nof\n%s", r.YAML, data)
				}
				again, err := Import(source, []byte(data))
				if err != nil || string(again.YAML) != string(r.YAML) {
					t.Fatalf("a second import differs: %v", err)
				}
			})
		})
	}
}

func names3(t *rapid.T, label string) string {
	return rapid.SampledFrom([]string{"a", "b-1", "auto", "default", "team/x", "with space", "ünï", "*", "gpt-4o", "0", "a: b", "#x", `q"uote`, strings.Repeat("n", 80)}).Draw(t, label)
}

func scalar(t *rapid.T, label string) string {
	return rapid.SampledFrom([]string{
		"0", "1", "3", "0.5", "-1", "30", "120", "600", "86400", "1e12", "true", "false", "off", "warn", "active", "exclude", "skip", "break", "trim", "promote",
		"reload", "fallback", "text", "'{\"a\": 1}'", "null", "[x, 1]", "{k: v}", "os.environ/NAME", "env:NAME", planted, "sk-live0123456789abcdef", "\"line\\nbreak\"", "'~'", "2026-01-01", ".inf", "0x1F",
	}).Draw(t, label)
}

func address(t *rapid.T) string {
	return rapid.SampledFrom([]string{
		"http://localhost:11434/v1", "http://localhost:11434", "https://api.openai.com/v1", "https://api.anthropic.com", "https://x.example.com",
		"https://user:" + planted + "@x.example.com/v1", "https://x.example.com/v1?api_key=" + planted, "ftp://x", "not a url", "http://[::1]:80/", "demo:echo", "os.environ/BASE", "http://h/%zz",
	}).Draw(t, "url")
}

// some draws a few of the keys with a value each, and now and then one that
// nobody knows.
func some(t *rapid.T, indent string, keys []string) string {
	var b strings.Builder
	for _, key := range keys {
		if rapid.IntRange(0, 3).Draw(t, key+"?") == 0 {
			fmt.Fprintf(&b, "%s%s: %s\n", indent, key, scalar(t, key))
		}
	}
	if rapid.IntRange(0, 5).Draw(t, "surprise?") == 0 {
		name := "surprise"
		if len(indent) > 2 {
			name = "oddity" // it goes with what it is in, where that is lost as a whole
		}
		fmt.Fprintf(&b, "%s%s: %s\n", indent, name, rapid.SampledFrom([]string{"1", planted, "{a: b}"}).Draw(t, "surprise"))
	}
	return b.String()
}

func drawCodeRouter(t *rapid.T) string {
	var b strings.Builder
	b.WriteString(some(t, "", []string{"allow_paid", "default_profile", "audit_log", "audit_log_max_bytes", "request_log", "request_log_max_bytes", "continuous_probe", "probe_interval_s", "probe_timeout_s", "probe_paid", "display_timezone", "state_dir", "launcher", "plugins", "token_estimation_include_tool_content"}))
	if rapid.Bool().Draw(t, "auto") && !strings.Contains(b.String(), "default_profile") {
		b.WriteString("default_profile: auto\n")
	}
	b.WriteString("providers:\n")
	for range rapid.IntRange(1, 4).Draw(t, "providers") {
		fmt.Fprintf(&b, "  - name: %q\n    base_url: %q\n    model: m\n", names3(t, "name"), address(t))
		b.WriteString(some(t, "    ", []string{"kind", "api_key_env", "paid", "timeout_s", "extra_body", "append_system_prompt", "output_filters", "restart_command", "max_context_tokens", "capabilities", "cost", "credential", "tokenizer_path"}))
	}
	b.WriteString("profiles:\n")
	for range rapid.IntRange(1, 4).Draw(t, "profiles") {
		fmt.Fprintf(&b, "  - name: %q\n    providers: [%q, %q]\n", names3(t, "name"), names3(t, "p1"), names3(t, "p2"))
		b.WriteString(some(t, "    ", []string{"timeout_s", "append_system_prompt", "tool_loop_action", "tool_loop_window", "tool_loop_threshold", "max_tool_calls", "backend_health_action", "backend_health_threshold", "backend_health_half_open_s", "recovery_probe_initial_s", "recovery_probe_max_s", "restart_timeout_s", "adaptive", "context_budget_action", "context_budget_warn_threshold", "context_budget_trim_threshold", "context_budget_trim_target", "context_budget_preserve_last_n", "drift_detection_action", "drift_detection_window_size", "drift_detection_cooldown_s", "goal_mode", "empty_response_action", "memory_pressure_action", "memory_pressure_cooldown_s", "stream_truncation_action"}))
	}
	if rapid.Bool().Draw(t, "modes") {
		fmt.Fprintf(&b, "mode_aliases:\n  %q: %q\n", names3(t, "mode"), names3(t, "target"))
	}
	if rapid.Bool().Draw(t, "router") {
		fmt.Fprintf(&b, "auto_router:\n  default_rule_profile: %q\n", names3(t, "rest"))
		b.WriteString("  rules:\n")
		for range rapid.IntRange(1, 3).Draw(t, "rules") {
			matcher := rapid.SampledFrom([]string{"has_image", "has_tools", "code_fence_ratio_min", "content_contains", "content_regex", "model_pattern", "content_token_count_min", "cjk_ratio_min"}).Draw(t, "matcher")
			fmt.Fprintf(&b, "    - id: %q\n      profile: %q\n      match: {%s: %s}\n", names3(t, "id"), names3(t, "to"), matcher, scalar(t, "value"))
		}
	}
	return b.String()
}

func drawLiteLLM(t *rapid.T) string {
	var b strings.Builder
	b.WriteString("model_list:\n")
	for range rapid.IntRange(1, 4).Draw(t, "models") {
		model := rapid.SampledFrom([]string{"gpt-4o", "openai/gpt-4o", "azure/dep", "anthropic/claude-x", "ollama/llama3", "bedrock/x", "openai/*", "*", "hosted_vllm/q", "claude-3", "what/ever", planted}).Draw(t, "model")
		fmt.Fprintf(&b, "  - model_name: %q\n    litellm_params:\n      model: %q\n", names3(t, "name"), model)
		if rapid.Bool().Draw(t, "base") {
			fmt.Fprintf(&b, "      api_base: %q\n", address(t))
		}
		if rapid.Bool().Draw(t, "key") {
			fmt.Fprintf(&b, "      api_key: %q\n", rapid.SampledFrom([]string{planted, "os.environ/A_KEY", "os.environ/", "none", "sk-live0123456789abcdef", "x y"}).Draw(t, "api_key"))
		}
		if rapid.Bool().Draw(t, "headers") {
			fmt.Fprintf(&b, "      extra_headers: {X-A: %q, Authorization: %q, Host: h, x-a: b}\n", planted, "Bearer "+planted)
		}
		b.WriteString(some(t, "      ", []string{"rpm", "tpm", "timeout", "stream_timeout", "max_tokens", "temperature", "max_retries", "max_parallel_requests", "organization", "extra_body", "ssl_verify", "input_cost_per_token", "output_cost_per_token", "max_budget", "budget_duration", "api_version", "additional_drop_params", "custom_llm_provider", "aws_secret_access_key"}))
		if rapid.Bool().Draw(t, "info") {
			b.WriteString("    model_info:\n      mode: chat\n" + some(t, "      ", []string{"id", "max_tokens", "max_input_tokens", "max_output_tokens", "supports_vision", "supports_function_calling", "base_model"}))
		}
	}
	for _, section := range []string{"router_settings", "litellm_settings"} {
		if rapid.Bool().Draw(t, section) {
			fmt.Fprintf(&b, "%s:\n  num_retries: %s\n", section, scalar(t, "num_retries"))
			fmt.Fprintf(&b, "  fallbacks: [{%q: [%q]}]\n  model_group_alias: {%q: %q}\n", names3(t, "f1"), names3(t, "f2"), names3(t, "alias"), names3(t, "target"))
			b.WriteString(some(t, "  ", []string{"timeout", "request_timeout", "routing_strategy", "allowed_fails", "cooldown_time", "disable_cooldowns", "redis_password", "set_verbose", "cache", "context_window_fallbacks", "default_fallbacks", "callbacks"}))
		}
	}
	if rapid.Bool().Draw(t, "general") {
		b.WriteString("general_settings:\n  completion_model: gpt-4o\n" + some(t, "  ", []string{"master_key", "database_url", "alerting", "background_health_checks", "health_check_interval", "global_max_parallel_requests"}))
	}
	if rapid.Bool().Draw(t, "environment") {
		fmt.Fprintf(&b, "environment_variables: {A_KEY: %q}\n", planted)
	}
	return b.String()
}

func FuzzImport(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, path := range files {
		if data, err := os.ReadFile(path); err == nil {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, source := range Sources() {
			if r, err := Import(source, data); err == nil {
				good(t, r)
			} else if strings.Contains(err.Error(), "what was written is refused") {
				t.Fatal(err)
			}
		}
	})
}
