package daemon

import (
	"math"
	"runtime"
	"runtime/debug"
	"sync"
)

// The pace of the collector: it lets garbage grow to half of what lives, the
// ballast counted in. The ballast makes it wait for some 24 MB all the same: a
// daemon's live memory is so small that it would collect after every few hundred
// requests, in the middle of the next one (measured with `make bench`: a call at
// one connection then takes 5 to 8 % longer). Half, and not the runtime's whole,
// is for the busy daemon: what a thousand streams hold would be doubled by what
// they have dropped.
const (
	ballastSize = 40 << 20
	pacePercent = 50
)

// newBallast returns memory that nobody touches: it counts for the collector's
// pace, costs it nothing to mark, and is never resident. Where somebody has set
// a limit of memory (GOMEMLIMIT), against which it would count, there is none.
func newBallast() []byte {
	if debug.SetMemoryLimit(-1) < math.MaxInt64 {
		return nil
	}
	setPace()
	return make([]byte, ballastSize)
}

// While a daemon starts, the first collection comes at 56 MB (the runtime begins
// at 4 MB for each 100): above the ballast with all that a start makes. The limit
// bounds what the next one waits for, should the ordinary pace not be back by
// then: fourteen times what lives would be more than most machines have.
const (
	startPercent = 1400
	startLimit   = ballastSize + 48<<20
)

// setPace sets the pace, but keeps the collector out of the start, where a
// request may be waiting: the ballast alone would begin a collection that marks
// while all else is built. The first collection, whenever it comes, puts the
// ordinary pace in force. It belongs to the process, so the first daemon of it
// decides. Without it a start of 19 ms took 1.0 to 1.4 ms longer in three
// comparisons; two runs of one build differed by 1.0 ms there, so the gain is
// small.
var setPace = sync.OnceFunc(func() {
	was := debug.SetGCPercent(startPercent)
	if was != defaultPercent {
		debug.SetGCPercent(was) // somebody has chosen a pace (GOGC)
		return
	}
	debug.SetMemoryLimit(startLimit)
	// A value with a pointer: others may share a block with something that lives on.
	runtime.AddCleanup(new(*byte), func(struct{}) {
		debug.SetGCPercent(pacePercent)
		debug.SetMemoryLimit(math.MaxInt64)
	}, struct{}{})
})

// defaultPercent is the runtime's own pace.
const defaultPercent = 100
