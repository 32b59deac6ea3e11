package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/config"
)

// Reload reads the configuration again. The whole new generation is built and
// checked before anything is swapped; a bad one changes nothing.
func (d *Daemon) Reload(ctx context.Context) (api.Reload, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	last := d.conf.Load()
	gen, err := d.loader.load(ctx)
	if err == nil {
		err = d.exposed(gen)
	}
	if err == nil {
		d.know(gen)
		d.cashier.Apply(gen.budgets) // before there are providers that it must hold
		if err = d.gateway.Reload(gen.settings); err != nil {
			d.cashier.Apply(last.budgets)
		}
	}
	d.metrics.Reloaded(err == nil)
	if err != nil {
		fields := ConfigFields(err)
		texts := make([]string, len(fields))
		for i, f := range fields {
			f.Message = d.redactString(f.Message) // it may repeat what the file says
			if fields[i] = f; f.Path != "" {
				f.Message = f.Path + ": " + f.Message
			}
			texts[i] = f.Message
		}
		d.emit(drey.Warn, "config-rejected", drey.F("source", last.source), drey.F("errors", texts))
		return api.Reload{}, &api.Error{
			Code: api.CodeConfigRejected, Message: "the configuration is bad; nothing has changed",
			Hint: "mend it and reload; `drey config check` tells the same without a daemon", Fields: fields,
		}
	}
	d.keeper.Apply(gen.healing)
	d.adopt(gen)
	d.server.SetDoors(gen.doors)
	if err := d.operations.Apply(ctx, policyOfOperations(&gen.file.Operations)); err != nil {
		d.log.Warn("operations-policy-not-applied", "error", err) // the daemon is stopping
	}
	d.owner.SetPolicy(d.policyOf(&gen.file.Lifecycle))
	d.loaded(gen)
	select {
	case d.strange <- struct{}{}:
	default: // somebody will look already
	}
	return api.Reload{Source: gen.source, LoadedAt: drey.FormatTime(gen.at), NeedsRestart: gen.restart}, nil
}

// ConfigFields tells what is wrong with a configuration one by one; nil for no
// error. It understands the daemon's own errors and those of the control API.
func ConfigFields(err error) []api.Field {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e.Fields
	}
	errs, ok := errors.AsType[config.Errors](err)
	if !ok {
		return []api.Field{{Message: err.Error()}}
	}
	out := make([]api.Field, len(errs))
	for i, e := range errs {
		out[i] = api.Field{Path: place(e), Message: e.Msg}
		if e.Hint != "" {
			out[i].Message += "; " + e.Hint
		}
	}
	return out
}

// exposed refuses a generation without keys as long as the door stands open
// beyond this machine: the file may have taken back its address together with
// the keys, but that waits for a restart.
func (d *Daemon) exposed(gen *generation) error {
	addr, ok := d.tcp.Addr().(*net.TCPAddr)
	if len(gen.doors.Keys) > 0 || !ok || addr.IP.IsLoopback() {
		return nil
	}
	return fmt.Errorf("keys: there are none, and this daemon listens on %s, beyond this machine, until it is restarted; keep a key, or restart it", addr)
}

// adopt puts a generation in force as far as the daemon itself is concerned.
func (d *Daemon) adopt(gen *generation) {
	if d.opts.Level != nil {
		d.opts.Level.Set(slogLevel(gen.file.Logs.Level))
	}
	d.conf.Store(gen)
}

// loaded tells of a configuration that is in force now.
func (d *Daemon) loaded(gen *generation) {
	for _, w := range gen.warnings {
		d.log.Warn("config-warning", "warning", d.redactString(w))
	}
	fields := []drey.Field{
		drey.F("source", gen.source), drey.F("providers", len(gen.file.Providers)), drey.F("profiles", len(gen.file.Profiles)),
	}
	if len(gen.restart) > 0 {
		fields = append(fields, drey.F("needs_restart", gen.restart))
		d.log.Warn("config-needs-restart", "keys", gen.restart)
	}
	d.emit(drey.Info, "config-loaded", fields...)
	d.unpriced(gen)
}
