package daemon

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestFirstCollectionRestoresThePace: nothing of the start's pace is left once
// the collector has run, or a busy daemon would grow fourteenfold; and until
// that is so, the memory has a limit.
func TestFirstCollectionRestoresThePace(t *testing.T) {
	newBallast()
	deadline := time.Now().Add(10 * time.Second)
	for {
		percent := debug.SetGCPercent(100)
		debug.SetGCPercent(percent)
		limit := debug.SetMemoryLimit(-1)
		if percent != startPercent && limit == math.MaxInt64 {
			return
		}
		if percent == startPercent && limit != startLimit {
			t.Fatalf("the pace of a start has a limit of %d, want %d", limit, int64(startLimit))
		}
		if time.Now().After(deadline) {
			t.Fatal("the collector has run, and keeps the pace of a start")
		}
		runtime.GC()
		runtime.Gosched() // the cleanup has a goroutine of its own
	}
}
