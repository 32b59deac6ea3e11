package why

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/operation"
)

// nursery plays an operation's life with the real machine, so that a story
// cannot drift away from the rows that are really written.
type nursery struct {
	t      *testing.T
	now    time.Time
	m      operation.Machine
	seq    drey.Seq
	events []drey.Event
}

var nurseryID = operation.IDAt(time.Date(2026, 3, 1, 22, 0, 0, 0, time.UTC), [10]byte{9: 0xb3})

func newNursery(t *testing.T) *nursery {
	return &nursery{t: t, now: time.Date(2026, 3, 1, 22, 0, 0, 0, time.UTC)}
}

func (n *nursery) after(d time.Duration) *nursery { n.now = n.now.Add(d); return n }

// journal takes an event as the journal gives it back.
func (n *nursery) journal(ev drey.Event) *nursery {
	n.seq++
	ev.Seq = n.seq
	line, err := ev.MarshalJSON()
	if err != nil {
		n.t.Fatal(err)
	}
	var back drey.Event
	if err := back.UnmarshalJSON(line); err != nil {
		n.t.Fatal(err)
	}
	n.events = append(n.events, back)
	return n
}

func (n *nursery) meta() operation.Meta { return operation.Meta{ID: nurseryID, At: n.now, Epoch: 1} }

func (n *nursery) call(ev operation.Event) *nursery {
	n.t.Helper()
	m, out := operation.Step(n.m, ev, operation.DefaultPolicy())
	row := operation.RowOf(out)
	if row == nil {
		n.t.Fatalf("%T: %v", ev, operation.Refusal(out))
	}
	n.m = m
	return n.journal(row.Event())
}

func (n *nursery) register(spec operation.Spec) *nursery {
	spec.ID = nurseryID
	return n.call(operation.Register{Meta: n.meta(), Registry: operation.MobRegistry("red"), Spec: spec})
}

// tool is one that has been made within a second.
func (n *nursery) tool() *nursery {
	n.register(operation.Spec{Kind: operation.BackgroundTool, Owner: "s-smith", Name: "build"})
	return n.after(800 * time.Millisecond).call(operation.Provisioned{Meta: n.meta()})
}

func (n *nursery) member() *nursery {
	return n.register(operation.Spec{Kind: operation.MemberChild, Owner: "s-lead", Child: "s-smith", Name: "member/smith", ExpectPeer: true})
}

func (n *nursery) progress(message string, percent operation.Percent) *nursery {
	return n.call(operation.ReportProgress{Meta: n.meta(), Update: operation.ProgressUpdate{Message: message, Percent: percent}})
}

// restart is a daemon that begins, and what it does with the operation.
func (n *nursery) restart() *nursery {
	n.journal(drey.Event{At: n.now, Name: "drey-startup", Machine: "daemon", Fields: []drey.Field{drey.F("version", "1.2.0"), drey.F("addr", "127.0.0.1:3739")}})
	meta := n.meta()
	meta.Cause = n.seq
	return n.call(operation.Recover{Meta: meta})
}

func (n *nursery) facts() OperationFacts {
	s := n.m.Snapshot(operation.Around{})
	f := OperationFacts{
		Now: n.now, ID: s.ID.String(), Name: s.Name, Kind: s.Kind.String(), Status: s.Status.String(), Version: s.Version,
		Registry: string(s.Registry), Owner: s.Owner, ExpectPeer: s.ExpectPeer, Peer: s.Peer.Name, Address: s.Peer.Peer.Address,
		Created: time.UnixMilli(s.CreatedAtMS), Started: time.UnixMilli(s.StartedAtMS), Completed: time.UnixMilli(s.CompletedAtMS),
		Message: s.Progress.Message, ProgressAt: time.UnixMilli(s.Progress.AtMS), Events: n.events,
	}
	if s.Progress.Percent.Known {
		f.Percent = &s.Progress.Percent.Value
	}
	if !s.Outcome.IsZero() {
		text, err := json.Marshal(s.Outcome)
		if err != nil {
			n.t.Fatal(err)
		}
		f.Outcome = text
	}
	return f
}

