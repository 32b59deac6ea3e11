package daemon

import (
	"context"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/dormancy"
	"github.com/dreyhq/drey/internal/upkeep"
)

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
	for _, s := range upkeep.Steps(upkeep.Config{Store: d.store, Home: d.home, Settings: settings, Logs: []string{machineLifecycle, machineDaemon}}) {
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
