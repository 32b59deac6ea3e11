//go:build !linux

package statedir

import (
	"context"

	"github.com/fsnotify/fsnotify"
)

// notifyHome asks the system through fsnotify and takes creations and renames.
func notifyHome(h Home) (func(context.Context, func()), error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{h.root, h.Wrappers()} {
		if err := w.Add(dir); err != nil {
			_ = w.Close() // only read
			return nil, err
		}
	}
	return func(ctx context.Context, changed func()) {
		defer w.Close()
		for {
			select {
			case <-ctx.Done():
				return
			case ev := <-w.Events:
				if !ev.Has(fsnotify.Create) && !ev.Has(fsnotify.Rename) {
					continue
				}
				if ev.Name == h.Wrappers() {
					_ = w.Add(ev.Name) // made anew; without a watch its leases are seen when something else happens
					changed()
				} else if h.told(ev.Name) {
					changed()
				}
			case <-w.Errors:
				changed() // something was lost: let them look
			}
		}
	}, nil
}
