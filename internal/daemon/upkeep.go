package daemon

import (
	"context"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/dormancy"
	"github.com/dreyhq/drey/internal/upkeep"
)

// logMachines are the machines of the journal whose events nobody replays, so
// that their rows go by age. Those that are missing here replay theirs, and
// snapshot them: the budgets and the operations with all that is about them.
var logMachines = []string{
	machineDaemon, machineLifecycle, // state in the lifecycle's record, and none
	"profile", "key", "auto-router", // no state
	"provider", "process", // all of it in their snapshots
}

// sleepSteps are the steps of the sleep cycle, over this daemon's store and
// home.
func (d *Daemon) sleepSteps() []dormancy.Step {
	settings := func() upkeep.Settings {
		f := d.conf.Load().file
		return upkeep.Settings{
			JournalKeep: f.Journal.Keep.D(), Captures: int64(f.Logs.CaptureMaxMB) << 20, BackupKeep: f.Lifecycle.BackupKeep, BackupEvery: f.Lifecycle.BackupEvery.D(),
			LogCompressAfter: f.Lifecycle.LogCompressAfter.D(), LogKeep: f.Lifecycle.LogKeep.D(),
		}
	}
	var out []dormancy.Step
	for _, s := range upkeep.Steps(upkeep.Config{Store: d.store, Home: d.home, Settings: settings, Logs: logMachines}) {
		out = append(out, dormancy.Step{Number: s.Number, Name: s.Name, Timeout: s.Timeout,
			Run: func(ctx context.Context, pace func(int) error) (string, []drey.Field, error) {
				r, err := s.Run(ctx, pace)
				if err == nil && s.Name == upkeep.Retention {
					var more []drey.Field
					more, err = d.pruneOperations(ctx)
					r.Metrics = append(r.Metrics, more...)
				}
				return r.Skipped, r.Metrics, err
			}})
	}
	return out
}
