package health

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
)

var update = flag.Bool("update", false, "rewrite testdata")

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func after(s float64) time.Time { return t0.Add(time.Duration(s * float64(time.Second))) }

func meta(s float64) Meta { return Meta{At: after(s), Profile: "main", Rand: 0.5} }

// rig drives one machine as the shell would, and writes down what happens.
type rig struct {
	m     Machine
	p     Policy
	now   float64
	n     uint64
	trace strings.Builder
}

func newRig(p Policy) *rig { return &rig{p: p} }

func (r *rig) meta() Meta { return meta(r.now) }

func (r *rig) step(ev Event) []Effect {
	var out []Effect
	r.m, out = Step(r.m, ev, r.p)
	fmt.Fprintf(&r.trace, "%6.1fs  %s -> %s\n", r.now, describeEvent(ev), describe(r.m))
	for _, e := range out {
		fmt.Fprintf(&r.trace, "           %s\n", describeEffect(e))
	}
	return out
}

func (r *rig) start() Token {
	r.n++
	t := Token{Provider: r.p.Provider, Epoch: r.m.Epoch, N: r.n}
	r.m, _ = Step(r.m, AttemptStarted{r.meta(), t}, r.p)
	return t
}

func (r *rig) fail(times int) {
	for range times {
		r.step(AttemptEnded{Meta: r.meta(), Token: r.start(), Counted: true, Class: drey.Server, Error: "500"})
	}
}

func (r *rig) ok(times int) {
	for range times {
		r.step(AttemptEnded{Meta: r.meta(), Token: r.start(), OK: true})
	}
}

// tick goes to when the machine wants it.
func (r *rig) tick() []Effect {
	if due := r.m.due(); due.After(after(r.now)) {
		r.now = due.Sub(t0).Seconds()
	}
	return r.step(Tick{r.meta()})
}

func (r *rig) probe(ok bool) []Effect {
	ev := ProbeEnded{Meta: r.meta(), N: r.m.ProbeN, OK: ok, Latency: 40 * time.Millisecond}
	if !ok {
		ev.Class, ev.Error = drey.Transport, "connection refused"
	}
	return r.step(ev)
}

func (r *rig) trial(kind Ask, ev AttemptEnded) {
	r.n++
	t := Token{Provider: r.p.Provider, Epoch: r.m.Epoch, N: r.n}
	r.step(AttemptAsked{Meta: r.meta(), Token: t, For: kind})
	ev.Meta, ev.Token = r.meta(), t
	r.step(ev)
}

func (r *rig) want(t *testing.T, state State, phase Phase) {
	t.Helper()
	if r.m.State != state || r.m.Phase != phase {
		t.Fatalf("is %s %s, want %s %s\n%s", r.m.State, r.m.Phase, state, phase, r.trace.String())
	}
}

func names(effects []Effect) (out []string) {
	for _, e := range effects {
		if e, ok := e.(Emit); ok {
			out = append(out, e.Event.Name)
		}
	}
	return out
}

func describe(m Machine) string {
	s := fmt.Sprintf("%s %s", m.State, m.Phase)
	if m.By != ByNobody {
		s += " by " + m.By.String()
	}
	s += fmt.Sprintf(" failures=%d", m.ConsecutiveFailures)
	if m.RampLimit > 0 {
		s += fmt.Sprintf(" limit=%d", m.RampLimit)
	}
	if m.Phase == Probing {
		s += fmt.Sprintf(" interval=%s", m.Interval)
	}
	if m.Trial != NoTrial {
		s += " trial=" + m.Trial.String()
	}
	return s
}

