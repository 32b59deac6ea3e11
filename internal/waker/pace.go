package waker

import "time"

// The times between a daemon's end and its next start. Source: the lifecycle
// contract §7.9.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = 30 * time.Second
	steady     = 60 * time.Second // who was up so long has not failed at its start
)

// What the daemon's exit codes say (docs/design.md, section 9).
const (
	exitDone   = 0
	exitConfig = 2
	exitLocked = 4
)

// ended is how a daemon ended.
type ended struct {
	code int           // -1 = a signal killed it, or it could not be started
	up   time.Duration // how long it ran
}

// plan is what is waited for before the next start.
type plan struct {
	pause  time.Duration // nothing starts the daemon sooner
	start  bool          // nothing else: it is started after the pause
	most   time.Duration // it is started after this long at the latest; 0 = only if somebody asks
	config bool          // a change of the configuration starts it
}

// pace decides what a daemon's end means for the next start. The zero value
// has seen none.
type pace struct{ failures int }

// after returns the plan that follows an end:
//
//  1. exit 0: it hibernates, or was stopped by somebody: it is needed when a
//     connection, a signal or the alarm says so.
//  2. exit 2 or 4: the configuration is bad, or somebody else has the home. A
//     connection may ask again, a change of the file may mend it, and in any
//     case it is tried again after a while. The pause keeps a client that
//     waits in the backlog from starting it in a loop.
//  3. all else is a crash: it is started again, since agents work unattended.
func (p *pace) after(e ended) plan {
	if e.code == exitDone { // 1
		p.failures = 0
		return plan{}
	}
	if e.up >= steady {
		p.failures = 0
	}
	pause := mostPause
	if p.failures < 10 { // beyond it the shift alone is over the limit
		pause = min(mostPause, firstPause<<p.failures)
	}
	p.failures++
	if e.code == exitConfig || e.code == exitLocked { // 2
		return plan{pause: pause, most: mostPause, config: true}
	}
	return plan{pause: pause, start: true} // 3
}
