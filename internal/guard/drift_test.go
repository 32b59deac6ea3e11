package guard_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/wire"
)

var drift = guard.DriftPolicy{Profile: "p", Provider: "lab", Action: guard.DriftWarn, Window: 20, Cooldown: 5 * time.Minute}

// good is an answer with nothing wrong, different from all others.
func good(i int) guard.Sample {
	return guard.Sample{Length: 100, Tools: true, Calls: true, Text: uint64(1000 + i)}
}

// feed gives samples to a new watch and returns it with the words of what was
// to be done.
func feed(p guard.DriftPolicy, samples ...guard.Sample) (guard.Drift, string) {
	var d guard.Drift
	var out []string
	for i, s := range samples {
		var effects []guard.DriftEffect
		d, effects = guard.StepDrift(d, guard.Answered{At: noon.Add(time.Duration(i) * time.Second), Sample: s}, p)
		out = append(out, words(effects)...)
	}
	return d, strings.Join(out, "\n")
}

func words(effects []guard.DriftEffect) (out []string) {
	for _, e := range effects {
		switch e := e.(type) {
		case guard.Emit:
			out = append(out, told1(e.Event))
		case guard.Demote:
			out = append(out, "demote until "+e.Until.Format("15:04:05"))
		}
	}
	return out
}

// TestDriftNumbers holds every number of contract §13: with n of 20 answers bad
// the limit is reached and nothing is said, with one more it is.
func TestDriftNumbers(t *testing.T) {
	empty := func(s *guard.Sample) { s.Empty = true }
	callless := func(s *guard.Sample) { s.Calls = false }
	odd := func(s *guard.Sample) { s.Odd = true }
	failed := func(s *guard.Sample) { *s = guard.Sample{Failed: true} }
	repeated := func(s *guard.Sample) { s.Text = 7 } // the first of them repeats nothing
	tests := []struct {
		sign              string
		bad               func(*guard.Sample)
		extra             int
		level             guard.Level
		normal, low, high int // of 20: the most that is well
	}{
		{"empty", empty, 0, guard.Severe, 6, 10, 4},
		{"no_calls", callless, 0, guard.Mild, 14, 16, 10},
		{"odd_stop", odd, 0, guard.Mild, 8, 12, 6},
		{"errors", failed, 0, guard.Mild, 5, 8, 3},
		{"repeated", repeated, 1, guard.Mild, 8, 12, 5},
	}
	for _, tt := range tests {
		for sensitivity, most := range map[guard.Sensitivity]int{guard.Normal: tt.normal, guard.Low: tt.low, guard.High: tt.high} {
			p := drift
			p.Sensitivity = sensitivity
			// Only the whole window counts here: the bad ones come last and
			// the level is that of the end.
			samples := make([]guard.Sample, 20)
			for n, want := range map[int]guard.Level{most: guard.Steady, most + 1: tt.level} {
				for i := range samples {
					samples[i] = good(i)
					if i >= 20-n-tt.extra {
						tt.bad(&samples[i])
					}
				}
				d, _ := feed(p, samples...)
				if d.Level != want {
					t.Errorf("%s, %v: with %d of 20 it is %v, want %v", tt.sign, sensitivity, n, d.Level, want)
				}
			}
		}
	}
}

func TestDriftOfLength(t *testing.T) {
	for _, tt := range []struct {
		sensitivity guard.Sensitivity
		least       int // the newer median, of 100 before, that is well
	}{{guard.Normal, 50}, {guard.Low, 30}, {guard.High, 70}} {
		for newer, want := range map[int]guard.Level{tt.least: guard.Steady, tt.least - 1: guard.Severe} {
			samples := make([]guard.Sample, 20)
			for i := range samples {
				samples[i] = good(i)
				if i >= 10 {
					samples[i].Length = newer
				}
			}
			samples[0].Length, samples[19].Length = 1, 1_000_000 // medians do not care
			p := drift
			p.Sensitivity = tt.sensitivity
			if d, _ := feed(p, samples...); d.Level != want {
				t.Errorf("%v: from 100 to %d is %v", tt.sensitivity, newer, d.Level)
			}
		}
	}
}

