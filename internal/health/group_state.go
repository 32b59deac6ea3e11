package health

import (
	"time"

	"github.com/dreyhq/drey"
)

// ProcState says how far a managed process is.
type ProcState uint8

// The states of a process. The zero value is Stopped. After a restart of the
// daemon every process is Stopped: it was stopped with the daemon, or the
// shell has killed what was left of it before the first event.
const (
	Stopped   ProcState = iota // no process; the next Want starts it
	Starting                   // Start was emitted; not ready yet
	Ready                      // answers; the only state in which a Grant is given
	Stopping                   // Stop was emitted; the group of processes is not gone yet
	Settling                   // gone; its memory may not be free yet
	Backoff                    // ended unasked; starts again at RetryAt
	CrashLoop                  // ended unasked too often; one further start at RetryAt
)

var procStateNames = [...]string{"STOPPED", "STARTING", "READY", "STOPPING", "SETTLING", "BACKOFF", "CRASHLOOP"}

// String returns the state's name in events, views and metrics.
func (s ProcState) String() string { return drey.NameOf(procStateNames[:], s, "process state") }

// MarshalText writes the state's name.
func (s ProcState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *ProcState) UnmarshalText(b []byte) error {
	return drey.ParseName(procStateNames[:], s, b, "process state")
}

// resident reports whether a process in this state holds the group's memory.
func (s ProcState) resident() bool {
	return s == Starting || s == Ready || s == Stopping || s == Settling
}

// Group is the machine of one process group: the processes that compete for
// the same memory. One owner decides start, stop, swap and enqueue, so that no
// interleaving loses a request. The zero value is a group whose processes are
// all stopped. It is a value; GroupStep never changes what it was given.
type Group struct {
	Members []Member // in the order of GroupPolicy.Members; then what left it and still runs
	Closed  bool     // GroupShutdown came: nothing starts any more
	timer   time.Time
}

// Member is one managed process.
type Member struct {
	Provider drey.ProviderID
	State    ProcState
	Run      uint64 // the number of the last start; events of an older one mean nothing

	Waiters []Waiter // requests in the order of their arrival
	Uses    []uint64 // granted requests that have not ended, by Token.N
	// WantedAt is since when it shall run without a request: an eager start, a
	// person's, or another try after an exit. Zero = only requests count.
	WantedAt time.Time

	PID       int        // of the process that runs; 0 = not known
	StartedAt time.Time  // of the Start
	ReadyAt   time.Time  // READY since
	UsedAt    time.Time  // the end of the last use, or ReadyAt: ttl counts from here
	GoneAt    time.Time  // since when its last process is gone
	Yield     StopReason // why it takes no new requests; NoStop = it does
	Asked     StopReason // stopping: why

	RetryAt time.Time   // BACKOFF and CRASHLOOP: when it starts again
	Fails   int         // unasked exits since the last reset: doubles the backoff
	Exits   []time.Time // unasked exits, oldest first, as far back as backoff.within
	Looping bool        // CRASHLOOP, or in its one further start: the next exit loops again
	Gone    bool        // left the configuration: it is not started again
}

// Waiter is a request that waits for READY.
type Waiter struct {
	Token Token
	At    time.Time // since when
}

// StopReason says why a process is stopped; the reason of process-unloaded.
type StopReason uint8

// The reasons. As a Yield it means: no new grants, and Stop when the answers
// under way have ended.
const (
	NoStop       StopReason = iota
	StopIdle                // ttl
	StopSwap                // another member's turn
	StopOperator            // a person, or a restart
	StopMemory              // out of memory in an answer
	StopPolicy              // it left the configuration, or has another process there
	StopShutdown            // the daemon stops or hibernates
)

var stopReasonNames = [...]string{"", "idle", "swap", "operator", "oom", "policy", "shutdown"}

// String returns the name.
func (r StopReason) String() string { return drey.NameOf(stopReasonNames[:], r, "stop reason") }

// GroupMeta is what every event of a group carries.
type GroupMeta struct {
	At        time.Time
	Cause     drey.Seq
	RequestID drey.RequestID
}

// A GroupEvent is something that happened to a process group.
type GroupEvent interface{ isGroupEvent() }

// GroupOpened: the daemon is up; eager members may start.
type GroupOpened struct{ GroupMeta }

// Want: a request needs the process. Each Want is answered by one Grant or one
// Refuse, unless it is Cancelled first. Token.N is never used twice.
type Want struct {
	GroupMeta
	Token Token // its Provider is the process that is wanted
	// NoWait: the request does not wait. It starts the process if nobody has,
	// and goes elsewhere unless that is READY.
	NoWait bool
}

// Cancelled: the request does not want any more, granted or not.
type Cancelled struct {
	GroupMeta
	Token Token
}

