package why

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/lifecycle"
)

// home plays a daemon's life with the real machine, so that a story cannot
// drift away from the lines that are really written.
type home struct {
	t      *testing.T
	now    time.Time
	r      lifecycle.Record
	p      lifecycle.Policy
	seq    drey.Seq
	events []drey.Event
}

func newHome(t *testing.T) *home {
	now := time.Date(2026, 3, 1, 22, 0, 0, 0, time.UTC)
	return &home{t: t, now: now, r: lifecycle.Default(now), p: lifecycle.DefaultPolicy()}
}

func (h *home) after(d time.Duration) *home { h.now = h.now.Add(d); return h }

// journal takes lines as the journal gives them back.
func (h *home) journal(lines ...lifecycle.Line) *home {
	for _, l := range lines {
		h.seq++
		var ev drey.Event
		if err := ev.UnmarshalJSON(l.JSON()); err != nil {
			h.t.Fatal(err)
		}
		ev.Seq, ev.Machine = h.seq, "lifecycle"
		h.events = append(h.events, ev)
	}
	return h
}

func (h *home) dispatch(name lifecycle.EventName, reason string) *home {
	var effects []lifecycle.Effect
	h.r, effects = lifecycle.Step(h.r, lifecycle.Event{Name: name, At: h.now, Reason: reason, Guards: lifecycle.Guards{SleepEligible: true, StillIdle: true}}, h.p)
	for _, e := range effects {
		if l, ok := e.(lifecycle.Log); ok {
			h.journal(l.Line)
		}
	}
	return h
}

// start is a process that begins.
func (h *home) start(by string, connection bool) *home {
	if ev, ok := lifecycle.Boot(h.r, h.now, false, connection); ok {
		h.dispatch(ev.Name, ev.Reason)
	}
	return h.journal(lifecycle.DaemonStarted(h.now, 4711, "1.2.0", h.r.State, by))
}

func (h *home) stop(reason string) *home {
	return h.journal(lifecycle.DaemonStopped(h.now, 4711, reason))
}

// night lets it fall asleep by itself.
func (h *home) night() *home {
	return h.after(5*time.Minute).dispatch(lifecycle.Idle5Min, "").after(25*time.Minute).dispatch(lifecycle.Idle30Min, "")
}

var sixSteps = lifecycle.Plan{{Number: 1, Name: "checkpoint"}, {Number: 2, Name: "retention"}, {Number: 3, Name: "rollup"}, {Number: 4, Name: "verify"}, {Number: 5, Name: "backup"}, {Number: 6, Name: "optimize"}}

// upkeep runs a sleep cycle; outcome says what becomes of a step: nil = done.
func (h *home) upkeep(mode string, outcome func(step string) error) *home {
	r, run, lines := lifecycle.StartCycle(h.r, h.now, mode, sixSteps)
	h.r = r
	h.journal(lines...)
	for complete := false; !complete; {
		h.journal(lifecycle.StartStep(run, h.now)...)
		h.after(200 * time.Millisecond)
		switch err := outcome(run.Step.Name); err {
		case nil:
			h.r, run, complete, lines = lifecycle.StepDone(h.r, run, h.now, lifecycle.Outcome{Took: 200 * time.Millisecond})
			h.journal(lines...)
		case errGaveWay:
			h.r, lines = lifecycle.StepDeferred(h.r, run, h.now, 3, "activity")
			return h.journal(lines...)
		default:
			h.r, lines = lifecycle.StepFailed(h.r, run, h.now, 200*time.Millisecond, err.Error(), h.p)
			return h.journal(lines...)
		}
	}
	return h
}

var errGaveWay = fmt.Errorf("gave way")

func well(string) error { return nil }

func (h *home) facts(running bool) DaemonFacts {
	f := DaemonFacts{Now: h.now, Running: running, State: h.r.State.String(), Since: h.r.Since, LastActivity: h.r.LastActivity, Events: h.events}
	if q := h.r.Quarantine; q != nil {
		f.Quarantine = q.Reason
	}
	return f
}

