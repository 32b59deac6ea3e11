package daemon

import (
	"cmp"
	"context"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/dreyhq/drey/internal/gateway"
)

// quiet is how long the file must have been left alone before it is read:
// editors write in several steps. Source: the gateway contract §2.
const quiet = 200 * time.Millisecond

// watch reloads when the configuration's file changes and on SIGHUP. Without
// file notification SIGHUP and the control API are left.
func (d *Daemon) watch(ctx context.Context) error {
	defer signal.Stop(d.hup)
	files := d.watched()
	var dirs []string
	for _, path := range files {
		dirs = append(dirs, filepath.Dir(path))
	}
	touched := make(chan struct{}, 1)
	serve, err := notice(dirs, func(path string) {
		if path == "" || slices.Contains(files, filepath.Clean(path)) { // "": the file itself has to tell
			select {
			case touched <- struct{}{}:
			default: // one that waits is enough
			}
		}
	})
	if err != nil {
		d.log.Warn("config-not-watched", "error", err)
	}
	if serve != nil {
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { serve(ctx) })
	}
	settled := time.NewTimer(0) // it may have changed between boot's look and ours
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-touched:
			settled.Reset(quiet)
			continue
		case <-settled.C:
			if !d.loader.changed(d.conf.Load()) {
				continue
			}
		case <-d.hup:
		}
		_, _ = d.Reload(ctx) // an event has told how it ended
	}
}

// watched are the paths at which a change of the file shows: its own, and where
// it is a link that of what it leads to. Their directories are watched and not
// the files, because editors replace these.
func (d *Daemon) watched() []string {
	path := filepath.Clean(d.loader.path())
	files := []string{path}
	if real, err := filepath.EvalSymlinks(path); err == nil && real != path {
		files = append(files, real)
	}
	return files
}

const (
	// lookAgain is how often zero-config looks for local servers while there
	// is none. Source: the gateway contract §4.
	lookAgain = 30 * time.Second
	// learnAgain is how often servers are asked that have not told their
	// window yet: one that was down, or whose model is not loaded.
	learnAgain = time.Minute
)

// learn asks servers for their windows: at the start, after each reload and
// every now and then those that have not told it; who is known then to be no
// good for agents is told once. Without a configuration it looks for new ones.
func (d *Daemon) learn(ctx context.Context) error {
	warned := map[gateway.Unfit]bool{}
	ask := func() {
		d.gateway.Learn(ctx)
		for _, u := range d.gateway.Unfit() {
			if !warned[u] {
				warned[u] = true
				d.log.Warn("chain-suitability", "profile", u.Profile, "provider", u.Provider, "reason", u.Reason)
			}
		}
	}
	ask()
	learn, look := time.NewTicker(learnAgain), time.NewTicker(cmp.Or(d.opts.test.look, lookAgain))
	defer learn.Stop()
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-learn.C:
			if d.awake() {
				ask()
			}
		case <-d.strange:
			ask()
		case <-look.C:
			if !d.awake() || !d.conf.Load().looking || !hasLocal(d.loader.find(ctx)) || ctx.Err() != nil {
				continue
			}
			if _, err := d.Reload(ctx); err == nil {
				d.banner()
			}
		}
	}
}