// Ended: the answer that was granted is over. The ttl counts from here.
type Ended struct {
	GroupMeta
	Token Token
}

// Started: the operating system has the process. It is for the record only.
type Started struct {
	GroupMeta
	Provider  drey.ProviderID
	Run       uint64
	PID, Port int
}

// BecameReady: the process answered its readiness check.
type BecameReady struct {
	GroupMeta
	Provider drey.ProviderID
	Run      uint64
}

// Exited: the process and all it started are gone. Unasked it counts as a
// crash; after a Stop it is the stop's end, and Stopped says the same.
type Exited struct {
	GroupMeta
	Provider drey.ProviderID
	Run      uint64
	Code     int    // exit code; -1 if a signal ended it
	Signal   string // "" if none did
	OOM      bool   // out of memory
}

// ProcStopped: after a Stop the whole group of processes is gone.
type ProcStopped struct {
	GroupMeta
	Provider drey.ProviderID
	Run      uint64
}

// StartFailed: the process could not be started, or missed ready.timeout and
// was killed. It counts as an exit.
type StartFailed struct {
	GroupMeta
	Provider drey.ProviderID
	Run      uint64
	OOM      bool
}

// RanOutOfMemory: an answer failed for memory (class resource). The process is
// stopped and started again with backoff.
type RanOutOfMemory struct {
	GroupMeta
	Provider drey.ProviderID
	Run      uint64
}

// GroupTick: the time of ArmTimer has come.
type GroupTick struct{ GroupMeta }

// StartAsked: a person wants it to run. It also ends a CRASHLOOP.
type StartAsked struct {
	GroupMeta
	Provider drey.ProviderID
}

// StopAsked: a person wants its memory back. Answers under way may end; who
// waits is refused. The next Want starts it again.
type StopAsked struct {
	GroupMeta
	Provider drey.ProviderID
}

// RestartAsked: RunRestart, or a person. Answers have had their drain; what is
// still under way is cut. Who waits goes on waiting.
type RestartAsked struct {
	GroupMeta
	Provider drey.ProviderID
}

// Replaced: the configuration has another process for the provider now (its
// command, its model). The old one ends as soon as its answers have, and the
// next request, or one that waits already, gets the new one.
type Replaced struct {
	GroupMeta
	Provider drey.ProviderID
}

// GroupChanged: the GroupPolicy handed in with this event is another one.
type GroupChanged struct{ GroupMeta }

// GroupShutdown: the daemon stops or hibernates. Waiters are refused and all
// processes stop with their grace.
type GroupShutdown struct{ GroupMeta }

// GroupResumed: GroupShutdown was called off. Processes start again when they
// are wanted.
type GroupResumed struct{ GroupMeta }

func (GroupOpened) isGroupEvent()    {}
func (Want) isGroupEvent()           {}
func (Cancelled) isGroupEvent()      {}
func (Ended) isGroupEvent()          {}
func (Started) isGroupEvent()        {}
func (BecameReady) isGroupEvent()    {}
func (Exited) isGroupEvent()         {}
func (ProcStopped) isGroupEvent()    {}
func (StartFailed) isGroupEvent()    {}
func (RanOutOfMemory) isGroupEvent() {}
func (GroupTick) isGroupEvent()      {}
func (GroupResumed) isGroupEvent()   {}
func (Replaced) isGroupEvent()       {}
func (StartAsked) isGroupEvent()     {}
func (StopAsked) isGroupEvent()      {}
func (RestartAsked) isGroupEvent()   {}
func (GroupChanged) isGroupEvent()   {}
func (GroupShutdown) isGroupEvent()  {}

// Besides Emit, Grant, Refuse, ArmTimer and CancelTimer a group asks for these.

// Start starts the process. The answers are Started, then BecameReady, or
// StartFailed or Exited, each with the Run.
type Start struct {
	Provider drey.ProviderID
	Run      uint64
}

// Stop ends the process with its grace. The answer is ProcStopped.
type Stop struct {
	Provider drey.ProviderID
	Run      uint64
	Reason   StopReason
}

// Tell hands an event to the provider's Machine, in this order with all else
// that the owner does.
type Tell struct {
	Provider drey.ProviderID
	Event    Event
}

func (Start) isEffect() {}
func (Stop) isEffect()  {}
func (Tell) isEffect()  {}

// member returns the member of a provider; nil if there is none.
func (g *Group) member(id drey.ProviderID) *Member {
	for i := range g.Members {
		if g.Members[i].Provider == id {
			return &g.Members[i]
		}
	}
	return nil
}

// oldest returns since when somebody waits for the member; zero = nobody does.
func (m *Member) oldest() time.Time {
	t := m.WantedAt
	if len(m.Waiters) > 0 && (t.IsZero() || m.Waiters[0].At.Before(t)) {
		t = m.Waiters[0].At
	}
	return t
}
