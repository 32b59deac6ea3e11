package operation

import (
	"strings"

	"github.com/dreyhq/drey"
)

// Kind says what an operation records the life of.
type Kind uint8

// The kinds. The zero value is none of them and never valid.
const (
	NoKind         Kind = iota
	MemberChild         // a member of a mob, that is: its session
	BackgroundTool      // a tool that runs on while its caller goes on
)

var kindNames = [...]string{"", "mob_member_child", "background_tool_op"}

// String returns the kind's name in JSON, events, metrics and filters.
func (k Kind) String() string { return drey.NameOf(kindNames[:], k, "kind") }

// MarshalText writes the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *Kind) UnmarshalText(b []byte) error { return drey.ParseName(kindNames[:], k, b, "kind") }

// Status says where in its life an operation is.
type Status uint8

// The statuses. Three are live; what follows them are the six endings, which
// nothing leaves. The zero value is a word for errors and never stored.
const (
	// Absent: there is no such operation. register_operation makes it
	// Provisioning.
	Absent Status = iota
	// Provisioning: registered, and the child is being made. Running, or one of
	// the endings failed, aborted, cancelled and terminated may follow. A
	// restart aborts it: nothing is half made after it.
	Provisioning
	// Running: the child is there. Retiring and every ending but aborted may
	// follow. A restart takes it up again or fails it, as its OnRestart says.
	Running
	// Retiring: the child is being disposed of; what it still delivers counts.
	// Every ending but aborted may follow. A restart runs the disposal again.
	Retiring

	Completed  // ended: it delivered a result
	Failed     // ended: it could not go on
	Aborted    // ended: given up while it was being made
	Cancelled  // ended: somebody asked for it
	Retired    // ended: disposed of in order
	Terminated // ended: with its owner
)

var statusNames = [...]string{
	"absent", "provisioning", "running", "retiring",
	"completed", "failed", "aborted", "cancelled", "retired", "terminated",
}

// String returns the status's name in JSON, events, metrics and filters.
func (s Status) String() string { return drey.NameOf(statusNames[:], s, "status") }

// MarshalText writes the status's name.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Status) UnmarshalText(b []byte) error { return drey.ParseName(statusNames[:], s, b, "status") }

// Live reports whether the operation has begun and not ended.
func (s Status) Live() bool { return s >= Provisioning && s <= Retiring }

// Ended reports whether the operation has ended.
func (s Status) Ended() bool { return s >= Completed && s <= Terminated }

// OnRestart says what a restart of the daemon does with a running operation.
type OnRestart uint8

// What a restart does. The zero value stands for the kind's default and is
// never stored.
const (
	ByKind OnRestart = iota // Resume for a MemberChild, FailIt for a BackgroundTool
	Resume                  // its shell takes it up again
	FailIt                  // it is lost, and its effects are unknown
)

var onRestartNames = [...]string{"", "resume", "fail"}

// String returns the name in JSON.
func (o OnRestart) String() string { return drey.NameOf(onRestartNames[:], o, "on_restart") }

// MarshalText writes the name.
func (o OnRestart) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (o *OnRestart) UnmarshalText(b []byte) error {
	return drey.ParseName(onRestartNames[:], o, b, "on_restart")
}

// Action is the name of a call, in errors, events and metrics alike.
type Action uint8

// The actions of the machine, one for each event of Step, and behind them
// those of the registry that move no single operation. The zero value is none.
const (
	NoAction Action = iota
	ActRegister
	ActProvisioned
	ActProvisioningFailed
	ActAbortProvisioning
	ActPeerReady
	ActReportProgress
	ActComplete
	ActFail
	ActCancel
	ActRequestRetire
	ActMarkRetired
	ActTerminateOwner
	ActAdoptOwner
	ActRegisterWatcher
	ActRecover

	ActRetireOwner
	ActWait
	ActGet
	ActList
)

var actionNames = [...]string{
	"", "register_operation", "provisioning_succeeded", "provisioning_failed", "abort_provisioning",
	"peer_ready", "report_progress", "complete_operation", "fail_operation", "cancel_operation",
	"request_retire", "mark_retired", "terminate_owner", "adopt_owner", "register_watcher", "recover",
	"retire_owner", "wait", "get_operation", "list_operations",
}

// String returns the action's name.
func (a Action) String() string { return drey.NameOf(actionNames[:], a, "action") }

// MarshalText writes the action's name.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *Action) UnmarshalText(b []byte) error { return drey.ParseName(actionNames[:], a, b, "action") }

// subject is how the action reads before "operation '<id>'": without the word
// twice.
func (a Action) subject() string { return strings.TrimSuffix(a.String(), "_operation") }

// RegistryID names a registry: the scope that an operation belongs to for all
// of its life.
type RegistryID string

// Fallback is the registry of members that nobody has bound to another one.
const Fallback RegistryID = "fallback"

// MobRegistry returns the registry of a mob.
func MobRegistry(mob string) RegistryID { return RegistryID("mob:" + mob) }

// SessionRegistry returns the registry of a session.
func SessionRegistry(session string) RegistryID { return RegistryID("session:" + session) }

// Kind returns "fallback", "mob" or "session", which metrics may have as a
// label, or "" for what names no registry.
func (r RegistryID) Kind() string {
	if r == Fallback {
		return string(Fallback)
	}
	if kind, id, ok := strings.Cut(string(r), ":"); ok && id != "" && (kind == "mob" || kind == "session") {
		return kind
	}
	return ""
}
