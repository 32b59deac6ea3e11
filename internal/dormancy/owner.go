package dormancy

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
)

// A save that failed is tried again after firstRetry, doubling to lastRetry.
// Source: the lifecycle contract, §2.7.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// longest is the longest idleness that is told apart from a longer one.
const longest = 50 * 365 * 24 * time.Hour

// Owner owns the lifecycle of a daemon. Its methods may be called concurrently.
// Boot is called once, before the doors open, then Serve runs until the end.
type Owner struct {
	cfg   Config
	work  *ledger
	calls chan func()   // what others ask the owner to do
	bouts chan boutEnd  // holds one: the end of the step that runs
	doors chan error    // holds one: the end of the door that moves
	ended chan struct{} // closed when Serve has ended
	wg    sync.WaitGroup
	view  atomic.Pointer[view]

	// Owned by the goroutine of Serve (before it runs, by New and Boot).
	policy    lifecycle.Policy
	record    lifecycle.Record // as it is on disk
	booted    bool
	woken     bool            // from HIBERNATION, and not counted yet
	effects   context.Context // of what runs beside the owner; nil before Serve
	retry     retry
	stirred   bool    // something may have changed in the home
	wake      *string // why to wake: asked for and not yet on disk
	leases    leases
	refreshed bool   // an active lease was, and nobody has acted upon it
	seen      uint64 // the activity that has been acted upon
	written   int64  // the last activity that is in the record
	flushed   int64  // when activity was written last; never if 0
	quiet     int64  // from when on the owner wants to be told of the next quiet again
	cycle     *cycle
	moved     int64 // when the state changed last
	failed    int64 // when a step failed last; never if 0
	completed int64 // when a cycle was complete last; never if 0
	leaving   *leaving
	notBefore int64        // when the next departure may be tried
	eager     []*departure // operators who want HIBERNATION now
	ending    bool         // Serve was asked to end: nothing is begun any more
	gone      bool         // HIBERNATION is on disk, and the process must end
}

// retry is when a failed save may be tried again. The zero value is now.
type retry struct {
	at   int64
	wait time.Duration
	err  error // of the save; nil = the last one succeeded
}

