package daemon

// ballastSize makes the collector wait for some 24 MB of garbage in place of
// some 8: a daemon's live memory is so small that it would collect after every
// few hundred requests, in the middle of the next one. Measured with
// `make bench`: without it a call at one connection takes 5 to 8 % longer.
const ballastSize = 16 << 20

// newBallast returns memory that nobody touches: it counts for the collector's
// pace, costs it nothing to mark, and is never resident.
func newBallast() []byte { return make([]byte, ballastSize) }
