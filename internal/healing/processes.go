package healing

import (
	"context"
	"encoding/json"
	"errors"
	"syscall"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/process"
	"github.com/dreyhq/drey/internal/store"
)

// Backend is a process that runs, or has run.
type Backend interface {
	PID() int
	Port() int
	Identity() process.Identity
	// Ready waits until it answers. Errors: process.ErrExited,
	// process.ErrNotReady, ctx's.
	Ready(ctx context.Context) error
	// Done is closed, and Wait returns, when all of it is gone.
	Done() <-chan struct{}
	Wait() process.Exit
	// Stop ends it: with a grace, which ctx's end cuts short.
	Stop(ctx context.Context, grace time.Duration) error
}

func startProcess(s process.Spec) (Backend, error) {
	p, err := process.Start(s)
	if err != nil {
		return nil, err // not a nil pointer in an interface
	}
	return p, nil
}

// portTries is how often a process is started when somebody else took the port
// that was chosen for it. Source: the healing contract, §7.
const portTries = 3

// group is the machine of a process group.
type group struct {
	name   string
	g      health.Group
	policy health.GroupPolicy
	due    time.Time
	runs   map[drey.ProviderID]*run

	todo     []groupNote // what is to be stepped, in order
	stepping bool
}

// groupNote is an event of a group, and what the journal keeps of the process in
// the same commit; nil = nothing new.
type groupNote struct {
	ev   health.GroupEvent
	with *store.Append
}

// run is one start of a process, from before it until it is gone.
type run struct {
	n    uint64
	port int             // once it is known
	stop func(err error) // asks it to end
}

// run returns the number of a member's last start.
func (g *group) run(id drey.ProviderID) uint64 {
	if m := g.member(id); m != nil {
		return m.Run
	}
	return 0
}

// port returns where a member listens; 0 if it does not.
func (g *group) port(id drey.ProviderID) int {
	if r := g.runs[id]; r != nil {
		return r.port
	}
	return 0
}

func (g *group) member(id drey.ProviderID) *health.Member {
	for i := range g.g.Members {
		if g.g.Members[i].Provider == id {
			return &g.g.Members[i]
		}
	}
	return nil
}

func (g *group) view(id drey.ProviderID) *ProcessView {
	m := g.member(id)
	if m == nil {
		return &ProcessView{}
	}
	v := &ProcessView{State: m.State}
	if r := g.runs[id]; r != nil {
		v.PID, v.Port = m.PID, r.port
	}
	if len(m.Uses) == 0 && m.State == health.Ready {
		v.IdleSince = m.UsedAt
	}
	return v
}

// groupStep hands an event to a group's machine. with, if it is not nil, is
// written in the commit of the events: what the journal keeps of the process.
//
// Its effects may lead to further events of the same group: a request that is
// granted the process may be refused by its machine and give it back. Those are
// stepped when all effects of the first one are performed, since effects are
// good in the order of their steps only. So an event is stepped when groupStep
// returns, except within an effect of the same group.
func (k *Keeper) groupStep(g *group, ev health.GroupEvent, with *store.Append) {
	g.todo = append(g.todo, groupNote{ev, with})
	if g.stepping {
		return
	}
	g.stepping = true
	for len(g.todo) > 0 {
		n := g.todo[0]
		g.todo = g.todo[1:]
		k.stepGroup(g, n.ev, n.with)
	}
	g.stepping = false
}

// stepGroup is one step of groupStep.
func (k *Keeper) stepGroup(g *group, ev health.GroupEvent, with *store.Append) {
	next, effects := health.GroupStep(g.g, ev, g.policy)
	g.g = next
	appends := map[string]*store.Append{}
	var order []string
	of := func(id string) *store.Append {
		if appends[id] == nil {
			appends[id] = &store.Append{Machine: machineProcess, ID: id, Expect: store.AnyVersion}
			order = append(order, id)
		}
		return appends[id]
	}
	if with != nil {
		ap := of(with.ID)
		ap.Snapshot, ap.Delete = with.Snapshot, with.Delete
	}
	for _, e := range effects {
		if e, ok := e.(health.Emit); ok {
			ap := of(e.Event.ID)
			ap.Events = append(ap.Events, e.Event)
		}
	}
	if len(order) > 0 {
		list := make([]store.Append, len(order))
		for i, id := range order {
			list[i] = *appends[id]
		}
		k.journal(nil, list...)
	}
	for _, e := range effects {
		switch e := e.(type) {
		case health.ArmTimer:
			g.due = e.At
		case health.CancelTimer:
			g.due = time.Time{}
		case health.Start:
			k.startRun(g, e)
		case health.Stop:
			if r := g.runs[e.Provider]; r != nil && r.n == e.Run {
				r.stop(errStopping)
			} else { // it was never begun
				k.post(func() {
					k.groupStep(g, health.ProcStopped{GroupMeta: k.groupMeta(), Provider: e.Provider, Run: e.Run}, nil)
				})
			}
		case health.Tell:
			if s := k.seat(e.Provider); s != nil {
				k.step(s, e.Event)
				k.tellDrainers(s)
			}
		case health.Grant:
			if s := k.seat(e.Token.Provider); s != nil {
				k.granted(s, e.Token.N)
			}
		case health.Refuse:
			if s := k.seat(e.Token.Provider); s != nil {
				k.denied(s, e.Token.N, e.Reason)
			}
		}
	}
	for _, m := range g.g.Members {
		if s := k.seat(m.Provider); s != nil && s.live.Load() != nil && groupName(s.provider) == g.name && *g.view(s.id) != k.shown(s) {
			k.publish(s)
		}
	}
}

