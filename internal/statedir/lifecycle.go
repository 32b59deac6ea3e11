package statedir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/dreyhq/drey/internal/lifecycle"
)

// LifecycleConfig says whose record is opened, and for whom.
type LifecycleConfig struct {
	Home Home
	Lock *Lock // the home's, held for as long as the Lifecycle is used
	// ShadowRun is the process's own flag (drey serve --shadow-run): with it
	// every dispatch is a shadow run, whatever its policy says.
	ShadowRun bool
	Now       func() time.Time // nil = time.Now
	// Warn is told of trouble that stops nothing. Where lines can no longer be
	// logged it is called once with the cause, and with nil when all of them
	// are. It is called from OpenLifecycle and from the methods of Lifecycle
	// and must call none of them. nil = nobody is told.
	Warn func(error)
}

// Lifecycle is the lifecycle record and its event log in the hands of their
// owner, the holder of the lock. It is the record's only writer, so what it
// has in memory wins over a file that was written past the lock. One goroutine
// at a time uses it.
//
// No line is lost and none is doubled: a save carries the lines of its change
// in the record's outbox, they are appended after it, and the next save drops
// those whose append was synced. Whoever loads a record appends what is in its
// outbox and in no log. A kill at any instruction therefore leaves the old
// record or the new one, with each line of it in the log exactly once after
// the next load.
type Lifecycle struct {
	cfg  LifecycleConfig
	disk disk

	record  lifecycle.Record // as it was saved last, or would be loaded
	pending []pendingLine    // not known to be in the log, oldest first
	failing bool             // Warn has been told
}

// pendingLine is a line that waits for its append to succeed.
type pendingLine struct {
	line  json.RawMessage // as the outbox has it
	text  []byte          // as the log will have it
	path  string          // of its file
	tried bool            // an append has failed midway: it may be there
}

// OpenLifecycle loads the record for its owner. A corrupt one is kept aside
// under another name and logged, and the default record takes its place.
// Lines that the last owner could not log any more are logged now. Leftovers
// of saves that a crash has cut off are removed.
//
// An error leaves everything as it was: the lock is not held, or the system
// refuses to read the record, which says nothing about what is in it.
func OpenLifecycle(c LifecycleConfig) (*Lifecycle, error) { return openLifecycle(c, realDisk) }

