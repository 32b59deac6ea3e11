// Package dormancy owns the daemon's lifecycle: it senses when nobody needs the
// daemon, lets it grow drowsy and sleep, does the upkeep then, wakes it, and ends
// it when somebody else can bring it back. The rules are those of
// internal/lifecycle, the files those of internal/statedir, the upkeep is handed
// in as steps; here is what connects them.
//
// One goroutine, that of Owner.Serve, owns the machine and does everything that
// is written. It sleeps on one timer for the next due instant and is woken by the
// first activity in a state that activity ends; in between a request costs two
// atomic additions and never waits for it.
package dormancy

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
)

// State keeps the record and the event log on disk: a *statedir.Lifecycle. The
// Owner calls it from one goroutine at a time and keeps it for itself from Boot
// until Serve has returned.
type State interface {
	Record() lifecycle.Record
	Dispatch(ev lifecycle.Event, p lifecycle.Policy) (statedir.Dispatched, error)
	Update(change func(lifecycle.Record) (lifecycle.Record, []lifecycle.Line)) (statedir.Dispatched, error)
	Append(lines ...lifecycle.Line) error
}

// Home is where wake requests and leases lie: a statedir.Home. It may be called
// concurrently.
type Home interface {
	WakePending() bool
	ConsumeWake() (content []byte, found bool, err error)
	Leases(now time.Time) ([]statedir.Lease, error)
}

// Step is one step of the sleep cycle. Their numbers are persisted.
type Step struct {
	Number  int
	Name    string
	Timeout time.Duration // of one run; 0 = 10 min (the lifecycle contract, §8.4)
	// Run does the step. It calls pace at each chunk boundary, with the chunk's
	// index: nil = go on (pace may have waited), an error = return it now, what
	// was done so far being committed. When ctx ends it returns within 100 ms.
	// Run again, it finds only what is left. skipped says why there was
	// nothing to do.
	Run func(ctx context.Context, pace func(chunk int) error) (skipped string, metrics []drey.Field, err error)
}

// Doors are what the daemon does on the way into HIBERNATION (the lifecycle
// contract, §7.5). The Owner calls one of them at a time, beside its own
// goroutine; a call returns soon after ctx has ended.
type Doors interface {
	// Pause stops accepting, with the sockets left open, ends idle
	// connections, and returns when nothing that was accepted is left. It does
	// not wait for calls that themselves wait in Hibernate.
	Pause(ctx context.Context) error
	// Settle stops probing, saves state and stops local backends.
	Settle(ctx context.Context) error
	// Resume undoes Pause and Settle, also ones that failed or were cut short.
	Resume()
}

// Config is what an Owner works with. State, Home and Doors are required.
// Policy is what holds until SetPolicy.
type Config struct {
	State  State
	Home   Home
	Doors  Doors
	Policy lifecycle.Policy
	Steps  []Step // in the order of their numbers
	// Watch is written to when wake.signal or a lease may have changed: C of a
	// statedir.HomeWatch; nil = nobody watches.
	Watch <-chan struct{}

	// Blocks says why the daemon may not hibernate, of the reasons that it
	// alone knows (§7.4 a, b, d, e; in a shadow run a is none); empty = it may.
	// It is called often, concurrently, and returns at once. What changes its
	// answer calls Recheck. nil = no such reasons.
	Blocks func() []lifecycle.Block
	// FirstStart is when the home's first daemon started, as the store tells;
	// the age of the upkeep counts from it where no cycle was complete yet.
	// Zero = this process.
	FirstStart time.Time
	// Alarm says that the owner of the listeners starts us for the next timer.
	Alarm bool
	// TimerDue says when the next durable timer is due; zero = there is none.
	// It is called like Blocks. nil = there never is one.
	TimerDue func() time.Time

	// Relax gives memory and connections back; it is called on entering DROWSY
	// in a goroutine of its own. nil = nothing to give.
	Relax func()
	// Moved is told the first state and each one after it. Like Publish it is
	// called by the owner, in order, and must not block.
	Moved func(lifecycle.State)
	// Publish shows what was just saved to its other readers: journal, metrics,
	// live events. from equals to and trigger is empty where no state moved. It
	// is called by the owner after the save and must not block: who has to wait
	// queues (the store's Submit and the bus do).
	Publish func(ctx context.Context, lines []lifecycle.Line, from, to lifecycle.State, trigger string)
	// Woke is told how long it took from the first activity to WAKE on disk,
	// and StepTook how long a step ran, whatever it came to. Neither may block.
	Woke     func(time.Duration)
	StepTook func(step string, took time.Duration)

	// Redact takes secrets out of what others have written (the reason of a
	// wake, a wake signal, the error of a step) before it goes into the record,
	// its log and their readers. nil = nothing is taken out.
	Redact func(string) string

	Log *slog.Logger
	// Now is the wall clock: it dates what is written and nothing else. nil =
	// time.Now.
	Now func() time.Time
}

// Errors that callers branch on.
var (
	// ErrHibernated is what Serve returns when the point of no return is
	// behind it: HIBERNATION is on disk, and the process must end.
	ErrHibernated = errors.New("hibernated")
	// ErrStopped: Serve has ended or is about to.
	ErrStopped = errors.New("the lifecycle has stopped")
	// ErrActivity is the cause of the context of what had to give way to work.
	ErrActivity = errors.New("interrupted by activity")
	// ErrInterrupted: the cycle gave way to work and goes on later.
	ErrInterrupted = errors.New("the sleep cycle was interrupted")
	// ErrQuarantined: upkeep is in quarantine and was not forced.
	ErrQuarantined = errors.New("the sleep cycle is quarantined")
)

// errTimeout is the cause of the context of a step that took too long.
var errTimeout = errors.New("timed out")

// BusyError refuses a sleep while work is in flight.
type BusyError struct {
	InFlight int
	Leases   int // fresh leases of clients that say they are at work
}

// Error says what is in the way.
func (e *BusyError) Error() string {
	var parts []string
	if e.InFlight > 0 {
		parts = append(parts, strconv.Itoa(e.InFlight)+" in flight")
	}
	if e.Leases > 0 {
		parts = append(parts, strconv.Itoa(e.Leases)+" active leases")
	}
	return "work is going on: " + strings.Join(parts, ", ")
}

// HeldError says why HIBERNATION was refused.
type HeldError struct{ Blocks []lifecycle.Block }

// Error lists the reasons.
func (e *HeldError) Error() string {
	texts := make([]string, len(e.Blocks))
	for i, b := range e.Blocks {
		texts[i] = b.Text
	}
	return "may not hibernate: " + strings.Join(texts, "; ")
}

// SaveError says that the record could not be saved. The state is the old one,
// and the owner goes on trying.
type SaveError struct{ Err error }

func (e *SaveError) Error() string { return e.Err.Error() }

// Unwrap returns what the disk said.
func (e *SaveError) Unwrap() error { return e.Err }

// StepError is a step of the sleep cycle that failed.
type StepError struct {
	Number, Attempt int
	Name            string
	Err             error
}

func (e *StepError) Error() string { return "sleep step " + e.Name + ": " + e.Err.Error() }

// Unwrap returns what the step came to.
func (e *StepError) Unwrap() error { return e.Err }
