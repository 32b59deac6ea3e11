package daemon

import (
	"context"
	"os"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/activation"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/dormancy"
	"github.com/dreyhq/drey/internal/healing"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/waker"
)

// machineLifecycle is whose events those of the lifecycle are.
const machineLifecycle = "lifecycle"

// policyOf compiles the lifecycle's part of the configuration.
func (d *Daemon) policyOf(l *config.Lifecycle) lifecycle.Policy {
	return lifecycle.Policy{
		ShadowRun: d.shadow(), DrowsyAfter: l.DrowsyAfter.D(), SleepAfter: l.SleepAfter.D(), HibernateAfter: l.HibernateAfter.D(),
		BootGrace: l.BootGrace.D(), ActivityFlush: l.ActivityFlush.D(), CycleDeadline: l.CycleDeadline.D(), QuarantineTTL: l.QuarantineTTL.D(),
	}
}

// openRecord opens the lifecycle's record. The lock is held.
func (d *Daemon) openRecord() (err error) {
	d.record, err = statedir.OpenLifecycle(statedir.LifecycleConfig{
		Home: d.home, Lock: d.lock, ShadowRun: d.shadow(),
		Warn: func(err error) { d.log.Warn("lifecycle-log-not-written", "error", err) },
	})
	return err
}

// newOwner makes the owner of the lifecycle. Everything that it drives is
// there.
func (d *Daemon) newOwner(ctx context.Context, gen *generation) *dormancy.Owner {
	return dormancy.New(dormancy.Config{
		State: d.record, Home: d.home, Doors: doors{d}, Policy: d.policyOf(&gen.file.Lifecycle), Steps: d.sleepSteps(), Watch: d.homeWatch.C(),
		Blocks: d.blocks, Relax: d.relax, Moved: d.moved, Publish: d.publish, Woke: d.sleep.woke, StepTook: d.sleep.stepTook, Log: d.log,
		Alarm: d.inherit().Alarm, FirstStart: d.firstStart(ctx), Redact: d.redactString,
	})
}

// wakeUp takes the lifecycle up where the last process left it. Nothing is
// accepted yet.
func (d *Daemon) wakeUp() {
	in := d.inherit()
	for _, text := range in.Ignored {
		d.log.Warn("activation-ignored", "what", text)
	}
	waits := in.Gateway != nil && activation.Readable(in.Gateway) || in.Control != nil && activation.Readable(in.Control)
	d.owner.Boot(dormancy.Started{By: d.startedBy(), Version: d.opts.Version, PID: os.Getpid(), Connection: waits})
}

// doors are what closes on the way into HIBERNATION (the lifecycle contract
// §7.5).
type doors struct{ d *Daemon }

// Pause implements dormancy.Doors.
func (o doors) Pause(ctx context.Context) error { return o.d.server.Pause(ctx) }

// Settle implements dormancy.Doors.
func (o doors) Settle(ctx context.Context) error {
	if err := o.d.keeper.Settle(ctx); err != nil {
		return err
	}
	return o.d.store.Flush(ctx)
}

// Resume implements dormancy.Doors.
func (o doors) Resume() {
	o.d.keeper.Resume()
	o.d.server.Resume()
}

// relax gives back what a daemon that nobody uses does not need.
func (d *Daemon) relax() {
	d.gateway.Close()
	d.store.Relax()
	waker.Slim()
}

// moved tells the others of a state. It must not block the owner, so that the
// last word waits for whoever acts on it.
func (d *Daemon) moved(s lifecycle.State) {
	d.sleep.moved(s)
	d.state.Store(uint32(s))
	for {
		select {
		case d.rests <- s:
			return
		default:
		}
		select {
		case <-d.rests: // nobody has read it, and it is not true any more
		default:
		}
	}
}

// rests are how far providers rest in each state.
var rests = map[lifecycle.State]healing.Rest{
	lifecycle.Wake: healing.Awake, lifecycle.Drowsy: healing.Drowsy, lifecycle.Sleep: healing.Asleep, lifecycle.Hibernation: healing.Asleep,
}

// rest has the providers follow the lifecycle's state, and gives back what
// upkeep has used.
func (d *Daemon) rest(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.upkept:
			if !d.awake() {
				d.relax()
			}
		case s := <-d.rests:
			d.keeper.Rest(rests[s])
		}
	}
}

// awake reports whether somebody uses the daemon.
func (d *Daemon) awake() bool { return lifecycle.State(d.state.Load()) == lifecycle.Wake }

// mind tells the lifecycle when the owner of the listeners has gone.
func (d *Daemon) mind(ctx context.Context) error {
	in := d.inherit()
	if in.Owner != activation.Waker {
		return nil
	}
	select {
	case <-ctx.Done():
	case <-in.Lost:
		d.log.Warn("owner-lost", "owner", in.OwnerName)
		d.owner.Note(lifecycle.OwnerLost(time.Now()))
	}
	return nil
}