// TestDriftNeedsAnswers holds how many answers are too few for a verdict.
func TestDriftNeedsAnswers(t *testing.T) {
	for sensitivity, least := range map[guard.Sensitivity]int{guard.Normal: 6, guard.Low: 10, guard.High: 4} {
		p := drift
		p.Sensitivity = sensitivity
		for _, bad := range []guard.Sample{{Empty: true}, {Failed: true}, {Odd: true, Length: 5}, {Text: 7, Length: 5}, {Tools: true, Length: 5}} {
			if d, _ := feed(p, slices.Repeat([]guard.Sample{bad}, least-1)...); d.Level != guard.Steady {
				t.Errorf("%v: %d of %+v are %v", sensitivity, least-1, bad, d.Level)
			}
			if d, _ := feed(p, slices.Repeat([]guard.Sample{bad}, least)...); d.Level == guard.Steady {
				t.Errorf("%v: %d of %+v are steady", sensitivity, least, bad)
			}
		}
	}
	// Failures are no answers: five of these and one empty one say nothing of
	// empty answers.
	d, said := feed(drift, append(slices.Repeat([]guard.Sample{{Failed: true}}, 5), guard.Sample{Empty: true})...)
	if d.Level != guard.Mild || strings.Contains(said, "empty") {
		t.Error(d.Level, said)
	}
}