func openLifecycle(c LifecycleConfig, d disk) (*Lifecycle, error) {
	if !c.Lock.Held() {
		return nil, errors.New("open lifecycle record: its lock is not held")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Warn == nil {
		c.Warn = func(error) {}
	}
	l := &Lifecycle{cfg: c, disk: d}
	now := c.Now()
	var err error
	l.record, err = ReadLifecycle(c.Home, now)
	switch {
	case errors.Is(err, ErrCorrupt):
		if err := l.keepAside(now, err); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, fmt.Errorf("read lifecycle record: %w", err)
	}
	if _, err := c.Home.sweepTemps(now); err != nil {
		c.Warn(err)
	}
	l.recoverOutbox(now)
	return l, nil
}

// keepAside puts a corrupt record where a person finds it, and has it logged.
func (l *Lifecycle) keepAside(now time.Time, why error) error {
	kept, err := l.disk.keepAside(l.cfg.Home, now)
	if err != nil {
		return fmt.Errorf("keep corrupt lifecycle record: %w", err)
	}
	if ce, ok := errors.AsType[*corruptError](why); ok {
		why = ce.err // kept_as names the file
	}
	line := lifecycle.FileCorrupt(now, filepath.Base(kept), why)
	l.pending = append(l.pending, l.queued(line))
	return nil
}

// recoverOutbox logs the lines of the outbox that are in no log. When all are, they
// are taken out of the record, so that a second crash finds nothing to repeat;
// should that fail, it finds them in the log.
func (l *Lifecycle) recoverOutbox(now time.Time) {
	missing, err := l.missing(now)
	l.warn(err)
	l.pending = append(l.pending, missing...)
	if len(l.pending) == 0 || !l.flush() || len(missing) == 0 {
		return
	}
	next := l.record.Queue(nil)
	if err := l.disk.saveRecord(l.cfg.Home, next); err != nil {
		l.cfg.Warn(err)
		return
	}
	l.record = next
}

// missing returns the lines of the outbox that stand in no file of their own
// day or later. Files that cannot be read count as empty, beside an error: a
// line twice is better than none.
func (l *Lifecycle) missing(now time.Time) ([]pendingLine, error) {
	var all []logLine
	for _, raw := range l.record.Outbox {
		line, err := parseLogLine(raw)
		if err != nil {
			l.cfg.Warn(fmt.Errorf("lifecycle outbox: %w", err)) // nothing of ours: it cannot be logged
			continue
		}
		all = append(all, line)
	}
	if len(all) == 0 {
		return nil, nil
	}
	files, err := l.cfg.Home.eventFiles()
	troubles := []error{err}
	for _, f := range files {
		want := map[string]int{}
		for _, line := range all {
			if !f.day.Before(day(line.ts)) {
				want[string(line.json)]++
			}
		}
		if len(want) == 0 {
			continue // all found, or all of later days
		}
		troubles = append(troubles, f.each(func(r io.Reader) error { return strike(r, want) }))
		all = slices.DeleteFunc(all, func(line logLine) bool {
			if f.day.Before(day(line.ts)) {
				return false
			}
			want[string(line.json)]--
			return want[string(line.json)] < 0
		})
	}
	path := l.cfg.Home.LifecycleLog(now)
	out := make([]pendingLine, 0, len(all))
	for _, line := range all {
		out = append(out, pendingLine{line: line.json, text: line.recovered(now), path: path})
	}
	return out, errors.Join(troubles...)
}

// day returns the UTC midnight with which a time's day begins.
func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// Record returns the record as it stands: a copy.
func (l *Lifecycle) Record() lifecycle.Record { return l.record.Clone() }

// Dispatched is what one dispatch or update did. The caller's journal row,
// metric and live event are made from it, so that they cannot disagree with
// what was saved.
type Dispatched struct {
	Before, After lifecycle.Record
	Moved         bool // the machine has taken a transition, also where the state is the same
	Effects       []lifecycle.Effect
	Lines         []lifecycle.Line // in the order in which they were logged
}

// Dispatch puts one event to the machine: Step, save, log. When it returns,
// the change is durable. A dispatch that changes nothing writes nothing.
//
// An error says that the record could not be saved: the state is the old one,
// nothing was logged, and the dispatch may be tried again. That lines cannot
// be logged stops nothing: they are told to Warn, kept in the record, and
// tried again with the next dispatch.
func (l *Lifecycle) Dispatch(ev lifecycle.Event, p lifecycle.Policy) (Dispatched, error) {
	p.ShadowRun = p.ShadowRun || l.cfg.ShadowRun
	d := Dispatched{Before: l.Record()}
	next, effects := lifecycle.Step(l.record, ev, p)
	d.Effects = effects
	save := false
	for _, e := range effects {
		switch e := e.(type) {
		case lifecycle.Save:
			save = true
		case lifecycle.Log:
			d.Lines = append(d.Lines, e.Line)
		}
	}
	if err := l.commit(next, d.Lines, save); err != nil {
		return Dispatched{Before: d.Before, After: d.Before}, err
	}
	_, d.Moved = lifecycle.Transition(d.Before.State, ev.Name, ev.Guards)
	d.After = l.Record()
	return d, nil
}

// Update changes what the record says about upkeep (progress, quarantine, the
// last cycle, wakes without work) by the same save and log as Dispatch, with
// the same guarantees and errors. change gets a copy that it may alter and
// returns the new record with the lines about it; it must not touch the
// outbox. What is neither changed nor has a line is not written.
func (l *Lifecycle) Update(change func(lifecycle.Record) (lifecycle.Record, []lifecycle.Line)) (Dispatched, error) {
	before := l.Record()
	next, lines := change(l.Record())
	if err := l.commit(next, lines, len(lines) > 0 || !next.Equal(before)); err != nil {
		return Dispatched{Before: before, After: before}, err
	}
	return Dispatched{Before: before, After: l.Record(), Lines: lines}, nil
}

// commit saves next with the lines in its outbox, if there is anything to
// save, and then logs what waits to be.
func (l *Lifecycle) commit(next lifecycle.Record, lines []lifecycle.Line, save bool) error {
	if save {
		if !l.cfg.Lock.Held() {
			return errors.New("save lifecycle record: its lock is not held any more")
		}
		waiting := make([]json.RawMessage, 0, len(l.pending))
		for _, p := range l.pending {
			waiting = append(waiting, p.line)
		}
		next = next.Queue(waiting, lines...)
		if err := l.disk.saveRecord(l.cfg.Home, next); err != nil {
			return err
		}
		l.record = next
		for _, line := range lines {
			l.pending = append(l.pending, l.queued(line))
		}
		// What the outbox has no room for is not tried for ever either.
		l.pending = l.pending[max(len(l.pending)-len(next.Outbox), 0):]
	}
	l.flush()
	return nil
}

// queued is a line of this process on its way to the log.
func (l *Lifecycle) queued(line lifecycle.Line) pendingLine {
	b := line.JSON()
	return pendingLine{line: b, text: b, path: l.cfg.Home.LifecycleLog(line.TS)}
}

// Append logs lines that go with no change of the record (daemon_started,
// wake_signal_consumed …), behind those that still wait. A line without an
// event is an error, and none is written then. With any other error some of
// them may be in the log; they are not tried again.
func (l *Lifecycle) Append(lines ...lifecycle.Line) error {
	for _, line := range lines {
		if _, err := parseLogLine(line.JSON()); err != nil {
			return err
		}
	}
	l.flush()
	own := make([]pendingLine, 0, len(lines))
	for _, line := range lines {
		own = append(own, l.queued(line))
	}
	_, err := l.log(own)
	return err
}

// flush logs what waits and reports whether nothing does any more.
func (l *Lifecycle) flush() bool {
	if len(l.pending) == 0 {
		return true
	}
	rest, err := l.log(l.pending)
	l.pending = rest
	l.warn(err)
	return err == nil
}

// warn tells where trouble with the log begins and where it ends.
func (l *Lifecycle) warn(err error) {
	if (err != nil) != l.failing {
		l.failing = err != nil
		l.cfg.Warn(err)
	}
}

// log appends lines to their files, in their order, and returns those that may
// not have got there, with the reason.
func (l *Lifecycle) log(all []pendingLine) (rest []pendingLine, err error) {
	var troubles []error
	for len(all) > 0 {
		path := all[0].path
		n := slices.IndexFunc(all, func(p pendingLine) bool { return p.path != path })
		if n < 0 {
			n = len(all)
		}
		batch := all[:n]
		all = all[n:]
		texts := make([][]byte, 0, n)
		tried := 0 // they are the oldest, so they come first
		for _, p := range batch {
			texts = append(texts, p.text)
			if p.tried {
				tried++
			}
		}
		if err := l.disk.appendLines(path, texts, tried); err != nil {
			troubles = append(troubles, fmt.Errorf("write lifecycle log: %w", err))
			for _, p := range batch {
				p.tried = true
				rest = append(rest, p)
			}
		}
	}
	return rest, errors.Join(troubles...)
}
