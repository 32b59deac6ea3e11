package health

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
)

// world plays the shell of one group: it knows which processes there are and
// which requests wait, and checks after each step what §7 promises.
type world struct {
	t       testing.TB
	g       Group
	p       GroupPolicy
	now     time.Time
	n       uint64
	timer   time.Time
	waiting []Token
	using   []Token
	answers map[uint64]string            // per Want: how it ended
	procs   map[drey.ProviderID]*process // what runs
	trace   strings.Builder
	told    []string
}

type process struct {
	run      uint64
	ready    bool
	stopping bool
}

func newWorld(t testing.TB, resident int, members ...drey.ProviderID) *world {
	w := &world{
		t: t, now: t0, answers: map[uint64]string{}, procs: map[drey.ProviderID]*process{},
		p: GroupPolicy{Resident: resident, SwapWait: 30 * time.Second, MinResident: 10 * time.Second},
	}
	for _, id := range members {
		w.p.Members = append(w.p.Members, DefaultMemberPolicy(id))
	}
	return w
}

func (w *world) meta() GroupMeta { return GroupMeta{At: w.now} }

func (w *world) step(ev GroupEvent) {
	before := w.g
	g, out := GroupStep(before, ev, w.p)
	if g2, out2 := GroupStep(before, ev, w.p); !reflect.DeepEqual(g, g2) || !reflect.DeepEqual(out, out2) {
		w.t.Fatalf("%T: GroupStep is not a function of its arguments", ev)
	}
	w.g = g
	fmt.Fprintf(&w.trace, "%7.1fs  %s -> %s\n", w.now.Sub(t0).Seconds(), describeGroupEvent(ev), describeGroup(g))
	for _, e := range out {
		fmt.Fprintf(&w.trace, "            %s\n", describeEffect(e))
		w.perform(ev, e)
	}
	w.check(ev)
}

func (w *world) perform(ev GroupEvent, e Effect) {
	answer := func(t Token, how string) {
		if w.answers[t.N] != "" {
			w.t.Fatalf("%T: request %d is answered twice: %s, %s", ev, t.N, w.answers[t.N], how)
		}
		w.answers[t.N] = how
		w.waiting = slices.DeleteFunc(w.waiting, func(u Token) bool { return u.N == t.N })
	}
	switch e := e.(type) {
	case Start:
		if w.procs[e.Provider] != nil {
			w.t.Fatalf("%T: %s starts while it runs", ev, e.Provider)
		}
		w.procs[e.Provider] = &process{run: e.Run}
	case Stop:
		p := w.procs[e.Provider]
		if p == nil || p.run != e.Run || p.stopping {
			w.t.Fatalf("%T: stop of %s, which does not run", ev, e.Provider)
		}
		p.stopping = true
	case Grant:
		if w.g.member(e.Token.Provider).State != Ready {
			w.t.Fatalf("%T: granted %s, which is not READY", ev, e.Token.Provider)
		}
		answer(e.Token, "granted")
		w.using = append(w.using, e.Token)
	case Refuse:
		answer(e.Token, "refused "+e.Reason)
	case ArmTimer:
		w.timer = e.At
	case CancelTimer:
		w.timer = time.Time{}
	case Tell:
		w.told = append(w.told, describeEvent(e.Event))
	}
}

func (w *world) check(ev GroupEvent) {
	loaded, moving := 0, !w.timer.IsZero()
	for i := range w.g.Members {
		m := &w.g.Members[i]
		if m.State.resident() {
			loaded++
		}
		moving = moving || m.State == Starting || m.State == Stopping || len(m.Uses) > 0
		p := w.procs[m.Provider]
		if runs := m.State == Starting || m.State == Ready || m.State == Stopping; runs != (p != nil) {
			w.t.Fatalf("%T: %s is %s and its process %v", ev, m.Provider, m.State, p)
		}
		if m.State == Ready && m.Yield == NoStop && len(m.Waiters) > 0 {
			w.t.Fatalf("%T: %s is READY and lets requests wait", ev, m.Provider)
		}
	}
	if loaded > w.p.resident() {
		w.t.Fatalf("%T: %d are loaded: %s", ev, loaded, describeGroup(w.g))
	}
	if len(w.waiting) > 0 && !moving {
		w.t.Fatalf("%T: %d wait and nothing happens: %s", ev, len(w.waiting), describeGroup(w.g))
	}
	queued := 0
	for _, m := range w.g.Members {
		queued += len(m.Waiters)
	}
	if queued != len(w.waiting) {
		w.t.Fatalf("%T: %d wait, the group knows %d", ev, len(w.waiting), queued)
	}
}