func TestDriftStories(t *testing.T) {
	goods := make([]guard.Sample, 20)
	for i := range goods {
		goods[i] = good(i)
	}
	odd := guard.Sample{Length: 100, Odd: true}
	empties := slices.Repeat([]guard.Sample{{Empty: true, Length: 100}}, 7)
	tests := []struct {
		name    string
		action  guard.DriftAction
		samples []guard.Sample
		want    string
	}{
		{"all is well", guard.DriftWarn, goods, ""},
		{"one mild sign is mild", guard.DriftWarn, slices.Repeat([]guard.Sample{odd}, 6),
			"drift-detected profile=p provider=lab drift=mild signs=[odd_stop] answers=6 action=warn"},
		{"two mild signs are severe", guard.DriftWarn, slices.Repeat([]guard.Sample{{Length: 100, Odd: true, Tools: true}}, 6),
			"drift-detected profile=p provider=lab drift=severe signs=[no_calls odd_stop] answers=6 action=warn"},
		{"a rise is told again, and the return", guard.DriftWarn, slices.Concat(goods[:6], slices.Repeat([]guard.Sample{{Length: 100, Odd: true}}, 6), slices.Repeat([]guard.Sample{{Failed: true}}, 6), goods, goods),
			"drift-detected profile=p provider=lab drift=mild signs=[odd_stop] answers=11 action=warn\n" +
				"drift-detected profile=p provider=lab drift=severe signs=[odd_stop errors] answers=17 action=warn\n" +
				"drift-recovered profile=p provider=lab"},
		{"severe demotes, once", guard.DriftDemote, slices.Concat(goods[:10], empties),
			"drift-detected profile=p provider=lab drift=severe signs=[empty] answers=15 action=demote until=2026-11-22T12:05:14.000000+00:00\ndemote until 12:05:14"},
		{"mild does not", guard.DriftDemote, slices.Repeat([]guard.Sample{odd}, 9),
			"drift-detected profile=p provider=lab drift=mild signs=[odd_stop] answers=6 action=demote"},
		{"off", guard.DriftOff, empties, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := drift
			p.Action = tt.action
			_, got := feed(p, tt.samples...)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestDemotion holds a demotion's life.
func TestDemotion(t *testing.T) {
	p := drift
	p.Action = guard.DriftDemote
	d, _ := feed(p, slices.Repeat([]guard.Sample{{Empty: true}}, 6)...)
	until := noon.Add(5*time.Minute + 5*time.Second)
	if d.Level != guard.Severe || !d.Until.Equal(until) || !d.Demoted(until.Add(-1)) || d.Demoted(until) {
		t.Fatalf("%+v", d)
	}
	kept, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var back guard.Drift
	if err := json.Unmarshal(kept, &back); err != nil || cmp.Diff(d, back) != "" {
		t.Errorf("%v %s", err, cmp.Diff(d, back))
	}
	// While it lasts nothing counts.
	for i := range 20 {
		var effects []guard.DriftEffect
		if d, effects = guard.StepDrift(d, guard.Answered{At: until.Add(-time.Minute), Sample: good(i)}, p); len(effects) > 0 || d.Level != guard.Severe {
			t.Fatal(effects, d.Level)
		}
	}
	// A change of policy ends it at once.
	warn := p
	warn.Action = guard.DriftWarn
	for _, now := range []guard.DriftPolicy{warn, {}} {
		next, effects := guard.StepDrift(d, guard.Elapsed{At: until.Add(-time.Minute)}, now)
		if len(words(effects)) != 1 || !cmp.Equal(next, guard.Drift{}) {
			t.Error(words(effects), next)
		}
	}
	// At its end it is told, and what came before is forgotten.
	next, effects := guard.StepDrift(d, guard.Elapsed{At: until}, p)
	if want := []string{"drift-recovered profile=p provider=lab"}; cmp.Diff(want, words(effects)) != "" || !cmp.Equal(next, guard.Drift{}) {
		t.Error(words(effects), next)
	}
	ev := effects[0].(guard.Emit).Event
	if ev.Machine != "provider" || ev.ID != "lab" || ev.Level != drey.Info || !ev.At.Equal(until) {
		t.Errorf("%+v", ev)
	}
	// Without a timer the next answer ends it.
	next, effects = guard.StepDrift(d, guard.Answered{At: until, Sample: good(1)}, p)
	if len(effects) != 1 || next.Level != guard.Steady || len(next.Answers) != 1 {
		t.Error(words(effects), next)
	}
}

func TestOddStops(t *testing.T) {
	for stop, want := range map[wire.Stop]bool{
		wire.StopEnd: false, wire.StopTools: false, wire.StopSequence: false, wire.StopPause: false,
		wire.StopLength: true, wire.StopRefusal: true, wire.StopUnknown: true,
	} {
		if guard.OddStop(stop) != want {
			t.Errorf("%q", stop)
		}
	}
}

// TestDriftInvariants holds what must be true after any events.
func TestDriftInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := guard.DriftPolicy{
			Action:      rapid.SampledFrom([]guard.DriftAction{guard.DriftOff, guard.DriftWarn, guard.DriftDemote}).Draw(t, "action"),
			Window:      rapid.IntRange(4, 30).Draw(t, "window"),
			Cooldown:    time.Duration(rapid.IntRange(10, 100).Draw(t, "cooldown")) * time.Second,
			Sensitivity: rapid.SampledFrom([]guard.Sensitivity{guard.Normal, guard.Low, guard.High}).Draw(t, "sensitivity"),
		}
		var d guard.Drift
		at := noon
		for range rapid.IntRange(1, 80).Draw(t, "events") {
			at = at.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "pause")) * time.Second)
			before := d
			answers := slices.Clone(d.Answers)
			var ev guard.DriftEvent = guard.Elapsed{At: at}
			if rapid.IntRange(0, 4).Draw(t, "kind") > 0 {
				s := good(rapid.IntRange(0, 3).Draw(t, "text"))
				s.Empty, s.Odd, s.Failed = rapid.Bool().Draw(t, "empty"), rapid.Bool().Draw(t, "odd"), rapid.Bool().Draw(t, "failed")
				ev = guard.Answered{At: at, Sample: s}
			}
			var effects []guard.DriftEffect
			d, effects = guard.StepDrift(d, ev, p)
			if !slices.Equal(before.Answers, answers) {
				t.Fatal("the machine before was changed")
			}
			if len(d.Answers) > p.Window {
				t.Fatalf("%d answers in a window of %d", len(d.Answers), p.Window)
			}
			if p.Action != guard.DriftDemote && !d.Until.IsZero() {
				t.Fatal("demoted without the action")
			}
			if d.Demoted(at) && d.Level != guard.Severe {
				t.Fatal("demoted, and not severe")
			}
			if before.Demoted(at) && len(effects) > 0 {
				t.Fatalf("during a demotion: %v", words(effects))
			}
			again, effects := guard.StepDrift(d, guard.Elapsed{At: at}, p)
			if len(effects) > 0 || !cmp.Equal(again, d) {
				t.Fatalf("the same moment again changes something: %v", words(effects))
			}
		}
	})
}
