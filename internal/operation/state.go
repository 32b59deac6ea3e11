// Package operation holds the machine of one operation, the record of one
// child's life: a member of a mob, or a tool that runs in the background. It
// decides which call is taken when (Step), what each refusal says (Error), what
// the journal keeps of it (Row) and how a record comes back from there
// (Replay); and, over the set of a registry's operations, which of them an owner
// takes along (owner.go), which a list shows (list.go) and which ended ones go
// (retain.go). The shell owns a registry in one goroutine, hands in the calls
// and performs what comes out.
//
// The contract is the operations contract; section numbers in comments are
// its.
package operation

import "github.com/dreyhq/drey"

// MachineName is the machine of an operation's events in the journal.
const MachineName = "operation"

// Machine is one operation. The zero value is one that does not exist yet; only
// register_operation is taken by it. It is a value: Step never changes what it
// was given, so an old Machine stays good.
//
// Its JSON is the part of a Snapshot that the machine knows itself. Times are
// milliseconds since epoch.
type Machine struct {
	Spec
	Registry RegistryID `json:"registry"`
	Status   Status     `json:"status"`
	// Version is 1 after register_operation and grows by 1 with each accepted
	// transition: it is the number of the machine's rows in the journal.
	Version int64 `json:"version"`

	PeerReady     bool       `json:"peer_ready"`           // never reset, the ending included
	Peer          PeerHandle `json:"peer_handle,omitzero"` // the first one
	ProgressCount int64      `json:"progress_count"`       // accepted updates
	Progress      Progress   `json:"progress,omitzero"`    // what they leave; zero before the first
	Outcome       Outcome    `json:"terminal_outcome,omitzero"`

	CreatedAtMS   int64 `json:"created_at_ms"`
	UpdatedAtMS   int64 `json:"updated_at_ms"`             // of the last transition; never falls
	StartedAtMS   int64 `json:"started_at_ms,omitempty"`   // 0 = it never ran
	CompletedAtMS int64 `json:"completed_at_ms,omitempty"` // 0 = it has not ended

	evicted  bool
	requests *request // the last one; see requests.go
}

// Evicted returns the machine of an operation that has ended and is not kept
// any more: it takes no call and says why. status is how it ended, Absent if
// that is not remembered.
func Evicted(id ID, status Status) Machine {
	return Machine{Spec: Spec{ID: id}, Status: status, evicted: true}
}

// Exists reports whether the operation was registered and is still kept.
func (m *Machine) Exists() bool { return m.Status != Absent && !m.evicted }

// Live reports whether the operation has begun and not ended.
func (m *Machine) Live() bool { return m.Status.Live() && !m.evicted }

// Ended reports whether the operation has ended.
func (m *Machine) Ended() bool { return m.Status.Ended() || m.evicted }

// Snapshot is one operation as the API shows it: the machine, and what only the
// registry knows around it.
type Snapshot struct {
	Machine
	LastSeq  drey.Seq `json:"last_seq"` // of the operation's last event
	Watchers int      `json:"watcher_count"`
	Waiters  int      `json:"waiter_count"`
	// Parent is the newest operation whose child is this one's owner; zero if
	// there is none.
	Parent ID `json:"parent_operation_id,omitzero"`
	// ElapsedMS is from register_operation to the ending; nil while it lives.
	ElapsedMS *int64 `json:"elapsed_ms,omitempty"`
	Archived  bool   `json:"archived,omitempty"` // ended, and not retained by its registry
}

// Around is what the registry knows of an operation besides its machine.
type Around struct {
	LastSeq           drey.Seq
	Watchers, Waiters int
	Parent            ID
	Archived          bool
}

// Snapshot returns the operation as the API shows it.
func (m Machine) Snapshot(a Around) Snapshot {
	s := Snapshot{Machine: m, LastSeq: a.LastSeq, Watchers: a.Watchers, Waiters: a.Waiters, Parent: a.Parent, Archived: a.Archived}
	if m.Ended() {
		elapsed := m.elapsedMS()
		s.ElapsedMS = &elapsed
	}
	return s
}

func (m *Machine) elapsedMS() int64 { return m.CompletedAtMS - m.CreatedAtMS }
