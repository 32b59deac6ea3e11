package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/dormancy"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/server"
	"github.com/dreyhq/drey/internal/statedir"
	"github.com/dreyhq/drey/internal/upkeep"
)

// recordView is a record as the control API tells it.
func recordView(r lifecycle.Record) api.Lifecycle {
	l := api.Lifecycle{
		State: r.State.String(), Since: drey.FormatTime(r.Since), LastActivity: drey.FormatTime(r.LastActivity),
		Seq: r.Seq, ShadowRun: r.ShadowRun,
	}
	if p := r.Progress; p != nil {
		l.Progress = &api.Progress{LastCompletedStep: p.LastCompletedStep, Attempt: p.Attempt, LastError: p.LastError, StartedAt: drey.FormatTime(p.StartedAt)}
	}
	if q := r.Quarantine; q != nil {
		l.Quarantine = &api.Quarantine{Until: q.Until, Reason: q.Reason, Since: q.Since}
	}
	if c := r.LastCycle; c != nil {
		l.LastCycle = &api.LastCycle{CompletedAt: drey.FormatTime(c.CompletedAt), DurationSec: c.DurationSec, Mode: c.Mode, Seq: c.Seq}
	}
	return l
}

// LifecycleAtRest tells how the lifecycle stands where no daemon runs. It reads
// the files and changes nothing. A record that cannot be read is an error that
// is statedir.ErrCorrupt.
func LifecycleAtRest(home statedir.Home, now time.Time) (api.Lifecycle, error) {
	r, err := statedir.ReadLifecycle(home, now)
	if err != nil {
		if errors.Is(err, statedir.ErrCorrupt) {
			err = &drey.Error{Op: "read the lifecycle's record", Err: err, Hint: "`drey doctor --fix` keeps the file aside; so does the next start of the daemon"}
		}
		return api.Lifecycle{}, err
	}
	l := recordView(r)
	l.Daemon = "not running"
	return l, nil
}

// whyLines is how many of the log's lines are read for the story of the daemon.
const whyLines = 500

// WhyAtRest explains why no daemon runs, from the files: what GET /why/daemon
// answers where one does. It wakes nobody and changes nothing. What of the log
// cannot be read is left out.
func WhyAtRest(home statedir.Home, now time.Time) (api.Why, error) {
	l, err := LifecycleAtRest(home, now)
	if err != nil {
		return api.Why{}, err
	}
	lines, _, _ := statedir.History(home, statedir.HistoryQuery{Limit: whyLines})
	var events []drey.Event
	for _, line := range lines {
		var ev drey.Event
		if json.Unmarshal(line, &ev) == nil {
			events = append(events, ev)
		}
	}
	return server.WhyDaemon(l, false, events, now)
}

// LiftQuarantineAtRest lets the sleep cycle run again where no daemon runs,
// under the lock. It reports whether there was a quarantine; where there was
// none, nothing is written.
func LiftQuarantineAtRest(home statedir.Home, now time.Time) (changed bool, err error) {
	r, err := statedir.ReadLifecycle(home, now)
	if err != nil || r.Quarantine == nil {
		return false, err
	}
	err = statedir.Offline(statedir.LifecycleConfig{Home: home, ShadowRun: r.ShadowRun, Now: func() time.Time { return now }}, func(l *statedir.Lifecycle) error {
		_, err := l.Update(func(r lifecycle.Record) (lifecycle.Record, []lifecycle.Line) {
			changed = r.Quarantine != nil
			return lifecycle.LiftQuarantine(r, now, lifecycle.LiftManual)
		})
		return err
	})
	return changed && err == nil, err
}

// Dispatch is one dispatch of the lifecycle without a daemon, under the lock,
// as the configuration has it, and returns the state after it (the lifecycle
// contract §2.8).
func Dispatch(ctx context.Context, o Options, ev lifecycle.Event) (lifecycle.State, error) {
	f, _, _, err := Show(ctx, o)
	if err != nil {
		return 0, err
	}
	d := &Daemon{opts: o, loader: &loader{pinned: f}}
	home := statedir.At(o.Home)
	state, err := statedir.DispatchOffline(statedir.LifecycleConfig{Home: home, ShadowRun: d.shadow()}, ev, d.policyOf(&f.Lifecycle))
	if errors.Is(err, statedir.ErrLocked) {
		err = &drey.Error{Code: "locked", Err: err}
	}
	return state, err
}

// SleepSteps is how many steps a sleep cycle has.
var SleepSteps = len(upkeep.Steps(upkeep.Config{}))

// sleeper is the lifecycle as the control API asks and tells it.
type sleeper struct{ d *Daemon }

// Lifecycle implements server.Lifecycle.
func (s sleeper) Lifecycle(ctx context.Context) (api.Lifecycle, error) {
	s.d.catchUp(ctx)
	return s.d.lifecycleView(), nil
}

// wakeWithin is how long after a request's arrival its wake is on disk, where
// the disk is healthy. Source: the lifecycle contract §6.2.
const wakeWithin = 100 * time.Millisecond

// catchUp has whoever looks see the state that the requests before led to. One
// who looks does not wait for a disk that hangs.
func (d *Daemon) catchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, wakeWithin)
	defer cancel()
	d.owner.CatchUp(ctx)
}

