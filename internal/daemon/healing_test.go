package daemon

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/store"
)

// chainOfTwo is a chain of two, the first of which is looked at again after a
// second.
func chainOfTwo(first, second string, more ...string) string {
	return fmt.Sprintf(`version: 1
health: {probe: {initial: 1s}}
providers:
  first: {wire: openai, url: %q, class: local, model: fake-model}
  second: {wire: anthropic, url: %q, class: local, model: fake-model}
profiles:
  default: {chain: [first, second]}
`, first, second) + listenAnywhere(more) + strings.Join(more, "\n") + "\n"
}

// An exclusion outlives the daemon, and so does its healing.
func TestAnExclusionOutlivesTheDaemon(t *testing.T) {
	first, second := provider(t, fake.Always(fake.Text("from first"))), provider(t, fake.Always(fake.Text("from second")))
	home := newHome(t, chainOfTwo(first.URL(), second.URL()))
	h := openAt(t, home)
	first.Outage(fake.Refused())
	for range 6 {
		h.chat("hi")
	}
	h.event("self-healing-exclude", 0)
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	h = openAt(t, home)
	before := h.head()
	if a := h.chat("hi"); a.header.Get("X-Drey-Attempts") != "1" || !strings.Contains(a.body, "from second") {
		t.Errorf("it is no longer excluded: %v %s", a.header, a.body)
	}
	if err := first.Restore(); err != nil {
		t.Fatal(err)
	}
	h.event("self-healing-restore", before)
	if a := h.chat("hi"); !strings.Contains(a.body, "from first") {
		t.Errorf("%v %s", a.header, a.body)
	}
}

// What the caller did wrong, and cancels, never count; an answer that always
// breaks off does.
func TestWhatCounts(t *testing.T) {
	tests := []struct {
		name string
		b    fake.Behaviour
		out  bool
	}{
		{"a user's 400s", fake.ContentFilter(), false},
		{"rate limits", fake.RateLimited(), false},
		{"dies after its first events", fake.Text("one two three four").CutAfter(4, fake.RST), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			first, second := provider(t, fake.Always(tt.b)), provider(t, fake.Always(fake.Text("from second")))
			h := open(t, chainOfTwo(first.URL(), second.URL()))
			for range 8 {
				// A stream that breaks is cut on this wire, which is an error here.
				_, _ = h.try("POST", "/v1/chat/completions", chatBody("hi", true))
			}
			s, err := h.control().Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if out := s.Providers[0].State == "EXCLUDED"; out != tt.out {
				t.Errorf("%s after %d failures in a row", s.Providers[0].State, s.Providers[0].ConsecutiveFailures)
			}
		})
	}
}

// With all of them out one request tries, and the others are told when to come
// back.
func TestAllProvidersOut(t *testing.T) {
	only := provider(t, fake.Always(fake.ServerError()))
	h := open(t, yamlOf("openai", only.URL()))
	for range 6 {
		h.chat("hi")
	}
	h.event("self-healing-exclude", 0)
	h.chat("hi") // the trial, which fails
	a := h.chat("hi")
	if a.status != 503 || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "excluded") {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
}

// A person takes a provider out and back in.
func TestAnOperatorsActs(t *testing.T) {
	first, second := provider(t, fake.Always(fake.Text("from first"))), provider(t, fake.Always(fake.Text("from second")))
	h := open(t, chainOfTwo(first.URL(), second.URL()))
	act := func(path, want string, changed bool) {
		t.Helper()
		a := h.do("POST", "/api/v1/providers/first/"+path, "{}")
		if a.status != 200 || !strings.Contains(a.body, `"changed":`+fmt.Sprint(changed)) {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		if got := h.chat("hi"); !strings.Contains(got.body, want) {
			t.Errorf("after %s: %s", path, got.body)
		}
	}
	act("exclude", "from second", true)
	act("exclude", "from second", false)
	act("restore", "from first", true)
	act("drain", "from second", true)
	act("restore", "from first", true)
	if a := h.do("POST", "/api/v1/providers/first/restart", "{}"); a.status != 422 {
		t.Errorf("restart of what cannot be restarted: %d %s", a.status, a.body)
	}
	var causes int
	for _, ev := range h.events(store.Query{Event: "operator-action", Limit: 100}) {
		if ev.Machine == "provider" && ev.ID == "first" {
			causes++
		}
	}
	if causes < 4 {
		t.Errorf("%d operator-actions are journaled", causes)
	}
}
