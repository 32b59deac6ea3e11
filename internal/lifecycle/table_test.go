package lifecycle

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// t0 is when everything begins.
var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return t0.Add(d) }

var (
	states = []State{Wake, Drowsy, Sleep, Hibernation}
	events = []EventName{
		RequestArrived, HeartbeatRefresh, Idle5Min, Idle30Min, SleepCycleDone,
		WakeSignal, SleepEligible, HibernationGraceExpired, Tick,
	}
	guards = []Guards{{}, {SleepEligible: true}, {StillIdle: true}, {SleepEligible: true, StillIdle: true}}
)

// contract is the table of §1.2, by hand: a cell without a guard, and how it
// is guarded.
var contract = []struct {
	event EventName
	guard string
	to    [4]string // by state; "·" = no target
}{
	{RequestArrived, "", [4]string{"WAKE", "WAKE", "WAKE", "WAKE"}},
	{HeartbeatRefresh, "", [4]string{"·", "WAKE", "·", "·"}},
	{Idle5Min, "", [4]string{"DROWSY", "·", "·", "·"}},
	{Idle30Min, "sleep_eligible", [4]string{"·", "SLEEP", "·", "·"}},
	{SleepCycleDone, "still_idle", [4]string{"·", "·", "HIBERNATION", "·"}},
	{WakeSignal, "", [4]string{"·", "·", "·", "WAKE"}},
	{SleepEligible, "", [4]string{"·", "·", "·", "·"}},
	{HibernationGraceExpired, "", [4]string{"·", "·", "·", "·"}},
	{Tick, "", [4]string{"·", "·", "·", "·"}},
}

// TestStepIsTheTable holds all 4 × 9 × 4 cases, and both kinds of process,
// against the contract's table and its bookkeeping, whole values compared.
func TestStepIsTheTable(t *testing.T) {
	for _, row := range contract {
		for _, from := range states {
			for _, g := range guards {
				for _, shadow := range []bool{false, true} {
					open := row.guard == "" || row.guard == "sleep_eligible" && g.SleepEligible || row.guard == "still_idle" && g.StillIdle
					target := row.to[from]
					if !open {
						target = "·"
					}
					name := fmt.Sprintf("%s in %s with %+v shadow %t", row.event, from, g, shadow)
					r := Default(t0)
					r.State, r.Seq = from, 7
					ev := Event{Name: row.event, At: after(time.Hour), Guards: g, Reason: "because", Cause: 9}

					want := r
					want.ShadowRun = shadow
					active := row.event == HeartbeatRefresh || row.event == RequestArrived || row.event == WakeSignal
					if active {
						want.LastActivity, want.Seq = ev.At, 8
					}
					var effects []Effect
					if target != "·" {
						if err := want.State.UnmarshalText([]byte(target)); err != nil {
							t.Fatal(err)
						}
						want.Since = ev.At
						effects = append(effects, Save{}, Log{Line{
							TS: ev.At, Event: "state_transition", Reason: "because", Cause: 9,
							Fields: []drey.Field{drey.F("from", from.String()), drey.F("to", target), drey.F("trigger", row.event.String())},
						}})
						switch {
						case target == "WAKE" && from == Sleep:
							effects = append(effects, StopCycle{}, Arm{})
						case target == "DROWSY":
							effects = append(effects, Relax{}, Arm{})
						case target == "SLEEP":
							effects = append(effects, RunCycle{}, Arm{})
						case target == "HIBERNATION" && shadow:
							effects = append(effects, Log{shadowWarning(ev.At)}, Arm{})
						case target == "HIBERNATION":
							effects = append(effects, Hibernate{})
						default:
							effects = append(effects, Arm{})
						}
					} else if active || shadow {
						effects = []Effect{Save{}, Arm{}}
					}

					got, did := Step(r, ev, Policy{ShadowRun: shadow})
					if d := cmp.Diff(want, got, recordsEqual); d != "" {
						t.Errorf("%s: record (-want +got)\n%s", name, d)
					}
					if d := cmp.Diff(effects, did); d != "" {
						t.Errorf("%s: effects (-want +got)\n%s", name, d)
					}
					next, moved := Transition(from, row.event, g)
					if moved != (target != "·") || next != want.State {
						t.Errorf("%s: Transition gives %s %t", name, next, moved)
					}
				}
			}
		}
	}
}

// recordsEqual compares all that is written, and the order of unknown keys.
var recordsEqual = cmp.AllowUnexported(Record{}, Progress{}, Quarantine{}, Cycle{}, member{})