func TestOperation(t *testing.T) {
	for name, play := range map[string]func(n *nursery) OperationFacts{
		"in the making": func(n *nursery) OperationFacts {
			f := n.member().after(3 * time.Second).facts()
			f.Parent, f.Watchers = "019a0000-0000-7000-8000-0000000000a1", 1
			return f
		},
		"running": func(n *nursery) OperationFacts {
			n.tool().progress("fetching", operation.Percent{}).after(time.Second).progress("compiling", operation.PercentOf(12.5)).after(time.Second)
			n.progress("", operation.PercentOf(50))
			f := n.after(40 * time.Second).facts()
			f.Waiters, f.Watchers = 2, 1
			return f
		},
		"reachable": func(n *nursery) OperationFacts {
			n.member().after(time.Second).call(operation.Provisioned{Meta: n.meta()}).after(time.Second)
			n.call(operation.PeerBecameReady{Meta: n.meta(), Handle: operation.PeerHandle{Name: "smith", Peer: operation.Peer{Name: "smith", ID: "p1", Address: "inproc://red/smith"}}})
			n.after(time.Minute).call(operation.AdoptOwner{Meta: n.meta(), Owner: "s-heir"})
			f := n.after(time.Hour).facts()
			f.Waiters = 1
			return f
		},
		"retiring": func(n *nursery) OperationFacts {
			n.member().call(operation.Provisioned{Meta: n.meta()}).after(time.Hour).call(operation.RequestRetire{Meta: n.meta()})
			return n.after(4 * time.Second).facts()
		},
		"retired": func(n *nursery) OperationFacts {
			n.member().call(operation.Provisioned{Meta: n.meta()}).after(time.Hour).call(operation.RequestRetire{Meta: n.meta()})
			return n.after(4 * time.Second).call(operation.MarkRetired{Meta: n.meta()}).after(time.Minute).facts()
		},
		"retired by a restart": func(n *nursery) OperationFacts {
			n.member().call(operation.Provisioned{Meta: n.meta()}).call(operation.RequestRetire{Meta: n.meta()})
			return n.after(time.Minute).restart().after(time.Minute).facts()
		},
		"completed": func(n *nursery) OperationFacts {
			n.tool().after(5 * time.Minute).call(operation.Complete{Meta: n.meta(), Result: operation.Result{Content: "built\nwell."}})
			f := n.after(time.Hour).facts()
			f.Archived = true
			return f
		},
		"answers an error": func(n *nursery) OperationFacts {
			n.tool().after(time.Minute).call(operation.Complete{Meta: n.meta(), Result: operation.Result{Content: "exit status 2", IsError: true}})
			return n.after(time.Second).facts()
		},
		"failed": func(n *nursery) OperationFacts {
			return n.tool().after(time.Minute).call(operation.Fail{Meta: n.meta(), Error: "disk full"}).after(time.Second).facts()
		},
		"never made": func(n *nursery) OperationFacts {
			return n.member().after(time.Second).call(operation.ProvisioningFailed{Meta: n.meta(), Error: "no such profile"}).after(time.Second).facts()
		},
		"given up": func(n *nursery) OperationFacts {
			return n.member().after(time.Second).call(operation.AbortProvisioning{Meta: n.meta(), Reason: "the run was stopped"}).after(time.Second).facts()
		},
		"aborted by a restart": func(n *nursery) OperationFacts {
			return n.member().after(time.Minute).restart().after(time.Second).facts()
		},
		"lost in a restart": func(n *nursery) OperationFacts {
			return n.tool().after(time.Minute).restart().after(time.Second).facts()
		},
		"cancelled": func(n *nursery) OperationFacts {
			meta := n.tool().after(time.Minute).meta()
			meta.RequestID = "req_1"
			return n.call(operation.Cancel{Meta: meta, Reason: "wrong branch"}).after(time.Second).facts()
		},
		"cancelled without a word": func(n *nursery) OperationFacts {
			return n.tool().after(time.Minute).call(operation.Cancel{Meta: n.meta()}).after(time.Second).facts()
		},
		"terminated": func(n *nursery) OperationFacts {
			return n.tool().after(time.Minute).call(operation.TerminateOwner{Meta: n.meta(), Reason: "the session was archived"}).after(time.Second).facts()
		},
		"caused by another": func(n *nursery) OperationFacts {
			n.tool().after(time.Minute).journal(drey.Event{
				At: n.now, Name: "operation.failed", Machine: "operation", ID: "019a0000-0000-7000-8000-0000000000a1", To: "failed",
				Fields: []drey.Field{drey.F("terminal_outcome", operation.Outcome{Type: operation.Failed, Error: "out of memory"})},
			})
			meta := n.meta()
			meta.Cause = n.seq
			return n.call(operation.Cancel{Meta: meta, Reason: "its parent failed"}).after(time.Second).facts()
		},
		"forgotten by the journal": func(n *nursery) OperationFacts {
			n.tool().progress("half", operation.PercentOf(50)).after(time.Minute).call(operation.Fail{Meta: n.meta(), Error: "disk full"})
			f := n.after(40 * 24 * time.Hour).facts()
			f.Events, f.Archived = nil, true
			return f
		},
		"words of a newer daemon": func(n *nursery) OperationFacts {
			n.tool().after(time.Minute).journal(drey.Event{At: n.now, Name: "operation.paused", Machine: "operation", ID: nurseryID.String(), To: "paused", Fields: []drey.Field{drey.F("for", "lunch")}})
			n.journal(drey.Event{At: n.now, Name: "moon_rose", Machine: "sky", ID: "moon"})
			f := n.facts()
			f.Status, f.Kind, f.Version = "paused", "dream", 3
			return f
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := Operation(play(newNursery(t)))
			checkStory(t, "operation", st)
			golden(t, "operation-"+strings.ReplaceAll(name, " ", "-")+".txt", st.Text(nil))
		})
	}
}