func (w *world) want(id drey.ProviderID) Token {
	w.n++
	t := Token{Provider: id, N: w.n}
	w.waiting = append(w.waiting, t)
	w.step(Want{GroupMeta: w.meta(), Token: t})
	return t
}

func (w *world) end(t Token) {
	w.using = slices.DeleteFunc(w.using, func(u Token) bool { return u.N == t.N })
	w.step(Ended{w.meta(), t})
}

func (w *world) cancel(t Token) {
	w.using = slices.DeleteFunc(w.using, func(u Token) bool { return u.N == t.N })
	w.waiting = slices.DeleteFunc(w.waiting, func(u Token) bool { return u.N == t.N })
	if w.answers[t.N] == "" {
		w.answers[t.N] = "cancelled"
	}
	w.step(Cancelled{w.meta(), t})
}

func (w *world) ready(id drey.ProviderID) {
	if p := w.procs[id]; p != nil && !p.ready && !p.stopping {
		p.ready = true
		w.step(BecameReady{w.meta(), id, p.run})
	}
}

func (w *world) exit(id drey.ProviderID, failed bool) {
	p := w.procs[id]
	if p == nil {
		return
	}
	delete(w.procs, id)
	w.using = slices.DeleteFunc(w.using, func(u Token) bool { return u.Provider == id })
	if failed && !p.ready && !p.stopping {
		w.step(StartFailed{GroupMeta: w.meta(), Provider: id, Run: p.run})
	} else {
		w.step(Exited{GroupMeta: w.meta(), Provider: id, Run: p.run, Code: 1})
	}
}

func (w *world) gone(id drey.ProviderID) {
	if p := w.procs[id]; p != nil && p.stopping {
		delete(w.procs, id)
		w.using = slices.DeleteFunc(w.using, func(u Token) bool { return u.Provider == id })
		w.step(ProcStopped{w.meta(), id, p.run})
	}
}

func (w *world) tick() {
	if w.timer.After(w.now) {
		w.now = w.timer
	}
	w.step(GroupTick{w.meta()})
}

// settle lets everything go well, until nobody waits.
func (w *world) settle() {
	for range 2000 {
		if len(w.waiting) == 0 {
			return
		}
		for _, m := range w.p.Members {
			w.ready(m.Provider)
			w.gone(m.Provider)
		}
		for len(w.using) > 0 {
			w.end(w.using[0])
		}
		if len(w.waiting) > 0 && !w.timer.IsZero() {
			w.tick()
		}
	}
	w.t.Fatalf("%d requests wait for ever: %s", len(w.waiting), describeGroup(w.g))
}

func describeGroupEvent(ev GroupEvent) string {
	name := strings.TrimPrefix(fmt.Sprintf("%T", ev), "health.")
	v := reflect.ValueOf(ev)
	if f := v.FieldByName("Token"); f.IsValid() {
		t := f.Interface().(Token)
		name += fmt.Sprintf(" %s/%d", t.Provider, t.N)
	}
	if f := v.FieldByName("Provider"); f.IsValid() {
		name += fmt.Sprintf(" %s", f.Interface())
	}
	return name
}

func describeGroup(g Group) string {
	var s []string
	for _, m := range g.Members {
		d := fmt.Sprintf("%s %s", m.Provider, m.State)
		if m.Yield != NoStop {
			d += " yields"
		}
		s = append(s, fmt.Sprintf("%s %d/%d", d, len(m.Uses), len(m.Waiters)))
	}
	return strings.Join(s, ", ")
}

func TestGroupTranscripts(t *testing.T) {
	stories := map[string]func(w *world){
		"swap": func(w *world) {
			a := w.want("a")
			w.ready("a")
			w.now = after(5)
			b := w.want("b") // a is busy
			w.now = after(20)
			w.end(w.want("a")) // a's own go first
			w.tick()           // b has waited swap_wait
			w.want("a")        // waits behind b
			w.end(a)
			w.gone("a")
			w.tick()
			w.ready("b")
			w.end(b)
			w.gone("b")
			w.tick()
			w.ready("a")
		},
		"idle": func(w *world) {
			w.p.Members[0].TTL = time.Minute
			a := w.want("a")
			w.ready("a")
			w.now = after(100)
			w.end(a)
			w.now = after(159)
			w.end(w.want("a"))
			w.tick()
			w.want("a") // after Stop: it starts again
			w.gone("a")
			w.tick()
			w.ready("a")
		},
		"crash-loop": func(w *world) {
			w.want("a")
			for range 5 {
				w.exit("a", true)
				w.tick()
			}
			w.want("a")
			w.tick()
			w.ready("a")
			w.exit("a", false)
			w.step(StartAsked{w.meta(), "a"})
			w.ready("a")
		},
	}
	for name, tell := range stories {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, "a", "b")
			tell(w)
			golden(t, "group-"+name+".txt", w.trace.String())
		})
	}
}

