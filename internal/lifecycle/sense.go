package lifecycle

import (
	"fmt"
	"time"

	"github.com/dreyhq/drey"
)

// Happening is what the owner senses; which event it dispatches for it depends
// on the state (EventFor).
type Happening uint8

// The happenings, the rows of §6.2.
const (
	ActivityBegan  Happening = iota
	LeaseRefreshed           // a lease with active: true; in WAKE coalesced like activity
	WakeAsked                // wake.signal was consumed, or somebody asked for it
	IdleForDrowsy            // idle for Policy.DrowsyAfter
	IdleForSleep             // idle for Policy.SleepAfter, or a block on eligibility ended
	CycleClean               // a cycle is clean, or a condition of hibernating changed
	ProcessStarted
)

// dispatched is the table of §6.2.
var dispatched = [...][4]EventName{
	ActivityBegan:  {HeartbeatRefresh, RequestArrived, RequestArrived, RequestArrived},
	LeaseRefreshed: {HeartbeatRefresh, HeartbeatRefresh, NoEvent, NoEvent},
	WakeAsked:      {WakeSignal, RequestArrived, RequestArrived, WakeSignal},
	IdleForDrowsy:  {Wake: Idle5Min, Hibernation: NoEvent},
	IdleForSleep:   {Drowsy: Idle30Min, Hibernation: NoEvent},
	CycleClean:     {Sleep: SleepCycleDone, Hibernation: NoEvent},
	ProcessStarted: {Hibernation: WakeSignal},
}

// EventFor returns the event to dispatch when h happens in s; NoEvent for
// nothing.
func EventFor(s State, h Happening) EventName {
	if int(h) >= len(dispatched) || int(s) >= len(dispatched[h]) {
		return NoEvent
	}
	return dispatched[h][s]
}

// Facts are what the owner knows beyond the record at one instant. Its times
// may carry monotonic readings and should where the owner has taken them
// itself, so that a stepped wall clock does not move them.
type Facts struct {
	Now       time.Time
	StartedAt time.Time // of this process
	// FirstStart is when the home's first daemon started, as the store tells
	// it; zero = StartedAt. It is where the age of a cycle counts from as long
	// as there was none.
	FirstStart time.Time

	InFlight int       // activities that have begun and not ended
	Baseline time.Time // end of the last activity; see Baseline
	// Unrecorded: there was activity since the last dispatch that recorded
	// some. RecordedAt is when that was; zero = never in this process.
	Unrecorded bool
	RecordedAt time.Time

	Running  bool      // a cycle runs
	FailedAt time.Time // when a step of the cycle failed last; zero = not in this process
	EndedAt  time.Time // when this process completed a cycle last; zero = never

	NextTimer   time.Time // the next durable timer; zero = none
	Alarm       bool      // the owner of the listeners has an alarm and will start us for NextTimer
	ActiveLease bool      // a fresh lease says active: true
	Signal      bool      // a wake.signal lies there
	// Blocks is why the process may not hibernate, of what only the daemon
	// knows: §7.4 a, b and e.
	Blocks []Block
}

// Baseline returns from when on a process that starts now is idle: now minus
// the age of the record's last activity, which a time in the future makes 0.
// So a restart neither resets idleness nor invents it. The result counts on
// now's monotonic clock.
func Baseline(r Record, now time.Time) time.Time {
	return now.Add(-max(now.Sub(r.LastActivity), 0))
}

// Idle returns for how long nothing has been in flight: 0 while something is.
func (f *Facts) Idle() time.Duration {
	if f.InFlight > 0 {
		return 0
	}
	return max(-f.until(f.Baseline), 0)
}

// until returns the time from now to t: by the monotonic clock where t has a
// reading of it, else by the wall clock. Instants of the two kinds are only
// ever compared as such spans; after a step of the wall clock, comparing the
// instants themselves would find a long wait in what is due, and the reverse.
func (f *Facts) until(t time.Time) time.Duration { return t.Sub(f.Now) }