// New returns an Owner. Nothing is read or written before Boot.
func New(cfg Config) *Owner {
	if cfg.Blocks == nil {
		cfg.Blocks = func() []lifecycle.Block { return nil }
	}
	if cfg.TimerDue == nil {
		cfg.TimerDue = func() time.Time { return time.Time{} }
	}
	if cfg.Moved == nil {
		cfg.Moved = func(lifecycle.State) {}
	}
	if cfg.Publish == nil {
		cfg.Publish = func(context.Context, []lifecycle.Line, lifecycle.State, lifecycle.State, string) {}
	}
	if cfg.Woke == nil {
		cfg.Woke = func(time.Duration) {}
	}
	if cfg.StepTook == nil {
		cfg.StepTook = func(string, time.Duration) {}
	}
	if cfg.Redact == nil {
		cfg.Redact = func(text string) string { return text }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	o := &Owner{
		cfg: cfg, work: newLedger(), policy: cfg.Policy,
		calls: make(chan func()), bouts: make(chan boutEnd, 1), doors: make(chan error, 1), ended: make(chan struct{}),
	}
	o.record = cfg.State.Record()
	// Idleness goes on from disk; a time in the future counts as now (§6.3).
	idle := min(max(0, cfg.Now().Sub(o.record.LastActivity)), longest)
	o.written = epoch - int64(idle)
	o.work.ended.Store(o.written)
	o.show()
	return o
}

// Begin notes that activity has arrived (the lifecycle contract, §6.1) and
// returns what notes its end, which is called exactly once. It never waits and
// never fails: a running step of upkeep is told to give way at once, and the
// state follows. It may be called before Boot and after Serve has ended.
func (o *Owner) Begin() (end func()) { return o.work.begin() }

// Recheck says that the answer of Config.Blocks or Config.TimerDue may have
// changed.
func (o *Owner) Recheck() { o.work.wake() }

// SetPolicy puts a new policy in force: what is due by it and overdue happens
// at once.
func (o *Owner) SetPolicy(p lifecycle.Policy) {
	select {
	case o.calls <- func() { o.policy = p }:
	case <-o.ended:
	}
}

// Serve owns the machine until ctx ends; then it returns nil, with the state on
// disk left as it is and the step that ran told to give way. It returns
// ErrHibernated when HIBERNATION is on disk: the caller finishes what §7.5 asks
// for after that point and ends the process. Everything that Serve started has
// ended when it returns.
func (o *Owner) Serve(ctx context.Context) error {
	defer o.wg.Wait()
	defer close(o.ended) // who waits for the owner must not be waited for
	effects, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(ErrStopped)
	o.effects = effects
	if !o.booted {
		o.Boot(Started{By: "start"})
	}
	o.cfg.Moved(o.record.State)

	timer := time.NewTimer(0)
	defer timer.Stop()
	done, watch := ctx.Done(), o.cfg.Watch
	for {
		next := o.look()
		o.show()
		switch {
		case o.gone:
			return ErrHibernated
		case o.ending && (o.cycle == nil || o.cycle.bout == nil) && o.leaving == nil:
			o.endCycle(ErrStopped)
			o.tellLeft(ErrStopped)
			return nil
		}
		timer.Reset(next)
		select {
		case <-o.work.poke:
		case do := <-o.calls:
			do()
		case end := <-o.bouts:
			o.boutEnded(end)
		case err := <-o.doors:
			o.doorEnded(err)
		case _, open := <-watch:
			o.stirred = true
			if !open {
				watch = nil
			}
		case <-timer.C:
		case <-done:
			done, o.ending = nil, true
			o.giveWay(ErrStopped)
			o.turnBack(ErrStopped)
		}
	}
}

// giveWay tells what runs beside the owner, apart from the doors, to end.
func (o *Owner) giveWay(cause error) {
	if o.cycle != nil && o.cycle.bout != nil {
		o.cycle.bout.cancel(cause)
	}
}

// dispatch takes an event through the machine to disk. It reports whether it is
// there; if not, the old state stays and the save is retried.
func (o *Owner) dispatch(ev lifecycle.Event) bool {
	d, err := o.cfg.State.Dispatch(ev, o.policy)
	return o.saved(d, ev.Name.String(), err)
}

// update takes a change of the record's bookkeeping to disk, like dispatch.
func (o *Owner) update(change func(lifecycle.Record) (lifecycle.Record, []lifecycle.Line)) bool {
	d, err := o.cfg.State.Update(change)
	return o.saved(d, "", err)
}

// saved follows a save: its readers are told, and its effects happen.
func (o *Owner) saved(d statedir.Dispatched, trigger string, err error) bool {
	if err != nil {
		o.retry.err = &SaveError{err}
		o.retry.wait = min(max(2*o.retry.wait, firstRetry), lastRetry)
		o.retry.at = o.work.now() + int64(o.retry.wait)
		o.cfg.Log.Error("lifecycle record not saved", "error", err, "retry_in_s", o.retry.wait.Seconds())
		return false
	}
	if o.retry != (retry{}) {
		o.cfg.Log.Info("lifecycle record saved again")
		o.retry = retry{}
	}
	o.record = d.After
	o.show()
	if !d.Moved {
		trigger = ""
	}
	if d.Moved || len(d.Lines) > 0 {
		o.cfg.Publish(o.context(), d.Lines, d.Before.State, d.After.State, trigger)
	}
	if d.Before.State != d.After.State {
		o.moved = o.work.now()
		o.cfg.Moved(d.After.State)
	}
	for _, e := range d.Effects {
		switch e.(type) {
		case lifecycle.StopCycle:
			if o.cycle != nil && !o.cycle.steady.Load() {
				o.giveWay(ErrActivity)
			}
		case lifecycle.Relax:
			if o.cfg.Relax != nil {
				o.wg.Go(o.cfg.Relax)
			}
		case lifecycle.Hibernate:
			o.gone = true
		}
	}
	return true
}

// context is for what the owner calls; before Serve there is none of its own.
func (o *Owner) context() context.Context {
	if o.effects == nil {
		return context.Background()
	}
	return o.effects
}

// hurry tries a failed save again at once, because somebody waits for it. A try
// of that kind does not put the next one off.
func (o *Owner) hurry() { o.retry.at, o.retry.wait = 0, o.retry.wait/2 }

// held reports whether saves wait for the next try.
func (o *Owner) held() bool { return o.retry.at > o.work.now() }

// at is the wall time of an instant of the ledger's clock.
func (o *Owner) at(instant int64) time.Time {
	return o.cfg.Now().Add(time.Duration(instant - o.work.now()))
}