func TestGroupTellsTheProvider(t *testing.T) {
	w := newWorld(t, 1, "a")
	w.want("a")
	w.ready("a")
	w.exit("a", false)
	w.tick()
	w.ready("a")
	w.step(RestartAsked{w.meta(), "a"})
	w.gone("a")
	w.tick()
	w.ready("a")
	w.step(RanOutOfMemory{w.meta(), "a", w.procs["a"].run})
	w.gone("a")
	want := []string{"ProcessReady", "ProcessExited", "ProcessReady", "ProcessUnloaded", "ProcessReady", "ProcessExited"}
	if diff := cmp.Diff(want, w.told); diff != "" {
		t.Error(diff)
	}
}

// TestStoppedOnItsWayUp: a provider that waits for its process is not forgotten
// when a person stops that process.
func TestStoppedOnItsWayUp(t *testing.T) {
	p := DefaultPolicy("a", "main")
	p.Command, p.Managed = "serve", true
	r := newRig(p)
	r.step(ProcessReady{r.meta()})
	r.step(ProcessExited{r.meta()})
	r.want(t, Excluded, Restarting)

	w := newWorld(t, 1, "a")
	w.want("a")
	w.exit("a", true)
	_, out := GroupStep(w.g, StopAsked{w.meta(), "a"}, w.p)
	for _, e := range out {
		if tell, ok := e.(Tell); ok {
			r.step(tell.Event)
		}
	}
	r.want(t, Excluded, Probing)
	r.tick()
	if r.m.Trial != TrialOpen {
		t.Errorf("no trial: %s", describe(r.m))
	}
}

func TestGroupBackoff(t *testing.T) {
	w := newWorld(t, 1, "a")
	w.p.Members[0].BackoffCap = 0
	w.want("a")
	var got []float64
	for range 11 {
		at := w.now
		w.exit("a", true)
		for w.procs["a"] == nil {
			w.tick()
		}
		got = append(got, w.now.Sub(at).Seconds())
	}
	if diff := cmp.Diff([]float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300}, got); diff != "" {
		t.Error(diff)
	}
	w.ready("a")
	w.now = w.now.Add(10 * time.Minute)
	w.exit("a", false)
	if d := w.g.Members[0].RetryAt.Sub(w.now); d != time.Second {
		t.Errorf("after 10m of READY the pause is %s", d)
	}
}

func TestGroupQueue(t *testing.T) {
	w := newWorld(t, 1, "a")
	w.p.Members[0].Queue = 2
	first := w.want("a")
	w.want("a")
	full := w.want("a")
	if w.answers[full.N] != "refused loading" {
		t.Errorf("a full queue: %q", w.answers[full.N])
	}
	w.now = after(299)
	w.step(GroupTick{w.meta()})
	w.now = after(300)
	w.step(GroupTick{w.meta()})
	if w.answers[first.N] != "refused loading" {
		t.Errorf("after queue_wait: %q", w.answers[first.N])
	}

	w = newWorld(t, 1, "a")
	w.p.Members[0].Queue = 0
	if n := w.want("a"); w.answers[n.N] != "refused loading" || w.procs["a"] == nil {
		t.Errorf("without a queue: %q, %v", w.answers[n.N], w.procs)
	}
}

func TestGroupShutdown(t *testing.T) {
	w := newWorld(t, 2, "a", "b")
	w.want("a")
	w.ready("a")
	b := w.want("b")
	w.step(GroupShutdown{w.meta()})
	if w.answers[b.N] != "refused shutdown" || !w.procs["a"].stopping || !w.procs["b"].stopping {
		t.Errorf("%s, %v", describeGroup(w.g), w.answers)
	}
	w.gone("a")
	w.gone("b")
	if late := w.want("a"); w.answers[late.N] != "refused shutdown" {
		t.Error(w.answers)
	}
	w.tick()
	if len(w.procs) != 0 || !w.timer.IsZero() {
		t.Error(describeGroup(w.g))
	}
}

func TestGroupEager(t *testing.T) {
	w := newWorld(t, 1, "a", "b")
	w.p.Members[0].Eager, w.p.Members[1].Eager = true, true
	w.step(GroupOpened{w.meta()})
	w.ready("a")
	if w.procs["a"] == nil || w.procs["b"] != nil {
		t.Error(describeGroup(w.g)) // the second waits for its first request
	}
}

func TestGroupMemberLeaves(t *testing.T) {
	w := newWorld(t, 1, "a", "b")
	a := w.want("a")
	w.ready("a")
	b := w.want("b")
	w.p.Members = w.p.Members[1:]
	w.step(GroupChanged{w.meta()})
	w.end(a)
	w.gone("a")
	w.tick()
	w.ready("b")
	if w.answers[b.N] != "granted" || len(w.g.Members) != 1 {
		t.Errorf("%s: %v", describeGroup(w.g), w.answers)
	}
}

