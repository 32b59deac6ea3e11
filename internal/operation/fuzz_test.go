package operation

import (
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
)

// walker feeds bytes as calls to one operation and checks after each what the
// contract promises.
type walker struct {
	t    tb
	m    Machine
	r    Record
	rows []drey.Event
	ms   int
	p    Policy
}

func (w *walker) play(ops []byte) {
	for i := 0; i+1 < len(ops); i += 2 {
		w.step(w.event(ops[i], ops[i+1]))
	}
	w.replay()
}

var texts = []string{"", "x", "y", "\xff\xfe", "é\x00<&>", "\u2028\"\\"}

func (w *walker) event(op, arg byte) Event {
	w.ms += int(arg%16) - 4 // clocks are set back, too
	meta := metaAt(w.ms)
	text := texts[int(arg)%len(texts)]
	switch arg >> 5 {
	case 1:
		meta.RequestID = drey.RequestID([]string{"r1", "r2", "\xff"}[arg%3])
	case 2:
		meta.Handle = uint64(2 + arg%3)
	case 3:
		meta.Cause = drey.Seq(arg)
	}
	spec := memberSpec()
	if arg&1 != 0 {
		spec = toolSpec()
	}
	switch op % 18 {
	case 0:
		spec.OnRestart = OnRestart(arg % 4)
		return Register{Meta: meta, Registry: Fallback, Spec: spec, Active: int(arg & 8), Fenced: arg&16 != 0 && arg&2 != 0}
	case 1, 2:
		return Provisioned{meta}
	case 3:
		return ProvisioningFailed{meta, text}
	case 4:
		return AbortProvisioning{meta, text}
	case 5:
		h := handle()
		h.Name += text
		return PeerBecameReady{meta, h}
	case 6, 7, 8:
		u := ProgressUpdate{Message: text}
		if arg&2 != 0 {
			u.Percent = PercentOf(float64(arg) / 2.5)
		}
		return ReportProgress{meta, u}
	case 9:
		return Complete{meta, Result{Content: text, IsError: arg&1 != 0, DurationMS: int64(arg) - 8, Truncated: arg&4 != 0, ContentBytes: int64(arg)}}
	case 10:
		return Fail{meta, text}
	case 11:
		return Cancel{meta, text}
	case 12:
		return RequestRetire{meta}
	case 13:
		return MarkRetired{meta}
	case 14:
		return TerminateOwner{meta, text}
	case 15:
		return AdoptOwner{meta, text}
	case 16:
		return RegisterWatcher{meta}
	default:
		return Recover{meta, arg&1 != 0}
	}
}

func (w *walker) step(ev Event) {
	before := w.m
	m, out := Step(before, ev, w.p)
	if m2, out2 := Step(before, ev, w.p); !reflect.DeepEqual(m, m2) || !reflect.DeepEqual(out, out2) {
		w.t.Fatalf("%s: Step is not a function of its arguments", ev.action())
	}
	w.m = m
	row := RowOf(out)
	if row == nil {
		w.unchanged(before, ev, out)
		return
	}
	w.transition(before, ev, row, out)
	w.invariants()
	w.r.Apply(row, w.p.ProgressHistory)
	w.rows = append(w.rows, row.Event())
}

// unchanged: what is no transition leaves the machine bit for bit as it is.
func (w *walker) unchanged(before Machine, ev Event, out []Effect) {
	if !reflect.DeepEqual(before, w.m) {
		w.t.Fatalf("%s: no row, and another machine", ev.action())
	}
	if len(out) > 1 {
		w.t.Fatalf("%s: %d effects without a row", ev.action(), len(out))
	}
	for _, e := range out {
		switch e := e.(type) {
		case Reject:
			if e.Action != ev.action() || e.Error.Error() == "" || e.Fields() == nil {
				w.t.Fatalf("%s is refused as %s: %v", ev.action(), e.Action, e.Error)
			}
		case Repeat:
			if e.Version < 1 || e.Version > w.m.Version {
				w.t.Fatalf("repeat of version %d at %d", e.Version, w.m.Version)
			}
		case Watch:
			if e.Resolved != w.m.Ended() {
				w.t.Fatalf("watch of %s: resolved %t", w.m.Status, e.Resolved)
			}
		case TakeUp:
			if !w.m.Live() || w.m.Status == Provisioning {
				w.t.Fatalf("%s is taken up", w.m.Status)
			}
		default:
			w.t.Fatalf("%s: %T without a row", ev.action(), e)
		}
	}
}

