package daemon

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey/internal/fake"
)

// TestAReloadTakesEffectAtOnce turns one key after the other, at a daemon that
// goes on serving, and looks at the very next request. Each file begins from the
// same base, so that each reload also takes back what the one before has set.
func TestAReloadTakesEffectAtOnce(t *testing.T) {
	thinks := fake.Text("<think>hm</think>so it is").Reports(fake.Usage{Input: 50, Output: 20})
	first, second := provider(t, fake.Always(thinks)), provider(t, fake.Always(fake.Text("the second")))
	type file struct{ top, first, profile, router string }
	config := func(f file) string {
		return fmt.Sprintf(`version: 1
listen: {addr: "127.0.0.1:0"}
allow_paid: true
%s
providers:
  first: {wire: openai, url: %q, class: paid, model: m, context_tokens: 9000, cost: {input: 1, output: 10}%s}
  second: {wire: openai, url: %q, class: local, model: n}
profiles:
  default: {chain: [first, second], retry: {same_provider: 0}%s}
  other: {chain: [second]}
%s
`, f.top, first.URL(), f.first, second.URL(), f.profile, f.router)
	}
	agent := []string{"X-Api-Key", "key-of-an-agent-0815"}
	long := strings.Replace(chatBody(strings.Repeat("word ", 6400), false), "{", `{"max_tokens":100,`, 1) // 8,000 tokens
	ask := func(h *house, body string) answer {
		return h.do(http.MethodPost, "/v1/chat/completions", body, agent...)
	}
	served := func(by string) func(*house) string {
		return func(h *house) string {
			if a := ask(h, chatBody("hi", false)); a.header.Get("X-Drey-Provider") != by {
				return fmt.Sprintf("%d %v %s", a.status, a.header, a.body)
			}
			return ""
		}
	}
	refused := func(status int) func(*house) string {
		return func(h *house) string {
			if a := ask(h, chatBody("hi", false)); a.status != status {
				return fmt.Sprintf("%d %s", a.status, a.body)
			}
			return ""
		}
	}
	sent := func(path, want string) func(*house) string {
		return func(h *house) string {
			ask(h, `{"model":"any","messages":[{"role":"system","content":"x-anthropic-billing-header: 7\nbe good"},{"role":"user","content":"hi"}]}`)
			calls := first.Calls()
			if got := gjson.GetBytes(calls[len(calls)-1].Body, path).String(); got != want {
				return fmt.Sprintf("the provider got %q", got)
			}
			return ""
		}
	}
	said := func(path, want string) func(*house) string {
		return func(h *house) string {
			if a := ask(h, chatBody("hi", false)); gjson.Get(a.body, path).String() != want {
				return a.body
			}
			return ""
		}
	}
	header := func(body, key, want string) func(*house) string {
		return func(h *house) string {
			if a := ask(h, body); a.header.Get(key) != want {
				return fmt.Sprintf("%d %s: %q", a.status, key, a.header.Get(key))
			}
			return ""
		}
	}
	const content = "choices.0.message.content"
	key := func(more string) string { return `keys: [{name: agent, secret: "env:AGENT"` + more + `}]` }
	tests := []struct {
		name  string
		file  file
		check func(*house) string // what is wrong; "" = nothing
	}{
		{"allow_paid", file{}, served("first")},
		{"budget", file{top: "budget: {usd_day: 0}"}, served("second")},
		{"a profile's budget", file{profile: ", budget: {usd_month: 0}"}, served("second")},
		{"a key's budget", file{top: key(", budget: {usd_day: 0}")}, served("second")},
		{"a key's profiles", file{top: key(", profiles: [other]")}, served("second")},
		{"a key's rate", file{top: key(", requests_per_minute: 1")}, func(h *house) string {
			ask(h, chatBody("hi", false))
			return refused(http.StatusTooManyRequests)(h)
		}},
		{"no key", file{top: `keys: [{name: boss, secret: "env:BOSS"}]`}, refused(http.StatusUnauthorized)},
		{"append_system", file{first: ", append_system: be brief"}, sent("messages.0.content", "be good\nbe brief")},
		{"strip_changing_lines", file{first: ", strip_changing_lines: off"}, sent("messages.0.content", "x-anthropic-billing-header: 7\nbe good")},
		{"strip_changing_lines again", file{}, sent("messages.0.content", "be good")},
		{"extra_body", file{first: ", extra_body: {seed: 7}"}, sent("seed", "7")},
		{"filters", file{first: ", filters: [strip_thinking]"}, said(content, "so it is")},
		{"no filters", file{}, said(content, "<think>hm</think>so it is")},
		{"reasoning", file{first: ", reasoning: drop"}, said(content, "so it is")},
		{"context_budget", file{}, header(long, "X-Drey-Context-Budget", "warning")},
		{"context_budget: route", file{profile: ", context_budget: {action: route}"}, header(long, "X-Drey-Context-Budget", "routed")},
		{"context_budget: off", file{profile: ", context_budget: {action: off}"}, header(long, "X-Drey-Context-Budget", "")},
		{"tool_loop", file{profile: ", tool_loop: {action: break}"}, func(h *house) string {
			if a := ask(h, looping(3, false)); gjson.Get(a.body, "detail.error").Str != "tool_loop_detected" {
				return a.body
			}
			return ""
		}},
		{"tool_cap", file{profile: ", tool_cap: {action: break, limit: 2, stream_form: sse}"}, func(h *house) string {
			if a := ask(h, looping(3, true)); a.status != 200 || !strings.Contains(a.body, `"tool_count"`) {
				return a.body
			}
			return ""
		}},
		{"the guards' defaults", file{}, func(h *house) string {
			if a := ask(h, looping(60, false)); a.status != 200 {
				return a.body
			}
			return ""
		}},
		{"aliases", file{router: "aliases: {any: other}"}, served("second")},
		{"default_profile", file{router: "default_profile: other"}, served("second")},
		{"auto_router", file{router: "default_profile: auto\nauto_router: {default: default, rules: [{id: short, when: tokens < 100, profile: other}]}"}, served("second")},
		{"logs.capture", file{router: "logs: {capture: all}"}, func(h *house) string {
			id := ask(h, chatBody("hi", false)).header.Get("X-Request-Id")
			eventually(t, "it is captured", func() bool { return h.captured(id) })
			return ""
		}},
		{"all back", file{}, served("first")},
	}
	home := newHome(t, config(file{}))
	h := openAt(t, home, func(o *Options) {
		o.Env = environment(map[string]string{"AGENT": agent[1], "BOSS": "key-of-the-boss-4711"})
	})
	for _, tt := range tests {
		writeConfig(t, home, config(tt.file))
		got, err := h.control().Reload(t.Context())
		if err != nil {
			t.Fatalf("%s: %v, %+v", tt.name, err, ConfigFields(err))
		}
		if len(got.NeedsRestart) > 0 {
			t.Errorf("%s needs a restart: %v", tt.name, got.NeedsRestart)
		}
		if wrong := tt.check(h); wrong != "" {
			t.Errorf("%s: %s", tt.name, wrong)
		}
	}
}
