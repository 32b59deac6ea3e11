package orchestrator

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dreyhq/drey/internal/operation"
)

var peer = operation.Peer{Name: "p", ID: "1", Address: "inproc://red/p"}

// TestPinned are the four pinned behaviours (§9).
func TestPinned(t *testing.T) {
	everywhere(t, func(t *testing.T, at *place) {
		h := at.start(Config{})
		m := h.Members(operation.Fallback)
		ref := SessionRef("s1")
		id, err := m.MarkProvisioned(t.Context(), "s1", "one") // P1
		if err != nil {
			t.Fatal(err)
		}
		if err := m.ReportProgress(t.Context(), ref, operation.ProgressUpdate{Message: "on it"}); err != nil {
			t.Fatal(err)
		}
		if err := m.MarkPeerReady(t.Context(), ref, "one", peer); err != nil {
			t.Fatal(err)
		}
		s, err := h.Get(t.Context(), id)
		if err != nil || s.Status != operation.Running || !s.PeerReady || s.ProgressCount != 1 {
			t.Errorf("P1: %+v, %v", s, err)
		}
		if err := m.MarkRetired(t.Context(), ref); err != nil || h.status(t, id) != operation.Retired {
			t.Errorf("P1: %v after retire, %v", h.status(t, id), err)
		}

		if err := m.Bind(t.Context(), "s2", "boss", red); err != nil { // P2
			t.Fatal(err)
		}
		id, err = m.MarkProvisioned(t.Context(), "s2", "two")
		if err != nil {
			t.Fatal(err)
		}
		s, err = h.Registry(red).Get(t.Context(), id)
		if err != nil || s.Kind != operation.MemberChild || s.Status != operation.Running || s.Child != "s2" || s.Owner != "boss" {
			t.Errorf("P2: %+v, %v", s, err)
		}
		if _, err := h.Registry(operation.Fallback).Get(t.Context(), id); codeOf(err) != operation.CodeNotFound {
			t.Errorf("P2: the fallback knows it: %v", err)
		}

		if err := m.MarkRetired(t.Context(), SessionRef("nobody")); err != nil { // P3
			t.Errorf("P3: %v", err)
		}
		if page, err := h.List(t.Context(), ListQuery{Filter: operation.Filter{Child: "nobody"}}); err != nil || len(page.Operations) != 0 {
			t.Errorf("P3: %v, %v", page, err)
		}

		id, err = m.Ensure(t.Context(), "s4", "four") // P4
		if err != nil {
			t.Fatal(err)
		}
		if err := m.AbortProvision(t.Context(), "s4", id, "no"); err != nil || h.status(t, id) != operation.Aborted {
			t.Errorf("P4: %v, %v", h.status(t, id), err)
		}
	})
}

