package operation

import (
	"time"

	"github.com/dreyhq/drey"
)

// Meta is what every event carries.
type Meta struct {
	ID    ID        // the operation that is called; of a Register the Spec's
	At    time.Time // when it happened: the only clock a machine has
	Epoch uint64    // the process's; journaled with the row
	// Handle is the epoch in which the caller was given the operation, for
	// work that may outlive the process; 0 = it is not such work. The result
	// of another epoch's work is refused.
	Handle uint64
	Cause  drey.Seq // the journaled event that caused the call; 0 = none
	// RequestID makes a call repeatable: a second one with it and the same
	// payload is answered as the first was. "" = an ordinary call.
	RequestID drey.RequestID // at most MaxRequestID bytes

	digest digest // of a call that comes back from the journal; zero = to be computed
}

// An Event is a call on one operation, by the name that it has in the table of
// §2. Events are values, and what they refer to is not changed once they are
// handed in.
type Event interface {
	action() Action
	meta() Meta
	payload() any // what tells one call of the action from another, for JSON
}

// Register: the operation begins (register_operation).
type Register struct {
	Meta
	Registry RegistryID
	Spec     Spec
	// Active is how many live operations the registry has, and Fenced says
	// that the owner has been retired: the registry's facts, as of the
	// decision.
	Active int
	Fenced bool
}

// Provisioned: the child is made (provisioning_succeeded).
type Provisioned struct{ Meta }

// ProvisioningFailed: the child could not be made (provisioning_failed).
type ProvisioningFailed struct {
	Meta
	Error string
}

// AbortProvisioning: the child shall not be made after all
// (abort_provisioning).
type AbortProvisioning struct {
	Meta
	Reason string // may be empty
}

// PeerBecameReady: the child can be reached as a peer (peer_ready).
type PeerBecameReady struct {
	Meta
	Handle PeerHandle
}

// ReportProgress: the child says how far it is (report_progress).
type ReportProgress struct {
	Meta
	Update ProgressUpdate
}

// Complete: the child has delivered (complete_operation).
type Complete struct {
	Meta
	Result Result
}

// Fail: the child cannot go on (fail_operation).
type Fail struct {
	Meta
	Error string
}

// Cancel: somebody does not want it any more (cancel_operation).
type Cancel struct {
	Meta
	Reason string // may be empty
}

// RequestRetire: the disposal of the child begins (request_retire).
type RequestRetire struct{ Meta }

// MarkRetired: the child is disposed of (mark_retired).
type MarkRetired struct{ Meta }

// TerminateOwner: the operation's owner, or the whole registry, ends
// (terminate_owner). On what has ended, or never was, it does nothing.
type TerminateOwner struct {
	Meta
	Reason string
}

// AdoptOwner: the operation gets another owner (adopt_owner). On what has ended,
// or never was, or has that owner already, it does nothing.
type AdoptOwner struct {
	Meta
	Owner string
}

// RegisterWatcher: somebody wants to be told of the ending (register_watcher).
// It is no transition.
type RegisterWatcher struct{ Meta }

// Recover: the daemon has started again (recover, §8). Provisioning is aborted;
// Running is taken up again or failed, by the operation's OnRestart; Retiring
// is taken up again, or retired where no child is left; what has ended stays.
type Recover struct {
	Meta
	ChildLeft bool // of Retiring: there is still something to dispose of
}

func (m Meta) meta() Meta { return m }

func (Register) action() Action           { return ActRegister }
func (Provisioned) action() Action        { return ActProvisioned }
func (ProvisioningFailed) action() Action { return ActProvisioningFailed }
func (AbortProvisioning) action() Action  { return ActAbortProvisioning }
func (PeerBecameReady) action() Action    { return ActPeerReady }
func (ReportProgress) action() Action     { return ActReportProgress }
func (Complete) action() Action           { return ActComplete }
func (Fail) action() Action               { return ActFail }
func (Cancel) action() Action             { return ActCancel }
func (RequestRetire) action() Action      { return ActRequestRetire }
func (MarkRetired) action() Action        { return ActMarkRetired }
func (TerminateOwner) action() Action     { return ActTerminateOwner }
func (AdoptOwner) action() Action         { return ActAdoptOwner }
func (RegisterWatcher) action() Action    { return ActRegisterWatcher }
func (Recover) action() Action            { return ActRecover }

func (e Register) payload() any {
	return struct {
		Registry RegistryID
		Spec     Spec
	}{e.Registry, e.Spec}
}
func (Provisioned) payload() any          { return nil }
func (e ProvisioningFailed) payload() any { return e.Error }
func (e AbortProvisioning) payload() any  { return e.Reason }
func (e PeerBecameReady) payload() any    { return e.Handle }
func (e ReportProgress) payload() any     { return e.Update }
func (e Complete) payload() any           { return e.Result }
func (e Fail) payload() any               { return e.Error }
func (e Cancel) payload() any             { return e.Reason }
func (RequestRetire) payload() any        { return nil }
func (MarkRetired) payload() any          { return nil }
func (e TerminateOwner) payload() any     { return e.Reason }
func (e AdoptOwner) payload() any         { return e.Owner }
func (RegisterWatcher) payload() any      { return nil }
func (e Recover) payload() any            { return e.ChildLeft }
