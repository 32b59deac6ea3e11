package statedir

import (
	"errors"
	"fmt"

	"github.com/dreyhq/drey/internal/lifecycle"
)

// Offline opens the lifecycle for one operation without a daemon: it takes the
// home's lock (c.Lock is not used), calls do, and gives the lock back on every
// path. While a daemon runs it is an error that is ErrLocked and says what to
// do instead, and nothing has changed.
func Offline(c LifecycleConfig, do func(*Lifecycle) error) error {
	lock, err := TryLock(c.Home.Lock())
	if le, ok := errors.AsType[*LockedError](err); ok {
		return &runningError{le}
	}
	if err != nil {
		return err
	}
	defer lock.Release()
	c.Lock = lock
	l, err := OpenLifecycle(c)
	if err != nil {
		return err
	}
	return do(l)
}

// DispatchOffline is one dispatch without a daemon, for tests and repair (see
// Offline), and returns the state after it. Trouble with the log is an error
// here, since there is nobody who would try again soon; the state is right
// all the same.
func DispatchOffline(c LifecycleConfig, ev lifecycle.Event, p lifecycle.Policy) (lifecycle.State, error) {
	var trouble error
	warn := c.Warn
	c.Warn = func(err error) {
		trouble = err
		if warn != nil {
			warn(err)
		}
	}
	var state lifecycle.State
	err := Offline(c, func(l *Lifecycle) error {
		d, err := l.Dispatch(ev, p)
		state = d.After.State
		return err
	})
	return state, errors.Join(err, trouble)
}

// runningError is a LockedError in the words of a command that a daemon has
// to do instead.
type runningError struct{ held *LockedError }

func (e *runningError) Error() string {
	by := ""
	if e.held.Holder.PID > 0 {
		by = fmt.Sprintf(" by pid %d", e.held.Holder.PID)
	}
	return "locked" + by + "; use 'drey lifecycle wake' or touch wake.signal"
}

func (e *runningError) Unwrap() error { return e.held }
