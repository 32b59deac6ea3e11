package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The keys that order and measure providers.
func TestParseDrift(t *testing.T) {
	f := whole(t)
	want := []Drift{
		{Action: "demote", Window: 40, Cooldown: seconds(600), Sensitivity: "high"},
		{Action: "off", Window: 20, Cooldown: seconds(300), Sensitivity: "normal"},
	}
	if d := cmp.Diff(want, []Drift{f.Profile("coding").Drift, f.Profile("plain").Drift}); d != "" {
		t.Errorf("drift (-want +got):\n%s", d)
	}
	if got := []string{f.Provider("local").StripChangingLines, f.Provider("play").StripChangingLines}; got[0] != "on" || got[1] != "auto" {
		t.Errorf("strip_changing_lines is %q", got)
	}
}

func TestDriftFaults(t *testing.T) {
	const start = `providers: {a: {url: "http://127.0.0.1:11434"}}
profiles:
  default:
    chain: [a]
`
	for _, tt := range []struct{ name, drift, err, warning string }{
		{"an action that is to come", "{action: reload}", "drey.yaml:5:21: profiles.default.drift.action: not built yet; leave the key out; the value's place is kept for a later version", ""},
		{"no action", "{action: scream}", "drey.yaml:5:21: profiles.default.drift.action: unknown word", ""},
		{"a short cool-down", "{cooldown: 1s}", "drey.yaml:5:23: profiles.default.drift.cooldown: out of range; write 10s to 1h", ""},
		{"a window that is never judged", "{action: warn, window: 5}", "", "drey.yaml:5:35: profiles.default.drift.window: with sensitivity normal fewer than 6 answers are never judged, so nothing is watched; write 6 or more, or sensitivity: high"},
		{"a window that is judged", "{action: warn, window: 4, sensitivity: high}", "", ""},
		{"a short window that nobody looks at", "{window: 5}", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, warnings, err := Parse("drey.yaml", []byte(start+"    drift: "+tt.drift+"\n"), Options{})
			switch {
			case tt.err == "" && err != nil:
				t.Fatal(err)
			case tt.err != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.err)):
				t.Fatalf("error %v, want %s", err, tt.err)
			}
			var got []string
			for _, w := range warnings {
				got = append(got, w.String())
			}
			if s := strings.Join(got, "\n"); s != tt.warning {
				t.Errorf("warned %q, want %q", s, tt.warning)
			}
		})
	}
}
