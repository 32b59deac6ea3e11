package lifecycle

import (
	"reflect"
	"testing"
	"time"
)

// FuzzStep reads bytes as events, two for each, and holds what the contract
// promises of every sequence (§11.2).
func FuzzStep(f *testing.F) {
	f.Add(byte(0), []byte{2, 0, 3, 1, 4, 3, 5, 0})
	f.Add(byte(6), []byte{0, 0, 2, 0, 3, 1, 1, 0, 4, 2, 8, 0})
	f.Add(byte(3), []byte{4, 255, 0, 7})
	f.Fuzz(func(t *testing.T, start byte, ops []byte) {
		r := Default(t0)
		r.State = states[start%4]
		p := DefaultPolicy()
		p.ShadowRun = start&4 != 0
		at := t0.In(time.FixedZone("", 3600)).Add(7) // another zone, and less than a microsecond
		ops = ops[:min(len(ops), 200)]               // a hundred events say it all
		for i := 0; i+1 < len(ops); i += 2 {
			ev := Event{Name: EventName(ops[i] % 12), Guards: Guards{ops[i+1]&1 != 0, ops[i+1]&2 != 0}}
			at = at.Add(time.Duration(int8(ops[i+1])) * time.Minute) // a clock may go back
			ev.At = at
			r = checkStep(t, r, ev, p)
		}
		r, _ = Step(r, Event{Name: RequestArrived, At: at}, p)
		if r.State != Wake {
			t.Fatalf("a request left it in %s", r.State)
		}
	})
}

// checkStep is Step with the invariants of one step.
func checkStep(t *testing.T, before Record, ev Event, p Policy) Record {
	t.Helper()
	got, effects := Step(before, ev, p)
	bad := func(what string) {
		t.Helper()
		t.Fatalf("%s: %s with %+v: %s -> %s %s", what, ev.Name, ev.Guards, before.State, got.State, show(effects))
	}
	active := ev.Name == HeartbeatRefresh || ev.Name == RequestArrived || ev.Name == WakeSignal
	next, moved := Transition(before.State, ev.Name, ev.Guards)
	switch {
	case got.State > Hibernation:
		bad("no state")
	case got.State != next:
		bad("Step and Transition disagree")
	case ev.Name == RequestArrived && got.State != Wake:
		bad("a request does not wake")
	case got.State == Hibernation && before.State != Hibernation && (before.State != Sleep || !ev.Guards.StillIdle):
		bad("hibernates")
	case got.State == Sleep && before.State != Sleep && (before.State != Drowsy || !ev.Guards.SleepEligible):
		bad("sleeps")
	case (got.Seq != before.Seq) != active || got.Seq > before.Seq+1:
		bad("sequence")
	case got.Equal(before) && !moved && len(effects) != 0:
		bad("effects of nothing")
	case (moved || !got.Equal(before)) && (len(effects) == 0 || effects[0] != Effect(Save{})):
		bad("not saved")
	case got.ShadowRun != p.ShadowRun:
		bad("whose flag is it")
	case moved && !got.Since.Equal(instant(ev.At)):
		bad("since when")
	}
	rank, lines, ends := -1, 0, false
	for _, e := range effects {
		n := 0
		switch e.(type) {
		case Log:
			n, lines = 1, lines+1
		case StopCycle, RunCycle:
			n = 2
		case Relax:
			n = 3
		case Arm:
			n = 4
		case Hibernate:
			n, ends = 5, true
		}
		if n < rank || n == rank && n != 1 {
			bad("order of effects")
		}
		rank = n
	}
	into := got.State == Hibernation && before.State == Sleep
	switch {
	case ends != (into && !p.ShadowRun):
		bad("the process's end")
	case (lines != 0) != moved || (lines == 2) != (into && p.ShadowRun) || lines > 2:
		bad("lines")
	}
	b, err := got.Encode()
	if err != nil {
		bad(err.Error())
	}
	if back, err := Decode(b, t0); err != nil || !reflect.DeepEqual(back, got) {
		t.Fatalf("%s: in memory it is not what a load gives:\n%+v\n%+v\n%v", ev.Name, got, back, err)
	}
	if again, same := Step(before, ev, p); !reflect.DeepEqual(again, got) || !reflect.DeepEqual(same, effects) {
		bad("not a function of its arguments")
	}
	return got
}
