package operation

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// tableMachines are one machine of each status, by the way that leads there.
func tableMachines(t *testing.T, s Spec) []struct {
	name string
	m    Machine
} {
	t.Helper()
	prov := registered(t, s)
	run := must(t, prov, Provisioned{metaAt(10)})
	retiring := must(t, run, RequestRetire{metaAt(20)})
	type row = struct {
		name string
		m    Machine
	}
	rows := []row{
		{"absent", Machine{}},
		{"provisioning", prov},
		{"running", run},
		{"retiring", retiring},
		{"completed", must(t, run, Complete{metaAt(30), Result{}})},
		{"failed", must(t, run, Fail{metaAt(30), "x"})},
		{"aborted", must(t, prov, AbortProvisioning{metaAt(30), ""})},
		{"cancelled", must(t, run, Cancel{metaAt(30), ""})},
		{"retired", must(t, run, MarkRetired{metaAt(30)})},
		{"terminated", must(t, run, TerminateOwner{metaAt(30), "x"})},
		{"evicted", Evicted(s.ID, Completed)},
	}
	if s.ExpectPeer {
		ready := must(t, run, PeerBecameReady{metaAt(20), handle()})
		rows = append(rows, row{"running, peer ready", ready}, row{"completed, peer ready", must(t, ready, Complete{metaAt(30), Result{}})})
	}
	return rows
}

// TestTable prints Step over every status, every call and both kinds. The file
// is the document of the machine: read its diff for surprises.
func TestTable(t *testing.T) {
	var b strings.Builder
	at := metaAt(100)
	for _, spec := range []Spec{memberSpec(), toolSpec()} {
		for _, row := range tableMachines(t, spec) {
			fmt.Fprintf(&b, "%s, %s\n", spec.Kind, row.name)
			for _, ev := range []Event{
				Register{Meta: at, Registry: "mob:alpha", Spec: spec},
				Provisioned{at},
				ProvisioningFailed{at, "no key"},
				AbortProvisioning{at, "not needed"},
				PeerBecameReady{at, handle()},
				ReportProgress{at, ProgressUpdate{"half", PercentOf(50)}},
				Complete{at, Result{Content: "done"}},
				Fail{at, "broke"},
				Cancel{at, "enough"},
				RequestRetire{at},
				MarkRetired{at},
				TerminateOwner{at, "owner ended"},
				AdoptOwner{at, "s-new"},
				RegisterWatcher{at},
				Recover{at, true},
				Recover{at, false},
			} {
				name := ev.action().String()
				if r, ok := ev.(Recover); ok {
					name += fmt.Sprintf("{%t}", r.ChildLeft)
				}
				next, out := Step(row.m, ev, DefaultPolicy())
				fmt.Fprintf(&b, "  %-24s -> %s\n", name, strings.TrimRight(fmt.Sprintf("%-15s %s", short(row.m, next), shorts(out)), " "))
			}
		}
	}
	golden(t, "step.golden", b.String())
}

// short is what became of the machine: its status, and what changed besides.
func short(was, m Machine) string {
	if m.Version == was.Version {
		return "-"
	}
	return fmt.Sprintf("%s v%d", m.Status, m.Version)
}

func shorts(out []Effect) string {
	var s []string
	for _, e := range out {
		switch e := e.(type) {
		case Append:
			s = append(s, "Append "+strings.TrimPrefix(e.Event().Name, "operation."))
			if o := e.After.Outcome; !o.IsZero() {
				s[len(s)-1] += fmt.Sprintf("(%s%s%s)", o.Result.Content, o.Error, o.Reason)
			}
		case Reject:
			s = append(s, "Reject "+e.Code.String())
		case Watch:
			s = append(s, fmt.Sprintf("Watch resolved=%t", e.Resolved))
		default:
			s = append(s, strings.TrimPrefix(fmt.Sprintf("%T", e), "operation."))
		}
	}
	return "[" + strings.Join(s, ", ") + "]"
}

// TestErrorTexts prints the text and the fields of every error.
func TestErrorTexts(t *testing.T) {
	id := idOf(1)
	var b strings.Builder
	for _, e := range []*Error{
		{Code: CodeInvalidArgument, Action: ActReportProgress, ID: id, Field: "percent", Rule: "must be a number from 0 to 100"},
		{Code: CodeInvalidArgument, Action: ActList, Field: "cursor", Rule: "must be a cursor of this list"},
		{Code: CodeNotFound, Action: ActComplete, ID: id},
		{Code: CodeEvicted, Action: ActMarkRetired, ID: id},
		{Code: CodeAlreadyRegistered, Action: ActRegister, ID: id, Status: "running", SameSpec: true},
		{Code: CodeInvalidTransition, Action: ActCancel, ID: id, Status: "completed"},
		{Code: CodePeerNotExpected, Action: ActPeerReady, ID: id},
		{Code: CodeAlreadyPeerReady, Action: ActPeerReady, ID: id, Peer: "alpha/coder/ann"},
		{Code: CodeMaxConcurrentExceeded, Action: ActRegister, ID: id, Registry: "mob:alpha", Limit: 4, Active: 4},
		{Code: CodeDuplicateWait, Action: ActWait, ID: id},
		{Code: CodeOwnerRetired, Action: ActRegister, ID: id, Owner: "s-lead"},
		{Code: CodeOwnerRetired, Action: ActAdoptOwner, Owner: "s-lead"},
		{Code: CodeAmbiguous, Doing: "retire", Session: "s-ann", IDs: []ID{id, idOf(2)}},
		{Code: CodeBindingConflict, Session: "s-ann", Owner: "s-lead", IDs: []ID{id}, Registry: "mob:alpha"},
		{Code: CodeIdempotencyMismatch, Action: ActCancel, ID: id, RequestID: "r1"},
		{Code: CodeStaleEpoch, Action: ActComplete, ID: id, Given: 3, Current: 4},
		{Code: CodeNotOwner, Action: ActCancel, ID: id, Registry: "mob:alpha"},
		{Code: CodeStoreUnavailable, Action: ActCancel, ID: id, Registry: "mob:alpha", Err: errors.New("disk full")},
		{Code: CodeClosed, Action: ActList, Registry: "fallback"},
	} {
		fmt.Fprintf(&b, "%s %d\n  %s\n ", e.Code, e.Code.HTTPStatus(), e)
		for _, f := range e.Fields() {
			value, err := marshal(f.Value)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, " %s=%s", f.Key, value)
		}
		b.WriteByte('\n')
	}
	golden(t, "errors.golden", b.String())
}
