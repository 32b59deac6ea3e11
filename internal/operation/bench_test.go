package operation

import (
	"encoding/json"
	"fmt"
	"testing"
)

// TestTransitionsAllocateOnce holds the operations contract §12.1.
func TestTransitionsAllocateOnce(t *testing.T) {
	p := DefaultPolicy()
	run := running(t, memberSpec())
	for _, ev := range []Event{
		PeerBecameReady{metaAt(20), handle()},
		ReportProgress{metaAt(20), ProgressUpdate{"half", PercentOf(50)}},
		Complete{metaAt(20), Result{Content: "done"}},
		Fail{metaAt(20), "broke"},
		Cancel{metaAt(20), "enough"},
		RequestRetire{metaAt(20)},
		MarkRetired{metaAt(20)},
		TerminateOwner{metaAt(20), "owner ended"},
		AdoptOwner{metaAt(20), "s-new"},
	} {
		if a := testing.AllocsPerRun(100, func() { Step(run, ev, p) }); a > 1 {
			t.Errorf("%s allocates %v times", ev.action(), a)
		}
	}
	reg := Event(Register{Meta: metaAt(0), Registry: "mob:alpha", Spec: memberSpec()})
	if a := testing.AllocsPerRun(100, func() { Step(Machine{}, reg, p) }); a > 1 {
		t.Errorf("register_operation allocates %v times", a)
	}
}

// BenchmarkStep is one transition.
func BenchmarkStep(b *testing.B) {
	p := DefaultPolicy()
	b.Run("report_progress", func(b *testing.B) {
		b.ReportAllocs()
		m := running(b, memberSpec())
		ev := Event(ReportProgress{metaAt(20), ProgressUpdate{"half", PercentOf(50)}})
		for b.Loop() {
			m, _ = Step(m, ev, p)
		}
	})
	b.Run("life", func(b *testing.B) { // of four transitions
		b.ReportAllocs()
		evs := []Event{
			Register{Meta: metaAt(0), Registry: "mob:alpha", Spec: memberSpec()}, Provisioned{metaAt(1)},
			RequestRetire{metaAt(2)}, MarkRetired{metaAt(3)},
		}
		for b.Loop() {
			var m Machine
			for _, ev := range evs {
				m, _ = Step(m, ev, p)
			}
		}
	})
	b.Run("refused", func(b *testing.B) {
		b.ReportAllocs()
		m := must(b, running(b, memberSpec()), MarkRetired{metaAt(9)})
		ev := Event(ReportProgress{metaAt(20), ProgressUpdate{"half", PercentOf(50)}})
		for b.Loop() {
			m, _ = Step(m, ev, p)
		}
	})
}

// BenchmarkRow is what a transition costs the journal's encoder.
func BenchmarkRow(b *testing.B) {
	b.ReportAllocs()
	_, out := Step(running(b, memberSpec()), ReportProgress{metaAt(20), ProgressUpdate{"half", PercentOf(50)}}, Policy{})
	var buf []byte
	for b.Loop() {
		buf, _ = RowOf(out).Event().AppendJSON(buf[:0])
	}
}

// BenchmarkReplay is what one operation costs a restart: its snapshot and two
// rows.
func BenchmarkReplay(b *testing.B) {
	b.ReportAllocs()
	p := DefaultPolicy()
	_, rows := play(b, life()[:4], p)
	tail := stored(b, rows)[2:]
	head, _ := play(b, life()[:2], p)
	snapshot, err := json.Marshal(head)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var r Record
		if err := json.Unmarshal(snapshot, &r); err != nil {
			b.Fatal(err)
		}
		if _, err := Replay(r, tail, p); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPage is a page of 100 that a filter finds late among 100,000.
func BenchmarkPage(b *testing.B) {
	b.ReportAllocs()
	var x index
	for n := range 100_000 {
		it := item(byte(n), fmt.Sprintf("mob/role/%06d", n))
		it.Machine.Owner, it.Archived = "many", false
		if n >= 99_900 {
			it.Machine.Owner = "few"
		}
		x = append(x, it)
	}
	for b.Loop() {
		if items, _ := Page(x.ascend, Filter{Owner: "few"}, Key{}, 100); len(items) != 100 {
			b.Fatal(len(items))
		}
	}
}