// awake is what a daemon that runs adds.
func (h *home) awake(by, next string, in time.Duration, because ...string) DaemonFacts {
	f := h.facts(true)
	f.By, f.Because, f.Next, f.NextAt = by, because, next, h.now.Add(in)
	return f
}

func TestDaemon(t *testing.T) {
	for name, play := range map[string]func(h *home) DaemonFacts{
		"fresh": func(h *home) DaemonFacts {
			return h.start("", false).after(10*time.Second).awake("", "idle_5min", 290*time.Second, "idle for 10s of 30m", "it listens by itself, so nobody could wake it")
		},
		"never ran": func(h *home) DaemonFacts { return h.facts(false) },
		"a night": func(h *home) DaemonFacts {
			h.start("waker (pid 12)", false).after(time.Hour).dispatch(lifecycle.HeartbeatRefresh, "").night().upkeep(lifecycle.ModeSleep, well)
			h.dispatch(lifecycle.SleepCycleDone, "").stop(lifecycle.StoppedByHibernation)
			h.after(9*time.Hour).start("waker (pid 12)", true)
			return h.after(20*time.Second).awake("waker (pid 12)", "idle_5min", 280*time.Second, "idle for 20s of 30m", "no sleep cycle has completed since the last activity")
		},
		"hibernates": func(h *home) DaemonFacts {
			h.start("systemd", false).night().upkeep(lifecycle.ModeSleep, well).dispatch(lifecycle.SleepCycleDone, "").stop(lifecycle.StoppedByHibernation)
			return h.after(3 * time.Hour).facts(false)
		},
		"sleeps and stays": func(h *home) DaemonFacts {
			h.start("", false).night().upkeep(lifecycle.ModeSleep, well)
			return h.after(time.Hour).awake("", "sleep_cycle", 23*time.Hour, "it listens by itself, so nobody could wake it; `drey up` keeps the listeners for it")
		},
		"about to hibernate": func(h *home) DaemonFacts {
			h.start("systemd", false).night().upkeep(lifecycle.ModeSleep, well)
			return h.awake("systemd", "sleep_cycle_done", 12*time.Second)
		},
		"work comes into the cycle": func(h *home) DaemonFacts {
			h.start("systemd", false).night().upkeep(lifecycle.ModeSleep, func(step string) error {
				if step == "verify" {
					return errGaveWay
				}
				return nil
			}).dispatch(lifecycle.RequestArrived, "")
			f := h.after(time.Minute).awake("systemd", "activity_flush", time.Second, "1 in flight", "the sleep cycle has come to step 3 and is not complete")
			f.Visitor = "GET /metrics from 10.0.0.7 at 2026-03-01T22:30:00.000000+00:00, Prometheus/2.50."
			return f
		},
		"cycle runs": func(h *home) DaemonFacts {
			h.start("systemd", false).night()
			_, run, lines := lifecycle.StartCycle(h.r, h.now, lifecycle.ModeSleep, sixSteps)
			h.journal(lines...).journal(lifecycle.StartStep(run, h.now)...)
			f := h.after(time.Second).awake("systemd", "", 0, "the sleep cycle runs")
			f.Step = "checkpoint"
			return f
		},
		"killed in the cycle": func(h *home) DaemonFacts {
			h.start("systemd", false).night()
			_, run, lines := lifecycle.StartCycle(h.r, h.now, lifecycle.ModeSleep, sixSteps)
			h.journal(lines...).journal(lifecycle.StartStep(run, h.now)...)
			h.after(time.Minute).start("systemd", false).upkeep(lifecycle.ModeForced, well)
			return h.awake("systemd", "sleep_cycle_done", time.Minute, "idle for 29m of 30m")
		},
		"quarantine": func(h *home) DaemonFacts {
			h.start("systemd", false).night()
			for range 3 {
				h.upkeep(lifecycle.ModeSleep, func(step string) error {
					if step == "verify" {
						return fmt.Errorf("disk I/O error")
					}
					return nil
				}).after(30 * time.Minute)
			}
			return h.awake("systemd", "quarantine_lift", 23*time.Hour, "the sleep cycle is quarantined until 2026-03-02T23:30:00.000000+00:00: sleep step 4 (verify) failed 3x")
		},
		"quarantine is lifted": func(h *home) DaemonFacts {
			h.start("systemd", false)
			for range 3 {
				h.upkeep(lifecycle.ModeBackstop, func(string) error { return fmt.Errorf("disk full") })
			}
			var lines []lifecycle.Line
			h.r, lines = lifecycle.LiftQuarantine(h.r, h.now, lifecycle.LiftManual)
			return h.journal(lines...).upkeep(lifecycle.ModeBackstop, well).awake("systemd", "idle_5min", time.Minute, "idle for 4m of 30m")
		},
		"quarantined at rest": func(h *home) DaemonFacts {
			h.start("", false)
			for range 3 {
				h.upkeep(lifecycle.ModeForced, func(string) error { return fmt.Errorf("disk full") })
			}
			return h.stop(lifecycle.StoppedBySignal).after(time.Hour).facts(false)
		},
		"stopped": func(h *home) DaemonFacts {
			return h.start("", false).after(5*time.Minute).dispatch(lifecycle.Idle5Min, "").stop(lifecycle.StoppedBySignal).after(2 * time.Hour).facts(false)
		},
		"killed": func(h *home) DaemonFacts { return h.start("", false).after(2 * time.Hour).facts(false) },
		"failed": func(h *home) DaemonFacts {
			return h.start("", false).stop(lifecycle.StoppedByError).after(time.Minute).facts(false)
		},
		"by hand": func(h *home) DaemonFacts {
			h.start("waker (pid 12)", false).dispatch(lifecycle.Idle5Min, "operator").dispatch(lifecycle.Idle30Min, "operator").upkeep(lifecycle.ModeSleep, well)
			return h.after(time.Minute).awake("waker (pid 12)", "sleep_cycle_done", 29*time.Minute, "idle for 1m of 30m")
		},
		"woken by a signal": func(h *home) DaemonFacts {
			h.start("waker (pid 12)", false).night().upkeep(lifecycle.ModeSleep, well).dispatch(lifecycle.SleepCycleDone, "").stop(lifecycle.StoppedByHibernation)
			h.after(time.Hour).journal(lifecycle.SignalConsumed(h.now, []byte(`{"requested_at":"x","wrapper_pid":7,"reason":"nightly run"}`)))
			h.dispatch(lifecycle.WakeSignal, lifecycle.WokenBySignal)
			return h.after(time.Second).awake("waker (pid 12)", "idle_5min", 299*time.Second, "idle for 1s of 30m")
		},
		"lease and owner lost": func(h *home) DaemonFacts {
			h.start("waker (pid 12)", false).after(5*time.Minute).dispatch(lifecycle.Idle5Min, "").after(time.Minute).dispatch(lifecycle.HeartbeatRefresh, "")
			h.journal(lifecycle.OwnerLost(h.now))
			return h.awake("", "idle_5min", 5*time.Minute, "whoever kept the listeners has ended, so nobody could wake it")
		},
		"shadow run": func(h *home) DaemonFacts {
			h.p.ShadowRun = true
			h.start("", false).night().upkeep(lifecycle.ModeSleep, well).dispatch(lifecycle.SleepCycleDone, "")
			return h.after(time.Minute).awake("", "", 0, "it is in HIBERNATION already")
		},
		"corrupt record": func(h *home) DaemonFacts {
			h.journal(lifecycle.FileCorrupt(h.now, "lifecycle_state.json.corrupt-20260301T220000000000Z", fmt.Errorf("current_state: unknown state \"ASLEEP\"")))
			return h.start("", false).awake("", "idle_5min", 5*time.Minute, "idle for 0s of 30m")
		},
		"many nights": func(h *home) DaemonFacts {
			for range 5 {
				h.start("systemd", true).night().upkeep(lifecycle.ModeSleep, well).dispatch(lifecycle.SleepCycleDone, "").stop(lifecycle.StoppedByHibernation).after(8 * time.Hour)
			}
			return h.facts(false)
		},
		"words of a newer daemon": func(h *home) DaemonFacts {
			h.journal(lifecycle.Line{TS: h.now, Event: "moon_rose", Fields: []drey.Field{drey.F("phase", "full"), drey.F("days", 3)}})
			h.journal(lifecycle.Line{TS: h.now, Event: "state_transition", Fields: []drey.Field{drey.F("from", "SLEEP"), drey.F("to", "TORPOR"), drey.F("trigger", "frost")}})
			h.journal(lifecycle.Line{TS: h.now, Event: "state_transition", Reason: "a mouse", Fields: []drey.Field{drey.F("from", "TORPOR"), drey.F("to", "WAKE"), drey.F("trigger", "noise")}})
			f := h.facts(true)
			f.State, f.By, f.Next = "TORPOR", "systemd", "thaw"
			return f
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := Daemon(play(newHome(t)))
			checkStory(t, "daemon", st)
			golden(t, "daemon-"+strings.ReplaceAll(name, " ", "-")+".txt", st.Text(nil))
		})
	}
}

