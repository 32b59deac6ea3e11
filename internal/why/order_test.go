package why

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/guard"
)

// A provider's story tells of its drift in the words of the events that are
// really written.
func TestProviderDrift(t *testing.T) {
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	p := guard.DriftPolicy{Profile: "team", Provider: "gpu1", Action: guard.DriftDemote, Window: 6, Cooldown: 5 * time.Minute}
	var d guard.Drift
	var journal []drey.Event
	step := func(ev guard.DriftEvent) {
		var effects []guard.DriftEffect
		d, effects = guard.StepDrift(d, ev, p)
		for _, e := range effects {
			emit, ok := e.(guard.Emit)
			if !ok {
				continue
			}
			line, err := emit.Event.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			var back drey.Event
			if err := json.Unmarshal(line, &back); err != nil {
				t.Fatal(err)
			}
			back.Seq = drey.Seq(len(journal) + 1)
			journal = append(journal, back)
		}
	}
	for range 6 {
		step(guard.Answered{At: at, Sample: guard.Sample{Empty: true}})
	}
	step(guard.Elapsed{At: at.Add(5 * time.Minute)})
	got := Provider(ProviderFacts{ID: "gpu1", Now: at.Add(time.Hour), Events: journal}).Text(nil)
	for _, want := range []string{
		"its answers in profile team got worse (severe): of the last 6 too many were empty; it goes last for 5m",
		"back in its place in profile team",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\ndoes not say: %s", got, want)
		}
	}
}
