package dormancy

import (
	"sync/atomic"
	"time"
)

// ledger counts the work that is under way. Every request passes through it
// twice, so everything in it is atomic and nobody waits for anybody: the owner
// says in alert what it wants to be told of, and hears of nothing else.
//
// Time in it is monotonic, in nanoseconds, so that a stepped clock and a
// suspended machine neither make nor take idleness. It begins with epoch: an
// instant that is 0 has never been.
type ledger struct {
	base time.Time
	end  func()        // what begin returns; made once, so that begin allocates nothing
	poke chan struct{} // holds one: the owner should look

	count   atomic.Uint64 // begun since the start << flightBits | in flight
	ended   atomic.Int64  // when the last work ended
	noticed atomic.Int64  // when the activity began of which the owner was told last
	alert   atomic.Uint32
	cut     atomic.Pointer[func()] // ends the step that must give way; nil if none must
}

const (
	flightBits = 24
	flightMask = 1<<flightBits - 1

	onBegin = 1 << 0 // alert: tell of the next activity
	onQuiet = 1 << 1 // alert: tell when nothing is in flight any more
)

// epoch is the instant at which the ledger was made.
const epoch = 1

func newLedger() *ledger {
	l := &ledger{base: time.Now(), poke: make(chan struct{}, 1)}
	l.end = l.finish
	l.alert.Store(onBegin)
	return l
}

// now is the monotonic time.
func (l *ledger) now() int64 { return epoch + int64(time.Since(l.base)) }

// begin notes that work has arrived. A step that must give way to it is cut
// here and not by the owner, which may be waiting for a disk.
func (l *ledger) begin() (end func()) {
	l.count.Add(1<<flightBits | 1)
	if l.alert.Load()&onBegin != 0 {
		l.tell()
	}
	return l.end
}

// tell is the slow path of begin: once per time that the owner asked.
func (l *ledger) tell() {
	if l.alert.And(^uint32(onBegin))&onBegin == 0 {
		return // another request was faster
	}
	l.noticed.Store(l.now())
	if cut := l.cut.Load(); cut != nil {
		(*cut)()
	}
	l.wake()
}

// finish notes that work has ended.
func (l *ledger) finish() {
	l.ended.Store(l.now()) // before the count: who sees nothing in flight sees since when
	if n := l.count.Add(^uint64(0)); n&flightMask == 0 && l.alert.Load()&onQuiet != 0 {
		l.alert.And(^uint32(onQuiet))
		l.wake()
	}
}

// wake has the owner look.
func (l *ledger) wake() {
	select {
	case l.poke <- struct{}{}:
	default: // it is about to
	}
}

// look reads the ledger at one instant.
func (l *ledger) look() (begun uint64, inFlight int) {
	n := l.count.Load()
	return n >> flightBits, int(n & flightMask)
}

// touch notes activity that has no length: the refresh of an active lease.
func (l *ledger) touch(at int64) { l.ended.Store(max(at, l.ended.Load())) }

// guard lets the next activity call cut, and reports whether none has begun
// since the owner counted begun. If one has, nobody calls cut but the owner.
func (l *ledger) guard(cut func(), begun uint64) bool {
	l.cut.Store(&cut)
	l.alert.Or(onBegin)
	// An activity that is not seen here sees the two stores above.
	now, _ := l.look()
	return now == begun
}

// unguard takes back what guard gave.
func (l *ledger) unguard() { l.cut.Store(nil) }
