package daemon

import (
	"runtime"
	"runtime/debug"
	"sync"
)

// ballastSize makes the collector wait for some 24 MB of garbage in place of
// some 8: a daemon's live memory is so small that it would collect after every
// few hundred requests, in the middle of the next one. Measured with
// `make bench`: without it a call at one connection takes 5 to 8 % longer.
const ballastSize = 16 << 20

// newBallast returns memory that nobody touches: it counts for the collector's
// pace, costs it nothing to mark, and is never resident.
func newBallast() []byte {
	lateFirstCollection()
	return make([]byte, ballastSize)
}

// startPercent puts the first collection at 32 MB (the runtime begins at 4 MB
// for each 100): above the ballast with all that a start makes.
const startPercent = 800

// lateFirstCollection keeps the collector out of the start, where a request may
// be waiting: the ballast alone would begin a collection that marks while all
// else is built. The first collection, whenever it comes, puts the ordinary pace
// back. It belongs to the process, so the first daemon of it decides. Without it
// a start of 19 ms took 1.0 to 1.4 ms longer in three comparisons; two runs of
// one build differed by 1.0 ms there, so the gain is small.
var lateFirstCollection = sync.OnceFunc(func() {
	was := debug.SetGCPercent(startPercent)
	if was < 0 || was > startPercent {
		debug.SetGCPercent(was) // somebody has chosen fewer collections than that
		return
	}
	// A value with a pointer: others may share a block with something that lives on.
	runtime.AddCleanup(new(*byte), func(was int) { debug.SetGCPercent(was) }, was)
})
