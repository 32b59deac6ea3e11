// Package upkeep is what a drey does to its own house while it sleeps: the six
// steps of the sleep cycle (the lifecycle contract, §8.1). It does one step when
// it is told to. When that is, what a failure means and when to try again is
// decided elsewhere; here is only the work, in chunks that can be interrupted.
package upkeep

import (
	"context"
	"errors"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/statedir"
	"github.com/dreyhq/drey/internal/store"
)

// Pace is called by a step at each of its chunk boundaries, before the first
// chunk too, with the chunk's index from 0. nil means go on, perhaps after a
// while: who calls in slices blocks here. An error means give way now: the step
// returns it as it is. What was done so far is committed.
type Pace func(chunk int) error

// Result is how a step ended that did not fail.
type Result struct {
	Skipped string       // why there was nothing to do; "" if it was done
	Metrics []drey.Field // what it did, for the event log
}

// Step is one step of the cycle.
type Step struct {
	Number  int // persisted, and never given to another step
	Name    string
	Timeout time.Duration // of one run

	// Run does the step. It returns within 100 ms after ctx has ended, with
	// the error of ctx; what it has committed stays, and a further run finds
	// only the rest. A nil pace never gives way. One run at a time.
	Run func(ctx context.Context, pace Pace) (Result, error)
}

// Store is what the steps need of the store; see store.Upkeeper, which says
// what each call promises.
type Store interface {
	Checkpoint(ctx context.Context, pace store.Pace) (store.Checkpointed, error)
	Prune(ctx context.Context, r store.Retention, pace store.Pace) (store.Pruned, error)
	Rollup(ctx context.Context, pace store.Pace) (store.RolledUp, error)
	Verify(ctx context.Context, c store.Check, pace store.Pace) (store.Verified, error)
	Backup(ctx context.Context, path string, pace store.Pace) (store.Copied, error)
	Optimize(ctx context.Context, pace store.Pace) (store.Optimized, error)
}

// ErrDamaged is in the tree of the error of a step that found the store to be
// damaged. No further try will mend that, and no copy must replace a good one.
var ErrDamaged = store.ErrDamaged

// Settings are what the configuration says about upkeep.
type Settings struct {
	// JournalKeep is how long rows of the journal and of requests are kept;
	// 0 keeps them for ever.
	JournalKeep time.Duration

	// Captures is how many bytes captured requests may hold together; 0 is no
	// bound.
	Captures int64

	// BackupKeep is how many copies are kept; less than 1 is 1. BackupEvery is
	// how old the newest must be before another one is made.
	BackupKeep  int
	BackupEvery time.Duration

	// LogCompressAfter is how old a file of the event log is when it is
	// compressed, and LogKeep when it is deleted; 0 keeps them for ever.
	LogCompressAfter time.Duration
	LogKeep          time.Duration
}

// Config is what the steps work with. Store, Home and Settings are required.
type Config struct {
	Store    Store
	Home     statedir.Home
	Settings func() Settings  // asked at each run, so that a reload counts
	Logs     []string         // machines whose events nobody replays: store.Retention.Logs
	Now      func() time.Time // nil = time.Now
}

// Retention is the name of the step that removes what is kept long enough.
const Retention = "retention"

// fullEvery is how often verify reads everything instead of the structure alone
// (the lifecycle contract, §8.1).
const fullEvery = 24 * time.Hour

// Steps returns the steps of the cycle in their order.
func Steps(c Config) []Step {
	if c.Now == nil {
		c.Now = time.Now
	}
	k := &keeper{c}
	steps := []struct {
		name    string
		timeout time.Duration
		run     func(context.Context, store.Pace) (Result, error)
	}{
		{"checkpoint", 10 * time.Minute, k.checkpoint},
		{Retention, 10 * time.Minute, k.retention},
		{"rollup", 10 * time.Minute, k.rollup},
		{"verify", 30 * time.Minute, k.verify},
		{"backup", 30 * time.Minute, k.backup},
		{"optimize", 10 * time.Minute, k.optimize},
	}
	out := make([]Step, len(steps))
	for i, s := range steps {
		out[i] = Step{Number: i + 1, Name: s.name, Timeout: s.timeout, Run: func(ctx context.Context, pace Pace) (Result, error) {
			r, err := s.run(ctx, counted(pace))
			if errors.Is(err, store.ErrNotOurs) {
				return Result{Skipped: "the database server does this by itself"}, nil
			}
			if err != nil {
				return Result{}, err
			}
			return r, nil
		}}
	}
	return out
}

// counted numbers the chunks of one run, whoever in it begins them.
func counted(pace Pace) store.Pace {
	if pace == nil {
		return nil
	}
	next := 0
	return func() error {
		chunk := next
		next++
		return pace(chunk)
	}
}

// keeper runs the steps. It remembers nothing between them: what a run needs to
// know of an earlier one is on disk.
type keeper struct{ c Config }

func (k *keeper) checkpoint(ctx context.Context, pace store.Pace) (Result, error) {
	r, err := k.c.Store.Checkpoint(ctx, pace)
	return Result{Metrics: []drey.Field{drey.F("pages", r.Pages), drey.F("busy", r.Busy)}}, err
}

func (k *keeper) rollup(ctx context.Context, pace store.Pace) (Result, error) {
	r, err := k.c.Store.Rollup(ctx, pace)
	return Result{Metrics: []drey.Field{drey.F("requests", r.Requests)}}, err
}

func (k *keeper) verify(ctx context.Context, pace store.Pace) (Result, error) {
	r, err := k.c.Store.Verify(ctx, store.Check{Now: k.c.Now(), FullEvery: fullEvery}, pace)
	return Result{Metrics: []drey.Field{drey.F("full", r.Full), drey.F("events", r.Events), drey.F("snapshots", r.Snapshots)}}, err
}

func (k *keeper) optimize(ctx context.Context, pace store.Pace) (Result, error) {
	r, err := k.c.Store.Optimize(ctx, pace)
	return Result{Metrics: []drey.Field{drey.F("freed_bytes", r.Freed)}}, err
}