// Whatever the journal holds, there is a story, and each of its steps stands on
// an event.
func TestOperationTellsAnything(t *testing.T) {
	names := []string{"operation.registered", "operation.running", "operation.retiring", "operation.peer_ready", "operation.progress", "operation.owner_changed",
		"operation.completed", "operation.failed", "operation.aborted", "operation.cancelled", "operation.retired", "operation.terminated", "drey-startup", "x"}
	statuses := []string{"", "provisioning", "running", "retiring", "completed", "failed", "aborted", "cancelled", "retired", "terminated", "?"}
	values := []any{nil, 3, -1.5, true, "operator", "a\nb.", []int{1}, map[string]any{"error": 3, "content": "a\nb.", "peer": 4}, map[string]any{"peer": map[string]any{"address": "x"}}}
	outcomes := []string{"", "null", "3", `{"error":"a\nb."}`, "{"}
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(list []string) string { return list[rnd.IntN(len(list))] }
	for range 3000 {
		f := OperationFacts{Now: time.Unix(1e9, 0), ID: "a", Kind: pick(statuses), Status: pick(statuses), Version: rnd.Int64N(30), Outcome: json.RawMessage(pick(outcomes)), Waiters: rnd.IntN(2), Peer: pick(statuses)}
		for i := range rnd.IntN(20) {
			ev := drey.Event{At: f.Now.Add(time.Duration(i) * time.Second), Name: pick(names), Machine: pick([]string{"operation", "lifecycle"}), ID: pick([]string{"a", "b"}), To: pick(statuses), Trigger: pick([]string{"recover", "provisioning_failed", ""})}
			for _, key := range []string{"terminal_outcome", "peer_handle", "message", "percent", "kind", "display_name", "child_session_id", "version"} {
				if rnd.IntN(2) == 0 {
					ev.Fields = append(ev.Fields, drey.F(key, values[rnd.IntN(len(values))]))
				}
			}
			f.Events = append(f.Events, ev)
		}
		checkStory(t, "operation", Operation(f))
		if t.Failed() {
			t.Fatalf("%+v", f)
		}
	}
}
