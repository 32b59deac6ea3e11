package operation

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// Why a restart ends an operation (§8).
const (
	abortedByRestart = "drey restarted while provisioning"
	lostInRestart    = "lost: drey restarted while it ran; its effects are unknown"
)

// Step returns the machine that follows machine when ev happens under p, and
// what the shell is asked to do about it, in order. It is total: a call that is
// refused returns machine as it is and one Reject; one that means nothing to it
// returns it with no effects. Step keeps and changes nothing, so any number of
// calls may run at once.
//
// The checks, in order (§2); those of Register stand at register:
//
//  1. the arguments
//  2. there is such an operation. Where there is none, or it has ended,
//     TerminateOwner, AdoptOwner and Recover do nothing, and RegisterWatcher
//     goes no further than this
//  3. the request id: a repeat, or another call under the same id
//  4. the epoch of the caller's handle
//  5. of PeerBecameReady: a peer is expected, and none is ready yet
//  6. the status: the table of §2
//
// A transition costs one allocation, a second one if the call has a request
// id.
func Step(machine Machine, ev Event, p Policy) (Machine, []Effect) {
	if ev == nil {
		return machine, nil
	}
	s := step{m: machine, ev: ev, meta: ev.meta(), action: ev.action()}
	if field, rule := s.check(); field != "" { // 1
		return machine, s.reject(&Error{Code: CodeInvalidArgument, Field: field, Rule: rule})
	}
	if reg, ok := ev.(Register); ok {
		return s.register(&reg, &p)
	}
	switch s.action {
	case ActTerminateOwner, ActAdoptOwner, ActRecover:
		if !machine.Live() { // 2
			return machine, nil
		}
		return s.internal()
	}
	switch { // 2
	case machine.evicted:
		return machine, s.reject(&Error{Code: CodeEvicted})
	case !machine.Exists():
		return machine, s.reject(&Error{Code: CodeNotFound})
	case s.action == ActRegisterWatcher:
		return machine, []Effect{Watch{Resolved: machine.Ended()}}
	}
	if out := s.repeated(); out != nil { // 3
		return machine, out
	}
	if h := s.meta.Handle; h != 0 && h != s.meta.Epoch { // 4
		return machine, s.reject(&Error{Code: CodeStaleEpoch, Given: h, Current: s.meta.Epoch})
	}
	if s.action == ActPeerReady { // 5
		switch {
		case !machine.ExpectPeer:
			return machine, s.reject(&Error{Code: CodePeerNotExpected})
		case machine.PeerReady:
			return machine, s.reject(&Error{Code: CodeAlreadyPeerReady, Peer: machine.Peer.Name})
		}
	}
	to := next(s.action, machine.Status)
	if to == Absent { // 6
		return machine, s.reject(&Error{Code: CodeInvalidTransition, Status: machine.Status.String()})
	}
	return s.move(to)
}

// next is the table of §2 for the calls of a child's life: where action leads
// from a status, Absent where it is not allowed.
func next(action Action, from Status) Status {
	if !from.Live() {
		return Absent // first ending wins
	}
	provisioning := from == Provisioning
	switch action {
	case ActProvisioned:
		if provisioning {
			return Running
		}
	case ActProvisioningFailed:
		if provisioning {
			return Failed
		}
	case ActAbortProvisioning:
		if provisioning {
			return Aborted
		}
	case ActPeerReady, ActReportProgress:
		if !provisioning {
			return from
		}
	case ActComplete:
		if !provisioning {
			return Completed
		}
	case ActFail:
		return Failed
	case ActCancel:
		return Cancelled
	case ActRequestRetire:
		if from == Running {
			return Retiring
		}
	case ActMarkRetired:
		if !provisioning {
			return Retired
		}
	}
	return Absent
}

// check returns the first argument that is wrong and the rule that it breaks.
func (s *step) check() (field, rule string) {
	if id := string(s.meta.RequestID); len(id) > MaxRequestID || !utf8.ValidString(id) {
		return "request_id", fmt.Sprintf("must be UTF-8 of at most %d bytes", MaxRequestID)
	}
	switch ev := s.ev.(type) {
	case Register:
		if ev.Registry.Kind() == "" || !utf8.ValidString(string(ev.Registry)) {
			return "registry", "must be fallback, mob:<id> or session:<id>"
		}
		return ev.Spec.check()
	case PeerBecameReady:
		return ev.Handle.check()
	case ReportProgress:
		if !ev.Update.Percent.valid() {
			return "percent", "must be a number from 0 to 100"
		}
	case Complete:
		switch r := &ev.Result; {
		case !r.ID.IsZero() && s.m.Exists() && r.ID != s.m.ID:
			return "result.id", "must be the operation's own"
		case r.DurationMS < 0:
			return "result.duration_ms", "must not be negative"
		case r.Tokens < 0:
			return "result.tokens_used", "must not be negative"
		}
	case AdoptOwner:
		switch {
		case ev.Owner == "":
			return "owner_session_id", "must not be empty"
		case !utf8.ValidString(ev.Owner):
			return "owner_session_id", "must be UTF-8"
		}
	}
	return "", ""
}

// step is one call of Step. It holds the machine as a value: what it pointed to
// would go to the heap.
type step struct {
	m      Machine // as it was
	ev     Event
	meta   Meta
	action Action
	digest digest // of a call with a request id, from repeated on
}

// reject refuses the call with an error that it completes.
func (s *step) reject(e *Error) []Effect {
	e.Action, e.ID, e.RequestID = s.action, s.meta.ID, s.meta.RequestID
	if s.m.Exists() {
		e.ID = s.m.ID
	}
	return []Effect{Reject{e}}
}

