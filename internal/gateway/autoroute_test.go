package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/autoroute"
)

// routed makes a lab whose profile "default" is behind an auto-router, with
// profiles "pictures" and "long" beside it.
func routed(t *testing.T) *lab {
	var rules []autoroute.Rule
	for _, r := range [][3]string{
		{"broken", `tools[0] == "never"`, "default"},
		{"pictures", `has_image`, "pictures"},
		{"long", `text contains "long" and wire in ["chat", "anthropic", "responses"]`, "long"},
		{"night", `hour == 3`, "long"},
	} {
		when, err := autoroute.Compile(r[1])
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, autoroute.Rule{ID: r[0], When: when, Profile: drey.ProfileID(r[2])})
	}
	return newLab(t, func(s *Settings) {
		for _, id := range []drey.ProfileID{"pictures", "long"} {
			p := s.Profiles[0]
			p.ID, p.Chain = id, [][]drey.ProviderID{{drey.ProviderID(id) + "-model"}}
			s.Profiles = append(s.Profiles, p)
		}
		s.Profiles[0].Chain = [][]drey.ProviderID{{"plain-model"}}
		for i := range s.Providers {
			s.Providers[i].Total = 72 * time.Hour // a request may be of another hour of this day
		}
		s.Auto = NewAutoRouter(autoroute.New(rules, "default"))
	},
		scripted{id: "plain-model", wire: drey.WireChat, script: hello("plain")},
		scripted{id: "pictures-model", wire: drey.WireChat, script: hello("pictures")},
		scripted{id: "long-model", wire: drey.WireChat, script: hello("long")})
}

// day sets the hour that the rules see, by the local clock.
func day(hour int) func(*Request) {
	return func(r *Request) {
		year, month, date := time.Now().Date()
		r.At = time.Date(year, month, date, hour, 30, 0, 0, time.Local)
	}
}

func TestAutoRouterChooses(t *testing.T) {
	user := func(w drey.Wire, text string) string {
		return strings.Replace(prompt(w, false), "say hello", text, 1)
	}
	two := func(r *Request) { r.Key = Key{Name: "team", Profiles: []drey.ProfileID{"default", "pictures"}} }
	for _, w := range callers {
		for name, tt := range map[string]struct {
			body    string
			change  []func(*Request)
			profile string // "" = 403
			rule    string // "" = it was not asked
		}{
			"no rule":                        {user(w, "hi"), nil, "default", "default"},
			"a rule":                         {user(w, "a long text"), nil, "long", "long"},
			"the local hour":                 {user(w, "hi"), []func(*Request){day(3)}, "long", "night"},
			"a header is stronger":           {user(w, "a long text"), []func(*Request){func(r *Request) { r.HeaderProfile = "default" }}, "default", ""},
			"a model is stronger":            {strings.Replace(user(w, "a long text"), "claude-x", "drey/pictures", 1), nil, "pictures", ""},
			"a profile that the key may use": {user(w, "hi"), []func(*Request){two}, "default", "default"},
			"one that the key may not use":   {user(w, "a long text"), []func(*Request){two}, "", "long"},
			"the key's only profile comes first": {user(w, "a long text"), []func(*Request){func(r *Request) {
				r.Key = Key{Name: "one", Profiles: []drey.ProfileID{"pictures"}}
			}}, "pictures", ""},
		} {
			t.Run(w.String()+"/"+name, func(t *testing.T) {
				l := routed(t)
				change := append([]func(*Request){day(12)}, tt.change...)
				a := l.ask(t.Context(), w, tt.body, change...)
				if got := a.header.Get("X-Drey-Profile"); got != tt.profile || (a.status == 403) != (tt.profile == "") {
					t.Fatalf("status %d, profile %q: %s", a.status, got, a.body)
				}
				if tt.profile != "" && a.status != 200 {
					t.Errorf("status %d: %s", a.status, a.body)
				}
				rule := ""
				for _, ev := range l.last().Events {
					if ev.Name == "auto-router" {
						rule = fieldOf(ev, "rule_id").Str
						if s := fieldOf(ev, "signals"); s.Get("wire").Str != w.String() || s.Get("turns").Int() != 1 || s.Get("text").Exists() {
							t.Errorf("signals %s", s)
						}
					}
				}
				if rule != tt.rule {
					t.Errorf("rule %q; want %q", rule, tt.rule)
				}
			})
		}
	}
}

// fieldOf reads a field of an event as those who get it as JSON do.
func fieldOf(ev drey.Event, key string) gjson.Result {
	b, _ := ev.MarshalJSON()
	return gjson.GetBytes(b, key)
}

// A rule that cannot be evaluated counts as false, and that is told once, not
// for each request, also when the gateway is built anew from the same settings.
func TestAutoRouterTellsAFailureOnce(t *testing.T) {
	l := routed(t)
	for range 3 {
		if a := l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, false), day(12)); a.status != 200 {
			t.Fatalf("status %d: %s", a.status, a.body)
		}
		l.Learn(t.Context())
	}
	told := 0
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ev := range l.events {
		if ev.Name == "auto-router-error" {
			told++
			if ev.Machine != "auto-router" || ev.ID != "broken" || fieldOf(ev, "rule_id").Str != "broken" || !strings.Contains(fieldOf(ev, "error").Str, "index out of range") {
				t.Errorf("told %v", ev)
			}
		}
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}

// Counting tokens goes the way that the request itself would go.
func TestAutoRouterIsAskedForCounts(t *testing.T) {
	l := routed(t)
	body := strings.Replace(prompt(drey.WireAnthropic, false), "say hello", "a long text", 1)
	w := httptest.NewRecorder()
	l.CountTokens(t.Context(), w, &Request{ID: "req_x", At: time.Now(), Wire: drey.WireAnthropic, Body: []byte(body), Header: http.Header{}})
	if got := w.Header().Get("X-Drey-Profile"); got != "long" {
		t.Errorf("counted for profile %q", got)
	}
}
