package health

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
)

// walker feeds bytes as events to a machine, plays the shell, and checks after
// each step what the healing contract §13 promises.
type walker struct {
	t         testing.TB
	m         Machine
	p         Policy
	at        time.Time
	n         uint64
	open      []Token
	probe     uint64 // that runs; 0 = none
	restart   uint64
	restarts  bool // a command runs
	timer     time.Time
	persisted *Record
	out       bool // between self-healing-exclude and -restore
}

func newWalker(t testing.TB, cfg byte) *walker {
	p := DefaultPolicy("local", "main")
	p.Threshold = 1 + int(cfg&3)
	if cfg&4 != 0 {
		p.Command, p.Managed = "restart", cfg&8 != 0
	}
	p.NoProbe = cfg&16 != 0
	p.Jitter = 0.5
	w := &walker{t: t, p: p, at: t0}
	w.step(Loaded{Meta: w.meta(0)})
	return w
}

func (w *walker) meta(arg byte) Meta {
	profile := drey.ProfileID("main")
	if arg&1 != 0 {
		profile = "other"
	}
	return Meta{At: w.at, Profile: profile, Rand: float64(arg) / 256}
}

func (w *walker) play(ops []byte) {
	for i := 0; i+1 < len(ops); i += 2 {
		w.op(ops[i], ops[i+1])
	}
}

func (w *walker) op(op, arg byte) {
	meta := w.meta(arg)
	pick := func() (t Token, ok bool) {
		if len(w.open) == 0 {
			return Token{N: uint64(arg)}, false
		}
		i := int(arg) % len(w.open)
		t = w.open[i]
		if arg&64 == 0 { // else it stays, and ends twice
			w.open = append(w.open[:i:i], w.open[i+1:]...)
		}
		return t, true
	}
	next := func() Token {
		w.n++
		return Token{Provider: w.p.Provider, Epoch: w.m.Epoch, N: w.n}
	}
	switch op % 26 {
	case 0, 1:
		t := next()
		w.open = append(w.open, t)
		w.step(AttemptStarted{meta, t})
	case 2, 3, 4:
		t, _ := pick()
		w.step(AttemptEnded{Meta: meta, Token: t, Counted: true, Class: drey.Server})
	case 5:
		t, _ := pick()
		w.step(AttemptEnded{Meta: meta, Token: t, OK: true})
	case 6:
		t, _ := pick()
		w.step(AttemptEnded{Meta: meta, Token: t, Class: drey.Class(arg % 11), Park: Park(arg % 5)})
	case 7:
		w.step(AttemptAsked{Meta: meta, Token: next(), For: Ask(arg % 3)})
	case 8, 9:
		if w.m.due().After(w.at) {
			w.at = w.m.due()
			meta.At = w.at
		}
		w.step(Tick{meta})
	case 10:
		w.at = w.at.Add(time.Duration(arg) * time.Second)
	case 11, 12:
		w.step(ProbeEnded{Meta: meta, N: w.m.Probes - uint64(arg%8/7), OK: arg&1 == 0, Class: drey.Class(arg % 11)})
	case 13:
		n := w.restart
		w.restarts = false
		w.step(RestartEnded{Meta: meta, N: n, OK: arg&1 == 0})
	case 14:
		w.step(ProcessReady{meta})
	case 15:
		if w.p.Managed {
			w.step(ProcessExited{meta})
		}
	case 16:
		w.step(ProcessLooped{Meta: meta})
	case 17:
		w.step(ProcessUnloaded{meta})
	case 18:
		w.step(OperatorExclude{Meta: meta, For: time.Duration(arg%3) * time.Hour})
	case 19:
		w.step(OperatorDrain{Meta: meta, Timeout: time.Duration(arg) * time.Second})
	case 20:
		w.step(OperatorRestore{Meta: meta})
	case 21:
		w.step(OperatorRestart{Meta: meta})
	case 22:
		w.step(OperatorProbe{Meta: meta, OK: arg&1 == 0})
	case 23:
		w.p.Excluders, w.p.Demote = nil, arg&1 != 0
		if arg&2 != 0 {
			w.p.Excluders = []drey.ProfileID{"main"}
		}
		w.p.Asleep, w.p.NoProbe = arg&4 != 0, arg&8 != 0
		w.step(PolicyChanged{Meta: meta, Replaced: arg > 250})
		if arg > 250 {
			w.out = false
		}
	case 24:
		w.step(ShutdownBegan{meta})
	case 25:
		w.step(Resumed{meta})
	}
}

