package lifecycle

import (
	"time"

	"github.com/dreyhq/drey"
)

// Task is what is to be done at an instant.
type Task uint8

// The tasks. The zero value is none.
const (
	NoTask      Task = iota
	RecordWork       // dispatch heartbeat_refresh with At = the end of the last work, or now while some is in flight
	LiftTask         // Recheck the quarantine
	Dispatch         // dispatch Due.Event with Due.Guards
	BeginCycle       // begin a cycle, ModeSleep
	BeginQuiet       // begin a cycle, ModeBackstop, which gives way to work
	BeginSliced      // begin a cycle, ModeBackstop, in slices beside the work
)

var taskNames = [...]string{"none", "activity_flush", "quarantine_lift", "dispatch", "sleep_cycle", "backstop_cycle", "backstop_cycle_sliced"}

// String returns the task's name in views.
func (t Task) String() string { return drey.NameOf(taskNames[:], t, "task") }

// MarshalText writes the task's name.
func (t Task) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (t *Task) UnmarshalText(b []byte) error { return drey.ParseName(taskNames[:], t, b, "task") }

// Due is the next thing to do and when.
type Due struct {
	Task   Task
	Event  EventName // of Dispatch, else NoEvent
	Guards Guards    // of Dispatch
	At     time.Time // not after Facts.Now: do it
}

// Name is what a person sees as the next event: the event's name, else the
// task's.
func (d Due) Name() string {
	if d.Task == Dispatch {
		return d.Event.String()
	}
	return d.Task.String()
}

// Next returns what is due next, and false if nothing is until something
// happens. It is all that the owner needs for its one timer: if At has come it
// does the task, else it arms the timer for At, and after each happening it
// asks again. Of what is due at the same instant the first in the order of the
// tasks is returned. A task that was done is not due again at once.
//
// A Dispatch of sleep_cycle_done is due when nothing speaks against
// HIBERNATION; the owner then closes the doors first (§7.5).
func Next(r Record, f Facts, p Policy) (Due, bool) {
	var next Due
	consider := func(d Due, ok bool) {
		if ok && (next.Task == NoTask || d.At.Before(next.At)) {
			next = d
		}
	}
	event, idle := NextEvent(r, f, p)
	if r.State == Wake && f.Unrecorded {
		wait := time.Duration(0)
		if !f.RecordedAt.IsZero() {
			wait = max(f.until(f.Baseline), f.until(f.RecordedAt)+p.ActivityFlush)
		}
		if idle { // at the latest right before an idle event
			wait = min(wait, f.until(event.At))
		}
		consider(Due{Task: RecordWork, At: f.Now.Add(wait)}, true)
	}
	if at, ok := LiftAt(r, f.Now, p); ok {
		consider(Due{Task: LiftTask, At: at}, true)
	}
	consider(event, idle)
	if r.State == Sleep {
		at, ok := CycleAt(r, f, p)
		consider(Due{Task: BeginCycle, At: at}, ok)
	} else {
		consider(Backstop(r, f, p))
	}
	return next, next.Task != NoTask
}

// NextEvent returns the machine's own next event: what happens by the passing
// of time alone as things stand. It is false while something is in flight,
// where something else than time is waited for, and in HIBERNATION.
func NextEvent(r Record, f Facts, p Policy) (Due, bool) {
	if f.InFlight > 0 {
		return Due{}, false
	}
	d := Due{Task: Dispatch}
	wait := f.until(graceEnd(f, p))
	due := func(idle time.Duration) {
		d.At = f.Now.Add(max(wait, f.until(f.Baseline)+idle))
		if d.At.After(f.Now) {
			f.Now = d.At // the guards are those of then
		}
	}
	switch r.State {
	case Wake:
		d.Event = EventFor(Wake, IdleForDrowsy)
		due(p.DrowsyAfter)
		return d, true
	case Drowsy:
		d.Event, d.Guards.SleepEligible = EventFor(Drowsy, IdleForSleep), true
		due(p.SleepAfter)
		return d, len(Eligible(f, p)) == 0
	case Sleep:
		d.Event, d.Guards.StillIdle = EventFor(Sleep, CycleClean), true
		wait = max(wait, f.until(HeldUntil(r, f)))
		due(p.HibernateAfter)
		return d, len(StillIdle(r, f, p)) == 0
	}
	return Due{}, false
}

// Backstop returns when a cycle begins outside of SLEEP because none was
// complete for long (§6.7), and false while one runs or is quarantined.
//
//  1. after 3/4 of the deadline, once nothing was in flight for a second
//     (BeginQuiet);
//  2. after 11/12 of it, if this process is up for 1/6 of it, whatever is in
//     flight (BeginSliced).
//
// A step that has failed has its RetryDelay here too, and nothing begins
// within the grace of the boot.
func Backstop(r Record, f Facts, p Policy) (Due, bool) {
	if r.State == Sleep || f.Running || r.Quarantine != nil {
		return Due{}, false
	}
	age, up := f.age(r), -f.until(f.StartedAt)
	floor := max(f.until(graceEnd(f, p)), f.until(retryAt(r, f)))
	quiet := max(floor, p.CycleDeadline/4*3-age, f.until(f.Baseline)+quietFor)
	sliced := max(floor, p.CycleDeadline/12*11-age, p.CycleDeadline/6-up)
	if f.InFlight == 0 && quiet <= max(sliced, 0) { // where nobody is in its way it need not go in slices
		return Due{Task: BeginQuiet, At: f.Now.Add(quiet)}, true
	}
	return Due{Task: BeginSliced, At: f.Now.Add(sliced)}, true
}
