package server

import (
	"context"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
)

// A Healer owns the health of the providers. Calls come concurrently. Acts are
// a person's; they return when the change is durable. Their errors are
// *drey.Error, with the code not_found where the provider is none, or one of
// those that the healing contract §12 names.
type Healer interface {
	// Health returns how a provider stands; false if there is none of this
	// name.
	Health(id drey.ProviderID) (Health, bool)

	// Exclude takes a provider out until it is restored, or for a span if that
	// is not 0. changed is false if it was so already; likewise below.
	Exclude(ctx context.Context, id drey.ProviderID, reason string, span time.Duration) (changed bool, err error)
	// Restore brings a provider back.
	Restore(ctx context.Context, id drey.ProviderID) (changed bool, err error)
	// Restart has the provider's backend restarted. It returns when the
	// restart has begun or waits for answers under way. One that runs already
	// is restart_in_progress, and where there is neither command nor process
	// nothing_to_restart.
	Restart(ctx context.Context, id drey.ProviderID) (changed bool, err error)
	// Probe probes the provider now and returns how that went; a failed probe
	// is no error. depth nil is the configured one. Whoever calls it has
	// decided about the money.
	Probe(ctx context.Context, id drey.ProviderID, depth *health.Depth) (Probed, error)
	// Drain takes a provider out and returns when its last answer has ended.
	// What is left after the timeout is cut, and counted in killed. A ctx that
	// ends takes the waiting back, and not the drain.
	Drain(ctx context.Context, id drey.ProviderID, timeout time.Duration) (changed bool, killed int, err error)
}

// Health is how a provider stands.
type Health struct {
	health.View
	Queued  int      // requests that wait for a place or for the process
	Process *Process // nil = drey keeps none for it

	Attempts, Successes uint64                // since the daemon's start
	Failures            map[drey.Class]uint64 // by class
	LastError           *LastError            // nil = none since the daemon's start
}

// LastError is a provider's latest failure, for people.
type LastError struct {
	At     time.Time
	Class  drey.Class
	Status int    // 0 if it answered none
	Text   string // one line, redacted
}

// Process is the process that drey keeps for a provider.
type Process struct {
	State health.ProcState
	PID   int           // 0 = none runs
	Port  int           // 0 = none is chosen
	Idle  time.Duration // since the end of the last request; 0 = in use or not loaded
}

// Probed is how a probe went.
type Probed struct {
	OK      bool
	Changed bool         // it brought the provider back
	Depth   health.Depth // the rung that it ended on
	Latency time.Duration
	Error   string // one line; "" if OK
}
