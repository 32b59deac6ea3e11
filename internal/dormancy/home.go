package dormancy

import (
	"time"

	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
)

// leaseFresh is how long a lease is fresh. Source: the lifecycle contract, §6.6.
const leaseFresh = 90 * time.Second

// trapAgain is how often a wake signal is looked at that could not be consumed:
// nobody tells when it goes away or can be consumed, and until then it holds
// HIBERNATION back. Source: the lifecycle contract, §6.5, for what gives no
// notification.
const trapAgain = 10 * time.Second

// leases are those of clients that say they are at work. A lease that says
// nothing of the kind keeps nobody awake.
type leases struct {
	active map[string]time.Time // the fresh ones and their last refresh, by file
	until  int64                // when the last of them is stale if nobody refreshes it
	trap   string               // why the wake signal cannot be consumed, as it was reported; "" = it can, or there is none
	again  int64                // when a signal that cannot be consumed is looked at again; 0 = there is none
}

// visit looks for what others have left in the home: a wake signal is consumed,
// and the leases are read.
func (o *Owner) visit() {
	o.stirred = false
	if o.takeSignal() {
		o.ask(lifecycle.WokenBySignal)
	}
	o.readLeases()
}

// takeSignal consumes the wake signal and reports whether there was one. One
// that cannot be consumed is reported once; it holds HIBERNATION back, and
// nothing else (Status).
func (o *Owner) takeSignal() bool {
	content, found, err := o.cfg.Home.ConsumeWake()
	switch {
	case err == nil:
		o.leases.trap, o.leases.again = "", 0
	default:
		o.leases.again = o.work.now() + int64(trapAgain)
		if text := err.Error(); text != o.leases.trap {
			o.leases.trap = text
			o.cfg.Log.Warn("wake signal cannot be consumed", "error", err)
		}
	}
	if !found {
		return false
	}
	o.note(lifecycle.SignalConsumed(o.cfg.Now(), []byte(o.cfg.Redact(string(content)))))
	return true
}

// readLeases takes in who is at work. Each refresh of such a lease is activity
// at that moment; in SLEEP it is not dispatched, and only holds HIBERNATION back
// (§6.2).
func (o *Owner) readLeases() {
	now, wall := o.work.now(), o.cfg.Now()
	all, err := o.cfg.Home.Leases(wall)
	if err != nil {
		o.cfg.Log.Warn("leases cannot be read", "error", err)
		return
	}
	active := map[string]time.Time{}
	o.leases.until = 0
	for _, l := range all {
		if !l.Active || l.State != statedir.Fresh {
			continue
		}
		age := max(0, wall.Sub(l.LastRefresh))
		active[l.Path] = l.LastRefresh
		o.leases.until = max(o.leases.until, now+int64(leaseFresh-age)+1) // at 90 s it is fresh still
		if !o.leases.active[l.Path].Equal(l.LastRefresh) {
			o.work.touch(now - int64(age))
			o.refreshed = true
		}
	}
	o.leases.active = active
}

// ask has the daemon wake, for a reason that is not work of its own.
func (o *Owner) ask(reason string) {
	if o.wake == nil {
		o.wake = &reason
	}
}
