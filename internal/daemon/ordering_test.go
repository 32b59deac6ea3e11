package daemon

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/fake"
)

// A pool keeps a conversation where it began, a line that an agent changes each
// time notwithstanding: it does not reach a provider, and `drey why` tells the
// rest.
func TestPoolThroughTheDoors(t *testing.T) {
	t.Parallel()
	one, two := provider(t, fake.Always(fake.Text("ok"))), provider(t, fake.Always(fake.Text("ok")))
	h := open(t, fmt.Sprintf(`version: 1
providers:
  one: {wire: openai, url: %q, class: local, model: fake-model}
  two: {wire: anthropic, url: %q, class: local, model: fake-model}
profiles:
  default: {chain: [[one, two]]}
  second: {chain: [two]}
`, one.URL(), two.URL())+listenAnywhere(nil))
	ask := func(line, turns string) (answer, string) {
		a := h.do("POST", "/v1/messages", `{"model":"m","max_tokens":9,"system":[{"type":"text","text":"x-anthropic-billing-header: cch=`+line+`"},{"type":"text","text":"You are brief."}],"messages":[`+turns+`]}`)
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		id := a.header.Get("X-Drey-Request-Id")
		h.row(id)
		why, err := h.control().WhyRequest(t.Context(), drey.RequestID(id))
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, s := range why.Steps {
			told = append(told, s.Text)
		}
		return a, strings.Join(told, "\n")
	}
	const first = `{"role":"user","content":"one"}`
	a, why := ask("c0ffee", first)
	if want := "of its pool one comes first, since it had the fewest answers under way, and nobody of it knew the conversation"; !strings.Contains(why, want) {
		t.Errorf("the first turn: %s\n%s", a.header.Get("X-Drey-Provider"), why)
	}
	a, why = ask("facade", first+`,{"role":"assistant","content":"ok"},{"role":"user","content":"two"}`)
	if want := "since it served the first 1 message of this conversation last"; !strings.Contains(why, want) {
		t.Errorf("the second turn: %s\n%s", a.header.Get("X-Drey-Provider"), why)
	}
	h.do("POST", "/p/second/v1/messages", `{"model":"m","max_tokens":9,"system":"x-anthropic-billing-header: cch=1\nYou are brief.","messages":[`+first+`]}`)
	for _, up := range []*fake.Server{one, two} {
		calls := up.Calls()
		if len(calls) == 0 {
			t.Error("a provider was never asked")
		}
		for _, r := range calls {
			if strings.Contains(string(r.Body), "billing") || !strings.Contains(string(r.Body), "You are brief.") {
				t.Errorf("a provider got %s", r.Body)
			}
		}
	}
}

func TestStripLinesFollowsTheHost(t *testing.T) {
	for _, tt := range []struct {
		url, key string
		want     bool
	}{
		{"https://api.anthropic.com", "auto", false},
		{"https://api.anthropic.com", "on", true},
		{"https://api.anthropic.com.example.net", "auto", true},
		{"http://127.0.0.1:11434/v1", "auto", true},
		{"http://127.0.0.1:11434/v1", "off", false},
		{"demo:echo", "auto", true},
	} {
		if got := stripLines(&config.Provider{URL: tt.url, StripChangingLines: tt.key}); got != tt.want {
			t.Errorf("%s, %s: %v", tt.url, tt.key, got)
		}
	}
}
