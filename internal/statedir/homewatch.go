package statedir

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// homePoll is how often the home is looked at where the system gives no file
// notification. Source: the lifecycle contract §6.5.
const homePoll = 10 * time.Second

// HomeWatch tells when a wake signal or a lease of a client has appeared or
// was replaced in the home. It is a hint to look and no more: what happened
// before the watch began is not told, several changes may be one hint, and a
// hint may come for nothing.
type HomeWatch struct {
	polling bool
	hint    chan struct{}
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

// WatchHome watches until ctx ends or Close is called. Where the system
// refuses file notification (its limits are reached) it looks every 10 s
// instead, which is no error. A home that is not there is one.
func WatchHome(ctx context.Context, h Home) (*HomeWatch, error) {
	return watchHome(ctx, h, notifyHome)
}

// notifier starts to notify of a home: serve then calls changed for each
// change until ctx ends.
type notifier func(h Home) (serve func(ctx context.Context, changed func()), err error)

func watchHome(ctx context.Context, h Home, notify notifier) (*HomeWatch, error) {
	for _, dir := range []string{h.root, h.Wrappers()} {
		if _, err := os.Stat(dir); err != nil {
			return nil, err
		}
	}
	w := &HomeWatch{hint: make(chan struct{}, 1)}
	ctx, w.stop = context.WithCancel(ctx)
	serve, err := notify(h)
	if err != nil {
		w.polling = true
		seen := glance(h) // before we return: what changes from now on is told
		w.wg.Go(func() { w.poll(ctx, h, seen) })
		return w, nil
	}
	w.wg.Go(func() { serve(ctx, w.changed) })
	return w, nil
}

// C returns the channel of the hints. It is never closed.
func (w *HomeWatch) C() <-chan struct{} { return w.hint }

// Polling reports that there is no file notification, so that hints come up to
// 10 s late; the doctor says so.
func (w *HomeWatch) Polling() bool { return w.polling }

// Close ends the watch and returns when it has ended.
func (w *HomeWatch) Close() {
	w.stop()
	w.wg.Wait()
}

func (w *HomeWatch) changed() {
	select {
	case w.hint <- struct{}{}:
	default: // one hint that waits is enough
	}
}

func (w *HomeWatch) poll(ctx context.Context, h Home, seen sight) {
	t := time.NewTicker(homePoll)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		now := glance(h)
		// A signal that waits is told again each time: whoever could not take
		// it may be able to now.
		if now.signal || now.leases != seen.leases {
			w.changed()
		}
		seen = now
	}
}

// sight is what two stats see of a home.
type sight struct {
	signal bool
	leases time.Time // of their directory: a lease is replaced by renaming, which changes it
}

func glance(h Home) sight {
	s := sight{signal: h.WakePending()}
	if info, err := os.Stat(h.Wrappers()); err == nil {
		s.leases = info.ModTime()
	}
	return s
}

// told reports whether a file of the home or of its wrappers is worth a hint.
func (h Home) told(path string) bool {
	return path == h.WakeSignal() || filepath.Dir(path) == h.Wrappers() && leaseName.MatchString(filepath.Base(path))
}
