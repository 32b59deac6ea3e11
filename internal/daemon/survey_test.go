package daemon

import (
	"context"
	"strings"
	"testing"

	"github.com/dreyhq/drey/internal/discover"
)

// TestSurvey: providers are built as for a daemon, with their secrets, and say
// nothing of them.
func TestSurvey(t *testing.T) {
	home := newHome(t, `version: 1
providers:
  a: {wire: openai, url: "http://127.0.0.1:9/v1", key: "env:A_KEY", headers: {X-Team: "env:TEAM"}}
  b: {wire: openai, url: "http://127.0.0.1:9/v1", key: "env:GONE"}
profiles:
  default: {chain: [a, b]}
`)
	o := options(home)
	o.Env = environment(map[string]string{"A_KEY": "a-key-to-be-hidden", "TEAM": "team-to-be-hidden"})
	s, err := TakeSurvey(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	a, b := s.Providers[0], s.Providers[1]
	if a.Key != "a-key-to-be-hidden" || a.Headers["X-Team"] != "team-to-be-hidden" || a.Missing || !b.Missing || s.Newcomer {
		t.Errorf("built %+v and %+v", a, b)
	}
	if got := a.Redact("it refused a-key-to-be-hidden of team-to-be-hidden"); strings.Contains(got, "to-be-hidden") {
		t.Errorf("a secret is told: %s", got)
	}
}

// TestSurveyOfANewcomer: where there is neither a file nor a model, the demo
// stands in, and the survey says so.
func TestSurveyOfANewcomer(t *testing.T) {
	o := options(t.TempDir())
	o.Env = environment(nil)
	o.Look = func(context.Context) []discover.Found { return nil }
	s, err := TakeSurvey(t.Context(), o)
	if err != nil || !s.Newcomer || len(s.Providers) != 1 || string(s.Providers[0].ID) != "demo" {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestSurveyOfABadFile is refused as a start would refuse it.
func TestSurveyOfABadFile(t *testing.T) {
	o := options(newHome(t, "listen: 3\n"))
	if _, err := TakeSurvey(t.Context(), o); err == nil || len(ConfigFields(err)) == 0 {
		t.Errorf("got %v", err)
	}
}
