package dormancy

import "github.com/dreyhq/drey/internal/lifecycle"

// Started says how this process came to be.
type Started struct {
	By      string // the owner of the listeners, or the command; for the log
	Version string // of this program
	PID     int
	// Connection: one waits at an inherited listener.
	Connection bool
}

// Boot takes the machine up again where it was left and returns its state: a
// wake signal is consumed, HIBERNATION is left, and the start is logged. It is
// called once, when nothing is accepted yet, and before Serve. Trouble with the
// disk does not stop a start: what could not be saved is tried again by Serve.
func (o *Owner) Boot(s Started) lifecycle.State {
	o.booted = true
	signal := o.takeSignal()
	o.readLeases()
	now := o.cfg.Now()
	if ev, ok := lifecycle.Boot(o.record, now, signal, s.Connection); ok {
		hibernated := o.record.State == lifecycle.Hibernation
		o.ask(ev.Reason)
		o.rouse()
		o.woken = hibernated
	}
	o.note(lifecycle.DaemonStarted(now, s.PID, s.Version, o.record.State, s.By))
	o.show()
	return o.record.State
}

// countWake counts a wake from HIBERNATION that has not seen work (§7.8). It is
// not done in Boot, where somebody may be waiting for a first answer. It reports
// whether the count is right.
func (o *Owner) countWake() bool {
	if !o.woken {
		return true
	}
	o.woken = !o.update(func(r lifecycle.Record) (lifecycle.Record, []lifecycle.Line) {
		return lifecycle.CountWake(r), nil
	})
	return !o.woken
}

// worked notes that there was work: the wake was not for nothing.
func (o *Owner) worked() {
	o.woken = false
	if _, changed := lifecycle.Worked(o.record); changed {
		o.update(func(r lifecycle.Record) (lifecycle.Record, []lifecycle.Line) {
			r, _ = lifecycle.Worked(r)
			return r, nil
		})
	}
}

// note logs and shows lines that go with no change of the record.
func (o *Owner) note(line lifecycle.Line) {
	if err := o.cfg.State.Append(line); err != nil {
		o.cfg.Log.Warn("lifecycle log not written", "event", line.Event, "error", err)
	}
	o.cfg.Publish(o.context(), []lifecycle.Line{line}, o.record.State, o.record.State, "")
}