func (d *Daemon) lifecycleView() api.Lifecycle {
	st := d.owner.Status()
	l := recordView(st.Record)
	l.Daemon = fmt.Sprintf("running pid=%d", os.Getpid())
	l.Visitor, l.Polling = d.server.Visitor(), d.homeWatch.Polling()
	who, _ := d.waker(&d.conf.Load().file.Lifecycle)
	if d.shadow() {
		who = "itself, since a shadow run does not end"
	}
	l.MayHibernate = &api.MayHibernate{May: len(st.Blocks) == 0, By: who}
	for _, b := range st.Blocks {
		l.MayHibernate.Because = append(l.MayHibernate.Because, b.Text)
	}
	if st.Next != nil {
		l.Next = &api.Next{Event: st.Next.Name(), At: drey.FormatTime(st.Next.At)}
	}
	if st.Running != nil {
		l.Step = st.Running.Name
	}
	return l
}

// Wake implements server.Lifecycle.
func (s sleeper) Wake(ctx context.Context, reason string) (api.Lifecycle, error) {
	if reason == "" {
		reason = "operator"
	}
	if _, err := s.d.owner.Wake(ctx, reason); err != nil {
		return api.Lifecycle{}, sleepError(err)
	}
	return s.d.lifecycleView(), nil
}

// Sleep implements server.Lifecycle.
func (s sleeper) Sleep(ctx context.Context, ask api.Sleep) (api.Slept, error) {
	if ask.NoWait {
		begun := make(chan error, 1)
		go func() { // it ends with the cycle, or with the owner
			_, err := s.d.owner.Sleep(context.WithoutCancel(ctx), dormancy.SleepOptions{Force: ask.Force, Begun: func() { begun <- nil }})
			begun <- err
		}()
		if err := <-begun; err != nil {
			return api.Slept{}, sleepError(err)
		}
		return api.Slept{Started: true, Steps: []api.SleepStep{}, Lifecycle: s.d.lifecycleView()}, nil
	}
	r, err := s.d.owner.Sleep(ctx, dormancy.SleepOptions{Force: ask.Force})
	if err != nil {
		return api.Slept{}, sleepError(err)
	}
	return s.slept(r), nil
}

func (s sleeper) slept(r dormancy.CycleReport) api.Slept {
	out := api.Slept{Clean: r.Clean, Steps: make([]api.SleepStep, 0, len(r.Steps)), Lifecycle: s.d.lifecycleView()}
	for _, step := range r.Steps {
		row := api.SleepStep{Number: step.Number, Name: step.Name, DurationSec: step.Took.Round(time.Millisecond).Seconds(), Skipped: step.Skipped}
		if step.Err != nil {
			row.Error = step.Err.Error()
		}
		out.Steps = append(out.Steps, row)
	}
	return out
}

// Hibernate implements server.Lifecycle.
func (s sleeper) Hibernate(ctx context.Context) (api.Slept, error) {
	if err := s.d.owner.Hibernate(ctx); err != nil {
		return api.Slept{}, sleepError(err)
	}
	return s.slept(dormancy.CycleReport{}), nil
}

// LiftQuarantine implements server.Lifecycle.
func (s sleeper) LiftQuarantine(ctx context.Context) (api.Lifted, error) {
	changed, err := s.d.owner.ResetQuarantine(ctx)
	if err != nil {
		return api.Lifted{}, sleepError(err)
	}
	return api.Lifted{Changed: changed, Lifecycle: s.d.lifecycleView()}, nil
}

// sleepError gives the owner's refusals their codes.
func sleepError(err error) error {
	refuse := func(code, hint string) error { return &api.Error{Code: code, Message: err.Error(), Hint: hint} }
	if _, ok := errors.AsType[*dormancy.BusyError](err); ok {
		return refuse(api.CodeNotIdle, "wait until it is done, or run the cycle beside it with --force")
	}
	if _, ok := errors.AsType[*dormancy.HeldError](err); ok {
		return refuse(api.CodeMayNotHibernate, "`drey lifecycle status` shows it; `drey up` keeps the listeners so that the daemon can end")
	}
	if _, ok := errors.AsType[*dormancy.SaveError](err); ok {
		return refuse(api.CodeNotSaved, "see that the disk has room and can be written; requests are served all the same, and it is tried again by itself")
	}
	if _, ok := errors.AsType[*dormancy.StepError](err); ok {
		return refuse(api.CodeCycleFailed, "`drey lifecycle history` has the whole story; it is tried again by itself")
	}
	switch {
	case errors.Is(err, dormancy.ErrQuarantined):
		return refuse(api.CodeQuarantined, "`drey lifecycle quarantine show` says why; --force runs it all the same")
	case errors.Is(err, dormancy.ErrInterrupted), errors.Is(err, dormancy.ErrActivity):
		return refuse(api.CodeInterrupted, "the cycle goes on when nobody works")
	case errors.Is(err, dormancy.ErrStopped):
		return &api.Error{Code: api.CodeUnavailable, Message: err.Error(), Hint: "the daemon is stopping"}
	}
	return err
}
