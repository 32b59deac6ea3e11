package lifecycle

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
)

// TestEventFor holds the table of §6.2, by hand.
func TestEventFor(t *testing.T) {
	want := map[Happening]string{
		ActivityBegan:  "heartbeat_refresh request_arrived request_arrived request_arrived",
		LeaseRefreshed: "heartbeat_refresh heartbeat_refresh - -",
		WakeAsked:      "wake_signal request_arrived request_arrived wake_signal",
		IdleForDrowsy:  "idle_5min - - -",
		IdleForSleep:   "- idle_30min - -",
		CycleClean:     "- - sleep_cycle_done -",
		ProcessStarted: "- - - wake_signal",
	}
	for h, row := range want {
		for i, name := range strings.Fields(row) {
			if got := EventFor(State(i), h).String(); got != strings.Trim(name, "-") {
				t.Errorf("%d in %s: %q, want %q", h, State(i), got, name)
			}
		}
	}
	if EventFor(9, ActivityBegan) != NoEvent || EventFor(Wake, 99) != NoEvent {
		t.Error("what is unknown has an event")
	}
	// No wake of the table may be lost: what comes from outside always leads to
	// WAKE or is recorded there.
	for _, s := range states {
		for _, h := range []Happening{ActivityBegan, WakeAsked} {
			if next, _ := Transition(s, EventFor(s, h), Guards{}); next != Wake {
				t.Errorf("%d in %s leads to %s", h, s, next)
			}
		}
	}
}

func codes(blocks []Block) string {
	var out []string
	for _, b := range blocks {
		if b.Text == "" {
			out = append(out, "(without text)")
		}
		out = append(out, b.Code)
	}
	return strings.Join(out, " ")
}

