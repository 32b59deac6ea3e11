package daemon

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestFirstCollectionRestoresThePace: nothing of the start's pace is left once
// the collector has run, or a busy daemon would grow eightfold.
func TestFirstCollectionRestoresThePace(t *testing.T) {
	newBallast()
	deadline := time.Now().Add(10 * time.Second)
	for {
		runtime.GC()
		percent := debug.SetGCPercent(100)
		debug.SetGCPercent(percent)
		if percent != startPercent {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the collector has run, and keeps the pace of a start")
		}
		runtime.Gosched() // the cleanup has a goroutine of its own
	}
}
