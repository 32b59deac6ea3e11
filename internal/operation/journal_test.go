package operation

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/dreyhq/drey"
)

// life is a member's life with everything in it that a row can hold.
func life() []Event {
	asked := metaAt(35)
	asked.RequestID = "r1"
	asked.Cause = 12
	return []Event{
		Register{Meta: metaAt(0), Registry: "mob:alpha", Spec: memberSpec()},
		Provisioned{metaAt(10)},
		PeerBecameReady{metaAt(20), handle()},
		ReportProgress{metaAt(30), ProgressUpdate{"half <of> it\n\u2028", PercentOf(50.5)}},
		ReportProgress{asked, ProgressUpdate{}},
		AdoptOwner{metaAt(40), "s-new"},
		RequestRetire{metaAt(60)},
		Complete{metaAt(70), Result{Content: "done \xff", IsError: true, DurationMS: 60, Tokens: 7}},
	}
}

// endings are lives that end in each other way.
func endings() [][]Event {
	reg := Register{Meta: metaAt(0), Registry: Fallback, Spec: toolSpec()}
	run := Provisioned{metaAt(1)}
	return [][]Event{
		{reg, ProvisioningFailed{metaAt(2), "no key"}},
		{reg, AbortProvisioning{metaAt(2), "not needed"}},
		{reg, AbortProvisioning{Meta: metaAt(2)}},
		{reg, Recover{Meta: metaAt(2)}},
		{reg, run, Recover{Meta: metaAt(2)}},
		{reg, run, Fail{metaAt(2), ""}},
		{reg, run, Cancel{metaAt(2), "enough"}},
		{reg, run, Cancel{Meta: metaAt(2)}},
		{reg, run, MarkRetired{metaAt(2)}},
		{reg, run, RequestRetire{metaAt(2)}, Recover{metaAt(3), false}},
		{reg, run, TerminateOwner{metaAt(2), "owner ended"}},
	}
}

// play returns the record that events make, and their rows.
func play(t tb, evs []Event, p Policy) (Record, []drey.Event) {
	t.Helper()
	var r Record
	var rows []drey.Event
	for _, ev := range evs {
		_, out := Step(r.Machine, ev, p)
		row := RowOf(out)
		if row == nil {
			t.Fatalf("%s: %v", ev.action(), Refusal(out))
		}
		r.Apply(row, p.ProgressHistory)
		rows = append(rows, row.Event())
	}
	return r, rows
}

