package daemon

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/config"
)

// quiet is how long the file must have been left alone before it is read:
// editors write in several steps. Source: gateway.md §2.
const quiet = 200 * time.Millisecond

// Reload reads the configuration again. The whole new generation is built and
// checked before anything is swapped; a bad one changes nothing.
func (d *Daemon) Reload(ctx context.Context) (api.Reload, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	last := d.conf.Load()
	gen, err := d.loader.load(ctx)
	if err == nil {
		err = d.gateway.Reload(gen.settings)
	}
	if err != nil {
		fields := ConfigFields(err)
		texts := make([]string, len(fields))
		for i, f := range fields {
			texts[i] = d.redactString(f.Message)
			if f.Path != "" {
				texts[i] = f.Path + ": " + texts[i]
			}
		}
		d.emit(drey.Warn, "config-rejected", drey.F("source", last.source), drey.F("errors", texts))
		return api.Reload{}, &api.Error{
			Code: api.CodeConfigRejected, Message: "the configuration is bad; nothing has changed",
			Hint: "mend it and reload; `drey config check` tells the same without a daemon", Fields: fields,
		}
	}
	gen.restart = config.NeedsRestart(last.file, gen.file)
	d.adopt(gen)
	d.server.SetDoors(gen.doors)
	d.loaded(gen)
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

// adopt puts a generation in force as far as the daemon itself is concerned.
// What it says of its secrets holds before anything can show them.
func (d *Daemon) adopt(gen *generation) {
	d.redactor.Store(newRedactor(gen.secrets))
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
}

// watch reloads when the configuration's file changes and on SIGHUP. Without
// file notification SIGHUP and the control API are left.
func (d *Daemon) watch(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)

	// The directory is watched and not the file: editors replace it.
	path := d.loader.path()
	var changes <-chan fsnotify.Event
	if w, err := fsnotify.NewWatcher(); err != nil {
		d.log.Warn("config-not-watched", "error", err)
	} else {
		defer w.Close()
		if err := w.Add(filepath.Dir(path)); err != nil {
			d.log.Warn("config-not-watched", "path", path, "error", err)
		}
		changes = w.Events
	}
	settled := time.NewTimer(time.Hour)
	settled.Stop()
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev := <-changes:
			if filepath.Clean(ev.Name) == filepath.Clean(path) && !ev.Has(fsnotify.Chmod) {
				settled.Reset(quiet)
			}
			continue
		case <-settled.C:
			if !d.loader.changed(d.conf.Load()) {
				continue
			}
		case <-hup:
		}
		if _, err := d.Reload(ctx); err == nil {
			d.gateway.Learn(ctx)
		} // else config-rejected has told it
	}
}

const (
	// lookAgain is how often zero-config looks for local servers while there
	// is none. Source: gateway.md §4.
	lookAgain = 30 * time.Second
	// learnAgain is how often servers are asked that have not told their
	// window yet: one that was down, or whose model is not loaded.
	learnAgain = time.Minute
)

// learn asks servers for their windows, and without a configuration looks for
// new ones.
func (d *Daemon) learn(ctx context.Context) error {
	d.gateway.Learn(ctx)
	learn, look := time.NewTicker(learnAgain), time.NewTicker(lookAgain)
	defer learn.Stop()
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-learn.C:
			d.gateway.Learn(ctx)
		case <-look.C:
			gen := d.conf.Load()
			if !gen.looking {
				continue
			}
			if !hasLocal(d.loader.find(ctx)) || ctx.Err() != nil {
				continue
			}
			if _, err := d.Reload(ctx); err == nil {
				d.gateway.Learn(ctx)
				d.banner()
			}
		}
	}
}
