package waker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// quiet is how long the configuration must have been left alone before it
	// is read: editors write in several steps. Source: the gateway contract §2.
	quiet = 200 * time.Millisecond
	// look is how often files are looked at where nobody tells of their
	// changes. Source: the lifecycle contract §6.5.
	look = 10 * time.Second
	// nap bounds a sleep until the alarm: timers stand still while the machine
	// is suspended, and the alarm is an hour of the day.
	nap = time.Minute
)

// wait returns when the daemon should be started, and why; or true when we are
// told to stop. While it waits the doors follow the configuration.
func (w *waker) wait(p plan) (reason string, stop bool) {
	pause := time.NewTimer(p.pause)
	defer pause.Stop()
	var latest <-chan time.Time // nil waits for ever
	if p.most > 0 {
		t := time.NewTimer(p.most)
		defer t.Stop()
		latest = t.C
	}
	_, wakeAt := w.rest()
	alarm := time.NewTimer(untilAlarm(wakeAt))
	defer alarm.Stop()
	if wakeAt.IsZero() {
		alarm.Stop()
	}
	files := w.watchFiles()
	defer files.close()
	settled := time.NewTimer(quiet) // it may have changed before it was watched
	defer settled.Stop()
	var bell *bell
	defer func() { bell.close() }()

	for resting := true; ; {
		select {
		case <-w.ctx.Done():
			return "", true
		case sig := <-w.Signals:
			if sig != syscall.SIGHUP {
				return "", true
			}
			settled.Reset(0)
		case <-pause.C:
			if p.start {
				return "crash", false
			}
			if w.Home.WakePending() {
				return "wake.signal", false
			}
			resting = false
			bell = w.listen()
		case <-bell.rung():
			return "connection", false
		case <-latest:
			return "retry", false
		case <-alarm.C:
			if !time.Now().Before(wakeAt) && !resting {
				return "alarm", false
			}
			alarm.Reset(max(untilAlarm(wakeAt), again))
		case name := <-files.changed():
			if name == w.Home.WakeSignal() || name == "" {
				if !resting && w.Home.WakePending() {
					return "wake.signal", false
				}
			}
			if name == w.Config || name == "" {
				settled.Reset(quiet)
			}
		case <-settled.C:
			if markOf(w.Config) == w.seen {
				Slim() // all that is needed is in place by now
				continue
			}
			bell.close()
			bell = nil
			w.rebind()
			settled.Reset(quiet)
			if p.config {
				return "config", false
			}
			if !resting {
				bell = w.listen()
			}
		}
	}
}

// untilAlarm is the next time to look at the clock.
func untilAlarm(at time.Time) time.Duration { return min(max(time.Until(at), 0), nap) }

// bell rings when a connection waits at a door. A nil bell never rings.
type bell struct {
	rings  chan struct{}
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// listen hangs a bell at both doors.
func (w *waker) listen() *bell {
	ctx, cancel := context.WithCancel(w.ctx)
	b := &bell{rings: make(chan struct{}, 2), cancel: cancel}
	for _, d := range []*door{w.gateway, w.control} {
		b.wg.Go(func() {
			if d.ring(ctx) {
				b.rings <- struct{}{}
			}
		})
	}
	return b
}

func (b *bell) rung() <-chan struct{} {
	if b == nil {
		return nil
	}
	return b.rings
}

func (b *bell) close() {
	if b != nil {
		b.cancel()
		b.wg.Wait()
	}
}

// files tells that the wake request or the configuration may have changed.
type files struct {
	names  chan string // a path; "" = either may have
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// watchFiles watches the directories of both, since the files come and go; it
// looks from time to time where the system does not tell. The first word comes
// at once: what was there before is news too.
func (w *waker) watchFiles() *files {
	ctx, cancel := context.WithCancel(w.ctx)
	f := &files{names: make(chan string), cancel: cancel}
	say := func(name string) bool {
		select {
		case f.names <- name:
			return true
		case <-ctx.Done():
			return false
		}
	}
	n, err := fsnotify.NewWatcher()
	if err == nil {
		dirs := map[string]bool{w.Home.Root(): true}
		if w.Config != "" {
			dirs[filepath.Dir(w.Config)] = true
		}
		for dir := range dirs {
			// A configuration may be named whose directory does not exist yet.
			if aerr := n.Add(dir); aerr != nil && (dir == w.Home.Root() || !errors.Is(aerr, os.ErrNotExist)) {
				err = errors.Join(err, aerr)
			}
		}
		if err != nil {
			_ = n.Close() // what it could not watch is what there is to say
		}
	}
	if err != nil {
		if text := err.Error(); text != w.complain {
			w.complain = text
			w.log.Warn("files-not-watched", "error", err, "look_every", look.String())
		}
		f.wg.Go(func() {
			t := time.NewTicker(look)
			defer t.Stop()
			for say("") {
				select {
				case <-t.C:
				case <-ctx.Done():
					return
				}
			}
		})
		return f
	}
	f.wg.Go(func() {
		defer n.Close()
		for ok := say(""); ok; {
			select {
			case ev := <-n.Events:
				if ev.Op != fsnotify.Chmod {
					name := filepath.Clean(ev.Name)
					if name == w.Home.WakeSignal() || name == w.Config {
						ok = say(name)
					}
				}
			case <-n.Errors:
				ok = say("") // notifications were lost: the files themselves have to tell
			case <-ctx.Done():
				return
			}
		}
	})
	return f
}

func (f *files) changed() <-chan string { return f.names }

func (f *files) close() {
	f.cancel()
	f.wg.Wait()
}

// mark tells two versions of a file apart. The zero value is no file.
type mark struct {
	size  int64
	mtime int64
	inode uint64
}

func markOf(path string) mark {
	info, err := os.Stat(path)
	if err != nil {
		return mark{}
	}
	m := mark{size: info.Size(), mtime: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		m.inode = uint64(st.Ino)
	}
	return m
}