func TestEligible(t *testing.T) {
	p := DefaultPolicy()
	for _, tt := range []struct {
		name string
		with func(*Facts)
		want string
	}{
		{"idle for long enough", func(f *Facts) {}, ""},
		{"exactly", func(f *Facts) { f.Baseline = after(-30 * time.Minute) }, ""},
		{"a second short", func(f *Facts) { f.Baseline = after(-30*time.Minute + time.Second) }, "not_idle"},
		{"baseline in the future", func(f *Facts) { f.Baseline = after(time.Hour) }, "not_idle"},
		{"in flight", func(f *Facts) { f.InFlight = 2 }, "in_flight"},
		{"timer in 5 min", func(f *Facts) { f.NextTimer = after(5 * time.Minute) }, "timer_soon"},
		{"timer overdue", func(f *Facts) { f.NextTimer = after(-time.Minute) }, "timer_soon"},
		{"timer later", func(f *Facts) { f.NextTimer = after(5*time.Minute + time.Second) }, ""},
		{"lease, signal and blocks say nothing here", func(f *Facts) { f.ActiveLease, f.Signal, f.Blocks = true, true, []Block{{BlockNever, "x"}} }, ""},
	} {
		_, f := asleep()
		tt.with(&f)
		if got := codes(Eligible(f, p)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestStillIdle(t *testing.T) {
	for _, tt := range []struct {
		name string
		with func(*Record, *Facts, *Policy)
		want string
	}{
		{"all is well", func(*Record, *Facts, *Policy) {}, ""},
		{"idle too short", func(r *Record, f *Facts, p *Policy) { p.HibernateAfter = time.Hour }, "not_idle"},
		{"in flight", func(r *Record, f *Facts, p *Policy) { f.InFlight = 1 }, "in_flight"},
		{"active lease", func(r *Record, f *Facts, p *Policy) { f.ActiveLease = true }, "active_lease"},
		{"not clean", func(r *Record, f *Facts, p *Policy) { r.Seq++ }, "cycle_not_clean"},
		{"never ran", func(r *Record, f *Facts, p *Policy) { r.LastCycle = nil }, "cycle_not_clean"},
		{"unfinished", func(r *Record, f *Facts, p *Policy) { r.Progress = &Progress{} }, "cycle_unfinished"},
		{"runs", func(r *Record, f *Facts, p *Policy) { r.Progress, f.Running = &Progress{}, true }, "cycle_running"},
		{"quarantined", func(r *Record, f *Facts, p *Policy) { r.Quarantine = &Quarantine{} }, "quarantined"},
		{"timer", func(r *Record, f *Facts, p *Policy) { f.NextTimer = after(time.Hour) }, "timer_pending"},
		{"timer with an alarm", func(r *Record, f *Facts, p *Policy) { f.NextTimer, f.Alarm = after(time.Hour), true }, ""},
		{"signal", func(r *Record, f *Facts, p *Policy) { f.Signal = true }, "wake_signal"},
		{"two wakes without work", func(r *Record, f *Facts, p *Policy) { r.WorklessWakes, f.StartedAt = 2, t0 }, ""},
		{"three", func(r *Record, f *Facts, p *Policy) { r.WorklessWakes, f.StartedAt = 3, after(-59*time.Minute) }, "held_back"},
		{"three, an hour ago", func(r *Record, f *Facts, p *Policy) { r.WorklessWakes, f.StartedAt = 3, after(-time.Hour) }, ""},
		{"the daemon's own", func(r *Record, f *Facts, p *Policy) {
			f.Blocks = []Block{{BlockNoOwner, "x"}, {BlockOwnerLost, "x"}, {BlockChild, "x"}}
		}, "no_owner owner_lost child_process"},
		{"in a shadow run nobody must wake us", func(r *Record, f *Facts, p *Policy) {
			p.ShadowRun, f.Blocks = true, []Block{{BlockNoOwner, "x"}, {BlockOwnerLost, "x"}, {BlockNever, "x"}}
		}, "never"},
	} {
		r, f := asleep()
		r.LastCycle = &Cycle{CompletedAt: after(-time.Minute), Seq: r.Seq}
		p := DefaultPolicy()
		tt.with(&r, &f, &p)
		blocks := StillIdle(r, f, p)
		if got := codes(blocks); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		if f.Running { // the same by the clock alone
			continue
		}
		_, due := NextEvent(r, f, p)
		byTime := tt.want == "" || tt.want == "not_idle" || tt.want == "held_back"
		if due != byTime {
			t.Errorf("%s: an event is due: %t", tt.name, due)
		}
	}
}

func TestHoldBack(t *testing.T) {
	want := []time.Duration{0, 0, 0, 1, 2, 4, 8, 16, 24, 24}
	for n, hours := range want {
		if got := HoldBack(n); got != hours*time.Hour {
			t.Errorf("%d: %s", n, got)
		}
	}
	if HoldBack(1<<31) != 24*time.Hour || HoldBack(-1) != 0 {
		t.Error("out of range")
	}
	r := Default(t0)
	for range 3 {
		r = CountWake(r)
	}
	if got, changed := Worked(r); r.WorklessWakes != 3 || got.WorklessWakes != 0 || !changed {
		t.Errorf("%d, then %d", r.WorklessWakes, got.WorklessWakes)
	}
	if _, changed := Worked(Default(t0)); changed {
		t.Error("work changes nothing twice")
	}
}

// TestBoot is §7.2.
func TestBoot(t *testing.T) {
	for _, tt := range []struct {
		state            State
		signal, readable bool
		wakeAt           time.Duration // from now; 0 = none
		event, reason    string
	}{
		{Wake, false, true, -1, "", ""},
		{Drowsy, false, true, -1, "", ""},
		{Sleep, false, true, -1, "", ""},
		{Wake, true, false, 0, "wake_signal", "wake.signal"},
		{Drowsy, true, false, 0, "request_arrived", "wake.signal"},
		{Sleep, true, true, 0, "request_arrived", "wake.signal"},
		{Hibernation, true, true, -1, "wake_signal", "wake.signal"},
		{Hibernation, false, true, -1, "wake_signal", "connection"},
		{Hibernation, false, false, -1, "wake_signal", "alarm"},
		{Hibernation, false, false, 1, "wake_signal", "start"},
		{Hibernation, false, false, 0, "wake_signal", "start"},
	} {
		r := Default(t0)
		r.State = tt.state
		if tt.wakeAt != 0 {
			r.WakeAt = after(tt.wakeAt)
		}
		ev, ok := Boot(r, t0, tt.signal, tt.readable)
		if ev.Name.String() != tt.event || ok != (tt.event != "") || ok && (ev.Reason != tt.reason || !ev.At.Equal(t0)) {
			t.Errorf("%+v: %s %q %t", tt, ev.Name, ev.Reason, ok)
		}
		if got, _ := Step(r, ev, Policy{}); tt.state == Hibernation && got.State != Wake {
			t.Errorf("%+v: a running process is in %s", tt, got.State)
		}
	}
}

func TestBaseline(t *testing.T) {
	r := Default(t0)
	r.LastActivity = after(-time.Hour)
	if got := Baseline(r, t0); !got.Equal(r.LastActivity) {
		t.Errorf("after a restart: %s", got)
	}
	r.LastActivity = after(time.Hour)
	if got := Baseline(r, t0); !got.Equal(t0) {
		t.Errorf("from the future: %s", got)
	}
}

// TestNext tells what the owner's one timer is armed for.
func TestNext(t *testing.T) {
	type world struct {
		r Record
		f Facts
		p Policy
	}
	for _, tt := range []struct {
		name string
		with func(*world)
		task string
		in   time.Duration
	}{
		{"just worked", func(w *world) {}, "idle_5min", 5 * time.Minute},
		{"idle, within the grace", func(w *world) { w.f.StartedAt, w.f.Baseline = after(-10*time.Second), after(-time.Hour) }, "idle_5min", 50 * time.Second},
		{"overdue", func(w *world) { w.f.Baseline = after(-time.Hour) }, "idle_5min", -55 * time.Minute},
		{"in flight", func(w *world) { w.f.InFlight = 1 }, "backstop_cycle_sliced", 24 * time.Hour},
		{"in flight and a cycle runs", func(w *world) { w.f.InFlight, w.f.Running = 1, true }, "", 0},
		{"first work is recorded at once", func(w *world) { w.f.Unrecorded = true }, "activity_flush", 0},
		{"then at most every 30 s", func(w *world) { w.f.Unrecorded, w.f.RecordedAt = true, after(-12*time.Second) }, "activity_flush", 18 * time.Second},
		{"at the latest before an idle event", func(w *world) {
			w.f.Unrecorded, w.f.RecordedAt, w.p.ActivityFlush = true, after(-time.Second), time.Hour
		}, "activity_flush", 5 * time.Minute},
		{"drowsy", func(w *world) { w.r.State = Drowsy }, "idle_30min", 30 * time.Minute},
		{"drowsy, a timer would be too near then", func(w *world) { w.r.State, w.f.NextTimer = Drowsy, after(34*time.Minute) }, "backstop_cycle", 16 * time.Hour},
		{"drowsy, a timer after that", func(w *world) { w.r.State, w.f.NextTimer = Drowsy, after(36*time.Minute) }, "idle_30min", 30 * time.Minute},
		{"asleep, not clean", func(w *world) { w.r.State, w.r.Seq = Sleep, 9 }, "sleep_cycle", -23*time.Hour - 59*time.Minute},
		{"asleep, clean", func(w *world) { w.r.State = Sleep }, "sleep_cycle_done", 30 * time.Minute},
		{"asleep, clean, held back", func(w *world) {
			w.r.State, w.r.WorklessWakes, w.f.StartedAt = Sleep, 4, after(-time.Hour)
		}, "sleep_cycle_done", time.Hour},
		{"asleep, clean, must not hibernate", func(w *world) { w.r.State, w.f.Blocks = Sleep, []Block{{BlockNever, "x"}} }, "sleep_cycle", 4 * time.Hour},
		{"asleep, quarantined", func(w *world) {
			w.r.State, w.r.Quarantine = Sleep, &Quarantine{Until: drey.FormatTime(after(3 * time.Hour))}
		}, "quarantine_lift", 3 * time.Hour},
		{"shadow run in HIBERNATION", func(w *world) { w.r.State = Hibernation }, "backstop_cycle", 16 * time.Hour},
		{"no cycle for 37 h", func(w *world) { w.r.LastCycle.CompletedAt = after(-37 * time.Hour) }, "backstop_cycle", time.Second},
		{"no cycle for 37 h, in flight", func(w *world) { w.r.LastCycle.CompletedAt, w.f.InFlight = after(-37*time.Hour), 1 }, "backstop_cycle_sliced", 7 * time.Hour},
		{"no cycle for 45 h, just started, in flight", func(w *world) {
			w.r.LastCycle.CompletedAt, w.f.InFlight, w.f.StartedAt = after(-45*time.Hour), 1, t0
		}, "backstop_cycle_sliced", 8 * time.Hour},
		{"never a cycle, first start long ago", func(w *world) {
			w.r.LastCycle, w.f.FirstStart, w.f.Baseline = nil, after(-100*time.Hour), after(-2*time.Second)
		}, "backstop_cycle", -time.Second},
		{"never a cycle, first start long ago, in flight", func(w *world) {
			w.r.LastCycle, w.f.FirstStart, w.f.InFlight = nil, after(-100*time.Hour), 1
		}, "backstop_cycle_sliced", -16 * time.Hour},
		{"clock set back by a year under a running process", func(w *world) {
			w.f.EndedAt = w.f.Now.Add(-time.Hour)
			w.r.LastCycle.CompletedAt = after(365 * 24 * time.Hour)
			w.r.State, w.f.Blocks = Sleep, []Block{{BlockNever, "x"}}
		}, "sleep_cycle", 23 * time.Hour},
	} {
		w := world{Default(t0), Facts{Now: t0, StartedAt: after(-24 * time.Hour), Baseline: t0}, DefaultPolicy()}
		w.r.LastCycle = &Cycle{CompletedAt: after(-20 * time.Hour)}
		tt.with(&w)
		d, ok := Next(w.r, w.f, w.p)
		if !ok && tt.task == "" && d.Name() == "none" {
			continue
		}
		if d.Name() != tt.task || d.At.Sub(t0) != tt.in {
			t.Errorf("%s: %s in %s, want %s in %s", tt.name, d.Name(), d.At.Sub(t0), tt.task, tt.in)
		}
	}
	for task := NoTask; task <= BeginSliced; task++ {
		var back Task
		if b, _ := task.MarshalText(); back.UnmarshalText(b) != nil || back != task {
			t.Error(cmp.Diff(task, back))
		}
	}
}
