package healing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/process"
	"github.com/dreyhq/drey/internal/store"
)

// The words under which the journal knows the machines.
const (
	machineProvider = "provider"
	machineProcess  = "process"
)

// errStopping is why effects end with the daemon.
var errStopping = errors.New("drey is stopping")

// errDrained is told to the callers whose answers a drain cuts.
func errDrained(id drey.ProviderID) error {
	return &drey.Error{
		Class: drey.Cancel, Code: "drained", Op: "drain provider", Provider: id,
		Err: fmt.Errorf("provider %s was drained by the operator", id), Hint: "send the request again",
	}
}

// batch is one commit, and what is done when it is durable.
type batch struct {
	effects []health.Effect
	durable chan struct{} // closed then
}

// step hands an event to a provider's machine. The transition is in force when
// it returns; what must not happen before it is durable happens then. The
// effects are returned for those who look for their Grant among them.
func (k *Keeper) step(s *seat, ev health.Event) []health.Effect {
	m, effects := health.Step(s.m, ev, s.policy)
	s.m = m
	ap := store.Append{Machine: machineProvider, ID: string(s.id), Expect: store.AnyVersion}
	var later []health.Effect
	for _, e := range effects {
		switch e := e.(type) {
		case health.Emit:
			ap.Events = append(ap.Events, e.Event)
		case health.Persist:
			k.record(s, &ap, e)
		case health.ArmTimer:
			s.due = e.At
		case health.CancelTimer:
			s.due = time.Time{}
		case health.LateResult:
			k.cfg.Metrics.late()
		case health.Grant, health.Refuse, health.OpenTrial: // OpenTrial is in what is published
		default:
			later = append(later, e)
		}
	}
	switch {
	case len(ap.Events) > 0 || ap.Snapshot != nil || ap.Delete:
		b := &batch{effects: later, durable: make(chan struct{})}
		s.batches = append(s.batches, b)
		k.journal(func(last drey.Seq) { k.durable(s, b, last) }, ap)
	case len(s.batches) > 0: // in order
		b := s.batches[len(s.batches)-1]
		b.effects = append(b.effects, later...)
	default:
		k.perform(s, later)
	}
	v := s.m.View()
	v.InFlight = 0
	if live := s.live.Load(); live == nil || live.view != v || live.ratio != s.m.Ratio {
		k.publish(s)
		k.move(s)
	}
	return effects
}

// record puts what must survive a kill into the append.
func (k *Keeper) record(s *seat, ap *store.Append, p health.Persist) {
	if p.Delete {
		ap.Delete, s.recorded = s.recorded, false
		return
	}
	row, err := json.Marshal(p.Record)
	if err != nil { // a bug of ours
		k.cfg.Log.Error("health-not-saved", "provider", s.id, "error", err)
		return
	}
	ap.Snapshot, s.recorded = row, true
}

// save records a provider as it is, where no transition does.
func (k *Keeper) save(s *seat) {
	r, ok := s.m.Record()
	if !ok && !s.recorded {
		return
	}
	ap := store.Append{Machine: machineProvider, ID: string(s.id), Expect: store.AnyVersion}
	k.record(s, &ap, health.Persist{Record: r, Delete: !ok})
	k.journal(nil, ap)
}

// journal commits appends and shows their events to everybody. then runs in
// the owner's goroutine when that is durable, or has failed: a provider must
// heal although the disk is full.
func (k *Keeper) journal(then func(last drey.Seq), appends ...store.Append) {
	var events []drey.Event
	for _, ap := range appends {
		events = append(events, ap.Events...)
	}
	for _, ev := range events {
		k.cfg.Metrics.observe(ev)
	}
	k.uncommitted++
	k.cfg.Journal.Submit(func(c store.Commit, err error) {
		if err == nil {
			for i := range events {
				events[i].Seq = c.First + drey.Seq(i)
			}
			k.cfg.Bus.Committed(events...)
		} else {
			k.cfg.Log.Error("health-not-journaled", "error", err)
			k.cfg.Bus.Publish(events...)
		}
		k.post(func() {
			k.uncommitted--
			if then != nil {
				then(c.Last)
			}
		})
	}, appends...)
}

// durable performs what waited for a commit. Commits are answered in order.
func (k *Keeper) durable(s *seat, b *batch, last drey.Seq) {
	close(b.durable)
	s.batches = s.batches[1:]
	if last != 0 {
		s.cause = last
		k.publish(s)
	}
	k.perform(s, b.effects)
}

// perform does what a machine has asked for, in order.
func (k *Keeper) perform(s *seat, effects []health.Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case health.StartProbe:
			k.startProbe(s, e)
		case health.CancelProbe:
			if s.cancelProbe != nil && s.probeN == e.N {
				s.cancelProbe()
				s.cancelProbe = nil
			}
		case health.RunRestart:
			k.runRestart(s, e)
		case health.CancelRestart:
			if s.cancelRun != nil && s.restartN == e.N {
				s.cancelRun()
				s.cancelRun = nil
			}
		case health.CancelAttempts:
			for _, cut := range s.cuts {
				cut(errDrained(s.id))
			}
		}
	}
}

// startProbe looks at a provider beside the owner.
func (k *Keeper) startProbe(s *seat, e health.StartProbe) {
	if s.m.ProbeN != e.N { // cancelled while it waited for the disk
		return
	}
	ctx, cancel := context.WithCancel(k.effects)
	s.cancelProbe, s.probeN = cancel, e.N
	live := s.live.Load()
	k.beside(func() func() {
		r := k.look(ctx, live, e.Depth, live.provider.Probe.Timeout)
		cancel()
		return func() {
			k.cfg.Metrics.probed(s.id, r)
			k.step(s, health.ProbeEnded{
				Meta: k.meta(s), N: e.N, OK: r.OK, Class: r.Class, Depth: r.Depth, Latency: r.Latency, Error: r.Error,
			})
		}
	})
}

// runRestart runs a restart command beside the owner, or has the group restart
// the process.
func (k *Keeper) runRestart(s *seat, e health.RunRestart) {
	if g := k.groups[groupName(s.provider)]; g != nil {
		meta := k.groupMeta()
		meta.Cause = s.cause
		k.groupStep(g, health.RestartAsked{GroupMeta: meta, Provider: s.id}, nil)
		return
	}
	r := s.provider.Restart
	if r == nil || s.m.Restart != e.N { // the policy changed meanwhile
		k.step(s, health.RestartEnded{Meta: k.meta(s), N: e.N, Error: "there is no command any more"})
		return
	}
	ctx, cancel := context.WithCancel(k.effects)
	s.cancelRun, s.restartN = cancel, e.N
	cmd := process.Command{
		Argv: r.Argv, Shell: r.Shell, Env: r.Env, Timeout: r.Timeout, Dir: k.table.Load().settings.Home,
		Provider: s.id, Reason: e.Reason,
	}
	k.restarting++
	k.beside(func() func() {
		res := k.cfg.Run(ctx, cmd)
		cancel()
		return func() {
			k.restarting--
			k.step(s, health.RestartEnded{
				Meta: k.meta(s), N: e.N, OK: res.OK, Error: k.oneLine(res.Error), Duration: res.Duration,
			})
		}
	})
}

// beside runs something slow in a goroutine of its own. What it returns is the
// owner's to do; Serve waits for both.
func (k *Keeper) beside(slow func() (then func())) {
	k.working++
	k.wg.Go(func() {
		then := slow()
		k.post(func() {
			k.working--
			if then != nil {
				then()
			}
		})
	})
}
