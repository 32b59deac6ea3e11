package daemon

import (
	"context"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/operation"
)

// policyOfOperations compiles the registry's part of the configuration.
func policyOfOperations(o *config.Operations) operation.Policy {
	return operation.Policy{
		MaxConcurrent: o.MaxConcurrent, MaxCompleted: o.MaxCompleted, ProgressHistory: o.ProgressHistory, KeepHistory: o.KeepHistory,
	}
}

// pruneOperations is the registry's share of the step retention: archived
// operations whose time is over are removed.
func (d *Daemon) pruneOperations(ctx context.Context) ([]drey.Field, error) {
	removed, err := d.operations.Prune(ctx, d.conf.Load().file.Operations.KeepHistory.D())
	return []drey.Field{drey.F("operations_removed", removed)}, err
}