// checkStory holds what is so of every story.
func checkStory(t *testing.T, subject string, st Story) {
	t.Helper()
	if st.Subject != subject || !strings.HasSuffix(st.Summary, ".") {
		t.Errorf("%q is no summary of a %s (%s)", st.Summary, subject, st.Subject)
	}
	for i, s := range st.Steps {
		if s.Text == "" || strings.ContainsAny(s.Text, "\n\r") || strings.HasSuffix(s.Text, ".") || s.Event == "" {
			t.Errorf("step %d: %+v", i, s)
		}
		if i > 0 && s.At.Before(st.Steps[i-1].At) {
			t.Errorf("step %d is earlier than the one before", i)
		}
	}
}

// Whatever the journal holds, there is a story, and each of its steps stands on
// an event.
func TestDaemonTellsAnything(t *testing.T) {
	names := []string{"state_transition", "shadow_run_warning", "daemon_started", "daemon_stopped", "state_file_corrupt", "wake_signal_consumed", "owner_lost",
		"sleep_cycle_started", "sleep_step_started", "sleep_step_completed", "sleep_cycle_deferred", "sleep_cycle_completed", "quarantine_entered", "quarantine_lifted", "store_damaged", "x"}
	states := []string{"", "WAKE", "DROWSY", "SLEEP", "HIBERNATION", "?"}
	values := []any{nil, 3, -1.5, true, "operator", "a\nb.", []int{1}}
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(list []string) string { return list[rnd.IntN(len(list))] }
	for range 3000 {
		f := DaemonFacts{Now: time.Unix(1e9, 0), Running: rnd.IntN(2) == 0, State: pick(states), Next: pick([]string{"", "idle_5min", "y"}), By: pick(states), Wakes: rnd.IntN(4)}
		for i := range rnd.IntN(20) {
			ev := drey.Event{At: f.Now.Add(time.Duration(i) * time.Second), Name: pick(names), From: pick(states), To: pick(states), Trigger: pick(names)}
			for _, key := range []string{"reason", "error", "step", "mode", "content", "pid", "duration_sec", "attempt"} {
				if rnd.IntN(2) == 0 {
					ev.Fields = append(ev.Fields, drey.F(key, values[rnd.IntN(len(values))]))
				}
			}
			f.Events = append(f.Events, ev)
		}
		checkStory(t, "daemon", Daemon(f))
		if t.Failed() {
			t.Fatalf("%+v", f)
		}
	}
}