// shown is the process as it was published.
func (k *Keeper) shown(s *seat) ProcessView {
	if p := s.live.Load().process; p != nil {
		return *p
	}
	return ProcessView{}
}

// startRun starts a process and stays with it, beside the owner, until all of
// it is gone.
func (k *Keeper) startRun(g *group, e health.Start) {
	s := k.seat(e.Provider)
	if s == nil || s.provider.Process == nil { // it left the configuration at the same moment
		k.post(func() {
			k.groupStep(g, health.StartFailed{GroupMeta: k.groupMeta(), Provider: e.Provider, Run: e.Run}, nil)
		})
		return
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(k.effects))
	r := &run{n: e.Run, stop: cancel}
	g.runs[e.Provider] = r
	w := &watch{k: k, g: g, r: r, id: e.Provider, spec: s.provider.Process.Spec, grace: s.provider.Process.Grace}
	w.spec.Name, w.spec.Model = s.id, s.provider.Model
	if w.spec.Dir == "" {
		w.spec.Dir = k.table.Load().settings.Home
	}
	k.beside(func() func() {
		defer cancel(nil)
		end := w.whole(ctx)
		return func() {
			if g.runs[w.id] == r {
				delete(g.runs, w.id)
			}
			var row *store.Append
			if !k.runs(w.id) { // else the row is that of its successor in another group
				row = &store.Append{ID: string(w.id), Delete: true}
			}
			k.groupStep(g, end, row)
		}
	})
}

// runs reports whether a process of the provider runs in any group.
func (k *Keeper) runs(id drey.ProviderID) bool {
	for _, g := range k.groups {
		if g.port(id) != 0 {
			return true
		}
	}
	return false
}

// watch is the life of one run. It belongs to the goroutine of that run.
type watch struct {
	k     *Keeper
	g     *group
	r     *run
	id    drey.ProviderID
	spec  process.Spec
	grace time.Duration
}

// whole is the run from its start to its end, which is the event that it
// returns. ctx ends when the process is asked to stop.
func (w *watch) whole(ctx context.Context) health.GroupEvent {
	select {
	case <-w.k.cleared: // what an earlier daemon left is gone
	case <-ctx.Done():
		return w.stopped()
	}
	for try := 1; ; try++ {
		p, err := w.k.cfg.Start(w.spec)
		if err != nil {
			if w.spec.Port == 0 && try < portTries && errors.Is(err, syscall.EADDRINUSE) {
				continue
			}
			w.k.cfg.Log.Warn("process-not-started", "provider", w.id, "error", w.k.oneLine(err.Error()))
			return w.failed(false)
		}
		w.tell(p)
		err = p.Ready(ctx)
		if err == nil {
			w.say(health.BecameReady{GroupMeta: w.k.groupMeta(), Provider: w.id, Run: w.r.n})
			select {
			case <-p.Done():
			case <-ctx.Done():
			}
		}
		switch {
		case ctx.Err() != nil: // asked to stop, at whatever point
			if err := w.stop(p); err != nil {
				w.k.cfg.Log.Error("process-not-stopped", "provider", w.id, "error", err)
			}
			return w.stopped()
		case errors.Is(err, process.ErrNotReady):
			w.k.cfg.Log.Warn("process-not-ready", "provider", w.id, "error", w.k.oneLine(err.Error()))
			if err := w.stop(p); err != nil {
				w.k.cfg.Log.Error("process-not-stopped", "provider", w.id, "error", err)
				return w.failed(false)
			}
			return w.failed(p.Wait().OOM)
		}
		exit := p.Wait()
		if err != nil && exit.PortTaken && w.spec.Port == 0 && try < portTries {
			continue
		}
		return health.Exited{
			GroupMeta: w.k.groupMeta(), Provider: w.id, Run: w.r.n, Code: exit.Code, Signal: exit.Signal, OOM: exit.OOM,
		}
	}
}

// tell makes the process known: to the owner, and to a later daemon.
func (w *watch) tell(p Backend) {
	row, err := json.Marshal(p.Identity())
	if err != nil { // strings and numbers: it cannot be
		row = nil
	}
	pid, port := p.PID(), p.Port()
	w.k.post(func() {
		w.r.port = port
		w.k.groupStep(w.g, health.Started{
			GroupMeta: w.k.groupMeta(), Provider: w.id, Run: w.r.n, PID: pid, Port: port,
		}, &store.Append{ID: string(w.id), Snapshot: row})
	})
}

func (w *watch) say(ev health.GroupEvent) { w.k.post(func() { w.k.groupStep(w.g, ev, nil) }) }

// stop ends the process with its grace, which somebody in a hurry cuts short.
func (w *watch) stop(p Backend) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	over := make(chan struct{})
	defer close(over)
	w.k.wg.Go(func() {
		select {
		case <-w.k.cfg.Hurry: // nil waits for ever
			cancel()
		case <-over:
		}
	})
	return p.Stop(ctx, w.grace)
}

func (w *watch) stopped() health.GroupEvent {
	return health.ProcStopped{GroupMeta: w.k.groupMeta(), Provider: w.id, Run: w.r.n}
}

func (w *watch) failed(oom bool) health.GroupEvent {
	return health.StartFailed{GroupMeta: w.k.groupMeta(), Provider: w.id, Run: w.r.n, OOM: oom}
}