// transition: one version more, nothing leaves an ending, effects in order.
func (w *walker) transition(before Machine, ev Event, row *Row, out []Effect) {
	if before.Ended() {
		w.t.Fatalf("%s left %s for %s", ev.action(), before.Status, w.m.Status)
	}
	if w.m.Version != before.Version+1 || row.Expect() != before.Version || !reflect.DeepEqual(row.After, w.m) || row.From != before.Status {
		w.t.Fatalf("%s: version %d after %d, row %+v", ev.action(), w.m.Version, before.Version, row)
	}
	if before.PeerReady && (!w.m.PeerReady || w.m.Peer != before.Peer) {
		w.t.Fatalf("%s took the peer away", ev.action())
	}
	if w.m.ProgressCount < before.ProgressCount {
		w.t.Fatalf("%s took progress away", ev.action())
	}
	want := []Effect{Append{row}, Publish{row}}
	if w.m.Ended() {
		want = append(want, Resolve{row})
		if w.m.Status == Cancelled || w.m.Status == Terminated {
			want = append(want, StopWork{row})
		}
	}
	if !reflect.DeepEqual(out, want) {
		w.t.Fatalf("%s: effects %v", ev.action(), out)
	}
}

// invariants are those of a machine, however it came about (§1).
func (w *walker) invariants() {
	m := &w.m
	switch {
	case m.Live() == m.Ended():
		w.t.Fatalf("%s is live and ended, or neither", m.Status)
	case m.Ended() && m.Outcome.Type != m.Status:
		w.t.Fatalf("%s has the outcome of %s", m.Status, m.Outcome.Type)
	case m.Live() && !reflect.DeepEqual(m.Outcome, Outcome{}):
		w.t.Fatalf("%s has an outcome", m.Status)
	case (m.CompletedAtMS != 0) != m.Ended():
		w.t.Fatalf("%s completed at %d", m.Status, m.CompletedAtMS)
	case m.StartedAtMS == 0 && (m.Status == Running || m.Status == Retiring || m.Status == Completed || m.Status == Retired):
		w.t.Fatalf("%s never started", m.Status)
	case m.UpdatedAtMS < m.CreatedAtMS, m.Ended() && m.CompletedAtMS != m.UpdatedAtMS:
		w.t.Fatalf("created %d, updated %d, completed %d", m.CreatedAtMS, m.UpdatedAtMS, m.CompletedAtMS)
	case m.PeerReady && !m.ExpectPeer:
		w.t.Fatal("a peer that nobody expected is ready")
	case (m.ProgressCount > 0) != (m.Progress.AtMS > 0):
		w.t.Fatalf("%d updates, the last at %d", m.ProgressCount, m.Progress.AtMS)
	}
	if field, rule := m.check(); field != "" {
		w.t.Fatalf("%s %s", field, rule)
	}
}

// replay: the journal gives back the same record, from the beginning and from
// a snapshot in the middle.
func (w *walker) replay() {
	if len(w.rows) == 0 {
		return
	}
	rows := stored(w.t, w.rows)
	got, err := Replay(Record{}, rows, w.p)
	if err != nil {
		w.t.Fatal(err)
	}
	if !sameRecord(got, w.r) {
		w.t.Fatalf("replayed\n got %+v\nwant %+v", got, w.r)
	}
	half := max(1, len(rows)/2)
	middle, err := Replay(Record{}, rows[:half], w.p)
	if err != nil {
		w.t.Fatal(err)
	}
	snapshot, err := json.Marshal(middle)
	if err != nil {
		w.t.Fatal(err)
	}
	var back Record
	if err := json.Unmarshal(snapshot, &back); err != nil {
		w.t.Fatal(err)
	}
	if got, err = Replay(back, rows[half:], w.p); err != nil {
		w.t.Fatal(err)
	}
	if !sameRecord(got, w.r) {
		w.t.Fatalf("replayed from a snapshot\n got %+v\nwant %+v", got, w.r)
	}
}

func newWalker(t tb) *walker {
	p := DefaultPolicy()
	limit := 4
	p.MaxConcurrent, p.ProgressHistory = &limit, 3
	return &walker{t: t, p: p}
}

func FuzzStep(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 5, 0, 6, 2, 12, 0, 9, 8})
	f.Add([]byte{0, 1, 1, 0, 17, 1})
	f.Add([]byte{0, 0, 6, 0, 1, 32, 1, 33, 6, 33, 7, 34, 11, 33, 11, 33})
	f.Add([]byte{0, 0, 15, 1, 15, 3, 14, 3})
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 400 {
			ops = ops[:400]
		}
		newWalker(t).play(ops)
	})
}

// TestRandomLives is the fuzz target in every run of the tests. The first call
// registers, so that most lives are lived.
func TestRandomLives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Byte().Draw(t, "first") & 1
		ops := rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, "ops")
		newWalker(t).play(append([]byte{0, first}, ops...))
	})
}

func FuzzFromJournal(f *testing.F) {
	_, rows := play(f, life(), DefaultPolicy())
	for _, e := range rows {
		b, err := e.MarshalJSON()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e drey.Event
		if json.Unmarshal(b, &e) != nil {
			return
		}
		ev, err := FromJournal(e)
		if err != nil {
			return
		}
		Step(Machine{}, ev, Policy{})
		Step(must(t, Machine{}, life()[:2]...), ev, Policy{})
	})
}

func FuzzParseID(f *testing.F) {
	f.Add(idOf(1).String())
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			return
		}
		if back, err := ParseID(id.String()); err != nil || back != id {
			t.Errorf("%q became %s and %s, %v", s, id, back, err)
		}
	})
}
