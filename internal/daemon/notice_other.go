//go:build !linux

package daemon

import (
	"context"
	"errors"

	"github.com/fsnotify/fsnotify"
)

// notice tells of files in directories that change; "" stands for any of them,
// when events were lost. serve does it until ctx ends. What becomes true after
// notice has returned is told.
func notice(dirs []string, changed func(path string)) (serve func(ctx context.Context), err error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	var troubles []error
	for _, dir := range dirs {
		if err := w.Add(dir); err != nil {
			troubles = append(troubles, err)
		}
	}
	if len(troubles) == len(dirs) {
		_ = w.Close() // only read
		return nil, errors.Join(troubles...)
	}
	return func(ctx context.Context) {
		defer w.Close()
		for {
			select {
			case <-ctx.Done():
				return
			case ev := <-w.Events:
				if !ev.Has(fsnotify.Chmod) {
					changed(ev.Name)
				}
			case <-w.Errors:
				changed("")
			}
		}
	}, errors.Join(troubles...)
}
