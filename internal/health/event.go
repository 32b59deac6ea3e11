package health

import (
	"time"

	"github.com/dreyhq/drey"
)

// Meta is what every event carries.
type Meta struct {
	At        time.Time      // when it happened; the only clock a machine has
	Cause     drey.Seq       // the journaled event that caused it; 0 = none
	RequestID drey.RequestID // the request that caused it; "" = none
	Profile   drey.ProfileID // the profile of that request; "" = none
	Rand      float64        // 0 ≤ Rand < 1, fresh for each event: jitter and spread
}

// An Event is something that happened to a provider. Its names are those of
// the table in the healing contract §4.
type Event interface{ isEvent() }

// AttemptStarted: an attempt left for the provider, which nobody had to grant.
// For a managed process it happens after the grant, not while waiting for it.
type AttemptStarted struct {
	Meta
	Token Token
}

// Ask says what an attempt asks for that changes state.
type Ask uint8

// What may be asked.
const (
	AskSlot  Ask = iota // a place under the ramp or the concurrency limit
	AskTrial            // the open trial of row 10
	AskPanic            // the panic trial: no other provider is left
)

var askNames = [...]string{"slot", "trial", "panic"}

// String returns the name.
func (a Ask) String() string { return drey.NameOf(askNames[:], a, "ask") }

// AttemptAsked: a request asks for what changes state. It is answered by one
// Grant, upon which the attempt has begun, or one Refuse.
type AttemptAsked struct {
	Meta
	Token Token
	For   Ask
}

// AttemptEnded: an attempt is over. Neither OK nor Counted means that it proves
// nothing (cancel, caller, auth, rate_limit, loading).
type AttemptEnded struct {
	Meta
	Token Token
	// OK: the answer ended properly (the healing contract §3), whatever its quality: an
	// empty but complete one is OK too. The first byte is not.
	OK bool
	// Counted: a failure that counts against health, by its class and by the
	// profile's action (none counts under "off").
	Counted    bool
	Class      drey.Class    // of a failure
	Latency    time.Duration // of the whole attempt; reported of a trial
	Error      string        // of a failure, one line; reported of a trial
	Park       Park          // whether the failure parks the provider (the gateway contract §6)
	RetryAfter time.Duration // how long the provider asked to be left alone; 0 = not said
}

// ProbeEnded: the probe that StartProbe started is over.
type ProbeEnded struct {
	Meta
	N       uint64 // of StartProbe
	OK      bool
	Class   drey.Class    // of a failure; loading and rate_limit leave the interval alone
	Depth   Depth         // the rung that it ended on
	Latency time.Duration // of the whole probe
	Error   string        // one line; "" if OK
}

// RestartEnded: the command that RunRestart started is over. Of a managed
// process the end is ProcessReady or ProcessLooped.
type RestartEnded struct {
	Meta
	N        uint64 // of RunRestart
	OK       bool   // exit 0
	Error    string // one line; "" if OK
	Duration time.Duration
}

// ProcessReady: the managed process answers. It is also the start of a new
// epoch: what an earlier process did is nothing to this one.
type ProcessReady struct{ Meta }

// ProcessExited: the managed process ended and nobody asked it to. Its group
// starts it again.
type ProcessExited struct{ Meta }

// ProcessLooped: the group has given the process up for now (CRASHLOOP), or a
// person has stopped it on its way up.
type ProcessLooped struct {
	Meta
	Error string // one line
}

// ProcessUnloaded: the process, or the model in a backend that is not ours, is
// out of memory on purpose: idle, swapped or stopped.
type ProcessUnloaded struct{ Meta }

// Tick: the time of ArmTimer has come. An early or a second one does no harm.
type Tick struct{ Meta }

// OperatorExclude: a person takes the provider out.
type OperatorExclude struct {
	Meta
	For    time.Duration // until it comes back by itself; 0 = until restored
	Reason string        // the person's words; may be empty
}

// OperatorDrain: a person takes the provider out and wants to know when its
// last answer is over.
type OperatorDrain struct {
	Meta
	Timeout time.Duration // then what is left is cancelled; 0 = at once
	Reason  string
}

// OperatorRestore: a person takes the provider back in.
type OperatorRestore struct {
	Meta
	Reason string
}

// OperatorRestart: a person wants the backend restarted. The cap of the healing contract
// §6 does not bind a person; a restart that runs already does.
type OperatorRestart struct {
	Meta
	Reason string
}