func describeEvent(ev Event) string {
	name := strings.TrimPrefix(fmt.Sprintf("%T", ev), "health.")
	switch ev := ev.(type) {
	case AttemptEnded:
		switch {
		case ev.OK:
			name += " ok"
		case ev.Counted:
			name += " fail"
		default:
			name += " " + ev.Class.String()
		}
	case ProbeEnded:
		name += fmt.Sprintf(" ok=%t", ev.OK)
	case RestartEnded:
		name += fmt.Sprintf(" ok=%t", ev.OK)
	case OperatorProbe:
		name += fmt.Sprintf(" ok=%t", ev.OK)
	case AttemptAsked:
		name += " " + ev.For.String()
	case PolicyChanged:
		if ev.Gone {
			name += " gone"
		}
		if ev.Replaced {
			name += " replaced"
		}
	}
	return name
}

func describeEffect(e Effect) string {
	switch e := e.(type) {
	case Emit:
		b, err := e.Event.MarshalJSON()
		if err != nil {
			return err.Error()
		}
		_, rest, _ := strings.Cut(string(b), `"event":`)
		return "Emit " + rest
	case Persist:
		if e.Delete {
			return "Persist delete"
		}
		return fmt.Sprintf("Persist %s %s interval=%gs", e.Record.State, e.Record.Phase, e.Record.IntervalS)
	case ArmTimer:
		return fmt.Sprintf("ArmTimer %.1fs", e.At.Sub(t0).Seconds())
	}
	return strings.TrimPrefix(fmt.Sprintf("%T%+v", e, e), "health.")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); read it, then run with -update:\n%s", path, diff)
	}
}

// TestTranscripts tells whole stories. A human reads the diff.
func TestTranscripts(t *testing.T) {
	local := DefaultPolicy("local", "main")
	restartable := local
	restartable.Command = "systemctl restart ollama"
	paid := local
	paid.NoProbe = true
	demoted := local
	demoted.Excluders, demoted.Demote = nil, true
	managed := restartable
	managed.Managed = true

	stories := map[string]struct {
		p    Policy
		tell func(*rig)
	}{
		"breakdown": {restartable, func(r *rig) {
			r.fail(6)
			r.now = 4
			r.step(RestartEnded{Meta: r.meta(), N: 1, OK: true, Duration: 4 * time.Second})
			for range 3 {
				r.tick()
				r.probe(false)
			}
			r.tick()
			r.probe(true)
			r.ok(3)
		}},
		"fooled-probe": {local, func(r *rig) {
			r.fail(6)
			r.tick()
			r.probe(false)
			r.tick()
			r.probe(true)
			r.fail(1)
			r.tick()
			r.probe(true)
			r.ok(1)
			r.tick()
		}},
		"paid-trial": {paid, func(r *rig) {
			r.fail(6)
			r.trial(AskPanic, AttemptEnded{Counted: true, Class: drey.Server, Error: "502"})
			r.trial(AskPanic, AttemptEnded{Counted: true, Class: drey.Server})
			r.now = 20
			r.tick()
			r.trial(AskTrial, AttemptEnded{Class: drey.Cancel})
			r.trial(AskTrial, AttemptEnded{Counted: true, Class: drey.Server, Error: "502"})
			r.tick()
			r.trial(AskTrial, AttemptEnded{OK: true})
		}},
		"demoted": {demoted, func(r *rig) {
			r.fail(6)
			r.tick()
			r.probe(false)
			r.ok(1)
			r.fail(6)
			r.tick()
			r.probe(true)
		}},
		"operator": {restartable, func(r *rig) {
			under := r.start()
			r.step(OperatorDrain{Meta: r.meta(), Timeout: time.Minute, Reason: "new card"})
			r.tick()
			r.step(AttemptEnded{Meta: r.meta(), Token: under, Class: drey.Cancel})
			r.step(OperatorExclude{Meta: r.meta(), For: time.Hour})
			r.tick()
			r.step(OperatorRestart{Meta: r.meta(), Reason: "driver"})
			r.step(OperatorRestart{Meta: r.meta()})
			r.step(RestartEnded{Meta: r.meta(), N: 1, Error: "exit status 1"})
			r.step(OperatorProbe{Meta: r.meta(), OK: false})
			r.step(OperatorProbe{Meta: r.meta(), OK: true})
		}},
		"process": {managed, func(r *rig) {
			r.step(Loaded{Meta: r.meta()})
			r.step(ProcessReady{r.meta()})
			r.step(ProcessExited{r.meta()})
			r.now = 1
			r.step(ProcessExited{r.meta()})
			r.now = 9
			r.step(ProcessReady{r.meta()})
			r.tick()
			r.probe(true)
			r.ok(3)
			r.step(ProcessUnloaded{r.meta()})
			r.step(ShutdownBegan{r.meta()})
		}},
	}
	for name, s := range stories {
		t.Run(name, func(t *testing.T) {
			r := newRig(s.p)
			s.tell(r)
			golden(t, name+".txt", r.trace.String())
		})
	}
}

