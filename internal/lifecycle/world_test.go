package lifecycle

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world is an owner without a daemon: it follows Next on two clocks, one that
// runs and one that is stepped, and plays the steps of the cycle.
type world struct {
	t    *rapid.T
	r    Record
	p    Policy
	mono time.Duration // since the world began
	step time.Duration // by which the wall clock is off

	started, baseline           time.Duration
	recorded, failed, completed *time.Duration
	unrecorded                  bool
	inFlight                    int
	never                       bool // it must not hibernate
	broken                      int  // the step that fails; 0 = none
	gives                       bool // the next step gives way
	gone                        bool // hibernated
	cycles, tasks, spins        int
	lastSpin, stepped           time.Duration
}

func newWorld(t *rapid.T, r Record) *world {
	w := &world{t: t, r: r, p: DefaultPolicy(), never: rapid.Bool().Draw(t, "never hibernates"), lastSpin: -1}
	w.boot()
	return w
}

func (w *world) wall() time.Time              { return t0.Add(w.step + w.mono) }
func (w *world) at(m time.Duration) time.Time { return w.wall().Add(m - w.mono) }
func (w *world) opt(m *time.Duration) (t time.Time) {
	if m != nil {
		t = w.at(*m)
	}
	return t
}

func (w *world) now() *time.Duration { m := w.mono; return &m }

func (w *world) facts() Facts {
	f := Facts{
		Now: w.wall(), StartedAt: w.at(w.started), InFlight: w.inFlight, Baseline: w.at(w.baseline),
		Unrecorded: w.unrecorded, RecordedAt: w.opt(w.recorded), FailedAt: w.opt(w.failed), EndedAt: w.opt(w.completed),
	}
	if w.never {
		f.Blocks = []Block{{BlockNever, "never"}}
	}
	return f
}

// boot starts a process on what the last one has written.
func (w *world) boot() {
	b, err := w.r.Encode()
	if err != nil {
		w.t.Fatalf("cannot be saved: %v", err)
	}
	if w.r, err = Decode(b, w.wall()); err != nil {
		w.t.Fatalf("cannot be loaded: %v", err)
	}
	w.started, w.recorded, w.failed, w.completed, w.unrecorded, w.inFlight, w.gone = w.mono, nil, nil, nil, false, 0, false
	if w.r.State == Hibernation {
		w.r = CountWake(w.r)
	}
	if ev, ok := Boot(w.r, w.wall(), false, true); ok {
		w.dispatch(ev)
	}
	if w.r.State == Hibernation {
		w.t.Fatal("a running process hibernates")
	}
	w.baseline = w.mono - w.wall().Sub(Baseline(w.r, w.wall()))
}

func (w *world) dispatch(ev Event) {
	r, effects := Step(w.r, ev, w.p)
	w.r = r
	for _, e := range effects {
		if _, ok := e.(Hibernate); ok {
			w.gone = true
		}
	}
}

// work is an activity of some length.
func (w *world) work(d time.Duration) {
	if w.gone {
		w.boot()
	}
	w.inFlight++
	w.r, _ = Worked(w.r)
	if w.r.State == Wake {
		w.unrecorded = true
	} else {
		w.dispatch(Event{Name: EventFor(w.r.State, ActivityBegan), At: w.wall()})
	}
	if w.r.State != Wake {
		w.t.Fatalf("work finds %s", w.r.State)
	}
	w.run(d)
	w.inFlight--
	w.baseline, w.unrecorded = w.mono, true
}

// run lets so much time pass and does what is due in it.
func (w *world) run(d time.Duration) {
	end := w.mono + d
	for !w.gone {
		due, ok := Next(w.r, w.facts(), w.p)
		wait := due.At.Sub(w.wall())
		if !ok || w.mono+wait > end {
			break
		}
		w.mono += max(wait, 0)
		if w.mono != w.lastSpin {
			w.lastSpin, w.spins = w.mono, 0
		}
		if w.spins++; w.spins > 8 {
			w.t.Fatalf("%s spins in %s: %+v", due.Name(), w.r.State, w.r)
		}
		w.tasks++
		w.do(due)
	}
	w.mono = max(w.mono, end)
}

func (w *world) do(due Due) {
	switch due.Task {
	case RecordWork:
		at := w.at(w.baseline)
		if w.inFlight > 0 {
			at = w.wall()
		}
		w.unrecorded, w.recorded = false, w.now()
		w.dispatch(Event{Name: HeartbeatRefresh, At: at})
	case LiftTask:
		w.r, _ = Recheck(w.r, w.wall(), w.p)
	case Dispatch:
		from := w.r.State
		if from == Sleep && len(StillIdle(w.r, w.facts(), w.p)) != 0 || from == Drowsy && len(Eligible(w.facts(), w.p)) != 0 {
			w.t.Fatalf("%s in %s, and something speaks against it", due.Event, from)
		}
		if w.unrecorded {
			w.t.Fatalf("%s before the last work is recorded", due.Event)
		}
		w.dispatch(Event{Name: due.Event, At: w.wall(), Guards: due.Guards})
		if w.r.State == from {
			w.t.Fatalf("%s in %s does nothing", due.Event, from)
		}
	case BeginCycle, BeginQuiet, BeginSliced:
		w.cycle(due.Task)
	}
}

