package daemon

import (
	"context"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
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

// announce journals the start and returns its place: the cause of what becomes
// of operations that the last process has left. Nothing else is journaled yet.
func (d *Daemon) announce(ctx context.Context) (drey.Seq, error) {
	ev := d.startup()
	c, err := d.store.Append(ctx, store.Append{Machine: ev.Machine, Expect: store.AnyVersion, Events: []drey.Event{ev}})
	if err != nil {
		return 0, err
	}
	ev.Seq, d.announced = c.First, true
	d.bus.Committed(ev)
	return ev.Seq, nil
}

// startup is the event of a start.
func (d *Daemon) startup() drey.Event {
	return drey.Event{
		At: time.Now(), Name: "drey-startup", Machine: machineDaemon,
		Fields: []drey.Field{drey.F("version", d.opts.Version), drey.F("addr", d.tcp.Addr().String())},
	}
}