// TestMemberCalls: each method on each status of the session's operation.
func TestMemberCalls(t *testing.T) {
	states := []string{"none", "provisioning", "running", "retiring", "ended", "two"}
	type outcome struct {
		status operation.Status // of the operation that there was
		live   int              // of the session, afterwards
		err    string           // with the id as <id>
	}
	five := func(doing, status string) string {
		return "member operations: cannot " + doing + " for session '<s>': operation '<id>' is " + status
	}
	four := func(doing string) string {
		return "member operations: cannot " + doing + " for session '<s>': several live operations [<id>, <id2>]"
	}
	const abs, prov, run, ret = operation.Absent, operation.Provisioning, operation.Running, operation.Retiring
	tests := []struct {
		name string
		call func(t *testing.T, m *Members, s string, id operation.ID) error
		want [6]outcome // by state
	}{
		{"LookupActive", func(t *testing.T, m *Members, s string, _ operation.ID) error {
			_, err := m.LookupActive(t.Context(), s)
			return err
		}, [6]outcome{{abs, 0, ""}, {prov, 1, ""}, {run, 1, ""}, {ret, 1, ""}, {operation.Completed, 0, ""}, {run, 2, four("look up")}}},
		{"ActiveOperation", func(t *testing.T, m *Members, s string, _ operation.ID) error {
			m.ActiveOperation(t.Context(), s)
			return nil
		}, [6]outcome{{abs, 0, ""}, {run, 1, ""}, {run, 1, ""}, {ret, 1, ""}, {operation.Completed, 0, ""}, {run, 2, ""}}},
		{"Ensure", func(t *testing.T, m *Members, s string, _ operation.ID) error {
			_, err := m.Ensure(t.Context(), s, "n")
			return err
		}, [6]outcome{{abs, 1, ""}, {prov, 1, ""}, {run, 1, ""}, {ret, 1, ""}, {operation.Completed, 1, ""}, {run, 2, four("provision")}}},
		{"MarkProvisioned", func(t *testing.T, m *Members, s string, _ operation.ID) error {
			_, err := m.MarkProvisioned(t.Context(), s, "n")
			return err
		}, [6]outcome{{abs, 1, ""}, {run, 1, ""}, {run, 1, ""}, {ret, 1, five("provision", "retiring")}, {operation.Completed, 1, ""}, {run, 2, four("provision")}}},
		{"ConfirmProvisioned", func(t *testing.T, m *Members, s string, id operation.ID) error {
			_, err := m.ConfirmProvisioned(t.Context(), s, id)
			return err
		}, [6]outcome{
			{abs, 0, "member operations: cannot confirm: operation '<id>' not found"}, {run, 1, ""}, {run, 1, ""},
			{ret, 1, five("confirm", "retiring")}, {operation.Completed, 0, five("confirm", "completed")}, {run, 2, ""},
		}},
		{"ReportProgress", func(t *testing.T, m *Members, s string, _ operation.ID) error {
			return m.ReportProgress(t.Context(), SessionRef(s), operation.ProgressUpdate{Message: "x"})
		}, [6]outcome{{abs, 1, ""}, {run, 1, ""}, {run, 1, ""}, {ret, 1, ""}, {operation.Completed, 0, ""}, {run, 2, four("report progress")}}},
		{"MarkPeerReady twice", func(t *testing.T, m *Members, s string, _ operation.ID) error {
			if err := m.MarkPeerReady(t.Context(), SessionRef(s), "n", peer); err != nil {
				return err
			}
			return m.MarkPeerReady(t.Context(), SessionRef(s), "n", peer)
		}, [6]outcome{{abs, 1, ""}, {run, 1, ""}, {run, 1, ""}, {ret, 1, ""}, {operation.Completed, 0, ""}, {run, 2, four("mark peer ready")}}},
		{"BeginRetire", func(t *testing.T, m *Members, s string, _ operation.ID) error {
			return m.BeginRetire(t.Context(), SessionRef(s))
		}, [6]outcome{{abs, 0, ""}, {operation.Aborted, 0, ""}, {ret, 1, ""}, {ret, 1, ""}, {operation.Completed, 0, ""}, {run, 2, four("retire")}}},
		{"MarkRetired", func(t *testing.T, m *Members, s string, _ operation.ID) error {
			return m.MarkRetired(t.Context(), SessionRef(s))
		}, [6]outcome{{abs, 0, ""}, {operation.Aborted, 0, ""}, {operation.Retired, 0, ""}, {operation.Retired, 0, ""}, {operation.Completed, 0, ""}, {run, 2, four("retire")}}},
		{"AbortProvision", func(t *testing.T, m *Members, s string, id operation.ID) error {
			return m.AbortProvision(t.Context(), s, id, "r")
		}, [6]outcome{{abs, 0, ""}, {operation.Aborted, 0, ""}, {run, 1, five("abort provisioning", "running")}, {ret, 1, five("abort provisioning", "retiring")}, {operation.Completed, 0, ""}, {run, 2, five("abort provisioning", "running")}}},
		{"RollbackProvision", func(t *testing.T, m *Members, s string, id operation.ID) error {
			return m.RollbackProvision(t.Context(), s, id, "r")
		}, [6]outcome{{abs, 0, ""}, {operation.Aborted, 0, ""}, {operation.Failed, 0, ""}, {operation.Failed, 0, ""}, {operation.Completed, 0, ""}, {operation.Failed, 1, ""}}},
	}
	everywhere(t, func(t *testing.T, at *place) {
		h := at.start(Config{})
		m := h.Members(operation.Fallback)
		n := byte(0)
		for _, tt := range tests {
			for i, state := range states {
				n++
				s, first := fmt.Sprint("s", n), operation.ID{14: n, 15: 1} // two of one millisecond are told apart by their ids
				t.Run(tt.name+"/"+state, func(t *testing.T) {
					id, id2 := bring(t, h, m, s, first, state)
					err := tt.call(t, m, s, id)
					want := tt.want[i]
					text := ""
					if err != nil {
						text = err.Error()
					}
					wantText := strings.NewReplacer("<s>", s, "<id>", id.String(), "<id2>", id2.String()).Replace(want.err)
					if text != wantText {
						t.Errorf("error %q, want %q", text, wantText)
					}
					if got := h.status(t, id); got != want.status {
						t.Errorf("the operation is %v, want %v", got, want.status)
					}
					yes := true
					page, err := h.List(t.Context(), ListQuery{Filter: operation.Filter{Child: s, Active: &yes}})
					if err != nil || len(page.Operations) != want.live {
						t.Errorf("%d live, %v; want %d", len(page.Operations), err, want.live)
					}
				})
			}
		}
	})
}