func (w *walker) step(ev Event) {
	before := w.m
	was := before.State
	m, out := Step(w.m, ev, w.p)
	if m2, out2 := Step(before, ev, w.p); !reflect.DeepEqual(m, m2) || !reflect.DeepEqual(out, out2) {
		w.t.Fatalf("%T: Step is not a function of its arguments", ev)
	}
	w.m = m
	for _, e := range out {
		switch e := e.(type) {
		case ArmTimer:
			w.timer = e.At
		case CancelTimer:
			w.timer = time.Time{}
		case Persist:
			w.persisted = &e.Record
			if e.Delete {
				w.persisted = nil
			}
		case StartProbe:
			if w.probe != 0 || w.p.NoProbe || before.Unloaded {
				w.t.Fatalf("%T: a probe that may not be", ev)
			}
			w.probe = e.N
		case CancelProbe:
			w.probe = 0
		case RunRestart:
			if w.restarts && !w.p.Managed {
				w.t.Fatalf("%T: two restarts at once", ev)
			}
			w.restart, w.restarts = e.N, true
		case CancelRestart:
			w.restarts = false
		case Emit:
			if _, err := json.Marshal(e.Event); err != nil {
				w.t.Fatal(err)
			}
			switch e.Event.Name {
			case "self-healing-exclude":
				if w.out || was == Excluded {
					w.t.Fatalf("%T: excluded twice", ev)
				}
				w.out = true
			case "self-healing-restore":
				if !w.out {
					w.t.Fatalf("%T: restored and was not out", ev)
				}
				w.out = false
			}
		}
	}
	if _, ok := ev.(ProbeEnded); ok && w.m.ProbeN == 0 {
		w.probe = 0
	}
	w.check(ev, m)
	if w.timer != m.due() {
		w.t.Fatalf("%T: the timer is at %s, due is %s", ev, w.timer, m.due())
	}
	if pc, ok := ev.(PolicyChanged); !ok || !pc.Replaced {
		if (m.State == Excluded) != w.out {
			w.t.Fatalf("%T: %s without its event", ev, m.State)
		}
	}
	w.replay(ev)
}

// check holds what is true of every machine.
func (w *walker) check(ev Event, m Machine) {
	bad := func(what string) { w.t.Fatalf("%T: %s in %s: %+v", ev, what, describe(m), m.View()) }
	attempts, failed := m.Window()
	switch {
	case m.ConsecutiveFailures < 0 || failed < 0 || failed > attempts || m.InFlight() < 0:
		bad("a count is negative")
	case (m.Phase == Ramping) != (m.RampLimit > 0):
		bad("ramp limit and phase disagree")
	case m.Phase == Ramping && m.State != Healthy:
		bad("ramping")
	case (m.Phase == Draining || m.Phase == Restarting) && m.State != Excluded:
		bad("phase")
	case (m.State == Excluded) != (m.By != ByNobody):
		bad("by whom")
	case m.By == ByOperator && (m.Phase == Probing || m.Phase == Restarting || m.Trial != NoTrial || m.ProbeN != 0):
		bad("something heals what a person took out")
	case m.ProbeN != w.probe && w.probe != 0:
		bad("a probe was forgotten")
	}
	if m.State != Excluded || m.By == ByOperator || m.Closed {
		return
	}
	switch m.Phase { // somebody will look at it again
	case Draining:
		if m.Deadline.IsZero() {
			bad("no deadline")
		}
	case Restarting:
		if m.RunningAt.IsZero() {
			bad("no restart")
		}
	case Probing:
		if m.due().IsZero() && m.ProbeN == 0 && m.Trial == NoTrial {
			bad("no timer, probe or trial")
		}
	default:
		bad("nothing to heal it")
	}
}

// replay kills the daemon here and starts it again: what was persisted must
// be what is true, counts aside, and bring the machine back.
func (w *walker) replay(ev Event) {
	if w.m.Closed { // counts are saved by the shell from here on
		return
	}
	r, ok := w.m.Record()
	if ok != (w.persisted != nil) {
		w.t.Fatalf("%T: %s: persisted is %v", ev, describe(w.m), w.persisted)
	}
	if !ok {
		return
	}
	p := *w.persisted
	p.ConsecutiveFailures = r.ConsecutiveFailures
	if w.m.State < Unhealthy {
		p.State = r.State // DEGRADED is a count below 2N
	}
	if !reflect.DeepEqual(p, r) {
		w.t.Fatalf("%T: not all is persisted\n%+v\n%+v", ev, p, r)
	}
	b, err := json.Marshal(r)
	if err != nil {
		w.t.Fatal(err)
	}
	back, err := ParseRecord(b)
	if err != nil {
		w.t.Fatal(err)
	}
	m, _ := Step(Machine{}, Loaded{Meta: w.meta(0), Record: back}, w.p)
	keep := func(m Machine) []any {
		return []any{m.State, m.By, m.ExcludedAt.Unix(), m.Until.Unix(), m.ParkedUntil.Unix()}
	}
	if a, b := keep(w.m), keep(m); !reflect.DeepEqual(a, b) {
		w.t.Fatalf("%T: after a restart %v, before %v", ev, b, a)
	}
	probe := w.probe
	w.probe = 0
	w.check(ev, m)
	w.probe = probe
}