// Block is one reason against an event. Text is for a person.
type Block struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// The codes of the blocks. The daemon's own are here too, so that one list
// holds them all.
const (
	BlockInFlight   = "in_flight"
	BlockNotIdle    = "not_idle"
	BlockTimerSoon  = "timer_soon"
	BlockTimer      = "timer_pending"    // §7.4 d
	BlockLease      = "active_lease"     // §6.4
	BlockRunning    = "cycle_running"    // §7.4 c
	BlockQuarantine = "quarantined"      // §7.4 c
	BlockUnfinished = "cycle_unfinished" // §7.4 c
	BlockNotClean   = "cycle_not_clean"  // §7.4 c
	BlockSignal     = "wake_signal"      // §7.4 f
	BlockHeldBack   = "held_back"        // §7.4 g
	BlockNoOwner    = "no_owner"         // §7.4 a: nobody would wake us
	BlockOwnerLost  = "owner_lost"       // §7.4 a: the waker died
	BlockNever      = "never"            // §7.4 b
	BlockChild      = "child_process"    // §7.4 e
	BlockSession    = "mcp_session"      // §7.4 e
)

// Eligible returns what keeps idle_30min from leading to SLEEP; nothing means
// that Guards.SleepEligible is true (§6.4).
func Eligible(f Facts, p Policy) []Block {
	out := idleBlocks(f, p.SleepAfter)
	if !f.NextTimer.IsZero() && f.until(f.NextTimer) <= timerSoon {
		out = append(out, Block{BlockTimerSoon, "a timer is due at " + drey.FormatTime(f.NextTimer)})
	}
	return out
}

// StillIdle returns what keeps sleep_cycle_done from leading to HIBERNATION;
// nothing means that Guards.StillIdle is true (§6.4, §7.4). In a shadow run
// nothing exits, so nobody must be there to wake us.
func StillIdle(r Record, f Facts, p Policy) []Block {
	out := idleBlocks(f, p.HibernateAfter)
	add := func(is bool, code, text string) {
		if is {
			out = append(out, Block{code, text})
		}
	}
	add(f.ActiveLease, BlockLease, "a client says that it is at work")
	add(f.Running, BlockRunning, "the sleep cycle runs")
	if q := r.Quarantine; q != nil {
		add(true, BlockQuarantine, "the sleep cycle is quarantined until "+q.Until+": "+q.Reason)
	}
	if pr := r.Progress; pr != nil && !f.Running {
		add(true, BlockUnfinished, fmt.Sprintf("the sleep cycle has come to step %d and is not complete", pr.LastCompletedStep))
	}
	add(!Clean(r), BlockNotClean, "no sleep cycle has completed since the last activity")
	if !f.NextTimer.IsZero() && !f.Alarm {
		add(true, BlockTimer, "a timer is due at "+drey.FormatTime(f.NextTimer)+", and no one would wake us for it")
	}
	add(f.Signal, BlockSignal, "a wake.signal lies there")
	if until := HeldUntil(r, f); f.until(until) > 0 {
		add(true, BlockHeldBack, fmt.Sprintf("woken %d times without work; held back until %s", r.WorklessWakes, drey.FormatTime(until)))
	}
	for _, b := range f.Blocks {
		if p.ShadowRun && (b.Code == BlockNoOwner || b.Code == BlockOwnerLost) {
			continue
		}
		out = append(out, b)
	}
	return out
}

func idleBlocks(f Facts, need time.Duration) []Block {
	switch idle := f.Idle(); {
	case f.InFlight > 0:
		return []Block{{BlockInFlight, fmt.Sprintf("%d in flight", f.InFlight)}}
	case idle < need:
		return []Block{{BlockNotIdle, fmt.Sprintf("idle for %s of %s", drey.Duration(idle.Truncate(time.Second)), drey.Duration(need))}}
	}
	return nil
}