// repeated answers a call whose request id is known, and is nil for another
// one.
func (s *step) repeated() []Effect {
	if s.meta.RequestID == "" {
		return nil
	}
	if s.digest = s.meta.digest; s.digest == (digest{}) {
		s.digest = digestOf(s.ev)
	}
	r := s.m.requests.find(s.meta.RequestID)
	switch {
	case r == nil:
		return nil
	case r.Action != s.action || r.Digest != s.digest:
		return s.reject(&Error{Code: CodeIdempotencyMismatch})
	}
	return []Effect{Repeat{Version: r.Version}}
}

// register is register_operation. Its checks after the arguments: a repeat; the
// id is known, ended and evicted ones too; the owner is fenced; the limit.
func (s *step) register(ev *Register, p *Policy) (Machine, []Effect) {
	m := &s.m
	s.meta.ID = ev.Spec.ID
	spec := ev.Spec.withDefaults()
	if out := s.repeated(); out != nil {
		return *m, out
	}
	switch {
	case m.Status != Absent || m.evicted:
		e := &Error{Code: CodeAlreadyRegistered, Status: m.Status.String(), SameSpec: !m.evicted && m.Spec.equal(&spec)}
		if m.Status == Absent {
			e.Status = "evicted"
		}
		return *m, s.reject(e)
	case ev.Fenced:
		return *m, s.reject(&Error{Code: CodeOwnerRetired, Owner: spec.Owner})
	case p.full(ev.Active):
		return *m, s.reject(&Error{Code: CodeMaxConcurrentExceeded, Registry: ev.Registry, Limit: *p.MaxConcurrent, Active: ev.Active})
	}
	s.m = Machine{Spec: spec, Registry: ev.Registry}
	return s.move(Provisioning)
}

// internal is what the registry does by itself to a live operation. It has no
// request id of its own: it is repeatable as it is.
func (s *step) internal() (Machine, []Effect) {
	switch ev := s.ev.(type) {
	case TerminateOwner:
		return s.move(Terminated)
	case AdoptOwner:
		if ev.Owner == s.m.Owner {
			return s.m, nil
		}
		return s.move(s.m.Status)
	case Recover:
		switch {
		case s.m.Status == Provisioning:
			return s.move(Aborted)
		case s.m.Status == Running && s.m.OnRestart == FailIt:
			return s.move(Failed)
		case s.m.Status == Retiring && !ev.ChildLeft:
			return s.move(Retired)
		}
		return s.m, []Effect{TakeUp{s.m.ID}}
	}
	return s.m, nil
}

// made is all that a transition allocates, in one piece: the effects are
// pointers into it.
type made struct {
	row  Row
	list [4]Effect
}

// move performs the transition to a status.
func (s *step) move(to Status) (Machine, []Effect) {
	out := new(made)
	row := &out.row
	at, ms := s.stamp()
	*row = Row{
		After: s.m, From: s.m.Status, Action: s.action, At: at,
		Epoch: s.meta.Epoch, Cause: s.meta.Cause, RequestID: s.meta.RequestID,
	}
	m := &row.After
	m.Status = to
	m.Version++
	m.UpdatedAtMS = ms
	switch ev := s.ev.(type) {
	case Register:
		m.CreatedAtMS = ms
	case Provisioned:
		m.StartedAtMS = ms
	case PeerBecameReady:
		m.PeerReady, m.Peer = true, ev.Handle
	case ReportProgress:
		row.Update = ProgressUpdate{tidyText(ev.Update.Message, MaxMessage), ev.Update.Percent}
		m.ProgressCount++
		m.Progress = m.Progress.after(row.Update, ms)
	case AdoptOwner:
		row.OldOwner, m.Owner = m.Owner, ev.Owner
	case Recover:
		row.childLeft = ev.ChildLeft
	}
	if to.Ended() {
		m.CompletedAtMS = ms
		m.Outcome = s.outcome(to)
	}
	if s.digest != (digest{}) {
		row.digest = s.digest
		m.requests = m.requests.with(answered{s.meta.RequestID, s.action, s.digest, m.Version})
	}
	list := append(out.list[:0], Append{row}, Publish{row})
	if to.Ended() {
		list = append(list, Resolve{row})
		if s.action == ActCancel || s.action == ActTerminateOwner {
			list = append(list, StopWork{row})
		}
	}
	return *m, list
}

// stamp returns the time of the transition, never before that of the last one,
// so that no interval is negative. It is cut to what the journal keeps of a
// time: what comes back from there is the same.
func (s *step) stamp() (time.Time, int64) {
	at := s.meta.At.UTC().Truncate(time.Microsecond)
	ms := at.UnixMilli()
	if last := s.m.UpdatedAtMS; s.m.Version > 0 && ms < last {
		return time.UnixMilli(last).UTC(), last
	}
	return at, ms
}

// outcome is what the ended status to says of the call.
func (s *step) outcome(to Status) Outcome {
	o := Outcome{Type: to}
	switch ev := s.ev.(type) {
	case Complete:
		o.Result = ev.Result.tidied()
		o.Result.ID = s.m.ID
	case ProvisioningFailed:
		o.Error = tidyText(ev.Error, MaxContent)
	case Fail:
		o.Error = tidyText(ev.Error, MaxContent)
	case AbortProvisioning:
		o.Reason = tidyText(ev.Reason, MaxContent)
	case Cancel:
		o.Reason = tidyText(ev.Reason, MaxContent)
	case TerminateOwner:
		o.Reason = tidyText(ev.Reason, MaxContent)
	case Recover:
		switch to {
		case Aborted:
			o.Reason = abortedByRestart
		case Failed:
			o.Error = lostInRestart
		}
	}
	return o
}