// stored is what a journal gives back of rows.
func stored(t tb, rows []drey.Event) []drey.Event {
	t.Helper()
	out := make([]drey.Event, len(rows))
	for i, e := range rows {
		e.Seq = drey.Seq(i + 1)
		b, err := e.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &out[i]); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestRows prints the journal's rows of whole lives: the events that clients
// see.
func TestRows(t *testing.T) {
	var b strings.Builder
	for _, evs := range append([][]Event{life()}, endings()...) {
		_, rows := play(t, evs, DefaultPolicy())
		for _, e := range stored(t, rows) {
			line, err := e.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
		b.WriteByte('\n')
	}
	golden(t, "rows.golden", b.String())
}

// TestReplay takes every life apart at every place into a snapshot and a tail.
func TestReplay(t *testing.T) {
	p := DefaultPolicy()
	p.ProgressHistory = 1
	none := 0
	tight := p
	tight.MaxConcurrent = &none // limits decide what may happen, not what did
	for _, evs := range append([][]Event{life()}, endings()...) {
		want, rows := play(t, evs, p)
		for i := range len(rows) + 1 {
			head, _ := play(t, evs[:i], p)
			snapshot, err := json.Marshal(head)
			if err != nil {
				t.Fatal(err)
			}
			var back Record
			if i > 0 {
				if err := json.Unmarshal(snapshot, &back); err != nil {
					t.Fatal(err)
				}
			}
			for name, tail := range map[string][]drey.Event{"stored": stored(t, rows)[i:], "fresh": rows[i:]} {
				got, err := Replay(back, tail, tight)
				if err != nil {
					t.Fatalf("%s from %d: %v", name, i, err)
				}
				if !sameRecord(got, want) {
					t.Errorf("%s from %d\n got %+v\nwant %+v", name, i, got, want)
				}
			}
		}
	}
}

func sameRecord(a, b Record) bool {
	return reflect.DeepEqual(a.Machine, b.Machine) && reflect.DeepEqual(a.History.Updates(), b.History.Updates())
}

func TestReplayRefusesWhatIsNotWhole(t *testing.T) {
	p := DefaultPolicy()
	_, rows := play(t, life(), p)
	rows = stored(t, rows)
	change := func(i int, f func(*drey.Event)) []drey.Event {
		out := append([]drey.Event(nil), rows...)
		out[i].Fields = append([]drey.Field(nil), out[i].Fields...)
		f(&out[i])
		return out
	}
	for name, tail := range map[string][]drey.Event{
		"a row is missing":     append(append([]drey.Event(nil), rows[:3]...), rows[4:]...),
		"the first is missing": rows[1:],
		"twice":                append(append([]drey.Event(nil), rows...), rows[len(rows)-1]),
		"another machine":      change(0, func(e *drey.Event) { e.Machine = "mob" }),
		"no id":                change(0, func(e *drey.Event) { e.ID = "x" }),
		"no such action":       change(1, func(e *drey.Event) { e.Trigger = "provisioned" }),
		"an action of no row":  change(1, func(e *drey.Event) { e.Trigger = "register_watcher" }),
		"another version":      change(1, func(e *drey.Event) { e.Fields[2].Value = json.RawMessage("9") }),
		"a broken version":     change(1, func(e *drey.Event) { e.Fields[2].Value = json.RawMessage(`"2"`) }),
		"another status":       change(1, func(e *drey.Event) { e.To = "retiring" }),
		"a broken field":       change(3, func(e *drey.Event) { e.Fields[5].Value = json.RawMessage("{}") }),
		"the same owner":       change(5, func(e *drey.Event) { e.Fields[4].Value = json.RawMessage(`"s-lead"`) }),
	} {
		if _, err := Replay(Record{}, tail, p); err == nil {
			t.Errorf("%s: it was replayed", name)
		}
	}
}

// TestRepeatAfterRestart: a request id is known to the replayed machine too.
func TestRepeatAfterRestart(t *testing.T) {
	meta := metaAt(20)
	meta.RequestID = "r1"
	call := Complete{meta, Result{Content: strings.Repeat("x", MaxContent+1)}}
	p := DefaultPolicy()
	_, rows := play(t, []Event{Register{Meta: metaAt(0), Registry: "mob:alpha", Spec: memberSpec()}, Provisioned{metaAt(10)}, call}, p)
	r, err := Replay(Record{}, stored(t, rows), p)
	if err != nil {
		t.Fatal(err)
	}
	if _, out := Step(r.Machine, call, p); len(out) != 1 || out[0] != (Repeat{Version: 3}) {
		t.Errorf("effects %v", out)
	}
	call.Result.Content += "y"
	if _, out := Step(r.Machine, call, p); Refusal(out) == nil || Refusal(out).Code != CodeIdempotencyMismatch {
		t.Errorf("effects %v", out)
	}
}

func TestHistoryKeepsTheLast(t *testing.T) {
	var h History
	at := func() (out []int64) {
		for _, p := range h.Updates() {
			out = append(out, p.AtMS)
		}
		return out
	}
	add := func(ms int64, limit int, want ...int64) {
		t.Helper()
		h.Add(Progress{AtMS: ms}, limit)
		if got := at(); !reflect.DeepEqual(got, want) {
			t.Errorf("after %d under %d: %v, want %v", ms, limit, got, want)
		}
	}
	add(1, 3, 1)
	add(2, 3, 1, 2)
	add(3, 3, 1, 2, 3)
	add(4, 3, 2, 3, 4)
	add(5, 3, 3, 4, 5)
	add(6, 5, 3, 4, 5, 6) // raised in the middle of the ring
	add(7, 5, 3, 4, 5, 6, 7)
	add(8, 2, 7, 8) // lowered
	add(9, 0)
}