// levels of lines that are more than news, and of those that are less.
var lifecycleLevels = map[string]drey.Level{
	lifecycle.EventStepStarted:  drey.Debug,
	lifecycle.EventStoreDamaged: drey.ErrorLevel, lifecycle.EventFileCorrupt: drey.ErrorLevel,
	lifecycle.EventQuarantined: drey.Warn, lifecycle.EventOwnerLost: drey.Warn,
}

// publish journals what the lifecycle's log has been told, which shows it to
// everybody else. What is lost here in a crash is found in the log at the next
// start (copyHistory).
func (d *Daemon) publish(_ context.Context, lines []lifecycle.Line, from, to lifecycle.State, trigger string) {
	d.sleep.transition(from, to, trigger)
	for _, l := range lines {
		d.bus.Emit(lifecycleEvent(l))
		if endsUpkeep(l) {
			select {
			case d.upkept <- struct{}{}:
			default: // once is enough
			}
		}
	}
}

// endsUpkeep reports whether upkeep is over for now with a line: it reads the
// whole store, and what it has read is in memory long after the state was
// entered in which memory is given back. What interrupts it wakes the daemon.
func endsUpkeep(l lifecycle.Line) bool {
	return l.Event == lifecycle.EventCycleCompleted || l.Event == lifecycle.EventStepCompleted && l.Field("error") != nil
}

// lifecycleEvent is a line of the lifecycle's log in the envelope.
func lifecycleEvent(l lifecycle.Line) drey.Event {
	ev := drey.Event{At: l.TS, Name: l.Event, Level: lifecycleLevels[l.Event], Machine: machineLifecycle, Cause: l.Cause}
	for _, f := range l.Fields {
		text, _ := f.Value.(string)
		switch f.Key {
		case "from":
			ev.From = text
		case "to":
			ev.To = text
		case "trigger":
			ev.Trigger = text
		default:
			ev.Fields = append(ev.Fields, f)
		}
	}
	if l.Reason != "" {
		ev.Fields = append(ev.Fields, drey.F("reason", l.Reason))
	}
	return ev
}

// copyHistory journals the lines of the lifecycle's log that the journal does
// not have: those of a process that ended before it could, and what a CLI did
// without one. The log is the truth, the journal its copy.
func (d *Daemon) copyHistory(ctx context.Context) error {
	page, err := d.store.Query(ctx, store.Query{Machine: machineLifecycle, Newest: true, Limit: store.MaxLimit})
	if err != nil {
		return err
	}
	var since time.Time
	have := map[string]bool{}
	for _, ev := range page.Events {
		have[historyKey(ev)] = true
		since = ev.At
	}
	lines, _, err := statedir.History(d.home, statedir.HistoryQuery{Since: since})
	if err != nil {
		return err
	}
	for _, raw := range lines {
		var ev drey.Event
		if ev.UnmarshalJSON(raw) != nil || ev.At.After(d.started) { // ours are on their way
			continue
		}
		ev.Machine = machineLifecycle
		if ev.Seq = 0; !have[historyKey(ev)] {
			d.bus.Emit(ev)
		}
	}
	return nil
}

func historyKey(ev drey.Event) string {
	return drey.FormatTime(ev.At) + " " + ev.Name + " " + ev.From + " " + ev.To
}

// rotateLate does at a start what the sleep cycle does else: a daemon that is
// started and stopped every day may never sleep.
func (d *Daemon) rotateLate(ctx context.Context) error {
	const late = 24 * time.Hour // the lifecycle contract §4.4
	if c := d.owner.Status().Record.LastCycle; c != nil && time.Since(c.CompletedAt) < late || ctx.Err() != nil {
		return nil
	}
	l := &d.conf.Load().file.Lifecycle
	_, err := statedir.RotateLifecycleLogs(d.home, time.Now(), l.LogCompressAfter.D(), l.LogKeep.D())
	return err
}

// tidy does what a start leaves for later, since its length has no bound and
// somebody may be waiting for a first answer (the lifecycle contract §7.1).
func (d *Daemon) tidy(ctx context.Context) error {
	for what, do := range map[string]func(context.Context) error{"history": d.copyHistory, "rotation": d.rotateLate} {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("start-not-tidied", "what", what, "error", err)
		}
	}
	return nil
}

// firstStart is when the home's first daemon started, as far back as the journal
// goes: the age of upkeep that has never run counts from there.
func (d *Daemon) firstStart(ctx context.Context) time.Time {
	page, err := d.store.Query(ctx, store.Query{Limit: 1})
	if err != nil || len(page.Events) == 0 {
		return d.started
	}
	return page.Events[0].At
}