func FuzzStep(f *testing.F) {
	f.Add(byte(2), []byte{0, 0, 2, 0, 0, 0, 2, 0, 8, 0, 11, 1, 8, 0, 11, 0})
	f.Add(byte(6), []byte{0, 0, 0, 0, 0, 0, 2, 0, 2, 0, 2, 0, 13, 0, 8, 0, 11, 0, 18, 0, 21, 0})
	f.Add(byte(6), []byte{0, 0, 0, 0, 2, 0, 2, 0, 2, 0, 2, 0, 24, 0, 5, 0, 25, 0, 13, 0, 8, 0, 11, 0})
	f.Add(byte(13), []byte{14, 0, 15, 0, 14, 0, 8, 0, 11, 0, 15, 0, 16, 0, 8, 0, 7, 1})
	f.Fuzz(func(t *testing.T, cfg byte, ops []byte) {
		if len(ops) > 400 {
			return
		}
		newWalker(t, cfg).play(ops)
	})
}

// TestProperties is the fuzz target's walk over random sequences, in each run.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := rapid.Byte().Draw(rt, "cfg")
		ops := rapid.SliceOfN(rapid.Byte(), 40, 300).Draw(rt, "ops")
		newWalker(tb{t, rt}, cfg).play(ops)
	})
}

// tb lets rapid shrink what fails in a walker.
type tb struct {
	testing.TB
	rt *rapid.T
}

func (t tb) Fatalf(format string, args ...any) { t.rt.Fatalf(format, args...) }
func (t tb) Fatal(args ...any)                 { t.rt.Fatal(args...) }

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"state":"EXCLUDED","phase":7,"interval_s":"x","restarts":[1],"excluded_at":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			return
		}
		w := &walker{t: t, p: DefaultPolicy("local", "main"), at: t0}
		m, _ := Step(Machine{}, Loaded{Meta: w.meta(9), Record: r}, w.p)
		w.check(Loaded{}, m)
	})
}

func TestRecordIsReadTolerantly(t *testing.T) {
	r, err := ParseRecord([]byte(`{"state":3,"phase":"dancing","interval_s":"long","consecutive_failures":7,"by":[],"excluded_at":"yesterday","reason":"ratio"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Record{State: Excluded, Phase: Probing, By: ByHealth, ConsecutiveFailures: 7, Reason: "ratio"}
	if !reflect.DeepEqual(want, r) {
		t.Errorf("got %+v, want %+v", r, want)
	}
	for _, broken := range []string{``, `null`, `[]`, `{`, `"x"`} {
		if _, err := ParseRecord([]byte(broken)); err == nil {
			t.Errorf("%q was read", broken)
		}
	}
}

func TestLoaded(t *testing.T) {
	p := DefaultPolicy("local", "main")
	p.Command = "restart"
	hour := Stamp{after(-3600)}
	for _, c := range []struct {
		name  string
		r     Record
		state State
		phase Phase
		due   float64
		run   bool
	}{
		{"probing is probed when it was due, or soon", Record{State: Excluded, Phase: Probing, NextProbeAt: hour}, Excluded, Probing, 0.5, false},
		{"a probe that is due later waits", Record{State: Excluded, Phase: Probing, NextProbeAt: Stamp{after(20)}}, Excluded, Probing, 20, false},
		{"a clock set back keeps nobody out", Record{State: Excluded, Phase: Probing, NextProbeAt: Stamp{after(1e6)}}, Excluded, Probing, 300, false},
		{"draining restarts now", Record{State: Excluded, Phase: Draining}, Excluded, Restarting, 0, true},
		{"restarting does not run again", Record{State: Excluded, Phase: Restarting}, Excluded, Probing, 2, false},
		{"ramping ramps from 1", Record{State: Healthy, Phase: Ramping}, Healthy, Ramping, 30, false},
		{"the operator's stays out", Record{State: Excluded, By: ByOperator, Until: Stamp{after(60)}}, Excluded, NoPhase, 60, false},
		{"a graceful stop keeps DEGRADED", Record{State: Degraded, ConsecutiveFailures: 4}, Degraded, NoPhase, 0, false},
		{"UNHEALTHY that nobody demotes has no probe", Record{State: Unhealthy, Phase: Probing, ConsecutiveFailures: 6}, Unhealthy, NoPhase, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, out := Step(Machine{}, Loaded{Meta: meta(0), Record: c.r}, p)
			if m.State != c.state || m.Phase != c.phase {
				t.Errorf("is %s", describe(m))
			}
			if due := m.due(); due.IsZero() && c.due != 0 || !due.IsZero() && !due.Equal(after(c.due)) {
				t.Errorf("due %s", due)
			}
			run := false
			for _, e := range out {
				_, ok := e.(RunRestart)
				run = run || ok
			}
			if run != c.run {
				t.Errorf("effects %v", out)
			}
			if again, out := Step(m, Loaded{Meta: meta(0), Record: Record{State: Unhealthy}}, p); len(out) != 0 || again.State != m.State {
				t.Error("loaded over a live machine")
			}
		})
	}
}