// cycle runs a cycle as far as it goes.
func (w *world) cycle(task Task) {
	mode := ModeSleep
	if task != BeginCycle {
		mode = ModeBackstop
	}
	attempt := 0
	if w.r.Progress != nil {
		attempt = w.r.Progress.Attempt
	}
	since := w.started
	if w.failed != nil {
		since = *w.failed
	}
	switch {
	case w.r.Quarantine != nil:
		w.t.Fatal("runs in quarantine")
	case (mode == ModeSleep) != (w.r.State == Sleep):
		w.t.Fatalf("%s in %s", task, w.r.State)
	case w.inFlight > 0 && task != BeginSliced:
		w.t.Fatalf("%s while something is in flight", task)
	case w.mono-w.started < w.p.BootGrace:
		w.t.Fatal("runs within the grace of the boot")
	case attempt > 0 && w.mono-since < RetryDelay(attempt):
		w.t.Fatalf("try %d after %s", attempt+1, w.mono-since)
	case Clean(w.r) && w.r.Progress == nil && w.completed != nil && w.stepped < *w.completed && w.mono-*w.completed < 24*time.Hour:
		w.t.Fatalf("%s %s after a clean one", task, w.mono-*w.completed)
	}
	r, run, _ := StartCycle(w.r, w.wall(), mode, plan)
	w.r = r
	for {
		w.mono += time.Second
		if w.gives {
			w.gives = false
			w.r, _ = StepDeferred(w.r, run, w.wall(), 3, "activity")
			w.baseline, w.unrecorded = w.mono, w.r.State == Wake
			if w.r.State != Wake {
				w.dispatch(Event{Name: EventFor(w.r.State, ActivityBegan), At: w.wall()})
			}
			return
		}
		if run.Step.Number == w.broken {
			w.r, _ = StepFailed(w.r, run, w.wall(), time.Second, "broken", w.p)
			w.failed = w.now()
			return
		}
		var complete bool
		if w.r, run, complete, _ = StepDone(w.r, run, w.wall(), Outcome{Took: time.Second}); complete {
			w.cycles++
			w.completed = w.now()
			return
		}
	}
}

// TestCycleNeverStormsNeverSticks plays any life from any record, then heals
// the world and wants a clean cycle, and after it one each 24 h and no more.
func TestCycleNeverStormsNeverSticks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, drawRecord(t))
		span := rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.SampledFrom([]int{1, 40, 400, 2000, 9000, 90000}).Draw(t, "about")+rapid.IntRange(0, 60).Draw(t, "and")) * time.Second
		})
		for range rapid.IntRange(0, 30).Draw(t, "ops") {
			switch rapid.IntRange(0, 7).Draw(t, "op") {
			case 0, 1:
				w.run(span.Draw(t, "time"))
			case 2, 3:
				w.work(span.Draw(t, "work"))
			case 4:
				w.broken = rapid.IntRange(0, 6).Draw(t, "broken step")
			case 5:
				w.step += time.Duration(rapid.IntRange(-72, 72).Draw(t, "hours")) * time.Hour
				w.stepped = w.mono
			case 6:
				w.boot()
			case 7:
				w.gives = true
			}
		}
		w.broken, w.gives = 0, false
		if w.gone {
			w.boot()
		}
		before := w.tasks
		for waited := time.Duration(0); !(Clean(w.r) && w.r.Progress == nil); waited += time.Hour {
			if waited > 26*time.Hour { // a quarantine, the way to SLEEP and a retry
				t.Fatalf("no clean cycle within %s in %s: %+v %+v", waited, w.r.State, w.r.Progress, w.r.Quarantine)
			}
			w.run(time.Hour)
		}
		if n := w.tasks - before; n > 20 {
			t.Fatalf("%d tasks to a clean cycle", n)
		}
		if w.gone {
			w.boot()
		}
		w.never = true
		w.run(25 * time.Hour)
		w.cycles, w.tasks, before = 0, 0, 0
		w.run(240 * time.Hour)
		if w.cycles < 9 || w.cycles > 11 || w.tasks > 20 {
			t.Fatalf("%d cycles and %d tasks in ten idle days", w.cycles, w.tasks)
		}
	})
}

// TestBusyForThreeDays: a client that calls every four minutes for 72 h has
// its cycles all the same (§6.7), and one that never stops calling too.
func TestBusyForThreeDays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, Default(t0))
		pause := rapid.SampledFrom([]time.Duration{0, 500 * time.Millisecond, 4 * time.Minute}).Draw(t, "pause")
		w.never = true
		last := time.Duration(0)
		for w.mono < 72*time.Hour {
			n := w.cycles
			w.work(5 * time.Minute)
			w.run(pause)
			if w.cycles > n {
				last = w.mono
			}
			if w.mono-last > 48*time.Hour {
				t.Fatalf("no cycle since %s with pauses of %s", last, pause)
			}
		}
		if w.cycles < 1 || w.cycles > 2 || w.r.State != Wake { // one each 36 h, or 44
			t.Fatalf("%d cycles, %s", w.cycles, w.r.State)
		}
	})
}