// TestOneBreakdown holds the order in which one exclusion reads (§11).
func TestOneBreakdown(t *testing.T) {
	p := DefaultPolicy("local", "main")
	p.Command = "restart"
	r := newRig(p)
	var got []string
	collect := func(out []Effect) {
		for _, e := range out {
			e, ok := e.(Emit)
			if !ok || !strings.HasPrefix(e.Event.Name, "self-healing-") {
				continue
			}
			name := strings.TrimPrefix(e.Event.Name, "self-healing-")
			for _, f := range e.Event.Fields {
				if f.Key == "success" {
					name += fmt.Sprintf("(%v)", f.Value)
				}
			}
			got = append(got, name)
		}
	}
	for range 6 {
		collect(r.step(AttemptEnded{Meta: r.meta(), Token: r.start(), Counted: true, Class: drey.Transport}))
	}
	collect(r.step(RestartEnded{Meta: r.meta(), N: r.m.Restart, OK: true}))
	for range 6 {
		collect(r.tick())
		collect(r.probe(false))
	}
	collect(r.tick())
	collect(r.probe(true))
	want := []string{"exclude", "restart(true)"}
	for range 6 {
		want = append(want, "recovery-probe(false)")
	}
	want = append(want, "restore", "recovery-probe(true)")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestProbeIntervals(t *testing.T) {
	r := newRig(DefaultPolicy("local", "main"))
	r.fail(6)
	var got []float64
	for range 6 {
		got = append(got, r.m.NextProbeAt.Sub(after(r.now)).Seconds())
		r.tick()
		r.probe(false)
	}
	if diff := cmp.Diff([]float64{30, 60, 120, 240, 300, 300}, got); diff != "" {
		t.Error(diff)
	}
	r.tick()
	r.step(ProbeEnded{Meta: r.meta(), N: r.m.ProbeN, Class: drey.Loading})
	if r.m.Interval != 5*time.Minute {
		t.Errorf("loading changed the interval to %s", r.m.Interval)
	}
}

func TestRatioRule(t *testing.T) {
	r := newRig(DefaultPolicy("local", "main"))
	for range 4 {
		r.ok(1)
		r.fail(1)
	}
	r.want(t, Healthy, NoPhase) // 8 attempts: too few
	r.ok(1)
	r.fail(1)
	r.want(t, Excluded, Probing)
	if r.m.Reason != "ratio" || r.m.ConsecutiveFailures != 1 {
		t.Errorf("reason %q at %d failures", r.m.Reason, r.m.ConsecutiveFailures)
	}

	p := DefaultPolicy("local", "main")
	p.Excluders = nil
	r = newRig(p)
	for range 5 {
		r.ok(1)
		r.fail(1)
	}
	r.want(t, Unhealthy, NoPhase)
	r.ok(1) // 5 of 11
	r.want(t, Healthy, NoPhase)

	r = newRig(p)
	for range 9 { // old attempts do not count
		r.ok(1)
		r.fail(1)
		r.now += 200
	}
	r.want(t, Healthy, NoPhase)
}

// TestSparseTraffic: the run is counted in attempts, not in time.
func TestSparseTraffic(t *testing.T) {
	r := newRig(DefaultPolicy("local", "main"))
	for range 5 {
		r.fail(1)
		r.now += 3600
	}
	r.want(t, Degraded, NoPhase)
	r.fail(1)
	r.want(t, Excluded, Probing)
}

func TestResultsThatDoNotCount(t *testing.T) {
	r := newRig(DefaultPolicy("local", "main"))
	late, twice := r.start(), r.start()
	r.step(AttemptEnded{Meta: r.meta(), Token: twice, Counted: true})
	out := r.step(AttemptEnded{Meta: r.meta(), Token: twice, Counted: true})
	if len(out) != 1 || r.m.ConsecutiveFailures != 1 {
		t.Errorf("a second result counted: %v", out)
	}
	r.step(AttemptEnded{Meta: r.meta(), Token: Token{N: 999}, Counted: true})
	for range 10_000 {
		r.step(AttemptEnded{Meta: r.meta(), Token: r.start(), Class: drey.Cancel})
	}
	if n, _ := r.m.Window(); n != 1 || r.m.ConsecutiveFailures != 1 {
		t.Errorf("cancels counted: %d", n)
	}
	r.fail(5)
	r.want(t, Excluded, Probing)
	r.now = 1
	r.step(AttemptEnded{Meta: r.meta(), Token: late, OK: true})
	r.want(t, Excluded, Probing) // a hint, no proof
	if !r.m.NextProbeAt.Equal(after(1)) {
		t.Errorf("a late success left the probe at %s", r.m.NextProbeAt)
	}
}

func TestRestartCap(t *testing.T) {
	p := DefaultPolicy("local", "main")
	p.Command, p.Ramp = "restart", 0
	r := newRig(p)
	capped := 0
	for i := range 7 {
		for range 6 {
			for _, n := range names(r.step(AttemptEnded{Meta: r.meta(), Token: r.start(), Counted: true})) {
				if n == "provider-restart-capped" {
					capped++
				}
			}
		}
		if want := i < 5; (r.m.Phase == Restarting) != want {
			t.Fatalf("exclusion %d: phase %s", i, r.m.Phase)
		}
		if r.m.Phase == Restarting {
			r.step(RestartEnded{Meta: r.meta(), N: r.m.Restart, OK: true})
		}
		r.tick()
		r.probe(true)
	}
	if capped != 1 {
		t.Errorf("provider-restart-capped emitted %d times", capped)
	}
	r.now += 700
	r.fail(6)
	r.want(t, Excluded, Restarting)
}

func TestDrainBeforeRestart(t *testing.T) {
	p := DefaultPolicy("local", "main")
	p.Command = "restart"
	for _, byTime := range []bool{true, false} {
		r := newRig(p)
		under := r.start()
		r.fail(6)
		r.want(t, Excluded, Draining)
		if byTime {
			r.tick()
		} else {
			r.step(AttemptEnded{Meta: r.meta(), Token: under, OK: true})
		}
		r.want(t, Excluded, Restarting)
	}
}

func TestPassiveRestore(t *testing.T) {
	r := newRig(DefaultPolicy("local", "main"))
	r.fail(6)
	out := r.step(AttemptEnded{Meta: Meta{At: after(5), Profile: "other"}, Token: r.start(), OK: true})
	r.want(t, Healthy, Ramping)
	if diff := cmp.Diff([]string{"self-healing-restore", "backend-health-changed"}, names(out)); diff != "" {
		t.Error(diff)
	}
}

func TestPolicyChanges(t *testing.T) {
	r := newRig(DefaultPolicy("local", "main"))
	r.fail(6)
	x := r.p
	r.p.Excluders, r.p.Demote = nil, true
	if got := names(r.step(PolicyChanged{Meta: r.meta()})); cmp.Diff([]string{"self-healing-restore"}, got) != "" {
		t.Error(got)
	}
	r.want(t, Unhealthy, Probing)
	r.p = x
	r.step(PolicyChanged{Meta: r.meta()})
	r.want(t, Unhealthy, NoPhase)
	r.fail(1) // row 4 from UNHEALTHY
	r.want(t, Excluded, Probing)
	under := r.start()
	r.step(PolicyChanged{Meta: r.meta(), Replaced: true})
	r.want(t, Healthy, NoPhase)
	r.step(AttemptEnded{Meta: r.meta(), Token: under, Counted: true})
	if r.m.ConsecutiveFailures != 0 || r.m.InFlight() != 0 {
		t.Errorf("a result of the old backend counted: %+v", r.m)
	}
}

func TestRampSlots(t *testing.T) {
	r := newRig(DefaultPolicy("local", "main"))
	r.fail(6)
	r.tick()
	r.probe(true)
	ask := func() Effect {
		r.n++
		return r.step(AttemptAsked{Meta: r.meta(), Token: Token{Epoch: r.m.Epoch, N: r.n}})[0]
	}
	if _, ok := ask().(Grant); !ok {
		t.Fatal("the first is refused")
	}
	if e, ok := ask().(Refuse); !ok || e.Reason != "ramping" {
		t.Fatalf("the second: %v", e)
	}
	r.step(AttemptEnded{Meta: r.meta(), Token: Token{Epoch: r.m.Epoch, N: r.n - 1}, Class: drey.Cancel})
	if _, ok := ask().(Grant); !ok || r.m.RampLimit != 1 {
		t.Fatal("a cancel did not give its slot back, or decided something")
	}
}

func TestParking(t *testing.T) {
	r := newRig(DefaultPolicy("local", "main"))
	refuse := func(park Park, wait time.Duration) []Effect {
		return r.step(AttemptEnded{Meta: r.meta(), Token: r.start(), Class: drey.RateLimit, Park: park, RetryAfter: wait})
	}
	var got []float64
	for range 6 {
		refuse(ParkRateLimit, 0)
		refuse(ParkRateLimit, 0) // one of several refused together
		got = append(got, r.m.ParkedUntil.Sub(after(r.now)).Seconds())
		r.tick()
	}
	if diff := cmp.Diff([]float64{5, 10, 20, 40, 60, 60}, got); diff != "" {
		t.Error(diff)
	}
	if refuse(ParkRateLimit, 0); r.m.ConsecutiveFailures != 0 || r.m.State != Healthy {
		t.Error("parking touched health")
	}
	r.tick()
	r.ok(1)
	refuse(ParkAuth, 0)
	if got := names(r.step(PolicyChanged{Meta: r.meta()})); cmp.Diff([]string{"provider-unparked"}, got) != "" {
		t.Errorf("a reload does not lift it: %v", got)
	}
}

func TestPlaces(t *testing.T) {
	views := []View{
		{State: Healthy},
		{State: Unhealthy, Phase: Probing},
		{State: Excluded, By: ByHealth, Phase: Probing},
		{State: Excluded, By: ByProcess, Phase: Restarting},
		{State: Excluded, By: ByOperator},
	}
	want := map[Action][]Place{
		ActionOff:     {OwnPlace, OwnPlace, OwnPlace, Skipped, Skipped},
		ActionWarn:    {OwnPlace, OwnPlace, OwnPlace, Skipped, Skipped},
		ActionDemote:  {OwnPlace, Behind, Behind, Skipped, Skipped},
		ActionExclude: {OwnPlace, OwnPlace, Skipped, Skipped, Skipped},
	}
	for action, places := range want {
		for i, v := range views {
			if got := v.Place(action); got != places[i] {
				t.Errorf("%s, %s %s by %s: %d, want %d", action, v.State, v.Phase, v.By, got, places[i])
			}
		}
	}
}