// OperatorProbe: the probe that a person asked for has ended. Good news is
// believed, bad news changes nothing.
type OperatorProbe struct {
	Meta
	OK      bool
	Depth   Depth
	Latency time.Duration
	Reason  string
}

// PolicyChanged: the Policy handed in with this event is another than before.
type PolicyChanged struct {
	Meta
	Gone     bool // the provider left the configuration: the machine is ended
	Replaced bool // its url, model or wire differ: what was known is of another backend
}

// Loaded: the daemon has started, and this is what was persisted; the zero
// Record if nothing was. It is the first event of a machine: over a live one
// it does nothing.
type Loaded struct {
	Meta
	Record Record
}

// ShutdownBegan: the daemon stops. Results still count, nothing new starts.
type ShutdownBegan struct{ Meta }

// Resumed: ShutdownBegan was called off. It is the daemon's HIBERNATION that is
// called off at its door; to a machine that was not shut down it is nothing.
type Resumed struct{ Meta }

func (AttemptStarted) isEvent()  {}
func (AttemptAsked) isEvent()    {}
func (AttemptEnded) isEvent()    {}
func (ProbeEnded) isEvent()      {}
func (RestartEnded) isEvent()    {}
func (ProcessReady) isEvent()    {}
func (ProcessExited) isEvent()   {}
func (ProcessLooped) isEvent()   {}
func (ProcessUnloaded) isEvent() {}
func (Tick) isEvent()            {}
func (OperatorExclude) isEvent() {}
func (OperatorDrain) isEvent()   {}
func (OperatorRestore) isEvent() {}
func (OperatorRestart) isEvent() {}
func (OperatorProbe) isEvent()   {}
func (PolicyChanged) isEvent()   {}
func (Loaded) isEvent()          {}
func (ShutdownBegan) isEvent()   {}
func (Resumed) isEvent()         {}

// An Effect is something that the shell is asked to do, in the order given.
// All Emit and Persist effects of one Step are one commit; what else stands in
// the list follows when it is durable, except that Grant and Refuse need not
// wait for a disk.
type Effect interface{ isEffect() }

// Emit publishes an event: journal, log, metric and stream.
type Emit struct{ Event drey.Event }

// Persist writes what must survive a kill. Delete says that there is nothing
// to keep any more, and Record is zero.
type Persist struct {
	Record Record
	Delete bool
}

// RunRestart runs the provider's restart command, or has its group restart the
// managed process (RestartAsked). The answer is RestartEnded, or ProcessReady
// or ProcessLooped.
type RunRestart struct {
	N      uint64
	Reason string // DREY_REASON of the command: why the provider is out
}

// CancelRestart kills the restart command that runs; nobody waits for its end.
// Of a managed process the group decides (GroupChanged).
type CancelRestart struct{ N uint64 }

// StartProbe starts a recovery probe. The answer is ProbeEnded with the N.
type StartProbe struct {
	N     uint64
	Depth Depth
}

// CancelProbe ends the probe that runs; its result would be ignored.
type CancelProbe struct{ N uint64 }

// OpenTrial tells that the next request which would have used the provider may
// ask for it (AskTrial).
type OpenTrial struct{}

// Grant lets an attempt begin, which asked by AttemptAsked or by Want.
type Grant struct {
	Token Token
	For   Ask
}

// Refuse turns an attempt away; Reason is the word of provider-skipped.
type Refuse struct {
	Token  Token
	For    Ask
	Reason string
}

// CancelAttempts ends the attempts under way with an in-band error (class
// cancel): the drain's time is over.
type CancelAttempts struct{}

// LateResult counts one result that came too late or twice
// (drey_provider_late_results_total).
type LateResult struct{ Token Token }

// ArmTimer sends a Tick (GroupTick of a Group) at At, or at once if that is
// past. Each machine has one timer; arming it again replaces the time.
type ArmTimer struct{ At time.Time }

// CancelTimer stops the timer.
type CancelTimer struct{}

func (Emit) isEffect()           {}
func (Persist) isEffect()        {}
func (RunRestart) isEffect()     {}
func (CancelRestart) isEffect()  {}
func (StartProbe) isEffect()     {}
func (CancelProbe) isEffect()    {}
func (OpenTrial) isEffect()      {}
func (Grant) isEffect()          {}
func (Refuse) isEffect()         {}
func (CancelAttempts) isEffect() {}
func (LateResult) isEffect()     {}
func (ArmTimer) isEffect()       {}
func (CancelTimer) isEffect()    {}