// TestGroupLosesNoRequest holds the property of §7 over random interleavings:
// every Want ends in a Grant, a Refuse or its Cancelled.
func TestGroupLosesNoRequest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ids := []drey.ProviderID{"a", "b", "c"}
		w := newWorld(tb{t, rt}, rapid.IntRange(1, 3).Draw(rt, "resident"), ids...)
		for i := range w.p.Members {
			m := &w.p.Members[i]
			m.TTL = time.Duration(rapid.IntRange(0, 60).Draw(rt, "ttl")) * time.Second
			m.Queue = rapid.IntRange(0, 4).Draw(rt, "queue")
			m.QueueWait = time.Hour
			m.BackoffCap = rapid.IntRange(2, 5).Draw(rt, "cap")
		}
		for range rapid.IntRange(0, 120).Draw(rt, "steps") {
			id := rapid.SampledFrom(ids).Draw(rt, "member")
			switch rapid.IntRange(0, 20).Draw(rt, "op") {
			case 0, 1, 2, 3:
				w.want(id)
			case 4:
				if len(w.waiting) > 0 {
					w.cancel(rapid.SampledFrom(w.waiting).Draw(rt, "waiting"))
				}
			case 5, 6:
				if len(w.using) > 0 {
					w.end(rapid.SampledFrom(w.using).Draw(rt, "using"))
				}
			case 7, 8:
				w.ready(id)
			case 9:
				w.exit(id, rapid.Bool().Draw(rt, "failed"))
			case 10:
				w.gone(id)
			case 11:
				w.tick()
			case 12:
				w.now = w.now.Add(time.Duration(rapid.IntRange(0, 40).Draw(rt, "s")) * time.Second)
				w.step(GroupTick{w.meta()})
			case 13:
				w.step(StartAsked{w.meta(), id})
			case 14:
				w.step(StopAsked{w.meta(), id})
			case 15:
				w.step(RestartAsked{w.meta(), id})
			case 16:
				if p := w.procs[id]; p != nil {
					w.step(RanOutOfMemory{w.meta(), id, p.run})
				}
			case 17:
				w.step(Replaced{w.meta(), id})
			case 18:
				w.step(GroupShutdown{w.meta()})
			case 19, 20:
				w.step(GroupResumed{w.meta()})
			}
		}
		w.step(GroupResumed{w.meta()})
		w.settle()
		for n := uint64(1); n <= w.n; n++ {
			if w.answers[n] == "" {
				rt.Fatalf("request %d has no answer", n)
			}
		}
	})
}

// Another command or model in the configuration: the old process answers what
// it has begun, nobody who waits is turned away, and the next one is the new.
func TestGroupReplaced(t *testing.T) {
	w := newWorld(t, 1, "a")
	first := w.want("a")
	w.ready("a")
	w.step(Replaced{w.meta(), "a"})
	if m := w.g.member("a"); m.State != Ready || w.answers[first.N] != "granted" {
		t.Fatalf("its answer is not over: %s", describeGroup(w.g))
	}
	second := w.want("a")
	w.end(first)
	w.gone("a")
	w.tick()
	w.step(Replaced{w.meta(), "a"}) // on its way up, with somebody waiting
	w.gone("a")
	w.tick()
	w.ready("a")
	if m := w.g.member("a"); m.Run != 3 || w.answers[second.N] != "granted" {
		t.Errorf("run %d, answer %q: %s", m.Run, w.answers[second.N], describeGroup(w.g))
	}
}

// A hibernation that is called off: what was on its way up for a provider that
// heals comes up after all, and the rest when it is wanted.
func TestGroupResumed(t *testing.T) {
	w := newWorld(t, 2, "a", "b")
	w.end(func() Token { tok := w.want("a"); w.ready("a"); return tok }())
	w.want("b")
	w.ready("b")
	w.exit("b", false)
	w.step(GroupShutdown{w.meta()})
	w.gone("a")
	w.tick()
	if len(w.procs) != 0 {
		t.Fatalf("left: %s", describeGroup(w.g))
	}
	if tok := w.want("a"); w.answers[tok.N] != "refused shutdown" {
		t.Errorf("%q", w.answers[tok.N])
	}
	w.step(GroupResumed{w.meta()})
	if a, b := w.procs["a"], w.procs["b"]; a != nil || b == nil {
		t.Errorf("a %v, b %v: %s", a, b, describeGroup(w.g))
	}
	tok := w.want("a")
	w.ready("a")
	if w.answers[tok.N] != "granted" {
		t.Errorf("%q", w.answers[tok.N])
	}
}
