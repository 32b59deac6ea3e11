package daemon

import (
	"context"
	"net"
	"os"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/activation"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/server"
	"github.com/dreyhq/drey/internal/statedir"
)

// refuseFor is how long a start that failed answers those who wait at inherited
// listeners. Source: the lifecycle contract §7.3.
const refuseFor = time.Minute

// refuseWaiting tells whoever waits at the inherited listeners why there is no
// daemon: else the manager's start limit would kill the socket, and callers
// would never learn why. It ends early when the configuration changes, since
// the next start may go well.
func refuseWaiting(ctx context.Context, o Options, cause error) {
	in := o.Inherited
	if in == nil || in.Gateway == nil || ctx.Err() != nil {
		return
	}
	if o.Log != nil { // the one who started it reads it there, and now
		o.Log.Error("start-failed", "error", cause, "hint", drey.HintOf(cause), "answers_503_for", refuseFor.String())
	}
	ctx, cancel := context.WithTimeout(ctx, orElse(o.test.refuse, refuseFor))
	defer cancel()
	path := newLoader(o, statedir.At(o.Home)).path()
	was := stamp(path)
	go func() { // it ends with ctx
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if stamp(path) != was {
					cancel()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	listeners := []net.Listener{in.Gateway}
	if in.Control != nil {
		listeners = append(listeners, in.Control)
	}
	server.RefuseAll(ctx, cause, listeners...)
}

// stamp tells one version of a file from another.
func stamp(path string) (s struct {
	at   time.Time
	size int64
}) {
	if info, err := os.Stat(path); err == nil {
		s.at, s.size = info.ModTime(), info.Size()
	}
	return s
}

// inherit returns what was inherited; the zero value, with no listener and no
// owner, if that is nothing.
func (d *Daemon) inherit() *activation.Inherited {
	if d.opts.Inherited != nil {
		return d.opts.Inherited
	}
	return &activation.Inherited{}
}

// startedBy names who started the process, for the lifecycle's log.
func (d *Daemon) startedBy() string {
	if in := d.inherit(); in.Owner != activation.None {
		return in.OwnerName
	}
	return "hand"
}

// waker tells who would start the next process when a connection comes, or why
// nobody would (the lifecycle contract §7.7).
func (d *Daemon) waker(l *config.Lifecycle) (who, why string) {
	in := d.inherit()
	select {
	case <-in.Lost:
		return "", "whoever kept the listeners has ended, so nobody could wake it"
	default: // a nil channel too: nobody could be lost
	}
	switch {
	case in.Gateway == nil:
		return "", "it listens by itself, so nobody could wake it; `drey up` keeps the listeners for it"
	case in.Living():
		return in.OwnerName, ""
	case l.Hibernate == "owned":
		return "the owner of the listeners (lifecycle.hibernate is owned)", ""
	default:
		return "", "nothing shows that whoever kept the listeners lives on (lifecycle.hibernate: owned says that it does)"
	}
}

// blocks says why the process may not end, of the reasons that only the daemon
// knows (the lifecycle contract §7.4).
func (d *Daemon) blocks() []lifecycle.Block {
	l := &d.conf.Load().file.Lifecycle
	if d.shadow() {
		return nil // it does not end
	}
	var out []lifecycle.Block
	if l.Hibernate == "never" {
		out = append(out, lifecycle.Block{Code: "never", Text: "lifecycle.hibernate is never"})
	}
	if who, why := d.waker(l); who == "" {
		out = append(out, lifecycle.Block{Code: "no_waker", Text: why})
	}
	return out
}

// shadow reports whether this is a shadow run, which is fixed at the start.
func (d *Daemon) shadow() bool {
	return d.opts.ShadowRun || d.loader.pinned != nil && d.loader.pinned.Lifecycle.ShadowRun
}