// bring brings a session to one of the states of TestMemberCalls. It returns its
// operation, first, and the other one, if it has two.
func bring(t *testing.T, h *house, m *Members, s string, first operation.ID, state string) (id, id2 operation.ID) {
	t.Helper()
	if err := m.Bind(t.Context(), s, "o", red); err != nil {
		t.Fatal(err)
	}
	if state == "none" {
		return first, id2
	}
	spec := member("o", s)
	spec.ID = first
	id = h.must(t, red, spec)
	switch state {
	case "running", "retiring", "two", "ended":
		h.do(t, operation.Provisioned{Meta: meta(id)})
	}
	switch state {
	case "retiring":
		h.do(t, operation.RequestRetire{Meta: meta(id)})
	case "ended":
		h.do(t, operation.Complete{Meta: meta(id)})
	case "two":
		id2 = h.must(t, red, member("o", s))
	}
	return id, id2
}

func TestMemberWithoutSession(t *testing.T) {
	h := open(t, Config{})
	m := h.Members(operation.Fallback)
	ref := Ref{Kind: RefBackendPeer, PeerID: "p", Address: "x://y"}
	for doing, err := range map[string]error{
		"report progress": m.ReportProgress(t.Context(), ref, operation.ProgressUpdate{}),
		"mark peer ready": m.MarkPeerReady(t.Context(), ref, "n", peer),
		"retire":          m.MarkRetired(t.Context(), ref),
	} {
		want := "member operations: cannot " + doing + " for member without a session: backend_peer p at x://y"
		if err == nil || err.Error() != want || !errors.Is(err, operation.ErrInvalidArgument) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestBindingRules(t *testing.T) {
	everywhere(t, func(t *testing.T, at *place) {
		h := at.start(Config{})
		m := h.Members(operation.Fallback)
		bind := func(owner string, r operation.RegistryID) error { return m.Bind(t.Context(), "s", owner, r) }
		if err := errors.Join(bind("a", red), bind("a", red), bind("b", "mob:blue")); err != nil {
			t.Fatal(err)
		}
		id, err := m.Ensure(t.Context(), "s", "n")
		if err != nil {
			t.Fatal(err)
		}
		err = bind("a", red)
		want := fmt.Sprintf("member operations: cannot bind session 's' to owner 'a': operation '%s' is live in 'mob:blue'", id)
		if err == nil || err.Error() != want {
			t.Errorf("E6: %v", err)
		}
		if err := bind("b", "mob:blue"); err != nil {
			t.Errorf("the same binding: %v", err)
		}
		if at.keeps() {
			h = at.start(Config{Runtime: &runtimeFake{}})
			m = h.Members(operation.Fallback)
			if got := m.RegistryFor("s"); got != (Binding{"mob:blue", "b"}) {
				t.Errorf("after a restart: %+v", got)
			}
		}
		if err := m.MarkRetired(t.Context(), SessionRef("s")); err != nil {
			t.Fatal(err)
		}
		if got := m.RegistryFor("s"); got != (Binding{operation.Fallback, "s"}) {
			t.Errorf("after the retirement: %+v", got)
		}
		if got, err := m.OperationStatus(t.Context(), "s", id); err != nil || got != operation.Aborted {
			t.Errorf("status after the binding is gone: %v, %v", got, err)
		}
		if got, err := m.OperationStatus(t.Context(), "other", id); err != nil || got != operation.Absent {
			t.Errorf("status for another session: %v, %v", got, err)
		}
		if err := bind("c", red); err != nil { // of an unknown session it is kept
			t.Fatal(err)
		}
		if err := m.Bind(t.Context(), "new", "c", red); err != nil {
			t.Fatal(err)
		}
		if err := m.MarkRetired(t.Context(), SessionRef("new")); err != nil || m.RegistryFor("new").Owner != "c" {
			t.Errorf("an unknown session's binding: %+v, %v", m.RegistryFor("new"), err)
		}
	})
}

// TestArchivedSessionIsKnown: late progress does not make a zombie, also when
// the record has left the registry, and the process.
func TestArchivedSessionIsKnown(t *testing.T) {
	everywhere(t, func(t *testing.T, at *place) {
		p := operation.DefaultPolicy()
		p.MaxCompleted = 0
		h := at.start(Config{Policy: p})
		m := h.Members(operation.Fallback)
		id, err := m.MarkProvisioned(t.Context(), "s", "n")
		if err != nil {
			t.Fatal(err)
		}
		if err := m.MarkRetired(t.Context(), SessionRef("s")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := m.ReportProgress(t.Context(), SessionRef("s"), operation.ProgressUpdate{Message: "late"}); err != nil {
				t.Fatal(err)
			}
			if page, _ := h.List(t.Context(), ListQuery{}); len(page.Operations) != 0 {
				t.Errorf("a zombie: %+v", page.Operations)
			}
			if got, err := m.OperationStatus(t.Context(), "s", id); err != nil || got != operation.Retired {
				t.Errorf("status of the archived one: %v, %v", got, err)
			}
			if _, err := h.Do(t.Context(), operation.Fail{Meta: meta(id)}); codeOf(err) != operation.CodeEvicted {
				t.Errorf("a call on it: %v", err)
			}
			if at.keeps() {
				h = at.start(Config{Policy: p})
				m = h.Members(operation.Fallback)
			}
		}
		page, err := h.List(t.Context(), ListQuery{Filter: operation.Filter{Archived: true}})
		if err != nil || len(page.Operations) != 1 || !page.Operations[0].Archived {
			t.Fatalf("archived: %+v, %v", page, err)
		}
		if n, err := h.Prune(t.Context(), time.Hour); err != nil || n != 0 {
			t.Errorf("pruned %d, %v", n, err)
		}
		if n, err := h.Prune(t.Context(), -time.Hour); err != nil || n != 1 {
			t.Errorf("pruned %d, %v", n, err)
		}
		if _, err := h.Get(t.Context(), id); codeOf(err) != operation.CodeEvicted {
			t.Errorf("after its history: %v", err)
		}
	})
}

// TestRacingEnsures: however many ask, there is one operation.
func TestRacingEnsures(t *testing.T) {
	everywhere(t, func(t *testing.T, at *place) {
		h := at.start(Config{})
		var wg sync.WaitGroup
		ids := make([]operation.ID, 64)
		for i := range ids {
			wg.Go(func() {
				id, err := h.Members(operation.Fallback).MarkProvisioned(t.Context(), "s", "n")
				if err != nil {
					t.Error(err)
				}
				ids[i] = id
			})
		}
		wg.Wait()
		for _, id := range ids {
			if id != ids[0] || id.IsZero() {
				t.Fatalf("two operations: %v and %v", id, ids[0])
			}
		}
	})
}

func TestPanicIsAnswered(t *testing.T) {
	h := open(t, Config{})
	err := h.ask(t.Context(), operation.ActFail, operation.ID{}, func(t *turn) error {
		if _, err := t.step(operation.Register{Registry: red, Spec: operation.Spec{ID: operation.ID{1}, Kind: operation.BackgroundTool, Owner: "o", Name: "n"}}); err != nil {
			return err
		}
		panic("a bug")
	}, nil)
	if !errors.Is(err, errPanicked) {
		t.Fatal(err)
	}
	if h.has(operation.ID{1}) {
		t.Error("the draft is still there")
	}
	h.must(t, red, tool("o", "n"))
	if _, err := h.Do(t.Context(), operation.ReportProgress{Meta: meta(operation.ID{1}), Update: operation.ProgressUpdate{Percent: operation.PercentOf(math.NaN())}}); codeOf(err) != operation.CodeInvalidArgument {
		t.Errorf("the checks come first: %v", err)
	}
}