// TestUnknownsHaveNoTarget holds the last sentence of §1.2.
func TestUnknownsHaveNoTarget(t *testing.T) {
	all := Guards{SleepEligible: true, StillIdle: true}
	for n := range 256 {
		for m := range 256 {
			s, e := State(n), EventName(m)
			next, moved := Transition(s, e, all)
			switch {
			case e == RequestArrived:
				if next != Wake || !moved {
					t.Fatalf("request_arrived in %s: %s %t", s, next, moved)
				}
			case (s > Hibernation || e == NoEvent || e > Tick) && (next != s || moved):
				t.Fatalf("%s in %s: %s %t", e, s, next, moved)
			}
		}
	}
	r := Default(t0)
	r.State = 200
	got, effects := Step(r, Event{Name: RequestArrived, At: t0}, Policy{})
	if line := effects[1].(Log).Line; got.State != Wake || line.Field("from") != "state(200)" {
		t.Errorf("from an unknown state: %s, %s", got.State, line.JSON())
	}
}

// TestCleanSleepRunsNoCycle: SLEEP asks for a cycle only where one is wanted.
func TestCleanSleepRunsNoCycle(t *testing.T) {
	clean, broken, unfinished := Default(t0), Default(t0), Default(t0)
	clean.LastCycle = &Cycle{CompletedAt: t0}
	unfinished.LastCycle, unfinished.Progress = clean.LastCycle, &Progress{StartedAt: t0}
	broken.Quarantine = &Quarantine{Since: "x"}
	for _, tt := range []struct {
		name string
		r    Record
		run  bool
	}{{"clean", clean, false}, {"quarantined", broken, false}, {"unfinished", unfinished, true}, {"never ran", Default(t0), true}} {
		tt.r.State = Drowsy
		_, effects := Step(tt.r, Event{Name: Idle30Min, At: t0, Guards: Guards{SleepEligible: true}}, Policy{})
		if _, ok := effects[2].(RunCycle); ok != tt.run {
			t.Errorf("%s: %v", tt.name, effects)
		}
	}
}

// TestGoldenTable prints the machine for a person to read: run with -update
// and look at the difference.
func TestGoldenTable(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Step in every state, for every event, with its guard refused and given.\n# \"+1\" is the sequence, \"·\" no target.\n\n")
	for _, from := range states {
		for _, e := range events {
			for _, given := range []bool{false, true} {
				guarded := e == Idle30Min || e == SleepCycleDone
				if given && !guarded {
					continue
				}
				r := Default(t0)
				r.State = from
				g := Guards{SleepEligible: given, StillIdle: given}
				got, effects := Step(r, Event{Name: e, At: after(time.Hour), Guards: g}, DefaultPolicy())
				to, seq, name := "·", "  ", e.String()
				if _, moved := Transition(from, e, g); moved {
					to = got.State.String()
				}
				if got.Seq != r.Seq {
					seq = "+1"
				}
				if guarded {
					name += fmt.Sprintf("{%t}", given)
				}
				fmt.Fprintf(&b, "%-11s  %-25s -> %-11s %s  %s\n", from, name, to, seq, show(effects))
			}
		}
		b.WriteByte('\n')
	}
	b.WriteString("# The same in a shadow run, where it differs.\n\n")
	r := Default(t0)
	r.State, r.ShadowRun = Sleep, true
	_, effects := Step(r, Event{Name: SleepCycleDone, At: t0, Guards: Guards{StillIdle: true}}, Policy{ShadowRun: true})
	fmt.Fprintf(&b, "%-11s  %-25s -> %-11s     %s\n\n", Sleep, "sleep_cycle_done{true}", Hibernation, show(effects))
	b.WriteString("# What the daemon dispatches (§6.2).\n\n")
	for h := ActivityBegan; h <= ProcessStarted; h++ {
		row := fmt.Sprintf("%-16s", [...]string{"activity begins", "active lease", "wake asked", "idle for drowsy", "idle for sleep", "cycle clean", "process starts"}[h])
		for _, s := range states {
			name := EventFor(s, h).String()
			if name == "" {
				name = "—"
			}
			row += fmt.Sprintf("  %s: %-17s", s, name)
		}
		b.WriteString(strings.TrimRight(row, " ") + "\n")
	}
	golden(t, "table.golden", b.String())
}

func show(effects []Effect) string {
	var out []string
	for _, e := range effects {
		name := strings.TrimPrefix(fmt.Sprintf("%T", e), "lifecycle.")
		if l, ok := e.(Log); ok {
			name += " " + l.Line.Event
		}
		out = append(out, name)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got; -update rewrites):\n%s", path, d)
	}
}
